# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migration policies that hold for nobody, and those between which only the names decide. Pure. Private to this collection."""

from __future__ import annotations

import typing as t

from .._migrations.policies import matches
from .._placement.fitting import some
from .facts import Facts
from .finding import Finding


def check(facts: Facts) -> t.Iterator[Finding]:
    """Every policy, against every VM that runs."""
    if not facts.policies:
        return
    selected: set[str] = set()
    ties: dict[tuple[str, str], list[str]] = {}
    for vmi in facts.instances:
        metadata = vmi["metadata"]
        found = matches(facts.policies, metadata.get("labels") or {}, facts.namespaces.get(metadata["namespace"], {}))
        selected.update(one.name for one in found)
        if len(found) > 1 and found[0].ties_with(found[1]):
            ties.setdefault((found[0].name, found[1].name), []).append(f"{metadata['namespace']}/{metadata['name']}")
    for policy in facts.policies:
        name = policy["metadata"]["name"]
        if name not in selected:
            yield Finding(
                "policy_selects_nothing", "MigrationPolicy", "", name, "it selects no VM that runs now",
                "See whether its labels are those of VMs and namespaces, or remove it.",
            )
    for (first, second), names in sorted(ties.items()):
        yield Finding(
            "policies_tie", "MigrationPolicy", "", second, f"for {some(sorted(names))} only its name puts it behind {first}",
            "List one more label in the one that is meant to hold.", {"before": first, "vms": sorted(names)},
        )
