# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod garbage collector: pods of nodes that are no longer there, pods that end before they had a node, and too many finished ones.

Source: Kubernetes pkg/controller/podgc/gc_controller.go.
"""
from __future__ import annotations

import collections
import itertools

from ..controller import Controller, object_key
from ..errors import StatusError
from ..interface import NODES, PODS, Object
from . import pods as pod_status

QUARANTINE = 40.0
"""Engine seconds that a node must be gone for before its pods are deleted."""
MOST_FINISHED = 12500
_STRATEGIC = "application/strategic-merge-patch+json"
_BY_NODE = "node"


class PodGarbageCollector(Controller):
    """Keys are ("node", name), ("pod", (namespace, name)) and ("finished", "")."""

    name = "pod-garbage-collector"

    def setup(self) -> None:
        self._nodes = self.informer(NODES)
        self._pods = self.informer(PODS)
        self._pods.add_index(_BY_NODE, lambda pod: [pod_status.node_of(pod)] if pod_status.node_of(pod) else [])
        self._finished: collections.OrderedDict[tuple[str, str], None] = collections.OrderedDict()
        self._missing: dict[str, float] = {}
        self._nodes.add_handler(self._node_changed)
        self._pods.add_handler(self._pod_changed)

    def _node_changed(self, event: str, node: Object, _before: Object | None) -> None:
        name = node["metadata"]["name"]
        if event == "DELETED":
            self._look_at(name)
        else:
            self._missing.pop(name, None)

    def _look_at(self, name: str) -> None:
        if name not in self._missing:
            self._missing[name] = self.clock.monotonic()
            self.queue.add_after(("node", name), QUARANTINE)

    def _pod_changed(self, event: str, pod: Object, _before: Object | None) -> None:
        key = object_key(pod)
        if event == "DELETED" or not pod_status.is_final(pod):
            self._finished.pop(key, None)
        else:
            # In the order in which they ended.
            self._finished.setdefault(key)
            if len(self._finished) > MOST_FINISHED:
                self.queue.add(("finished", ""))
        if event == "DELETED":
            return
        node = pod_status.node_of(pod)
        if event == "ADDED" and node:
            # The nodes may not have been listed yet.
            self.queue.add(("node of", node))
        elif not node and pod_status.is_going(pod):
            self.queue.add(("pod", key))

    async def reconcile(self, key: tuple[str, str | tuple[str, str]]) -> float | None:
        what, which = key
        if what == "node of":
            if self._nodes.get(str(which)) is None:
                self._look_at(str(which))
        elif what == "node":
            await self._orphans(str(which))
        elif what == "pod":
            pod = self._pods.get(which[1], which[0])
            if pod is not None and pod_status.is_going(pod) and not pod_status.node_of(pod):
                await self._delete(pod)
        else:
            await self._finished_first()
        return None

    async def _finished_first(self) -> None:
        for namespace, name in [*itertools.islice(self._finished, max(0, len(self._finished) - MOST_FINISHED))]:
            pod = self._pods.get(name, namespace)
            if pod is not None and not pod_status.is_going(pod):
                await self._delete(pod)

    async def _orphans(self, name: str) -> None:
        """One after the other, as long as the node is not back. What fails is tried again, the node counts as missing until all are gone."""
        for pod in self._pods.by_index(_BY_NODE, name):
            if name not in self._missing or self._nodes.get(name) is not None:
                return
            if not pod_status.is_final(pod):
                now = self.clock.timestamp()
                condition = {
                    "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": "PodGC: node no longer exists",
                    "lastTransitionTime": now,
                }
                status = {"status": {"phase": "Failed", "conditions": [condition]}}
                await self.cluster.patch(PODS, pod["metadata"]["name"], status, pod["metadata"]["namespace"], "status", _STRATEGIC)
            await self._delete(pod)
        self._missing.pop(name, None)

    async def _delete(self, pod: Object) -> None:
        metadata = pod["metadata"]
        try:
            await self.cluster.delete(PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"], grace_period=0)
        except StatusError as error:
            if error.code not in (404, 409):
                raise
