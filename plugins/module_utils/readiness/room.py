# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room for the VMs of each node on the others: by the documented rule, and by a place for each. Pure. Private to this collection.

Source: OKD documentation, modules/virt-live-migration-requirements.adoc (spare memory); Kubernetes scheduler (places).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._migrations.limits import limits
from .._migrations.state import is_migratable
from .._placement.fitting import fit, some
from .._placement.room import Room
from .._placement.verdict import FITS, TIGHT, WINDOW, Verdict
from .._pods import Key
from .facts import Facts
from .finding import Finding

Json = dict[str, t.Any]


@dataclass(frozen=True)
class SpareMemory:
    """Bytes. C(free) is what nobody has asked for on nodes that take VMs, less the roomiest ones that are away themselves."""

    needed: int
    free: int
    largest: str
    at_once: int

    def to_dict(self) -> Json:
        return {"needed_bytes": self.needed, "free_bytes": self.free, "nodes_at_once": self.at_once, "largest_node": self.largest or None}


def spare_memory(room: Room, at_once: int) -> SpareMemory:
    """Nodes that are drained at once, times the highest total of VM memory requests on a node. Nodes that are away are no room for others."""
    largest = max(room.vms, key=lambda name: (room.vms[name], name), default="")
    free = sorted(room.free.values())
    return SpareMemory(room.recommended(at_once), sum(free[: max(0, len(free) - at_once)]), largest, at_once)


def check(facts: Facts, room: Room, at_once: int) -> t.Iterator[Finding]:
    """The rule for the cluster, then each node and each of its VMs that has no place elsewhere."""
    spare = spare_memory(room, at_once)
    if spare.free < spare.needed:
        yield Finding(
            "spare_memory", "Node", "", spare.largest,
            f"{spare.free / 2**30:.1f} GiB are free, and {spare.needed / 2**30:.1f} GiB are recommended: {at_once} nodes at once, times the memory "
            f"that VMs ask for on {spare.largest}", "Drain fewer nodes at once, add nodes, or move VMs away from the fullest one.", spare.to_dict(),
        )
    movable = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in facts.instances if is_migratable(one)}
    yield from _places(facts, room, movable)


def _places(facts: Facts, room: Room, movable: t.Container[Key]) -> t.Iterator[Finding]:
    looks = room.looks()
    window = max(WINDOW, limits(facts.kubevirt).per_cluster)
    never: dict[t.Hashable, dict[str, str]] = {}
    keys = {(pod["metadata"]["namespace"], pod["metadata"]["name"]): pod["instance"] for pod in facts.pods if pod["vm"]}
    memory = {(one["metadata"]["namespace"], one["metadata"]["name"]): one.get("memory") or 0 for one in facts.instances}
    for name in sorted(room.demands):
        # As a drain moves them: the largest first.
        leaving = sorted((one for one in room.demands[name] if keys[one.key] in movable), key=lambda one: (-memory.get(keys[one.key], 0), keys[one.key]))
        verdict = looks.judge(leaving, (name,), room.visitors.get(name, ()), window)
        if verdict.code == FITS:
            continue
        others = [info for info in room.infos.values() if info.name != name]
        leavers = frozenset(one.key for one in leaving)
        for demand in verdict.lone:
            found = fit(demand, others, "", never, looks.company.question(demand, leavers))
            namespace, vm = keys[demand.key]
            yield Finding(
                found.code, "VirtualMachineInstance", namespace, vm, f"no other node takes it: {found.sentence()}",
                "Make room on a node that could run it, or add one." if found.code == "no_node_fits" else "Add a node that runs its CPU model, or give it a "
                "named model that other nodes have, and restart it.", {"node": name, **found.to_dict()},
            )
        rest = [one for one in leaving if one not in verdict.lone] if verdict.lone else leaving
        if verdict.lone:
            verdict = looks.judge(rest, (name,), room.visitors.get(name, ()), window)
        yield from _together(name, verdict, ["/".join(keys[one.key]) for one in verdict.crowded])


def _together(name: str, verdict: Verdict, left: t.Sequence[str]) -> t.Iterator[Finding]:
    if left:
        proof = "there are no places for all" if verdict.code != TIGHT else "no place was found for all"
        yield Finding(
            "node_cannot_be_emptied", "Node", "", name, f"its VMs fit elsewhere one by one, but not all at the same time: {proof}, {some(left)} are left over",
            "Make room on other nodes before it is drained.", {"left_over": list(left)},
        )
    elif verdict.code == TIGHT:
        yield Finding(
            "room_is_tight", "Node", "", name,
            "there is a place for each of its VMs, and whether the scheduler finds it depends on the order in which they come",
            "Make room on other nodes before it is drained, or watch for VMs that are left over.",
        )
