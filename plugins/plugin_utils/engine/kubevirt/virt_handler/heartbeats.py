# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each node's label kubevirt.io/schedulable and its heartbeat, and what the roll-out of virt-handler does to them.

Source: KubeVirt pkg/virt-handler/heartbeat/heartbeat.go.
"""
from __future__ import annotations

import heapq
import random
import typing as t

from ...controller import Controller
from ...interface import NODES, PODS, Object
from ...kubernetes import pod_networks
from ...kubernetes.runtime import Runtime
from ..virt_controller import conditions

SCHEDULABLE = "kubevirt.io/schedulable"
HEARTBEAT = "kubevirt.io/heartbeat"
_EVERY, _JITTER = 60.0, 72.0
"""Seconds between two beats, and how many more at random."""
_POD_LABELS = "kubevirt.io=virt-handler"
_BEATS = ("beats", "")
_MIGRATION_INTERFACE = "migration0"


class Heartbeats(Controller):
    """Keys are ("beats", "") for all nodes whose time has come, and ("node", NAME) for one whose virt-handler came or went."""

    name = "virt-handler heartbeat"

    def __init__(self, namespace: str, runtime: Runtime) -> None:
        super().__init__()
        self._namespace, self._runtime = namespace, runtime
        self._due: list[tuple[float, str]] = []
        self._known: set[str] = set()
        self._going: set[str] = set()
        self._asked = float("inf")
        self._on_end: list[t.Callable[[str], None]] = []
        self._addresses: dict[str, str] = {}
        self._random = random.Random(namespace)  # noqa: S311

    def on_end(self, function: t.Callable[[str], None]) -> None:
        """Called with the name of a node whose virt-handler ends."""
        self._on_end.append(function)

    def migration_address(self, node: str) -> str:
        """The address of the node's virt-handler in the network of migrations; empty without one. Source: pkg/virt-handler/migration.go (FindMigrationIP)."""
        return self._addresses.get(node, "")

    def setup(self) -> None:
        self._nodes = self.informer(NODES)
        self._nodes.add_handler(self._node)
        # A virt-handler knows that it starts or ends; this one looks at its pods, which it may not do by itself.
        pods = self.informer(PODS, _POD_LABELS, cluster=self.observer)
        pods.add_handler(self._pod)
        self._runtime.on_node(self._powered)

    def _node(self, event: str, obj: Object, _before: Object | None) -> None:
        name = obj["metadata"]["name"]
        if event == "DELETED":
            self._known.discard(name)
        elif name not in self._known and SCHEDULABLE in (obj["metadata"].get("labels") or {}):
            self._known.add(name)
            self._later(name)

    def _later(self, name: str) -> None:
        heapq.heappush(self._due, (self.clock.monotonic() + _EVERY + self._random.random() * _JITTER, name))
        self._ask()

    def _ask(self) -> None:
        """One look in the background for the node whose turn comes first."""
        if self._due and self._due[0][0] < self._asked:
            self._asked = self._due[0][0]
            self.queue.add_after(_BEATS, max(0.001, self._asked - self.clock.monotonic()), background=True)

    def _pod(self, event: str, pod: Object, before: Object | None) -> None:
        if pod["metadata"].get("namespace") != self._namespace or not pod["spec"].get("nodeName"):
            return
        node = pod["spec"]["nodeName"]
        self._note_address(event, pod, node)
        if event == "DELETED" or pod["metadata"].get("deletionTimestamp"):
            if before is not None and not before["metadata"].get("deletionTimestamp"):
                self._going.add(node)
                self.queue.add(("node", node))
                for function in self._on_end:
                    function(node)
        elif conditions.is_true(pod, "Ready") and (before is not None and not conditions.is_true(before, "Ready")):
            self._going.discard(node)
            self._known.add(node)
            self.queue.add(("node", node))

    def _note_address(self, event: str, pod: Object, node: str) -> None:
        if event == "DELETED" or pod["metadata"].get("deletionTimestamp"):
            self._addresses.pop(node, None)
        elif conditions.is_true(pod, "Ready"):
            found = next((one for one in pod_networks.addresses_on(pod, _MIGRATION_INTERFACE) if pod_networks.is_global(one)), "")
            self._addresses[node] = found

    def _powered(self, node: str, up: bool) -> None:
        if up and node in self._known:
            self.queue.add(("node", node))

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        what, name = key
        if what == "node":
            if self._nodes.get(name) is not None and not self._runtime.is_down(name):
                await self._write(name, "false" if name in self._going else "true")
            return None
        now, self._asked = self.clock.monotonic(), float("inf")
        while self._due and self._due[0][0] <= now:
            name = heapq.heappop(self._due)[1]
            if name not in self._known:
                continue
            self._later(name)
            if name not in self._going and not self._runtime.is_down(name) and self._nodes.get(name) is not None:
                await self._write(name, "true")
        self._ask()
        return None

    async def _write(self, name: str, schedulable: str) -> None:
        metadata = {"labels": {SCHEDULABLE: schedulable}, "annotations": {HEARTBEAT: self._runtime.timestamp(self.clock, name)}}
        await self.cluster.patch(NODES, name, {"metadata": metadata}, content_type="application/strategic-merge-patch+json")
