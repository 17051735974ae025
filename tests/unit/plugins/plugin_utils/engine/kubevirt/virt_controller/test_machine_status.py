# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a VirtualMachine is said to be: as recorded, and by virt-controller's rules."""

from __future__ import annotations

import copy
import datetime
import json
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller import (
    conditions,
    machine_status,
    machine_template,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller.machine_status import Around

RECORDED = Path(__file__).parents[6] / "conformance" / "recorded"
MOMENT = datetime.datetime(2026, 11, 23, 12, 0, 0, 500_000, tzinfo=datetime.UTC)
NOW = "2026-11-23T12:00:00Z"
Object = dict[str, t.Any]


def load(version: str, name: str) -> Object:
    found: Object = json.loads((RECORDED / f"kubevirt-{version}" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def around(claims: Object | None = None, now: str = NOW, **more: t.Any) -> Around:
    return Around(MOMENT, now, (claims or {}).get, **more)


def machine(strategy: str = "Always", **status: t.Any) -> Object:
    return {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "a", "namespace": "ns", "uid": "vm", "generation": 3},
        "spec": {"runStrategy": strategy, "template": {"spec": {"domain": {}, "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "d"}}]}}},
        "status": status,
    }


def instance(phase: str, *said: Object, ran: bool = True, deleting: bool = False, **status: t.Any) -> Object:
    transitions = [{"phase": "Running", "phaseTransitionTimestamp": NOW}] if ran else []
    metadata: Object = {"name": "a", "namespace": "ns", "uid": "vmi", "annotations": {"kubevirt.io/vm-generation": "2"}}
    if deleting:
        metadata["deletionTimestamp"] = NOW
    return {"metadata": metadata, "spec": {}, "status": {"phase": phase, "conditions": list(said), "phaseTransitionTimestamps": transitions, **status}}


def said(kind: str, status: str, reason: str = "") -> Object:
    return {"type": kind, "status": status, "reason": reason}


@pytest.mark.parametrize("version", ["1.4.1", "1.5.3"])
def test_a_running_machine_as_recorded_is_left_alone(version: str) -> None:
    vm, vmi = load(version, "machines/machines")["running"], load(version, "launcher/first-start")["vmi"]
    assert machine_status.next_status(vm, vmi, around()) == vm["status"]


def test_a_stopped_machine_is_as_recorded() -> None:
    vm = load("1.5.3", "machines/machines")["stopped"]
    ready = conditions.condition(vm, "Ready")
    assert ready is not None
    running = copy.deepcopy(vm)
    running["status"] |= {"created": True, "ready": True, "printableStatus": "Running"}
    running["status"]["conditions"][0] = {"type": "Ready", "status": "True", "lastProbeTime": None, "lastTransitionTime": NOW}
    made = machine_status.next_status(running, None, around(now=ready["lastTransitionTime"]))
    assert made == vm["status"]


@pytest.mark.parametrize("version", ["1.4.1", "1.5.3"])
def test_the_instance_is_made_as_recorded(version: str) -> None:
    vm, vmi = load(version, "machines/machines")["running"], load(version, "launcher/first-start")["vmi"]
    made = machine_template.instance(vm)
    assert made["metadata"]["ownerReferences"] == vmi["metadata"]["ownerReferences"]
    assert made["metadata"]["annotations"].items() <= vmi["metadata"]["annotations"].items()
    assert made["metadata"]["labels"] == {"kubevirt.io/vm": "a"}
    assert made["status"]["virtualMachineRevisionName"] == vmi["status"]["virtualMachineRevisionName"]
    assert made["spec"]["domain"]["firmware"] == vmi["spec"]["domain"]["firmware"]
    assert machine_template.revision(vm)["metadata"]["name"] == vmi["status"]["virtualMachineRevisionName"]
    # virt-api fills in the rest.
    assert made["spec"].keys() == vmi["spec"].keys()


def test_what_a_template_leaves_out() -> None:
    vm = machine(stateChangeRequests=[{"action": "Start", "data": {"paused": "true"}}])
    before = copy.deepcopy(vm)
    made = machine_template.instance(vm)
    assert made["spec"]["startStrategy"] == "Paused"
    assert made["spec"]["domain"]["devices"]["disks"] == [{"name": "d", "disk": {"bus": "virtio"}}]
    assert made["spec"]["networks"] == [{"name": "default", "pod": {}}]
    assert made["spec"]["domain"]["devices"]["interfaces"] == [{"name": "default", "bridge": {}}]
    assert machine_template.instance(vm, "masquerade")["spec"]["domain"]["devices"]["interfaces"] == [{"name": "default", "masquerade": {}}]
    assert vm == before


def changed(obj: Object) -> t.Iterator[Object]:
    """The object without one of its parts, or one more of them."""
    for part in ("metadata", "status"):
        for key in obj[part]:
            yield {**obj, part: {name: value for name, value in obj[part].items() if name != key}}
    yield {**obj, "spec": {"domain": {}}}
    yield {**obj, "metadata": {**obj["metadata"], "labels": {"a": "b"}, "annotations": {**obj["metadata"].get("annotations", {}), "a": "b"}}}
    yield {**obj, "status": {**obj["status"], "interfaces": [{"name": "default"}], "nodeName": "another", "migrationState": {"targetNode": "another"}}}


BOUND = {"d": {"spec": {"storageClassName": "ceph"}, "status": {"phase": "Bound"}}}
UNBOUND = {"d": {"spec": {}, "status": {"phase": "Pending"}}}
FAILURE = {"consecutiveFailCount": 2, "lastFailedVMIUID": "old", "retryAfterTimestamp": NOW}
WORDS: list[tuple[str, Object, Object | None, Object]] = [
    ("Stopped", machine("Halted"), None, {}),
    ("Stopped", machine("Always"), instance("Succeeded"), {}),
    ("Starting", machine(), None, {"starting": True}),
    ("Starting", machine(), instance("Scheduling"), {}),
    ("Starting", machine(), instance("Scheduled"), {}),
    ("Running", machine(), instance("Running"), {}),
    ("Paused", machine(), instance("Running", said("Paused", "True")), {}),
    ("Migrating", machine(), instance("Running", migrationState={"startTimestamp": NOW}), {}),
    ("Migrating", machine(), instance("Running", said("Paused", "True"), migrationState={"startTimestamp": NOW}), {}),
    ("Running", machine(), instance("Running", migrationState={"startTimestamp": NOW, "endTimestamp": NOW}), {}),
    ("Running", machine(), instance("Running", migrationState={"migrationUid": "m"}), {}),
    ("Stopping", machine(), instance("Running", deleting=True), {}),
    ("Stopping", machine(), instance("Running"), {"stopping": True}),
    ("Stopped", machine("Halted"), instance("Succeeded", deleting=True), {}),
    ("ErrorPvcNotFound", machine(), instance("Pending", said("Synchronized", "False", "FailedPvcNotFound")), {}),
    ("ErrorUnschedulable", machine(), instance("Scheduling", said("PodScheduled", "False", "Unschedulable")), {}),
    ("ErrImagePull", machine(), instance("Scheduling", said("Synchronized", "False", "ErrImagePull")), {}),
    ("ImagePullBackOff", machine(), instance("Scheduling", said("Synchronized", "False", "ImagePullBackOff")), {}),
    ("Provisioning", machine(), instance("Pending", said("Provisioning", "True")), {}),
    ("WaitingForVolumeBinding", machine(), instance("Pending"), {"claims": UNBOUND}),
    ("Stopped", machine("Halted"), None, {"claims": UNBOUND}),
    ("CrashLoopBackOff", machine(startFailure=FAILURE), None, {}),
    ("Stopped", machine("Halted", startFailure=FAILURE), None, {}),
    ("Unknown", machine(), instance("Unknown"), {}),
]


@pytest.mark.parametrize(("vm", "vmi", "more"), [case[1:] for case in WORDS if case[2] is not None])
def test_a_machine_hangs_on_nothing_of_its_instance_but_what_is_heeded(vm: Object, vmi: Object, more: Object) -> None:
    context = around(**{"claims": BOUND, **more})
    alike = [other for other in changed(vmi) if machine_status.heeded(other) == machine_status.heeded(vmi)]
    assert len(alike) >= 2
    for other in alike:
        assert machine_status.next_status(vm, other, context) == machine_status.next_status(vm, vmi, context)


@pytest.mark.parametrize("version", ["1.4.1", "1.5.3"])
def test_what_is_heeded_of_a_recorded_instance(version: str) -> None:
    vm, vmi = load(version, "machines/machines")["running"], load(version, "launcher/first-start")["vmi"]
    alike = [other for other in changed(vmi) if machine_status.heeded(other) == machine_status.heeded(vmi)]
    # Its addresses, what is installed in it, how it would migrate: most of what an instance says is of no interest to its machine.
    assert len(alike) > 10
    for other in alike:
        assert machine_status.next_status(vm, other, around()) == vm["status"]


@pytest.mark.parametrize(("vm", "vmi", "more"), [case[1:] for case in WORDS])
def test_a_status_that_was_just_written_is_not_written_again(vm: Object, vmi: Object | None, more: Object) -> None:
    context = around(**{"claims": BOUND, **more})
    once = machine_status.next_status(vm, vmi, context)
    assert machine_status.next_status({**vm, "status": once}, vmi, context) == once


@pytest.mark.parametrize(("word", "vm", "vmi", "more"), WORDS)
def test_printable_status(word: str, vm: Object, vmi: Object | None, more: Object) -> None:
    context = around(**{"claims": BOUND, **more})
    assert machine_status.next_status(vm, vmi, context)["printableStatus"] == word
    deleted = {**vm, "metadata": {**vm["metadata"], "deletionTimestamp": NOW}}
    assert machine_status.next_status(deleted, vmi, context)["printableStatus"] == "Terminating"


def test_conditions_follow_the_instance_and_stay_when_it_is_gone() -> None:
    vm = machine(conditions=[said("Ready", "True"), said("Paused", "True"), said("LiveMigratable", "False", "old"), said("RestartRequired", "True")])
    made = machine_status.next_status(vm, instance("Running", said("Ready", "True"), said("LiveMigratable", "True")), around())
    assert {entry["type"]: entry["status"] for entry in made["conditions"]} == {"Ready": "True", "LiveMigratable": "True", "RestartRequired": "True"}
    gone = machine_status.next_status({**vm, "status": made}, None, around())
    assert conditions.has_status({"status": gone}, "Ready", "False", "VMINotExists")
    assert conditions.is_true({"status": gone}, "LiveMigratable")
    assert "ready" not in gone
    assert "created" not in gone


def test_a_request_goes_once_it_is_fulfilled() -> None:
    def left(request: Object, vmi: Object | None) -> list[Object]:
        made = machine_status.next_status(machine("Manual", stateChangeRequests=[request, {"action": "Start"}]), vmi, around())
        return t.cast("list[Object]", made.get("stateChangeRequests"))

    stop, start = {"action": "Stop", "uid": "vmi"}, {"action": "Start"}
    assert left(stop, instance("Running")) == [stop, start]
    assert left(stop, None) == [start]
    assert left({"action": "Stop", "uid": "another"}, instance("Running")) == [start]
    assert left(start, instance("Running")) == [start]
    assert left(start, instance("Running", deleting=True)) == [start, start]
    assert left(start, None) == [start, start]
    made = machine_status.next_status(machine("Manual", stateChangeRequests=[stop]), None, around())
    assert "stateChangeRequests" not in made


def test_a_machine_that_never_ran_is_started_ever_later() -> None:
    vm = machine()
    made: Object = {}
    for count in (1, 2, 3):
        failed = instance("Failed", ran=False)
        failed["metadata"]["uid"] = f"vmi-{count}"
        made = machine_status.next_status(vm, failed, around())
        assert made["startFailure"]["consecutiveFailCount"] == count
        assert machine_status.next_status({**vm, "status": made}, failed, around())["startFailure"] == made["startFailure"]
        vm = {**vm, "status": made}
        left = machine_status.back_off_left(vm, MOMENT)
        assert 10 * count**2 <= left <= 15 * count**2
    assert machine_status.back_off_left(vm, MOMENT + datetime.timedelta(seconds=300)) == 0
    assert "startFailure" not in machine_status.next_status(vm, instance("Running"), around())
    assert "startFailure" not in machine_status.next_status({**vm, "spec": {**vm["spec"], "runStrategy": "Manual"}}, None, around())


@pytest.mark.parametrize("when", [None, "", "soon", NOW])
def test_a_time_that_is_none_or_past_holds_nothing_up(when: str | None) -> None:
    assert machine_status.back_off_left(machine(startFailure={"retryAfterTimestamp": when}), MOMENT) == 0


@given(st.integers(0, 1000), st.text())
def test_back_off_is_bounded(failures: int, seed: str) -> None:
    least = 10 * max(1, failures) ** 2
    delay = machine_status.back_off(failures, seed)
    assert min(300, least) <= delay <= min(300, least + least // 2)
    assert delay == machine_status.back_off(failures, seed)


@pytest.mark.parametrize(("spec", "strategy"), [
    ({"running": True}, "Always"), ({"running": False}, "Halted"), ({}, "Halted"), ({"runStrategy": "Once"}, "Once"),
])
def test_run_strategies(spec: Object, strategy: str) -> None:
    assert machine_status.run_strategy({"spec": spec}) == strategy


def test_why_volumes_are_not_in_snapshots() -> None:
    reasons = [entry["reason"] for entry in machine_status.snapshot_statuses(machine(), BOUND.get)]
    assert reasons == ["No VolumeSnapshotClass: Volume snapshots are not configured for this StorageClass [ceph] [d]"]
    assert machine_status.snapshot_statuses(machine(), lambda _name: None)[0]["reason"] == "PVC not found"
