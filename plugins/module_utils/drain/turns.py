# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose turn it is when many nodes are drained: what stands on the nodes about it, and who comes next. Pure. Private to this collection."""

from __future__ import annotations

import collections
import json
import typing as t
from dataclasses import asdict, dataclass, field

from .._placement.room import Room
from .claims import CLAIM

Json = dict[str, t.Any]
ROLLING = "okd.virt/rolling"
"""Annotation of a node that is one of many: the run, and whether its turn is over."""
STILL_TO_COME = "okd.virt/still-to-come"
"""Taint (PreferNoSchedule) of nodes whose turn is yet to come: VMs that go there would have to move again."""
_SLACK = 1.25
"""How much more room than VMs there must be: nodes are never filled to the brim."""
_OF_EACH = 10
"""How many of the waiting nodes of one CPU model are looked at, the emptiest first: a larger one has room nowhere where they have none."""
TO_COME, DONE, QUARANTINED = "to_come", "done", "quarantined"
POSTPONED = "postponed"
"""It would not be done by the end of the window, and is left alone."""
PREPARING, DRAINING, EMPTY, SOAKING = "preparing", "draining", "empty", "soaking"
"""In between, where the site has tasks of its own: it prepares the node, the node is drained, it is empty and the site works on it, it is watched."""
BEFORE, AFTER = "before", "after"
MOMENTS = {PREPARING: BEFORE, EMPTY: AFTER}
"""At what moment the site has a node that is in a state."""


@dataclass(frozen=True)
class Turn:
    """What a node says of its turn.

    C(since) and C(began), of the state and of the run, are RFC 3339. C(code) and C(sentence) say why it was put aside; C(moved) VMs have left it in
    C(seconds), and the site has had it for C(site_seconds).
    """

    run: str
    state: str = TO_COME
    since: str = ""
    began: str = ""
    code: str = ""
    sentence: str = ""
    moved: int = 0
    seconds: float = 0.0
    site_seconds: float = 0.0

    def text(self) -> str:
        stated = {name: value for name, value in asdict(self).items() if value or name in ("run", "state", "since")}
        return json.dumps(stated, sort_keys=True)


def turn_of(node: Json) -> Turn | None:
    """None for a node of which no run knows."""
    text = (node["metadata"].get("annotations") or {}).get(ROLLING)
    try:
        found = json.loads(text) if text else None
        if not found:
            return None
        words = {name: str(found[name]) for name in ("run", "state", "since")} | {name: str(found.get(name) or "") for name in ("began", "code", "sentence")}
        return Turn(**words, moved=int(found.get("moved") or 0), seconds=float(found.get("seconds") or 0), site_seconds=float(found.get("site_seconds") or 0))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def is_marked(node: Json) -> bool:
    """Whether anything of a turn stands on a node: the annotation or the taint."""
    taints = (node.get("spec") or {}).get("taints") or ()
    return ROLLING in (node["metadata"].get("annotations") or {}) or any(taint.get("key") == STILL_TO_COME for taint in taints)


def with_turn(
    node: Json, turn: Turn | None, attractive: bool, schedulable: bool | None = None, release: bool = False, claim: str = "",
) -> Json:
    """The conditional merge patch that says so on a node: annotation, taint, whether it takes pods, and whether its claim goes or is another one."""
    metadata, spec = node["metadata"], node.get("spec") or {}
    taints = [taint for taint in spec.get("taints") or () if taint.get("key") != STILL_TO_COME]
    if not attractive:
        taints.append({"key": STILL_TO_COME, "effect": "PreferNoSchedule"})
    annotations: Json = {ROLLING: turn.text() if turn else None}
    if release:
        annotations[CLAIM] = None
    elif claim:
        annotations[CLAIM] = claim
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

    The spare-memory rule always holds: whatever leaves has room on the rest, or a place for each on nodes that are not for everybody. Next is the node by
    which the fewest VMs have to move once more, and there is more than one at a time only when all that leaves finds a place on nodes that need not be
    drained any more.
    """
    if not queue.waiting or len(queue.active) >= max_parallel:
        return None, ""
    by_size = sorted(queue.waiting, key=lambda one: (room.vms.get(one, 0), one))
    allowed = [
        name for name in _some_of_each(by_size, room)
        if room.fits([*queue.active, name], room.free) or room.has_places([*queue.active, name])
    ]
    if not allowed:
        return None, f"the VMs of {', '.join([*queue.active, by_size[0]])} have no room on the other nodes"
    settled = set(room.free) - set(queue.waiting) - set(queue.active)
    if queue.active:
        for name in allowed:
            leaving = [*queue.active, name]
            if room.fits(leaving, settled, _SLACK) and not room.left_over(leaving, settled, _SLACK):
                return name, ""
        return None, f"the VMs of {', '.join([*queue.active, allowed[0]])} would have to move again"
    again = {name: room.left_over([name], settled) + _later(name, queue.waiting, settled, room) for name in allowed}
    return min(again, key=lambda one: (again[one], room.vms.get(one, 0), one)), ""


def _some_of_each(names: t.Sequence[str], room: Room) -> list[str]:
    """Some of each CPU model: they differ in whom they can take over."""
    seen: collections.Counter[str] = collections.Counter()
    found = []
    for name in names:
        model = room.models.get(name, "")
        seen[model] += 1
        if seen[model] <= _OF_EACH:
            found.append(name)
    return found


def _later(name: str, waiting: t.Iterable[str], settled: t.Iterable[str], room: Room) -> int:
    """How many VMs at least have to move once more later on: for each CPU model that no node runs that is done by then, those of one node."""
    least: dict[str, int] = {}
    done = [*settled, name]
    for other in waiting:
        model = room.models.get(other, "")
        if other != name and not any(room.runs(model, one) for one in done):
            number = len(room.demands.get(other, ()))
            least[model] = min(number, least.get(model, number))
    return sum(least.values())
