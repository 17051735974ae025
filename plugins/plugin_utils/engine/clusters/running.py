# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads as their controllers leave them: ReplicaSets, revisions and pods that run where the scheduler puts them."""
from __future__ import annotations

import typing as t

from ..clock import Clock
from ..interface import CONTROLLER_REVISIONS, DAEMON_SETS, DEPLOYMENTS, NODES, PODS, REPLICA_SETS, Cluster, Object, Ref
from ..kubernetes import daemon_set_status as daemons
from ..kubernetes import deployment_status as rolling
from ..kubernetes import pods
from ..kubernetes.pod_control import pod_of
from ..kubernetes.replica_sets import replica_set_status
from ..kubernetes.revisions import revision_of
from ..kubernetes.scheduler.algorithm import Algorithm
from ..kubernetes.scheduler.cache import Cache
from ..kubernetes.scheduler.nodes import PodRecord
from ..kubernetes.workload_status import template_hash

_TOPOLOGY = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class Running:
    """Makes workloads whose pods all run already. Knows the nodes and pods from when it was made, and what it makes."""

    def __init__(self, cluster: Cluster, clock: Clock, nodes: t.Sequence[Object], held: t.Sequence[Object]) -> None:
        self._cluster, self._clock, self._nodes = cluster, clock, nodes
        self._cache = Cache()
        self._algorithm = Algorithm(self._cache, lambda name: {"kubernetes.io/metadata.name": name})
        self._addresses = len(held)
        for node in nodes:
            self._cache.put_node(node)
        for pod in held:
            if pods.node_of(pod) and not pods.is_final(pod):
                self._cache.put_pod(PodRecord.of(pod))

    @classmethod
    async def of(cls, cluster: Cluster, clock: Clock) -> Running:
        return cls(cluster, clock, (await cluster.list(NODES)).items, (await cluster.list(PODS)).items)

    async def deployment(self, wanted: Object) -> Object:
        """A Deployment that is up, with its ReplicaSet and pods."""
        now = self._clock.timestamp()
        made = await self._cluster.create(DEPLOYMENTS, wanted)
        noted = {**(made["metadata"].get("annotations") or {}), rolling.REVISION: "1"}
        made = await self._cluster.update(DEPLOYMENTS, {**made, "metadata": {**made["metadata"], "annotations": noted}})
        replica_set = await self._cluster.create(REPLICA_SETS, rolling.new_replica_set(made, 1, made["spec"]["replicas"]))
        running = [await self._run(pod_of(replica_set, replica_set["spec"]["template"])) for dummy in range(made["spec"]["replicas"])]
        replica_set = await self._status(REPLICA_SETS, replica_set, replica_set_status(replica_set, running, self._clock.now())[0])
        return await self._status(DEPLOYMENTS, made, rolling.status_of(made, replica_set, [replica_set], now))

    async def daemon_set(self, wanted: Object) -> Object:
        """A DaemonSet that is up on every node where it belongs."""
        made = await self._cluster.create(DAEMON_SETS, wanted)
        await self._cluster.create(CONTROLLER_REVISIONS, revision_of(made, 1))
        spec, digest = daemons.pod_spec(made), template_hash(made["spec"]["template"])
        nodes = {node["metadata"]["name"]: daemons.should_run(spec, node) for node in self._nodes}
        by_node = {name: [await self._run(daemons.pod_for(made, spec, name, digest), name)] for name, (run, dummy) in nodes.items() if run}
        return await self._status(DAEMON_SETS, made, daemons.status_of(made, by_node, nodes, digest, self._clock.now())[0])

    async def pod(self, wanted: Object, node: str) -> Object:
        """A pod of nobody's, running on that node."""
        return await self._run(wanted, node)

    async def _run(self, wanted: Object, node: str = "") -> Object:
        """Raises RuntimeError with the pod's name when no node takes it."""
        node = node or self._algorithm.schedule(wanted).node
        if not node:
            raise RuntimeError(f"no node of the sample cluster takes a pod of {wanted['metadata'].get('generateName') or wanted['metadata']['name']}")
        held = self._cache.nodes[node]
        labels = {**wanted["metadata"]["labels"], **{key: held.labels[key] for key in _TOPOLOGY if key in held.labels}}
        made = await self._cluster.create(
            PODS, {**wanted, "metadata": {**wanted["metadata"], "labels": labels}, "spec": {**wanted["spec"], "nodeName": node}}
        )
        self._cache.put_pod(PodRecord.of(made))
        self._addresses += 1
        address = f"10.{128 + (self._addresses >> 16)}.{(self._addresses >> 8) & 255}.{self._addresses & 255}"
        now = self._clock.timestamp()
        status = pods.running(made, address, now)
        host = next((one["address"] for one in (held.node or {})["status"]["addresses"] if one["type"] == "InternalIP"), "")
        if host:
            status.update(hostIP=host, hostIPs=[{"ip": host}])
        status["conditions"].append({"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now})
        return await self._status(PODS, made, status)

    async def _status(self, ref: Ref, obj: Object, status: Object) -> Object:
        return await self._cluster.update(ref, {**obj, "status": status}, "status")
