# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The workload updater: after an update, instances on an older virt-launcher are migrated or evicted, as the KubeVirt object allows.

Source: KubeVirt pkg/virt-controller/watch/workload-updater/workload-updater.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import typing as t

from ...controller import object_key
from ...errors import StatusError
from ...interface import KUBEVIRTS, PODS, Object
from . import conditions, phases, pods
from .cluster_config import VirtControllerPart
from .phases import MIGRATIONS, VIRTUAL_MACHINE_INSTANCES

ANNOTATION = "kubevirt.io/workloadUpdateMigration"
_THROTTLE = 5.0
_UNFINISHED, _RUNNING = "workload-update-unfinished", "workload-update-running"
_NOT_RUNNING = ("", "Pending", "Succeeded", "Failed")
_KEY = "kubevirt"
Key = tuple[str, str]


def _unfinished(migration: Object) -> list[str]:
    """Index function: NAMESPACE/INSTANCE of a migration that is not over."""
    if phases.phase(migration) in phases.FINAL:
        return []
    return [f"{migration['metadata']['namespace']}/{(migration.get('spec') or {}).get('vmiName', '')}"]


def _running(migration: Object) -> list[str]:
    """Index function: whether the migration counts as running."""
    return [] if phases.phase(migration) in _NOT_RUNNING else [""]


def is_outdated(vmi: Object, launcher_image: str) -> bool:
    """Whether a running instance is on another virt-launcher than this virt-controller makes, as far as that is known."""
    image = (vmi.get("status") or {}).get("launcherContainerImageVersion")
    return bool(image) and image != launcher_image


def needs_migration(vmi: Object) -> bool:
    """Whether a change of a running guest only takes effect on another virt-launcher."""
    return conditions.condition(vmi, "HotVCPUChange") is not None or conditions.is_true(vmi, "HotMemoryChange")


