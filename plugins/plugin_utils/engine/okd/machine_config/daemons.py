# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine-config-daemons of all nodes: apply what is wanted, reboot, report.

Source: openshift/machine-config-operator pkg/daemon/{daemon.go,update.go}.
"""
from __future__ import annotations

from ...controller import Controller, EventRecorder
from ...interface import NODES, Object
from ...kubernetes.runtime import Runtime
from .names import (
    CURRENT,
    DAEMON,
    DESIRED,
    DESIRED_DRAIN,
    DONE,
    LAST_APPLIED_DRAIN,
    REASON,
    REBOOTING,
    STATE,
    WORKING,
    annotations_of,
)

APPLY, REBOOT = 20.0, 180.0
"""Seconds that it takes to write the new operating system, and that a node is away."""


class Daemons(Controller):
    """Keys are the names of nodes."""

    name = "machine-config-daemon"

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self._runtime = runtime
        self._away: dict[str, float] = {}

    def setup(self) -> None:
        self._events = EventRecorder(self.cluster, self.clock, DAEMON)
        self._nodes = self.informer(NODES)
        self._nodes.add_handler(self._changed)

    def _changed(self, event: str, node: Object, before: Object | None) -> None:
        if event != "DELETED" and (before is None or annotations_of(before) != annotations_of(node)):
            found = annotations_of(node)
            if found.get(CURRENT) != found.get(DESIRED) or found.get(STATE) in (WORKING, REBOOTING):
                self.queue.add(node["metadata"]["name"])

    async def reconcile(self, key: str) -> float | None:
        node = self._nodes.get(key)
        if node is None:
            return None
        found = annotations_of(node)
        current, desired, state = found.get(CURRENT), found.get(DESIRED), found.get(STATE)
        if not desired:
            return None
        if state == REBOOTING:
            return await self._reboot(node, desired)
        if current == desired:
            return None
        wanted = f"drain-{desired}"
        if state != WORKING:
            await self._note(key, {STATE: WORKING, REASON: ""})
            return None
        if found.get(DESIRED_DRAIN) != wanted:
            await self._note(key, {DESIRED_DRAIN: wanted})
            return None
        if found.get(LAST_APPLIED_DRAIN) != wanted:
            return None
        return await self._apply(node, desired)

    async def _apply(self, node: Object, desired: str) -> float | None:
        name = node["metadata"]["name"]
        if name not in self._away:
            self._away[name] = self.clock.monotonic() + APPLY
            await self._events.event(node, "Normal", "OSUpdateStarted", f"Changing to {desired}")
        left = self._away[name] - self.clock.monotonic()
        if left > 0:
            return left
        del self._away[name]
        await self._events.event(node, "Normal", "OSUpgradeApplied", f"OS upgrade applied; new MachineConfig ({desired}) has new OS image")
        await self._events.event(node, "Normal", "Reboot", f"Node will reboot into config {desired}")
        await self._note(name, {STATE: REBOOTING})
        return None

    async def _reboot(self, node: Object, desired: str) -> float | None:
        name = node["metadata"]["name"]
        if name not in self._away:
            self._away[name] = self.clock.monotonic() + REBOOT
            self._runtime.power_off(name)
        left = self._away[name] - self.clock.monotonic()
        if left > 0:
            return left
        del self._away[name]
        self._runtime.power_on(name)
        await self._events.event(node, "Normal", "NodeDone", f"Setting node {name}, currentConfig {desired} to Done")
        # Uncordoned before it is done: the controller counts it as available only then.
        await self._note(name, {CURRENT: desired, STATE: DONE, REASON: "", DESIRED_DRAIN: f"uncordon-{desired}"})
        return None

    async def _note(self, name: str, annotations: dict[str, str]) -> None:
        await self.cluster.patch(NODES, name, {"metadata": {"annotations": annotations}})
