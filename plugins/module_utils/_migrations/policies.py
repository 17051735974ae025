# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which MigrationPolicy holds for a VM, and why. Pure. Private to this collection.

Source: KubeVirt pkg/virt-controller/watch/migration/migrationpolicy.go.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

Json = dict[str, t.Any]
Labels = t.Mapping[str, str]


@dataclass(frozen=True)
class Match:
    """A policy that selects a VM: how many labels of both it lists, and how many of the instance."""

    name: str
    labels: int
    of_instance: int

    @property
    def rank(self) -> tuple[int, int, str]:
        """The lowest wins: most labels, then most of the instance, then the first by name."""
        return -self.labels, -self.of_instance, self.name

    def ties_with(self, other: Match) -> bool:
        """Whether only the name decides between them."""
        return (self.labels, self.of_instance) == (other.labels, other.of_instance)


def matches(policies: t.Iterable[Json], instance: Labels, namespace: Labels) -> list[Match]:
    """Those that select a VM with these labels, the one that holds first. One without selectors selects nothing, one with empty ones everything."""
    found = []
    for policy in policies:
        selectors = (policy.get("spec") or {}).get("selectors")
        if selectors is None:
            continue
        of_instance, of_namespace = selectors.get("virtualMachineInstanceSelector") or {}, selectors.get("namespaceSelector") or {}
        if of_instance.items() <= instance.items() and of_namespace.items() <= namespace.items():
            found.append(Match(policy["metadata"]["name"], len(of_instance) + len(of_namespace), len(of_instance)))
    return sorted(found, key=lambda one: one.rank)
