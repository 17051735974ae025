# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual machines come up on a node that fits, stop, start, restart, crash, wait for what they need, and go."""
from __future__ import annotations

import typing as t

import pytest

from ..support.api import MERGE_PATCH, Api
from .machines import Machines, machine
from .waiting import eventually

Object = dict[str, t.Any]


@pytest.fixture
def machines(admin: Api, namespace: str) -> Machines:
    return Machines(admin, namespace)


def condition(found: Object, kind: str) -> Object:
    return next((entry for entry in found.get("conditions") or () if entry["type"] == kind), {})


def running(machines: Machines, body: Object) -> Object:
    """Create a machine and return its running instance."""
    name = machines.create(body)["metadata"]["name"]
    machines.until(name, lambda status: status.get("printableStatus") == "Running" and status.get("ready"))
    return t.cast("Object", machines.instance(name))


def bind(machines: Machines, name: str) -> None:
    """A claim with a volume behind it."""
    claim = {
        "metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}, "volumeMode": "Block"},
    }
    claims = f"/api/v1/namespaces/{machines.namespace}/persistentvolumeclaims"
    made = machines.api.expect(201, "POST", claims, claim)
    bound = {**made, "status": {"phase": "Bound", "accessModes": ["ReadWriteMany"], "capacity": {"storage": "1Gi"}}}
    machines.api.expect(200, "PUT", f"{claims}/{name}/status", bound)


def test_a_machine_comes_up_on_a_node_that_fits(machines: Machines) -> None:
    vmi = running(machines, machine("a", memory="1Gi", nodeSelector={"topology.kubernetes.io/zone": "zone-b"}))
    (pod,) = machines.pods("a")
    node = machines.api.get(f"/api/v1/nodes/{vmi['status']['nodeName']}")
    assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "zone-b"
    assert pod["spec"]["nodeName"] == vmi["status"]["nodeName"] == vmi["metadata"]["labels"]["kubevirt.io/nodeName"]
    assert vmi["status"]["activePods"] == {pod["metadata"]["uid"]: vmi["status"]["nodeName"]}
    assert pod["metadata"]["labels"]["kubevirt.io/nodeName"] == vmi["status"]["nodeName"]
    assert [entry["phase"] for entry in vmi["status"]["phaseTransitionTimestamps"]] == ["Pending", "Scheduling", "Scheduled", "Running"]
    assert vmi["metadata"]["finalizers"] == ["kubevirt.io/virtualMachineControllerFinalize", "foregroundDeleteVirtualMachine"]
    vm = machines.get("a")
    assert vm["status"]["created"] is vm["status"]["ready"] is True
    assert vm["status"]["observedGeneration"] == vm["status"]["desiredGeneration"] == 1
    assert vm["metadata"]["finalizers"] == ["kubevirt.io/virtualMachineControllerFinalize"]
    assert vmi["status"]["virtualMachineRevisionName"] == f"revision-start-vm-{vm['metadata']['uid']}-1"
    (revision,) = [
        one for one in machines.api.items(f"/apis/apps/v1/namespaces/{machines.namespace}/controllerrevisions")
        if one["metadata"]["name"] == vmi["status"]["virtualMachineRevisionName"]
    ]
    assert revision["data"]["spec"] == vm["spec"]
    assert [one["message"] for one in machines.events("a", "VirtualMachine")] == [
        "Started the virtual machine by creating the new virtual machine instance a",
    ]
    assert f"Created virtual machine pod {pod['metadata']['name']}" in [one["message"] for one in machines.events("a", "VirtualMachineInstance")]


