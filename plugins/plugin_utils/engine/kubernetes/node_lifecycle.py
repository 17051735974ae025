# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node lifecycle controller: nodes that are cordoned, not ready or silent are tainted, and pods leave them in their time.

Zones that are down as a whole are treated like single nodes. Source: Kubernetes pkg/controller/nodelifecycle, pkg/controller/tainteviction.
"""
from __future__ import annotations

import typing as t

from ..controller import Controller, EventRecorder, object_key
from ..errors import StatusError
from ..interface import NODES, PODS, Object
from . import node_conditions as conditions
from . import pods as pod_status
from .runtime import Runtime

_STRATEGIC, _MERGE = "application/strategic-merge-patch+json", "application/merge-patch+json"
_BY_NODE = "node"


class NodeLifecycle(Controller):
    """Keys are ("node", name), ("silent", name) and ("pods", name)."""

    name = "node-lifecycle-controller"

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self._runtime = runtime
        self._silent: dict[str, float] = {}

    def setup(self) -> None:
        self._events = EventRecorder(self.cluster, self.clock, "node-controller")
        self._nodes = self.informer(NODES)
        self._pods = self.informer(PODS)
        self._pods.add_index(_BY_NODE, lambda pod: [pod_status.node_of(pod)] if pod_status.node_of(pod) else [])
        self._nodes.add_handler(self._node_changed)
        self._runtime.on_node(self._heard)

    def _heard(self, name: str, up: bool) -> None:
        """Kubelets speak all the time; only that one falls silent, or speaks again, is an event."""
        if up:
            self._silent.pop(name, None)
        else:
            self._silent[name] = self.clock.monotonic()
            self.queue.add_after(("silent", name), conditions.GRACE)

    def _node_changed(self, event: str, node: Object, before: Object | None) -> None:
        name = node["metadata"]["name"]
        if event != "DELETED" and (before is None or _looks(before) != _looks(node)):
            self.queue.add(("node", name))

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        what, name = key
        node = self._nodes.get(name)
        if node is None:
            return None
        if what == "silent":
            await self._fall_silent(node)
        elif what == "pods":
            await self._pods_not_ready(name)
        else:
            await self._taint(node)
        return None

    async def _taint(self, node: Object) -> None:
        taints = conditions.taints_of(node, self.clock.timestamp())
        if taints is not None:
            metadata = node["metadata"]
            patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": {"taints": taints or None}}
            await self.cluster.patch(NODES, metadata["name"], patch, content_type=_MERGE)

    async def _fall_silent(self, node: Object) -> None:
        name = node["metadata"]["name"]
        since = self._silent.get(name)
        if since is None or self.clock.monotonic() - since < conditions.GRACE:
            return
        if (conditions.condition(node, "Ready") or {}).get("status") == "Unknown":
            return
        status = {**(node.get("status") or {}), "conditions": conditions.silent(node, self.clock.timestamp())}
        await self.cluster.update(NODES, {**node, "status": status}, "status")
        await self._events.event(node, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        self.queue.add(("pods", name))

    async def _pods_not_ready(self, name: str) -> None:
        for pod in self._pods.by_index(_BY_NODE, name):
            if pod_status.is_final(pod) or not pod_status.is_ready(pod):
                continue
            entry = {"type": "Ready", "status": "False", "lastTransitionTime": self.clock.timestamp()}
            try:
                await self.cluster.patch(
                    PODS, pod["metadata"]["name"], {"status": {"conditions": [entry]}}, pod["metadata"]["namespace"], "status", _STRATEGIC
                )
            except StatusError as error:
                if error.code != 404:
                    raise
                continue
            await self._events.event(pod, "Warning", "NodeNotReady", "Node is not ready")


def _looks(node: Object) -> tuple[t.Any, ...]:
    spec = node.get("spec") or {}
    said = [(entry["type"], entry["status"]) for entry in (node.get("status") or {}).get("conditions") or ()]
    return spec.get("unschedulable"), spec.get("taints"), said


class TaintEviction(Controller):
    """Deletes pods that do not tolerate their node's NoExecute taints, when their time is over. Keys are ("node", name) and (namespace, name) of pods."""

    name = "taint-eviction-controller"

    def setup(self) -> None:
        self._events = EventRecorder(self.cluster, self.clock, "taint-eviction-controller")
        self._waiting: dict[tuple[str, str], float] = {}
        self._nodes = self.informer(NODES)
        self._pods = self.informer(PODS)
        self._pods.add_index(_BY_NODE, lambda pod: [pod_status.node_of(pod)] if pod_status.node_of(pod) else [])
        self._nodes.add_handler(self._node_changed)
        self._pods.add_handler(self._pod_changed)

    def _node_changed(self, event: str, node: Object, before: Object | None) -> None:
        if event == "DELETED" or _no_execute(node) == _no_execute(before):
            return
        for pod in self._pods.by_index(_BY_NODE, node["metadata"]["name"]):
            self.queue.add(object_key(pod))

    def _pod_changed(self, event: str, pod: Object, before: Object | None) -> None:
        if event == "DELETED":
            self._waiting.pop(object_key(pod), None)
        elif before is None or pod_status.node_of(before) != pod_status.node_of(pod):
            node = self._nodes.get(pod_status.node_of(pod))
            if node is not None and _no_execute(node):
                self.queue.add(object_key(pod))

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        pod = self._pods.get(key[1], key[0])
        node = self._nodes.get(pod_status.node_of(pod)) if pod is not None else None
        if pod is None or node is None or pod_status.is_going(pod):
            self._waiting.pop(key, None)
            return None
        left = conditions.seconds_to_stay(pod, node, self.clock.now())
        if left is None:
            if self._waiting.pop(key, None) is not None:
                await self._events.event(pod, "Normal", "TaintManagerEviction", f"Cancelling deletion of Pod {key[0]}/{key[1]}")
            return None
        if left > 0:
            ends = self.clock.monotonic() + left
            if key in self._waiting and self._waiting[key] <= ends:
                return None
            self._waiting[key] = ends
            return left
        self._waiting.pop(key, None)
        await self._evict(pod)
        return None

    async def _evict(self, pod: Object) -> None:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        await self._events.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {namespace}/{name}")
        target = {
            "type": "DisruptionTarget", "status": "True", "lastTransitionTime": self.clock.timestamp(), "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
        }
        try:
            await self.cluster.patch(PODS, name, {"status": {"conditions": [target]}}, namespace, "status", _STRATEGIC)
            await self.cluster.delete(PODS, name, namespace, uid=pod["metadata"]["uid"])
        except StatusError as error:
            if error.code not in (404, 409):
                raise


def _no_execute(node: Object | None) -> list[Object]:
    return [taint for taint in ((node or {}).get("spec") or {}).get("taints") or () if taint.get("effect") == "NoExecute"]
