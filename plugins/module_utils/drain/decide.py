# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do next on a node that is drained. Pure: it is told what the cluster shows and what was tried, and asks nobody. Private to this collection."""

from __future__ import annotations

import enum
import typing as t
from dataclasses import dataclass, field

from .._migrations.memory import memory_bytes
from .._migrations.reasons import why_failed
from .._migrations.state import is_active
from .._pods import is_launcher
from .fates import Around, Fate, Key, Way, fate
from .moves import Attempts, attempts
from .request import BY_EVICTION, Request

Json = dict[str, t.Any]
RETRY = 5.0
"""Seconds between two tries to evict the same pod, as kubectl drain has them."""
_UNSEEN = 10.0
"""Seconds after which a migration that was made and is not seen counts as lost."""
_RESTARTS = 2
"""VMs that are stopped and started at once."""


class Verb(enum.Enum):
    """What is asked of the cluster."""

    MIGRATE = "migrate"
    MARK = "mark"
    EVICT = "evict"
    RESTART = "restart"


STARTING = (Verb.MIGRATE, Verb.MARK)
"""What takes a slot."""


@dataclass(frozen=True)
class Act:
    """One request. C(attempt) counts the migrations of a VM from 1."""

    verb: Verb
    pod: Json
    key: Key | None = None
    attempt: int = 1

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])


@dataclass
class Trying:
    """What was asked about a pod: when it may be asked again (monotonic seconds), and what the last answer was."""

    next_at: float = 0.0
    tries: int = 0
    accepted: bool = False
    code: str = ""
    sentence: str = ""
    finished: bool = False
    """Whether the pod had ended when that was asked."""


@dataclass
class Memory:
    """What one run remembers of one node. Everything that matters is in the cluster too: without it a run only asks once more."""

    trying: dict[str, Trying] = field(default_factory=dict)
    made: dict[Key, tuple[str, float]] = field(default_factory=dict)
    """Migrations that were made, or marks (without a name) that were set, and are not seen yet: name and when."""
    failed_at: dict[str, float] = field(default_factory=dict)
    """When a failed migration was first seen, by uid."""
    busy: dict[str, Verb] = field(default_factory=dict)
    """Pods about which a request is under way, and which."""

    @property
    def starting(self) -> int:
        """Migrations that were asked for and are not seen yet."""
        return len(self.made) + sum(1 for verb in self.busy.values() if verb in STARTING)


@dataclass
class View:
    """One node as the cluster shows it. C(migrations) are those of the whole cluster."""

    name: str
    pods: t.Sequence[Json]
    around: Around
    migrations: t.Sequence[Json] = ()


@dataclass(frozen=True)
class Standing:
    """A pod that is still there, and why."""

    pod: Json
    fate: Fate

    @property
    def stuck(self) -> bool:
        """Whether waiting alone changes nothing."""
        return self.fate.way is Way.BLOCKED


@dataclass
class Decision:
    """C(acts) in the order of their importance; C(pending) is all that has to go and is there; C(moving) are the VMs on their way."""

    acts: list[Act] = field(default_factory=list)
    pending: list[Standing] = field(default_factory=list)
    left: list[Standing] = field(default_factory=list)
    moving: set[Key] = field(default_factory=set)
    wake: float = float("inf")
    """The monotonic time at which to decide again if nothing happens."""

    @property
    def done(self) -> bool:
        return not self.pending

    @property
    def stuck(self) -> bool:
        """Whether all that is left can't leave."""
        return bool(self.pending) and all(one.stuck for one in self.pending)


def decide(view: View, memory: Memory, request: Request, run: str, slots: int, now: float) -> Decision:
    """What to ask for now, when so many migrations may be started out of this node."""
    tried = attempts(view.migrations, run, view.name)
    decision = Decision()
    standing = [Standing(pod, fate(pod, view.name, view.around, request)) for pod in view.pods]
    for one in standing:
        if one.fate.way is Way.LEAVE:
            decision.left.append(one)
        else:
            decision.pending.append(_with_history(one, tried, memory, request))
    for found in tried.values():
        for failure in found.failures:
            memory.failed_at.setdefault(failure["metadata"]["uid"], now)
    decision.moving = {one.fate.vmi for one in decision.pending if one.fate.vmi and _moves(one.fate.vmi, view, memory, tried)}
    _start_moves(decision, view, memory, request, tried, slots, now)
    _restart(decision, memory, now)
    _evict(decision, memory, request, now)
    return decision


