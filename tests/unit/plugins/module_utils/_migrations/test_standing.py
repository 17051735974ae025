# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where migrations stand, and since when."""

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._migrations import times
from ansible_collections.okd.virt.plugins.module_utils._migrations.limits import Limits
from ansible_collections.okd.virt.plugins.module_utils._migrations.standing import (
    Slots,
    failures_before,
    slots,
    standing,
)

from .migration_objects import event, instance, migration

NOW = datetime.datetime(2026, 11, 24, 10, 1, tzinfo=datetime.UTC)
EVACUATION: dict[str, t.Any] = {"annotations": {"kubevirt.io/evacuationMigration": "node01"}}


def the_failed(uid: str, at: str) -> dict[str, t.Any]:
    one = migration("Failed", "Scheduling", uid=uid)
    one["status"]["phaseTransitionTimestamps"].append({"phase": "Failed", "phaseTransitionTimestamp": at})
    return one


@pytest.mark.parametrize(("one", "code"), [
    (migration(), "not_seen"), (migration("Pending", deletionTimestamp="2026-11-24T10:00:00Z"), "cancelling"), (migration("Scheduling"), "target_starting"),
    (migration("Scheduled"), "handing_over"), (migration("PreparingTarget"), "handing_over"), (migration("TargetReady"), "handing_over"),
    (migration("Running"), "copying"), (migration("Failed"), "not_started"), (migration("Succeeded"), "succeeded"), (migration("Pending"), "waiting"),
])
def test_each_phase_has_a_word(one: dict[str, t.Any], code: str) -> None:
    assert standing(one, instance()).code == code


def test_a_pending_one_says_which_limit_holds_it() -> None:
    pending, vmi = migration("Pending"), instance()
    of_cluster = standing(pending, vmi, Slots(Limits(5, 2), 5, {"node02": 2}))
    assert of_cluster.code == "no_slot"
    assert "5 migrations are under way and parallelMigrationsPerCluster is 5" in of_cluster.sentence
    of_node = standing(pending, vmi, Slots(Limits(5, 2), 2, {"node01": 2}))
    assert of_node.code == "no_slot"
    assert "2 migrations out of node01 are under way and parallelOutboundMigrationsPerNode is 2" in of_node.sentence
    assert standing(pending, vmi, Slots(Limits(5, 2), 2, {"node02": 2})).code == "waiting"


def test_a_pending_one_says_what_else_holds_it() -> None:
    rejected = migration("Pending")
    rejected["status"]["conditions"] = [{"type": "migrationRejectedByResourceQuota", "status": "True"}]
    assert standing(rejected, instance()).code == "quota"
    assert standing(migration("Pending"), instance(phase="Scheduling")).code == "vm_not_running"
    unschedulable = event("Migration target pod for VMI [shop/vm-1] is currently unschedulable.", reason="migrationTargetPodUnschedulable")
    assert standing(migration("Scheduling"), instance(), events=[unschedulable]).code == "target_unschedulable"


def test_kubevirts_own_ones_wait_after_failures_and_others_do_not() -> None:
    earlier = [the_failed("a", "2026-11-24T10:00:00Z"), the_failed("b", "2026-11-24T10:00:30Z")]
    waits = standing(migration("Pending", **EVACUATION), instance(), earlier=earlier, now=NOW)
    assert waits.code == "back_off"
    assert "waits 40 s, 10 s of it to come" in waits.sentence
    assert standing(migration("Pending"), instance(), earlier=earlier, now=NOW).code == "waiting"
    later = NOW + datetime.timedelta(seconds=11)
    assert standing(migration("Pending", **EVACUATION), instance(), earlier=earlier, now=later).code == "waiting"


def test_post_copy_and_pause_are_said() -> None:
    for mode, word in (("PostCopy", "post-copy"), ("Paused", "paused"), ("PreCopy", "copied")):
        state = {"migrationUid": "u1", "mode": mode, "startTimestamp": "2026-11-24T10:00:00Z"}
        assert word in standing(migration("Running"), instance(state=state)).sentence


def test_slots_are_counted_out_of_the_nodes_on_which_the_vms_are() -> None:
    running = [migration("Running", uid="1"), migration("Scheduling", uid="2"), migration("Pending", uid="3"), migration("Succeeded", uid="4")]
    found = slots(Limits(5, 2), running, lambda key: "node01")
    assert (found.used, found.by_node, found.free(), found.free("node01"), found.free("node02")) == (2, {"node01": 2}, 3, 0, 2)
    unknown = slots(Limits(1, 2), running, lambda key: "")
    assert (unknown.used, unknown.by_node, unknown.free()) == (2, {}, 0)


def test_attempts_are_counted_since_the_last_success() -> None:
    first, good, second, third = (
        migration("Failed", uid="1"), migration("Succeeded", uid="2"), migration("Failed", uid="3"), migration("Running", uid="4")
    )
    of_vm = [first, good, second, third]
    assert failures_before(third, of_vm) == [second]
    assert failures_before(second, of_vm) == []
    assert failures_before(good, of_vm) == [first]


def test_phases_have_their_seconds() -> None:
    one = migration("Scheduled", "Scheduled")
    assert [(entry.phase, entry.seconds) for entry in times.phase_times(one)] == [
        ("Unset", 0.0), ("Pending", 2.0), ("Scheduling", 2.0), ("Scheduled", None),
    ]
    assert times.ended_at(one) == ""
    assert times.ended_at(the_failed("a", "2026-11-24T10:00:30Z")) == "2026-11-24T10:00:30Z"
    assert times.moment("yesterday") is None
    assert times.seconds_between("2026-11-24T10:00:30Z", "2026-11-24T10:00:00Z") == 0.0
