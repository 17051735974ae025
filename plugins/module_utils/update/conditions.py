# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Status conditions, as every kind of this API spells them. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

Json = dict[str, t.Any]


@dataclass(frozen=True)
class Condition:
    """One entry of C(status.conditions)."""

    type: str
    status: str
    reason: str = ""
    message: str = ""

    @property
    def true(self) -> bool:
        return self.status == "True"

    def sentence(self) -> str:
        """C(Degraded True (KubeVirtDegraded: KubeVirt is degraded: …)), without what is empty."""
        detail = ": ".join(part for part in (self.reason, self.message) if part)
        return f"{self.type} {self.status}" + (f" ({detail})" if detail else "")


def conditions_of(obj: Json) -> dict[str, Condition]:
    """The conditions of an object by type."""
    entries = (obj.get("status") or {}).get("conditions") or []
    return {
        str(entry.get("type", "")): Condition(
            type=str(entry.get("type", "")),
            status=str(entry.get("status", "Unknown")),
            reason=str(entry.get("reason") or ""),
            message=str(entry.get("message") or ""),
        )
        for entry in entries
        if isinstance(entry, dict)
    }


def differing(conditions: t.Mapping[str, Condition], wanted: t.Mapping[str, str]) -> tuple[Condition, ...]:
    """The conditions that do not have the wanted status; a missing one counts as Unknown."""
    result = []
    for name, status in wanted.items():
        condition = conditions.get(name, Condition(name, "Unknown", "", "not reported"))
        if condition.status != status:
            result.append(condition)
    return tuple(result)
