# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Target pods: whether one may be made now, making it, and giving up on it.

Source: KubeVirt pkg/virt-controller/watch/migration/migration.go (handleTargetPodCreation, createTargetPod, handlePendingPodTimeout),
pkg/virt-controller/watch/descheduler, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import typing as t

from ....clock import Clock
from ....controller import EventRecorder, object_key
from ....errors import StatusError
from ....interface import PODS, Cluster, Object
from .. import disruption_budgets, pods
from ..cluster_config import ClusterConfig
from ..eviction_strategies import migrates_on_eviction
from ..launcher import launcher_pod
from ..launcher_scheduling import HostModelUnknown, uses_host_model
from ..phases import phase as phase_of
from . import backoff, phases, queue, targets
from .known import Known, node_name
from .limits import Running

CREATION, CAPACITY = 1.0, 5.0
"""Engine seconds until a migration looks again that waits for other pods, or for a free slot."""
_EXPECTED = 300.0
"""Engine seconds after which a pod that was made and never seen is no longer waited for."""
_IN_PROGRESS = "descheduler.alpha.kubernetes.io/eviction-in-progress"


class Again(t.NamedTuple):
    """When to look again. What may wait for ever waits in the background."""

    seconds: float
    background: bool = False
    priority: int = queue.NORMAL


def is_marked(pod: Object | None) -> bool:
    """Whether the descheduler is told that the pod is on its way out."""
    return pod is not None and _IN_PROGRESS in (pod["metadata"].get("annotations") or {})


