# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the migration controller, case by case."""
from __future__ import annotations

import datetime
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import Object
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller import migration_policies
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller.configuration import Migrations
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller.migrations import (
    backoff,
    failures,
    hand_off,
    limits,
    phases,
    targets,
)

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)
UID = "11111111-1111-1111-1111-111111111111"


def at(seconds: float) -> str:
    return (NOW + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def migration(phase: str = "", deleting: bool = False, **metadata: t.Any) -> Object:
    held: Object = {"name": "migration", "namespace": "shop", "uid": UID, "creationTimestamp": at(0), **metadata}
    if deleting:
        held["deletionTimestamp"] = at(1)
    return {"metadata": held, "spec": {"vmiName": "vm"}, "status": {"phase": phase} if phase else {}}


def instance(phase: str = "Running", state: Object | None = None, conditions: t.Sequence[Object] = ()) -> Object:
    status: Object = {"phase": phase, "nodeName": "node01", "conditions": list(conditions)}
    if state is not None:
        status["migrationState"] = state
    return {"metadata": {"name": "vm", "namespace": "shop", "uid": "vmi", "resourceVersion": "7"}, "spec": {}, "status": status}


def pod(phase: str = "Running", ready: bool = True) -> Object:
    containers = [
        {"name": "compute", "ready": False, "state": {"running": {}}}, {"name": "guest-console-log", "ready": ready, "state": {"running": {}}},
    ]
    return {
        "metadata": {"name": "target", "namespace": "shop", "uid": "pod", "creationTimestamp": at(0)}, "spec": {"nodeName": "node02"},
        "status": {"phase": phase, "containerStatuses": containers if phase == "Running" else []},
    }


OWN = {"migrationUid": UID, "targetNode": "node02"}


@pytest.mark.parametrize(
    ("now", "vmi", "target", "expected"),
    [
        ("", instance(), None, "Pending"),
        ("Pending", instance(), None, None),
        ("Pending", instance(), pod("Pending"), "Scheduling"),
        ("Scheduling", instance(), pod("Pending"), None),
        ("Scheduling", instance(), pod(ready=False), None),
        ("Scheduling", instance(), pod(), "Scheduled"),
        ("Scheduled", instance(), pod(), None),
        ("Scheduled", instance(state={"migrationUid": "another", "targetNode": "node03"}), pod(), None),
        ("Scheduled", instance(state=OWN), pod(), "PreparingTarget"),
        ("PreparingTarget", instance(state=OWN), pod(), None),
        ("PreparingTarget", instance(state={**OWN, "targetNodeAddress": "192.0.2.1"}), pod(), "TargetReady"),
        ("TargetReady", instance(state={**OWN, "targetNodeAddress": "192.0.2.1"}), pod(), None),
        ("TargetReady", instance(state={**OWN, "startTimestamp": at(3)}), pod(), "Running"),
        ("Running", instance(state={**OWN, "startTimestamp": at(3)}), pod(), None),
        ("Running", instance(state={**OWN, "completed": True}), pod(), "Succeeded"),
        ("Running", instance(state={**OWN, "completed": True}, conditions=[{"type": "HotVCPUChange", "status": "True"}]), pod(), None),
        ("Running", instance(state={**OWN, "completed": True}, conditions=[{"type": "HotMemoryChange", "status": "True"}]), pod(), None),
        ("Running", instance(state={**OWN, "completed": True}, conditions=[{"type": "HotMemoryChange", "status": "False"}]), pod(), "Succeeded"),
    ],
)
def test_one_transition_at_a_time(now: str, vmi: Object, target: Object | None, expected: str | None) -> None:
    step = phases.next_step(migration(now), vmi, target, "source", other_in_progress=False)
    assert (step.phase if step is not None else None) == expected


def test_a_second_migration_of_an_instance_fails_at_once() -> None:
    step = phases.next_step(migration(), instance(), None, "source", other_in_progress=True)
    assert step is not None
    assert step.phase == "Failed"
    assert step.event == ("Warning", "FailedMigration", "VMI is not eligible for migration because another migration job is in progress.")


@pytest.mark.parametrize(
    ("given_migration", "vmi", "target", "text"),
    [
        (migration("Running"), None, pod(), "Migration failed because vmi does not exist."),
        (migration("Running"), instance("Failed"), pod(), "Migration failed vmi shutdown during migration."),
        (migration("Pending", deleting=True), instance(), None, "Migration failed due to being canceled"),
        (migration("Scheduled", deleting=True), instance(), pod(), "Migration failed due to being canceled"),
        (migration("Scheduled", deleting=True), instance(state=OWN), pod(), None),
        (migration("Scheduling"), instance(), pod("Failed"), "Migration failed because target pod shutdown during migration"),
        (migration("Scheduling"), instance(), None, "Migration target pod was removed during active migration."),
        (migration("PreparingTarget"), instance(), pod(), "VMI's migration state was cleared during the active migration."),
        (
            migration("Running"), instance(state={"migrationUid": "other"}), pod(),
            "VMI's migration state was taken over by another migration job during active migration.",
        ),
        (migration("Running"), instance(state={**OWN, "failed": True}), pod(), "source node reported migration failed"),
        (migration("Running", deleting=True), instance(state=OWN), pod(), None),
        (migration("Pending"), instance(), None, None),
        (migration("Running"), instance(state=OWN), pod(), None),
    ],
)
def test_the_first_reason_that_holds_is_the_failure(given_migration: Object, vmi: Object | None, target: Object | None, text: str | None) -> None:
    assert failures.failure(given_migration, vmi, target) == text


def test_who_was_handed_off_is_not_cancelled_though_the_cache_does_not_show_it_yet() -> None:
    given_migration = migration("Scheduled", deleting=True)
    assert failures.failure(given_migration, instance(), pod(), handed_off=True) is None
    assert not failures.is_cancelled(given_migration, instance(), handed_off=True)


def _past(number: int, phase: str, ended: float, annotation: str = phases.EVACUATION) -> Object:
    made = migration(phase, uid=f"past-{number}", annotations={annotation: "node01"}, creationTimestamp=at(ended - 5))
    made["status"]["phaseTransitionTimestamps"] = [{"phase": phase, "phaseTransitionTimestamp": at(ended)}]
    return made


@pytest.mark.parametrize(("failed", "wait"), [(0, 0), (1, 20), (2, 40), (3, 80), (4, 160), (5, 320)])
def test_each_further_failure_doubles_the_wait_which_counts_from_the_last(failed: int, wait: float) -> None:
    mine = migration("Pending", annotations={phases.EVACUATION: "node01"})
    others = [*(_past(number, "Failed", number * 10 - 100) for number in range(failed)), mine]
    latest = (failed - 1) * 10 - 100
    assert backoff.backoff(mine, others, NOW + datetime.timedelta(seconds=latest)) == wait
    assert backoff.backoff(mine, others, NOW + datetime.timedelta(seconds=latest + wait)) == 0


def test_what_does_not_count_for_the_wait() -> None:
    mine = migration("Pending", annotations={phases.EVACUATION: "node01"})
    users = migration("Pending")
    assert backoff.backoff(users, [_past(1, "Failed", -1), users], NOW) == 0
    assert backoff.backoff(mine, [_past(1, "Failed", -2), _past(2, "Succeeded", -1), mine], NOW) == 0
    assert backoff.backoff(mine, [_past(1, "Failed", -1, "example.com/by-hand"), mine], NOW) == 0
    going = _past(1, "Failed", -1)
    going["metadata"]["deletionTimestamp"] = at(0)
    assert backoff.backoff(mine, [going, mine], NOW) == 0
    assert backoff.backoff(mine, [_past(1, "Failed", -5), going, mine], NOW) == 19, "one failure, but the wait begins with the last migration"
    assert backoff.backoff(mine, [_past(1, "Failed", -5), _past(2, "Running", -1), mine], NOW) == 0, "the last one has not failed yet"
    assert backoff.backoff(mine, [_past(1, "Failed", -1), mine, _past(3, "Pending", 1)], NOW) == 0
    ignored = migration("Pending", annotations={phases.EVACUATION: "node01", backoff.IGNORED: ""})
    assert backoff.backoff(ignored, [_past(1, "Failed", -1), ignored], NOW) == 0


@given(
    st.lists(st.tuples(st.sampled_from(["Succeeded", "Failed", "Pending", "Running"]), st.booleans(), st.booleans()), max_size=5),
    st.floats(0, 400), st.floats(0, 400),
)
def test_the_wait_is_one_of_six_and_passes(past: list[tuple[str, bool, bool]], passed: float, more: float) -> None:
    mine = migration("Pending", annotations={phases.EVACUATION: "node01"}, creationTimestamp=at(0))
    others = []
    for number, (phase, ours, deleting) in enumerate(past):
        one = _past(number, phase, -100 + number, phases.EVACUATION if ours else "example.com/by-hand")
        if deleting:
            one["metadata"]["deletionTimestamp"] = at(0)
        others.append(one)
    counted = [one for one in others if backoff.counts(one)]
    began = (backoff.failed_at(counted[-1]) if counted else None) or NOW
    whole = backoff.backoff(mine, [*others, mine], began)
    assert whole in (0, 20, 40, 80, 160, 320)
    assert not whole or phases.phase(counted[-1]) == "Failed"
    at_once, later = (backoff.backoff(mine, [*others, mine], began + datetime.timedelta(seconds=wait)) for wait in (passed, passed + more))
    assert at_once == pytest.approx(max(0.0, whole - passed), abs=1e-3)
    assert later <= at_once


_LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3)


