# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single VMs are moved, followed, refused and kept from moving."""

from __future__ import annotations

import threading
import time
import typing as t

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.okd.virt.plugins.module_utils._cluster.connection import connect
from ansible_collections.okd.virt.plugins.module_utils._errors import (
    DeadlineExceeded,
    OptionError,
    PreconditionFailed,
    VirtError,
)
from ansible_collections.okd.virt.plugins.module_utils._migrations.ours import RUN_LABEL
from ansible_collections.okd.virt.plugins.module_utils._options import auth_spec
from ansible_collections.okd.virt.plugins.module_utils._plan import SilentListener
from ansible_collections.okd.virt.plugins.module_utils._verb import Context
from ansible_collections.okd.virt.plugins.module_utils.migration.cancelling import NotCancelled
from ansible_collections.okd.virt.plugins.module_utils.migration.moving import MigrationFailed
from ansible_collections.okd.virt.plugins.module_utils.migration.verb import VERB

from ..conftest import EngineFactory
from ..support.api import MERGE_PATCH, Api
from .moving_lab import SHOP, MovingLab, eventually
from .verbs import Verbs

MOVABLE = [f"vm-{number}" for number in range(2, 8)]
POLICIES = "/apis/migrations.kubevirt.io/v1alpha1/migrationpolicies"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/virtualmachineinstancemigrations.kubevirt.io"


@pytest.fixture(scope="module", params=["4.18", "4.19"])
def lab(request: pytest.FixtureRequest, fresh_engine: EngineFactory) -> MovingLab:
    running = fresh_engine(speed="60", release=request.param)
    return MovingLab(Api(running.kubeconfig), Verbs(running.kubeconfig))


@pytest.fixture(autouse=True)
def calm(lab: MovingLab) -> t.Iterator[None]:
    """Every copy takes 20 s, a third of a second here; nothing moves when the test has ended."""
    for name in MOVABLE:
        lab.behaves(name, copy_seconds="20", fail_migration=None, hang_migration=None)
    yield
    lab.end(*MOVABLE, "vm-1")


def move(lab: MovingLab, *names: str, **options: t.Any) -> t.Any:
    return lab.verbs("vm_migration", namespace="shop", names=list(names), **{"deadline": 60, **options})


def refused(lab: MovingLab, *names: str, **options: t.Any) -> VirtError:
    with pytest.raises(VirtError) as caught:
        move(lab, *names, **options)
    return caught.value