def _with_history(one: Standing, tried: t.Mapping[Key, Attempts], memory: Memory, request: Request) -> Standing:
    """What it stands for after what was tried: a VM whose migrations fail again and again, a pod whose eviction is refused."""
    found = tried.get(one.fate.vmi) if one.fate.vmi else None
    if one.fate.way is Way.MIGRATE and found and found.failures and found.current is None:
        reason = why_failed(found.failures[-1], None)
        number = found.number
        sentence = f"VM {'/'.join(one.fate.vmi or ())}: {number} migration{'s' if number > 1 else ''} failed, lastly since {reason.sentence}"
        way = Way.BLOCKED if number >= request.migration_attempts else Way.MIGRATE
        return Standing(one.pod, Fate(way, reason.code, sentence, one.fate.vmi))
    known = memory.trying.get(one.pod["metadata"]["uid"])
    if known is not None and known.code:
        way = Way.BLOCKED if known.code == "forbidden" else one.fate.way
        return Standing(one.pod, Fate(way, known.code, known.sentence, one.fate.vmi))
    return one


def forget_seen(memory: Memory, view: View, now: float) -> None:
    """Migrations and marks that are seen by now need not be remembered, and one that never shows up was not made."""
    seen = {one["metadata"]["name"] for one in view.migrations}

    def is_seen(key: Key, name: str) -> bool:
        return name in seen if name else _is_marked(key, view)

    memory.made = {key: (name, at) for key, (name, at) in memory.made.items() if not is_seen(key, name) and now - at < _UNSEEN}


def _is_marked(key: Key, view: View) -> bool:
    vmi = view.around.vmis.get(key)
    return vmi is None or (vmi.get("status") or {}).get("evacuationNodeName") == view.name


def _moves(key: Key, view: View, memory: Memory, tried: t.Mapping[Key, Attempts]) -> bool:
    found = tried.get(key)
    if key in memory.made or (found is not None and (found.current is not None or found.succeeded)):
        return True
    return key in view.around.vmis and _is_marked(key, view)


def _start_moves(
    decision: Decision, view: View, memory: Memory, request: Request, tried: t.Mapping[Key, Attempts], slots: int, now: float
) -> None:
    """The largest first: what takes longest must not begin last."""
    ready = []
    for one in decision.pending:
        key = one.fate.vmi
        if one.fate.way is not Way.MIGRATE or key is None or key in decision.moving or one.pod["metadata"]["uid"] in memory.busy:
            continue
        found = tried.get(key, Attempts())
        due = memory.failed_at.get(found.failures[-1]["metadata"]["uid"], now) + found.back_off() if found.failures else now
        asked = memory.trying.get(one.pod["metadata"]["uid"])
        due = max(due, asked.next_at if asked else now)
        if due > now:
            decision.wake = min(decision.wake, due)
            continue
        ready.append((one, key, found.number + 1))
    ready.sort(key=lambda item: (-memory_bytes(view.around.vmis[item[1]]), item[1]))
    verb, number = Verb.MIGRATE, slots
    if request.move_by == BY_EVICTION:
        # Marked ones without a migration that runs will take the slots that are free.
        waiting = sum(1 for key in decision.moving if key not in memory.made and not _has_slot(key, tried))
        verb, number = Verb.MARK, slots + request.marked_ahead - waiting
    decision.acts += [Act(verb, one.pod, key, attempt) for one, key, attempt in ready[:max(0, number)]]


def _has_slot(key: Key, tried: t.Mapping[Key, Attempts]) -> bool:
    current = tried.get(key, Attempts()).current
    return current is not None and is_active(current)


def _restart(decision: Decision, memory: Memory, now: float) -> None:
    candidates = [one for one in decision.pending if one.fate.way is Way.RESTART]
    under_way = sum(1 for one in candidates if memory.trying.get(one.pod["metadata"]["uid"], Trying()).accepted)
    for one in candidates:
        if under_way < _RESTARTS and _may_ask(one, memory, decision, now):
            decision.acts.append(Act(Verb.RESTART, one.pod, one.fate.vmi))
            under_way += 1


def _evict(decision: Decision, memory: Memory, request: Request, now: float) -> None:
    vms_left = any(is_launcher(one.pod) and one.fate.way is not Way.REMOVE and not one.stuck for one in decision.pending)
    for one in decision.pending:
        first = one.fate.way is Way.REMOVE or (one.fate.way is Way.EVICT and (not (request.vms_first and vms_left) or is_launcher(one.pod)))
        if first and _may_ask(one, memory, decision, now):
            decision.acts.append(Act(Verb.EVICT, one.pod, one.fate.vmi))


def _may_ask(one: Standing, memory: Memory, decision: Decision, now: float) -> bool:
    uid = one.pod["metadata"]["uid"]
    known = memory.trying.get(uid, Trying())
    if uid in memory.busy or known.accepted:
        return False
    if one.fate.way is Way.REMOVE and not known.finished:
        # What was asked before concerned the VM, which has left.
        return True
    if known.next_at > now:
        decision.wake = min(decision.wake, known.next_at)
        return False
    return True