class WorkloadUpdates(VirtControllerPart):
    """Reconciles the one KubeVirt object. What is outdated is kept up to date by events: a pass looks only at what it acts on."""

    name = "virt-controller workload update"

    def setup(self) -> None:
        self._instances = self.informer(VIRTUAL_MACHINE_INSTANCES)
        self._instances.add_handler(self._instance_changed)
        self._pods = self.informer(PODS, pods.LAUNCHERS)
        self._pods.add_index(pods.BY_INSTANCE, pods.instance_uid)
        self._migrations = self.informer(MIGRATIONS)
        self._migrations.add_index(_UNFINISHED, _unfinished)
        self._migrations.add_index(_RUNNING, _running)
        self._migrations.add_handler(self._migration_changed)
        self._kubevirts = self.informer(KUBEVIRTS)
        self._kubevirts.add_handler(self._kubevirt_changed)
        self._movable: dict[Key, None] = {}
        self._immovable: dict[Key, None] = {}
        self._expected: set[Key] = set()
        self._next_eviction = float("-inf")
        self._waiting = False
        self.config.on_change(self._settings_changed)

    def _kubevirt_changed(self, _event: str, _obj: Object, _before: Object | None) -> None:
        self._later()

    def _later(self) -> None:
        """One pass in five seconds, however much happens until then."""
        if not self._waiting:
            self._waiting = True
            self.queue.add_after(_KEY, _THROTTLE)

    def _settings_changed(self) -> None:
        for vmi in self._instances.list():
            self._sort(vmi)
        self._later()

    def _instance_changed(self, event: str, vmi: Object, _before: Object | None) -> None:
        if event == "DELETED":
            self._drop(object_key(vmi))
        else:
            self._sort(vmi)

    def _sort(self, vmi: Object) -> None:
        key = object_key(vmi)
        outdated = phases.phase(vmi) == "Running" and not vmi["metadata"].get("deletionTimestamp") and (
            is_outdated(vmi, self.config.launcher_image) or (needs_migration(vmi) and not phases.is_migrating(vmi))
        )
        if not outdated:
            self._drop(key)
            return
        here, there = self._movable, self._immovable
        if not conditions.is_true(vmi, "LiveMigratable"):
            here, there = there, here
        there.pop(key, None)
        if key not in here:
            here[key] = None
            self._later()

    def _drop(self, key: Key) -> None:
        known = key in self._movable or key in self._immovable
        self._movable.pop(key, None)
        self._immovable.pop(key, None)
        if known:
            self._later()

    def _migration_changed(self, event: str, migration: Object, before: Object | None) -> None:
        self._expected.discard((migration["metadata"]["namespace"], (migration.get("spec") or {}).get("vmiName", "")))
        over = event == "DELETED" or phases.phase(migration) in phases.FINAL
        if over and self._movable and (before is None or phases.phase(before) not in phases.FINAL or event == "DELETED"):
            # A slot is free and somebody may have it: the real controller asks again and again while there is work.
            self.queue.add(_KEY)

    async def reconcile(self, key: str) -> float | None:
        self._waiting = False
        kubevirt = self.config.kubevirt
        status = (kubevirt or {}).get("status") or {}
        if kubevirt is None or status.get("phase") != "Deployed" or status.get("observedDeploymentID") != status.get("targetDeploymentID"):
            return None
        await self._count(kubevirt)
        methods = self.config.configuration.workload_update.methods
        if "LiveMigrate" in methods:
            await self._migrate()
        if "Evict" not in methods:
            return None
        return await self._evict([*self._immovable, *(() if "LiveMigrate" in methods else self._movable)])

    async def _count(self, kubevirt: Object) -> None:
        field, number = "outdatedVirtualMachineInstanceWorkloads", len(self._movable) + len(self._immovable)
        known = (kubevirt.get("status") or {}).get(field)
        if known == number:
            return
        path = f"/status/{field}"
        patch: list[Object] = [{"op": "add", "path": path, "value": number}] if known is None else [
            {"op": "test", "path": path, "value": known}, {"op": "replace", "path": path, "value": number},
        ]
        metadata = kubevirt["metadata"]
        await self.cluster.patch(KUBEVIRTS, metadata["name"], patch, metadata["namespace"], "status", "application/json-patch+json")

    def _is_free(self, key: Key, vmi: Object | None) -> bool:
        """Whether nothing is under way for the instance."""
        if vmi is None or phases.is_migrating(vmi) or key in self._expected:
            return False
        return not self._migrations.count(_UNFINISHED, f"{key[0]}/{key[1]}")

    async def _migrate(self) -> None:
        free = self.config.configuration.migrations.parallel_migrations_per_cluster - self._migrations.count(_RUNNING, "") - len(self._expected)
        if free <= 0:
            return
        for key, vmi in self._candidates(self._movable, free):
            # Those that are tried go to the end, so that everybody's turn comes.
            self._movable.pop(key, None)
            self._movable[key] = None
            self._expected.add(key)
            migration = {
                "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
                "metadata": {"generateName": "kubevirt-workload-update-", "namespace": key[0], "annotations": {ANNOTATION: ""}},
                "spec": {"vmiName": key[1]},
            }
            try:
                made = await self.cluster.create(MIGRATIONS, migration, key[0])
            except StatusError as error:
                self._expected.discard(key)
                await self.events.event(
                    vmi, "Warning", "FailedCreate", f"Error creating a Migration for automated workload update: {error.message}"
                )
                raise
            message = f"Created Migration {made['metadata']['name']} for automated workload update"
            await self.events.event(vmi, "Normal", "SuccessfulCreate", message)

    def _candidates(self, among: t.Iterable[Key], number: int) -> list[tuple[Key, Object]]:
        found: list[tuple[Key, Object]] = []
        for key in among:
            vmi = self._instances.get(key[1], key[0])
            if len(found) == number:
                break
            if vmi is not None and self._is_free(key, vmi):
                found.append((key, vmi))
        return found

    async def _evict(self, outdated: list[Key]) -> float | None:
        """One batch of evictions an interval; returns the seconds until the next."""
        strategy = self.config.configuration.workload_update
        if not outdated:
            return None
        left = self._next_eviction - self.clock.monotonic()
        if left > 0:
            return left
        self._next_eviction = self.clock.monotonic() + strategy.batch_eviction_interval
        for _key, vmi in self._candidates(outdated, strategy.batch_eviction_size):
            await self._evict_one(vmi)
        return strategy.batch_eviction_interval

    async def _evict_one(self, vmi: Object) -> None:
        pod = pods.current_pod(vmi, self._pods.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"]))
        if pod is None:
            return
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}, "deleteOptions": {}}
        try:
            await self.cluster.create(PODS, eviction, namespace, "eviction", name)
        except StatusError as error:
            if error.code == 404:
                return
            await self.events.event(
                vmi, "Warning", "FailedEvict", f"Error deleting VMI during automated workload update: {error.message}"
            )
            return
        await self.events.event(vmi, "Normal", "SuccessfulEvict", "Initiated eviction of VMI as part of automated workload update: <nil>")
