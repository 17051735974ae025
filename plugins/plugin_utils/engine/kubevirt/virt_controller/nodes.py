# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node controller: nodes whose virt-handler has fallen silent get no new instances, and instances without a pod there have failed.

Source: KubeVirt pkg/virt-controller/watch/node/node.go.
"""
from __future__ import annotations

import datetime

from ...errors import StatusError
from ...interface import NODES, PODS, Object
from . import conditions, phases, pods
from .cluster_config import VirtControllerPart
from .phases import VIRTUAL_MACHINE_INSTANCES

HEARTBEAT, SCHEDULABLE = "kubevirt.io/heartbeat", "kubevirt.io/schedulable"
UNRESPONSIVE = "NodeUnresponsive"
HEARTBEAT_TIMEOUT = 300.0
"""Seconds of silence after which a virt-handler counts as gone."""
_RECHECK = 60.0
_ALL = "*"


def silence(node: Object, now: datetime.datetime) -> float | None:
    """Seconds since the node's last heartbeat; None when it has never had one that can be read."""
    text = (node["metadata"].get("annotations") or {}).get(HEARTBEAT)
    try:
        return (now - datetime.datetime.fromisoformat(text)).total_seconds() if text else None
    except ValueError:
        return None


def is_unresponsive(node: Object | None, now: datetime.datetime) -> bool:
    """A node that is gone is unresponsive; one that never had a heartbeat is not."""
    if node is None:
        return True
    silent = silence(node, now)
    return silent is not None and silent > HEARTBEAT_TIMEOUT


def is_alive(pod: Object) -> bool:
    """Whether anything in the pod still runs."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    ended = bool(statuses) and all("terminated" in (status.get("state") or {}) for status in statuses)
    return not ended and not pods.is_final(pod)


class NodeController(VirtControllerPart):
    """Reconciles nodes by name."""

    name = "virt-controller node"
    recorder = "node-controller"

    def setup(self) -> None:
        self._nodes = self.informer(NODES)
        self._nodes.add_handler(self._node_changed)
        self._instances = self.informer(VIRTUAL_MACHINE_INSTANCES)
        self._instances.add_index(pods.BY_NODE, phases.node_of)
        self._instances.add_handler(self._instance_changed)
        self._pods = self.informer(PODS, pods.LAUNCHERS)
        self._pods.add_index(pods.BY_INSTANCE, pods.instance_uid)
        self._pods.add_handler(self._pod_changed)
        self._silent: set[str] = set()
        self._expected: set[str] = set()
        self.queue.add(_ALL)

    def _node_changed(self, event: str, node: Object, before: Object | None) -> None:
        name = node["metadata"]["name"]
        lost = conditions.has_status(node, "Ready", "Unknown") and not conditions.has_status(before, "Ready", "Unknown")
        if event == "DELETED":
            self._silent.add(name)
        # Whose clock is far behind is silent while it speaks.
        if event == "DELETED" or name in self._silent or lost or is_unresponsive(node, self.clock.now()):
            self.queue.add(name)

    def _instance_changed(self, event: str, vmi: Object, _before: Object | None) -> None:
        for name in phases.node_of(vmi):
            if event != "DELETED" and name in self._silent:
                self.queue.add(name)

    def _pod_changed(self, event: str, pod: Object, _before: Object | None) -> None:
        for name in pods.node_of(pod):
            if name in self._silent and (event == "DELETED" or not is_alive(pod)):
                self.queue.add(name)

    async def reconcile(self, key: str) -> float | None:
        if key == _ALL:
            now = self.clock.now()
            for one in self._nodes.list():
                if is_unresponsive(one, now):
                    self.queue.add(one["metadata"]["name"])
            self.queue.add_after(_ALL, _RECHECK, background=True)
            return None
        node = self._nodes.get(key)
        if not is_unresponsive(node, self.clock.now()):
            self._silent.discard(key)
            return self._until_silent(key, node)
        self._silent.add(key)
        if node is not None and (node["metadata"].get("labels") or {}).get(SCHEDULABLE) == "true":
            await self._mark(node)
        await self._fail_instances(key)
        if node is None and not self._instances.by_index(pods.BY_NODE, key):
            self._silent.discard(key)
        return None

    def _until_silent(self, name: str, node: Object | None) -> float | None:
        """A node that the cluster has just lost is waited for until its last heartbeat is too old; one that goes on beating is not."""
        if node is None or not conditions.has_status(node, "Ready", "Unknown"):
            self._expected.discard(name)
            return None
        silent = silence(node, self.clock.now())
        if silent is None or name in self._expected:
            return None
        self._expected.add(name)
        return HEARTBEAT_TIMEOUT - silent + 1.0

    async def _mark(self, node: Object) -> None:
        await self.events.event(node, "Normal", UNRESPONSIVE, "virt-handler is not responsive, marking node as unresponsive")
        patch = {"metadata": {"labels": {SCHEDULABLE: "false"}}}
        await self.cluster.patch(NODES, node["metadata"]["name"], patch, content_type="application/strategic-merge-patch+json")

    async def _fail_instances(self, node: str) -> None:
        for vmi in self._instances.by_index(pods.BY_NODE, node):
            if phases.phase(vmi) not in ("Scheduled", "Running"):
                continue
            controlled = self._pods.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"])
            if any(is_alive(pod) and pod["spec"].get("nodeName") == node for pod in controlled):
                continue
            message = f"virt-handler on node {node} is not responsive, marking VMI as failed"
            await self.events.event(vmi, "Normal", UNRESPONSIVE, message)
            patch = [
                {"op": "replace", "path": "/status/phase", "value": "Failed"}, {"op": "add", "path": "/status/reason", "value": UNRESPONSIVE},
            ]
            try:
                await self.cluster.patch(
                    VIRTUAL_MACHINE_INSTANCES, vmi["metadata"]["name"], patch, vmi["metadata"]["namespace"],
                    content_type="application/json-patch+json",
                )
            except StatusError as error:
                if error.code != 404:
                    raise
