# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many machines of the same shape: the first is made through the API, all others are copies of it under their own names.

A copy is what the API would have made of the same requests, at a hundredth of the cost: what differs between two machines of one
shape is their names, their node and their uids. What does not differ is shared.
"""
from __future__ import annotations

import dataclasses
import re
import typing as t
import uuid

from ..apiserver.admission import random_suffix
from ..apiserver.local import LocalCluster
from ..clock import Clock
from ..interface import PODS, Object, Ref
from ..kubevirt.virt_controller.configuration import Configuration
from ..kubevirt.virt_controller.disruption_budgets import BUDGETS
from ..kubevirt.virt_controller.machine_template import CONTROLLER_REVISIONS
from ..kubevirt.virt_controller.phases import CLAIMS, VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from .workloads import Machine, add_machine

Maker = t.Callable[[t.Mapping[str, str]], t.Any]
"""Makes a value for the words that stand for a sample's own."""


def maker(value: t.Any, tokens: t.Pattern[str]) -> Maker | None:
    """What makes copies of the value with other words for its tokens; None where it has none, and is shared by all copies."""
    if isinstance(value, str):
        parts = tokens.split(value)
        return (lambda words: "".join(words.get(part, part) for part in parts)) if len(parts) > 1 else None
    if isinstance(value, list):
        members = [(maker(member, tokens), member) for member in value]
        if not any(make for make, _member in members):
            return None
        return lambda words: [make(words) if make is not None else member for make, member in members]
    if isinstance(value, dict):
        entries = [(key, maker(key, tokens), maker(member, tokens), member) for key, member in value.items()]
        if not any(name or make for _key, name, make, _member in entries):
            return None
        return lambda words: {
            (name(words) if name is not None else key): (make(words) if make is not None else member) for key, name, make, member in entries
        }
    return None


@dataclasses.dataclass(frozen=True)
class _Sample:
    """What makes the objects of a machine, and what in them belongs to that machine alone."""

    objects: tuple[tuple[Ref, Maker], ...]
    namespace: str
    name: str
    node: str
    address: str
    uids: tuple[str, ...]
    macs: tuple[str, ...]
    generated: tuple[tuple[str, str], ...]
    """Names that the API server made: what they begin with, and the whole."""


class Stamps:
    """Adds machines to a cluster that is being loaded, with what virt-controller, as whom `own` is, would have made of them."""

    def __init__(self, cluster: LocalCluster, own: LocalCluster, clock: Clock, kubevirt: str, config: Configuration) -> None:
        self._cluster, self._own, self._clock = cluster, own, clock
        self._kubevirt, self._config = kubevirt, config
        self._samples: dict[Machine, _Sample] = {}
        self._names: set[str] = set()

    async def add(self, machine: Machine) -> None:
        """Names of machines, namespaces and nodes, and addresses, must not be part of any other word in their objects: vm-00001 rather than vm."""
        shape = dataclasses.replace(machine, namespace="", name="", node="", address="")
        sample = self._samples.get(shape)
        if sample is None:
            await add_machine(self._cluster, self._own, self._clock, machine, self._kubevirt, self._config)
            self._samples[shape] = await self._sample(machine)
            return
        words = {uid: str(uuid.uuid4()) for uid in sample.uids}
        words |= {sample.namespace: machine.namespace, sample.name: machine.name, sample.node: machine.node, sample.address: machine.address}
        words |= {mac: mac[:9] + ":".join(f"{number:02x}" for number in uuid.uuid4().bytes[:3]) for mac in sample.macs}
        for prefix, whole in sample.generated:
            words[whole] = self._generated(prefix.replace(sample.name, machine.name))
        for ref, make in sample.objects:
            self._cluster.adopt(ref, make(words))

    def _generated(self, prefix: str) -> str:
        """A name that no copy and no sample has: of so many, two would be the same by chance."""
        name = prefix + random_suffix()
        while name in self._names:
            name = prefix + random_suffix()
        self._names.add(name)
        return name

    async def _sample(self, machine: Machine) -> _Sample:
        where = machine.namespace
        vm = await self._cluster.get(VIRTUAL_MACHINES, machine.name, where)
        vmi = await self._cluster.get(VIRTUAL_MACHINE_INSTANCES, machine.name, where)
        found: list[tuple[Ref, Object]] = [(VIRTUAL_MACHINES, vm), (VIRTUAL_MACHINE_INSTANCES, vmi)]
        if machine.claim:
            found.append((CLAIMS, await self._cluster.get(CLAIMS, machine.name, where)))
        for ref in (PODS, BUDGETS, CONTROLLER_REVISIONS):
            owners = (vm["metadata"]["uid"], vmi["metadata"]["uid"])
            found += [(ref, obj) for obj in (await self._cluster.list(ref, where)).items if _owned(obj, owners)]
        uids = tuple(obj["metadata"]["uid"] for _ref, obj in found)
        generated = tuple((prefix, obj["metadata"]["name"]) for _ref, obj in found if (prefix := obj["metadata"].get("generateName")))
        self._names.update(whole for _prefix, whole in generated)
        macs = tuple(one["mac"] for one in (vmi["status"].get("interfaces") or ()))
        own = (*uids, *macs, *(whole for _prefix, whole in generated), where, machine.name, machine.node, machine.address)
        tokens = re.compile("(" + "|".join(re.escape(word) for word in sorted(filter(None, own), key=len, reverse=True)) + ")")
        makers = tuple((ref, make) for ref, obj in found if (make := maker(obj, tokens)) is not None)
        return _Sample(makers, where, machine.name, machine.node, machine.address, uids, macs, generated)


def _owned(obj: Object, uids: t.Collection[str]) -> bool:
    return any(owner["uid"] in uids for owner in obj["metadata"].get("ownerReferences") or ())
