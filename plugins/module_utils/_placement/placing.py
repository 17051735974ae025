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
        kind = demand.kind()
        if kind not in self._known:
            self._known[kind] = frozenset(node.name for node in self._nodes if not why_never(demand, node))
        return self._known[kind]


def place(
    demands: t.Iterable[Demand], nodes: t.Iterable[NodeInfo], slack: float = 1.0, possible: Possible | None = None,
) -> Placement:
    """All of them at once. C(slack) times the memory of each is set aside. The nodes stay as they are.

    C(possible) is for many looks at the same nodes, or at some of them each time.
    """
    free = {node.name: node for node in nodes}
    by_room = sorted((node.memory, node.name) for node in free.values())
    known = Possible(free.values()) if possible is None else possible
    found = Placement()
    for demand in sorted(demands, key=lambda one: (-one.memory, one.namespace, one.name)):
        wanted = replace(demand, memory=int(demand.memory * slack)) if slack != 1.0 else demand
        at = _best(wanted, free, by_room, known)
        if at is None:
            found.left.append(demand)
            continue
        name = by_room.pop(at)[1]
        free[name] = replace(free[name])
        free[name].takes(wanted)
        bisect.insort(by_room, (free[name].memory, name))
        found.places[demand.namespace, demand.name] = name
    return found


def _best(wanted: Demand, free: t.Mapping[str, NodeInfo], by_room: list[tuple[int, str]], known: Possible) -> int | None:
    """Where in the nodes by room the one with most room is that takes it."""
    names = known.of(wanted)
    for at in range(len(by_room) - 1, -1, -1):
        memory, name = by_room[at]
        if memory < wanted.memory:
            return None
        if name in names and not why_not_now(wanted, free[name]):
            return at
    return None
