# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What KubeVirt's components measure: migrations, the copies under way, and the instances that stand in the way: pure.

Source: KubeVirt pkg/monitoring/metrics/virt-controller/{migration_metrics,migrationstats_collector,vmistats_collector,perfscale_metrics}.go,
pkg/monitoring/metrics/virt-handler/migrationdomainstats, docs/observability/metrics.md, v1.5.3.
"""
from __future__ import annotations

import datetime
import typing as t

from ...interface import Object
from ..precopy import Progress
from ..virt_controller import conditions, phases
from ..virt_controller.migrations import phases as migrations
from .text import Family

_MIB = 1048576
_BOUNDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1800.0, 3600.0)
_PREFIX = "kubevirt_vmi_migration"
_GROUPS = {
    "": "unset", migrations.PENDING: "pending", migrations.SCHEDULING: "scheduling", migrations.SCHEDULED: "running",
    migrations.PREPARING: "running", migrations.READY: "running", migrations.RUNNING: "running",
}
Labels = dict[str, str]
Moving = tuple[str, str, str, Progress]
"""Namespace and name of an instance whose memory is on its way, its node, and how far it is."""


def _moment(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


def of_migrations(found: t.Sequence[Object]) -> list[Family]:
    """How many there are in each phase, and how those ended that are still known."""
    counts = {
        group: Family(f"{_PREFIX}s_in_{group}_phase", f"Number of current {'pending' if group == 'unset' else group} migrations.")
        for group in ("pending", "scheduling", "unset", "running")
    }
    numbers = dict.fromkeys(counts, 0)
    succeeded = Family(f"{_PREFIX}_succeeded", "Indicates if the VMI migration succeeded.")
    failed = Family(f"{_PREFIX}_failed", "Indicates if the VMI migration failed.")
    took: dict[str, list[float]] = {}
    for migration in found:
        metadata, phase = migration["metadata"], migrations.phase(migration)
        if phase in _GROUPS:
            numbers[_GROUPS[phase]] += 1
        else:
            family = succeeded if phase == migrations.SUCCEEDED else failed
            family.add(1, vmi=migration["spec"]["vmiName"], vmim=metadata["name"], namespace=metadata["namespace"])
        for entry in (migration.get("status") or {}).get("phaseTransitionTimestamps") or ():
            seconds = _moment(entry["phaseTransitionTimestamp"]) - _moment(metadata["creationTimestamp"])
            took.setdefault(entry["phase"], []).append(max(0.0, seconds))
    for group, family in counts.items():
        family.add(numbers[group])
    times = Family(
        f"{_PREFIX}_phase_transition_time_from_creation_seconds",
        "Histogram of VM migration phase transitions duration from creation time in seconds.", "histogram",
    )
    for phase, values in sorted(took.items()):
        times.observe(values, _BOUNDS, phase=phase)
    return [*counts.values(), succeeded, failed, times]


def of_copies(moving: t.Iterable[Moving]) -> list[Family]:
    """The copies under way, in bytes as libvirt's job statistics have them."""
    said = {
        "data_total_bytes": "The total Guest OS data to be migrated to the new VM.",
        "data_processed_bytes": "The total Guest OS data processed and migrated to the new VM.",
        "data_remaining_bytes": "The remaining guest OS data to be migrated to the new VM.",
        "dirty_memory_rate_bytes": "The rate of memory being dirty in the Guest OS.",
        "disk_transfer_rate_bytes": "The rate at which the memory is being transferred.",
    }
    made = {name: Family(f"{_PREFIX}_{name}", text) for name, text in said.items()}
    for namespace, name, node, progress in moving:
        values = {
            "data_total_bytes": progress.total, "data_processed_bytes": progress.sent, "data_remaining_bytes": progress.remaining,
            "dirty_memory_rate_bytes": progress.dirty_rate, "disk_transfer_rate_bytes": progress.speed,
        }
        for key, value in values.items():
            made[key].add(int(value * _MIB), namespace=namespace, name=name, node=node)
    return [*made.values()]


def of_instances(found: t.Iterable[Object], names: t.Mapping[str, str]) -> list[Family]:
    """The instances: where they are, whether they can leave, and when their last migration began and ended.

    `names` has the names of the migrations that are still known, by uid.
    """
    info = Family("kubevirt_vmi_info", "Information about VirtualMachineInstances.")
    stuck = Family("kubevirt_vmi_non_evictable", "Indication for a VirtualMachine that its eviction strategy is set to Live Migration but is not migratable.")
    outdated = Family("kubevirt_vmi_number_of_outdated", "Indication for the total number of VirtualMachineInstance workloads that are not running "
                      "within the most up-to-date version of the virt-launcher environment.")
    began = Family(f"{_PREFIX}_start_time_seconds", "The time at which the migration started.")
    ended = Family(f"{_PREFIX}_end_time_seconds", "The time at which the migration ended.")
    old = 0
    for vmi in found:
        metadata, status = vmi["metadata"], vmi.get("status") or {}
        where: Labels = {"node": status.get("nodeName", ""), "namespace": metadata["namespace"], "name": metadata["name"]}
        is_old = phases.OUTDATED in (metadata.get("labels") or {})
        old += is_old
        info.add(1, **where, **_about(vmi), outdated=str(is_old).lower())
        stays = vmi["spec"].get("evictionStrategy") == "LiveMigrate" and not conditions.is_true(vmi, "LiveMigratable")
        if phases.phase(vmi) == "Running":
            stuck.add(int(stays), **where)
        state = status.get("migrationState") or {}
        job = {"migration_name": names.get(state.get("migrationUid", ""), "none")}
        if state.get("startTimestamp"):
            began.add(_moment(state["startTimestamp"]), **where, **job)
        if state.get("endTimestamp"):
            ended.add(_moment(state["endTimestamp"]), **where, **job, status="failed" if state.get("failed") else "succeeded")
    outdated.add(old)
    return [info, stuck, outdated, began, ended]


def _about(vmi: Object) -> Labels:
    annotations, status = vmi["metadata"].get("annotations") or {}, vmi.get("status") or {}
    system = status.get("guestOSInfo") or {}
    none = "<none>"
    return {
        "phase": phases.phase(vmi).lower(), "evictable": str(conditions.is_true(vmi, "LiveMigratable")).lower(),
        "os": annotations.get("vm.kubevirt.io/os", none), "workload": annotations.get("vm.kubevirt.io/workload", none),
        "flavor": annotations.get("vm.kubevirt.io/flavor", none), "instance_type": none, "preference": none,
        "guest_os_kernel_release": system.get("kernelRelease", ""), "guest_os_machine": system.get("machine", ""),
        "guest_os_name": system.get("name", ""), "guest_os_version_id": system.get("versionId", ""),
        "guest_os_arch": (vmi["spec"].get("architecture") or ""), "eviction_strategy": vmi["spec"].get("evictionStrategy") or none,
    }
