# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who goes where when many pods look for room at once. Pure. Private to this collection.

The largest first, each to where most memory is left: much as the scheduler spreads them. What is said to fit has a place for each at the same time;
what is left over may still find one in another order.
"""

from __future__ import annotations

import collections
import typing as t
from dataclasses import dataclass, field, replace

from .demand import Demand
from .machine import Machine, why_never, why_not


@dataclass
class Placement:
    """C(places) is the node for each pod by namespace and name; C(left) are those for which none was found."""

    places: dict[tuple[str, str], str] = field(default_factory=dict)
    left: list[Demand] = field(default_factory=list)


@dataclass(frozen=True)
class Targets:
    """Where one pod alone would fit now, and for the others how many there are of each reason."""

    fits: tuple[str, ...]
    reasons: t.Mapping[str, int]

    def sentence(self) -> str:
        """Why it fits nowhere, in the order of the most frequent."""
        parts = [f"{number} node{'s' if number != 1 else ''}: {reason}" for reason, number in sorted(self.reasons.items(), key=lambda one: (-one[1], one[0]))]
        return "; ".join(parts) or "there is no other node"


def targets(demand: Demand, machines: t.Iterable[Machine]) -> Targets:
    """Where it could go."""
    fits: list[str] = []
    reasons: collections.Counter[str] = collections.Counter()
    for machine in machines:
        why = why_not(demand, machine)
        if why:
            reasons[why] += 1
        else:
            fits.append(machine.name)
    return Targets(tuple(sorted(fits)), dict(reasons))


def place(demands: t.Iterable[Demand], machines: t.Iterable[Machine], slack: float = 1.0) -> Placement:
    """All of them at once. C(slack) times the memory of each is set aside. The machines stay as they are."""
    free = [replace(machine) for machine in machines]
    possible: dict[t.Hashable, list[Machine]] = {}
    found = Placement()
    for demand in sorted(demands, key=lambda one: (-one.memory, one.namespace, one.name)):
        wanted = replace(demand, memory=int(demand.memory * slack))
        kind = _kind(wanted)
        if kind not in possible:
            possible[kind] = [machine for machine in free if not why_never(wanted, machine)]
        roomy = [machine for machine in possible[kind] if machine.memory >= wanted.memory and machine.cpu >= wanted.cpu and machine.pods >= 1]
        if not roomy:
            found.left.append(demand)
            continue
        best = max(roomy, key=lambda machine: (machine.memory, machine.name))
        best.takes(wanted)
        found.places[demand.namespace, demand.name] = best.name
    return found


def _kind(demand: Demand) -> t.Hashable:
    """What decides which nodes are possible at all."""
    return (demand.model, tuple(sorted(demand.selector.items())), repr(demand.terms), repr(demand.tolerations))
