# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sets nodes and VMs of a generated cluster apart, for whoever asks where they fit."""
from __future__ import annotations

import dataclasses
import random
import typing as t

from ..interface import Object
from .workloads import DEDICATED, POOL, Machine

SIZES: dict[str, int] = {
    "named_cpu_percent": 0, "hugepages_percent": 0, "pool_percent": 0, "dedicated_percent": 0, "apart_percent": 0, "device_percent": 0, "filled_percent": 0,
}
"""Percent of the VMs that name a CPU model of the newer nodes, have their memory in huge pages (of which each node keeps a third of its memory), ask for nodes
of one of two pools, tolerate the taint that every third node then has, keep away from others of their group of three, or ask for a device of which every second
node has four. `filled_percent` of them go to the fullest node that takes them instead of the emptiest."""
NEWER_MODEL, PAGES, DEVICE = "Skylake-Server", "2Mi", "engine.okd.virt/nic"
_DEVICES, _GROUP, _RESERVED_GIB, _PAGES_SHARE = 4, 3, 4, 3
_GIB = 2**30


class Variety:
    """Of one cluster, by its sizes; false where nodes and VMs are all of one kind."""

    def __init__(self, sizes: t.Mapping[str, int]) -> None:
        self._sizes = sizes
        self._in_groups = 0

    def __bool__(self) -> bool:
        return any(self._sizes[name] for name in SIZES)

    def furnished(self, number: int, made: tuple[Object, Object]) -> tuple[Object, Object]:
        """The node with its pool, huge pages and devices."""
        obj, status = made
        if self._sizes["pool_percent"]:
            obj["metadata"]["labels"][POOL] = "ab"[number % 2]
        if self._sizes["hugepages_percent"]:
            _set_aside_pages(status)
        if self._sizes["device_percent"] and number % 2 == 0:
            for name in ("capacity", "allocatable"):
                status[name][DEVICE] = str(_DEVICES)
        return obj, status

    def taints(self, number: int) -> list[Object]:
        """What the node is tainted with once virt-handler runs there."""
        return [{"key": DEDICATED, "effect": "NoSchedule"}] if self._sizes["dedicated_percent"] and _is_dedicated(number) else []

    def drawn(self, draw: random.Random, machine: Machine) -> Machine:
        """The machine with what it asks for."""
        def wants(what: str) -> bool:
            return draw.random() * 100 < self._sizes[f"{what}_percent"]

        group = ""
        if wants("apart"):
            group, self._in_groups = f"group-{self._in_groups // _GROUP}", self._in_groups + 1
        # One demand of these each: some two together no node meets.
        special: dict[str, t.Any] = {}
        for what, demand in (("named_cpu", {"cpu_model": NEWER_MODEL}), ("pool", {"pool": draw.choice("ab")}), ("device", {"device": DEVICE})):
            if wants(what):
                special = demand
        return dataclasses.replace(machine, hugepages=PAGES if wants("hugepages") else "", dedicated=wants("dedicated"), apart=group, **special)

    def places(self, workers: t.Sequence[str], memory_gib: int, is_older: t.Callable[[int], bool]) -> Places:
        """The nodes while nothing runs on them."""
        return Places(self._sizes, [_Place(name, number, memory_gib, self._sizes, is_older(number)) for number, name in enumerate(workers)])


def _is_dedicated(number: int) -> bool:
    return number % 3 == 2


def _set_aside_pages(status: Object) -> None:
    """A third of the memory is kept in huge pages, and no memory for others any more."""
    for name in ("capacity", "allocatable"):
        mib = int(status["capacity"]["memory"].removesuffix("Gi")) * 1024 // _PAGES_SHARE
        status[name][f"hugepages-{PAGES}"] = f"{mib}Mi"
    left = int(status["allocatable"]["memory"].removesuffix("Mi")) - mib
    status["allocatable"]["memory"] = f"{left}Mi"


class _Place:
    """A node as the VMs of a new cluster come to it."""

    def __init__(self, name: str, number: int, memory_gib: int, sizes: t.Mapping[str, int], older: bool) -> None:
        self.name, self.number, self.older = name, number, older
        self.pages = memory_gib * _GIB // _PAGES_SHARE if sizes["hugepages_percent"] else 0
        self.memory = (memory_gib - _RESERVED_GIB) * _GIB - self.pages
        self.devices = _DEVICES if number % 2 == 0 else 0
        self.groups: set[str] = set()


class Places:
    """The nodes, less what has been given away."""

    def __init__(self, sizes: t.Mapping[str, int], places: list[_Place]) -> None:
        self._sizes, self._places = sizes, places
        self._turn = 0

    def settled(self, machine: Machine, memory: int) -> Machine:
        """The machine on its node, which is none where nobody has room. What it asks for and no node could give it, it does without."""
        pages = machine.memory_mib * 1024 * 1024 if machine.hugepages else 0
        able = [place for place in self._places if self._suits(place, machine)]
        if not able:
            plain = dataclasses.replace(machine, cpu_model="host-model", pool="", apart="", device="")
            able, machine = [place for place in self._places if self._suits(place, plain)], plain
        found = [place for place in able if place.memory >= memory and place.pages >= pages]
        if not found:
            return machine
        self._turn += 1
        fullest = self._turn * self._sizes["filled_percent"] % 100 < self._sizes["filled_percent"]
        place = min(found, key=lambda one: (one.memory if fullest else -one.memory, one.name))
        place.memory -= memory
        place.pages -= pages
        place.devices -= bool(machine.device)
        place.groups.update({machine.apart} - {""})
        return dataclasses.replace(machine, node=place.name)

    def _suits(self, place: _Place, machine: Machine) -> bool:
        """Whether the node could take it, were there room."""
        return (
            not (machine.cpu_model == NEWER_MODEL and place.older) and (not machine.pool or "ab"[place.number % 2] == machine.pool)
            and (machine.dedicated or not self._sizes["dedicated_percent"] or not _is_dedicated(place.number))
            and machine.apart not in place.groups and (not machine.device or place.devices > 0)
        )
