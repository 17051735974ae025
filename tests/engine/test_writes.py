# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes over HTTPS: optimistic locking, dry run, finalizers, propagation, subresources, what ends with a namespace."""
from __future__ import annotations

import asyncio
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver import writing
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.bootstrap import bootstrap
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import CONFIG_MAPS, NAMESPACES

from ..support.api import MERGE_PATCH, Api
from .waiting import config_map, eventually

JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


@pytest.fixture
def maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def test_a_write_that_changes_nothing_keeps_the_version(admin: Api, maps: str) -> None:
    made = admin.expect(201, "POST", maps, config_map("same"))
    again = admin.expect(200, "PATCH", f"{maps}/same", {"data": {"k": "v"}}, content_type=MERGE_PATCH)
    assert again == made
    assert admin.expect(200, "PUT", f"{maps}/same", made) == made


def test_a_stale_version_is_a_conflict(admin: Api, maps: str) -> None:
    stale = admin.expect(201, "POST", maps, config_map("locked"))
    admin.expect(200, "PATCH", f"{maps}/locked", {"data": {"k": "new"}}, content_type=MERGE_PATCH)
    refused = admin.expect(409, "PUT", f"{maps}/locked", {**stale, "data": {"k": "late"}})
    assert refused["message"] == (
        'Operation cannot be fulfilled on configmaps "locked": the object has been modified; please apply your changes to the latest '
        "version and try again"
    )
    assert admin.get(f"{maps}/locked")["data"] == {"k": "new"}
    wrong = {"preconditions": {"resourceVersion": stale["metadata"]["resourceVersion"]}}
    assert admin.expect(409, "DELETE", f"{maps}/locked", wrong)["details"] == {"name": "locked", "kind": "ConfigMap"}


def test_a_dry_run_answers_like_a_run_and_leaves_nothing(admin: Api, maps: str) -> None:
    before = admin.get(maps)["metadata"]["resourceVersion"]
    made = admin.expect(201, "POST", f"{maps}?dryRun=All", config_map("dry"))
    assert "resourceVersion" not in made["metadata"]
    assert made["metadata"]["uid"]
    admin.expect(404, "GET", f"{maps}/dry")
    admin.expect(201, "POST", maps, config_map("wet"))
    assert admin.expect(200, "PATCH", f"{maps}/wet?dryRun=All", {"data": {"k": "x"}}, content_type=MERGE_PATCH)["data"] == {"k": "x"}
    assert admin.expect(200, "DELETE", f"{maps}/wet?dryRun=All")["status"] == "Success"
    assert admin.get(f"{maps}/wet")["data"] == {"k": "v"}
    assert int(admin.get(f"{maps}/wet")["metadata"]["resourceVersion"]) > int(before)
    assert admin.expect(409, "POST", f"{maps}?dryRun=All", config_map("wet"))["reason"] == "AlreadyExists"


def test_generated_names(admin: Api, maps: str) -> None:
    names = {admin.expect(201, "POST", maps, {"metadata": {"generateName": "gen-"}})["metadata"]["name"] for dummy in range(5)}
    assert len(names) == 5
    assert all(name.startswith("gen-") and len(name) == 9 for name in names)
    refused = admin.expect(422, "POST", maps, {"metadata": {}})
    assert refused["message"] == 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'


def test_an_object_waits_for_its_finalizers(admin: Api, maps: str) -> None:
    admin.expect(201, "POST", maps, config_map("held", finalizers=["example.com/f"]))
    going = admin.expect(200, "DELETE", f"{maps}/held")
    assert going["metadata"]["deletionTimestamp"]
    assert going["metadata"]["deletionGracePeriodSeconds"] == 0
    assert admin.expect(200, "DELETE", f"{maps}/held")["metadata"]["resourceVersion"] == going["metadata"]["resourceVersion"]
    more = [{"op": "add", "path": "/metadata/finalizers/-", "value": "example.com/g"}]
    refused = admin.expect(422, "PATCH", f"{maps}/held", more, content_type=JSON_PATCH)
    assert "no new finalizers can be added if the object is being deleted, found new finalizers []string{\"example.com/g\"}" in refused["message"]
    admin.expect(200, "PATCH", f"{maps}/held", {"metadata": {"finalizers": None}}, content_type=MERGE_PATCH)
    admin.expect(404, "GET", f"{maps}/held")


