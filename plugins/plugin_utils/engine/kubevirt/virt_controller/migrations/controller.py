# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller of VirtualMachineInstanceMigrations: reads, decides by the pure modules beside it, writes.

Source: KubeVirt pkg/virt-controller/watch/migration/migration.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

from ....controller import object_key
from ....errors import StatusError
from ....interface import NAMESPACES, NODES, PODS, Object
from .. import disruption_budgets, migration_policies, pods
from ..cluster_config import VirtControllerPart
from ..conditions import new, updated, without
from ..configuration import Migrations as Settings
from ..eviction_strategies import migrates_on_eviction
from ..launcher import launcher_pod
from ..launcher_scheduling import HostModelUnknown, uses_host_model
from ..phases import CLAIMS, MIGRATIONS, OBSERVED_VERSIONS, VIRTUAL_MACHINE_INSTANCES
from ..phases import phase as phase_of
from . import backoff, failures, hand_off, limits, phases, targets

Key = tuple[str, str]
BY_INSTANCE, BY_JOB, KEPT = "instance", "job", 5
_RETRY_CREATION, _RETRY_CAPACITY = 1.0, 5.0
"""Engine seconds until a migration that waits for other target pods, or for a free slot, looks again."""
_JSON_PATCH = "application/json-patch+json"
_IN_PROGRESS = {"descheduler.alpha.kubernetes.io/eviction-in-progress": "kubevirt"}
_READY_TIMESTAMP = "kubevirt.io/migration-target-ready-timestamp"


def _instance_key(migration: Object) -> list[str]:
    return [f"{migration['metadata'].get('namespace', '')}/{(migration.get('spec') or {}).get('vmiName', '')}"]


def _job(pod: Object) -> list[str]:
    uid = (pod["metadata"].get("labels") or {}).get(phases.JOB_UID)
    return [uid] if uid else []