@given(st.lists(st.tuples(_LABELS, _LABELS), max_size=6), _LABELS, _LABELS)
def test_the_winner_matches_and_nobody_who_matches_says_more(
    selectors: list[tuple[dict[str, str], dict[str, str]]], vmi: dict[str, str], namespace: dict[str, str],
) -> None:
    policies = [_policy(f"policy-{number}", *pair) for number, pair in enumerate(selectors)]
    found = migration_policies.winner(policies, vmi, namespace)
    ranks = {
        policy["metadata"]["name"]: (len(of_vmi) + len(of_namespace), len(of_vmi))
        for policy, (of_vmi, of_namespace) in zip(policies, selectors, strict=True)
        if of_vmi.items() <= vmi.items() and of_namespace.items() <= namespace.items()
    }
    if found is None:
        assert not ranks
        return
    best = max(ranks.values())
    assert found["metadata"]["name"] == min(name for name, rank in ranks.items() if rank == best)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("abcdef"), st.sampled_from(["counts", "does not count"]), st.just("")),
            st.tuples(st.sampled_from("xyz"), st.just("moves"), st.sampled_from(["node01", "node02", ""])),
        )
    )
)
def test_counts_are_those_of_the_last_word_on_each_migration_and_instance(history: list[tuple[str, str, str]]) -> None:
    running = limits.Running()
    instance_of = dict(zip("abcdef", "xxyyzz", strict=True))
    nodes, counted = dict.fromkeys("xyz", "node01"), set[str]()
    for name, event, node in history:
        if event == "counts":
            counted.add(name)
            running.count(("shop", name), ("shop", instance_of[name]), nodes[instance_of[name]])
        elif event == "does not count":
            assert running.discard(("shop", name)) == (name in counted)
            counted.discard(name)
        else:
            known = any(instance_of[one] == name for one in counted)
            assert running.moved(("shop", name), node) == (known and nodes[name] != node)
            nodes[name] = node
    assert len(running) == len(counted)
    for node in ("node01", "node02", ""):
        assert running.outbound(node) == sum(nodes[instance_of[one]] == node for one in counted)


