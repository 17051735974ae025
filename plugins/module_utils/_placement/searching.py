# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether places for all exist at all: a search through every way to place them, as far as that is short. Pure. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .company import Question
from .demand import Demand
from .node_info import NodeInfo, why_not_now
from .requests import CPU, MEMORY, PODS


class Open(t.Protocol):
    """Which nodes could take a pod were they empty."""

    def of(self, demand: Demand) -> frozenset[str]: ...


_STEPS = 20_000
"""Attempts after which the search gives up."""
_MOST = 400
"""Pods and nodes beyond which it does not begin."""


def exists(demands: t.Sequence[Demand], nodes: t.Sequence[NodeInfo], possible: Open, questions: t.Mapping[tuple[str, str], Question]) -> bool | None:
    """True or False, None where it can't be told in reasonable time. What those that are placed mean for one another is not looked at:
    False is certain, True is not.
    """
    names = [node.name for node in nodes]
    open_to: dict[tuple[str, str], frozenset[str]] = {}
    for one in demands:
        question = questions.get(one.key)
        refused = frozenset(node.name for node in nodes if question and question.why_not(node.labels)) if question else frozenset()
        open_to[one.key] = possible.of(one).intersection(names) - refused
    if _too_little(demands, nodes, open_to):
        return False
    if len(demands) > _MOST or len(nodes) > _MOST:
        return None
    # Those with the fewest nodes first, and of these the largest.
    order = sorted(demands, key=lambda one: (len(open_to[one.key]), -one.memory, one.key))
    return _Search(order, open_to).run({node.name: node for node in nodes})


def _too_little(demands: t.Sequence[Demand], nodes: t.Sequence[NodeInfo], open_to: t.Mapping[tuple[str, str], frozenset[str]]) -> bool:
    """Whether those that can go to some nodes only ask for more of something than these have."""
    for group in set(open_to.values()):
        inside = [one for one in demands if open_to[one.key] <= group]
        there = [node for node in nodes if node.name in group]
        for name in {MEMORY, CPU, PODS, *(name for one in inside for name in one.extended)}:
            if sum(_asked(one, name) for one in inside) > sum(max(0, node.left(name)) for node in there):
                return True
    return False


def _asked(demand: Demand, name: str) -> int:
    return {MEMORY: demand.memory, CPU: demand.cpu, PODS: 1}.get(name, demand.extended.get(name, 0))


class _Search:
    """Depth first. What was tried on a node is not tried on another one just like it, and pods just alike are placed in the order of the nodes."""

    def __init__(self, demands: t.Sequence[Demand], open_to: t.Mapping[tuple[str, str], frozenset[str]]) -> None:
        self._demands, self._open_to = demands, open_to
        self._for_whom = {
            name: frozenset(number for number, one in enumerate(demands) if name in open_to[one.key]) for name in frozenset().union(*open_to.values())
        }
        self._steps = 0

    def run(self, nodes: dict[str, NodeInfo]) -> bool | None:
        try:
            return self._from(0, nodes, "")
        except _GaveUpError:
            return None

    def _from(self, at: int, nodes: dict[str, NodeInfo], least: str) -> bool:
        if at == len(self._demands):
            return True
        demand = self._demands[at]
        tried: set[t.Hashable] = set()
        for name in sorted(self._open_to[demand.key]):
            node = nodes[name]
            looks = self._looks(node)
            if name < least or looks in tried or why_not_now(demand, node):
                continue
            self._steps += 1
            if self._steps > _STEPS:
                raise _GaveUpError
            tried.add(looks)
            taken = replace(node)
            taken.takes(demand)
            following = name if at + 1 < len(self._demands) and self._alike(demand, self._demands[at + 1]) else ""
            if self._from(at + 1, {**nodes, name: taken}, following):
                return True
        return False

    def _alike(self, one: Demand, other: Demand) -> bool:
        return (one.memory, one.cpu, one.extended, one.ports) == (other.memory, other.cpu, other.extended, other.ports) \
            and self._open_to[one.key] == self._open_to[other.key]

    def _looks(self, node: NodeInfo) -> t.Hashable:
        """Equal for nodes between which there is no difference but their names."""
        return node.memory, node.cpu, node.pods, tuple(sorted(node.extended.items())), node.ports, self._for_whom[node.name]


class _GaveUpError(Exception):
    """So many ways that it would take too long."""