def owned(admin: Api, maps: str, name: str, owner: dict[str, t.Any], **more: t.Any) -> None:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], **more}
    admin.expect(201, "POST", maps, config_map(name, ownerReferences=[reference]))


def test_dependents_go_with_their_owner_in_the_background(admin: Api, maps: str) -> None:
    owner = admin.expect(201, "POST", maps, config_map("owner"))
    owned(admin, maps, "child", owner)
    owned(admin, maps, "grandchild", admin.get(f"{maps}/child"))
    admin.expect(200, "DELETE", f"{maps}/owner")
    eventually(lambda: admin.request("GET", f"{maps}/grandchild").status == 404)
    admin.expect(404, "GET", f"{maps}/child")
    owned(admin, maps, "late", owner)
    eventually(lambda: admin.request("GET", f"{maps}/late").status == 404)


def test_an_owner_deleted_in_the_foreground_goes_last(admin: Api, maps: str) -> None:
    owner = admin.expect(201, "POST", maps, config_map("owner"))
    owned(admin, maps, "child", owner, blockOwnerDeletion=True)
    admin.expect(200, "PATCH", f"{maps}/child", {"metadata": {"finalizers": ["example.com/f"]}}, content_type=MERGE_PATCH)
    admin.expect(202, "DELETE", f"{maps}/owner", {"propagationPolicy": "Foreground"})
    eventually(lambda: admin.get(f"{maps}/child")["metadata"].get("deletionTimestamp"))
    assert admin.get(f"{maps}/owner")["metadata"]["finalizers"] == ["foregroundDeletion"]
    admin.expect(200, "PATCH", f"{maps}/child", {"metadata": {"finalizers": None}}, content_type=MERGE_PATCH)
    eventually(lambda: admin.request("GET", f"{maps}/owner").status == 404)


def test_orphans_stay_without_their_owner(admin: Api, maps: str) -> None:
    owner = admin.expect(201, "POST", maps, config_map("owner"))
    owned(admin, maps, "child", owner)
    admin.expect(200, "DELETE", f"{maps}/owner?propagationPolicy=Orphan")
    eventually(lambda: admin.request("GET", f"{maps}/owner").status == 404)
    assert "ownerReferences" not in admin.get(f"{maps}/child")["metadata"]


def test_a_collection_is_deleted_as_selected(admin: Api, maps: str) -> None:
    for number in range(3):
        admin.expect(201, "POST", maps, config_map(f"c{number}", labels={"c": "1"}))
    admin.expect(201, "POST", maps, config_map("kept"))
    gone = admin.expect(200, "DELETE", f"{maps}?labelSelector=c%3D1")
    assert [item["metadata"]["name"] for item in gone["items"]] == ["c0", "c1", "c2"]
    assert [item["metadata"]["name"] for item in admin.items(maps)] == ["kept", "kube-root-ca.crt"]


def test_a_namespace_ends_when_its_content_has(admin: Api, namespace: str, maps: str) -> None:
    admin.expect(201, "POST", maps, config_map("hold", finalizers=["example.com/hold"]))
    admin.expect(201, "POST", maps, config_map("free"))
    assert admin.expect(200, "DELETE", f"/api/v1/namespaces/{namespace}")["status"]["phase"] == "Terminating"
    refused = admin.expect(403, "POST", maps, config_map("x"))
    assert refused["details"]["causes"] == [
        {"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated", "field": "metadata.namespace"}
    ]

    def conditions() -> dict[str, t.Any]:
        status = admin.get(f"/api/v1/namespaces/{namespace}")["status"]
        return {one["type"]: one for one in status.get("conditions") or []}

    found = eventually(conditions)
    assert found["NamespaceFinalizersRemaining"]["message"] == (
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    )
    assert found["NamespaceContentRemaining"]["message"] == "Some resources are remaining: configmaps. has 1 resource instances"
    admin.expect(200, "PATCH", f"{maps}/hold", {"metadata": {"finalizers": None}}, content_type=MERGE_PATCH)
    eventually(lambda: admin.request("GET", f"/api/v1/namespaces/{namespace}").status == 404)
    for resource in ("configmaps", "serviceaccounts"):
        assert admin.items(f"/api/v1/namespaces/{namespace}/{resource}") == []


def test_the_namespaces_of_the_system_stay(admin: Api) -> None:
    refused = admin.expect(403, "DELETE", "/api/v1/namespaces/default")
    assert refused["message"] == 'namespaces "default" is forbidden: this namespace may not be deleted'


