# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations that are under way, and VMs whose migrations fail again and again. Pure. Private to this collection."""

from __future__ import annotations

import typing as t

from .._migrations.reasons import why_failed
from .._migrations.state import failed, is_active, is_final, succeeded, vmi_key
from .facts import Facts
from .finding import Finding

Json = dict[str, t.Any]
_OFTEN = 2


def check(facts: Facts) -> t.Iterator[Finding]:
    """By VM, each once."""
    here = {(vmi["metadata"]["namespace"], vmi["metadata"]["name"]): vmi for vmi in facts.instances}
    by_vm: dict[tuple[str, str], list[Json]] = {}
    for one in sorted(facts.migrations, key=lambda item: (item["metadata"].get("creationTimestamp") or "", item["metadata"]["name"])):
        by_vm.setdefault(vmi_key(one), []).append(one)
    for key, migrations in sorted(by_vm.items()):
        if key not in here:
            continue
        last = migrations[-1]
        if is_active(last):
            yield Finding(
                "migration_running", "VirtualMachineInstance", *key, f"it is migrating ({last['metadata']['name']})", "Wait until it is over.",
                {"migration": last["metadata"]["name"]},
            )
        in_a_row = 0
        for one in reversed([one for one in migrations if is_final(one)]):
            if succeeded(one):
                break
            in_a_row += failed(one)
        if in_a_row >= _OFTEN:
            latest = [one for one in migrations if failed(one)][-1]
            why = why_failed(latest, here[key])
            yield Finding(
                "migration_failing", "VirtualMachineInstance", *key, f"its last {in_a_row} migrations have failed, the last since {why.sentence}",
                "Remove the cause before its node is drained; migration_info says more.", {"failures": in_a_row, "code": why.code},
            )
