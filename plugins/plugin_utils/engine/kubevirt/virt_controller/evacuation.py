# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evacuation controller: instances that are to leave their node get a migration each, as far as the limits allow.

Source: KubeVirt pkg/virt-controller/watch/drain/evacuation/evacuation.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import dataclasses
import typing as t

from ...errors import StatusError
from ...interface import NODES, PODS, Object
from . import phases, pods
from .cluster_config import VirtControllerPart
from .eviction_strategies import is_migratable, migrates_on_eviction
from .migrations.phases import EVACUATION, is_running
from .migrations.phases import is_final as migration_is_final
from .phases import MIGRATIONS, VIRTUAL_MACHINE_INSTANCES

_RUNNING, _UNFINISHED_OF = "running", "unfinished of instance"
"""Indexes of migrations: those that the limits count, and the unfinished ones by NAMESPACE/NAME of their instance."""
_NO_SLOT, _NOT_MIGRATABLE = 5.0, 60.0
"""Engine seconds until a node is looked at again: while no slot is free, and when only instances are left that can't move."""


def _counted(migration: Object) -> list[str]:
    return [_RUNNING] if is_running(migration) else []


def _unfinished_instance(migration: Object) -> list[str]:
    return [] if migration_is_final(migration) else [f"{migration['metadata']['namespace']}/{migration['spec']['vmiName']}"]


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Instances on one node that are to leave it, in the order of the cache."""

    migratable: t.Sequence[Object]
    not_migratable: t.Sequence[Object]


def is_tainted(node: Object, key: str) -> bool:
    """Whether the node has the taint by which everything is to leave it."""
    taints = (node.get("spec") or {}).get("taints") or ()
    return any(taint.get("key") == key and taint.get("effect") == "NoSchedule" for taint in taints)


def is_marked(vmi: Object) -> bool:
    """Whether an eviction has marked the instance to leave its node."""
    status = vmi.get("status") or {}
    marked = status.get("evacuationNodeName")
    return bool(marked) and marked == status.get("nodeName") and not phases.is_migrating(vmi)


def candidates(
    vmis: t.Iterable[Object], tainted: bool, cluster_wide: str, has_migration: t.Callable[[Object], bool], active_pods: t.Callable[[Object], int],
) -> Candidates:
    """Who is to leave, and who of them can."""
    migratable, not_migratable = [], []
    for vmi in vmis:
        if not tainted and not is_marked(vmi):
            continue
        if phases.is_final(vmi) or vmi["metadata"].get("deletionTimestamp") or not migrates_on_eviction(vmi, cluster_wide):
            continue
        if not is_migratable(vmi):
            not_migratable.append(vmi)
        elif not has_migration(vmi) and active_pods(vmi) <= 1:
            migratable.append(vmi)
    return Candidates(migratable, not_migratable)


def evacuation_migration(vmi: Object, node: str) -> Object:
    return {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
        "metadata": {
            "generateName": "kubevirt-evacuation-", "namespace": vmi["metadata"]["namespace"], "annotations": {EVACUATION: node},
        },
        "spec": {"vmiName": vmi["metadata"]["name"]},
    }


class Evacuation(VirtControllerPart):
    """Reconciles nodes; keys are their names."""

    name = "virt-controller evacuation"
    recorder = "evacuation-controller"

    def setup(self) -> None:
        self._nodes = self.informer(NODES)
        self._instances = self.informer(VIRTUAL_MACHINE_INSTANCES)
        self._instances.add_index(pods.BY_NODE, phases.node_of)
        self._pods = self.informer(PODS, pods.LAUNCHERS)
        self._pods.add_index(pods.BY_INSTANCE, pods.instance_uid)
        self._migrations = self.informer(MIGRATIONS)
        self._migrations.add_index(_RUNNING, _counted)
        self._migrations.add_index(_UNFINISHED_OF, _unfinished_instance)
        self._expected: dict[tuple[str, str], str] = {}
        self._nodes.add_handler(self._node_changed)
        self._instances.add_handler(self._instance_changed)
        self._migrations.add_handler(self._migration_changed)

    def _node_changed(self, event: str, node: Object, _before: Object | None) -> None:
        if event != "DELETED":
            self.queue.add(node["metadata"]["name"])

    def _instance_changed(self, _event: str, vmi: Object, before: Object | None) -> None:
        for one in (vmi, before):
            for node in phases.node_of(one) if one is not None else ():
                self.queue.add(node)

    def _migration_changed(self, _event: str, migration: Object, _before: Object | None) -> None:
        namespace = migration["metadata"]["namespace"]
        self._expected.pop((namespace, migration["metadata"]["name"]), None)
        vmi = self._instances.get(migration["spec"]["vmiName"], namespace)
        for node in phases.node_of(vmi) if vmi is not None else ():
            self.queue.add(node)

    async def reconcile(self, key: str) -> float | None:
        node = self._nodes.get(key)
        if node is None or key in self._expected.values():
            # What was created for this node has not been seen yet; its appearance brings the node back.
            return None
        configuration = self.config.configuration
        on_node = self._instances.by_index(pods.BY_NODE, key)
        found = candidates(
            on_node, is_tainted(node, configuration.migrations.node_drain_taint_key), configuration.eviction_strategy,
            self._has_migration, self._active_pods,
        )
        if not found.migratable and not found.not_migratable:
            return None
        free = self._free(on_node)
        if free <= 0:
            return _NO_SLOT
        chosen = found.migratable[:free]
        for vmi in chosen:
            await self._create(vmi, key)
        left = free - len(chosen)
        for vmi in found.not_migratable[:left]:
            await self.events.event(vmi, "Normal", "FailedCreate", "VirtualMachineInstance is not migrateable")
        return _NOT_MIGRATABLE if not chosen and found.not_migratable[:left] else None

    def _has_migration(self, vmi: Object) -> bool:
        key = f"{vmi['metadata']['namespace']}/{vmi['metadata']['name']}"
        return bool(self._migrations.by_index(_UNFINISHED_OF, key))

    def _active_pods(self, vmi: Object) -> int:
        return sum(not pods.is_final(pod) for pod in self._pods.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"]))

    def _free(self, on_node: t.Sequence[Object]) -> int:
        """Slots that running migrations leave; those still Pending don't count here."""
        limits = self.config.configuration.migrations
        running = self._migrations.by_index(_RUNNING, _RUNNING)
        # KubeVirt compares names without namespaces.
        names = {vmi["metadata"]["name"] for vmi in on_node}
        outbound = sum(one["spec"]["vmiName"] in names for one in running)
        return min(limits.parallel_migrations_per_cluster - len(running), limits.parallel_outbound_migrations_per_node - outbound)

    async def _create(self, vmi: Object, node: str) -> None:
        try:
            made = await self.cluster.create(MIGRATIONS, evacuation_migration(vmi, node), vmi["metadata"]["namespace"])
        except StatusError as error:
            await self.events.event(vmi, "Warning", "FailedCreate", f"Error creating a Migration: {error.message}")
            raise
        name = made["metadata"]["name"]
        if self._migrations.get(name, vmi["metadata"]["namespace"]) is None:
            self._expected[vmi["metadata"]["namespace"], name] = node
        await self.events.event(vmi, "Normal", "SuccessfulCreate", f"Created Migration {name}")
