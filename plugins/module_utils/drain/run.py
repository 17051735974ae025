# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drain nodes: follow what the cluster shows, do what is decided, say what happens. Private to this collection."""

from __future__ import annotations

import concurrent.futures
import time
import typing as t
from dataclasses import dataclass, field

from .._cluster.client import Cluster
from .._cluster.following import Following, Target
from .._cluster.resources import KUBEVIRTS, NODES, PODS, VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, VIRTUAL_MACHINE_INSTANCES
from .._migrations.limits import Limits, free_slots, limits
from .._migrations.state import is_active, is_final, state_of
from .._plan import Change, Listener
from .._pods import is_launcher
from . import claims
from .acting import Acting, Done
from .claims import Claim
from .copied import Copied
from .decide import STARTING, Decision, Memory, Standing, Verb, View, decide, forget_seen
from .fates import Around, Key
from .moves import is_ours, keep
from .progress import Progress
from .request import Request

Json = dict[str, t.Any]
_BEAT = 1.0
_WORKERS = 4
"""Requests under way at once: virt-api answers five a second."""
_USUAL = ("migrates", "leaving", "finished", "terminating", "evicted", "arriving", "marked")
"""What pods go through when all goes well: nobody need be told."""
MIGRATIONS = Target(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, keep=keep)
SETTINGS = Target(KUBEVIRTS)


def light(obj: Json) -> Json:
    """An object without what only its writers need."""
    return {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key != "managedFields"}}


@dataclass
class Moving:
    """A VM on its way: since when (monotonic seconds), at which attempt, and to where as far as that is known."""

    began: float
    attempt: int = 1
    to: str = ""


@dataclass
class Moved:
    """A VM that has left: to where, in how many seconds, at which attempt."""

    vmi: Key
    to: str
    seconds: float
    attempt: int

    def to_dict(self) -> Json:
        return {"namespace": self.vmi[0], "name": self.vmi[1], "to": self.to, "seconds": round(self.seconds, 1), "attempt": self.attempt}


