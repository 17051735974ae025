# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many nodes in turn would go, played through on paper: order, waves, spare memory and time. Pure. Private to this collection."""

from __future__ import annotations

import heapq
import typing as t
from dataclasses import dataclass, field, replace

from .._migrations.guests import Guest
from .._migrations.limits import Limits
from .._placement.demand import Demand
from .._placement.node_info import node_infos
from .._placement.placing import place
from .._placement.room import Room, room_of, takes_pods
from .outlook import OTHER_PODS, Key, expected, guest_behind, turn_seconds
from .turns import Queue, next_node

Json = dict[str, t.Any]
FORESEEN = 100
"""Turns that are played through: each asks for a place for each VM."""


@dataclass(frozen=True)
class Foreseen:
    """One turn. Seconds count from the beginning of the run, None for no end. Bytes are those that are free on the nodes that stay.

    C(again) VMs go to nodes that are still to come, and have to move once more.
    """

    name: str
    begins: float
    ends: float | None
    beside: tuple[str, ...]
    vms: int
    again: int
    before: int
    after: int

    def to_dict(self) -> Json:
        return {
            "name": self.name, "begins": round(self.begins, 1), "ends": None if self.ends is None else round(self.ends, 1), "beside": list(self.beside),
            "vms": self.vms, "again": self.again, "spare_memory": {"before_bytes": self.before, "after_bytes": self.after},
        }


@dataclass
class Foresight:
    """C(held) says why the rest would not be begun; C(further) is how many were not played through."""

    turns: list[Foreseen] = field(default_factory=list)
    seconds: float | None = 0.0
    assumptions: list[str] = field(default_factory=list)
    held: str = ""
    further: int = 0
    rule: int = 0

    def to_dict(self) -> Json:
        lowest = min((one.after for one in self.turns), default=None)
        spare = {"lowest_bytes": lowest, "rule_bytes": self.rule, "rule_holds": lowest is None or lowest >= 0}
        return {
            "order": [one.to_dict() for one in self.turns], "spare_memory": spare,
            "expected": {"seconds": None if self.seconds is None else round(self.seconds, 1), "assumptions": self.assumptions},
            "held_back": self.held, "not_foreseen": self.further,
        }


class _Future:
    """The cluster as it would be, one node emptied after the other."""

    def __init__(self, nodes: t.Sequence[Json], kept: t.Sequence[Json], uncordon: bool) -> None:
        self.room: Room = room_of(nodes, kept)
        self._uncordon = uncordon
        self._nodes = {node["metadata"]["name"]: node for node in nodes}
        self._pods: dict[str, list[Json]] = {}
        for pod in kept:
            self._pods.setdefault(pod["node"], []).append(pod)

    def begin(self, name: str) -> None:
        """It is cordoned."""
        self.room.free.pop(name, None)
        if name in self.room.infos:
            self.room.infos[name] = replace(self.room.infos[name], unschedulable=True)

    def end(self, name: str, settled: t.Collection[str], waiting: t.Collection[str]) -> int:
        """Its VMs are on other nodes, on settled ones where they fit, and it takes pods again; how many went to nodes that wait."""
        room, demands = self.room, self.room.demands.pop(name, [])
        first = place(demands, [room.infos[one] for one in settled if one in room.free])
        then = place(first.left, [room.infos[one] for one in waiting if one in room.free])
        for demand in demands:
            to = first.places.get(demand.key) or then.places.get(demand.key)
            if to:
                room.infos[to].takes(demand)
                room.free[to] = max(0, room.infos[to].memory)
                room.vms[to] = room.vms.get(to, 0) + demand.memory
                room.demands.setdefault(to, []).append(replace(demand, source=to))
        room.vms.pop(name, None)
        self._come_back(name)
        return len(then.places)

    def _come_back(self, name: str) -> None:
        """What else is on the node stays there on paper: it comes back when the node takes pods again."""
        node = self._nodes[name]
        others = [(name, pod["demand"]) for pod in self._pods.get(name, ()) if not pod["vm"]]
        back = {**node, "spec": {**(node.get("spec") or {}), "unschedulable": not self._uncordon}}
        self.room.infos[name] = node_infos([back], others)[0]
        if takes_pods(back):
            self.room.free[name] = max(0, self.room.infos[name].memory)


def foresee(
    nodes: t.Sequence[Json], kept: t.Sequence[Json], queue: Queue, limits: Limits, max_parallel: int, each: float = 0.0, uncordon: bool = True,
    guests: t.Mapping[Key, Guest] | None = None,
) -> Foresight:
    """Play it through. C(kept) are all pods as room.keep leaves them; C(each) are the seconds that a node is away after it is empty.

    C(guests) is what is known of VMs, by their launcher pods. Affinity among pods is not looked at, as in a run.
    """
    known = guests or {}
    future, found = _Future(nodes, kept, uncordon), Foresight()
    queue = Queue(list(queue.waiting), [], list(queue.done), list(queue.quarantined))
    found.rule = future.room.recommended(min(max_parallel, len(queue.waiting)))
    now, ends, never = 0.0, list[tuple[float, str]](), False
    begun: dict[str, Foreseen] = {}
    while True:
        # The taint keeps nothing away by force: nodes still to come count as room, as they do in a run.
        name, why = next_node(queue, future.room, max_parallel) if len(begun) < FORESEEN else (None, "")
        if name is not None:
            queue.waiting.remove(name)
            one = _begin(name, future, limits, queue, now, each, known)
            begun[name] = one
            never = never or one.ends is None
            heapq.heappush(ends, (now if one.ends is None else one.ends, name))
            queue.active.append(name)
            continue
        if not ends:
            found.held = why if queue.waiting and len(begun) < FORESEEN else ""
            found.further = len(queue.waiting)
            break
        now, ended = heapq.heappop(ends)
        queue.active.remove(ended)
        settled = set(future.room.free) - set(queue.waiting)
        begun[ended] = replace(begun[ended], again=future.end(ended, settled, queue.waiting))
        queue.done.append(ended)
    found.turns = list(begun.values())
    found.seconds = None if never else now
    found.assumptions = _assumptions(begun, room_of(nodes, kept), limits, each, known)
    return found


def _guests(demands: t.Iterable[Demand], known: t.Mapping[Key, Guest]) -> list[Guest]:
    return [known.get(demand.key) or guest_behind(demand) for demand in demands]


def _begin(
    name: str, future: _Future, limits: Limits, queue: Queue, now: float, each: float, known: t.Mapping[Key, Guest],
) -> Foreseen:
    demands = future.room.demands.get(name, [])
    at_once = len(queue.active) + 1
    seconds = turn_seconds(_guests(demands, known), limits, at_once)
    future.begin(name)
    before = sum(future.room.free.values()) - sum(future.room.vms.get(one, 0) for one in queue.active)
    after = before - future.room.vms.get(name, 0)
    return Foreseen(name, now, None if seconds is None else now + seconds + each, tuple(queue.active), len(demands), 0, before, after)


def _assumptions(
    begun: t.Mapping[str, Foreseen], room: Room, limits: Limits, each: float, known: t.Mapping[Key, Guest],
) -> list[str]:
    """Those of the node with the most VMs, and what else the whole rests on."""
    if not begun:
        return []
    most = max(begun, key=lambda one: (room.vms.get(one, 0), one))
    said = list(expected(_guests(room.demands.get(most, ()), known), limits, 1)["assumptions"])
    said.append(f"each VM goes where the plan has a place for it, and other pods end within {OTHER_PODS:g} s when the VMs have left")
    return said + ([f"a node is away for {each:.0f} s more when it is empty"] if each else [])
