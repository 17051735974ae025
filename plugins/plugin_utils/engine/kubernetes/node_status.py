# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each node's kubelet says of its node: that it is ready, when it comes up and every five minutes.

Leases are not written: who looks at the heartbeat of the lab's nodes reads their conditions.
Source: Kubernetes pkg/kubelet/kubelet_node_status.go (nodeStatusReportFrequency).
"""
from __future__ import annotations

import collections

from ..controller import Controller
from ..interface import NODES, Cluster, Object
from . import node_conditions as conditions
from .runtime import Runtime

REPORT_EVERY = 300.0
_ROUND = 10.0
_ALL = ""


class NodeStatus(Controller):
    """Acts as each node. Keys are names of nodes that have something to say; the empty one looks whose five minutes are over."""

    name = "kubelet node status"

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self._runtime = runtime
        self._due: collections.OrderedDict[str, float] = collections.OrderedDict()
        self._as_node: dict[str, Cluster] = {}

    def setup(self) -> None:
        self._nodes = self.informer(NODES)
        self._nodes.add_handler(self._changed)
        self._runtime.on_node(self._power)
        self.queue.add_after(_ALL, _ROUND, background=True)

    def _changed(self, event: str, node: Object, _before: Object | None) -> None:
        name = node["metadata"]["name"]
        if event == "DELETED":
            self._due.pop(name, None)
        elif event == "ADDED":
            self._due[name] = self.clock.monotonic() + REPORT_EVERY
            if not conditions.is_ready(node):
                self.queue.add(name)

    def _power(self, name: str, up: bool) -> None:
        if up:
            self.queue.add(name)

    async def reconcile(self, key: str) -> float | None:
        if key != _ALL:
            await self._report(key)
            return None
        now = self.clock.monotonic()
        # Whoever reported last stands last.
        while self._due and next(iter(self._due.values())) <= now:
            await self._report(next(iter(self._due)))
        self.queue.add_after(_ALL, _ROUND, background=True)
        return None

    async def _report(self, name: str) -> None:
        self._due.pop(name, None)
        node = self._nodes.get(name)
        if node is None:
            return
        self._due[name] = self.clock.monotonic() + REPORT_EVERY
        if self._runtime.is_down(name):
            return
        if name not in self._as_node:
            self._as_node[name] = self.cluster.as_user(f"system:node:{name}", ("system:nodes",))
        status = {**(node.get("status") or {}), "conditions": conditions.reported(node, self._runtime.timestamp(self.clock, node["metadata"]["name"]))}
        await self._as_node[name].update(NODES, {**node, "status": status}, "status")