def test_a_stopped_machine_has_nothing_left_and_starts_anew(machines: Machines) -> None:
    before = running(machines, machine("a"))
    assert machines.ask("a", "stop").status == 202
    status = machines.until_word("a", "Stopped")
    eventually(lambda: machines.instance("a") is None and not machines.pods("a"))
    assert condition(machines.until("a", lambda now: not now.get("created")), "Ready")["reason"] == "VMINotExists"
    assert status["runStrategy"] == machines.get("a")["spec"]["runStrategy"] == "Halted"
    assert machines.ask("a", "start").status == 202
    after = machines.until_other_instance("a", before["metadata"]["uid"])
    assert after["metadata"]["annotations"]["kubevirt.io/vm-generation"] == "3"
    assert machines.ask("a", "start").status == 409


@pytest.mark.parametrize("strategy", ["Always", "Manual", "RerunOnFailure"])
def test_restart_makes_another_instance(machines: Machines, strategy: str) -> None:
    machines.create(machine("a", strategy))
    if strategy == "Manual":
        assert machines.ask("a", "start").status == 202
    machines.until_word("a", "Running")
    before = t.cast("Object", machines.instance("a"))
    assert machines.ask("a", "restart").status == 202
    after = machines.until_other_instance("a", before["metadata"]["uid"])
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    machines.until("a", lambda status: "stateChangeRequests" not in status and status["printableStatus"] == "Running")


def test_a_manual_machine_does_nothing_by_itself(machines: Machines) -> None:
    machines.create(machine("a", "Manual"))
    machines.until_word("a", "Stopped")
    assert machines.instance("a") is None
    assert machines.ask("a", "start").status == 202
    machines.until_word("a", "Running")
    assert machines.ask("a", "stop").status == 202
    machines.until("a", lambda status: status["printableStatus"] == "Stopped" and not status.get("created"))
    assert machines.get("a")["spec"]["runStrategy"] == "Manual"


@pytest.mark.parametrize(("running_field", "word"), [(True, "Running"), (False, "Stopped")])
def test_the_older_field_running_works(machines: Machines, running_field: bool, word: str) -> None:
    body = machine("a", None)
    body["spec"]["running"] = running_field
    machines.create(body)
    machines.until_word("a", word)


def test_a_deleted_machine_takes_everything_along(machines: Machines) -> None:
    running(machines, machine("a"))
    answer = machines.api.request("DELETE", f"{machines.path}/a")
    assert answer.status == 200
    machines.until_gone("a")
    assert machines.instance("a") is None
    budgets = f"/apis/policy/v1/namespaces/{machines.namespace}/poddisruptionbudgets"
    eventually(lambda: not machines.api.items(budgets))


def test_what_somebody_writes_over_is_put_right_every_time(machines: Machines) -> None:
    running(machines, machine("a"))
    (budget,) = machines.api.items(f"/apis/policy/v1/namespaces/{machines.namespace}/poddisruptionbudgets")
    budget_path = f"/apis/policy/v1/namespaces/{machines.namespace}/poddisruptionbudgets/{budget['metadata']['name']}"
    eventually(lambda: machines.api.get(budget_path)["status"]["currentHealthy"] == 1)
    for dummy in range(3):
        wrong: Object = {"status": {"printableStatus": "Stopped", "ready": False}}
        machines.api.expect(200, "PATCH", f"{machines.path}/a/status", wrong, content_type=MERGE_PATCH)
        machines.until("a", lambda status: status.get("printableStatus") == "Running" and status.get("ready"))
        machines.api.expect(200, "PATCH", f"{budget_path}/status", {"status": {"currentHealthy": 0, "disruptionsAllowed": 7}}, content_type=MERGE_PATCH)
        eventually(lambda: (found := machines.api.get(budget_path)["status"])["currentHealthy"] == 1 and found["disruptionsAllowed"] == 0)


