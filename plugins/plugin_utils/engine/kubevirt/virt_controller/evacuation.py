# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evacuation controller: instances that are to leave their node get a migration each, as far as the limits allow.

Source: KubeVirt pkg/virt-controller/watch/drain/evacuation/evacuation.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import collections
import dataclasses
import typing as t

from ...clock import Clock
from ...controller import Informers
from ...errors import StatusError
from ...interface import NODES, PODS, Cluster, Object
from . import phases, pods
from .cluster_config import VirtControllerPart
from .driving import Driver
from .eviction_strategies import is_migratable, migrates_on_eviction
from .migrations.phases import EVACUATION, is_running
from .migrations.phases import is_final as migration_is_final
from .phases import MIGRATIONS, VIRTUAL_MACHINE_INSTANCES

_RUNNING, _UNFINISHED_OF = "running", "unfinished of instance"
"""Indexes of migrations: those that the limits count, and the unfinished ones by NAMESPACE/NAME of their instance."""
_MARKED = "marked"
"""Index of instances that are to leave, by the node that they are on."""
_NO_SLOT, _NOT_MIGRATABLE = 5.0, 60.0
"""Engine seconds until a node is looked at again: while no slot is free, and when only instances are left that can't move."""
_WORKERS = 3
_HEARTBEAT = 135.0
"""Engine seconds within which something is written to every node that is alive. Source: pkg/virt-handler/heartbeat/heartbeat.go."""
_EXPECTED = 300.0
"""Engine seconds after which a migration that was made and never seen is no longer waited for."""


def _counted(migration: Object) -> list[str]:
    return [_RUNNING] if is_running(migration) else []


def _unfinished_instance(migration: Object) -> list[str]:
    return [] if migration_is_final(migration) else [f"{migration['metadata']['namespace']}/{migration['spec']['vmiName']}"]


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Instances on one node that are to leave it, in the order of the cache. Held up are those that wait for pods to end."""

    migratable: t.Sequence[Object]
    not_migratable: t.Sequence[Object]
    held_up: bool = False


def is_tainted(node: Object, key: str) -> bool:
    """Whether the node has the taint by which everything is to leave it."""
    taints = (node.get("spec") or {}).get("taints") or ()
    return any(taint.get("key") == key and taint.get("effect") == "NoSchedule" for taint in taints)


def is_marked(vmi: Object) -> bool:
    """Whether an eviction has marked the instance to leave its node."""
    status = vmi.get("status") or {}
    marked = status.get("evacuationNodeName")
    return bool(marked) and marked == status.get("nodeName") and not phases.is_migrating(vmi)


def _leaves(vmi: Object) -> list[str]:
    return phases.node_of(vmi) if is_marked(vmi) else []


def candidates(
    vmis: t.Iterable[Object], tainted: bool, cluster_wide: str, has_migration: t.Callable[[Object], bool], active_pods: t.Callable[[Object], int],
) -> Candidates:
    """Who is to leave, and who of them can."""
    migratable, not_migratable, held_up = [], [], False
    for vmi in vmis:
        if not tainted and not is_marked(vmi):
            continue
        if phases.is_final(vmi) or vmi["metadata"].get("deletionTimestamp") or not migrates_on_eviction(vmi, cluster_wide):
            continue
        if not is_migratable(vmi):
            not_migratable.append(vmi)
        elif has_migration(vmi):
            continue
        elif active_pods(vmi) > 1:
            held_up = True
        else:
            migratable.append(vmi)
    return Candidates(migratable, not_migratable, held_up)


def free_slots(
    running: t.Sequence[Object], on_node: t.Iterable[Object], per_cluster: int, per_node: int,
) -> int:
    """Slots that running migrations leave to a node with these instances; KubeVirt compares names without namespaces."""
    names = {vmi["metadata"]["name"] for vmi in on_node}
    outbound = sum(one["spec"]["vmiName"] in names for one in running)
    return min(per_cluster - len(running), per_node - outbound)


def evacuation_migration(vmi: Object, node: str) -> Object:
    return {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
        "metadata": {
            "generateName": "kubevirt-evacuation-", "namespace": vmi["metadata"]["namespace"], "annotations": {EVACUATION: node},
        },
        "spec": {"vmiName": vmi["metadata"]["name"]},
    }


class Expectations:
    """Migrations that were asked for and that the cache has not shown yet, by node. Source: pkg/controller/expectations.go."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._number: collections.Counter[str] = collections.Counter()
        self._since: dict[str, float] = {}

    def expect(self, node: str, number: int) -> None:
        self._number[node] = number
        self._since[node] = self._clock.monotonic()

    def observed(self, node: str) -> None:
        if self._number[node] > 0:
            self._number[node] -= 1

    def satisfied(self, node: str) -> bool:
        return self._number[node] <= 0 or self._clock.monotonic() - self._since[node] > _EXPECTED


