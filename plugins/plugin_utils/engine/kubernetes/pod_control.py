# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that workloads make and delete: from a template, once each, with the events that tell of it.

Source: Kubernetes pkg/controller/controller_utils.go (RealPodControl, ControllerExpectations).
"""
from __future__ import annotations

import dataclasses
import typing as t

from ..clock import Clock
from ..controller import EventRecorder, Informer, Key, WorkQueue
from ..errors import StatusError
from ..interface import PODS, Cluster, Object
from .resources import controller_of

CONTROLLER = "controller"
"""The index of pods, and of anything else, by the uid of what controls them."""
_PATIENCE = 300.0
MOMENT = 0.05
"""Engine seconds in which all that happens to a workload's pods is one thing to look at."""


def index_by_controller(informer: Informer) -> None:
    informer.add_index(CONTROLLER, _controller)


def _controller(obj: Object) -> t.Iterable[str]:
    owner = controller_of(obj)
    return (owner["uid"],) if owner is not None else ()


def owner_reference(owner: Object) -> Object:
    return {
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": True,
        "blockOwnerDeletion": True,
    }


def pod_of(owner: Object, template: Object, labels: t.Mapping[str, str] | None = None, name: str = "") -> Object:
    """A pod of the owner's template, with labels on top; its name is the server's to choose unless given."""
    given = template.get("metadata") or {}
    metadata: Object = {"namespace": owner["metadata"]["namespace"], "ownerReferences": [owner_reference(owner)]}
    if name:
        metadata["name"] = name
    else:
        metadata["generateName"] = f"{owner['metadata']['name']}-"
    metadata["labels"] = {**(given.get("labels") or {}), **(labels or {})}
    for key in ("annotations", "finalizers"):
        if given.get(key):
            metadata[key] = given[key]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


class Moments:
    """Queues a workload once for everything that its pods go through in one moment, however many they are."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue
        self._coming: set[Key] = set()

    def add(self, key: Key) -> None:
        if key not in self._coming:
            self._coming.add(key)
            self._queue.add_after(key, MOMENT)

    def over(self, key: Key) -> None:
        """The workload is being looked at."""
        self._coming.discard(key)


@dataclasses.dataclass
class _Expected:
    """Pods that were made or deleted and that the cache has not heard of yet."""

    since: float
    uids: set[str] = dataclasses.field(default_factory=set)


class PodControl:
    """Makes and deletes pods for one kind of workload, and knows which of it the cache has yet to hear of."""

    def __init__(self, cluster: Cluster, clock: Clock, component: str) -> None:
        self._cluster, self._clock = cluster, clock
        self.events = EventRecorder(cluster, clock, component)
        self._made: dict[str, _Expected] = {}
        self._deleted: dict[str, _Expected] = {}

    def observe(self, event: str, pod: Object) -> None:
        """The cache has heard of a pod."""
        owner = controller_of(pod)
        if owner is None:
            return
        uid = pod["metadata"]["uid"]
        self._forget(self._made, owner["uid"], uid)
        if event == "DELETED" or pod["metadata"].get("deletionTimestamp"):
            self._forget(self._deleted, owner["uid"], uid)

    def settled(self, owner: Object) -> bool:
        """Whether the cache has heard of everything that was done for the owner; after five minutes it never will."""
        uid, now = owner["metadata"]["uid"], self._clock.monotonic()
        for expected in (self._made, self._deleted):
            if uid in expected and now - expected[uid].since > _PATIENCE:
                del expected[uid]
        return uid not in self._made and uid not in self._deleted

    def forget(self, owner: Object) -> None:
        self._made.pop(owner["metadata"]["uid"], None)
        self._deleted.pop(owner["metadata"]["uid"], None)

    async def create(self, owner: Object, pod: Object) -> None:
        """Raises StatusError, after an event that says why."""
        namespace = owner["metadata"]["namespace"]
        try:
            made = await self._cluster.create(PODS, pod, namespace)
        except StatusError as error:
            await self.events.event(owner, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        self._expect(self._made, owner, made["metadata"]["uid"])
        await self.events.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")

    async def delete(self, owner: Object, pod: Object) -> None:
        """Raises StatusError; a pod that is gone already is as good."""
        metadata = pod["metadata"]
        self._expect(self._deleted, owner, metadata["uid"])
        try:
            await self._cluster.delete(PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except StatusError as error:
            self._forget(self._deleted, owner["metadata"]["uid"], metadata["uid"])
            if error.code in (404, 409):
                return
            await self.events.event(owner, "Warning", "FailedDelete", f"Error deleting: {error.message}")
            raise
        await self.events.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {metadata['name']}")

    def _expect(self, expected: dict[str, _Expected], owner: Object, uid: str) -> None:
        entry = expected.setdefault(owner["metadata"]["uid"], _Expected(self._clock.monotonic()))
        entry.uids.add(uid)

    @staticmethod
    def _forget(expected: dict[str, _Expected], owner: str, uid: str) -> None:
        entry = expected.get(owner)
        if entry is not None:
            entry.uids.discard(uid)
            if not entry.uids:
                del expected[owner]
