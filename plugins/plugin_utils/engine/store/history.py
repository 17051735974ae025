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
    """The changes of one resource as an async iterator. Ends when closed; raises Expired when its reader fell behind."""

    def __init__(self, owner: _Log, namespace: str | None, replay: t.Iterable[StoreEvent]) -> None:
        self._owner, self.namespace = owner, namespace
        self._buffer: collections.deque[StoreEvent] = collections.deque(event for event in replay if self._concerns(event))
        self._limit = len(self._buffer) + BUFFERED
        self._wake: asyncio.Future[None] | None = None
        self._closed = self._behind = False

    def _concerns(self, event: StoreEvent) -> bool:
        return self.namespace is None or event.stored.namespace == self.namespace

    def push(self, event: StoreEvent) -> None:
        """Called by the history, in order."""
        if self._closed or not self._concerns(event):
            return
        if len(self._buffer) >= self._limit:
            self._buffer.clear()
            self._behind = True
            self.close()
            return
        self._buffer.append(event)
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
        """Let next() return, with nothing if nothing has happened."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def poll(self) -> StoreEvent | None:
        """The next event if one waits: a reader that keeps up need not suspend for each."""
        return self._buffer.popleft() if self._buffer else None

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> StoreEvent:
        while (event := await self.next()) is None:
            if self._closed and not self._buffer and not self._behind:
                raise StopAsyncIteration
        return event

    async def next(self) -> StoreEvent | None:
        """The next event; None when it was closed or woken before there was one. Raises Expired."""
        if not self._buffer and not self._closed:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        if self._behind and not self._buffer:
            raise Expired("the reader of this watch fell behind")
        return self.poll()


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
