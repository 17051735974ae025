# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where VMs that leave their nodes fit, and why not elsewhere, for the plan of a drain. Pure. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._migrations.guests import ALL_IN_USE, WRITES_LITTLE, Guest
from .._migrations.limits import Limits
from .._migrations.precopy import Load
from .._migrations.prediction import together
from .._placement.demand import Demand, as_target, demand_of, on_restart
from .._placement.fitting import Fit, fit, some
from .._placement.placing import place
from .._placement.room import Room, room_of
from .._placement.terms import Namespaces
from .._placement.verdict import DOES_NOT_FIT, FITS, WINDOW
from .._pods import is_launcher

Json = dict[str, t.Any]
Key = tuple[str, str]
OTHER_PODS = 30.0
"""Seconds that pods get to end unless they ask for more, and that a node needs for those when its VMs have left."""


@dataclass(frozen=True)
class Outlook:
    """C(fits) by pod, as namespace and name; C(verdict) on all of them together.

    Memory in bytes: what is free on the nodes that stay, before and after, and what the rule asks for.
    """

    fits: t.Mapping[Key, Fit]
    before: int
    after: int
    rule: int
    verdict: str = FITS

    def spare_memory(self) -> Json:
        return {"before_bytes": self.before, "after_bytes": self.after, "rule_bytes": self.rule, "rule_holds": self.before >= self.rule}

    def warnings(self) -> list[str]:
        """What may go wrong though nothing forbids it."""
        found = []
        if self.before < self.rule:
            found.append(
                f"Spare memory: {_gib(self.before)} are free on the nodes that stay, and {_gib(self.rule)} are recommended (nodes that are drained at once, "
                "times the highest total of VM memory requests on a node). Drain fewer nodes at once, or add memory."
            )
        crowded = ["/".join(key) for key, fit in self.fits.items() if fit.nodes and not fit.target]
        if crowded:
            end = "There are no places for all: make room first" if self.verdict == DOES_NOT_FIT else "The last of them may have to wait"
            found.append(f"{len(crowded)} VMs fit somewhere one by one, but not all at the same time: {some(crowded)}. {end}.")
        elif self.verdict != FITS and all(fit.nodes for fit in self.fits.values()):
            found.append("Room is tight: there is a place for each VM, and whether the scheduler finds it depends on the order in which they come.")
        return found


def outlook(
    nodes: t.Sequence[Json], pods: t.Sequence[Json], leaving: t.Sequence[Json], restarted: t.Sequence[Json], drained: t.Collection[str], at_once: int,
    namespaces: Namespaces | None = None, told: t.Sequence[Json] = (), window: int | None = WINDOW,
) -> Outlook:
    """What the cluster has for the launcher pods that leave.

    C(pods) are those of all nodes as room.keep leaves them, C(leaving) and C(restarted) whole launcher pods in the order in which they go, C(drained)
    the names of the nodes that are emptied. Of C(told), those that are evicted, launcher pods are moved by somebody else, who knows when. C(window) is
    how many migrate at once, None when in any order.
    One that is stopped and started again takes the CPU model of the node that it comes to; the others need the one that they have.
    """
    room = room_of(nodes, pods, namespaces)
    demands = {_key(pod): _demand(pod, room) for pod in leaving if is_launcher(pod)} | {_key(pod): on_restart(demand_of(pod)) for pod in restarted}
    staying = [info for name, info in room.infos.items() if name not in drained]
    looks = room.looks()
    places = place(demands.values(), staying, possible=looks.possible, company=looks.company).places
    never: dict[t.Hashable, dict[str, str]] = {}
    fits = {
        key: fit(demand, staying, places.get(key, ""), never, looks.company.question(demand, demands.keys())) for key, demand in demands.items()
    }
    # Nodes that are drained at once share the order, and VMs that are stopped have none.
    in_order = window if len(drained) == 1 and not restarted else None
    beside = [one for name in drained for one in room.visitors.get(name, ())] + [_demand(pod, room) for pod in told if is_launcher(pod)]
    verdict = looks.judge(list(demands.values()), drained, beside, in_order)
    before = sum(size for name, size in room.free.items() if name not in drained)
    needed = sum(demand.memory for demand in demands.values())
    return Outlook(fits, before, before - needed, room.recommended(min(at_once, len(drained))), verdict.code)


def expected(guests: t.Sequence[Guest], limits: Limits, nodes_at_once: int) -> Json:
    """How long the migrations out of a node may take, in seconds, None for no end; and on what assumptions."""
    slots = min(limits.per_node, limits.per_cluster // nodes_at_once or min(limits.per_cluster, 1))
    found = together(guests, limits, slots)
    seconds = None if found.seconds == float("inf") else found.seconds
    said = (*found.assumptions, "no other migration is under way, and no MigrationPolicy says otherwise") if found.assumptions else ()
    return {"seconds": seconds, "assumptions": list(said)}


def guest_behind(demand: Demand) -> Guest:
    """The VM of a launcher pod of which nothing else is known: all that the pod asks for is the guest's memory, and it writes little."""
    memory = float(demand.memory)
    return Guest(demand.namespace, demand.name, Load(memory, memory), assumptions=(ALL_IN_USE, WRITES_LITTLE))


def turn_seconds(guests: t.Sequence[Guest], limits: Limits, nodes_at_once: int) -> float | None:
    """How long one of many nodes may take until it is empty, its other pods included; None for no end."""
    seconds: float | None = expected(guests, limits, nodes_at_once)["seconds"]
    return None if seconds is None else seconds + OTHER_PODS


def _key(pod: Json) -> Key:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _demand(pod: Json, room: Room) -> Demand:
    node = room.infos.get((pod.get("spec") or {}).get("nodeName") or "")
    return as_target(demand_of(pod), node.name if node else "", node.labels if node else {})


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