@dataclass
class NodeDrain:
    """One node that is being drained."""

    name: str
    claim: Claim
    node_target: Target
    pod_target: Target
    vmi_target: Target
    memory: Memory = field(default_factory=Memory)
    began: float = field(default_factory=time.monotonic)
    decision: Decision | None = None
    since: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Since when each pod has stood for its code: uid to (code, RFC 3339)."""
    moving: dict[Key, Moving] = field(default_factory=dict)
    moved: list[Moved] = field(default_factory=list)
    evicted: list[Json] = field(default_factory=list)
    renewed: float = field(default_factory=time.monotonic)
    lost: str = ""
    """Why the node is no longer ours."""

    @property
    def targets(self) -> tuple[Target, ...]:
        return self.node_target, self.pod_target, self.vmi_target


def node_drain(name: str, claim: Claim, request: Request) -> NodeDrain:
    """A drain of a node that is cordoned and claimed."""
    return NodeDrain(
        name, claim, Target(NODES, name=name, keep=light),
        Target(PODS, label_selector=request.pod_selector or None, fields=f"spec.nodeName={name}", keep=light),
        Target(VIRTUAL_MACHINE_INSTANCES, label_selector=f"kubevirt.io/nodeName={name}", keep=light),
    )


class Drainer:
    """Drains nodes until they are empty, stuck, taken away, or the time is up."""

    def __init__(self, cluster: Cluster, request: Request, budgets: t.Sequence[Json], listener: Listener) -> None:
        self._request, self._budgets = request, budgets
        self._progress = Progress(listener)
        self._copied = Copied(cluster, request.metrics_path, listener)
        self._drains: dict[str, NodeDrain] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(_WORKERS)
        self.following = Following(cluster, (MIGRATIONS, SETTINGS))
        self._acting = Acting(cluster, request, self._pool, self.following.wake)
        self.changes: list[Change] = []

    def __enter__(self) -> Drainer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.following.__exit__()

    def add(self, drain: NodeDrain) -> None:
        """Begin with a node that is cordoned and claimed."""
        self._drains[drain.name] = drain
        for target in drain.targets:
            self.following.add(target)

    def remove(self, drain: NodeDrain) -> None:
        """Have done with a node."""
        self._drains.pop(drain.name, None)
        for target in drain.targets:
            self.following.leave(target)

    @property
    def active(self) -> list[NodeDrain]:
        return list(self._drains.values())

    def step(self, until: float) -> list[NodeDrain]:
        """Take in what has happened, and act; the drains that have ended, which the caller removes. Raises VirtError."""
        now = time.monotonic()
        wake = min([until, now + _BEAT, *(drain.decision.wake for drain in self.active if drain.decision)])
        self.following.look(max(0.0, min(wake - now, _BEAT)))
        for done in self._acting.finished():
            self._take(done)
        self._renew()
        slots = self._cluster_slots()
        ended = []
        for drain in self.active:
            if not self._ready(drain):
                continue
            slots -= self._decide(drain, slots)
            # What is under way is waited for: its answer may be that a VM was moved.
            if drain.lost or (drain.decision is not None and not drain.memory.busy and (drain.decision.done or drain.decision.stuck)):
                ended.append(drain)
        self._copied.refresh(self._pool)
        self._progress.beat(self.active, self._copied.known)
        return ended

    def _ready(self, drain: NodeDrain) -> bool:
        """Whether what a decision rests on has been read."""
        return all(target in self.following.snapshot.objects for target in (MIGRATIONS, SETTINGS, *drain.targets))

    @property
    def limits(self) -> Limits:
        """As they are now: they may be changed while one drains."""
        return limits(self.following.snapshot.one(SETTINGS))

    def _cluster_slots(self) -> int:
        """Migrations that may be started in the whole cluster."""
        active = sum(1 for one in self.following.snapshot.all(MIGRATIONS) if is_active(one) or (is_ours(one) and not is_final(one)))
        starting = sum(drain.memory.starting for drain in self.active)
        return max(0, self.limits.per_cluster - active - starting)

    def _view(self, drain: NodeDrain) -> View:
        snapshot = self.following.snapshot
        pods = snapshot.all(drain.pod_target)
        vmis = snapshot.objects[drain.vmi_target]
        return View(drain.name, pods, Around(vmis, self._budgets, {pod["metadata"]["uid"] for pod in pods}), snapshot.all(MIGRATIONS))

    def _decide(self, drain: NodeDrain, cluster_slots: int) -> int:
        """Act on one node; how many migrations were started."""
        node = self.following.snapshot.one(drain.node_target)
        found = claims.claim_of(node) if node is not None else None
        if node is None:
            drain.lost = "the node is gone"
            return 0
        if found is None or found.run != drain.claim.run or found.process != drain.claim.process:
            drain.lost = claims.loss(found)
            return 0
        view = self._view(drain)
        forget_seen(drain.memory, view, time.monotonic())
        out_of_node = {key for key, vmi in view.around.vmis.items() if (vmi.get("status") or {}).get("nodeName") == drain.name}
        in_flight = [_as_active(one) for one in view.migrations if is_ours(one) and not is_final(one)]
        others = [one for one in view.migrations if not is_ours(one)]
        here = free_slots(self.limits, [*in_flight, *others], out_of_node) - drain.memory.starting
        drain.decision = decision = decide(view, drain.memory, self._request, drain.claim.run, max(0, min(here, cluster_slots)), time.monotonic())
        self._note(drain, view, decision)
        for act in decision.acts:
            drain.memory.busy[act.uid] = act.verb
            self._acting.ask(drain, act)
        return sum(act.verb in STARTING for act in decision.acts)

    def _note(self, drain: NodeDrain, view: View, decision: Decision) -> None:
        """Keep and say what has changed since the last look."""
        self._progress.counted(drain, decision)
        now, stamp = time.monotonic(), claims.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        there = {}
        for one in decision.pending:
            uid = one.pod["metadata"]["uid"]
            known = drain.since.get(uid)
            there[uid] = known if known is not None and known[0] == one.fate.code else (one.fate.code, stamp)
            if known is not None and known[0] != one.fate.code and one.fate.code not in _USUAL:
                self._progress.standing(drain, one)
        drain.since = there
        for key in decision.moving:
            if key not in drain.moving:
                drain.moving[key] = Moving(now)
                self._progress.moves(drain, key)
            to = state_of(view.around.vmis.get(key, {})).get("targetNode")
            if to and to != drain.name:
                drain.moving[key].to = str(to)
        self._left(drain, view, decision, now)

    def _left(self, drain: NodeDrain, view: View, decision: Decision, now: float) -> None:
        # Without a pod here a VM has left, even where its instance is still seen as it was.
        here = {one.fate.vmi for one in decision.pending}
        for key in [key for key in drain.moving if key not in decision.moving]:
            found = drain.moving.pop(key)
            if key in here and (view.around.vmis.get(key, {}).get("status") or {}).get("nodeName") == drain.name:
                self._progress.failed(drain, key)
                continue
            drain.moved.append(Moved(key, found.to, now - found.began, found.attempt))
            self._progress.moved(drain, drain.moved[-1])

    def _take(self, done: Done) -> None:
        """What a request has come to."""
        drain = done.drain
        drain.memory.busy.pop(done.act.uid, None)
        if done.change is not None:
            self.changes.append(done.change)
        if done.made and done.act.key is not None:
            drain.memory.made[done.act.key] = done.made, time.monotonic()
            self._made(drain, done.act.key, done.act.attempt)
        if done.trying is not None:
            if done.act.verb is Verb.MARK and done.trying.code == "marked" and done.act.key is not None:
                drain.memory.made[done.act.key] = "", time.monotonic()
            drain.memory.trying[done.act.uid] = done.trying
            if done.trying.accepted and not is_launcher(done.act.pod):
                metadata = done.act.pod["metadata"]
                drain.evicted.append({"namespace": metadata["namespace"], "name": metadata["name"]})
                self._progress.evicted(drain, done.act.pod)

    def _made(self, drain: NodeDrain, key: Key, attempt: int) -> None:
        """A migration was made, which may have been seen, and may even have ended, before its answer came."""
        if key in drain.moving:
            drain.moving[key].attempt = attempt
        elif all(moved.vmi != key for moved in drain.moved):
            drain.moving[key] = Moving(time.monotonic(), attempt)
            self._progress.moves(drain, key, attempt)

    def _renew(self) -> None:
        """Say that we are still at it."""
        now = time.monotonic()
        for drain in self.active:
            if now - drain.renewed >= claims.RENEWAL and not drain.lost:
                drain.renewed = now
                self._acting.renew(drain)


def _as_active(migration: Json) -> Json:
    """One of ours counts from the moment it is made."""
    return {**migration, "status": {**(migration.get("status") or {}), "phase": "Running"}}


__all__ = ("Drainer", "Moved", "NodeDrain", "Standing", "node_drain")
