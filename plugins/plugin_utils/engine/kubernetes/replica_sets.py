# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ReplicaSet controller: as many pods of one template as are wanted, made anew wherever one is lost.

Pods without a controller are not adopted. Source: Kubernetes pkg/controller/replicaset.
"""
from __future__ import annotations

import datetime
import typing as t

from ..controller import Controller, object_key
from ..interface import PODS, REPLICA_SETS, Object
from .pod_control import CONTROLLER, Moments, PodControl, index_by_controller, pod_of
from .resources import controller_of
from .workload_status import availability, first_to_go, is_active, matters

_BURST = 500


def replica_set_status(replica_set: Object, active: t.Sequence[Object], now: datetime.datetime) -> tuple[Object, float | None]:
    """The status with these pods, and in how many seconds it is another one by itself."""
    spec, metadata = replica_set["spec"], replica_set["metadata"]
    ready, available, next_look = availability(active, spec.get("minReadySeconds", 0), now)
    wanted = (spec["template"].get("metadata") or {}).get("labels") or {}
    labelled = sum(1 for pod in active if wanted.items() <= (pod["metadata"].get("labels") or {}).items())
    status: Object = {"replicas": len(active)}
    for key, count in (("fullyLabeledReplicas", labelled), ("readyReplicas", ready), ("availableReplicas", available)):
        if count:
            status[key] = count
    return {**status, "observedGeneration": metadata["generation"]}, next_look


class ReplicaSets(Controller):
    """Keys are (namespace, name) of ReplicaSets."""

    name = "replicaset-controller"

    def setup(self) -> None:
        self._moments = Moments(self.queue)
        self._control = PodControl(self.cluster, self.clock, "replicaset-controller")
        self._replica_sets = self.informer(REPLICA_SETS)
        self._pods = self.informer(PODS)
        index_by_controller(self._pods)
        self._replica_sets.add_handler(self._changed)
        self._pods.add_handler(self._pod_changed)

    def _changed(self, event: str, replica_set: Object, _before: Object | None) -> None:
        if event == "DELETED":
            self._control.forget(replica_set)
        else:
            self.queue.add(object_key(replica_set))

    def _pod_changed(self, event: str, pod: Object, before: Object | None) -> None:
        owner = controller_of(pod)
        if owner is not None and owner["kind"] == "ReplicaSet":
            self._control.observe(event, pod)
            if event == "DELETED" or matters(before, pod):
                self._moments.add((pod["metadata"]["namespace"], owner["name"]))

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        self._moments.over(key)
        replica_set = self._replica_sets.get(key[1], key[0])
        if replica_set is None:
            return None
        pods = self._pods.by_index(CONTROLLER, replica_set["metadata"]["uid"])
        active = [pod for pod in pods if is_active(pod)]
        try:
            if not replica_set["metadata"].get("deletionTimestamp") and self._control.settled(replica_set):
                await self._scale(replica_set, active)
        finally:
            status, next_look = replica_set_status(replica_set, active, self.clock.now())
            if status != replica_set.get("status"):
                await self.cluster.update(REPLICA_SETS, {**replica_set, "status": status}, "status")
        return next_look

    async def _scale(self, replica_set: Object, active: t.Sequence[Object]) -> None:
        missing = replica_set["spec"].get("replicas", 1) - len(active)
        for dummy in range(min(missing, _BURST)):
            await self._control.create(replica_set, pod_of(replica_set, replica_set["spec"]["template"]))
        if missing < 0:
            for pod in first_to_go(active)[:-missing]:
                await self._control.delete(replica_set, pod)
