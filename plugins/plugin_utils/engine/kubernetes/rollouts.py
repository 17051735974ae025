# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments and DaemonSets come up: their status follows their template, one replica after the other.

The pods themselves are not made: who watches an operator reads the status. Source of the status fields: Kubernetes
pkg/controller/deployment/sync.go, pkg/controller/daemon/daemon_controller.go.
"""
from __future__ import annotations

import typing as t

from ..controller import Controller
from ..interface import NODES, Object, Ref

DEPLOYMENTS = Ref("apps", "v1", "deployments")
DAEMON_SETS = Ref("apps", "v1", "daemonsets")
SECONDS_PER_REPLICA = 1.0
"""Engine seconds until a new pod is ready."""


def deployment_status(deployment: Object, updated: int, now: str) -> Object:
    """The status of a Deployment of which so many replicas run the present template."""
    replicas = deployment["spec"].get("replicas", 1)
    done = updated >= replicas
    name = deployment["metadata"]["name"]
    before = {entry["type"]: entry for entry in (deployment.get("status") or {}).get("conditions") or ()}
    reason, message = (
        ("NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.') if done
        else ("ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')
    )
    available = done or bool(before.get("Available", {}).get("status") == "True")
    ready = replicas if available else updated
    conditions = [
        _condition(
            before.get("Available"), "Available", available,
            "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable",
            f"Deployment {'has' if available else 'does not have'} minimum availability.", now,
        ),
        _condition(before.get("Progressing"), "Progressing", True, reason, message, now),
    ]
    status: Object = {
        "observedGeneration": deployment["metadata"]["generation"], "replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready,
        "availableReplicas": ready, "conditions": conditions,
    }
    if not done:
        status["unavailableReplicas"] = 1
    return status


def _condition(before: Object | None, kind: str, holds: bool, reason: str, message: str, now: str) -> Object:
    status = "True" if holds else "False"
    same = before is not None and before["status"] == status
    since = before["lastTransitionTime"] if same and before is not None else now
    return {"type": kind, "status": status, "lastUpdateTime": now, "lastTransitionTime": since, "reason": reason, "message": message}


def daemon_set_status(daemon_set: Object, nodes: int, updated: int) -> Object:
    """The status of a DaemonSet of which so many nodes run the present template."""
    before = daemon_set.get("status") or {}
    first = not before.get("numberReady")
    ready = updated if first else nodes
    status: Object = {
        "currentNumberScheduled": ready, "desiredNumberScheduled": nodes, "numberMisscheduled": 0, "numberReady": ready,
        "numberAvailable": ready, "observedGeneration": daemon_set["metadata"]["generation"], "updatedNumberScheduled": updated,
    }
    if ready < nodes:
        status["numberUnavailable"] = nodes - ready
    return status


def rolled_out(workload: Object) -> bool:
    """Whether a Deployment or DaemonSet runs its present template everywhere."""
    status = workload.get("status") or {}
    if status.get("observedGeneration") != workload["metadata"].get("generation"):
        return False
    if workload["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        return bool(status.get("updatedNumberScheduled", 0) >= wanted and status.get("numberReady", 0) >= wanted)
    return bool(status.get("updatedReplicas", 0) >= workload["spec"].get("replicas", 1) and not status.get("unavailableReplicas"))


class _Rollout(Controller):
    """One status step at a time, so that a watch sees them all."""

    ref: t.ClassVar[Ref]

    def setup(self) -> None:
        self._workloads = self.informer(self.ref, cluster=self.observer)
        self._workloads.add_handler(self.enqueue)

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        workload = self._workloads.get(key[1], key[0])
        if workload is None or rolled_out(workload):
            return None
        await self.step(workload)
        return SECONDS_PER_REPLICA

    async def step(self, workload: Object) -> None:
        raise NotImplementedError

    async def write(self, workload: Object, status: Object) -> None:
        metadata = workload["metadata"]
        if status != workload.get("status"):
            await self.cluster.update(self.ref, {**workload, "metadata": metadata, "status": status}, "status")

    def _updated(self, workload: Object, field: str) -> int:
        """How many run the present template after this step: none right after it changed."""
        status = workload.get("status") or {}
        if status.get("observedGeneration") != workload["metadata"].get("generation"):
            return 0
        return int(status.get(field) or 0) + 1


class Deployments(_Rollout):
    name = "deployment-controller"
    ref = DEPLOYMENTS

    async def step(self, workload: Object) -> None:
        updated = min(self._updated(workload, "updatedReplicas"), workload["spec"].get("replicas", 1))
        await self.write(workload, deployment_status(workload, updated, self.clock.timestamp()))


class DaemonSets(_Rollout):
    name = "daemon-set-controller"
    ref = DAEMON_SETS

    def setup(self) -> None:
        super().setup()
        self._nodes = self.informer(NODES, cluster=self.observer)

    async def step(self, workload: Object) -> None:
        selector = (workload["spec"]["template"]["spec"].get("nodeSelector") or {}).items()
        nodes = [node for node in self._nodes.list() if selector <= (node["metadata"].get("labels") or {}).items()]
        updated = min(self._updated(workload, "updatedNumberScheduled"), len(nodes))
        await self.write(workload, daemon_set_status(workload, len(nodes), updated))
