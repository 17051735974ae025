# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods find nodes: what is written on the way, what a pod without a node hears, and when it is looked at again."""
from __future__ import annotations

import typing as t
from collections.abc import Callable

import pytest

from ..support.api import MERGE_PATCH, Api
from .waiting import eventually

Object = dict[str, t.Any]
WORKER = {"kubernetes.io/arch": "amd64"}


def pod(name: str, memory: str = "64Mi", **spec: t.Any) -> Object:
    container = {"name": "main", "image": "registry.example/app:1", "resources": {"requests": {"memory": memory}}}
    return {"metadata": {"name": name, "labels": {"app": name}}, "spec": {"containers": [container], **spec}}


def condition(found: Object, kind: str) -> Object:
    return next((entry for entry in found["status"].get("conditions") or () if entry["type"] == kind), {})


class Pods:
    """The pods of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api, self.namespace = api, namespace
        self.path = f"/api/v1/namespaces/{namespace}/pods"

    def create(self, body: Object) -> Object:
        return self.api.expect(201, "POST", self.path, body)

    def get(self, name: str) -> Object:
        return self.api.expect(200, "GET", f"{self.path}/{name}")

    def until(self, name: str, holds: Callable[[Object], t.Any]) -> Object:
        eventually(lambda: holds(self.get(name)))
        return self.get(name)

    def events(self, name: str, reason: str) -> list[Object]:
        query = f"fieldSelector=involvedObject.name={name},reason={reason}"
        return self.api.items(f"/api/v1/namespaces/{self.namespace}/events?{query}")


@pytest.fixture
def pods(admin: Api, namespace: str) -> Pods:
    return Pods(admin, namespace)


def test_a_pod_is_bound_told_of_and_comes_up(pods: Pods) -> None:
    pods.create(pod("web"))
    found = pods.until("web", lambda one: condition(one, "Ready").get("status") == "True")
    node = found["spec"]["nodeName"]
    assert condition(found, "PodScheduled")["status"] == "True"
    assert found["status"]["phase"] == "Running"
    event = eventually(lambda: pods.events("web", "Scheduled"))[0]
    assert event["message"] == f"Successfully assigned {pods.namespace}/web to {node}"
    assert (event["action"], event["reportingComponent"], event["source"]) == ("Binding", "default-scheduler", {})
    assert event["eventTime"]


def test_a_pod_without_a_node_is_told_why_and_gets_one_when_there_is_room(pods: Pods) -> None:
    pods.create(pod("huge", "900Gi"))
    found = pods.until("huge", lambda one: condition(one, "PodScheduled"))
    said = condition(found, "PodScheduled")
    assert (said["status"], said["reason"]) == ("False", "Unschedulable")
    assert said["message"] == (
        "0/9 nodes are available: 3 node(s) had untolerated taint {node-role.kubernetes.io/master: }, 6 Insufficient memory. "
        "preemption: 0/9 nodes are available: 9 Preemption is not helpful for scheduling."
    )
    event = eventually(lambda: pods.events("huge", "FailedScheduling"))[0]
    assert (event["type"], event["message"]) == ("Warning", said["message"])

    pods.create(pod("chosen", nodeSelector={"test.okd.virt/for": pods.namespace}))
    pods.until("chosen", lambda one: condition(one, "PodScheduled").get("status") == "False")
    nodes = pods.api.items("/api/v1/nodes?labelSelector=node-role.kubernetes.io/worker")
    path = f"/api/v1/nodes/{nodes[0]['metadata']['name']}"
    for value in (pods.namespace, None):
        labels = {"metadata": {"labels": {"test.okd.virt/for": value}}}
        pods.api.expect(200, "PATCH", path, labels, content_type=MERGE_PATCH)
        assert pods.until("chosen", lambda one: one["spec"].get("nodeName"))["spec"]["nodeName"] == nodes[0]["metadata"]["name"]


def test_cordoned_nodes_are_left_alone_until_they_are_back(start: Callable[..., Api]) -> None:
    api = start(cluster="empty")
    eventually(lambda: api.request("GET", "/api/v1/namespaces/default/serviceaccounts/default").status == 200)
    pods = Pods(api, "default")
    workers = [one["metadata"]["name"] for one in api.items("/api/v1/nodes?labelSelector=node-role.kubernetes.io/worker")]
    for name in workers:
        api.expect(200, "PATCH", f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}}, content_type=MERGE_PATCH)
    pods.create(pod("late"))
    found = pods.until("late", lambda one: condition(one, "PodScheduled"))
    assert "6 node(s) were unschedulable" in condition(found, "PodScheduled")["message"]
    api.expect(200, "PATCH", f"/api/v1/nodes/{workers[3]}", {"spec": {"unschedulable": None}}, content_type=MERGE_PATCH)
    assert pods.until("late", lambda one: one["spec"].get("nodeName"))["spec"]["nodeName"] == workers[3]


def test_a_full_node_takes_the_next_pod_when_one_goes(pods: Pods) -> None:
    near = {"kubernetes.io/hostname": pods.api.items("/api/v1/nodes?labelSelector=node-role.kubernetes.io/worker")[1]["metadata"]["name"]}
    pods.create(pod("first", "40Gi", nodeSelector=near))
    pods.until("first", lambda one: one["spec"].get("nodeName"))
    pods.create(pod("second", "75Gi", nodeSelector=near))
    found = pods.until("second", lambda one: condition(one, "PodScheduled"))
    assert "1 Insufficient memory" in condition(found, "PodScheduled")["message"]
    assert "1 No preemption victims found for incoming pod" in condition(found, "PodScheduled")["message"]
    pods.api.expect(200, "DELETE", f"{pods.path}/first")
    pods.until("second", lambda one: one["spec"].get("nodeName") == near["kubernetes.io/hostname"])


def test_a_binding_is_refused_for_another_pod_of_the_name_and_for_one_that_has_a_node(pods: Pods) -> None:
    made = pods.create(pod("bound", schedulerName="nobody"))
    binding: Object = {"metadata": {"name": "bound", "uid": "00000000-0000-0000-0000-000000000000"}, "target": {"kind": "Node", "name": "node01"}}
    answer = pods.api.request("POST", f"{pods.path}/bound/binding", binding)
    assert answer.status == 409
    assert "Precondition failed: UID in precondition" in answer.body["message"]
    binding["metadata"]["uid"] = made["metadata"]["uid"]
    assert pods.api.expect(201, "POST", f"{pods.path}/bound/binding", binding)["status"] == "Success"
    again = pods.api.request("POST", f"{pods.path}/bound/binding", binding)
    assert (again.status, again.body["message"]) == (
        409, 'Operation cannot be fulfilled on pods/binding "bound": pod bound is already assigned to node "node01"'
    )
