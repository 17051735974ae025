# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all work of a virt-handler rests on: the nodes, the launchers with their guests, and engine time that has to pass first."""
from __future__ import annotations

import typing as t

from ...controller import Controller, EventRecorder
from ...errors import StatusError
from ...interface import NODES, PODS, Cluster, Object
from ...kubernetes.runtime import Runtime
from ..virt_controller import phases, pods
from ..virt_controller.phases import VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from . import instance_writes as writes
from .launchers import Waiting
from .transfers import Key


class Guests(Controller):
    """The virt-handlers of all nodes. Keys of work are (namespace, name) of instances."""

    name = "virt-handler"

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self.runtime = runtime
        self._due: dict[Key, dict[str, float]] = {}
        self._ended: set[str] = set()

    def start(self, cluster: Cluster, clock: t.Any, workers: int = 1, informers: t.Any = None) -> None:
        self.events = EventRecorder(cluster, clock, "virt-handler")
        super().start(cluster, clock, workers, informers)

    def setup(self) -> None:
        self.instances = self.informer(VIRTUAL_MACHINE_INSTANCES)
        self._nodes = self.informer(NODES)
        # What a virt-handler sees on its node: the launchers and their sockets.
        self._pods = self.informer(PODS, pods.LAUNCHERS, cluster=self.observer)
        self._pods.add_index(pods.BY_INSTANCE, pods.instance_uid)
        self._waiting = Waiting(self.queue)

    def _elapsed(self, key: Key, step: str, seconds: float) -> bool:
        """Whether so much engine time has passed since the first time that this was asked; it is asked again then."""
        due = self._due.setdefault(key, {})
        now = self.clock.monotonic()
        if step not in due:
            due[step] = now + seconds
            self.queue.add_after(key, seconds)
            return seconds <= 0
        return now >= due[step] - 1e-6

    def _now(self, vmi: Object) -> str:
        """By the clock of the instance's node."""
        return self.runtime.timestamp(self.clock, vmi["status"].get("nodeName") or "")

    async def _write(self, made: Object) -> Object:
        return await self.cluster.update(VIRTUAL_MACHINE_INSTANCES, made)

    async def _machine(self, vmi: Object) -> Object | None:
        """The machine of the instance, for what its annotations say of its load."""
        owner = pods.controller_of(vmi)
        if self.observer is None or owner is None or owner["kind"] != "VirtualMachine":
            return None
        try:
            return await self.observer.get(VIRTUAL_MACHINES, owner["name"], vmi["metadata"]["namespace"])
        except StatusError:
            return None

    def _pod_of(self, vmi: Object) -> Object | None:
        return pods.current_pod(vmi, self._pods.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"]))

    def _uid_of(self, vmi: Object, which: str) -> str:
        """The uid of the pod that the migrationState names."""
        pod = self._pods.get(writes.state(vmi).get(which) or "", vmi["metadata"]["namespace"])
        return str(pod["metadata"]["uid"]) if pod is not None else ""

    def _is_home(self, vmi: Object | None, uid: str) -> bool:
        """Whether the guest runs in the pod with that uid."""
        if vmi is None or phases.phase(vmi) not in ("Scheduled", "Running"):
            return False
        pod = self._pod_of(vmi)
        return pod is not None and pod["metadata"]["uid"] == uid

    def _exit(self, uid: str, code: int = 0) -> None:
        """A launcher ends; the kubelet hears of it."""
        self._ended.add(uid)
        self.runtime.exited(uid, code)
        self._ended.discard(uid)
