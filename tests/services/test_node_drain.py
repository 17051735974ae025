# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of the lab are drained, with all that may come in between."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import secrets
import threading
import time
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import OptionError, PreconditionFailed, VirtError
from ansible_collections.okd.virt.plugins.module_utils.drain import claims, copied, moves
from ansible_collections.okd.virt.plugins.module_utils.drain.draining import DrainIncomplete

from ..conftest import EngineFactory
from ..support.api import MERGE_PATCH, Api
from .verbs import Verbs

VMIS = "/apis/kubevirt.io/v1/virtualmachineinstances"
VMIMS = "/apis/kubevirt.io/v1/virtualmachineinstancemigrations"
NODES = "/api/v1/nodes"
FAULTS = "/engine.okd.virt/v1/faults"
WILLING: dict[str, t.Any] = {"delete_emptydir_data": True, "evict_uncontrolled": True, "deadline": 120}


@dataclasses.dataclass
class Lab:
    """An engine with the lab, sixty times as fast as a real cluster."""

    api: Api
    verbs: Verbs

    def drain(self, node: str, **options: t.Any) -> t.Any:
        return self.verbs("node_drain", **{**WILLING, "names": [node], **options})

    def fails(self, node: str, **options: t.Any) -> VirtError:
        with pytest.raises(VirtError) as caught:
            self.drain(node, **options)
        return caught.value

    def codes(self, node: str) -> set[str]:
        """Of what can't leave a node without any consent."""
        try:
            self.drain(node, check=True, delete_emptydir_data=False, evict_uncontrolled=False)
        except PreconditionFailed as error:
            return {one["code"] for one in error.details["blocked"]}
        return set()

    def node(self, name: str) -> dict[str, t.Any]:
        return self.api.get(f"{NODES}/{name}")

    def cordoned(self, name: str) -> bool:
        return bool(self.node(name)["spec"].get("unschedulable"))

    def claim(self, name: str, claim: claims.Claim, *, cordoned: bool = True) -> None:
        """As a run does it that is to end in the middle."""
        patch = {"metadata": {"annotations": {claims.CLAIM: claim.text()}}, "spec": {"unschedulable": cordoned}}
        self.api.expect(200, "PATCH", f"{NODES}/{name}", patch, content_type=MERGE_PATCH)

    def vms(self, node: str = "") -> dict[str, str]:
        """The uids of all VMs' instances, or of those on a node, by namespace/name."""
        items = [one for one in self.api.items(VMIS) if not node or one["status"].get("nodeName") == node]
        return {f"{one['metadata']['namespace']}/{one['metadata']['name']}": one["metadata"]["uid"] for one in items}

    def fullest(self) -> str:
        """The node with the most VMs."""
        return max((f"node0{number}" for number in range(1, 7)), key=lambda name: len(self.vms(name)))

    def movable(self, node: str) -> str:
        """One VM of the node that can migrate."""
        pods = self.drain(node, on_unmigratable="skip", check=True).result["nodes"][0]["pods"]
        return next(f"{one['namespace']}/{one['name']}" for one in pods if one["way"] == "migrate")

    def selected(self, node: str, vm: str) -> str:
        """Mark the launcher pod of a VM; the selector of it."""
        pods = self.drain(node, on_unmigratable="skip", check=True).result["nodes"][0]["pods"]
        pod, namespace = next((one["pod"], one["namespace"]) for one in pods if f"{one['namespace']}/{one['name']}" == vm)
        label = secrets.token_hex(4)
        patch = {"metadata": {"labels": {"test": label}}}
        self.api.expect(200, "PATCH", f"/api/v1/namespaces/{namespace}/pods/{pod}", patch, content_type=MERGE_PATCH)
        return f"test={label}"

    def annotate(self, vm: str, **annotations: str | None) -> None:
        namespace, name = vm.split("/")
        path = f"/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachineinstances/{name}"
        named = {f"engine.okd.virt/{key.replace('_', '-')}": value for key, value in annotations.items()}
        self.api.expect(200, "PATCH", path, {"metadata": {"annotations": named}}, content_type=MERGE_PATCH)

    def unfinished(self) -> list[dict[str, t.Any]]:
        return [one for one in self.api.items(VMIMS) if (one.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]

    def give_back(self, node: str) -> None:
        self.verbs("node_drain", names=[node], state="uncordoned", take_over=True)


def eventually(what: t.Callable[[], t.Any], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.fixture(scope="module")
def lab(fresh_engine: EngineFactory) -> Lab:
    running = fresh_engine(speed="60")
    found = Lab(Api(running.kubeconfig), Verbs(running.kubeconfig))
    for vm in found.vms():
        # Some VMs of the lab are too busy to be copied at all.
        found.annotate(vm, copy_seconds="20")
    return found


def a_claim(holder: str, process: str = "1/1", host: str = "elsewhere/1", age: float = 0.0) -> claims.Claim:
    """Each of a run of its own, as in life: what a run has moved out of a node is not there any more."""
    stamp = (claims.now() - datetime.timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return claims.Claim(secrets.token_hex(4), f"{holder} on elsewhere", host, process, stamp, stamp)


def user(lab: Lab) -> str:
    """Whom the server takes the tests' kubeconfig for."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = lab.api.expect(201, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    return str(answer["status"]["userInfo"]["username"])


def test_a_full_node_is_emptied_and_the_second_run_changes_nothing(lab: Lab) -> None:
    before, there = lab.vms(), lab.vms("node02")
    assert len(there) == 12
    planned = lab.drain("node02", check=True)
    assert [one["way"] for one in planned.result["nodes"][0]["pods"]].count("migrate") == 12
    assert planned.changed
    assert not lab.cordoned("node02")
    done = lab.drain("node02")
    assert done.changed
    assert done.summary["vms_moved"] == 12
    # A migration and the removal of what it leaves behind for each VM, besides what is read once.
    assert done.summary["requests"] <= 2 * 12 + 25
    assert {(one["verb"], one["kind"], one["namespace"]) for one in planned.actions} <= {(one["verb"], one["kind"], one["namespace"]) for one in done.actions}
    assert {one["to"] for one in done.result["nodes"][0]["moved"]} & {"node01", "node03", "node04", "node05"}
    assert lab.vms() == before
    assert not lab.vms("node02")
    assert lab.cordoned("node02")
    assert claims.CLAIM not in lab.node("node02")["metadata"]["annotations"]
    left = {one["code"] for one in done.result["nodes"][0]["left"]}
    assert left <= {"daemon_set"}
    assert not lab.drain("node02", check=True).changed
    again = lab.drain("node02")
    assert not again.changed
    assert not again.actions
    lab.give_back("node02")


def test_the_plan_says_where_each_vm_fits_and_the_run_bears_it_out(lab: Lab) -> None:
    node = lab.fullest()
    planned = lab.drain(node, on_unmigratable="skip", check=True)
    described = planned.result["nodes"][0]
    fits = {(one["namespace"], one["name"]): one["fit"] for one in described["pods"] if one["way"] == "migrate"}
    assert fits
    for fit in fits.values():
        assert fit["target"]
        assert fit["fits"] + sum(reason["number"] for reason in fit["why_not"]) == len(lab.api.items(NODES)) - 1
    assert described["expected"]["seconds"] > 0
    spare = planned.result["spare_memory"]
    assert 0 < spare["after_bytes"] < spare["before_bytes"]
    assert any(line.startswith("  migrate  ") for line in planned.lines)
    done = lab.drain(node, on_unmigratable="skip")
    moved = {(one["namespace"], one["name"]): one["to"] for one in done.result["nodes"][0]["moved"]}
    assert moved.keys() == fits.keys()
    assert all(moved[key] in fit["nodes"] for key, fit in fits.items())
    lab.give_back(node)


def test_vms_that_fit_nowhere_refuse_the_drain(lab: Lab) -> None:
    node = lab.fullest()
    others = sorted({f"node0{number}" for number in range(1, 7)} - {node})
    lab.verbs("node_drain", names=others, state="cordoned")
    try:
        error = lab.fails(node, on_unmigratable="skip")
        assert error.details["code"] == "cannot_leave"
        assert {one["code"] for one in error.details["blocked"]} == {"no_node_fits"}
        assert "it fits 0 of 8 other nodes; not: the node is cordoned" in error.message
        assert not lab.cordoned(node)
        tried = lab.drain(node, on_unmigratable="skip", require_room=False, check=True)
        assert {one["code"] for one in tried.result["nodes"][0]["pods"] if one["way"] == "migrate"} == {"no_node_fits"}
    finally:
        lab.verbs("node_drain", names=others, state="uncordoned")


def test_without_the_right_to_list_nodes_the_plan_says_so(lab: Lab) -> None:
    """Everything that a drain needs, but no list of all nodes."""
    rules = [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": ["list"]},
        {"apiGroups": ["kubevirt.io"], "resources": ["*"], "verbs": ["list", "watch"]},
    ]
    roles = "/apis/rbac.authorization.k8s.io/v1"
    lab.api.expect(201, "POST", f"{roles}/clusterroles", {"metadata": {"name": "drains"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "drains"}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "dora"}]
    lab.api.expect(201, "POST", f"{roles}/clusterrolebindings", {"metadata": {"name": "dora"}, "roleRef": reference, "subjects": subjects})
    dora = Verbs(lab.verbs.connection["kubeconfig"], impersonate_user="dora")
    planned = dora("node_drain", check=True, names=["node02"], **WILLING)
    assert planned.changed
    assert "spare_memory" not in planned.result
    assert any("nodes and pods of the whole cluster can't be listed" in warning for warning in planned.warnings)


def test_as_many_migrations_as_there_are_slots(lab: Lab) -> None:
    """Never more than two out of the node, and never one that waits for a slot while it has been made."""
    seen: list[int] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            seen.append(len(lab.unfinished()))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        lab.drain("node04", on_unmigratable="skip")
    finally:
        stop.set()
        watcher.join()
        lab.give_back("node04")
    assert max(seen) == 2


def test_what_cannot_leave_refuses_the_drain(lab: Lab) -> None:
    error = lab.fails("node03")
    assert isinstance(error, PreconditionFailed)
    assert error.details["code"] == "cannot_leave"
    assert "VMI uses a PCI host devices" in error.message
    assert "on_unmigratable" in error.message
    # The pods with data of their own may have gone elsewhere with a drain before.
    where = {name: lab.codes(name) for name in ("node01", "node02", "node03", "node04", "node05", "node06")}
    assert {"not_migratable", "uncontrolled"} <= where["node05"] <= {"not_migratable", "uncontrolled", "emptydir_data"}
    assert any("emptydir_data" in codes for codes in where.values())
    assert not lab.cordoned("node03")
    assert not lab.cordoned("node05")


def test_what_cannot_migrate_is_skipped_when_asked(lab: Lab) -> None:
    done = lab.drain("node03", on_unmigratable="skip")
    assert {"VirtualMachineInstance"} == {one["kind"] for one in done.result["nodes"][0]["left"] if one["code"].endswith("_skipped")}
    assert "analytics/vm-2" in lab.vms("node03")
    lab.give_back("node03")


def test_nodes_that_are_not_there_and_numbers_that_cannot_be(lab: Lab) -> None:
    assert isinstance(lab.fails("nowhere"), OptionError)
    assert "deadline" in lab.fails("node01", deadline=0).message
    with pytest.raises(OptionError, match="machine_config_pool"):
        lab.verbs("node_drain", machine_config_pool="nothing", **WILLING)
    with pytest.raises(OptionError, match="label_selector"):
        lab.verbs("node_drain", label_selector="a=b", **WILLING)


def test_a_second_operator_is_refused_by_name(lab: Lab) -> None:
    node = lab.fullest()
    claim = a_claim("alice")
    lab.claim(node, claim)
    # Not its annotations as a whole: virt-handler writes its heartbeat there.
    before = lab.node(node)["metadata"]["annotations"][claims.CLAIM]
    for state in ("drained", "uncordoned", "evacuation_cancelled"):
        error = lab.fails(node, state=state)
        assert error.details["code"] == "held"
        assert "alice on elsewhere" in error.message
    assert lab.cordoned(node)
    assert lab.node(node)["metadata"]["annotations"][claims.CLAIM] == before
    done = lab.drain(node, take_over=True, on_unmigratable="skip")
    assert done.result["nodes"][0]["run"] == claim.run
    lab.give_back(node)


@pytest.mark.parametrize("claim", [
    pytest.param(a_claim("alice", age=60), id="lease-ended"),
    pytest.param(dataclasses.replace(claims.mine("x"), process="999999/1"), id="process-gone"),
])
def test_an_abandoned_run_goes_on(lab: Lab, claim: claims.Claim) -> None:
    node = lab.fullest()
    if claim.host != "elsewhere/1":
        # Renewed this very moment: only the missing process tells.
        claim = claim.at(claims.now())
    lab.claim(node, claim)
    done = lab.drain(node, on_unmigratable="skip")
    assert done.result["nodes"][0]["run"] == claim.run
    lab.give_back(node)


def test_an_abandoned_run_of_a_node_that_was_uncordoned_since_is_over(lab: Lab) -> None:
    """By the name of the old run, VMs that are back would count as moved."""
    node = lab.fullest()
    claim = a_claim("alice", age=60)
    lab.claim(node, claim, cordoned=False)
    done = lab.drain(node, on_unmigratable="skip")
    assert done.result["nodes"][0]["run"] != claim.run
    assert lab.cordoned(node)
    lab.give_back(node)


def test_the_same_user_waits_for_the_own_lease(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    node = lab.fullest()
    monkeypatch.setattr(claims, "LEASE", 3.0)
    claim = a_claim(user(lab))
    lab.claim(node, claim)
    began = time.monotonic()
    done = lab.drain(node, on_unmigratable="skip")
    assert done.result["nodes"][0]["run"] == claim.run
    assert time.monotonic() - began > 1.5
    lab.give_back(node)


def test_a_later_node_that_somebody_takes_meanwhile_does_not_lose_what_was_done(lab: Lab) -> None:
    first = lab.fullest()
    second = next(name for name in ("node02", "node04") if name != first)
    slow = lab.vms(first)
    for vm in slow:
        lab.annotate(vm, copy_seconds="300")
    caught: list[VirtError] = []
    worker = threading.Thread(target=lambda: caught.append(lab.fails(first, names=[first, second], on_unmigratable="skip")))
    worker.start()
    try:
        eventually(lambda: any((one.get("status") or {}).get("phase") == "Running" for one in lab.unfinished()))
        # Renewed in the future: its lease outlives the first node's drain.
        lab.claim(second, a_claim("olga", age=-300), cordoned=False)
        for vm in slow:
            lab.annotate(vm, copy_seconds="20")
        worker.join(100)
        assert not worker.is_alive()
        (error,) = caught
        assert {one["name"]: (one["state"], one["code"]) for one in error.details["nodes"]} == {first: ("drained", ""), second: ("not_begun", "held")}
        assert "olga" in error.message
        assert error.details["summary"]["drained"] == 1
        assert error.details["summary"]["vms_moved"] > 0
        assert not lab.cordoned(second)
    finally:
        worker.join(100)
        lab.api.expect(200, "PATCH", f"{NODES}/{second}", {"metadata": {"annotations": {claims.CLAIM: None}}}, content_type=MERGE_PATCH)
        lab.give_back(first)


def test_what_hangs_is_named_at_the_deadline_and_can_be_cancelled(lab: Lab) -> None:
    node, before = lab.fullest(), lab.vms()
    vm = lab.movable(node)
    lab.annotate(vm, hang_migration="true", copy_seconds=None)
    # That VM alone: how long the others take is the machine's affair. The next attempt would come 20 s after the first has failed.
    alone = lab.selected(node, vm)
    try:
        error = lab.fails(node, on_unmigratable="skip", pod_selector=alone, deadline=18)
        assert isinstance(error, DrainIncomplete)
        assert error.details["code"] == "deadline"
        assert [f"{one['namespace']}/{one['name']}" for one in error.details["pending"] if one["kind"] == "VirtualMachineInstance"] == [vm]
        [pending] = [one for one in error.details["pending"] if one["kind"] == "VirtualMachineInstance"]
        assert pending["since"]
        # KubeVirt itself gives up what makes no progress; the next attempt waits for its time.
        assert pending["code"] == "no_progress"
        assert "1 migration failed" in pending["reason"]
        assert "It stays cordoned." in error.message
        assert lab.cordoned(node)
        assert claims.CLAIM not in lab.node(node)["metadata"]["annotations"]
        cancelled = lab.drain(node, state="evacuation_cancelled")
        assert cancelled.changed
        assert not lab.cordoned(node)
        assert not lab.unfinished()
        assert lab.vms() == before
        assert not lab.drain(node, state="evacuation_cancelled").changed
    finally:
        lab.annotate(vm, hang_migration=None, copy_seconds="20")
        lab.give_back(node)


def test_signs_of_life_say_how_much_is_copied_where_metrics_can_be_read(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copied, "_EVERY", 0.2)
    node = lab.fullest()
    there = lab.vms(node)
    for vm in there:
        lab.annotate(vm, copy_seconds="120")
    lab.drain(node, on_unmigratable="skip", metrics_path="/metrics")
    for vm in there:
        lab.annotate(vm, copy_seconds="20")
    assert any(re.search(r"moving \(.* for \d+ s, \d+ % copied", beat) for beat in lab.verbs.heartbeats)
    percent = [int(found.group(1)) for beat in lab.verbs.heartbeats if (found := re.search(r"waiting, (\d+) %", beat))]
    assert percent == sorted(percent)
    lab.give_back(node)
    # A path that can't be read is said once, and the drain goes on.
    node = lab.fullest()
    done = lab.drain(node, on_unmigratable="skip", metrics_path="/nowhere")
    assert len([one for one in done.timeline if "/nowhere can't be read" in one["event"]]) == 1
    lab.give_back(node)
    with pytest.raises(OptionError, match="metrics_path: metrics is no path"):
        lab.drain(node, metrics_path="metrics")


def test_what_fails_again_and_again_ends_the_drain_before_its_deadline(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "FIRST_BACK_OFF", 0.5)
    node = lab.fullest()
    vm = lab.movable(node)
    lab.annotate(vm, fail_migration="true")
    try:
        error = lab.fails(node, on_unmigratable="skip", migration_attempts=2)
        assert error.details["code"] == "stuck"
        assert "2 migrations failed" in error.message
        [pending] = [one for one in error.details["pending"] if one["kind"] == "VirtualMachineInstance"]
        assert pending["code"] == "source_failed"
    finally:
        lab.annotate(vm, fail_migration=None)
        lab.give_back(node)


def test_cancelled_in_the_middle_nothing_moves_any_more(lab: Lab) -> None:
    node = lab.fullest()
    for vm in lab.vms(node):
        lab.annotate(vm, copy_seconds="120")
    errors: list[VirtError] = []
    worker = threading.Thread(target=lambda: errors.append(lab.fails(node, on_unmigratable="skip")))
    worker.start()
    eventually(lambda: sum(1 for one in lab.unfinished() if (one.get("status") or {}).get("phase") == "Running") == 2)
    cancelled = lab.drain(node, state="evacuation_cancelled")
    assert cancelled.changed
    worker.join(30)
    assert not worker.is_alive()
    assert errors[0].details["code"] == "lost"
    there = lab.vms(node)
    assert not lab.cordoned(node)
    assert claims.CLAIM not in lab.node(node)["metadata"]["annotations"]
    time.sleep(3)
    assert not lab.unfinished()
    assert lab.vms(node) == there
    for vm in there:
        lab.annotate(vm, copy_seconds="20")


def test_marks_of_an_eviction_are_named_or_cleared(lab: Lab) -> None:
    node = lab.fullest()
    for vm in lab.vms(node):
        lab.annotate(vm, copy_seconds="300")
    lab.fails(node, move_by="eviction", on_unmigratable="skip", deadline=3)
    kept = lab.drain(node, state="evacuation_cancelled", check=True).result["nodes"][0]["not_undone"]
    assert {one["code"] for one in kept} == {"marked"}
    assert len(kept) == 2
    cleared = lab.drain(node, state="evacuation_cancelled", clear_marks=True)
    assert cleared.summary["not_undone"] == 0
    there = lab.vms(node)
    time.sleep(2)
    assert not lab.unfinished()
    assert lab.vms(node) == there
    assert not [one for one in lab.api.items(VMIS) if one["status"].get("evacuationNodeName")]
    for vm in there:
        lab.annotate(vm, copy_seconds="20")


def test_by_evictions_as_kubectl_does(lab: Lab) -> None:
    node = lab.fullest()
    before = lab.vms()
    done = lab.drain(node, move_by="eviction", on_unmigratable="skip")
    assert done.summary["vms_moved"] > 0
    assert lab.vms() == before
    assert {one["verb"] for one in done.actions} == {"patch", "evict"}
    lab.give_back(node)


def test_answers_that_fail_and_watches_that_end(lab: Lab) -> None:
    """A fifth of all answers is a fault, and every watch ends after a moment."""
    rules = [{"answer": answer, "rate": 0.05, "users": [user(lab)]} for answer in ("429", "500", "503", "reset")]
    before = lab.vms()
    node = lab.fullest()
    lab.api.expect(200, "PUT", FAULTS, {"rules": rules, "dropWatches": 120, "seed": 419})
    try:
        done = lab.drain(node, on_unmigratable="skip", deadline=180)
    finally:
        eventually(lambda: lab.api.request("DELETE", FAULTS).status == 200)
    assert done.summary["vms_moved"] > 0
    assert lab.vms() == before
    assert {one["attempt"] for one in done.result["nodes"][0]["moved"]} == {1}
    lab.give_back(node)


def test_stopped_and_started_elsewhere_when_asked(lab: Lab) -> None:
    """A VM that can't migrate, but may run anywhere."""
    node = next(one["status"]["nodeName"] for one in lab.api.items(VMIS) if one["metadata"]["name"] == "vm-2" and one["metadata"]["namespace"] == "legacy")
    before = lab.vms()
    try:
        done = lab.drain(node, on_unmigratable="stop_and_restart")
    except DrainIncomplete as error:
        pytest.fail(json.dumps(error.details["pending"], indent=1))
    restarted = {one["name"] for one in done.actions if one["verb"] == "restart"}
    assert "vm-2" in restarted
    eventually(lambda: set(lab.vms()) == set(before))
    assert lab.vms()["legacy/vm-2"] != before["legacy/vm-2"]
    lab.give_back(node)


def test_a_budget_that_never_opens(lab: Lab) -> None:
    """The VMs leave; the pod is asked to again and again until the time is up, and the error says which budget keeps it."""
    node, before = lab.fullest(), lab.vms()
    spec = {"nodeName": node, "containers": [{"name": "main", "image": "registry.example/app:1"}]}
    lab.api.expect(201, "POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "kept", "labels": {"app": "kept"}}, "spec": spec})
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    budget = {"metadata": {"name": "keep-it"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "kept"}}}}
    lab.api.expect(201, "POST", budgets, budget)
    eventually(lambda: (lab.api.get(f"{budgets}/keep-it").get("status") or {}).get("currentHealthy") == 1)
    error = lab.fails(node, on_unmigratable="skip", deadline=30)
    assert isinstance(error, DrainIncomplete)
    assert error.details["code"] == "deadline"
    (left,) = error.details["pending"]
    assert (left["name"], left["code"], left["node"]) == ("kept", "budget_closed", node)
    assert "The disruption budget keep-it needs 1 healthy pods and has 1 currently" in error.message
    assert left["since"]
    assert lab.vms() == before
    assert lab.api.get("/api/v1/namespaces/default/pods/kept")["status"]["phase"] == "Running"
    lab.api.expect(200, "DELETE", f"{budgets}/keep-it")
    again = lab.drain(node, on_unmigratable="skip")
    assert again.summary["pods_evicted"] == 1
    lab.give_back(node)


def test_a_target_that_is_lost_on_the_way(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The VM runs on where it was, and moves at the next attempt."""
    monkeypatch.setattr(moves, "FIRST_BACK_OFF", 0.5)
    node = lab.fullest()
    vm = lab.movable(node)
    namespace, name = vm.split("/")
    before = lab.vms(node)[vm]
    lab.annotate(vm, copy_seconds="400")
    done: list[t.Any] = []
    worker = threading.Thread(target=lambda: done.append(lab.drain(node, on_unmigratable="skip", deadline=100)))
    worker.start()

    def under_way() -> t.Any:
        found = lab.api.get(f"/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachineinstances/{name}")
        state = found["status"].get("migrationState") or {}
        return state if state.get("startTimestamp") and not state.get("completed") else None

    eventually(under_way)
    lab.api.expect(200, "PUT", FAULTS, {"lostNodes": [under_way()["targetNode"]]})
    try:
        eventually(lambda: not under_way())
        assert lab.vms(node)[vm] == before
        lab.annotate(vm, copy_seconds="20")
    finally:
        eventually(lambda: lab.api.request("DELETE", FAULTS).status == 200)
    worker.join(100)
    assert not worker.is_alive()
    (moved,) = [one for one in done[0].result["nodes"][0]["moved"] if (one["namespace"], one["name"]) == (namespace, name)]
    assert moved["attempt"] > 1
    assert moved["to"] != node
    assert lab.vms()[vm] == before
    lab.give_back(node)
