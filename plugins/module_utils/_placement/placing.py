# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who goes where when many pods look for room at once. Pure. Private to this collection.

The largest first, each to where most memory is left: much as the scheduler spreads them. What is said to fit has a place for each at the same time;
what is left over may still find one in another order.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from .demand import Demand
from .node_info import NodeInfo, why_never, why_not_now


@dataclass
class Placement:
    """C(places) is the node for each pod by namespace and name; C(left) are those for which none was found."""

    places: dict[tuple[str, str], str] = field(default_factory=dict)
    left: list[Demand] = field(default_factory=list)


def place(demands: t.Iterable[Demand], nodes: t.Iterable[NodeInfo], slack: float = 1.0) -> Placement:
    """All of them at once. C(slack) times the memory of each is set aside. The nodes stay as they are."""
    free = [replace(node) for node in nodes]
    possible: dict[t.Hashable, list[NodeInfo]] = {}
    found = Placement()
    for demand in sorted(demands, key=lambda one: (-one.memory, one.namespace, one.name)):
        wanted = replace(demand, memory=int(demand.memory * slack))
        kind = wanted.kind()
        if kind not in possible:
            possible[kind] = [node for node in free if not why_never(wanted, node)]
        roomy = [node for node in possible[kind] if not why_not_now(wanted, node)]
        if not roomy:
            found.left.append(demand)
            continue
        best = max(roomy, key=lambda node: (node.memory, node.name))
        best.takes(wanted)
        found.places[demand.namespace, demand.name] = best.name
    return found