class TargetPods:
    """Every method may raise StatusError."""

    def __init__(self, cluster: Cluster, clock: Clock, events: EventRecorder, config: ClusterConfig, known: Known, running: Running) -> None:
        self._cluster, self._clock, self._events, self._config, self._known, self._running = cluster, clock, events, config, known, running
        self._unseen: dict[tuple[str, str], float] = {}

    def seen(self, pod: Object) -> bool:
        """The cache has the pod. Whether that was waited for."""
        return self._unseen.pop(object_key(pod), None) is not None

    def _waits_for_cache(self) -> bool:
        now = self._clock.monotonic()
        for key in [key for key, since in self._unseen.items() if now - since > _EXPECTED]:
            del self._unseen[key]
        return bool(self._unseen)

    async def make(self, migration: Object, vmi: Object) -> Again | None:
        """Make the target pod of a migration in Pending, or say when to look again; None when something will happen to it before."""
        source = self._known.source_pod(vmi)
        if source is None:
            return None
        if phases.annotated(migration, phases.EVACUATION) and not is_marked(source):
            await self._patch(source, {"metadata": {"annotations": {_IN_PROGRESS: "kubevirt"}}})
        if self._waits_for_cache() or self._known.active_pods(vmi) > 1:
            return Again(CREATION, background=True)
        settings = self._config.configuration.migrations
        full = len(self._running) >= settings.parallel_migrations_per_cluster
        if full or self._running.outbound(node_name(vmi)) >= settings.parallel_outbound_migrations_per_node:
            return Again(CAPACITY, background=True, priority=queue.WAITING)
        if phase_of(vmi) == "Running" and await self._guarded(migration, vmi):
            await self._create(migration, vmi, source)
        return None

    async def back_off(self, migration: Object, vmi: Object) -> Again | None:
        wait = backoff.backoff(migration, self._known.of_instance(object_key(vmi)), self._clock.now())
        if wait <= 0:
            return None
        await self._events.event(vmi, "Warning", "MigrationBackoff", f"backoff migrating vmi {path(vmi)}")
        return Again(wait)

    async def _guarded(self, migration: Object, vmi: Object) -> bool:
        """Whether the instance's disruption budget covers both pods, as far as it needs one; raises it where it doesn't."""
        if not migrates_on_eviction(vmi, self._config.configuration.eviction_strategy):
            return True
        budget = self._known.budget_of(vmi)
        if budget is None:
            raise StatusError(500, "InternalError", f"Found no PDB protecting the vmi {vmi['metadata']['name']}")
        name, namespace = budget["metadata"]["name"], vmi["metadata"]["namespace"]
        if disruption_budgets.is_expanded(budget, migration["metadata"]["name"]):
            return disruption_budgets.covers_two(budget)
        try:
            await self._cluster.patch(disruption_budgets.BUDGETS, name, disruption_budgets.expanded(migration["metadata"]["name"]), namespace)
        except StatusError as error:
            await self._events.event(vmi, "Warning", "FailedUpdate", f"Error expanding the PodDisruptionBudget {name}: {error.message}")
            raise
        await self._events.event(vmi, "Normal", "SuccessfulUpdate", f"Expanded PodDisruptionBudget {name}")
        return False

    async def _create(self, migration: Object, vmi: Object, source: Object) -> None:
        try:
            pod = launcher_pod(
                vmi, self._config.version, self._config.configuration, migration=migration, source_pod=source,
                source_node=self._known.nodes.get(node_name(vmi)) or {"metadata": {}}, claims=self._known.claims_of(vmi),
            )
        except HostModelUnknown as unknown:
            raise StatusError(500, "InternalError", str(unknown)) from unknown
        try:
            made = await self._cluster.create(PODS, pod, vmi["metadata"]["namespace"])
        except StatusError as error:
            await self._events.event(vmi, "Warning", "FailedCreate", f"Error creating pod: {error.message}")
            raise
        key = object_key(made)
        if self._known.pods.get(key[1], key[0]) is None:
            self._unseen[key] = self._clock.monotonic()
        await self._events.event(migration, "Normal", "SuccessfulCreate", f"Created migration target pod {made['metadata']['name']}")

    async def watch_over(self, migration: Object, vmi: Object, target: Object) -> Again | None:
        """Give up on a target pod that finds no node, or does not start, in time."""
        if not targets.is_waiting(target):
            return None
        found = targets.check(migration, target, self._clock.now())
        if targets.is_unschedulable(target):
            await self._warn_of_host_model(vmi, target)
            text = f"Migration target pod for VMI [{path(vmi)}] is currently unschedulable."
            await self._events.event(migration, "Warning", "migrationTargetPodUnschedulable", text)
        if isinstance(found, targets.Overdue):
            await self._delete(migration, target, f"{found.what} pod {path(target)} timeout period exceeded", "Error deleted migration target pod")
            return None
        return Again(found) if found is not None else None

    async def _warn_of_host_model(self, vmi: Object, target: Object) -> None:
        if not uses_host_model(vmi):
            return
        lacking = targets.fits_nowhere(target, self._known.nodes.list(), node_name(vmi))
        if lacking is not None:
            shown = " ".join(f"{key}:{value}" for key, value in sorted(lacking.items()))
            text = f"Migration cannot proceed since no node is suitable to run the required CPU model / required features: map[{shown}]"
            await self._events.event(vmi, "Warning", "NoSuitableNodesForHostModelMigration", text)

    async def cancel(self, migration: Object, target: Object) -> None:
        """Delete the target pod of a migration that is deleted before virt-handler has heard of it."""
        await self._delete(
            migration, target, f"migration canceled and pod {path(target)} is deleted", "Error deleting canceled migration target pod"
        )

    async def _delete(self, migration: Object, pod: Object, text: str, failed: str) -> None:
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp") or pods.is_final(pod):
            return
        try:
            await self._cluster.delete(PODS, metadata["name"], metadata["namespace"], metadata["uid"])
        except StatusError as error:
            if error.code == 404:
                return
            await self._events.event(migration, "Warning", "FailedDelete", f"{failed}: {error.message}")
            raise
        await self._events.event(migration, "Normal", "SuccessfulDelete", text)

    def marked_source(self, migration: Object) -> Object | None:
        """The source pod of the migration if the descheduler is told that it is on its way out."""
        name = ((migration.get("status") or {}).get("migrationState") or {}).get("sourcePod")
        pod = self._known.pods.get(name, migration["metadata"]["namespace"]) if name else None
        return pod if is_marked(pod) else None

    async def stays(self, migration: Object) -> None:
        """The source pod of a failed migration is not on its way out any more."""
        pod = self.marked_source(migration)
        if pod is not None:
            await self._patch(pod, {"metadata": {"annotations": {_IN_PROGRESS: None}}})

    async def tell_network(self, target: Object, ready: str) -> None:
        """Networks may switch over to the target from the moment that its guest runs."""
        if ready and targets.READY_TIMESTAMP not in (target["metadata"].get("annotations") or {}):
            text = ready.replace("T", " ").replace("Z", " +0000 UTC")
            await self._patch(target, {"metadata": {"annotations": {targets.READY_TIMESTAMP: text}}})

    async def _patch(self, pod: Object, patch: Object) -> None:
        await self._cluster.patch(PODS, pod["metadata"]["name"], patch, pod["metadata"]["namespace"])


def path(obj: Object) -> str:
    """NAMESPACE/NAME."""
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
