# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On which nodes a pod fits, and what is wrong with the others. Pure. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .company import Question
from .demand import Demand, runs_cpu
from .node_info import NodeInfo, why_never, why_not_now

Json = dict[str, t.Any]
_NAMED = 5
"""Nodes that are named for each reason; the others are counted."""


@dataclass(frozen=True)
class Fit:
    """Where a VM fits: C(target) has a place for it together with all others, C(nodes) have room for it now, C(why_not) has the other nodes by reason."""

    target: str = ""
    nodes: tuple[str, ...] = ()
    why_not: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cpu_somewhere: bool = True
    """Whether any of these nodes runs the CPU model, room or not."""

    @property
    def code(self) -> str:
        """Why no node takes it, in one word; empty when one does."""
        if self.nodes:
            return ""
        return "no_node_fits" if self.cpu_somewhere else "target_cpu_missing"

    def reasons(self) -> list[tuple[str, tuple[str, ...]]]:
        """Those of most nodes first."""
        return sorted(self.why_not.items(), key=lambda one: (-len(one[1]), one[0]))

    def sentence(self) -> str:
        """For people: on how many nodes it fits, and what is wrong with the others."""
        others = sum(len(names) for names in self.why_not.values())
        total = len(self.nodes) + others
        why = ", ".join(f"{reason} ({some(names)})" for reason, names in self.reasons())
        where = f"it fits {len(self.nodes)} of {total} other nodes" if total else "there is no other node"
        return f"{where}{'; not: ' + why if why else ''}"

    def to_dict(self) -> Json:
        """At most a few nodes are named for each reason."""
        return {
            "target": self.target or None, "fits": len(self.nodes), "nodes": list(self.nodes[:_NAMED]),
            "why_not": [{"reason": reason, "number": len(names), "nodes": list(names[:_NAMED])} for reason, names in self.reasons()],
        }


def fit(
    demand: Demand, nodes: t.Sequence[NodeInfo], target: str, never: dict[t.Hashable, dict[str, str]], question: Question | None = None,
) -> Fit:
    """Where a pod fits now; C(target) is where a placement of all puts it. C(never) keeps, by kind of demand, what no room would change."""
    known = never.setdefault(demand.kind, {})
    fitting: list[str] = []
    against: dict[str, list[str]] = {}
    for node in nodes:
        if node.name not in known:
            known[node.name] = why_never(demand, node)
        reason = known[node.name] or why_not_now(demand, node) or (question.why_not(node.labels) if question else "")
        if reason:
            against.setdefault(reason, []).append(node.name)
        else:
            fitting.append(node.name)
    cpu = not nodes or any(runs_cpu(demand, node.labels) for node in nodes)
    return Fit(target, tuple(sorted(fitting)), {reason: tuple(sorted(names)) for reason, names in against.items()}, cpu)


def some(names: t.Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
