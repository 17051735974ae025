# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of the cluster: one version counter, ordered reads, optimistic locking, and what happened lately.

Source of the semantics: Kubernetes apiserver pkg/storage (etcd3 and cacher): one counter for all resources, a watch cache per resource.
"""
from __future__ import annotations

import heapq
import typing as t

from .history import Expired, History, StoreEvent, Subscription
from .journal import Journal, Recovered, Write
from .sharing import Sharing
from .stored import Object, ResourceKey, Stored, copy_changed, copy_json
from .table import BY_NODE, FIRST, Key, Rest, Table, list_order

__all__ = (
    "AlreadyExists", "Expired", "NotFound", "Object", "ResourceKey", "Rest", "Store", "StoreEvent", "Stored", "Subscription", "VersionConflict",
    "copy_changed", "copy_json",
)


class AlreadyExists(Exception):
    """An object of that name is there."""


class NotFound(Exception):
    """No object of that name is there."""


class VersionConflict(Exception):
    """The object has another version than the writer expected."""


def _at_version(value: Object, version: int) -> Object:
    return {**value, "metadata": {**value["metadata"], "resourceVersion": str(version)}}


def _place_of(stored: Stored) -> Key:
    return list_order((stored.namespace, stored.name))


def _stored(write: Write, value: Object) -> Stored:
    return Stored((write.group, write.plural), write.namespace, write.name, write.version, value)


def _sharing(sharing: Sharing) -> t.Callable[[t.Any], None]:
    """What is done with each record of a journal, of which the object is the last member."""

    def seen(record: t.Any) -> None:
        if record[-1] is not None:
            sharing.share(record[-1])

    return seen


class Store:
    """All objects of a cluster. Single-threaded; every write is atomic and, with a journal, written down before anybody sees it."""

    def __init__(self, journal: Journal | None = None) -> None:
        """Take over what the journal holds, with what happened since its last compaction. Raises journal.Damaged, OSError."""
        self._tables: dict[ResourceKey, Table] = {}
        self.observers: list[t.Callable[[StoreEvent], None]] = []
        """Called with every write from now on, in order, before it returns."""
        self._journal = journal
        recovered = journal.recover(_sharing(Sharing())) if journal is not None else Recovered([], 0, [])
        self._version = recovered.version
        self._history = History(recovered.version)
        for write in recovered.objects:
            self._table((write.group, write.plural)).put(_stored(write, write.value or {}))
        for write in recovered.writes:
            self._replay(write)

    def _replay(self, write: Write) -> None:
        resource = (write.group, write.plural)
        previous = self.get(resource, write.namespace, write.name)
        if write.value is not None:
            self._apply("ADDED" if previous is None else "MODIFIED", _stored(write, write.value), previous)
        elif previous is not None:
            self._apply("DELETED", _stored(write, _at_version(previous.value, write.version)), previous)

    @property
    def version(self) -> int:
        """The version of the last write."""
        return self._version

    def get(self, resource: ResourceKey, namespace: str, name: str) -> Stored | None:
        table = self._tables.get(resource)
        return table.get(namespace, name) if table is not None else None

    def list(self, resource: ResourceKey, namespace: str | None = None) -> list[Stored]:
        """Every object of a resource, of one namespace or of all, in list_order."""
        table = self._tables.get(resource)
        return table.items(namespace) if table is not None else []

    def list_on_node(self, resource: ResourceKey, node: str, namespace: str | None = None) -> t.List[Stored] | None:  # noqa: UP006
        """As list(), those whose spec.nodeName is `node`; None for a resource that is not kept by node."""
        table = self._tables.get(resource)
        return table.on_node(node, namespace) if table is not None else None

    def count(self, resource: ResourceKey) -> int:
        table = self._tables.get(resource)
        return table.count if table is not None else 0

    def resources(self) -> t.List[ResourceKey]:  # noqa: UP006
        """The resources that have objects."""
        return sorted(key for key, table in self._tables.items() if table.count)

    def create(self, resource: ResourceKey, namespace: str, name: str, value: Object) -> Stored:
        """Raises AlreadyExists."""
        if self.get(resource, namespace, name) is not None:
            raise AlreadyExists(name)
        return self._write("ADDED", resource, namespace, name, value, None)

    def update(self, resource: ResourceKey, namespace: str, name: str, value: Object, expected: int | None = None) -> Stored:
        """Raises NotFound, VersionConflict."""
        return self._write("MODIFIED", resource, namespace, name, value, self._expected(resource, namespace, name, expected))

    def delete(self, resource: ResourceKey, namespace: str, name: str, expected: int | None = None) -> Stored:
        """Returns the object as it was, at the version of its deletion. Raises NotFound, VersionConflict."""
        previous = self._expected(resource, namespace, name, expected)
        return self._write("DELETED", resource, namespace, name, previous.value, previous)

    def list_at(self, resource: ResourceKey, namespace: str | None, version: int) -> t.List[Stored]:  # noqa: UP006
        """What list() returned when the store was at `version`. Raises Expired."""
        return list(self.rest(resource, namespace, version=version).items)

    def rest(self, resource: ResourceKey, namespace: str | None = None, start: Key = FIRST, version: int | None = None) -> Rest:
        """What list() returns from a place on, or returned when the store was at `version`; costs as much as is taken of it. Raises Expired."""
        table = self._tables.get(resource)
        before: dict[Key, Stored | None] = {}
        for event in self._history.after(resource, version, newest_first=True) if version is not None else ():
            if namespace is None or event.stored.namespace == namespace:
                before[event.stored.namespace, event.stored.name] = event.previous
        now = table.rest(namespace, start) if table is not None else Rest(0, iter(()))
        if not before:
            # The usual next page: nothing has changed since the first.
            return now
        changed = [key for key in before if list_order(key) >= list_order(start)]
        was = sorted((stored for key in changed if (stored := before[key]) is not None), key=_place_of)
        gone = sum(self.get(resource, *key) is not None for key in changed)
        same = (stored for stored in now.items if (stored.namespace, stored.name) not in before)
        return Rest(now.count - gone + len(was), heapq.merge(same, was, key=_place_of))

    def subscribe(self, resource: ResourceKey, namespace: str | None, since: int) -> Subscription:
        """Every change of a resource after the version `since`. Raises Expired."""
        return self._history.subscribe(resource, namespace, since)

    def begin_watches(self) -> None:
        """A watch from before is too old, as on a server that was started now; a list at an older version is not."""
        self._history.begin_watches(self._version)

    def compact(self) -> None:
        """Forget what happened so far: older versions are Expired from now on."""
        self._history.compact(self._version)

    def keep(self, journal: Journal, about: dict[str, t.Any]) -> None:
        """Write down everything in a fresh journal, and all that comes from now on. Raises OSError."""
        journal.begin(self._everything(), self._version, about)
        self._journal = journal

    async def flushed(self, version: int) -> None:
        """Return when the write of that version is on disk; at once without a journal. Raises OSError when it can't be."""
        if self._journal is not None:
            await self._journal.flushed(version)

    def end_watches(self) -> None:
        """End every subscription: its reader gets what waits, and then the end."""
        self._history.close()

    def close(self) -> None:
        """End every subscription and the journal."""
        self.end_watches()
        if self._journal is not None:
            self._journal.close()

    def _table(self, resource: ResourceKey) -> Table:
        table = self._tables.get(resource)
        if table is None:
            table = self._tables[resource] = Table(BY_NODE.get(resource))
        return table

    def _expected(self, resource: ResourceKey, namespace: str, name: str, expected: int | None) -> Stored:
        current = self.get(resource, namespace, name)
        if current is None:
            raise NotFound(name)
        if expected is not None and expected != current.version:
            raise VersionConflict(name)
        return current

    def _write(self, event: str, resource: ResourceKey, namespace: str, name: str, value: Object, previous: Stored | None) -> Stored:
        version = self._version + 1
        value = _at_version(value, version)
        stored = Stored(resource, namespace, name, version, value)
        if self._journal is not None:
            # Written before anything else knows of it: what was seen by anybody survives the process.
            self._journal.append(stored, deleted=event == "DELETED")
        self._apply(event, stored, previous)
        if self._journal is not None and self._journal.wants_compaction():
            self._journal.compact(self._everything(), version)
        return stored

    def _apply(self, event: str, stored: Stored, previous: Stored | None) -> None:
        self._version = stored.version
        table = self._table(stored.resource)
        if event == "DELETED":
            table.remove(stored.namespace, stored.name)
        else:
            table.put(stored)
        happened = StoreEvent(event, stored, previous, stored.version)
        self._history.add(happened)
        for observer in self.observers:
            observer(happened)

    def _everything(self) -> t.List[Stored]:  # noqa: UP006
        return [one for key in self.resources() for one in self.list(key)]
