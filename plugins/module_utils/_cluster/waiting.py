# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for objects to become what they should: by watch, or by polling where watching is forbidden. Private to this collection."""

from __future__ import annotations

import queue
import threading
import time
import typing as t
from dataclasses import dataclass, field

from .._errors import DeadlineExceeded, Forbidden, Gone, VirtError
from .._plan import Listener
from .client import Cluster
from .resources import Resource
from .transport import Faulty

Json = dict[str, t.Any]
HEARTBEAT = 30.0
POLL = 5.0
_RESUME_PAUSE = 0.5
_LONGEST_WATCH = 300


@dataclass(frozen=True)
class Target:
    """What to follow: one object by name, or all of a resource, in one namespace or in all."""

    resource: Resource
    namespace: str | None = None
    name: str | None = None
    label_selector: str | None = None

    @property
    def field_selector(self) -> str | None:
        return f"metadata.name={self.name}" if self.name else None


@dataclass(frozen=True)
class Verdict:
    """Whether what was waited for holds; if not, what is missing, in words. C(state) is announced whenever it changes."""

    done: bool
    pending: tuple[str, ...] = ()
    state: str = ""


@dataclass
class Snapshot:
    """The followed objects as last seen, by target and (namespace, name)."""

    objects: dict[Target, dict[tuple[str, str], Json]] = field(default_factory=dict)

    def all(self, target: Target) -> list[Json]:
        return list(self.objects.get(target, {}).values())

    def one(self, target: Target) -> Json | None:
        """The object of a target that names one."""
        return next(iter(self.objects.get(target, {}).values()), None)


def _key(obj: Json) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


_Message: t.TypeAlias = "tuple[Target, dict[tuple[str, str], Json] | VirtError | None]"


class _Follower(threading.Thread):
    """Keeps one target's objects up to date and reports each change."""

    def __init__(self, cluster: Cluster, target: Target, out: queue.Queue[_Message], until: float) -> None:
        super().__init__(daemon=True)
        self._cluster, self._target, self._out, self._until = cluster, target, out, until
        self._objects: dict[tuple[str, str], Json] = {}
        self._may_watch = True
        self.stopped = threading.Event()

    def run(self) -> None:
        try:
            while not self.stopped.is_set() and time.monotonic() < self._until:
                version = self._list()
                self._watch(version)
        except VirtError as error:
            self._out.put((self._target, error))

    def _list(self) -> str:
        target = self._target
        listed = self._cluster.list(target.resource, target.namespace, target.label_selector, target.field_selector, missing_ok=True)
        self._objects = {_key(item): item for item in listed.items}
        self._report()
        return listed.resource_version

    def _report(self) -> None:
        self._out.put((self._target, dict(self._objects)))

    def _watch(self, version: str) -> None:
        """Follow until the version is too old or the kind can't be watched; broken connections are resumed."""
        target = self._target
        if not self._may_watch:
            self.stopped.wait(POLL)
            return
        while not self.stopped.is_set() and time.monotonic() < self._until:
            seconds = int(max(1, min(_LONGEST_WATCH, self._until - time.monotonic() + 1)))
            try:
                events = self._cluster.watch(target.resource, target.namespace, version, target.label_selector, target.field_selector, seconds)
                for kind, obj in events:
                    version = obj["metadata"].get("resourceVersion") or version
                    if self.stopped.is_set():
                        return
                    if kind == "BOOKMARK":
                        continue
                    if kind == "DELETED":
                        self._objects.pop(_key(obj), None)
                    else:
                        self._objects[_key(obj)] = obj
                    self._report()
            except Gone:
                return
            except Faulty:
                self.stopped.wait(_RESUME_PAUSE)
            except VirtError as error:
                if isinstance(error, Forbidden) or getattr(error, "status", 0) in (404, 405):
                    self._may_watch = False
                    self.stopped.wait(POLL)
                    return
                if getattr(error, "status", 0) not in (429, 500, 502, 503, 504):
                    raise
                self.stopped.wait(_RESUME_PAUSE)


def follow(
    cluster: Cluster, targets: t.Sequence[Target], deadline: float, beat: float = HEARTBEAT
) -> t.Iterator[Snapshot | None]:
    """The state of all targets, once all are known and then at every change; None after C(beat) seconds without any.

    Ends at the deadline (monotonic seconds). Raises VirtError when a target can't be read.
    """
    out: queue.Queue[_Message] = queue.Queue()
    followers = [_Follower(cluster, target, out, deadline) for target in targets]
    snapshot = Snapshot()
    for follower in followers:
        follower.start()
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            try:
                messages = [out.get(timeout=min(left, beat))]
            except queue.Empty:
                yield None
                continue
            while not out.empty():
                messages.append(out.get_nowait())
            for target, message in messages:
                if isinstance(message, VirtError):
                    raise message
                if message is not None:
                    snapshot.objects[target] = message
            if len(snapshot.objects) == len(set(targets)):
                yield snapshot
    finally:
        for follower in followers:
            follower.stopped.set()


def wait_for_all(
    cluster: Cluster, targets: t.Sequence[Target], judge: t.Callable[[Snapshot], Verdict], deadline: float, listener: Listener, what: str,
) -> Verdict:
    """Follow the targets until C(judge) says done. Raises DeadlineExceeded with what is pending; whatever judge raises ends the wait."""
    verdict = Verdict(False, (f"{what} has not been read yet",))
    told = ""
    for snapshot in follow(cluster, targets, deadline):
        if snapshot is None:
            listener.heartbeat("; ".join(verdict.pending) or what)
            continue
        verdict = judge(snapshot)
        if verdict.state and verdict.state != told:
            told = verdict.state
            listener.event(told)
        if verdict.done:
            return verdict
    pending = "; ".join(verdict.pending)
    raise DeadlineExceeded(f"{what} did not happen in time: {pending}.", verdict.pending)


def wait_for(
    cluster: Cluster, resource: Resource, name: str, namespace: str | None, judge: t.Callable[[Json | None], Verdict],
    deadline: float, listener: Listener, what: str,
) -> Verdict:
    """Wait for one object; C(judge) is given None while it does not exist."""
    target = Target(resource, namespace, name)
    return wait_for_all(cluster, (target,), lambda snapshot: judge(snapshot.one(target)), deadline, listener, what)
