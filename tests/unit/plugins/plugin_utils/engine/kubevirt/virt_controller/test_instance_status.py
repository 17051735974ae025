# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of an instance by its pods: as virt-controller was seen to do it, and by its rules."""

from __future__ import annotations

import copy
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller import (
    conditions,
    instance_status,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller.instance_status import (
    Seen,
    SyncError,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller.instances import guarded_patch

RECORDED = Path(__file__).parents[6] / "conformance" / "recorded"
NOW = "2026-11-23T12:00:00Z"
IMAGE = "quay.io/kubevirt/virt-launcher:v1.5.3"
Object = dict[str, t.Any]


def load(version: str, name: str) -> Object:
    found: Object = json.loads((RECORDED / f"kubevirt-{version}" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def seen(
    *pods: Object, image: str = IMAGE, owner: bool = True, now: str = NOW, error: SyncError | None = None, claims: Object | None = None
) -> Seen:
    return Seen(pods, (claims or {}).get, image, owner, now, error)


def instance(phase: str, **status: t.Any) -> Object:
    return {
        "metadata": {
            "name": "a", "namespace": "ns", "uid": "u", "finalizers": ["foregroundDeleteVirtualMachine", "kubevirt.io/virtualMachineControllerFinalize"],
        },
        "spec": {"domain": {}, "volumes": []}, "status": {"phase": phase, **status},
    }


def pod(phase: str = "Running", node: str = "node01", uid: str = "p", deleting: bool = False, **status: t.Any) -> Object:
    running = {"name": "compute", "ready": False, "state": {"running": {}}}
    metadata: Object = {"name": uid, "uid": uid, "creationTimestamp": NOW, "annotations": {"kubevirt.io/migrationTransportUnix": "true"}}
    if deleting:
        metadata["deletionTimestamp"] = NOW
    statuses = [running] if phase == "Running" else []
    return {
        "metadata": metadata, "spec": {"nodeName": node, "containers": [{"name": "compute", "image": IMAGE}]},
        "status": {"phase": phase, "qosClass": "Burstable", "containerStatuses": statuses, **status},
    }


@pytest.mark.parametrize("version", ["1.4.1", "1.5.3"])
def test_a_running_instance_as_recorded_is_left_alone(version: str) -> None:
    case = load(version, "launcher/first-start")
    around = seen(case["pod"], image=case["pod"]["spec"]["containers"][0]["image"])
    assert instance_status.next_instance(case["vmi"], around) == case["vmi"]
    assert instance_status.unpaused_condition(case["vmi"], case["pod"], NOW) is None


def test_what_the_status_says_of_a_claim_is_as_recorded() -> None:
    vmi = load("1.5.3", "machines/machines")["rwo"]
    claim = {
        "metadata": {"name": "rwo"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeMode": "Filesystem"},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
    }
    assert instance_status.claim_info(claim) == vmi["status"]["volumeStatus"][0]["persistentVolumeClaimInfo"]


def test_an_instance_that_is_deleted_while_it_migrates_goes_as_recorded() -> None:
    steps = load("1.5.3", "machines/deleted")["steps"]
    running, terminating, failed, released = (step["vmi"] for step in steps[:4])
    both = steps[1]["pods"]
    target = next(one for one in both if one["spec"]["nodeName"] != running["status"]["nodeName"])

    def same(made: Object, recorded: Object) -> None:
        wanted, got = copy.deepcopy(recorded), copy.deepcopy(made)
        for one in (wanted, got):
            for key in ("resourceVersion", "generation"):
                del one["metadata"][key]
        assert got == wanted

    when = terminating["status"]["conditions"][0]["lastTransitionTime"]
    same(instance_status.next_instance(running, seen(*both, now=when)), terminating)
    when = failed["status"]["conditions"][0]["lastTransitionTime"]
    same(instance_status.next_instance(terminating, seen(target, now=when)), failed)
    same(instance_status.next_instance(failed, seen(now=NOW)), released)


WAITING: Object = {"containerStatuses": [{"name": "compute", "state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}]}
UNREADY: Object = {"containerStatuses": [
    {"name": "compute", "ready": False, "state": {"running": {}}}, {"name": "guest-console-log", "ready": False, "state": {"running": {}}},
]}
PHASES: list[tuple[str, str, list[Object], bool, str]] = [
    ("no pod yet", "", [], False, "Pending"),
    ("still none", "Pending", [], False, "Pending"),
    ("deleted before it had one", "Pending", [], True, "Failed"),
    ("a pod is there", "", [pod("Pending")], False, "Scheduling"),
    ("it waits", "Scheduling", [pod("Pending")], False, "Scheduling"),
    ("it is up", "Scheduling", [pod()], False, "Scheduled"),
    ("something beside compute is not ready", "Scheduling", [pod(**UNREADY)], False, "Scheduling"),
    ("it is up, and the instance is deleted", "Scheduling", [pod()], True, "Scheduling"),
    ("it goes down", "Scheduling", [pod(deleting=True)], False, "Failed"),
    ("it ended", "Scheduling", [pod("Failed")], False, "Failed"),
    ("somebody deleted it", "Scheduling", [], False, "Failed"),
    ("handed over", "Scheduled", [pod()], False, "Scheduled"),
    ("gone before the guest ran", "Scheduled", [], False, "Failed"),
    ("the guest runs", "Running", [pod()], False, "Running"),
    ("a pod that ended is virt-handler's to judge", "Running", [pod("Succeeded")], False, "Running"),
    ("its pod is gone", "Running", [], False, "Failed"),
    ("over", "Succeeded", [], False, "Succeeded"),
]


@pytest.mark.parametrize(("phase", "pods", "deleting", "then"), [case[1:] for case in PHASES], ids=[case[0] for case in PHASES])
def test_phases(phase: str, pods: list[Object], deleting: bool, then: str) -> None:
    vmi = instance(phase)
    if deleting:
        vmi["metadata"]["deletionTimestamp"] = NOW
    before = copy.deepcopy(vmi)
    made = instance_status.next_instance(vmi, seen(*pods))
    assert made["status"]["phase"] == then
    assert vmi == before
    transitions = made["status"].get("phaseTransitionTimestamps") or []
    # While virt-handler owns the instance only the phase itself is written.
    if phase != then and phase not in ("Running", "Scheduled"):
        assert transitions[-1] == {"phase": then, "phaseTransitionTimestamp": NOW}
    else:
        assert not transitions


def test_the_hand_over_names_the_node() -> None:
    made = instance_status.next_instance(instance("Scheduling"), seen(pod()))
    assert made["metadata"]["labels"]["kubevirt.io/nodeName"] == made["status"]["nodeName"] == "node01"
    assert made["status"]["migrationTransport"] == "Unix"
    assert made["status"]["activePods"] == {"p": "node01"}
    assert made["status"]["launcherContainerImageVersion"] == IMAGE


@pytest.mark.parametrize(("vmi", "pods", "reason"), [
    (instance("Pending"), [], "PodNotExists"), (instance("Scheduled"), [pod()], "GuestNotRunning"),
    (instance("Running"), [pod(deleting=True)], "PodTerminating"),
    (instance("Running"), [pod()], "PodConditionMissing"),
    (instance("Running", nodeName="node02"), [pod()], "PodNotExists"),
    (instance("Running"), [pod(conditions=[{"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady"}])], "ReadinessGatesNotReady"),
])
def test_why_an_instance_is_not_ready(vmi: Object, pods: list[Object], reason: str) -> None:
    made = instance_status.next_instance(vmi, seen(*pods))
    assert conditions.has_status(made, "Ready", "False", reason)


def test_another_launcher_is_outdated_until_it_is_not() -> None:
    made = instance_status.next_instance(instance("Running"), seen(pod(), image="quay.io/kubevirt/virt-launcher:v1.6.0"))
    assert made["metadata"]["labels"] == {"kubevirt.io/outdatedLauncherImage": ""}
    assert "labels" not in instance_status.next_instance(made, seen(pod()))["metadata"]


def test_an_unschedulable_pod_and_a_missing_image_are_told() -> None:
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}
    made = instance_status.next_instance(instance("Scheduling"), seen(pod("Pending", conditions=[unschedulable])))
    assert conditions.condition(made, "PodScheduled") == unschedulable
    placed = instance_status.next_instance(made, seen(pod("Pending")))
    assert conditions.condition(placed, "PodScheduled") is None
    pulled = instance_status.next_instance(placed, seen(pod("Pending", **WAITING)))
    assert conditions.has_status(pulled, "Synchronized", "False", "ErrImagePull")
    assert conditions.condition(instance_status.next_instance(pulled, seen(pod("Pending"))), "Synchronized") is None


def test_a_missing_claim_is_told_as_unschedulable_too() -> None:
    error = SyncError("FailedPvcNotFound", "PVC ns/d does not exist, waiting for it to appear")
    made = instance_status.next_instance(instance("Pending"), seen(error=error))
    assert conditions.has_status(made, "Synchronized", "False", "FailedPvcNotFound")
    assert conditions.has_status(made, "PodScheduled", "False", "Unschedulable")
    assert instance_status.next_instance(made, seen(error=error)) == made


def test_dedicated_cpus_need_a_guaranteed_pod() -> None:
    vmi = instance("Scheduling")
    vmi["spec"]["domain"]["cpu"] = {"dedicatedCpuPlacement": True}
    made = instance_status.next_instance(vmi, seen(pod()))
    assert made["status"]["phase"] == "Scheduling"
    assert conditions.has_status(made, "Synchronized", "False", "FailedGuaranteePodResources")
    assert instance_status.next_instance(vmi, seen(pod(qosClass="Guaranteed")))["status"]["phase"] == "Scheduled"


def test_an_ended_instance_stays_until_its_pods_are_gone_and_its_owner_has_seen_it() -> None:
    both = instance("Failed")["metadata"]["finalizers"]
    assert instance_status.next_instance(instance("Failed"), seen(pod("Failed")))["metadata"]["finalizers"] == both
    assert instance_status.next_instance(instance("Failed"), seen())["metadata"]["finalizers"] == both[1:]
    assert instance_status.next_instance(instance("Failed"), seen(owner=False))["metadata"]["finalizers"] == []


def changed(obj: Object) -> t.Iterator[Object]:
    """The object without one of its parts, or one more of them."""
    for part in ("metadata", "status"):
        for key in obj[part]:
            yield {**obj, part: {name: value for name, value in obj[part].items() if name != key}}
    yield {**obj, "metadata": {**obj["metadata"], "labels": {**obj["metadata"].get("labels", {}), "a": "b"}}}
    yield {**obj, "status": {**obj["status"], "interfaces": [{"name": "default"}], "migrationState": {"targetNode": "another"}}}


@pytest.mark.parametrize("version", ["1.4.1", "1.5.3"])
@pytest.mark.parametrize("pods", ["none", "one", "two"])
def test_an_instance_hangs_on_nothing_of_itself_but_what_is_heeded(version: str, pods: str) -> None:
    case = load(version, "launcher/first-start")
    vmi, second = case["vmi"], copy.deepcopy(case["pod"])
    second["metadata"] |= {"uid": "second", "creationTimestamp": "2099-01-01T00:00:00Z"}
    second["spec"]["nodeName"], second["status"]["conditions"] = "another", []
    around = seen(*{"none": [], "one": [case["pod"]], "two": [case["pod"], second]}[pods], image="another")
    made = instance_status.next_instance(vmi, around)
    alike = [other for other in changed(vmi) if instance_status.heeded(other) == instance_status.heeded(vmi)]
    assert len(alike) > 5
    for other in alike:
        found = instance_status.next_instance(other, around)
        assert instance_status.heeded(found) == instance_status.heeded(made)
        # Labels are written all at once, those of others with them.
        assert [one for one in guarded_patch(other, found) if one["path"] != "/metadata/labels"] == [
            one for one in guarded_patch(vmi, made) if one["path"] != "/metadata/labels"
        ]


@pytest.mark.parametrize("phase", ["Scheduled", "Running"])
def test_an_instance_that_was_just_written_is_not_written_again(phase: str) -> None:
    around = seen(pod(uid="p"), pod(uid="q", node="node02"), image="another")
    once = instance_status.next_instance(instance(phase, nodeName="node01"), around)
    assert guarded_patch(instance(phase, nodeName="node01"), once)
    assert not guarded_patch(once, instance_status.next_instance(once, around))


@pytest.mark.parametrize(("paused", "unpaused", "then"), [
    (False, None, "True"), (False, "True", None), (False, "False", "True"), (True, "True", "False"), (True, "False", None), (True, None, None),
])
def test_the_readiness_gate_follows_the_guest(paused: bool, unpaused: str | None, then: str | None) -> None:
    vmi = instance("Running", conditions=[{"type": "Paused", "status": "True"}] if paused else [])
    gate = [{"type": "kubevirt.io/virtual-machine-unpaused", "status": unpaused}] if unpaused else []
    made = instance_status.unpaused_condition(vmi, pod(conditions=gate), NOW)
    assert (made or {}).get("status") == then


def test_what_virt_handler_owns_is_patched_only_as_it_was() -> None:
    before = instance("Running", conditions=[], activePods={"p": "node01"})
    after = copy.deepcopy(before)
    assert guarded_patch(before, after) == []
    del after["status"]["activePods"]
    after["status"]["phase"] = "Failed"
    after["metadata"]["labels"] = {"a": "b"}
    after["status"]["nodeName"] = "not ours to write"
    assert guarded_patch(before, after) == [
        {"op": "test", "path": "/status/activePods", "value": {"p": "node01"}}, {"op": "remove", "path": "/status/activePods"},
        {"op": "test", "path": "/status/phase", "value": "Running"}, {"op": "replace", "path": "/status/phase", "value": "Failed"},
        {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}},
    ]
