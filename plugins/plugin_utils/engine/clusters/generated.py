# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of any size, the same for the same sizes and seed: for benchmarks, soaks and generated tests."""
from __future__ import annotations

import dataclasses
import heapq
import random
import typing as t

from ..apiserver.local import LocalCluster
from ..clock import Clock
from ..interface import CLUSTER_ROLE_BINDINGS, NODES, ROLE_BINDINGS, Object
from ..kubevirt import virt_controller
from ..kubevirt.virt_controller.configuration import Configuration
from ..okd.bundles import Flavour
from . import variety
from .installed import namespace
from .lab import Empty, subject
from .stamping import Stamps
from .workloads import Machine, kubevirt_settings, machine_memory, pod_address

SIZES: dict[str, int] = {
    "namespaces": 100, "bindings": 400, "cluster_bindings": 20, "users": 200, "groups": 30, "nodes": 20, "node_memory_gib": 128, "vms": 200,
    "rwo_percent": 3, "busy_percent": 5, "unguarded_percent": 0, "older_percent": -1, **variety.SIZES, "seed": 1,
}
"""`nodes` are workers, of which every third of six is older unless `older_percent` says how many; VMs with RWO disks can't migrate, busy ones write to their
memory all the time, and those that are unguarded (evictionStrategy None) are shut down when they are evicted. See variety.SIZES for what sets VMs apart."""
_RBAC = "rbac.authorization.k8s.io"
_ROLES = ("admin", "edit", "view", "edit", "admin", "kubevirt.io:migrate")
_SHAPES = ((1024, 1), (2048, 1), (2048, 2), (4096, 2), (4096, 2), (8192, 4), (16384, 8))
"""Memory in MiB and cores of VMs, each as often as it stands here."""
_BUSY = (("20Mi", "256Mi"), ("100Mi", "512Mi"), ("400Mi", "1Gi"))
"""Dirty rate a second and working set of VMs that write."""


class Generated(Empty):
    """Tenants with random bindings, and VMs that run."""

    def __init__(self, release: str, flavour: Flavour, sizes: t.Mapping[str, int]) -> None:
        super().__init__(release, flavour)
        self._sizes = sizes
        self.workers = tuple(f"node{number:04}" for number in range(1, sizes["nodes"] + 1))
        self.worker_memory_gib = sizes["node_memory_gib"]
        self._variety = variety.Variety(sizes)

    def is_older(self, number: int) -> bool:
        percent = self._sizes["older_percent"]
        return super().is_older(number) if percent < 0 else number * 100 >= len(self.workers) * (100 - percent)

    def furnished(self, number: int, made: tuple[Object, Object]) -> tuple[Object, Object]:
        return self._variety.furnished(number, made)

    async def build(self, cluster: LocalCluster, clock: Clock) -> None:
        """Raises ValueError when the VMs don't fit on the nodes."""
        await super().build(cluster, clock)
        for number, name in enumerate(self.workers):
            if taints := self._variety.taints(number):
                await cluster.patch(NODES, name, {"spec": {"taints": taints}})
        sizes, draw = self._sizes, random.Random(self._sizes["seed"])  # noqa: S311
        tenants = [f"tenant-{number:05d}" for number in range(sizes["namespaces"])]
        for tenant in tenants:
            await namespace(cluster, tenant, tier=draw.choice(("gold", "silver", "bronze")))
        for number in range(sizes["bindings"]):
            await cluster.create(ROLE_BINDINGS, self._binding("RoleBinding", f"binding-{number}", draw, draw.choice(tenants)))
        for number in range(sizes["cluster_bindings"]):
            await cluster.create(CLUSTER_ROLE_BINDINGS, self._binding("ClusterRoleBinding", f"generated-{number}", draw, ""))
        if sizes["vms"]:
            config = await kubevirt_settings(cluster, self.namespace, self._release.kubevirt)
            own = cluster.as_service_account(self.namespace, virt_controller.ACCOUNT)
            stamps = Stamps(cluster, own, clock, self._release.kubevirt, config)
            machines = self.machines if not self._variety else self.various_machines
            for machine in machines(draw, tenants, config):
                await stamps.add(machine)

    def machines(self, draw: random.Random, tenants: t.Sequence[str], config: Configuration) -> t.Iterator[Machine]:
        """Each on the node with the most room left. Raises ValueError when there is none."""
        room = [(-(self.worker_memory_gib - 4) * 1024 * 1024 * 1024, name) for name in self.workers]
        heapq.heapify(room)
        requests: dict[Machine, int] = {}
        for number in range(self._sizes["vms"]):
            memory, cores = draw.choice(_SHAPES)
            claim = "ReadWriteOnce" if draw.random() * 100 < self._sizes["rwo_percent"] else "ReadWriteMany"
            dirty, working = draw.choice(_BUSY) if draw.random() * 100 < self._sizes["busy_percent"] else ("", "")
            # Nothing is drawn for a cluster without any: it is the same as ever.
            unguarded = self._sizes["unguarded_percent"] and draw.random() * 100 < self._sizes["unguarded_percent"]
            left, node = room[0]
            machine = Machine(
                draw.choice(tenants), f"vm-{number:06d}", node, memory, cores, claim, dirty_rate=dirty, working_set=working, address=pod_address(number),
                eviction_strategy="None" if unguarded else "",
            )
            shape = dataclasses.replace(machine, namespace="", name="vm", node="", address="")
            if shape not in requests:
                requests[shape] = machine_memory(shape, self._release.kubevirt, config)
            needed = requests[shape]
            if left + needed > 0:
                raise ValueError(f"{self._sizes['vms']} VMs do not fit on {len(self.workers)} nodes of {self.worker_memory_gib} GiB: give more nodes")
            heapq.heapreplace(room, (left + needed, node))
            yield machine

    def various_machines(self, draw: random.Random, tenants: t.Sequence[str], config: Configuration) -> t.Iterator[Machine]:
        """Each on the node with the most room left of those that take it. Raises ValueError when there is none."""
        places = self._variety.places(self.workers, self.worker_memory_gib, self.is_older)
        for number in range(self._sizes["vms"]):
            memory, cores = draw.choice(_SHAPES)
            machine = self._variety.drawn(
                draw, Machine(draw.choice(tenants), f"vm-{number:06d}", "", memory, cores, address=pod_address(number)),
            )
            needed = machine_memory(dataclasses.replace(machine, node="any"), self._release.kubevirt, config)
            machine = places.settled(machine, needed)
            if not machine.node:
                raise ValueError(f"{self._sizes['vms']} VMs do not fit on {len(self.workers)} nodes of {self.worker_memory_gib} GiB: give more nodes")
            yield machine

    def _binding(self, kind: str, name: str, draw: random.Random, where: str) -> Object:
        sizes = self._sizes
        subjects = []
        for _number in range(draw.randint(1, 3)):
            chosen = draw.random()
            if chosen < 0.7:
                subjects.append(f"user:user-{draw.randrange(sizes['users'])}")
            elif chosen < 0.9:
                subjects.append(f"group:group-{draw.randrange(sizes['groups'])}")
            else:
                subjects.append(f"serviceaccount:{where or 'default'}:default")
        metadata = {"name": name, "namespace": where} if where else {"name": name}
        return {
            "apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata,
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": draw.choice(_ROLES)},
            "subjects": [subject(text) for text in dict.fromkeys(subjects)],
        }