class Migrations(VirtControllerPart):
    """Reconciles migrations, one transition at a time."""

    name = "virt-controller migration"

    def setup(self) -> None:
        self._migrations = self.informer(MIGRATIONS)
        self._migrations.add_index(BY_INSTANCE, _instance_key)
        self._instances = self.informer(VIRTUAL_MACHINE_INSTANCES)
        self._pods = self.informer(PODS, pods.LAUNCHERS)
        self._pods.add_index(pods.BY_INSTANCE, pods.instance_uid)
        self._pods.add_index(BY_JOB, _job)
        self._budgets = self.informer(disruption_budgets.BUDGETS)
        self._budgets.add_index(pods.BY_INSTANCE, pods.instance_uid)
        self._nodes = self.informer(NODES)
        self._claims = self.informer(CLAIMS)
        self._policies = self.informer(migration_policies.MIGRATION_POLICIES)
        self._namespaces = self.informer(NAMESPACES)
        self._running = limits.Running()
        self._creating: set[Key] = set()
        self._migrations.add_handler(self._migration_changed)
        self._instances.add_handler(self._instance_changed)
        self._pods.add_handler(self._pod_changed)
        self._budgets.add_handler(self._budget_changed)

    # --- what wakes a migration ----------------------------------------------------------------------------------

    def _migration_changed(self, event: str, migration: Object, _before: Object | None) -> None:
        key = object_key(migration)
        self._running.changed(key, None if event == "DELETED" else migration)
        self.queue.add(key)

    def _instance_changed(self, _event: str, vmi: Object, _before: Object | None) -> None:
        for migration in self._of_instance(*object_key(vmi)):
            if not phases.is_final(migration) or migration["metadata"].get("finalizers"):
                self.queue.add(object_key(migration))

    def _pod_changed(self, event: str, pod: Object, _before: Object | None) -> None:
        key = object_key(pod)
        owner = pods.controller_of(pod)
        if event != "DELETED":
            self._creating.discard(key)
        if owner is None or owner.get("kind") != "VirtualMachineInstance":
            return
        for migration in self._of_instance(key[0], owner["name"]):
            if phases.is_final(migration):
                continue
            if event == "ADDED" and migration["metadata"]["uid"] in _job(pod) and phases.phase(migration) == phases.PENDING:
                self._running.created(object_key(migration), owner["name"])
            self.queue.add(object_key(migration))

    def _budget_changed(self, _event: str, budget: Object, _before: Object | None) -> None:
        name = (budget["metadata"].get("labels") or {}).get(disruption_budgets.MIGRATION_NAME)
        if name:
            self.queue.add((budget["metadata"]["namespace"], name))

    # --- what is known -------------------------------------------------------------------------------------------

    def _of_instance(self, namespace: str, name: str) -> list[Object]:
        """All migrations of the instance, oldest first."""
        found = self._migrations.by_index(BY_INSTANCE, f"{namespace}/{name}")
        return sorted(found, key=lambda one: one["metadata"]["creationTimestamp"])

    def _pods_of(self, vmi: Object) -> list[Object]:
        return self._pods.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"])

    def _source_pod(self, vmi: Object) -> Object | None:
        return pods.current_pod(vmi, self._pods_of(vmi))

    def _target_pod(self, migration: Object, vmi: Object | None) -> Object | None:
        found = self._pods.by_index(BY_JOB, migration["metadata"]["uid"])
        mine = [pod for pod in found if vmi is None or vmi["metadata"]["uid"] in pods.instance_uid(pod)]
        return mine[0] if mine else None

    def _node_of(self, namespace: str, name: str) -> str:
        vmi = self._instances.get(name, namespace)
        return str(((vmi or {}).get("status") or {}).get("nodeName") or "")

    def _settings(self) -> Settings:
        return self.config.configuration.migrations

    def _other_in_progress(self, migration: Object, vmi: Object) -> bool:
        """Whether another unfinished migration has the instance's state."""
        uid = phases.state_of(vmi).get("migrationUid")
        if not uid or uid == migration["metadata"]["uid"]:
            return False
        others = self._of_instance(vmi["metadata"]["namespace"], vmi["metadata"]["name"])
        return any(one["metadata"]["uid"] == uid and not phases.is_final(one) for one in others)

    # --- one look at a migration ---------------------------------------------------------------------------------

    async def reconcile(self, key: Key) -> float | None:
        migration = self._migrations.get(key[1], key[0])
        if migration is None:
            return None
        annotations = migration["metadata"].get("annotations") or {}
        if not OBSERVED_VERSIONS.items() <= annotations.items():
            metadata = {**migration["metadata"], "annotations": {**annotations, **OBSERVED_VERSIONS}}
            await self.cluster.update(MIGRATIONS, {**migration, "metadata": metadata})
            return None
        vmi = self._instances.get(migration["spec"]["vmiName"], key[0])
        if vmi is None and not phases.is_deleting(migration):
            await self.cluster.delete(MIGRATIONS, key[1], key[0], migration["metadata"]["uid"])
            return None
        target = self._target_pod(migration, vmi)
        again: float | None = None
        if vmi is not None and not phases.is_final(migration):
            again = await self._sync(migration, vmi, target)
        if phases.is_final(migration):
            await self._finish(migration, vmi)
        else:
            await self._advance(migration, vmi, target)
        return again

    async def _sync(self, migration: Object, vmi: Object, target: Object | None) -> float | None:
        """What the present phase asks for, beside going to the next."""
        now = phases.phase(migration)
        if now in (phases.PENDING, phases.SCHEDULING, phases.SCHEDULED) and phases.is_deleting(migration):
            if target is not None:
                await self._delete_target(migration, target, f"migration canceled and pod {_path(target)} is deleted")
            return None
        if now == phases.PENDING and target is None:
            return await self._pending(migration, vmi)
        if now in (phases.PENDING, phases.SCHEDULING) and target is not None:
            return await self._watch_over(migration, vmi, target)
        if now == phases.SCHEDULED and target is not None and pods.is_up(target):
            await self._hand_off(migration, vmi, target)
        elif now in (phases.PREPARING, phases.READY, phases.RUNNING):
            await self._handed_off(migration, vmi, target)
        return None

    # --- Pending: whether a target pod may be made ----------------------------------------------------------------

    async def _pending(self, migration: Object, vmi: Object) -> float | None:
        others = self._of_instance(vmi["metadata"]["namespace"], vmi["metadata"]["name"])
        wait = backoff.backoff(migration, others, self.clock.now())
        if wait > 0:
            await self.events.event(vmi, "Warning", "MigrationBackoff", f"backoff migrating vmi {_path(vmi)}")
            return wait
        source = self._source_pod(vmi)
        if source is None:
            return None
        annotations = source["metadata"].get("annotations") or {}
        if phases.EVACUATION in (migration["metadata"].get("annotations") or {}) and not _IN_PROGRESS.items() <= annotations.items():
            await self.cluster.patch(PODS, source["metadata"]["name"], {"metadata": {"annotations": _IN_PROGRESS}}, source["metadata"]["namespace"])
        if self._creating or sum(not pods.is_final(pod) for pod in self._pods_of(vmi)) > 1:
            return _RETRY_CREATION
        settings, node = self._settings(), self._node_of(*object_key(vmi))
        if len(self._running) >= settings.parallel_migrations_per_cluster:
            return _RETRY_CAPACITY
        if self._running.outbound(node, self._node_of) >= settings.parallel_outbound_migrations_per_node:
            return _RETRY_CAPACITY
        if phase_of(vmi) != "Running" or not await self._guarded(migration, vmi):
            return None
        return await self._create_target(migration, vmi, source)

    async def _guarded(self, migration: Object, vmi: Object) -> bool:
        """Whether the instance's disruption budget covers both pods, as far as it needs one; raises it where it doesn't."""
        if not migrates_on_eviction(vmi, self.config.configuration.eviction_strategy):
            return True
        budget = next(iter(self._budgets.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"])), None)
        if budget is None:
            raise StatusError(500, "InternalError", f"Found no PDB protecting the vmi {vmi['metadata']['name']}")
        name = budget["metadata"]["name"]
        if not disruption_budgets.is_expanded(budget, migration["metadata"]["name"]):
            await self.cluster.patch(
                disruption_budgets.BUDGETS, name, disruption_budgets.expanded(migration["metadata"]["name"]), vmi["metadata"]["namespace"]
            )
            await self.events.event(vmi, "Normal", "SuccessfulUpdate", f"Expanded PodDisruptionBudget {name}")
            return False
        return disruption_budgets.covers_two(budget)

    async def _create_target(self, migration: Object, vmi: Object, source: Object) -> float | None:
        namespace, key = vmi["metadata"]["namespace"], object_key(migration)
        node = self._nodes.get(self._node_of(*object_key(vmi)))
        try:
            pod = launcher_pod(
                vmi, self.config.version, self.config.configuration, migration=migration, source_pod=source, source_node=node or {"metadata": {}},
                claims=self._claims_of(vmi),
            )
        except HostModelUnknown as unknown:
            raise StatusError(500, "InternalError", str(unknown)) from unknown
        try:
            made = await self.cluster.create(PODS, pod, namespace)
        except StatusError as error:
            if "exceeded quota" in error.message and not phases.has_condition(migration, phases.OVER_QUOTA):
                await self._write_conditions(migration, new(phases.OVER_QUOTA, "True", self.clock.timestamp()))
            await self.events.event(migration, "Warning", "FailedCreate", f"Error creating pod: {error.message}")
            raise
        self._creating.add(object_key(made))
        self._running.created(key, vmi["metadata"]["name"])
        await self.events.event(migration, "Normal", "SuccessfulCreate", f"Created migration target pod {made['metadata']['name']}")
        return None

    def _claims_of(self, vmi: Object) -> dict[str, Object]:
        namespace = vmi["metadata"]["namespace"]
        names = [
            (volume.get("persistentVolumeClaim") or {}).get("claimName") or (volume.get("dataVolume") or {}).get("name")
            for volume in vmi["spec"].get("volumes") or ()
        ]
        return {name: claim for name in names if name and (claim := self._claims.get(name, namespace)) is not None}

    # --- until the target pod is up -------------------------------------------------------------------------------

    async def _watch_over(self, migration: Object, vmi: Object, target: Object) -> float | None:
        """Give up on a target pod that finds no node, or does not start, in time."""
        if pods.is_final(target) or target["metadata"].get("deletionTimestamp"):
            return None
        found = targets.check(migration, target, self.clock.now())
        if isinstance(found, targets.Overdue):
            await self._delete_target(migration, target, f"{found.what} pod {_path(target)} timeout period exceeded")
            return None
        if found is not None and targets.is_unschedulable(target):
            text = f"Migration target pod for VMI [{_path(vmi)}] is currently unschedulable."
            await self.events.event(migration, "Warning", "migrationTargetPodUnschedulable", text)
            lacking = targets.fits_nowhere(target, self._nodes.list(), self._node_of(*object_key(vmi))) if uses_host_model(vmi) else None
            if lacking:
                shown = " ".join(f"{key}:{value}" for key, value in sorted(lacking.items()))
                text = f"Migration cannot proceed since no node is suitable to run the required CPU model / required features: map[{shown}]"
                await self.events.event(vmi, "Warning", "NoSuitableNodesForHostModelMigration", text)
        return found

    async def _delete_target(self, migration: Object, pod: Object, text: str) -> None:
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp") or pods.is_final(pod):
            return
        try:
            await self.cluster.delete(PODS, metadata["name"], metadata["namespace"], metadata["uid"])
        except StatusError as error:
            if error.code == 404:
                return
            await self.events.event(migration, "Warning", "FailedDelete", f"Error deleting pod: {error.message}")
            raise
        await self.events.event(migration, "Normal", "SuccessfulDelete", text)

    # --- with virt-handler -----------------------------------------------------------------------------------------

    async def _hand_off(self, migration: Object, vmi: Object, target: Object) -> None:
        if phases.state_of(vmi).get("migrationUid") == migration["metadata"]["uid"]:
            return
        namespace = self._namespaces.get(vmi["metadata"]["namespace"]) or {"metadata": {}}
        policy = migration_policies.winner(
            self._policies.list(), vmi["metadata"].get("labels") or {}, namespace["metadata"].get("labels") or {}
        )
        settings, name = self._settings(), ""
        if policy is not None:
            settings, changed = migration_policies.applied(policy, settings)
            name = policy["metadata"]["name"] if changed else ""
        source = self._source_pod(vmi)
        patch = hand_off.handed_off(vmi, migration, target, source["metadata"]["name"] if source is not None else "", settings, name)
        await self._patch_instance(vmi, patch)
        text = "Migration target pod is ready for preparation by virt-handler."
        await self.events.event(migration, "Normal", "SuccessfulHandOver", text)

    async def _handed_off(self, migration: Object, vmi: Object, target: Object | None) -> None:
        state = phases.state_of(vmi)
        if state.get("migrationUid") != migration["metadata"]["uid"]:
            return
        if target is not None:
            await self._tell_network(target, str(state.get("targetNodeDomainReadyTimestamp") or ""))
        if state.get("completed"):
            return
        if phases.phase(migration) != phases.RUNNING:
            lost = target is None or pods.is_final(target)
            if lost and not state.get("targetDirectMigrationNodePorts") and not state.get("startTimestamp"):
                await self._patch_instance(vmi, hand_off.target_lost(vmi, self.clock.timestamp()))
                text = f"VirtualMachineInstance migration uid {migration['metadata']['uid']} failed. reason: Target pod is down"
                await self.events.event(vmi, "Warning", "FailedMigration", text)
        elif phases.is_deleting(migration) and not state.get("abortRequested") and not state.get("endTimestamp"):
            await self._patch_instance(vmi, hand_off.abort_requested(vmi))
            await self.events.event(
                migration, "Normal", "SuccessfulAbortMigration", "Migration is ready to be canceled by virt-handler."
            )

    async def _tell_network(self, target: Object, ready: str) -> None:
        """Networks may switch over to the target from the moment that its guest runs."""
        if ready and _READY_TIMESTAMP not in (target["metadata"].get("annotations") or {}):
            text = ready.replace("T", " ").replace("Z", " +0000 UTC")
            patch = {"metadata": {"annotations": {_READY_TIMESTAMP: text}}}
            await self.cluster.patch(PODS, target["metadata"]["name"], patch, target["metadata"]["namespace"])

    async def _patch_instance(self, vmi: Object, patch: list[Object]) -> None:
        await self.cluster.patch(
            VIRTUAL_MACHINE_INSTANCES, vmi["metadata"]["name"], patch, vmi["metadata"]["namespace"], content_type=_JSON_PATCH
        )

    # --- the status of the migration itself ------------------------------------------------------------------------

    async def _advance(self, migration: Object, vmi: Object | None, target: Object | None) -> None:
        text = failures.failure(migration, vmi, target)
        if text is not None:
            await self.events.event(migration, "Warning", "FailedMigration", text)
            cancelled = phases.is_deleting(migration) and not phases.is_handed_off(migration)
            conditions = (migration.get("status") or {}).get("conditions") or []
            if cancelled:
                conditions = updated(conditions, new(phases.ABORT_REQUESTED, "True", self.clock.timestamp()))
            await self._write_phase(migration, phases.Step(phases.FAILED), conditions)
            return
        if vmi is None:
            return
        if phases.is_deleting(migration) and not phases.has_condition(migration, phases.ABORT_REQUESTED):
            await self._write_conditions(migration, new(phases.ABORT_REQUESTED, "True", self.clock.timestamp()))
            return
        source = self._source_pod(vmi) if phases.phase(migration) == phases.UNSET else None
        step = phases.next_step(
            migration, vmi, target, source["metadata"]["name"] if source is not None else "", self._other_in_progress(migration, vmi)
        )
        if step is None:
            return
        conditions = (migration.get("status") or {}).get("conditions") or []
        if step.phase == phases.SCHEDULING:
            conditions = without(conditions, phases.OVER_QUOTA)
        if step.event is not None:
            await self.events.event(migration, *step.event)
        await self._write_phase(migration, step, conditions)

    async def _write_phase(self, migration: Object, step: phases.Step, conditions: list[Object]) -> None:
        status: Object = {**(migration.get("status") or {}), "phase": step.phase}
        entry = {"phase": step.phase, "phaseTransitionTimestamp": self.clock.timestamp()}
        status["phaseTransitionTimestamps"] = [*(status.get("phaseTransitionTimestamps") or ()), entry]
        if step.source_pod:
            status["migrationState"] = {"sourcePod": step.source_pod}
        status.pop("conditions", None)
        if conditions:
            status["conditions"] = conditions
        await self._write(migration, status)

    async def _write_conditions(self, migration: Object, entry: Object) -> None:
        status = {**(migration.get("status") or {})}
        status["conditions"] = updated(status.get("conditions") or [], entry)
        await self._write(migration, status)

    async def _write(self, migration: Object, status: Object) -> None:
        await self.cluster.update(MIGRATIONS, {**migration, "status": status}, "status")

    async def _finish(self, migration: Object, vmi: Object | None) -> None:
        """The state's last words first, then the finalizer; old ones of the same instance go."""
        state = phases.state_of(vmi)
        status = migration["status"]
        # From 1.5 on only a state that is this migration's own.
        own = state.get("migrationUid") == migration["metadata"]["uid"] or (bool(state) and self.config.version < (1, 5, 0))
        finalizers = migration["metadata"].get("finalizers") or []
        if phases.FINALIZER in finalizers:
            if own and status.get("migrationState") != state:
                await self._write(migration, {**status, "migrationState": state})
                return
            left = [name for name in finalizers if name != phases.FINALIZER]
            patch: list[Object] = [
                {"op": "test", "path": "/metadata/finalizers", "value": finalizers},
                {"op": "replace", "path": "/metadata/finalizers", "value": left} if left else {"op": "remove", "path": "/metadata/finalizers"},
            ]
            await self.cluster.patch(
                MIGRATIONS, migration["metadata"]["name"], patch, migration["metadata"]["namespace"], content_type=_JSON_PATCH
            )
        if vmi is not None and not phases.is_deleting(migration):
            await self._collect(vmi)

    async def _collect(self, vmi: Object) -> None:
        """Delete finished migrations of the instance but the newest five."""
        finished = [one for one in self._of_instance(*object_key(vmi)) if phases.is_final(one) and not phases.is_deleting(one)]
        for migration in finished[:-KEPT]:
            try:
                await self.cluster.delete(MIGRATIONS, migration["metadata"]["name"], migration["metadata"]["namespace"], migration["metadata"]["uid"])
            except StatusError as error:
                if error.code not in (404, 409):
                    raise


def _path(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
