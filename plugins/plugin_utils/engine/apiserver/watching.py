# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches: what happens to the objects of a kind, from a version on, as the client selected and wants to see them.

Source: Kubernetes apiserver pkg/storage/cacher/{cacher,cache_watcher}.go, pkg/endpoints/handlers/watch.go.
"""
from __future__ import annotations

import asyncio
import collections.abc
import dataclasses
import functools
import math
import secrets
import typing as t

from .. import errors
from ..kinds import Kind
from ..store.store import Expired, Store, Stored, StoreEvent, Subscription
from .options import ListOptions, resource_version
from .reading import matcher
from .resources import Call, Object, dumps, object_bytes, object_in

_SHORTEST_DEFAULT, _LONGEST_DEFAULT = 1800, 3600
_BOOKMARK_EVERY, _BEFORE_END = 60.0, 2.0

Event = tuple[str, Object, Stored | None]
"""Type, object in the kind's version, and what is stored when the object is exactly that."""
Seen = t.Callable[[str, Object], None]
"""Called with type and object."""


class Watch:
    """One watch, opened at once (so that its errors are an answer), and read as an async iterator of events or handed over.

    Ends after timeout_seconds (of the client's time, not the engine's). Raises StatusError 410 while it is read when the version
    is too old or the reader too slow.
    """

    def __init__(self, store: Store, call: Call) -> None:
        options = ListOptions.of(call.query, watch=True)
        if call.name and not options.field_selector:
            # The old path of a watch names its object.
            options = dataclasses.replace(options, field_selector=f"metadata.name={call.name}")
        self._store, self._kind, self._namespace = store, call.kind, call.namespace
        self._options = options
        self._selected = matcher(options, call.kind)
        self._initial: list[Stored] = []
        self._subscription: Subscription | None = None
        self._failure: errors.StatusError | None = None
        since = resource_version(options.resource_version)
        self._send_initial = options.initial_events if options.initial_events is not None else since == 0
        # Events up to here are not of this watch: one from a version of the future just waits for it.
        self._since = since
        if since > store.version and self._send_initial:
            self._failure = errors.too_large_resource_version(since, store.version)
        elif self._send_initial or since == 0:
            if self._send_initial:
                self._initial = store.list(call.kind.resource, call.namespace or None)
            self._subscription = store.subscribe(call.kind.resource, call.namespace or None, store.version)
        else:
            try:
                self._subscription = store.subscribe(call.kind.resource, call.namespace or None, since)
            except Expired as error:
                # The real server answers 200 and says so in the stream.
                self._failure = errors.expired(str(error))
        self._version = store.version if self._send_initial or since == 0 else since

    def close(self) -> None:
        if self._subscription is not None:
            self._subscription.close()

    def _opened(self) -> Subscription:
        """Raises StatusError 410."""
        if self._failure is not None:
            raise self._failure
        return t.cast(Subscription, self._subscription)

    async def hand_over(self, seen: Seen) -> None:
        """Call `seen` with every event as soon as there is a turn of the loop for it; returns at the end. Without bookmarks.

        Much less work for each event than events(): no task goes on for it.
        """
        subscription = self._opened()
        loop = asyncio.get_running_loop()
        delivery = _Delivery(subscription, functools.partial(self._pass_on, subscription, seen))
        alarm = loop.call_later(self._seconds(), subscription.close)
        try:
            for kind, value, _stored in self._beginning():
                seen(kind, value)
            delivery.deliver()
            await delivery.end
        finally:
            alarm.cancel()
            subscription.close()

    def _pass_on(self, subscription: Subscription, seen: Seen) -> None:
        """Hand over what waits."""
        try:
            while (happened := subscription.poll()) is not None:
                event = self._seen(happened)
                if event is not None:
                    seen(event[0], event[1])
        except Expired as error:
            raise errors.expired(str(error)) from error

    async def events(self) -> collections.abc.AsyncGenerator[Event, None]:
        subscription = self._opened()
        try:
            for event in self._beginning():
                yield event
            if self._options.initial_events and self._options.bookmarks:
                yield self._bookmark({"annotations": {"k8s.io/initial-events-end": "true"}})
            async for event in self._until_timeout(subscription):
                yield event
        finally:
            subscription.close()

    def _beginning(self) -> collections.abc.Iterator[Event]:
        """What is there already, for whoever asked for it."""
        initial, self._initial = self._initial, []
        for stored in initial:
            if self._selected is None or self._selected(stored.value):
                yield ("ADDED", object_in(self._kind, stored), stored)

    def _seconds(self) -> int:
        return self._options.timeout_seconds or _SHORTEST_DEFAULT + secrets.randbelow(_LONGEST_DEFAULT - _SHORTEST_DEFAULT)

    async def _until_timeout(self, subscription: Subscription) -> collections.abc.AsyncGenerator[Event, None]:
        now = asyncio.get_running_loop().time
        seconds = self._seconds()
        ends = now() + seconds
        bookmark_at = min(now() + _BOOKMARK_EVERY, ends - _BEFORE_END) if seconds > _BEFORE_END else now() + _BOOKMARK_EVERY
        alarm = _Alarm(subscription)
        try:
            while True:
                happened = _poll(subscription)
                if happened is None:
                    alarm.at(min(ends, bookmark_at) if self._options.bookmarks else ends)
                    await subscription.happening()
                    happened = _poll(subscription)
                if happened is not None:
                    self._version = happened.version
                    event = self._seen(happened)
                    if event is not None:
                        yield event
                elif subscription.closed:
                    return
                if self._options.bookmarks and now() >= bookmark_at:
                    bookmark_at = now() + _BOOKMARK_EVERY
                    if happened is None:
                        # Everything up to here has been seen, also what did not concern this watch.
                        self._version = self._store.version
                    yield self._bookmark({})
                if now() >= ends and happened is None:
                    return
        finally:
            alarm.off()

    def _seen(self, event: StoreEvent) -> Event | None:
        """What a change is to this watch: an object that leaves the selection is deleted, one that enters is added."""
        stored, selected = event.stored, self._selected
        if event.version <= self._since:
            return None
        if selected is None or event.type == "DELETED":
            if selected is not None and event.previous is not None and not selected(event.previous.value):
                return None
            return (event.type, object_in(self._kind, stored), stored)
        is_in = selected(stored.value)
        was_in = event.previous is not None and selected(event.previous.value)
        if is_in:
            return ("MODIFIED" if was_in else "ADDED", object_in(self._kind, stored), stored)
        if not was_in or event.previous is None:
            return None
        before = object_in(self._kind, event.previous)
        return ("DELETED", {**before, "metadata": {**before["metadata"], "resourceVersion": str(event.version)}}, None)

    def _bookmark(self, more: Object) -> Event:
        metadata = {"resourceVersion": str(self._version), **more}
        return ("BOOKMARK", {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": metadata}, None)


class _Alarm:
    """Wakes the reader of a subscription at a time of the loop. One timer for many events: most come long before it."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def at(self, when: float) -> None:
        if when == self._due and self._timer is not None:
            return
        self.off()
        self._due, self._timer = when, asyncio.get_running_loop().call_at(when, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._subscription.wake()

    def off(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Delivery:
    """Hands over what waits whenever a subscription says that something does, in the next turn of the loop."""

    def __init__(self, subscription: Subscription, pass_on: t.Callable[[], None]) -> None:
        self._subscription, self._pass_on = subscription, pass_on
        loop = asyncio.get_running_loop()
        self._soon = functools.partial(loop.call_soon, self.deliver)
        self.end: asyncio.Future[None] = loop.create_future()
        """Done, or failed, when the subscription has ended."""

    def deliver(self) -> None:
        # Whoever waits for the end may have gone.
        if self.end.done():
            return
        try:
            self._pass_on()
        except Exception as error:
            self.end.set_exception(error)
            return
        if self._subscription.closed:
            self.end.set_result(None)
        else:
            self._subscription.call(self._soon)


def _poll(subscription: Subscription) -> StoreEvent | None:
    """The next event if one waits. Raises StatusError 410 for a reader that fell behind."""
    try:
        return subscription.poll()
    except Expired as error:
        raise errors.expired(str(error)) from error


def frame(kind: Kind, event: Event) -> bytes:
    """One line of a watch."""
    body = object_bytes(kind, event[2]) if event[2] is not None else dumps(event[1])
    return b'{"type":"%b","object":%b}\n' % (event[0].encode(), body)


def error_frame(error: errors.StatusError) -> bytes:
    return b'{"type":"ERROR","object":%b}\n' % dumps(error.to_status())


async def frames(
    kind: Kind, watch: Watch, shown: t.Callable[[Object], Object] | None = None
) -> collections.abc.AsyncGenerator[bytes, None]:
    """The lines of a watch; `shown` turns objects into another representation (Table, PartialObjectMetadata)."""
    events = watch.events()
    try:
        async for event in events:
            if shown is not None and event[0] != "BOOKMARK":
                yield b'{"type":"%b","object":%b}\n' % (event[0].encode(), dumps(shown(event[1])))
            else:
                yield frame(kind, event)
    except errors.StatusError as error:
        yield error_frame(error)
    finally:
        await events.aclose()
        watch.close()