def test_a_vm_moves_and_says_so(lab: MovingLab) -> None:
    before = lab.vmi("vm-2")
    planned = move(lab, "vm-2", check=True)
    assert planned.changed
    assert [(one["verb"], one["kind"], one["namespace"], one["name"]) for one in planned.actions] == [
        ("create", "VirtualMachineInstanceMigration", "shop", "vm-2"),
    ]
    assert not lab.unfinished("vm-2")
    done = move(lab, "vm-2")
    after = lab.vmi("vm-2")
    moved = done.result["vms"][0]
    assert done.changed
    assert (moved["state"], moved["from"], moved["to"]) == ("moved", before["status"]["nodeName"], after["status"]["nodeName"])
    assert moved["from"] != moved["to"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert moved["seconds"] > 0
    said = [one["event"] for one in done.timeline]
    assert said[0] == f"VM shop/vm-2: migrates away from {moved['from']}"
    assert f"VM shop/vm-2: Running, to {moved['to']}" in said
    assert said[-1].startswith(f"VM shop/vm-2: has moved to {moved['to']} in ")


@pytest.mark.parametrize("by", ["from_nodes", "run"])
def test_check_run_check_run(lab: MovingLab, by: str) -> None:
    options = {"from_nodes": [lab.node("vm-3")]} if by == "from_nodes" else {"run": f"CHG-{time.monotonic_ns()}"}
    assert lab.verbs.four_times("vm_migration", namespace="shop", names=["vm-3"], **options) == [True, True, False, False]


def test_without_a_condition_it_moves_each_time(lab: MovingLab) -> None:
    nodes = [lab.node("vm-3")]
    for _turn in range(2):
        assert move(lab, "vm-3").changed
        nodes.append(lab.node("vm-3"))
    assert nodes[0] != nodes[1] != nodes[2]


def test_what_moves_already_is_followed_and_not_doubled(lab: MovingLab) -> None:
    lab.behaves("vm-4", copy_seconds="120")
    lab.ask("vm-4", "theirs")
    lab.runs("vm-4")
    assert not move(lab, "vm-4", check=True).changed
    done = move(lab, "vm-4")
    assert not done.changed
    assert not done.actions
    assert (done.result["vms"][0]["state"], done.result["vms"][0]["migration"]) == ("moved", "theirs")
    assert [one["metadata"]["name"] for one in lab.migrations("vm-4") if one["metadata"]["name"].startswith("okd-virt")] == []


def test_somebody_else_comes_first(lab: MovingLab) -> None:
    """Between plan and run another migration of the VM is made: KubeVirt refuses ours, and theirs is followed."""
    spec = auth_spec().merge(VERB.spec())
    given = {**lab.verbs.connection, "namespace": "shop", "names": ["vm-5"], "deadline": 60}
    options = ArgumentSpecValidator(spec.argument_spec).validate(given).validated_parameters
    name = f"first-{time.monotonic_ns()}"
    with connect(options, environment={}) as cluster:
        context = Context(cluster, options, SilentListener(time.monotonic), time.monotonic())
        observed = VERB.observe(context)
        planned = VERB.plan(observed, options)
        lab.ask("vm-5", name)
        done = VERB.apply(context, observed, planned)
    assert not done.changed
    assert (done.result["vms"][0]["migration"], done.result["vms"][0]["state"]) == (name, "moved")


def test_several_take_exactly_the_slots_that_there_are(lab: MovingLab) -> None:
    waiting: list[int] = []
    running: list[int] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            left = lab.unfinished()
            running.append(len(left))
            waiting.append(sum(1 for one in left if (one.get("status") or {}).get("phase", "") == "Pending"))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        done = move(lab, *MOVABLE)
    finally:
        stop.set()
        watcher.join()
    assert done.summary["moved"] == len(MOVABLE)
    assert 2 <= max(running) <= 5
    by_node: dict[str, int] = {}
    for one in done.result["vms"]:
        by_node[one["from"]] = by_node.get(one["from"], 0) + 1
    assert max(running) <= sum(min(2, number) for number in by_node.values())


def test_by_labels_and_without_waiting(lab: MovingLab) -> None:
    before = lab.node("vm-5")
    done = lab.verbs("vm_migration", namespace="shop", label_selector="kubevirt.io/vm=vm-5", wait=False)
    assert done.summary["started"] == 1
    assert done.result["vms"][0]["state"] == "migrating"
    eventually(lambda: lab.node("vm-5") != before)
    with pytest.raises(OptionError, match="label_selector: no VirtualMachineInstance in namespace shop"):
        lab.verbs("vm_migration", namespace="shop", label_selector="nobody=has")


def test_what_cannot_migrate_is_refused_with_kubevirts_reason_and_a_remedy(lab: MovingLab) -> None:
    with pytest.raises(PreconditionFailed) as caught:
        lab.verbs("vm_migration", namespace="legacy", names=["vm-3", "vm-1"])
    error = caught.value
    assert error.details["code"] == "not_migratable"
    assert "DisksNotLiveMigratable" in error.message
    assert "ReadWriteMany" in error.message
    assert error.message.endswith("Nothing was changed.")
    assert not lab.api.items(SHOP.replace("shop", "legacy") + "/virtualmachineinstancemigrations")
    planned = lab.verbs("vm_migration", namespace="legacy", names=["vm-3", "vm-1"], on_unmigratable="skip", check=True)
    assert {one["name"]: one["code"] for one in planned.result["vms"]} == {"vm-3": "migrates", "vm-1": "not_migratable_skipped"}


def test_what_is_not_there_or_does_not_run_is_refused(lab: MovingLab) -> None:
    assert refused(lab, "nobody").details["code"] == "no_such_vm"
    assert "deadline" in refused(lab, "vm-2", deadline=0).message
    assert "run: 'a b'" in refused(lab, "vm-2", run="a b").message
    assert refused(lab, "nobody", state="cancelled").details["code"] == "no_such_vm"


def test_a_stopped_vm_is_told_from_one_that_is_not_there(lab: MovingLab) -> None:
    path = "/apis/kubevirt.io/v1/namespaces/ci/virtualmachines/vm-3"
    patch = {"spec": {"runStrategy": "Halted", "running": None}}
    lab.api.expect(200, "PATCH", path, patch, content_type=MERGE_PATCH)
    eventually(lambda: lab.api.request("GET", path.replace("machines", "machineinstances")).status == 404)
    with pytest.raises(PreconditionFailed) as caught:
        lab.verbs("vm_migration", namespace="ci", names=["vm-3"])
    assert caught.value.details["code"] == "not_running"
    lab.api.expect(200, "PATCH", path, {"spec": {"runStrategy": "Always"}}, content_type=MERGE_PATCH)


@pytest.mark.parametrize(("behaviour", "code"), [({"fail_migration": "1"}, "source_failed"), ({"fail_migration": "1@PreparingTarget"}, "target_down")])
def test_a_failure_has_a_code_and_kubevirts_words(lab: MovingLab, behaviour: dict[str, str], code: str) -> None:
    # How many have failed is counted from the beginning of each VM.
    vm = {"source_failed": "vm-6", "target_down": "vm-7"}[code]
    before = lab.vmi(vm)
    lab.behaves(vm, **behaviour)
    with pytest.raises(MigrationFailed) as caught:
        move(lab, vm)
    error = caught.value
    assert error.details["code"] == code
    entry = error.details["vms"][0]
    assert (entry["state"], entry["code"]) == ("failed", code)
    assert error.details["changed"]
    after = lab.vmi(vm)
    assert (after["metadata"]["uid"], after["status"]["nodeName"], after["status"]["phase"]) == (
        before["metadata"]["uid"], before["status"]["nodeName"], "Running",
    )
    lab.behaves(vm, fail_migration=None)
    assert move(lab, vm).result["vms"][0]["state"] == "moved"


def test_a_deadline_says_what_is_pending_and_the_next_run_goes_on(lab: MovingLab) -> None:
    lab.behaves("vm-2", copy_seconds="180")
    with pytest.raises(DeadlineExceeded) as caught:
        move(lab, "vm-2", deadline=1)
    error = caught.value
    assert error.details["code"] == "deadline"
    assert len(error.pending) == 1
    assert error.pending[0].startswith("VM shop/vm-2: ")
    assert error.details["changed"]
    assert error.details["vms"][0]["state"] == "migrating"
    name = error.details["vms"][0]["migration"]
    done = move(lab, "vm-2")
    assert not done.changed
    assert (done.result["vms"][0]["migration"], done.result["vms"][0]["state"]) == (name, "moved")


def test_cancelled_is_stopped_and_stays_so(lab: MovingLab) -> None:
    lab.behaves("vm-2", copy_seconds="6000")
    before = lab.node("vm-2")
    move(lab, "vm-2", wait=False)
    lab.runs("vm-2")
    assert lab.verbs.four_times("vm_migration", namespace="shop", names=["vm-2", "vm-3"], state="cancelled") == [True, True, False, False]
    assert not lab.unfinished("vm-2")
    assert lab.node("vm-2") == before


def test_somebody_cancels_what_is_followed(lab: MovingLab) -> None:
    lab.behaves("vm-3", copy_seconds="6000")
    errors: list[VirtError] = []
    thread = threading.Thread(target=lambda: errors.append(refused(lab, "vm-3")))
    thread.start()
    found = lab.runs("vm-3")
    assert found["metadata"]["labels"][RUN_LABEL]
    lab.verbs("vm_migration", namespace="shop", names=["vm-3"], state="cancelled")
    thread.join(30)
    assert errors[0].details["code"] == "cancelled"


def test_one_in_post_copy_is_not_cancelled(lab: MovingLab) -> None:
    """The busy VM gives up on pre-copy after some seconds, and what is left takes its time."""
    spec = {
        "selectors": {"virtualMachineInstanceSelector": {"okd.virt/busy": "yes"}}, "allowPostCopy": True, "completionTimeoutPerGiB": 1,
    }
    node = f"/api/v1/nodes/{lab.node('vm-1')}"

    def set_link(value: str | None) -> None:
        lab.api.expect(200, "PATCH", node, {"metadata": {"annotations": {"engine.okd.virt/link-mib-s": value}}}, content_type=MERGE_PATCH)

    set_link("12")
    lab.api.expect(201, "POST", POLICIES, {
        "apiVersion": "migrations.kubevirt.io/v1alpha1", "kind": "MigrationPolicy", "metadata": {"name": "busy"}, "spec": spec,
    })
    path = f"{SHOP}/virtualmachineinstances/vm-1"
    lab.api.expect(200, "PATCH", path, {"metadata": {"labels": {"okd.virt/busy": "yes"}}}, content_type=MERGE_PATCH)
    move(lab, "vm-1", wait=False)
    eventually(lambda: (lab.vmi("vm-1")["status"].get("migrationState") or {}).get("mode") == "PostCopy")
    shown = lab.verbs("migration_info", namespace="shop", names=["vm-1"])
    assert (shown.result["migrations"][0]["mode"], shown.result["migrations"][0]["may_be_cancelled"]) == ("PostCopy", False)
    planned = move(lab, "vm-1", state="cancelled", check=True)
    assert not planned.changed
    with pytest.raises(NotCancelled) as caught:
        move(lab, "vm-1", state="cancelled")
    assert caught.value.details["code"] == "post_copy"
    assert not caught.value.details["changed"]
    assert caught.value.details["vms"][0]["state"] == "not_cancelled"
    assert "deletionTimestamp" not in lab.unfinished("vm-1")[0]["metadata"]
    lab.api.request("DELETE", f"{POLICIES}/busy")
    set_link(None)
    done = move(lab, "vm-1")
    assert not done.changed
    assert done.result["vms"][0]["state"] == "moved"


def test_a_marked_vm_is_told_to_come_again(lab: MovingLab) -> None:
    lab.behaves("vm-4", copy_seconds="6000")
    node = lab.node("vm-4")
    pod = next(one for one in lab.api.items("/api/v1/namespaces/shop/pods") if one["metadata"].get("annotations", {}).get("kubevirt.io/domain") == "vm-4"
               and one["status"]["phase"] == "Running")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod["metadata"]["name"], "namespace": "shop"}}
    lab.api.request("POST", f"/api/v1/namespaces/shop/pods/{pod['metadata']['name']}/eviction", body)
    lab.runs("vm-4")
    planned = move(lab, "vm-4", state="cancelled", check=True)
    assert any(f"marked for evacuation from {node}" in one for one in planned.warnings)
    # It comes again, as was said.
    lab.behaves("vm-4", copy_seconds="1")
    assert move(lab, "vm-4", state="cancelled").changed
    eventually(lambda: lab.node("vm-4") != node)