@pytest.fixture
def controller(admin: Api, namespace: str) -> str:
    """A ReplicationController: a kind with status and scale that nobody but the test writes."""
    labels = {"app": "d"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "registry.invalid/pause:3.10"}]}}
    body = {"metadata": {"name": "d"}, "spec": {"replicas": 2, "selector": labels, "template": template}}
    path = f"/api/v1/namespaces/{namespace}/replicationcontrollers"
    admin.expect(201, "POST", path, body)
    return f"{path}/d"


def test_spec_and_status_are_written_apart(admin: Api, controller: str) -> None:
    both = {"spec": {"replicas": 5}, "status": {"replicas": 4}}
    through_status = admin.expect(200, "PATCH", f"{controller}/status", both, content_type=MERGE_PATCH)
    assert (through_status["spec"]["replicas"], through_status["status"]["replicas"]) == (2, 4)
    assert through_status["metadata"]["generation"] == 1
    through_main = admin.expect(200, "PATCH", controller, {"spec": {"replicas": 3}, "status": {"replicas": 9}}, content_type=MERGE_PATCH)
    assert (through_main["spec"]["replicas"], through_main["status"]["replicas"]) == (3, 4)
    assert through_main["metadata"]["generation"] == 2
    owners = {(entry["manager"], entry.get("subresource", "")) for entry in through_main["metadata"]["managedFields"]}
    assert {subresource for _manager, subresource in owners} == {"", "status"}
    labelled = admin.expect(200, "PATCH", controller, {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE_PATCH)
    assert labelled["metadata"]["generation"] == 2


def test_scale_is_the_replicas_and_nothing_else(admin: Api, controller: str) -> None:
    scale = admin.get(f"{controller}/scale")
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 2}, "app=d")
    assert admin.expect(200, "PATCH", f"{controller}/scale", {"spec": {"replicas": 7}}, content_type=MERGE_PATCH)["spec"] == {"replicas": 7}
    scale["spec"]["replicas"] = 1
    assert admin.expect(409, "PUT", f"{controller}/scale", scale)["reason"] == "Conflict"
    assert admin.get(controller)["spec"]["replicas"] == 7


def test_a_lease_is_made_by_an_update(admin: Api, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/lock"
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "lock"}, "spec": {"holderIdentity": "a"}}
    made = admin.expect(201, "PUT", path, lease)
    admin.expect(200, "PUT", path, {**made, "spec": {"holderIdentity": "b"}})
    admin.expect(409, "PUT", path, {**made, "spec": {"holderIdentity": "c"}})


def test_a_pod_gets_time_to_end_once_it_runs_somewhere(admin: Api, namespace: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}], "schedulerName": "none"}}
    made = admin.expect(201, "POST", pods, pod)
    assert (made["status"]["phase"], made["spec"]["serviceAccountName"]) == ("Pending", "default")
    admin.expect(201, "POST", f"{pods}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "node-x"}})
    going = admin.expect(200, "DELETE", f"{pods}/p", {"gracePeriodSeconds": 3600})
    assert going["metadata"]["deletionGracePeriodSeconds"] == 3600
    assert going["spec"]["nodeName"] == "node-x"
    assert admin.expect(200, "DELETE", f"{pods}/p", {"gracePeriodSeconds": 0})["kind"] == "Pod"
    admin.expect(404, "GET", f"{pods}/p")


def test_a_namespace_keeps_what_its_writer_left_out(admin: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}"
    for subresource in ("", "/status"):
        admin.expect(200, "PUT", path + subresource, {"metadata": {"name": namespace}})
        kept = admin.get(path)
        assert kept["metadata"]["labels"] == {"kubernetes.io/metadata.name": namespace}
        assert (kept["spec"], kept["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})


def test_a_generated_name_that_is_taken_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["aaaaa", "aaaaa", "bbbbb"])
    monkeypatch.setattr(writing, "random_suffix", lambda: next(drawn))

    async def make() -> list[str]:
        engine = Engine(Options(cluster="empty", speed="max"))
        await bootstrap(engine.api)
        await engine.admin.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}})
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-", "namespace": "x"}}
        return [(await engine.admin.create(CONFIG_MAPS, body))["metadata"]["name"] for dummy in range(2)]

    assert asyncio.run(make()) == ["x-aaaaa", "x-bbbbb"]
