# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who goes where when many pods look for room at once. Pure. Private to this collection.

The largest first, each to where most memory is left: much as the scheduler spreads them. What is said to fit has a place for each at the same time;
what is left over may still find one in another order.
"""

from __future__ import annotations

import bisect
import typing as t
from dataclasses import dataclass, field, replace

from .company import Company, Question, repelled_by
from .demand import Demand
from .node_info import NodeInfo, why_never, why_not_now


@dataclass
class Placement:
    """C(places) is the node for each pod by namespace and name; C(left) are those for which none was found."""

    places: dict[tuple[str, str], str] = field(default_factory=dict)
    left: list[Demand] = field(default_factory=list)


class Possible:
    """Which of some nodes could take a pod were they empty. Looked up once for each kind of demand."""

    def __init__(self, nodes: t.Iterable[NodeInfo]) -> None:
        self._nodes = list(nodes)
        self._known: dict[t.Hashable, frozenset[str]] = {}

    def of(self, demand: Demand) -> frozenset[str]:
        """Their names."""
        kind = demand.kind
        if kind not in self._known:
            self._known[kind] = frozenset(node.name for node in self._nodes if not why_never(demand, node))
        return self._known[kind]


def place(
    demands: t.Iterable[Demand], nodes: t.Iterable[NodeInfo], slack: float = 1.0, possible: Possible | None = None, company: Company | None = None,
) -> Placement:
    """All of them at once. C(slack) times the memory of each is set aside. The nodes stay as they are.

    C(possible) is for many looks at the same nodes, or at some of them each time. C(company) are the pods of all nodes, those that are placed among them.
    """
    free = {node.name: node for node in nodes}
    by_room = sorted((node.memory, node.name) for node in free.values())
    known = Possible(free.values()) if possible is None else possible
    wanted = sorted(demands, key=lambda one: (-one.memory, one.namespace, one.name))
    together = _Together(wanted, company) if company is not None else None
    found = Placement()
    for demand in wanted:
        asked = replace(demand, memory=int(demand.memory * slack)) if slack != 1.0 else demand
        at = _best(asked, free, by_room, known.of(asked), together.question(demand) if together else None)
        if at is None:
            found.left.append(demand)
            continue
        name = by_room.pop(at)[1]
        free[name] = replace(free[name])
        free[name].takes(asked)
        bisect.insort(by_room, (free[name].memory, name))
        found.places[demand.key] = name
        if together:
            together.comes(demand, free[name])
    return found


def _best(wanted: Demand, free: t.Mapping[str, NodeInfo], by_room: list[tuple[int, str]], names: frozenset[str], question: Question | None) -> int | None:
    """Where in the nodes by room the one with most room is that takes it."""
    for at in range(len(by_room) - 1, -1, -1):
        memory, name = by_room[at]
        if memory < wanted.memory:
            return None
        if name in names and not why_not_now(wanted, free[name]) and not (question and question.why_not(free[name].labels)):
            return at
    return None


class _Together:
    """What those that are placed mean for one another."""

    def __init__(self, demands: t.Sequence[Demand], company: Company) -> None:
        self._company = company
        self._leaving = frozenset(one.key for one in demands)
        self._minds = any(one.apart for one in demands)
        self._placed: list[tuple[Demand, NodeInfo]] = []

    def question(self, demand: Demand) -> Question | None:
        found = self._company.question(demand, self._leaving)
        for other, node in self._placed if self._minds else ():
            for key in repelled_by(demand, other, self._company.namespaces):
                if key in node.labels:
                    found = found or Question()
                    found.apart.setdefault(key, set()).add(node.labels[key])
        return found

    def comes(self, demand: Demand, node: NodeInfo) -> None:
        """It has its place."""
        self._placed.append((demand, node))
