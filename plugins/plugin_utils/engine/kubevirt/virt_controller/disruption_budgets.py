# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PodDisruptionBudget that guards each instance's pods, and the controller that makes, shrinks and deletes it.

Source: KubeVirt pkg/virt-controller/watch/drain/disruptionbudget/disruptionbudget.go, pkg/util/pdbs/pdbs.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

from ...controller import object_key
from ...errors import StatusError
from ...interface import PODS, Object, Ref
from . import phases, pods
from .cluster_config import VirtControllerPart
from .eviction_strategies import is_guarded, is_migratable
from .launcher import owner_reference
from .migrations.phases import is_final
from .phases import MIGRATIONS, VIRTUAL_MACHINE_INSTANCES

BUDGETS = Ref("policy", "v1", "poddisruptionbudgets")
MIGRATION_NAME = "kubevirt.io/migrationName"
_OLD_PREFIX = "kubevirt-migration-pdb-"


def budget_for(vmi: Object) -> Object:
    """The budget of an instance that does not migrate."""
    return {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"generateName": "kubevirt-disruption-budget-", "namespace": vmi["metadata"]["namespace"], "ownerReferences": [owner_reference(vmi)]},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"kubevirt.io/created-by": vmi["metadata"]["uid"]}}},
    }


def expanded(migration: str) -> Object:
    """The merge patch under which both pods of a migration are guarded."""
    return {"metadata": {"labels": {MIGRATION_NAME: migration}}, "spec": {"minAvailable": 2}}


_SHRUNK: Object = {"metadata": {"labels": {MIGRATION_NAME: None}}, "spec": {"minAvailable": 1}}


def is_expanded(budget: Object, migration: str) -> bool:
    labels = budget["metadata"].get("labels") or {}
    return bool(budget["spec"].get("minAvailable") == 2 and labels.get(MIGRATION_NAME) == migration)


def covers_two(budget: Object) -> bool:
    """Whether the disruption controller has taken note that two pods are to stay."""
    status = budget.get("status") or {}
    return bool(status.get("desiredHealthy") == 2 and status.get("observedGeneration") == budget["metadata"].get("generation"))


def is_of_old_scheme(budget: Object) -> bool:
    metadata = budget["metadata"]
    unlabelled = MIGRATION_NAME not in (metadata.get("labels") or {})
    return bool(metadata["name"].startswith(_OLD_PREFIX) or (budget["spec"].get("minAvailable") == 2 and unlabelled))


def _heeded(vmi: Object) -> tuple[object, ...]:
    """What of an instance its budget hangs on."""
    metadata = vmi["metadata"]
    return metadata["uid"], metadata.get("deletionTimestamp"), phases.is_final(vmi), is_migratable(vmi), vmi["spec"].get("evictionStrategy")


def _says(budget: Object) -> tuple[object, ...]:
    """What the controller looks at of a budget: not its status."""
    metadata = budget["metadata"]
    return metadata.get("labels"), metadata.get("ownerReferences"), metadata.get("deletionTimestamp"), budget["spec"]


def guards_alike(budget: Object, before: Object) -> bool:
    """Whether a migration finds the budget as it was before."""
    return _says(budget) == _says(before) and covers_two(budget) == covers_two(before)


