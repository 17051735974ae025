# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects kept up to date while one works: by watch, or by polling where watching is forbidden. Private to this collection."""

from __future__ import annotations

import queue
import threading
import time
import typing as t
from dataclasses import dataclass, field

from .._errors import Forbidden, Gone, VirtError
from .client import Cluster, Keep
from .resources import Resource
from .transport import Faulty

Json = dict[str, t.Any]
Key = tuple[str, str]
"""Namespace and name."""
POLL = 5.0
_RESUME_PAUSE = 0.5
_LONGEST_WATCH = 300
_UNSERVED = (404, 405)
_TRANSIENT = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Target:
    """What to follow: one object by name, or all of a resource, in one namespace or in all.

    C(keep) says what is kept of an object, None for nothing: thousands of objects need not be held whole.
    """

    resource: Resource
    namespace: str | None = None
    name: str | None = None
    label_selector: str | None = None
    fields: str | None = None
    keep: Keep | None = None

    @property
    def field_selector(self) -> str | None:
        return f"metadata.name={self.name}" if self.name else self.fields


@dataclass
class Snapshot:
    """The followed objects as last seen, by target and (namespace, name). A target that is not there has not been read yet."""

    objects: dict[Target, dict[Key, Json]] = field(default_factory=dict)

    def all(self, target: Target) -> list[Json]:
        return list(self.objects.get(target, {}).values())

    def one(self, target: Target) -> Json | None:
        """The object of a target that names one."""
        return next(iter(self.objects.get(target, {}).values()), None)


class Listed(t.NamedTuple):
    """Everything that a target has."""

    target: Target
    objects: dict[Key, Json]


class Changed(t.NamedTuple):
    """One object that came, changed, or went (None)."""

    target: Target
    key: Key
    obj: Json | None


class Broken(t.NamedTuple):
    """Why a target can't be followed."""

    target: Target
    error: VirtError


class Woken(t.NamedTuple):
    """Nothing of the cluster: somebody has something to tell."""


Message: t.TypeAlias = "Listed | Changed | Broken | Woken"


def key_of(obj: Json) -> Key:
    """Namespace ("" for cluster scope) and name."""
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


class _Follower(threading.Thread):
    """Reads one target, and reports each change."""

    def __init__(self, cluster: Cluster, target: Target, out: queue.Queue[Message]) -> None:
        super().__init__(daemon=True)
        self._cluster, self._target, self._out = cluster, target, out
        self._may_watch = True
        self.stopped = threading.Event()

    def run(self) -> None:
        try:
            while not self.stopped.is_set():
                version = self._list()
                self._watch(version)
        except VirtError as error:
            self._out.put(Broken(self._target, error))

    def _kept(self, obj: Json) -> Json | None:
        return obj if self._target.keep is None else self._target.keep(obj)

    def _list(self) -> str:
        target = self._target
        listed = self._cluster.list(
            target.resource, target.namespace, target.label_selector, target.field_selector, missing_ok=True, keep=target.keep
        )
        self._out.put(Listed(target, {key_of(kept): kept for kept in listed.items}))
        return listed.resource_version

    def _watch(self, version: str) -> None:
        """Follow until the version is too old or the kind can't be watched; broken connections are resumed."""
        target = self._target
        if not self._may_watch:
            self.stopped.wait(POLL)
            return
        while not self.stopped.is_set():
            try:
                events = self._cluster.watch(target.resource, target.namespace, version, target.label_selector, target.field_selector, _LONGEST_WATCH)
                for kind, obj in events:
                    version = obj["metadata"].get("resourceVersion") or version
                    if self.stopped.is_set():
                        return
                    if kind != "BOOKMARK":
                        self._out.put(Changed(target, key_of(obj), None if kind == "DELETED" else self._kept(obj)))
            except Gone:
                return
            except Faulty:
                self.stopped.wait(_RESUME_PAUSE)
            except VirtError as error:
                if isinstance(error, Forbidden) or getattr(error, "status", 0) in _UNSERVED:
                    self._may_watch = False
                    self.stopped.wait(POLL)
                    return
                if getattr(error, "status", 0) not in _TRANSIENT:
                    raise
                self.stopped.wait(_RESUME_PAUSE)


class Following:
    """Targets that may be added and left while one looks at them."""

    def __init__(self, cluster: Cluster, targets: t.Iterable[Target] = ()) -> None:
        self._cluster = cluster
        self._out: queue.Queue[Message] = queue.Queue()
        self._followers: dict[Target, _Follower] = {}
        self.snapshot = Snapshot()
        for target in targets:
            self.add(target)

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_exception: object) -> None:
        for target in list(self._followers):
            self.leave(target)

    def add(self, target: Target) -> None:
        """Follow a target from now on."""
        if target not in self._followers:
            self._followers[target] = follower = _Follower(self._cluster, target, self._out)
            follower.start()

    def leave(self, target: Target) -> None:
        """Follow it no longer."""
        follower = self._followers.pop(target, None)
        if follower is not None:
            follower.stopped.set()
        self.snapshot.objects.pop(target, None)

    def wake(self) -> None:
        """End a look that is under way."""
        self._out.put(Woken())

    def complete(self) -> bool:
        """Whether every target has been read."""
        return len(self.snapshot.objects) == len(self._followers)

    def look(self, seconds: float) -> bool:
        """Take in what has happened, waiting so long for it at most; whether anything has. Raises VirtError for a target that can't be read."""
        until = time.monotonic() + seconds
        try:
            messages = [self._out.get(timeout=max(0.0, until - time.monotonic()))]
        except queue.Empty:
            return False
        while not self._out.empty():
            messages.append(self._out.get_nowait())
        for message in messages:
            self._take(message)
        return True

    def _take(self, message: Message) -> None:
        if isinstance(message, Woken) or message.target not in self._followers:
            return
        if isinstance(message, Broken):
            raise message.error
        if isinstance(message, Listed):
            self.snapshot.objects[message.target] = message.objects
        elif message.obj is None:
            self.snapshot.objects[message.target].pop(message.key, None)
        else:
            self.snapshot.objects[message.target][message.key] = message.obj
