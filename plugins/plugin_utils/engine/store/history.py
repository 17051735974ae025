# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened lately, per resource, and those who follow it."""
from __future__ import annotations

import asyncio
import bisect
import collections
import typing as t

from .stored import ResourceKey, Stored

RETAINED = 3_000
"""Events kept per resource, so that a watch or a paged list can go on from there."""
BUFFERED = 10_000
"""Events that wait for a reader at most, beyond what it replays; a slower one is dropped."""


class Expired(Exception):
    """The version is older than what is retained."""


class StoreEvent(t.NamedTuple):
    """One write. `stored` of a DELETED event is the object as it was, at the version of its deletion."""

    type: str
    stored: Stored
    previous: Stored | None
    version: int


class Subscription:
    """The changes of one resource, polled by one reader that is called when there are some. Ends when closed."""

    def __init__(self, owner: _Log, namespace: str | None, replay: t.Iterable[StoreEvent]) -> None:
        self._owner, self.namespace = owner, namespace
        self._buffer = collections.deque(event for event in replay if namespace is None or event.stored.namespace == namespace)
        self._limit = len(self._buffer) + BUFFERED
        self._reader: t.Callable[[], object] | None = None
        self._closed = self._behind = False

    def push(self, event: StoreEvent) -> None:
        """Called by the history, in order."""
        if self._closed or (self.namespace is not None and event.stored.namespace != self.namespace):
            return
        if len(self._buffer) >= self._limit:
            self._buffer.clear()
            self._behind = True
            self.close()
            return
        self._buffer.append(event)
        if self._reader is not None:
            self.wake()

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """No more events; the reader ends after those that wait."""
        if not self._closed:
            self._closed = True
            self._owner.subscriptions.discard(self)
            self.wake()

    def wake(self) -> None:
        """Call the reader, whether something has happened or not."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader()

    def poll(self) -> StoreEvent | None:
        """The next event if one waits: a reader that keeps up need not be called for each. Raises Expired when it fell behind."""
        if self._buffer:
            return self._buffer.popleft()
        if self._behind:
            raise Expired("the reader of this watch fell behind")
        return None

    def call(self, reader: t.Callable[[], object]) -> None:
        """Call the reader once: when an event waits, at the end, or when it is woken."""
        self._reader = reader
        if self._buffer or self._closed:
            self.wake()

    async def happening(self) -> None:
        """Return when a reader would be called."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.call(lambda: None if woken.done() else woken.set_result(None))
        await woken


class _Log:
    """The retained events of one resource, oldest first; those after `oldest` are complete."""

    def __init__(self, oldest: int) -> None:
        self.oldest = oldest
        self.events: collections.deque[StoreEvent] = collections.deque()
        self.subscriptions: set[Subscription] = set()

    def add(self, event: StoreEvent) -> None:
        self.events.append(event)
        if len(self.events) > RETAINED:
            self.oldest = self.events.popleft().version
        for subscription in tuple(self.subscriptions):
            subscription.push(event)


class History:
    """The retained events of every resource."""

    def __init__(self, version: int) -> None:
        self._beginning = self._watches_from = version
        self._logs: dict[ResourceKey, _Log] = {}

    def begin_watches(self, version: int) -> None:
        """No watch starts before this version; lists at an older one go on as long as it is retained."""
        self._watches_from = version

    def _log(self, resource: ResourceKey) -> _Log:
        log = self._logs.get(resource)
        if log is None:
            log = self._logs[resource] = _Log(self._beginning)
        return log

    def add(self, event: StoreEvent) -> None:
        self._log(event.stored.resource).add(event)

    def after(self, resource: ResourceKey, version: int, newest_first: bool = False) -> t.Iterator[StoreEvent]:
        """The events of a resource after a version. Raises Expired."""
        log = self._log(resource)
        if version < log.oldest:
            raise Expired(f"too old resource version: {version} ({log.oldest})")
        events = log.events
        if newest_first:
            return _while_after(reversed(events), version)
        start = bisect.bisect_right(events, version, key=lambda event: event.version)
        return iter([events[index] for index in range(start, len(events))])

    def subscribe(self, resource: ResourceKey, namespace: str | None, since: int) -> Subscription:
        """Raises Expired."""
        if since < self._watches_from:
            raise Expired(f"too old resource version: {since} ({self._watches_from})")
        log = self._log(resource)
        subscription = Subscription(log, namespace, self.after(resource, since))
        log.subscriptions.add(subscription)
        return subscription

    def compact(self, version: int) -> None:
        """Drop every event up to a version."""
        self._beginning = max(self._beginning, version)
        for log in self._logs.values():
            log.oldest = max(log.oldest, version)
            while log.events and log.events[0].version <= version:
                log.events.popleft()

    def close(self) -> None:
        for log in self._logs.values():
            for subscription in tuple(log.subscriptions):
                subscription.close()


def _while_after(events: t.Iterable[StoreEvent], version: int) -> t.Iterator[StoreEvent]:
    for event in events:
        if event.version <= version:
            return
        yield event