class Evacuation(VirtControllerPart):
    """Reconciles nodes; keys are their names."""

    name = "virt-controller evacuation"
    recorder = "evacuation-controller"

    def start(self, cluster: Cluster, clock: Clock, workers: int = _WORKERS, informers: Informers | None = None) -> None:
        super().start(cluster, clock, workers, informers)

    def setup(self) -> None:
        self._nodes = self.informer(NODES)
        self._instances = self.informer(VIRTUAL_MACHINE_INSTANCES)
        self._instances.add_index(pods.BY_NODE, phases.node_of)
        self._instances.add_index(_MARKED, _leaves)
        self._pods = self.informer(PODS, pods.LAUNCHERS)
        self._pods.add_index(pods.BY_INSTANCE, pods.instance_uid)
        self._migrations = self.informer(MIGRATIONS)
        self._migrations.add_index(_RUNNING, _counted)
        self._migrations.add_index(_UNFINISHED_OF, _unfinished_instance)
        self._expectations = Expectations(self.clock)
        self._driver = Driver(self.clock)
        self._waiting: set[str] = set()
        self._held_up: set[str] = set()
        self.config.on_change(self._driven)
        self._nodes.add_handler(self._node_changed)
        self._instances.add_handler(self._instance_changed)
        self._migrations.add_handler(self._migration_changed)
        self._pods.add_handler(self._pod_changed)

    async def stop(self) -> None:
        self._driver.stop()
        await super().stop()

    def _node_changed(self, _event: str, node: Object, _before: Object | None) -> None:
        self.queue.add(node["metadata"]["name"])

    def _instance_changed(self, _event: str, vmi: Object, _before: Object | None) -> None:
        # Only the node that the instance is on now: the one that it has just left is not woken.
        for node in phases.node_of(vmi):
            if self._concerned(node):
                self.queue.add(node)

    def _concerned(self, node: str) -> bool:
        """Whether anybody may be to leave the node, or was when it was looked at last."""
        if node in self._held_up or node in self._waiting or self._instances.count(_MARKED, node):
            return True
        found = self._nodes.get(node)
        return found is not None and is_tainted(found, self.config.configuration.migrations.node_drain_taint_key)

    def _migration_changed(self, event: str, migration: Object, before: Object | None) -> None:
        made_for = (migration["metadata"].get("annotations") or {}).get(EVACUATION)
        if before is not None and is_running(before) and (event == "DELETED" or not is_running(migration)):
            self._driven()
        if event == "ADDED" and made_for:
            self._expectations.observed(made_for)
            self.queue.add(made_for)
            return
        vmi = self._instances.get(migration["spec"]["vmiName"], migration["metadata"]["namespace"])
        for node in phases.node_of(vmi) if vmi is not None else ():
            if self._concerned(node):
                self.queue.add(node)

    def _pod_changed(self, event: str, pod: Object, _before: Object | None) -> None:
        """The end of a pod wakes no node, but now whoever was held up by it is free at the next write to its node."""
        if not self._held_up or (event != "DELETED" and not pods.is_final(pod)):
            return
        owner = pods.controller_of(pod)
        vmi = self._instances.get(owner["name"], pod["metadata"]["namespace"]) if owner is not None else None
        if vmi is not None and not self._held_up.isdisjoint(phases.node_of(vmi)):
            self._driver.drive(_HEARTBEAT)

    def _driven(self) -> None:
        """A slot may have come free: nodes that wait for one find it within the time of a look."""
        if self._waiting:
            self._driver.drive(_NO_SLOT)

    async def reconcile(self, key: str) -> float | None:
        self._waiting.discard(key)
        node = self._nodes.get(key)
        if node is None or not self._expectations.satisfied(key):
            # What was asked for has not been seen yet; its appearance brings the node back.
            return None
        configuration = self.config.configuration
        limits = configuration.migrations
        tainted = is_tainted(node, limits.node_drain_taint_key)
        found = candidates(
            self._instances.by_index(pods.BY_NODE if tainted else _MARKED, key), tainted, configuration.eviction_strategy, self._has_migration,
            self._active_pods,
        )
        (self._held_up.add if found.held_up else self._held_up.discard)(key)
        if not found.migratable and not found.not_migratable:
            return None
        free = free_slots(
            self._migrations.by_index(_RUNNING, _RUNNING), self._instances.by_index(pods.BY_NODE, key), limits.parallel_migrations_per_cluster,
            limits.parallel_outbound_migrations_per_node,
        )
        if free <= 0:
            self._waiting.add(key)
            self.queue.add_after(key, _NO_SLOT, background=True)
            return None
        return await self._evacuate(key, found, free)

    async def _evacuate(self, node: str, found: Candidates, free: int) -> float | None:
        chosen = found.migratable[:free]
        told = found.not_migratable[: free - len(chosen)]
        for vmi in told:
            await self.events.event(vmi, "Normal", "FailedCreate", "VirtualMachineInstance is not migrateable")
        if chosen:
            self._expectations.expect(node, len(chosen))
            errors = [error for vmi in chosen if (error := await self._create(vmi, node)) is not None]
            if errors:
                raise errors[0]
        elif told:
            self.queue.add_after(node, _NOT_MIGRATABLE, background=True)
        return None

    def _has_migration(self, vmi: Object) -> bool:
        return self._migrations.count(_UNFINISHED_OF, f"{vmi['metadata']['namespace']}/{vmi['metadata']['name']}") > 0

    def _active_pods(self, vmi: Object) -> int:
        return sum(not pods.is_final(pod) for pod in self._pods.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"]))

    async def _create(self, vmi: Object, node: str) -> StatusError | None:
        """Returns the error that it met, so that the others are made all the same."""
        try:
            made = await self.cluster.create(MIGRATIONS, evacuation_migration(vmi, node), vmi["metadata"]["namespace"])
        except StatusError as error:
            self._expectations.observed(node)
            await self.events.event(vmi, "Warning", "FailedCreate", f"Error creating a Migration: {error.message}")
            return error
        await self.events.event(vmi, "Normal", "SuccessfulCreate", f"Created Migration {made['metadata']['name']}")
        return None
