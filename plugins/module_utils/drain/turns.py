# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose turn it is when many nodes are drained: what stands on the nodes about it, and who comes next. Pure. Private to this collection."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

from .claims import CLAIM
from .room import Room

Json = dict[str, t.Any]
ROLLING = "okd.virt/rolling"
"""Annotation of a node that is one of many: the run, and whether its turn is over."""
STILL_TO_COME = "okd.virt/still-to-come"
"""Taint (PreferNoSchedule) of nodes whose turn is yet to come: VMs that go there would have to move again."""
_SLACK = 1.25
"""How much more room than VMs there must be: nodes are never filled to the brim."""
TO_COME, DONE, QUARANTINED = "to_come", "done", "quarantined"


@dataclass(frozen=True)
class Turn:
    """What a node says of its turn."""

    run: str
    state: str = TO_COME
    since: str = ""

    def text(self) -> str:
        return json.dumps({"run": self.run, "state": self.state, "since": self.since}, sort_keys=True)


def turn_of(node: Json) -> Turn | None:
    """None for a node of which no run knows."""
    text = (node["metadata"].get("annotations") or {}).get(ROLLING)
    try:
        found = json.loads(text) if text else None
        return Turn(str(found["run"]), str(found["state"]), str(found["since"])) if found else None
    except (ValueError, TypeError, KeyError):
        return None


def with_turn(node: Json, turn: Turn | None, attractive: bool, schedulable: bool | None = None, release: bool = False) -> Json:
    """The conditional merge patch that says so on a node: annotation, taint, whether it takes pods, and whether the claim goes."""
    metadata, spec = node["metadata"], node.get("spec") or {}
    taints = [taint for taint in spec.get("taints") or () if taint.get("key") != STILL_TO_COME]
    if not attractive:
        taints.append({"key": STILL_TO_COME, "effect": "PreferNoSchedule"})
    annotations: Json = {ROLLING: turn.text() if turn else None}
    if release:
        annotations[CLAIM] = None
    patch: Json = {"metadata": {"resourceVersion": metadata["resourceVersion"], "annotations": annotations}, "spec": {"taints": taints or None}}
    if schedulable is not None:
        patch["spec"]["unschedulable"] = None if schedulable else True
    return patch


@dataclass
class Queue:
    """The nodes of a run by what has become of them."""

    waiting: list[str] = field(default_factory=list)
    active: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)


def next_node(queue: Queue, room: Room, max_parallel: int) -> tuple[str | None, str]:
    """Who is drained next beside those that are, or why nobody is.

    The spare-memory rule always holds: whatever leaves has room on the rest. More than one at a time only when what leaves has room on nodes that
    need not be drained any more, so that each VM moves as seldom as possible.
    """
    if not queue.waiting or len(queue.active) >= max_parallel:
        return None, ""
    name = min(queue.waiting, key=lambda one: (room.vms.get(one, 0), one))
    leaving = [*queue.active, name]
    if not room.fits(leaving, room.free):
        return None, f"the VMs of {', '.join(leaving)} have no room on the other nodes"
    settled = set(room.free) - set(queue.waiting) - set(queue.active)
    if queue.active and not room.fits(leaving, settled, _SLACK):
        return None, f"the VMs of {', '.join(leaving)} would have to move again"
    return name, ""