@pytest.mark.parametrize(
    ("phase", "has_target", "counted"),
    [
        ("", False, False), ("Pending", False, False), ("Pending", True, True), ("Scheduling", False, True), ("Scheduled", True, True),
        ("PreparingTarget", True, True), ("TargetReady", True, True), ("Running", True, True), ("Succeeded", True, False), ("Failed", True, False),
    ],
)
def test_what_the_limits_count(phase: str, has_target: bool, counted: bool) -> None:
    assert limits.is_counted(migration(phase), has_target) == counted


@pytest.mark.parametrize(
    ("unschedulable", "age", "annotations", "expected"),
    [
        (True, 299, {}, 1.0), (True, 300, {}, targets.Overdue("unschedulable")), (False, 300, {}, 600.0), (False, 900, {}, targets.Overdue("pending")),
        (True, 10, {"kubevirt.io/migrationUnschedulablePodTimeoutSeconds": "10"}, targets.Overdue("unschedulable")),
        (True, 10, {"kubevirt.io/migrationUnschedulablePodTimeoutSeconds": "soon"}, 290.0),
        (False, 30, {"kubevirt.io/migrationPendingPodTimeoutSeconds": "30"}, targets.Overdue("pending")),
        (True, 299.9, {}, 1.0), (False, 0.4, {}, 900.0),
    ],
)
def test_time_outs_of_target_pods(unschedulable: bool, age: float, annotations: dict[str, str], expected: object) -> None:
    waiting = pod("Pending")
    if unschedulable:
        waiting["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]
    assert targets.check(migration("Scheduling", annotations=annotations), waiting, NOW + datetime.timedelta(seconds=age)) == expected


def test_a_hand_off_replaces_the_state_of_the_migration_before() -> None:
    vmi = instance(state={"migrationUid": "before", "failed": True})
    patch = hand_off.handed_off(vmi, migration("Scheduled"), pod(), "source", Migrations())
    state = next(entry["value"] for entry in patch if entry["path"] == "/status/migrationState")
    assert {key: value for key, value in state.items() if key != "migrationConfiguration"} == {
        "migrationUid": UID, "sourceNode": "node01", "sourcePod": "source", "targetNode": "node02", "targetPod": "target",
    }
    assert state["migrationConfiguration"]["completionTimeoutPerGiB"] == 150
    assert patch[0] == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}


