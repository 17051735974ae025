# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-handler as the cluster sees it: each node's schedulable label and heartbeat, and what its roll-out does to them.

Source: KubeVirt pkg/virt-handler/heartbeat/heartbeat.go.
"""
from __future__ import annotations

from ..controller import Controller
from ..interface import DAEMON_SETS, NODES, Object

SCHEDULABLE = "kubevirt.io/schedulable"
HEARTBEAT = "kubevirt.io/heartbeat"
_EVERY = 60.0
_RESTART = 1.5
"""Engine seconds from the end of the old virt-handler on a node to the first beat of the new one."""


class VirtHandler(Controller):
    """Plays every node's virt-handler."""

    name = "virt-handler"

    def __init__(self, namespace: str) -> None:
        super().__init__()
        self._namespace = namespace
        self._generation = 0

    def setup(self) -> None:
        self._nodes = self.informer(NODES)
        self._daemon_sets = self.informer(DAEMON_SETS, field_selector="metadata.name=virt-handler", cluster=self.observer)
        self._daemon_sets.add_handler(self._rolled)
        self._nodes.add_handler(self._node)

    def _node(self, event: str, obj: Object, _before: Object | None) -> None:
        if event == "ADDED" and SCHEDULABLE in (obj["metadata"].get("labels") or {}):
            self.queue.add_after(("beat", obj["metadata"]["name"]), _EVERY, background=True)

    def _rolled(self, _event: str, obj: Object, _before: Object | None) -> None:
        if obj["metadata"].get("namespace") != self._namespace:
            return
        generation = int(obj["metadata"].get("generation") or 0)
        if self._generation and generation > self._generation:
            self.queue.add(("roll", ""))
        self._generation = max(self._generation, generation)

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        what, name = key
        if what == "beat":
            if self._nodes.get(name) is not None:
                await self._write(name, "true")
                self.queue.add_after(key, _EVERY, background=True)
            return None
        for node in self._nodes.list():
            if SCHEDULABLE in (node["metadata"].get("labels") or {}):
                await self._write(node["metadata"]["name"], "false")
                await self.clock.sleep(_RESTART)
                await self._write(node["metadata"]["name"], "true")
        return None

    async def _write(self, name: str, schedulable: str) -> None:
        metadata = {"labels": {SCHEDULABLE: schedulable}, "annotations": {HEARTBEAT: self.clock.timestamp()}}
        await self.cluster.patch(NODES, name, {"metadata": metadata}, content_type="application/strategic-merge-patch+json")