def test_a_target_can_be_chosen_only_where_the_server_knows_how(lab: MovingLab) -> None:
    wanted = {"kubernetes.io/hostname": lab.node("vm-5")}
    error = refused(lab, "vm-5", target_node_selector=wanted)
    assert error.details["code"] == "no_target_node_selector"
    assert "KubeVirt 1.6" in error.message
    assert not lab.unfinished("vm-5")


def test_a_later_kubevirt_is_told_where_to_go(lab: MovingLab) -> None:
    """The field as KubeVirt 1.6 has it, in the schema of this cluster's kind."""
    crd = lab.api.get(CRD)
    schemas = [one["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"] for one in crd["spec"]["versions"]]
    for properties in schemas:
        properties["addedNodeSelector"] = {"type": "object", "additionalProperties": {"type": "string"}}
    lab.api.expect(200, "PUT", CRD, crd)
    here = lab.node("vm-5")
    try:
        stays = {"kubernetes.io/hostname": here}
        assert not eventually(lambda: _accepted(lab, stays)).changed
        other = next(name for name in ("node01", "node03") if name != here)
        planned = move(lab, "vm-5", target_node_selector={"kubernetes.io/hostname": other}, check=True)
        assert planned.actions[0]["after"]["spec"]["addedNodeSelector"] == {"kubernetes.io/hostname": other}
        move(lab, "vm-5", target_node_selector={"kubernetes.io/hostname": other})
        newest = max(lab.migrations("vm-5"), key=lambda one: one["metadata"]["creationTimestamp"])
        assert newest["spec"]["addedNodeSelector"] == {"kubernetes.io/hostname": other}
    finally:
        crd = lab.api.get(CRD)
        for one in crd["spec"]["versions"]:
            one["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].pop("addedNodeSelector", None)
        lab.api.expect(200, "PUT", CRD, crd)


def _accepted(lab: MovingLab, selector: dict[str, str]) -> t.Any:
    """The schema takes a moment to be served."""
    try:
        return move(lab, "vm-5", target_node_selector=selector)
    except PreconditionFailed:
        return None


def test_answers_that_fail_and_watches_that_end(lab: MovingLab) -> None:
    """A fifth of all answers is a fault, and every watch ends after a moment."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    user = lab.api.expect(201, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)["status"]["userInfo"]["username"]
    rules = [{"answer": answer, "rate": 0.05, "users": [user]} for answer in ("429", "500", "503", "reset")]
    known = {one["metadata"]["uid"] for one in lab.migrations()}
    lab.api.expect(200, "PUT", "/engine.okd.virt/v1/faults", {"rules": rules, "dropWatches": 120, "seed": 418})
    try:
        done = move(lab, "vm-2", "vm-3", "vm-4")
    finally:
        eventually(lambda: lab.api.request("DELETE", "/engine.okd.virt/v1/faults").status == 200)
    assert (done.summary["moved"], done.summary["started"]) == (3, 3)
    assert len([one for one in lab.migrations() if one["metadata"]["uid"] not in known]) == 3


def test_who_may_only_see_his_namespace_is_told_that_slots_are_not_known(lab: MovingLab) -> None:
    rules = [
        {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines", "virtualmachineinstances"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachineinstancemigrations"], "verbs": ["get", "list", "watch", "create", "delete"]},
    ]
    role = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop"
    lab.api.request("POST", f"{role}/roles", {"metadata": {"name": "mover"}, "rules": rules})
    lab.api.request("POST", f"{role}/rolebindings", {
        "metadata": {"name": "mover"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "mover"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mia"}],
    })
    theirs = Verbs(lab.verbs.connection["kubeconfig"], impersonate_user="mia", impersonate_groups=["system:authenticated"])
    done = theirs("vm_migration", namespace="shop", names=["vm-6"], deadline=60)
    assert done.summary["moved"] == 1
    assert any("how many slots" in one for one in done.warnings)
    shown = theirs("migration_info", namespace="shop")
    assert shown.result["slots"] is None
    assert shown.result["migrations"]


def test_when_nothing_may_ever_start_it_says_so(lab: MovingLab) -> None:
    hyperconverged = next(iter(lab.api.items("/apis/hco.kubevirt.io/v1beta1/hyperconvergeds")))
    path = f"/apis/hco.kubevirt.io/v1beta1/namespaces/{hyperconverged['metadata']['namespace']}/hyperconvergeds/{hyperconverged['metadata']['name']}"

    def set_limit(number: int) -> None:
        lab.api.expect(200, "PATCH", path, {"spec": {"liveMigrationConfig": {"parallelOutboundMigrationsPerNode": number}}}, content_type=MERGE_PATCH)
        eventually(lambda: lab.verbs("migration_info").result["limits"]["parallel_outbound_migrations_per_node"] == number)

    set_limit(0)
    try:
        error = refused(lab, "vm-2")
        assert error.details["code"] == "no_slots"
        assert "parallelOutboundMigrationsPerNode is 0" in error.message
    finally:
        set_limit(2)
