# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What migrations and instances say."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._migrations import obstacles, ours, state
from ansible_collections.okd.virt.plugins.module_utils._migrations.limits import Limits, free_slots, limits

from .migration_objects import PHASES, instance, migration


@pytest.mark.parametrize(("phase", "target", "active", "final"), [
    ("", "", False, False), ("Pending", "", False, False), ("Pending", "virt-launcher-vm-1-x", True, False),
    *((phase, "", True, False) for phase in PHASES[1:]), ("Succeeded", "", False, True), ("Failed", "virt-launcher-vm-1-x", False, True),
])
def test_which_hold_a_slot(phase: str, target: str, active: bool, final: bool) -> None:
    one = migration(phase, state={"targetPod": target} if target else None)
    assert (state.is_active(one), state.is_final(one)) == (active, final)


def test_one_in_post_copy_may_not_be_cancelled_and_only_that_one() -> None:
    under_way = {"migrationUid": "u1", "mode": "PostCopy", "startTimestamp": "2026-11-24T10:00:00Z"}
    one = migration("Running")
    problem = state.may_cancel(one, instance(state=under_way))
    assert problem is not None
    assert problem.code == "post_copy"
    assert state.may_cancel(one, instance(state={**under_way, "mode": "PreCopy"})) is None
    assert state.may_cancel(one, instance(state={**under_way, "migrationUid": "u0"})) is None
    assert state.may_cancel(one, instance(state={**under_way, "endTimestamp": "2026-11-24T10:00:09Z"})) is None
    assert state.may_cancel(one, None) is None
    ended = state.may_cancel(migration("Succeeded"), None)
    assert ended is not None
    assert ended.code == "finished"


def test_defaults_of_kubevirt_and_what_a_cluster_says() -> None:
    assert limits(None) == Limits(5, 2, "0", 150, 150, False, False, False, "")
    given = {"parallelMigrationsPerCluster": 9, "parallelOutboundMigrationsPerNode": 0, "allowPostCopy": True, "bandwidthPerMigration": "64Mi"}
    found = limits({"spec": {"configuration": {"migrations": given}}})
    assert (found.per_cluster, found.per_node, found.bandwidth) == (9, 0, "64Mi")
    # What is not said about disruption follows post-copy.
    assert found.post_copy
    assert found.workload_disruption
    assert not limits({"spec": {"configuration": {"migrations": {**given, "allowWorkloadDisruption": False}}}}).workload_disruption


def test_slots_are_bounded_by_the_cluster_and_by_the_node() -> None:
    here = {("shop", "vm-1")}
    running = [migration("Running"), migration("Running", namespace="elsewhere")]
    assert free_slots(Limits(5, 2), running, here) == 1
    assert free_slots(Limits(2, 2), running, here) == 0
    assert free_slots(Limits(1, 1), running, here) == 0
    assert free_slots(Limits(5, 2), [migration("Pending"), migration("Failed")], here) == 2


@pytest.mark.parametrize(("metadata", "maker", "run"), [
    ({"labels": {"okd.virt/drain-run": "r1"}}, ours.DRAIN, "r1"), ({"labels": {"okd.virt/migration-run": "r2"}}, ours.VM_MIGRATION, "r2"),
    ({"annotations": {"kubevirt.io/evacuationMigration": "node01"}}, ours.BY_EVACUATION, ""),
    ({"annotations": {"kubevirt.io/workloadUpdateMigration": ""}}, ours.BY_WORKLOAD_UPDATE, ""), ({}, ours.BY_ANOTHER, ""),
])
def test_whose_a_migration_is(metadata: dict[str, t.Any], maker: str, run: str) -> None:
    one = migration(**metadata)
    assert (ours.made_by(one), ours.run_of(one)) == (maker, run)


def test_an_obstacle_has_kubevirts_reason_and_a_remedy() -> None:
    says = {"type": "LiveMigratable", "status": "False", "reason": "DisksNotLiveMigratable", "message": "cannot migrate VMI: PVC data is not shared"}
    found = obstacles.obstacle(instance(conditions=[says]))
    assert found is not None
    assert (found.reason, found.message) == ("DisksNotLiveMigratable", "cannot migrate VMI: PVC data is not shared")
    assert "ReadWriteMany" in found.remedy
    other = obstacles.obstacle(instance(conditions=[{**says, "reason": "SomethingNew"}]))
    assert other is not None
    assert other.remedy
    assert obstacles.obstacle(instance(conditions=[])) is None
    assert obstacles.obstacle(instance()) is None
