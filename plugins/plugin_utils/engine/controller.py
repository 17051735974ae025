# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every controller is made of: informers, a queue of keys, a loop that reconciles them, and events.

Source of the patterns: client-go util/workqueue, tools/record.
"""
from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import logging
import typing as t

from .clock import Clock
from .errors import StatusError
from .informers import Informer, Informers, object_key
from .interface import EVENTS, Cluster, Object, Ref

__all__ = ["Controller", "EventRecorder", "Informer", "Informers", "Key", "OwnWrites", "Stoppable", "WorkQueue", "object_key"]

_LOG = logging.getLogger(__name__)
_FIRST_RETRY, _LONGEST_RETRY = 0.005, 1000.0

Key = t.Hashable


class Stoppable(t.Protocol):
    """What runs until it is stopped: a controller, or informers that controllers share."""

    async def stop(self) -> None: ...


class WorkQueue:
    """Keys to reconcile: each once, never by two workers at a time, later if asked, and ever later when they fail."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: collections.deque[Key] = collections.deque()
        self._waiting: set[Key] = set()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._idle: collections.deque[asyncio.Future[None]] = collections.deque()
        """Workers that wait for a key."""
        self._delayed: set[asyncio.Task[None]] = set()

    def add(self, key: Key) -> None:
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._wake()

    def add_after(self, key: Key, seconds: float, background: bool = False) -> asyncio.Task[None] | None:
        """Add a key when so much engine time has passed; `background` as in Clock.sleep. Returns what can be cancelled, unless it is done."""
        if seconds <= 0:
            self.add(key)
            return None

        async def later() -> None:
            await self._clock.sleep(seconds, background=background)
            self.add(key)

        task = asyncio.create_task(later())
        self._delayed.add(task)
        task.add_done_callback(self._delayed.discard)
        return task

    def failed(self, key: Key) -> None:
        """Try again, each time after twice as long. A failure alone never makes a jumping clock jump."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        self.add_after(key, min(_FIRST_RETRY * 2.0**min(count, 40), _LONGEST_RETRY), background=True)

    def forget(self, key: Key) -> None:
        self._failures.pop(key, None)

    def __len__(self) -> int:
        return len(self._ready) + len(self._working)

    def _wake(self) -> None:
        """Let the worker go on that has waited longest."""
        while self._idle:
            worker = self._idle.popleft()
            if not worker.done():
                worker.set_result(None)
                return

    def _woken(self) -> asyncio.Future[None]:
        """Done when there may be a key for this worker."""
        worker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(worker)
        return worker

    async def get(self) -> Key:
        while not self._ready:
            await self._woken()
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        for task in self._delayed:
            task.cancel()


class Controller:
    """Reconciles keys. A subclass sets `name`, makes informers in `setup` and writes `reconcile`."""

    name = ""
    observer: Cluster | None = None
    """Who the informers read as, when that is not who the controller writes as."""

    def __init__(self) -> None:
        self._shared: Informers | None = None
        self._informers: list[Informer] = []
        self._own: list[Informer] = []
        self._tasks: list[asyncio.Task[None]] = []

    def setup(self) -> None:
        """Make informers and register their handlers; cluster, clock and queue are set."""
        raise NotImplementedError

    async def reconcile(self, key: t.Any) -> float | None:
        """Bring one thing to where it should be; returns after how many engine seconds to look again, or None.

        A raised StatusError is retried with back-off.
        """
        raise NotImplementedError

    def informer(self, ref: Ref, label_selector: str = "", field_selector: str = "", cluster: Cluster | None = None) -> Informer:
        """The resource as the given cluster shows it, or else as the shared informers or this controller see it."""
        if cluster is None and self._shared is not None:
            made = self._shared.informer(ref, label_selector, field_selector)
        else:
            made = Informer(cluster or self.cluster, ref, self.clock, label_selector, field_selector)
            self._own.append(made)
        self._informers.append(made)
        return made

    def enqueue(self, _event: str, obj: Object, _before: Object | None) -> None:
        """A handler that queues the object's (namespace, name)."""
        self.queue.add(object_key(obj))

    def start(self, cluster: Cluster, clock: Clock, workers: int = 1, informers: Informers | None = None) -> None:
        """Follow the cluster and reconcile. With `informers`, caches are shared with the other controllers that are given them."""
        self.cluster, self.clock, self._shared = cluster, clock, informers
        self.queue = WorkQueue(clock)
        self.setup()
        for informer in self._informers:
            informer.start()
        self._tasks = [asyncio.create_task(self._work(), name=f"{self.name} {number}") for number in range(workers)]

    async def stop(self) -> None:
        self.queue.close()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for informer in self._own:
            await informer.stop()

    async def _work(self) -> None:
        for informer in self._informers:
            await informer.synced()
        busy = self.clock.busy()
        while True:
            key = await self.queue.get()
            try:
                with busy:
                    again = await self.reconcile(key)
                self.queue.forget(key)
                if again is not None:
                    self.queue.add_after(key, again)
            except StatusError as error:
                _LOG.debug("%s: %s: %s", self.name, key, error.message)
                self.queue.failed(key)
            except Exception:
                _LOG.exception("%s: %s", self.name, key)
                self.queue.failed(key)
            finally:
                self.queue.done(key)


