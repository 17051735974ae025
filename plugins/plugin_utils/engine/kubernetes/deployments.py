# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Deployment controller: a ReplicaSet for each template, the newest grows while the others shrink.

While a roll-out is under way a change of replicas is not shared out between the ReplicaSets: the new one takes it.
Source: Kubernetes pkg/controller/deployment.
"""
from __future__ import annotations

import datetime
import typing as t

from ..controller import Controller, EventRecorder, object_key
from ..errors import StatusError
from ..interface import DEPLOYMENTS, PODS, REPLICA_SETS, Object
from . import deployment_status as rolling
from . import pods as pod_status
from .pod_control import CONTROLLER, index_by_controller
from .resources import controller_of


class Deployments(Controller):
    """Keys are (namespace, name) of Deployments."""

    name = "deployment-controller"

    def setup(self) -> None:
        self._events = EventRecorder(self.cluster, self.clock, self.name)
        self._deployments = self.informer(DEPLOYMENTS)
        self._replica_sets = self.informer(REPLICA_SETS)
        self._pods = self.informer(PODS)
        index_by_controller(self._replica_sets)
        index_by_controller(self._pods)
        self._deployments.add_handler(self.enqueue)
        self._replica_sets.add_handler(self._replica_set_changed)
        self._pods.add_handler(self._pod_gone)

    def _replica_set_changed(self, _event: str, replica_set: Object, _before: Object | None) -> None:
        owner = controller_of(replica_set)
        if owner is not None and owner["kind"] == "Deployment":
            self.queue.add((replica_set["metadata"]["namespace"], owner["name"]))

    def _pod_gone(self, event: str, pod: Object, _before: Object | None) -> None:
        """Who recreates waits for the end of the old pods, which no ReplicaSet counts any more."""
        owner = controller_of(pod) if event == "DELETED" else None
        held = self._replica_sets.get(owner["name"], pod["metadata"]["namespace"]) if owner is not None and owner["kind"] == "ReplicaSet" else None
        if held is not None:
            self._replica_set_changed(event, held, None)

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        deployment = self._deployments.get(key[1], key[0])
        if deployment is None or deployment["metadata"].get("deletionTimestamp"):
            return None
        every = self._replica_sets.by_index(CONTROLLER, deployment["metadata"]["uid"])
        new = next((one for one in every if rolling.same_template(one, deployment)), None)
        old = [one for one in every if one is not new]
        if deployment["spec"].get("paused"):
            return await self._finish(deployment, new, every)
        recreate = (deployment["spec"].get("strategy") or {}).get("type") == "Recreate"
        if recreate and any(one["spec"].get("replicas") or self._runs(one) for one in old):
            for one in old:
                await self._scale(deployment, one, 0)
            return await self._finish(deployment, new, every)
        if new is None:
            await self._create(deployment, old)
            return await self._finish(deployment, new, every)
        if await self._number(deployment, new, old):
            return None
        if not await self._scale(deployment, new, rolling.grown(deployment, new, every)):
            shrinking = rolling.shrunk(deployment, new, old)
            for one in old:
                if one["metadata"]["name"] in shrinking:
                    await self._scale(deployment, one, shrinking[one["metadata"]["name"]])
        await self._forget(deployment, old)
        return await self._finish(deployment, new, every)

    def _runs(self, replica_set: Object) -> bool:
        return any(not pod_status.is_final(pod) for pod in self._pods.by_index(CONTROLLER, replica_set["metadata"]["uid"]))

    async def _create(self, deployment: Object, old: t.Sequence[Object]) -> None:
        number = max((rolling.revision(one) for one in old), default=0) + 1
        replicas = self._room(deployment, old)
        collisions = int((deployment.get("status") or {}).get("collisionCount") or 0)
        wanted = rolling.new_replica_set(deployment, number, replicas, collisions)
        name = wanted["metadata"]["name"]
        try:
            await self.cluster.create(REPLICA_SETS, wanted)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
            held = await self.cluster.get(REPLICA_SETS, name, deployment["metadata"]["namespace"])
            owner = controller_of(held)
            if owner is None or owner["uid"] != deployment["metadata"]["uid"]:
                status = {**(deployment.get("status") or {}), "collisionCount": collisions + 1}
                await self.cluster.update(DEPLOYMENTS, {**deployment, "status": status}, "status")
            return
        await self._events.event(deployment, "Normal", "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {replicas}")

    @staticmethod
    def _room(deployment: Object, old: t.Sequence[Object]) -> int:
        wanted = int(deployment["spec"].get("replicas", 1))
        held = sum(int(one["spec"].get("replicas", 1)) for one in old)
        return max(0, min(wanted, wanted + rolling.bounds(deployment)[0] - held))

    async def _number(self, deployment: Object, new: Object, old: t.Sequence[Object]) -> bool:
        """The new ReplicaSet has the highest revision, and the Deployment says which that is; whether that had to be written."""
        number = max(rolling.revision(new), max((rolling.revision(one) for one in old), default=0) + 1)
        written = False
        for ref, obj, wanted in ((REPLICA_SETS, new, rolling.noted(deployment, number)), (DEPLOYMENTS, deployment, {rolling.REVISION: str(number)})):
            annotations = obj["metadata"].get("annotations") or {}
            if not wanted.items() <= annotations.items():
                await self.cluster.update(ref, {**obj, "metadata": {**obj["metadata"], "annotations": {**annotations, **wanted}}})
                written = True
        return written

    async def _scale(self, deployment: Object, replica_set: Object, replicas: int) -> bool:
        """Whether the ReplicaSet had another size."""
        held, name = int(replica_set["spec"].get("replicas", 1)), replica_set["metadata"]["name"]
        if held == replicas:
            return False
        await self.cluster.update(REPLICA_SETS, {**replica_set, "spec": {**replica_set["spec"], "replicas": replicas}})
        way = "up" if replicas > held else "down"
        await self._events.event(deployment, "Normal", "ScalingReplicaSet", f"Scaled {way} replica set {name} from {held} to {replicas}")
        return True

    async def _forget(self, deployment: Object, old: t.Sequence[Object]) -> None:
        """Delete the oldest ReplicaSets without pods beyond those that are kept to go back to."""
        kept = deployment["spec"].get("revisionHistoryLimit", 10)
        empty = [one for one in old if not one["spec"].get("replicas") and not (one.get("status") or {}).get("replicas")]
        for one in sorted(empty, key=rolling.revision)[:max(0, len(empty) - kept)]:
            metadata = one["metadata"]
            await self.cluster.delete(REPLICA_SETS, metadata["name"], metadata["namespace"], uid=metadata["uid"])

    async def _finish(self, deployment: Object, new: Object | None, every: t.Sequence[Object]) -> float | None:
        left = self._patience(deployment)
        status = rolling.status_of(deployment, new, every, self.clock.timestamp(), late=left is not None and left <= 0)
        if status != deployment.get("status"):
            await self.cluster.update(DEPLOYMENTS, {**deployment, "status": status}, "status")
        if left is not None and left > 0 and not rolling.is_complete(deployment, status):
            # A roll-out that hangs is only said to hang: nothing moves by it.
            self.queue.add_after(object_key(deployment), left, background=True)
        return None

    def _patience(self, deployment: Object) -> float | None:
        """Seconds until a roll-out without progress is called late."""
        known = next((one for one in (deployment.get("status") or {}).get("conditions") or () if one["type"] == "Progressing"), None)
        if known is None or known.get("reason") == "NewReplicaSetAvailable":
            return None
        since = datetime.datetime.fromisoformat(known["lastUpdateTime"])
        return float(deployment["spec"].get("progressDeadlineSeconds", 600) - (self.clock.now() - since).total_seconds())
