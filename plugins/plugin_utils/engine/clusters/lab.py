# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample cluster lab: 3 control-plane and 6 worker nodes, seven tenants, 44 running VMs, and every way to come by a right."""
from __future__ import annotations

import typing as t

from ..apiserver.local import LocalCluster
from ..authority import User
from ..clock import Clock
from ..interface import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    NODES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    Cluster,
    Object,
    Ref,
)
from ..kubevirt import virt_controller
from ..okd.bundles import Flavour
from ..okd.machine_config import names as machine_config
from ..okd.machine_config import pools
from ..okd.machine_config.names import MACHINE_CONFIGS, POOLS, operating_system, rendered_name
from .installed import namespace, platform, put, virtualization
from .lab_workloads import TENANTS, add_budget, add_workloads, machines
from .workloads import add_machine, add_node, kubevirt_settings, node

_RBAC = "rbac.authorization.k8s.io"
GROUPS = Ref("user.openshift.io", "v1", "groups")
STORAGE_CLASSES = Ref("storage.k8s.io", "v1", "storageclasses")
PLATFORM_VERSION = "4.19.0"
WORKERS = tuple(f"node{number:02}" for number in range(1, 7))

USERS: tuple[User, ...] = (
    ("olivia", ("platform-team",)), ("alice", ()), ("bob", ()), ("carol", ()), ("dave", ()), ("erin", ()), ("frank", ()), ("grace", ("devs",)),
    ("heidi", ("devs",)), ("ivan", ("storage-admins",)), ("judy", ("vm-admins",)), ("nina", ()), ("peter", ()), ("mallory", ()),
)
"""Everybody with a client certificate: name and groups. A real OpenShift adds the groups of its Group objects at login."""

_MIGRATE_RULES = [
    {"apiGroups": ["subresources.kubevirt.io"], "resources": ["virtualmachines/migrate"], "verbs": ["update"]},
    {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachineinstancemigrations"], "verbs": ["get", "list", "watch", "create", "delete"]},
]
_BINDINGS: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    # namespace ("" for the whole cluster), binding, kind of role, role, subjects
    ("", "platform-team", "ClusterRole", "cluster-admin", ("user:olivia",)),
    ("", "vm-admins", "ClusterRole", "admin", ("group:vm-admins",)),
    ("", "ci-pipeline", "ClusterRole", "edit", ("serviceaccount:ci:pipeline",)),
    ("team-blue", "admins", "ClusterRole", "admin", ("user:alice",)),
    ("team-blue", "editors", "ClusterRole", "edit", ("user:bob",)),
    ("team-blue", "viewers", "ClusterRole", "view", ("user:carol",)),
    ("team-green", "devs-edit", "ClusterRole", "edit", ("group:devs",)),
    ("team-green", "admins", "ClusterRole", "admin", ("user:alice",)),
    ("shop", "admins", "ClusterRole", "admin", ("user:carol",)),
    ("shop", "vm-operators", "ClusterRole", "vm-operator", ("user:dave",)),
    ("shop", "automation", "ClusterRole", "edit", ("serviceaccount:shop:deployer",)),
    ("analytics", "support", "ClusterRole", "support", ("user:erin",)),
    ("analytics", "storage-admins", "ClusterRole", "admin", ("group:storage-admins",)),
    ("legacy", "editors", "ClusterRole", "edit", ("user:frank",)),
    ("legacy", "viewers", "ClusterRole", "view", ("user:frank", "group:devs")),
    ("legacy", "migrators", "Role", "migrate-only", ("user:peter",)),
    ("sandbox", "editors", "ClusterRole", "edit", ("user:nina",)),
)


def subject(text: str) -> Object:
    """user:alice, group:devs or serviceaccount:namespace:name as a subject."""
    kind, dummy, rest = text.partition(":")
    if kind == "serviceaccount":
        where, dummy, name = rest.partition(":")
        return {"kind": "ServiceAccount", "name": name, "namespace": where}
    return {"apiGroup": _RBAC, "kind": kind.capitalize(), "name": rest}


