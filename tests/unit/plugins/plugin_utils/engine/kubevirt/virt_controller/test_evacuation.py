# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is to leave a node, who of them can, and how many at a time; what guards an instance's pods."""
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.clock import JumpingClock
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import Object
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller import (
    disruption_budgets,
    eviction_strategies,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller.evacuation import (
    Expectations,
    candidates,
    evacuation_migration,
    free_slots,
    is_tainted,
)

MOVES, STAYS, NOBODY, HELD = "migratable", "not migratable", "nobody", "held up"


def instance(name: str = "vm", strategy: str = "LiveMigrate", migratable: bool = True, marked: str = "node01", **more: t.Any) -> Object:
    status: Object = {
        "phase": "Running", "nodeName": "node01", "evacuationNodeName": marked,
        "conditions": [{"type": "LiveMigratable", "status": "True" if migratable else "False"}], **more.pop("status", {}),
    }
    return {"metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", **more}, "spec": {"evictionStrategy": strategy}, "status": status}


@pytest.mark.parametrize(
    ("vmi", "tainted", "has_migration", "pods", "expected"),
    [
        (instance(), False, False, 1, MOVES),
        (instance(marked=""), False, False, 1, NOBODY),
        (instance(marked=""), True, False, 1, MOVES),
        (instance(marked="node02"), False, False, 1, NOBODY),
        (instance(status={"migrationState": {"startTimestamp": "now"}}), False, False, 1, NOBODY),
        (instance(status={"migrationState": {"startTimestamp": "then", "endTimestamp": "now"}}), False, False, 1, MOVES),
        (instance(), False, True, 1, NOBODY),
        (instance(), False, True, 2, NOBODY),
        (instance(), False, False, 2, HELD),
        (instance(migratable=False), False, False, 1, STAYS),
        (instance(strategy="LiveMigrateIfPossible", migratable=False), False, False, 1, NOBODY),
        (instance(strategy="LiveMigrateIfPossible"), False, False, 1, MOVES),
        (instance(strategy="External"), False, False, 1, NOBODY),
        (instance(strategy="None"), True, False, 1, NOBODY),
        (instance(strategy=""), True, False, 1, MOVES),
        (instance(status={"phase": "Succeeded"}), False, False, 1, NOBODY),
        (instance(deletionTimestamp="now"), True, False, 1, NOBODY),
    ],
)
def test_who_is_to_leave_and_who_can(vmi: Object, tainted: bool, has_migration: bool, pods: int, expected: str) -> None:
    found = candidates([vmi], tainted, "LiveMigrate", lambda _vmi: has_migration, lambda _vmi: pods)
    said = {MOVES: bool(found.migratable), STAYS: bool(found.not_migratable), HELD: found.held_up}
    assert [name for name, holds in said.items() if holds] == ([] if expected == NOBODY else [expected])


@pytest.mark.parametrize(
    ("running", "on_node", "per_cluster", "per_node", "free"),
    [
        ([], ["a"], 5, 2, 2),
        (["x", "y", "z", "w"], ["a"], 5, 2, 1),
        (["a", "x"], ["a", "b"], 5, 2, 1),
        (["a", "b"], ["a", "b", "c"], 5, 2, 0),
        (["x"] * 6, ["a"], 5, 2, -1),
        ([], ["a"], 0, 2, 0),
    ],
)
def test_slots_that_running_migrations_leave(running: list[str], on_node: list[str], per_cluster: int, per_node: int, free: int) -> None:
    migrations = [{"metadata": {"namespace": "elsewhere"}, "spec": {"vmiName": name}} for name in running]
    assert free_slots(migrations, [instance(name) for name in on_node], per_cluster, per_node) == free


@pytest.mark.parametrize(
    ("taints", "tainted"),
    [
        ([], False), ([{"key": "kubevirt.io/drain", "effect": "NoSchedule"}], True), ([{"key": "kubevirt.io/drain", "effect": "NoExecute"}], False),
        ([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}], False),
    ],
)
def test_the_taint_by_which_all_leave(taints: list[Object], tainted: bool) -> None:
    assert is_tainted({"spec": {"taints": taints}}, "kubevirt.io/drain") is tainted


def test_an_evacuation_names_the_node() -> None:
    made = evacuation_migration(instance(), "node01")
    assert made["metadata"] == {
        "generateName": "kubevirt-evacuation-", "namespace": "shop", "annotations": {"kubevirt.io/evacuationMigration": "node01"},
    }
    assert made["spec"] == {"vmiName": "vm"}


async def test_what_was_asked_for_is_waited_for_but_not_for_ever() -> None:
    clock = JumpingClock(real=lambda: 0.0)
    expectations = Expectations(clock)
    assert expectations.satisfied("node01")
    expectations.expect("node01", 2)
    expectations.observed("node01")
    assert not expectations.satisfied("node01")
    expectations.observed("node01")
    expectations.observed("node01")
    assert expectations.satisfied("node01")
    expectations.expect("node01", 1)
    await clock.sleep(301)
    assert expectations.satisfied("node01")


@pytest.mark.parametrize(
    ("strategy", "migratable", "evicted", "guarded"),
    [
        ("LiveMigrate", True, True, True), ("LiveMigrate", False, True, True), ("LiveMigrateIfPossible", True, True, True),
        ("LiveMigrateIfPossible", False, False, False), ("External", True, False, True), ("None", True, False, False), ("", True, False, False),
    ],
)
def test_what_a_strategy_asks_for(strategy: str, migratable: bool, evicted: bool, guarded: bool) -> None:
    vmi = instance(strategy=strategy, migratable=migratable)
    assert eviction_strategies.migrates_on_eviction(vmi, "None") is evicted
    assert eviction_strategies.is_guarded(vmi, "None") is guarded


def budget(available: int, migration: str = "", name: str = "kubevirt-disruption-budget-abcde", **status: int) -> Object:
    labels = {disruption_budgets.MIGRATION_NAME: migration} if migration else {}
    return {"metadata": {"name": name, "labels": labels, "generation": 3}, "spec": {"minAvailable": available}, "status": status}


@pytest.mark.parametrize(
    ("found", "expanded", "covers", "old"),
    [
        (budget(1), False, False, False),
        (budget(2, "mine", desiredHealthy=1, observedGeneration=2), True, False, False),
        (budget(2, "mine", desiredHealthy=2, observedGeneration=2), True, False, False),
        (budget(2, "mine", desiredHealthy=2, observedGeneration=3), True, True, False),
        (budget(2, "another", desiredHealthy=2, observedGeneration=3), False, True, False),
        (budget(2), False, False, True),
        (budget(2, "mine", name="kubevirt-migration-pdb-mine"), True, False, True),
    ],
)
def test_how_a_budget_stands_to_a_migration(found: Object, expanded: bool, covers: bool, old: bool) -> None:
    assert disruption_budgets.is_expanded(found, "mine") is expanded
    assert disruption_budgets.covers_two(found) is covers
    assert disruption_budgets.is_of_old_scheme(found) is old
