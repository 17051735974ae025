# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller of VirtualMachineInstanceMigrations: reads, decides by the pure modules beside it, writes.

Source: KubeVirt pkg/virt-controller/watch/migration/migration.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

from ....controller import object_key
from ....errors import StatusError
from ....interface import Object
from .. import disruption_budgets, migration_policies, pods
from ..cluster_config import VirtControllerPart
from ..driving import Driver
from ..phases import MIGRATIONS, OBSERVED_VERSIONS, VIRTUAL_MACHINE_INSTANCES
from . import failures, hand_off, limits, phases
from .known import Known, node_name
from .queue import PriorityQueue, priority
from .status import StatusWriter, keeps_state
from .target_pods import CAPACITY, CREATION, Again, TargetPods

Key = tuple[str, str]
_JSON_PATCH = "application/json-patch+json"
_INELIGIBLE = "vmi is inelgible for migration because another migration job is running"


class Migrations(VirtControllerPart):
    """Reconciles migrations, one transition at a time."""

    name = "virt-controller migration"

    def setup(self) -> None:
        self._queue = self.queue = PriorityQueue(self.clock)
        self._driver = Driver(self.clock)
        self._known = known = Known(self.informer)
        self._running = limits.Running()
        self._targets = TargetPods(self.cluster, self.clock, self.events, self.config, known, self._running)
        self._status = StatusWriter(self.cluster, self.clock)
        self._waiting: set[Key] = set()
        self._handed_off: set[str] = set()
        self.config.on_change(self._driven)
        known.instances.add_handler(self._instance_changed)
        known.migrations.add_handler(self._migration_changed)
        known.pods.add_handler(self._pod_changed)
        known.budgets.add_handler(self._budget_changed)

    async def stop(self) -> None:
        self._driver.stop()
        await super().stop()

    # --- what wakes a migration ----------------------------------------------------------------------------------

    def _enqueue(self, migration: Object) -> None:
        self._queue.add(object_key(migration), priority(migration, self.config.version))

    def _migration_changed(self, event: str, migration: Object, _before: Object | None) -> None:
        key = object_key(migration)
        if event == "DELETED":
            self._handed_off.discard(migration["metadata"]["uid"])
            self._waiting.discard(key)
        self._recount(migration, gone=event == "DELETED")
        if event == "DELETED" or phases.is_final(migration):
            self._wait_over(migration)
        self._enqueue(migration)

    def _recount(self, migration: Object, *, gone: bool = False) -> None:
        key = object_key(migration)
        if not gone and self._known.is_counted(migration):
            self._running.count(key, phases.instance_key(migration), node_name(self._known.instance_of(migration)))
        elif self._running.discard(key):
            self._driven()

    def _wait_over(self, migration: Object) -> None:
        """Others of the same instance, which this one kept out, come up by themselves."""
        for other in self._known.of_instance(phases.instance_key(migration)):
            wait = None if phases.is_final(other) else self._queue.due_in(object_key(other))
            if wait is not None:
                self._driver.drive(wait)

    def _driven(self) -> None:
        """A slot may have come free: whoever waits for one finds it within the time of a look."""
        if self._waiting:
            self._driver.drive(CAPACITY)

    def _instance_changed(self, event: str, vmi: Object, _before: Object | None) -> None:
        if self._running.moved(object_key(vmi), node_name(vmi)):
            self._driven()
        for migration in self._known.of_instance(object_key(vmi)):
            if event == "DELETED" or not phases.is_final(migration) or self._unfinished_business(migration, vmi):
                self._enqueue(migration)

    def _unfinished_business(self, migration: Object, vmi: Object) -> bool:
        """Whether a finished migration has anything to do."""
        if phases.FINALIZER in (migration["metadata"].get("finalizers") or ()) or keeps_state(migration, vmi):
            return True
        return phases.phase(migration) == phases.FAILED and self._targets.marked_source(migration) is not None

    def _pod_changed(self, event: str, pod: Object, _before: Object | None) -> None:
        if event != "DELETED" and self._targets.seen(pod) and self._waiting:
            self._driver.drive(CREATION)
        if self._waiting and (event == "DELETED" or pods.is_final(pod)):
            self._driver.drive(CREATION)
        name = (pod["metadata"].get("annotations") or {}).get(phases.JOB_NAME)
        migration = self._known.migrations.get(name, pod["metadata"]["namespace"]) if name else None
        if migration is not None and migration["metadata"]["uid"] in phases.job(pod):
            self._recount(migration)
            self._enqueue(migration)

    def _budget_changed(self, event: str, budget: Object, before: Object | None) -> None:
        if before is not None and disruption_budgets.guards_alike(budget, before):
            return
        name = (budget["metadata"].get("labels") or {}).get(disruption_budgets.MIGRATION_NAME)
        migration = self._known.migrations.get(name, budget["metadata"]["namespace"]) if name else None
        if event == "MODIFIED" and migration is not None:
            self._enqueue(migration)

    # --- one look at a migration ---------------------------------------------------------------------------------

    async def reconcile(self, key: Key) -> float | None:
        self._waiting.discard(key)
        migration = self._known.migrations.get(key[1], key[0])
        if migration is None:
            return None
        if not OBSERVED_VERSIONS.items() <= (migration["metadata"].get("annotations") or {}).items():
            annotations = {**(migration["metadata"].get("annotations") or {}), **OBSERVED_VERSIONS}
            await self.cluster.update(MIGRATIONS, {**migration, "metadata": {**migration["metadata"], "annotations": annotations}})
            return None
        vmi = self._known.instance_of(migration)
        if vmi is None and not phases.is_deleting(migration):
            await self.cluster.delete(MIGRATIONS, key[1], key[0], migration["metadata"]["uid"])
            return None
        target = self._known.target_pod(migration, vmi)
        failed: StatusError | None = None
        again: Again | None = None
        try:
            again = await self._sync(migration, vmi, target) if vmi is not None else None
        except StatusError as error:
            failed = error
        if phases.is_final(migration):
            await self._finish(migration, vmi)
        else:
            await self._advance(migration, vmi, target, failed.message if failed is not None else "")
        if failed is not None:
            raise failed
        if again is not None:
            self._wait(key, again)
        return None

    def _wait(self, key: Key, again: Again) -> None:
        if again.background:
            self._waiting.add(key)
        self._queue.add_after(key, again.seconds, background=again.background, priority=again.priority)

    async def _sync(self, migration: Object, vmi: Object, target: Object | None) -> Again | None:
        """What the present phase asks for, beside going to the next."""
        now, owns = phases.phase(migration), phases.owns_state(migration, vmi)
        if vmi["metadata"].get("deletionTimestamp") or now == phases.SUCCEEDED or (owns and phases.state_of(vmi).get("endTimestamp")):
            return None
        if now != phases.FAILED and self._known.other_in_progress(migration, vmi):
            raise StatusError(500, "InternalError", _INELIGIBLE)
        if now in (phases.PENDING, phases.SCHEDULING, phases.SCHEDULED) and self._cancelled(migration, vmi):
            if target is not None:
                await self._targets.cancel(migration, target)
        elif now == phases.PENDING:
            return await self._pending(migration, vmi, target)
        elif now == phases.SCHEDULING and target is not None:
            return await self._targets.watch_over(migration, vmi, target)
        elif now == phases.SCHEDULED and target is not None and pods.is_up(target) and not owns:
            await self._hand_off(migration, vmi, target)
        elif now in (phases.PREPARING, phases.READY, phases.FAILED) and owns:
            await self._notice_lost_target(migration, vmi, target)
        elif now == phases.RUNNING and owns and phases.is_deleting(migration):
            await self._abort(migration, vmi)
        return None

    async def _pending(self, migration: Object, vmi: Object, target: Object | None) -> Again | None:
        again = await self._targets.back_off(migration, vmi)
        if again is not None:
            return again
        if target is None:
            return await self._targets.make(migration, vmi)
        return None if pods.is_up(target) else await self._targets.watch_over(migration, vmi, target)

    def _cancelled(self, migration: Object, vmi: Object | None) -> bool:
        return failures.is_cancelled(migration, vmi, migration["metadata"]["uid"] in self._handed_off)

    # --- with virt-handler -----------------------------------------------------------------------------------------

    async def _hand_off(self, migration: Object, vmi: Object, target: Object) -> None:
        namespace = self._known.namespaces.get(vmi["metadata"]["namespace"]) or {"metadata": {}}
        settings, policy = migration_policies.effective(
            self._known.policies.list(), vmi["metadata"].get("labels") or {}, namespace["metadata"].get("labels") or {},
            self.config.configuration.migrations,
        )
        source = str(((migration.get("status") or {}).get("migrationState") or {}).get("sourcePod") or "")
        try:
            await self._patch_instance(vmi, hand_off.handed_off(vmi, migration, target, source, settings, policy))
        except StatusError as error:
            text = f"Failed to set MigrationStat in VMI status. :{error.message}"
            await self.events.event(migration, "Warning", "FailedHandOver", text)
            raise
        self._handed_off.add(migration["metadata"]["uid"])
        text = "Migration target pod is ready for preparation by virt-handler."
        await self.events.event(migration, "Normal", "SuccessfulHandOver", text)

    async def _notice_lost_target(self, migration: Object, vmi: Object, target: Object | None) -> None:
        """A target that goes down before virt-handler has it ready: nobody else would end the migration."""
        if (target is None or pods.is_final(target)) and hand_off.never_began(vmi):
            await self._patch_instance(vmi, hand_off.target_lost(vmi, self.clock.timestamp()))
            text = f"VirtualMachineInstance migration uid {migration['metadata']['uid']} failed. reason: Target pod is down"
            await self.events.event(vmi, "Warning", "FailedMigration", text)

    async def _abort(self, migration: Object, vmi: Object) -> None:
        if phases.state_of(vmi).get("abortRequested"):
            return
        try:
            await self._patch_instance(vmi, hand_off.abort_requested(vmi))
        except StatusError as error:
            text = f"failed to set MigrationState in VMI status. :{error.message}"
            await self.events.event(migration, "Warning", "FailedAbortMigration", text)
            raise
        text = "Migration is ready to be canceled by virt-handler."
        await self.events.event(migration, "Normal", "SuccessfulAbortMigration", text)

    async def _patch_instance(self, vmi: Object, patch: list[Object]) -> None:
        await self.cluster.patch(
            VIRTUAL_MACHINE_INSTANCES, vmi["metadata"]["name"], patch, vmi["metadata"]["namespace"], content_type=_JSON_PATCH
        )

    # --- the status of the migration itself ------------------------------------------------------------------------

    async def _advance(self, migration: Object, vmi: Object | None, target: Object | None, problem: str) -> None:
        """Fail, note that an abort is asked for, or go to the next phase. `problem` is what has just gone wrong."""
        cancelled = self._cancelled(migration, vmi)
        text = failures.failure(migration, vmi, target, migration["metadata"]["uid"] in self._handed_off)
        if text is not None:
            await self._fail(migration, text, cancelled=cancelled)
            return
        if vmi is None:
            return
        if phases.is_deleting(migration) and not phases.has_condition(migration, phases.ABORT_REQUESTED):
            await self._status.condition(migration, phases.ABORT_REQUESTED)
            return
        state = phases.state_of(vmi)
        if phases.phase(migration) == phases.RUNNING and target is not None:
            await self._targets.tell_network(target, str(state.get("targetNodeDomainReadyTimestamp") or ""))
        source = self._known.source_pod(vmi) if phases.phase(migration) == phases.UNSET else None
        step = phases.next_step(
            migration, vmi, target, source["metadata"]["name"] if source is not None else "", self._known.other_in_progress(migration, vmi)
        )
        if step is None:
            if "exceeded quota" in problem and not phases.has_condition(migration, phases.OVER_QUOTA):
                await self._status.condition(migration, phases.OVER_QUOTA)
            return
        if step.phase == phases.FAILED and step.event is not None:
            await self._fail(migration, step.event[2])
            return
        if step.event is not None:
            await self.events.event(migration, *step.event)
        await self._status.phase(migration, step)

    async def _fail(self, migration: Object, text: str, *, cancelled: bool = False) -> None:
        await self.events.event(migration, "Warning", "FailedMigration", text)
        await self._targets.stays(migration)
        await self._status.phase(migration, phases.Step(phases.FAILED), cancelled=cancelled)

    async def _finish(self, migration: Object, vmi: Object | None) -> None:
        """The state's last words first, then the finalizer; old ones of the same instance go."""
        if phases.phase(migration) == phases.FAILED:
            await self._targets.stays(migration)
        if keeps_state(migration, vmi):
            await self._status.state(migration, phases.state_of(vmi))
            return
        await self._status.let_go(migration)
        if vmi is not None:
            await self._status.collect(self._known.of_instance(object_key(vmi)))
