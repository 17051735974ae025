# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a VirtualMachineInstanceMigration stands and where it goes next: pure.

Source: KubeVirt pkg/virt-controller/watch/migration/migration.go (processMigrationPhase), pkg/util/migrations/migrations.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import dataclasses

from ....interface import Object
from .. import pods
from ..conditions import condition

UNSET, PENDING, SCHEDULING, SCHEDULED = "", "Pending", "Scheduling", "Scheduled"
PREPARING, READY, RUNNING = "PreparingTarget", "TargetReady", "Running"
SUCCEEDED, FAILED = "Succeeded", "Failed"
FINAL = frozenset((SUCCEEDED, FAILED))
HANDED_OFF = frozenset((PREPARING, READY, RUNNING, SUCCEEDED, FAILED))
FINALIZER = "kubevirt.io/migrationJobFinalize"
JOB_UID, JOB_NAME = "kubevirt.io/migrationJobUID", "kubevirt.io/migrationJobName"
EVACUATION, WORKLOAD_UPDATE = "kubevirt.io/evacuationMigration", "kubevirt.io/workloadUpdateMigration"
TARGET_NODE_NAME = "kubevirt.io/migrationTargetNodeName"
ABORT_REQUESTED = "migrationAbortRequested"
OVER_QUOTA = "migrationRejectedByResourceQuota"


def phase(migration: Object) -> str:
    return str((migration.get("status") or {}).get("phase") or "")


def is_final(migration: Object) -> bool:
    return phase(migration) in FINAL


def is_running(migration: Object) -> bool:
    """What the limits count: from Scheduling on."""
    return phase(migration) not in (UNSET, PENDING, SUCCEEDED, FAILED)


def has_target(migration: Object) -> bool:
    """Whether a target pod was created for it, by its phase."""
    return phase(migration) not in (UNSET, PENDING)


def is_handed_off(migration: Object) -> bool:
    """Whether virt-handler is at work on it, by its phase."""
    return phase(migration) in HANDED_OFF


def owns_state(migration: Object, vmi: Object | None) -> bool:
    """Whether the instance's migrationState is this migration's."""
    return bool(state_of(vmi).get("migrationUid") == migration["metadata"]["uid"])


def annotated(migration: Object, *names: str) -> bool:
    """Whether the migration has one of the annotations."""
    annotations = migration["metadata"].get("annotations") or {}
    return any(name in annotations for name in names)


def instance_key(migration: Object) -> tuple[str, str]:
    """(namespace, name) of the instance that is migrated."""
    return migration["metadata"].get("namespace") or "", (migration.get("spec") or {}).get("vmiName") or ""


def job(pod: Object) -> list[str]:
    """Index function: the uid of the migration that the pod is a target of."""
    uid = (pod["metadata"].get("labels") or {}).get(JOB_UID)
    return [uid] if uid else []


def is_deleting(migration: Object) -> bool:
    return bool(migration["metadata"].get("deletionTimestamp"))


def has_condition(migration: Object, kind: str) -> bool:
    found = condition(migration, kind)
    return found is not None and found.get("status") == "True"


def state_of(vmi: Object | None) -> Object:
    """status.migrationState of the instance; empty when there is none."""
    found: Object = ((vmi or {}).get("status") or {}).get("migrationState") or {}
    return found


@dataclasses.dataclass(frozen=True)
class Step:
    """What is to be written: the next phase, what the VMIM's migrationState says, and an event on the VMIM (type, reason, message)."""

    phase: str
    source_pod: str = ""
    event: tuple[str, str, str] | None = None


def next_step(migration: Object, vmi: Object, target_pod: Object | None, source_pod: str, other_in_progress: bool) -> Step | None:
    """The phase after this one, when its condition holds: one transition at a time. The migration is not final and has not failed."""
    state, uid, now = state_of(vmi), migration["metadata"]["uid"], phase(migration)
    if now == UNSET:
        if other_in_progress:
            text = "VMI is not eligible for migration because another migration job is in progress."
            return Step(FAILED, event=("Warning", "FailedMigration", text))
        return Step(PENDING, source_pod)
    if now == PENDING and target_pod is not None:
        return Step(SCHEDULING)
    if now == SCHEDULING and target_pod is not None and pods.is_up(target_pod):
        return Step(SCHEDULED)
    if now == SCHEDULED and state.get("migrationUid") == uid and state.get("targetNode"):
        return Step(PREPARING)
    if now == PREPARING and state.get("targetNode") and state.get("targetNodeAddress"):
        return Step(READY)
    if now == READY and state.get("startTimestamp"):
        return Step(RUNNING)
    if now == RUNNING and state.get("completed") and not _hot_plug_pending(vmi):
        return Step(SUCCEEDED, event=("Normal", "SuccessfulMigration", "Source node reported migration succeeded"))
    return None


def _hot_plug_pending(vmi: Object) -> bool:
    memory = condition(vmi, "HotMemoryChange")
    return condition(vmi, "HotVCPUChange") is not None or (memory is not None and memory.get("status") == "True")