class OwnWrites:
    """What a controller made last of each object, with nothing more to do: to hear of that, and of nothing else, is no news.

    Only for writes that fail when the object is no longer as it was seen, such as update().
    """

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], tuple[str, str]] = {}

    def forget(self, key: tuple[str, str]) -> None:
        """For a controller that looks at the object again: it may not know of its write yet, and has to look once more when it does."""
        self._versions.pop(key, None)

    def note(self, seen: Object, written: Object) -> None:
        """The object as the controller had seen it, and as it was after the write."""
        self._versions[object_key(written)] = _version(seen), _version(written)

    def heard(self, event: str, obj: Object, before: Object | None) -> bool:
        """Whether an informer's event tells no more than what was written last; says so once.

        One that lists anew tells what others wrote meanwhile by the same event.
        """
        versions = self._versions.pop(object_key(obj), None)
        return event == "MODIFIED" and before is not None and versions == (_version(before), _version(obj))


def _version(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion"))


class EventRecorder:
    """Writes core/v1 Events; the same event again raises its count. Never raises: an event that is lost is lost."""

    def __init__(self, cluster: Cluster, clock: Clock, component: str) -> None:
        self._cluster, self._clock, self._component = cluster, clock, component
        self._known: dict[str, tuple[str, str, int]] = {}

    async def event(self, obj: Object, kind: str, reason: str, message: str) -> None:
        """kind is Normal or Warning. Source of the aggregation: client-go tools/record/events_cache.go."""
        metadata = obj["metadata"]
        namespace = metadata.get("namespace") or "default"
        involved = {
            "kind": obj["kind"], "apiVersion": obj["apiVersion"], "name": metadata["name"],
            "uid": metadata.get("uid", ""), "resourceVersion": metadata.get("resourceVersion", ""),
        }
        if metadata.get("namespace"):
            involved["namespace"] = metadata["namespace"]
        identity = "\0".join((obj["kind"], namespace, metadata["name"], metadata.get("uid", ""), kind, reason, message))
        now = self._clock.timestamp()
        try:
            if identity in self._known:
                await self._count(identity, now)
                return
            digest = hashlib.sha256(f"{identity}\0{now}".encode()).hexdigest()[:16]
            event = {
                "kind": "Event", "apiVersion": "v1", "metadata": {"name": f"{metadata['name']}.{digest}", "namespace": namespace},
                "involvedObject": involved, "reason": reason, "message": message, "type": kind, "count": 1,
                "firstTimestamp": now, "lastTimestamp": now, "source": {"component": self._component},
                "reportingComponent": self._component, "reportingInstance": "",
            }
            made = await self._cluster.create(EVENTS, event, namespace)
            self._known[identity] = (namespace, made["metadata"]["name"], 1)
        except StatusError as error:
            _LOG.debug("event %s of %s lost: %s", reason, metadata["name"], error.message)

    async def _count(self, identity: str, now: str) -> None:
        namespace, name, count = self._known[identity]
        try:
            await self._cluster.patch(EVENTS, name, {"count": count + 1, "lastTimestamp": now}, namespace)
            self._known[identity] = (namespace, name, count + 1)
        except StatusError:
            del self._known[identity]
