# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dependents go with their owners: in the background, in the foreground, or stay as orphans.

Source: Kubernetes pkg/controller/garbagecollector/{garbagecollector,graph_builder}.go.
"""
from __future__ import annotations

import dataclasses
import typing as t

from ..controller import Controller, Informer
from ..errors import StatusError
from ..interface import CUSTOM_RESOURCE_DEFINITIONS, Object, Ref
from .resources import Discover, Served, find, owners

_FOREGROUND, _ORPHAN = "foregroundDeletion", "orphan"
# What is never owned and comes by the thousand.
_IGNORED = frozenset((("", "events"),))


@dataclasses.dataclass
class _Node:
    """One object of the graph."""

    ref: Ref
    namespace: str
    name: str
    uid: str
    owners: list[Object]
    finalizers: list[str]
    deleting: bool


class GarbageCollector(Controller):
    name = "generic-garbage-collector"

    def __init__(self, discover: Discover) -> None:
        super().__init__()
        self._discover = discover
        self._nodes: dict[str, _Node] = {}
        self._dependents: dict[str, set[str]] = {}
        self._followed: dict[tuple[str, str], Informer] = {}

    def setup(self) -> None:
        definitions = self.informer(CUSTOM_RESOURCE_DEFINITIONS, cluster=self.observer)
        self._follow()
        definitions.add_handler(lambda event, obj, before: self._follow_new())

    def _follow(self) -> None:
        for served in self._discover():
            key = (served.ref.group, served.ref.plural)
            if key not in self._followed and key not in _IGNORED:
                self._followed[key] = self.informer(served.ref, cluster=self.observer)
                self._followed[key].add_handler(self._handler(served))

    def _follow_new(self) -> None:
        known = set(self._followed)
        self._follow()
        for key, informer in self._followed.items():
            if key not in known:
                informer.start()

    def _handler(self, served: Served) -> t.Callable[[str, Object, Object | None], None]:
        return lambda event, obj, before: self._seen(served.ref, event, obj)

    def _seen(self, ref: Ref, event: str, obj: Object) -> None:
        metadata = obj["metadata"]
        uid = metadata["uid"]
        known = self._nodes.get(uid)
        held, finalizers, deleting = owners(obj), metadata.get("finalizers") or [], bool(metadata.get("deletionTimestamp"))
        if event == "MODIFIED" and known is not None and (known.owners, known.finalizers, known.deleting) == (held, finalizers, deleting):
            return
        if known is not None:
            for owner in known.owners:
                self._dependents.get(owner["uid"], set()).discard(uid)
        if event == "DELETED":
            self._nodes.pop(uid, None)
            for dependent in self._dependents.get(uid, ()):
                self.queue.add(dependent)
            if known is not None:
                # An owner that is deleted in the foreground may have waited for this one.
                for owner in known.owners:
                    self.queue.add(owner["uid"])
            return
        node = _Node(ref, metadata.get("namespace") or "", metadata["name"], uid, held, finalizers, deleting)
        self._nodes[uid] = node
        for owner in node.owners:
            self._dependents.setdefault(owner["uid"], set()).add(uid)
        if node.owners or (node.deleting and (_FOREGROUND in node.finalizers or _ORPHAN in node.finalizers)):
            self.queue.add(uid)

    async def reconcile(self, key: str) -> float | None:
        node = self._nodes.get(key)
        if node is None:
            return None
        if node.deleting and _ORPHAN in node.finalizers:
            await self._orphan(node)
        elif node.deleting and _FOREGROUND in node.finalizers:
            await self._delete_in_foreground(node)
        if node.owners and not node.deleting:
            await self._check_owners(node)
        return None

    async def _orphan(self, node: _Node) -> None:
        for dependent in self._dependents_of(node):
            await self._drop_owners(dependent, {node.uid})
        await self._drop_finalizer(node, _ORPHAN)

    async def _delete_in_foreground(self, node: _Node) -> None:
        blocking = False
        for dependent in self._dependents_of(node):
            reference = next(owner for owner in dependent.owners if owner["uid"] == node.uid)
            blocking = blocking or bool(reference.get("blockOwnerDeletion"))
            if not dependent.deleting:
                await self._delete(dependent, "Foreground")
        if not blocking:
            await self._drop_finalizer(node, _FOREGROUND)

    def _dependents_of(self, node: _Node) -> list[_Node]:
        return [self._nodes[uid] for uid in sorted(self._dependents.get(node.uid, ())) if uid in self._nodes]

    async def _check_owners(self, node: _Node) -> None:
        solid, gone, waiting = [], set(), set()
        for owner in node.owners:
            state = await self._owner_state(node, owner)
            if state == "solid":
                solid.append(owner)
            elif state == "gone":
                gone.add(owner["uid"])
            else:
                waiting.add(owner["uid"])
        if solid:
            if gone or waiting:
                await self._drop_owners(node, gone | waiting)
        elif waiting and self._dependents.get(node.uid):
            await self._delete(node, "Foreground")
        elif gone or waiting:
            # The policy that the deletion of the object itself asked for, by its finalizers, stays in force.
            await self._delete(node, "Orphan" if _ORPHAN in node.finalizers else "Background")

    async def _owner_state(self, node: _Node, owner: Object) -> str:
        known = self._nodes.get(owner["uid"])
        if known is not None:
            return "waiting" if known.deleting and _FOREGROUND in known.finalizers else "solid"
        served = find(self._discover, owner["apiVersion"], owner["kind"])
        if served is None:
            # A kind that is not served cannot be looked up: nothing is deleted on a guess.
            return "solid"
        try:
            found = await self.cluster.get(served.ref, owner["name"], node.namespace if served.namespaced else "")
        except StatusError as error:
            if error.code == 404:
                return "gone"
            raise
        return "solid" if found["metadata"]["uid"] == owner["uid"] else "gone"

    async def _delete(self, node: _Node, propagation: str) -> None:
        try:
            await self.cluster.delete(node.ref, node.name, node.namespace, uid=node.uid, propagation=propagation)
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    async def _drop_owners(self, node: _Node, uids: set[str]) -> None:
        kept = [owner for owner in node.owners if owner["uid"] not in uids]
        await self._patch(node, {"metadata": {"uid": node.uid, "ownerReferences": kept or None}})

    async def _drop_finalizer(self, node: _Node, finalizer: str) -> None:
        kept = [name for name in node.finalizers if name != finalizer]
        await self._patch(node, {"metadata": {"uid": node.uid, "finalizers": kept or None}})

    async def _patch(self, node: _Node, patch: Object) -> None:
        try:
            await self.cluster.patch(node.ref, node.name, patch, node.namespace)
        except StatusError as error:
            if error.code not in (404, 409):
                raise