class Empty:
    """A cluster with Virtualization and nothing else: no tenants, no VMs."""

    users: tuple[User, ...] = ()
    workers: t.Sequence[str] = WORKERS
    worker_memory_gib = 128

    def __init__(self, release: str, flavour: Flavour, second_operator: bool = False) -> None:
        self.platform_version = PLATFORM_VERSION
        self._flavour, self._release = flavour, flavour.release(release)
        self._second_operator = second_operator
        self.namespace = flavour.namespace

    def is_older(self, number: int) -> bool:
        """Some workers are older machines, as clusters grow."""
        return number % 6 > 3

    def furnished(self, _number: int, made: tuple[Object, Object]) -> tuple[Object, Object]:
        """A worker with what sets it apart from others."""
        return made

    async def build(self, cluster: LocalCluster, clock: Clock) -> None:
        await platform(cluster, clock, self.platform_version)
        configurations = {role: rendered_name(role, [operating_system(role, self.platform_version)["spec"]]) for role in machine_config.ROLES}
        for number in range(3):
            made = node(f"control-{number}", "master", f"zone-{'abc'[number]}", cores=8, memory_gib=32, configuration=configurations["master"])
            await add_node(cluster, clock, made)
        for number, name in enumerate(self.workers):
            model = "Haswell-noTSX" if self.is_older(number) else "Cascadelake-Server"
            made = node(name, "worker", f"zone-{'abc'[number % 3]}", model, self.worker_memory_gib, configuration=configurations["worker"])
            await add_node(cluster, clock, self.furnished(number, made))
        await _pools(cluster, clock, self.platform_version)
        await virtualization(cluster, clock, self._flavour, self._release, second_operator=self._second_operator)


class Lab(Empty):
    """The whole lab."""

    users = USERS

    async def build(self, cluster: LocalCluster, clock: Clock) -> None:
        await super().build(cluster, clock)
        await put(cluster, STORAGE_CLASSES, {
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "ceph-rbd-virtualization"},
            "provisioner": "openshift-storage.rbd.csi.ceph.com", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
        })
        for where in TENANTS:
            await namespace(cluster, where, **{"lab.okd.virt/tenant": "true"})
        await _access(cluster)
        config = await kubevirt_settings(cluster, self.namespace, self._release.kubevirt)
        own = cluster.as_service_account(self.namespace, virt_controller.ACCOUNT)
        for machine in machines(self.workers):
            await add_machine(cluster, own, clock, machine, self._release.kubevirt, config)
        await add_workloads(cluster, clock)
        await add_budget(cluster, clock)


async def _pools(cluster: Cluster, clock: Clock, version: str) -> None:
    """The pools of both roles at rest, with the MachineConfigs that they are made of."""
    nodes = (await cluster.list(NODES)).items
    for role in machine_config.ROLES:
        source = operating_system(role, version)
        name = rendered_name(role, [source["spec"]])
        await cluster.create(MACHINE_CONFIGS, source)
        await cluster.create(MACHINE_CONFIGS, {**source, "metadata": {"name": name}})
        origin = {"apiVersion": MACHINE_CONFIGS.api_version, "kind": "MachineConfig", "name": source["metadata"]["name"]}
        pool = {
            "apiVersion": POOLS.api_version, "kind": "MachineConfigPool", "metadata": {"name": role},
            "spec": {
                "configuration": {"name": name, "source": [origin]}, "paused": False, "machineConfigSelector": {"matchLabels": {machine_config.ROLE: role}},
                "nodeSelector": {"matchLabels": {f"node-role.kubernetes.io/{role}": ""}},
            },
        }
        members = [one for one in nodes if f"node-role.kubernetes.io/{role}" in one["metadata"]["labels"]]
        await put(cluster, POOLS, pool, pools.status(pool, members, name, {}, clock.timestamp()))


async def _access(cluster: Cluster) -> None:
    """Roles, groups, accounts and bindings of the tenants."""
    label = "lab.okd.virt/aggregate-to-support"
    roles: tuple[Object, ...] = (
        {"metadata": {"name": "vm-operator"}, "rules": [
            {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines", "virtualmachineinstances"], "verbs": ["get", "list", "watch"]}, *_MIGRATE_RULES,
        ]},
        {"metadata": {"name": "support-migrate", "labels": {label: "true"}}, "rules": _MIGRATE_RULES},
        {"metadata": {"name": "support-read", "labels": {label: "true"}}, "rules": [
            {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines", "virtualmachineinstances"], "verbs": ["get", "list", "watch"]},
        ]},
        {"metadata": {"name": "support"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]}, "rules": None},
    )
    for custom in roles:
        await cluster.create(CLUSTER_ROLES, {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", **custom})
    only = {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": {"name": "migrate-only", "namespace": "legacy"}, "rules": _MIGRATE_RULES[:1]}
    await cluster.create(ROLES, only)
    await cluster.create(
        GROUPS, {"apiVersion": GROUPS.api_version, "kind": "Group", "metadata": {"name": "devs"}, "users": ["grace", "heidi"]}
    )
    for where, name in (("shop", "deployer"), ("ci", "pipeline")):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": where}}
        await cluster.create(SERVICE_ACCOUNTS, account)
    for where, name, kind, role, subjects in _BINDINGS:
        metadata = {"name": name, "namespace": where} if where else {"name": name}
        binding: Object = {
            "apiVersion": f"{_RBAC}/v1", "kind": "RoleBinding" if where else "ClusterRoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": role}, "subjects": [subject(text) for text in subjects],
        }
        await cluster.create(ROLE_BINDINGS if where else CLUSTER_ROLE_BINDINGS, binding)