def test_a_machine_that_fits_nowhere_says_so_and_waits(machines: Machines, admin: Api) -> None:
    machines.create(machine("a", nodeSelector={"machines.test/special": "true"}))
    status = machines.until_word("a", "ErrorUnschedulable")
    told = condition(status, "PodScheduled")
    assert (told["status"], told["reason"]) == ("False", "Unschedulable")
    assert "node(s) didn't match Pod's node affinity/selector" in told["message"]
    label = {"metadata": {"labels": {"machines.test/special": "true"}}}
    admin.expect(200, "PATCH", "/api/v1/nodes/node02", label, content_type=MERGE_PATCH)
    try:
        status = machines.until_word("a", "Running")
        assert not condition(status, "PodScheduled")
        assert t.cast("Object", machines.instance("a"))["status"]["nodeName"] == "node02"
    finally:
        admin.expect(200, "PATCH", "/api/v1/nodes/node02", {"metadata": {"labels": {"machines.test/special": None}}}, content_type=MERGE_PATCH)


def test_a_machine_waits_for_its_disk(machines: Machines) -> None:
    machines.create(machine("a", claim="missing"))
    status = machines.until_word("a", "ErrorPvcNotFound")
    assert condition(status, "Synchronized")["message"] == f"PVC {machines.namespace}/missing does not exist, waiting for it to appear"
    assert not machines.pods("a")
    bind(machines, "missing")
    machines.until_word("a", "Running")
    (pod,) = machines.pods("a")
    assert pod["spec"]["containers"][0]["volumeDevices"] == [{"name": "disk0", "devicePath": "/dev/disk0"}]
    (volume,) = t.cast("Object", machines.instance("a"))["status"]["volumeStatus"]
    assert volume["persistentVolumeClaimInfo"]["accessModes"] == ["ReadWriteMany"]


def test_a_machine_waits_for_its_data_volume(machines: Machines) -> None:
    body = machine("a", claim="imported")
    body["spec"]["dataVolumeTemplates"] = [{"metadata": {"name": "imported"}, "spec": {"source": {"blank": {}}, "storage": {}}}]
    body["spec"]["template"]["spec"]["volumes"] = [{"name": "disk0", "dataVolume": {"name": "imported"}}]
    vm = machines.create(body)
    machines.until_word("a", "Provisioning")
    volume = machines.api.get(f"/apis/cdi.kubevirt.io/v1beta1/namespaces/{machines.namespace}/datavolumes/imported")
    assert volume["metadata"]["ownerReferences"][0]["uid"] == vm["metadata"]["uid"]
    assert machines.instance("a") is None
    bind(machines, "imported")
    machines.until_word("a", "Running")


def test_a_change_that_needs_a_restart_is_told_until_then(machines: Machines) -> None:
    running(machines, machine("a"))
    changed = machine("a", hostname="other")["spec"]["template"]
    machines.change("a", {"template": changed})
    status = machines.until("a", lambda now: condition(now, "RestartRequired"))
    assert condition(status, "RestartRequired")["message"] == "a non-live-updatable field was changed in the template spec"
    assert (status["observedGeneration"], status["desiredGeneration"]) == (1, 2)
    assert machines.ask("a", "restart").status == 202
    status = machines.until("a", lambda now: not condition(now, "RestartRequired") and now.get("observedGeneration") == 2)


def test_an_evicted_machine_without_strategy_comes_back_elsewhere(machines: Machines) -> None:
    before = running(machines, machine("a", evictionStrategy="None"))
    (pod,) = machines.pods("a")
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": machines.namespace}}
    machines.api.expect(201, "POST", f"/api/v1/namespaces/{machines.namespace}/pods/{name}/eviction", eviction)
    machines.until_other_instance("a", before["metadata"]["uid"])


def test_a_finished_instance_without_a_machine_can_be_deleted(machines: Machines) -> None:
    template = machine("b")["spec"]["template"]
    body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": "b"}, "spec": template["spec"]}
    machines.api.expect(201, "POST", machines.instances, body)
    eventually(lambda: (found := machines.instance("b")) and (found.get("status") or {}).get("phase") == "Running", 20)
    machines.api.expect(200, "DELETE", f"{machines.instances}/b")
    eventually(lambda: machines.instance("b") is None and not machines.pods("b"), 20)
