# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a migration is, by what stands on it. Private to this collection.

Source: KubeVirt api/core/v1/types.go (EvacuationMigrationAnnotation, WorkloadUpdateMigrationAnnotation).
"""

from __future__ import annotations

import typing as t

Json = dict[str, t.Any]
DRAIN_RUN_LABEL = "okd.virt/drain-run"
"""On the migrations that a drain makes: its run."""
RUN_LABEL = "okd.virt/migration-run"
"""On the migrations of single VMs that vm_migration makes: the run, as the caller named it."""
EVACUATION, WORKLOAD_UPDATE = "kubevirt.io/evacuationMigration", "kubevirt.io/workloadUpdateMigration"
DRAIN, VM_MIGRATION, BY_EVACUATION, BY_WORKLOAD_UPDATE, BY_ANOTHER = "node_drain", "vm_migration", "evacuation", "workload_update", "user"
MAKERS = (DRAIN, VM_MIGRATION, BY_EVACUATION, BY_WORKLOAD_UPDATE, BY_ANOTHER)


def made_by(migration: Json) -> str:
    """Who made it: one of MAKERS."""
    labels, annotations = migration["metadata"].get("labels") or {}, migration["metadata"].get("annotations") or {}
    if DRAIN_RUN_LABEL in labels:
        return DRAIN
    if RUN_LABEL in labels:
        return VM_MIGRATION
    if EVACUATION in annotations:
        return BY_EVACUATION
    return BY_WORKLOAD_UPDATE if WORKLOAD_UPDATE in annotations else BY_ANOTHER


def run_of(migration: Json) -> str:
    """The run of this collection that made it, "" if none did."""
    labels = migration["metadata"].get("labels") or {}
    return str(labels.get(DRAIN_RUN_LABEL) or labels.get(RUN_LABEL) or "")