def _policy(name: str, vmi: dict[str, str] | None, namespace: dict[str, str] | None, **spec: t.Any) -> Object:
    selectors = None if vmi is None else {"virtualMachineInstanceSelector": vmi, "namespaceSelector": namespace or {}}
    return {"metadata": {"name": name}, "spec": {"selectors": selectors, **spec}}


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([_policy("none", None, None)], None),
        ([_policy("all", {}, {})], "all"),
        ([_policy("all", {}, {}), _policy("one", {"size": "large"}, {})], "one"),
        ([_policy("of-namespace", {}, {"tier": "gold"}), _policy("of-vmi", {"size": "large"}, {})], "of-vmi"),
        ([_policy("b", {"size": "large"}, {}), _policy("a", {"size": "large"}, {})], "a"),
        ([_policy("other", {"size": "small"}, {})], None),
        ([_policy("both", {"size": "large"}, {"tier": "gold"}), _policy("two", {"size": "large", "os": "linux"}, {})], "two"),
    ],
)
def test_the_policy_that_matches_most_wins(policies: list[Object], expected: str | None) -> None:
    found = migration_policies.winner(policies, {"size": "large", "os": "linux"}, {"tier": "gold"})
    assert (found["metadata"]["name"] if found is not None else None) == expected


def test_a_policy_changes_only_what_it_sets() -> None:
    base = Migrations()
    assert migration_policies.applied(_policy("empty", {}, {}), base) == (base, False)
    made, changed = migration_policies.applied(_policy("some", {}, {}, bandwidthPerMigration="64Mi", allowPostCopy=True), base)
    assert changed
    assert (made.bandwidth_per_migration, made.allow_post_copy, made.allow_workload_disruption, made.completion_timeout_per_gib) == ("64Mi", True, True, 150)
    of_4_18, dummy = migration_policies.applied(_policy("old", {}, {}, allowPostCopy=True), Migrations(allow_workload_disruption=None))
    assert of_4_18.allow_workload_disruption is None
