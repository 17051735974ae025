# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of any size, the same for the same sizes and seed: for benchmarks and generated tests."""
from __future__ import annotations

import random
import typing as t

from ..clock import Clock
from ..interface import CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS, Cluster, Object
from ..kubevirt import virt_controller
from ..okd.bundles import Flavour
from .installed import namespace
from .lab import WORKERS, Empty, subject
from .workloads import Machine, add_machine, kubevirt_settings

SIZES: dict[str, int] = {"namespaces": 100, "bindings": 400, "cluster_bindings": 20, "users": 200, "groups": 30, "vms": 200, "seed": 1}
_RBAC = "rbac.authorization.k8s.io"
_ROLES = ("admin", "edit", "view", "edit", "admin", "kubevirt.io:migrate")


class Generated(Empty):
    """Tenants with random bindings, and small VMs on the workers in turn."""

    def __init__(self, release: str, flavour: Flavour, sizes: t.Mapping[str, int]) -> None:
        super().__init__(release, flavour)
        self._sizes = sizes

    async def build(self, cluster: Cluster, clock: Clock) -> None:
        await super().build(cluster, clock)
        sizes, draw = self._sizes, random.Random(self._sizes["seed"])  # noqa: S311
        tenants = [f"tenant-{number:05d}" for number in range(sizes["namespaces"])]
        for tenant in tenants:
            await namespace(cluster, tenant, tier=draw.choice(("gold", "silver", "bronze")))
        for number in range(sizes["bindings"]):
            await cluster.create(ROLE_BINDINGS, self._binding("RoleBinding", f"binding-{number}", draw, draw.choice(tenants)))
        for number in range(sizes["cluster_bindings"]):
            await cluster.create(CLUSTER_ROLE_BINDINGS, self._binding("ClusterRoleBinding", f"generated-{number}", draw, ""))
        config = await kubevirt_settings(cluster, self.namespace, self._release.kubevirt)
        own = cluster.as_service_account(self.namespace, virt_controller.ACCOUNT)
        for number in range(sizes["vms"]):
            machine = Machine(draw.choice(tenants), f"vm-{number}", WORKERS[number % len(WORKERS)], memory_mib=1024, claim="")
            await add_machine(cluster, own, clock, machine, self._release.kubevirt, config)

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
