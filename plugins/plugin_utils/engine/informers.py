# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cache that follows one resource of the cluster, with indexes and handlers, shared by all controllers of one identity.

Source of the patterns: client-go tools/cache (shared informers, indexers).
"""
from __future__ import annotations

import asyncio
import contextlib
import logging
import typing as t

from .clock import Clock
from .errors import StatusError
from .interface import Cluster, Object, Ref

_LOG = logging.getLogger(__name__)
_WATCH_RETRY = 1.0

Handler = t.Callable[[str, Object, "Object | None"], None]
"""Called with ADDED, MODIFIED or DELETED, the object, and what it was before."""
IndexFunction = t.Callable[[Object], t.Iterable[str]]
"""The values under which an index finds an object."""


def object_key(obj: Object) -> tuple[str, str]:
    """(namespace, name); the namespace is empty for cluster-scoped objects."""
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


class _Index:
    """Keys of objects by the values that a function finds in them, in the order in which they came."""

    def __init__(self, function: IndexFunction) -> None:
        self._function = function
        self._keys: dict[str, dict[tuple[str, str], None]] = {}

    def replace(self, key: tuple[str, str], before: Object | None, after: Object | None) -> None:
        was = [*self._function(before)] if before is not None else []
        values = [*self._function(after)] if after is not None else []
        if was == values:
            return
        for value in was:
            if value in values:
                continue
            keys = self._keys.get(value)
            if keys is not None:
                keys.pop(key, None)
                if not keys:
                    del self._keys[value]
        for value in values:
            if value not in was:
                self._keys.setdefault(value, {})[key] = None

    def keys(self, value: str) -> t.Iterable[tuple[str, str]]:
        return self._keys.get(value, ())

    def count(self, value: str) -> int:
        return len(self._keys.get(value, ()))

    def values(self) -> t.Iterable[str]:
        return self._keys.keys()


class Informer:
    """Every object of one resource as last seen, with handlers that hear of each change. Objects are shared: read only."""

    def __init__(self, cluster: Cluster, ref: Ref, clock: Clock, label_selector: str = "", field_selector: str = "") -> None:
        self._cluster, self.ref, self._clock = cluster, ref, clock
        self._label_selector, self._field_selector = label_selector, field_selector
        self._handlers: list[Handler] = []
        self._objects: dict[tuple[str, str], Object] = {}
        self._indexes: dict[str, _Index] = {}
        self._version = ""
        self._synced = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add_handler(self, handler: Handler) -> None:
        """Handlers added later hear of what is already known as ADDED."""
        self._handlers.append(handler)
        for obj in list(self._objects.values()):
            handler("ADDED", obj, None)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Find objects by what the function says of them; the first function given under a name stays."""
        if name in self._indexes:
            return
        index = self._indexes[name] = _Index(function)
        for key, obj in self._objects.items():
            index.replace(key, None, obj)

    def by_index(self, name: str, value: str) -> t.List[Object]:  # noqa: UP006
        """The objects for which the function of that index gave the value. Raises KeyError without such an index."""
        return [self._objects[key] for key in self._indexes[name].keys(value)]

    def count(self, name: str, value: str) -> int:
        """How many by_index would find."""
        return self._indexes[name].count(value)

    def index_values(self, name: str) -> t.List[str]:  # noqa: UP006
        """Every value under which the index finds something."""
        return [*self._indexes[name].values()]

    def get(self, name: str, namespace: str = "") -> Object | None:
        return self._objects.get((namespace, name))

    def __len__(self) -> int:
        return len(self._objects)

    def list(self, namespace: str | None = None) -> t.List[Object]:  # noqa: UP006
        if namespace is None:
            return [*self._objects.values()]
        return [obj for key, obj in self._objects.items() if key[0] == namespace]

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"informer {self.ref.plural}")

    async def synced(self) -> None:
        """Returns when the first list has been taken over."""
        await self._synced.wait()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                listed = await self._cluster.list(self.ref, "", self._label_selector, self._field_selector)
                self._replace(listed.items)
                self._synced.set()
                await self._follow(listed.resource_version)
            except StatusError as error:
                # 410 means list again at once; a resource that is not served yet, or not allowed yet, is asked for again.
                if error.code != 410:
                    _LOG.debug("informer of %s: %s", self.ref.plural, error.message)
                    await self._clock.sleep(_WATCH_RETRY, background=True)

    async def _follow(self, version: str) -> None:
        self._version = version
        while True:
            await self._cluster.follow(self.ref, self._seen, self._version, self._label_selector, self._field_selector)

    def _seen(self, kind: str, obj: Object) -> None:
        self._version = obj["metadata"]["resourceVersion"]
        self._tell(kind, obj, self._set(object_key(obj), None if kind == "DELETED" else obj))

    def _set(self, key: tuple[str, str], obj: Object | None) -> Object | None:
        """Keep the object, or forget it; returns what was known."""
        before = self._objects.get(key)
        if obj is None:
            self._objects.pop(key, None)
        else:
            self._objects[key] = obj
        for index in self._indexes.values():
            index.replace(key, before, obj)
        return before

    def _replace(self, items: t.Sequence[Object]) -> None:
        before = dict(self._objects)
        now = {object_key(obj): obj for obj in items}
        for key, obj in before.items():
            if key not in now:
                self._set(key, None)
                self._tell("DELETED", obj, obj)
        for key, obj in now.items():
            known = self._set(key, obj)
            if known is None:
                self._tell("ADDED", obj, None)
            elif known["metadata"].get("resourceVersion") != obj["metadata"].get("resourceVersion"):
                self._tell("MODIFIED", obj, known)

    def _tell(self, kind: str, obj: Object, before: Object | None) -> None:
        for handler in self._handlers:
            try:
                handler(kind, obj, before)
            except Exception:
                _LOG.exception("handler of %s failed", self.ref.plural)


class Informers:
    """Informers of one identity, one for each resource and selectors whoever asks: each object is listed and watched once."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock
        self._made: dict[tuple[Ref, str, str], Informer] = {}

    def informer(self, ref: Ref, label_selector: str = "", field_selector: str = "") -> Informer:
        """The informer of the resource; whoever uses it starts it."""
        key = (ref, label_selector, field_selector)
        if key not in self._made:
            self._made[key] = Informer(self._cluster, ref, self._clock, label_selector, field_selector)
        return self._made[key]

    async def stop(self) -> None:
        """Stop what was started; controllers that use them are stopped before."""
        for informer in self._made.values():
            await informer.stop()