class DisruptionBudgets(VirtControllerPart):
    """Reconciles the budgets of instances; keys are those of instances."""

    name = "virt-controller disruption budget"
    recorder = "disruptionbudget-controller"

    def setup(self) -> None:
        self._instances = self.informer(VIRTUAL_MACHINE_INSTANCES)
        self._budgets = self.informer(BUDGETS)
        self._budgets.add_index(pods.BY_INSTANCE, pods.instance_uid)
        self._pods = self.informer(PODS, pods.LAUNCHERS)
        self._pods.add_index(pods.BY_INSTANCE, pods.instance_uid)
        self._migrations = self.informer(MIGRATIONS)
        self._creating: set[str] = set()
        self._instances.add_handler(self._instance_changed)
        self._budgets.add_handler(self._budget_changed)
        self._pods.add_handler(self._pod_changed)
        self._migrations.add_handler(self._migration_changed)

    def _instance_changed(self, event: str, vmi: Object, before: Object | None) -> None:
        if event != "MODIFIED" or before is None or _heeded(before) != _heeded(vmi):
            self.queue.add(object_key(vmi))

    def _budget_changed(self, event: str, budget: Object, before: Object | None) -> None:
        if event == "MODIFIED" and before is not None and _says(before) == _says(budget):
            return
        for uid in pods.instance_uid(budget):
            self._creating.discard(uid)
        self._enqueue_owner(budget)

    def _pod_changed(self, event: str, pod: Object, before: Object | None) -> None:
        if event != "MODIFIED" or before is None or pods.is_final(before) != pods.is_final(pod):
            self._enqueue_owner(pod)

    def _enqueue_owner(self, obj: Object) -> None:
        owner = pods.controller_of(obj)
        if owner is not None and owner.get("kind") == "VirtualMachineInstance":
            self.queue.add((obj["metadata"]["namespace"], owner["name"]))

    def _migration_changed(self, event: str, migration: Object, before: Object | None) -> None:
        if event != "MODIFIED" or before is None or is_final(before) != is_final(migration):
            self.queue.add((migration["metadata"]["namespace"], migration["spec"]["vmiName"]))

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        namespace, name = key
        vmi = self._instances.get(name, namespace)
        if vmi is None:
            # Who owned the budgets is gone, and the garbage collector takes them.
            return None
        budgets = self._budgets.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"])
        ended = phases.is_final(vmi) or bool(vmi["metadata"].get("deletionTimestamp"))
        needed = not ended and is_guarded(vmi, self.config.configuration.eviction_strategy)
        for budget in budgets:
            if not needed or is_of_old_scheme(budget):
                await self._delete(vmi, budget)
            else:
                await self._shrink(vmi, budget)
        if needed and not budgets and vmi["metadata"]["uid"] not in self._creating:
            await self._create(vmi)
        return None

    async def _create(self, vmi: Object) -> None:
        self._creating.add(vmi["metadata"]["uid"])
        try:
            made = await self.cluster.create(BUDGETS, budget_for(vmi), vmi["metadata"]["namespace"])
        except StatusError as error:
            self._creating.discard(vmi["metadata"]["uid"])
            await self.events.event(vmi, "Warning", "FailedCreate", f"Error creating a PodDisruptionBudget: {error.message}")
            raise
        await self.events.event(vmi, "Normal", "SuccessfulCreate", f"Created PodDisruptionBudget {made['metadata']['name']}")

    async def _delete(self, vmi: Object, budget: Object) -> None:
        name = budget["metadata"]["name"]
        if budget["metadata"].get("deletionTimestamp"):
            return
        try:
            await self.cluster.delete(BUDGETS, name, budget["metadata"]["namespace"], budget["metadata"]["uid"])
        except StatusError as error:
            if error.code == 404:
                return
            await self.events.event(vmi, "Warning", "FailedDelete", f"Error deleting the PodDisruptionBudget {name}: {error.message}")
            raise
        await self.events.event(vmi, "Normal", "SuccessfulDelete", f"Deleted PodDisruptionBudget {name}")

    async def _shrink(self, vmi: Object, budget: Object) -> None:
        """Back to one pod once the migration is over and one pod is left."""
        migration_name = (budget["metadata"].get("labels") or {}).get(MIGRATION_NAME)
        if not migration_name or budget["spec"].get("minAvailable") == 1 or not self._over(migration_name, vmi):
            return
        name = budget["metadata"]["name"]
        try:
            await self.cluster.patch(BUDGETS, name, _SHRUNK, budget["metadata"]["namespace"])
        except StatusError as error:
            if error.code == 404:
                return
            await self.events.event(vmi, "Warning", "FailedUpdate", f"Error updating the PodDisruptionBudget {name}: {error.message}")
            raise
        await self.events.event(vmi, "Normal", "SuccessfulUpdate", f"shrank PodDisruptionBudget {name}")

    def _over(self, migration_name: str, vmi: Object) -> bool:
        migration = self._migrations.get(migration_name, vmi["metadata"]["namespace"])
        if migration is None:
            return True
        active = [pod for pod in self._pods.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"]) if not pods.is_final(pod)]
        return is_final(migration) and len(active) == 1
