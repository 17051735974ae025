# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads make pods, renew them within their bounds and bring them back elsewhere."""
from __future__ import annotations

import threading
import typing as t
from collections.abc import Callable

import pytest

from ..support.api import MERGE_PATCH, Api
from .test_scheduling import Pods
from .waiting import eventually

Object = dict[str, t.Any]


def template(app: str, image: str = "registry.example/app:1", **spec: t.Any) -> Object:
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "main", "image": image}], **spec}}


class Workloads:
    """The workloads of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api, self.namespace, self.pods = api, namespace, Pods(api, namespace)

    def path(self, plural: str, name: str = "") -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def create(self, plural: str, name: str, spec: Object, **pod: t.Any) -> None:
        self.api.expect(201, "POST", self.path(plural), {
            "metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": name}}, "template": template(name, **pod), **spec}})

    def patch(self, plural: str, name: str, spec: Object) -> None:
        self.api.expect(200, "PATCH", self.path(plural, name), {"spec": spec}, content_type=MERGE_PATCH)

    def image(self, plural: str, name: str, image: str) -> None:
        self.patch(plural, name, {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}})

    def status(self, plural: str, name: str) -> Object:
        found = self.api.get(self.path(plural, name))
        status: Object = found.get("status") or {}
        return status if status.get("observedGeneration") == found["metadata"]["generation"] else {}

    def until(self, plural: str, name: str, **wanted: t.Any) -> Object:
        eventually(lambda: wanted.items() <= self.status(plural, name).items())
        return self.status(plural, name)

    def of(self, app: str) -> list[Object]:
        """The pods that are not going."""
        found = self.api.items(f"{self.pods.path}?labelSelector=app={app}")
        return [one for one in found if "deletionTimestamp" not in one["metadata"]]

    def messages(self, name: str, reason: str) -> list[str]:
        query = f"fieldSelector=involvedObject.name={name},reason={reason}"
        found = self.api.items(f"/api/v1/namespaces/{self.namespace}/events?{query}")
        return [one["message"] for one in sorted(found, key=lambda one: int(one["metadata"]["resourceVersion"]))]


@pytest.fixture
def workloads(admin: Api, namespace: str) -> Workloads:
    return Workloads(admin, namespace)


def test_a_deployment_comes_up_and_renews_itself_within_its_bounds(workloads: Workloads) -> None:
    workloads.create("deployments", "web", {"replicas": 4})
    status = workloads.until("deployments", "web", readyReplicas=4, availableReplicas=4, updatedReplicas=4, replicas=4)
    assert [(one["type"], one["status"], one["reason"]) for one in status["conditions"]] == [
        ("Available", "True", "MinimumReplicasAvailable"), ("Progressing", "True", "NewReplicaSetAvailable")]
    first = workloads.api.items(workloads.path("replicasets"))[0]
    digest = first["metadata"]["labels"]["pod-template-hash"]
    assert first["metadata"]["name"] == f"web-{digest}"
    pod = workloads.of("web")[0]
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"
    assert {"app": "web", "pod-template-hash": digest}.items() <= pod["metadata"]["labels"].items()
    # A bound pod says in which zone it is.
    assert set(pod["metadata"]["labels"]) == {"app", "pod-template-hash", "topology.kubernetes.io/zone"}
    assert pod["metadata"]["name"].startswith(f"web-{digest}-")
    assert len({one["spec"]["nodeName"] for one in workloads.of("web")}) == 4
    assert workloads.messages("web", "ScalingReplicaSet") == [f"Scaled up replica set web-{digest} from 0 to 4"]

    seen: list[tuple[int, int]] = []
    version = workloads.api.get(workloads.path("deployments"))["metadata"]["resourceVersion"]

    def follow() -> None:
        for event in workloads.api.stream(workloads.path("deployments") + f"?watch=1&resourceVersion={version}&timeoutSeconds=30"):
            status = event["object"]["status"]
            seen.append((status.get("replicas", 0), status.get("availableReplicas", 0)))
            progress = {one["type"]: one["reason"] for one in status["conditions"]}
            if status.get("updatedReplicas") == status.get("replicas") == 4 and progress["Progressing"] == "NewReplicaSetAvailable" and len(seen) > 3:
                return

    watch = threading.Thread(target=follow)
    watch.start()
    workloads.image("deployments", "web", "registry.example/app:2")
    watch.join(30)
    assert not watch.is_alive()
    assert max(total for total, dummy in seen) <= 5
    assert min(available for dummy, available in seen) >= 3
    sets = {one["metadata"]["name"]: one for one in workloads.api.items(workloads.path("replicasets"))}
    assert sorted(one["spec"]["replicas"] for one in sets.values()) == [0, 4]
    assert {one["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for one in sets.values()} == {"1", "2"}
    eventually(lambda: {one["spec"]["containers"][0]["image"] for one in workloads.of("web")} == {"registry.example/app:2"})

    # Back to the first template: its ReplicaSet is used again, under a new number.
    workloads.image("deployments", "web", "registry.example/app:1")
    workloads.until("deployments", "web", updatedReplicas=4, availableReplicas=4, replicas=4)
    again = workloads.api.get(workloads.path("replicasets", f"web-{digest}"))
    assert again["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    assert len(workloads.api.items(workloads.path("replicasets"))) == 2


def test_pods_come_back_when_they_are_deleted_and_go_when_there_are_too_many(workloads: Workloads) -> None:
    workloads.create("deployments", "web", {"replicas": 2})
    workloads.until("deployments", "web", availableReplicas=2)
    lost = workloads.of("web")[0]["metadata"]["name"]
    workloads.api.expect(200, "DELETE", f"{workloads.pods.path}/{lost}")
    eventually(lambda: len(workloads.of("web")) == 2 and lost not in {one["metadata"]["name"] for one in workloads.of("web")})
    workloads.patch("deployments", "web", {"replicas": 5})
    workloads.until("deployments", "web", availableReplicas=5)
    workloads.patch("deployments", "web", {"replicas": 1})
    workloads.until("deployments", "web", replicas=1, availableReplicas=1)
    assert len(workloads.of("web")) == 1
    workloads.api.expect(200, "DELETE", workloads.path("deployments", "web"))
    eventually(lambda: not workloads.api.items(workloads.path("replicasets")) and not workloads.of("web"))


def test_recreate_lets_the_old_pods_end_first(workloads: Workloads) -> None:
    workloads.create("deployments", "one", {"replicas": 2, "strategy": {"type": "Recreate"}})
    workloads.until("deployments", "one", availableReplicas=2)
    workloads.image("deployments", "one", "registry.example/app:2")
    workloads.until("deployments", "one", updatedReplicas=2, availableReplicas=2, replicas=2)
    assert [text.split(" from ")[1] for text in workloads.messages("one", "ScalingReplicaSet")] == ["0 to 2", "2 to 0", "0 to 2"]
    assert {one["spec"]["containers"][0]["image"] for one in workloads.of("one")} == {"registry.example/app:2"}


def test_pods_that_cannot_be_made_are_told_of(workloads: Workloads) -> None:
    workloads.create("deployments", "lost", {"replicas": 1}, serviceAccountName="nobody")
    name = eventually(lambda: workloads.api.items(workloads.path("replicasets")))[0]["metadata"]["name"]
    said = eventually(lambda: workloads.messages(name, "FailedCreate"))[0]
    assert 'serviceaccount "nobody" not found' in said
    status = workloads.until("deployments", "lost", unavailableReplicas=1)
    assert status["conditions"][0]["reason"] == "MinimumReplicasUnavailable"
    workloads.api.expect(201, "POST", f"/api/v1/namespaces/{workloads.namespace}/serviceaccounts", {"metadata": {"name": "nobody"}})
    workloads.until("deployments", "lost", availableReplicas=1)


def test_a_daemon_on_every_worker_renewed_one_after_the_other(workloads: Workloads) -> None:
    workers = {one["metadata"]["name"] for one in workloads.api.items("/api/v1/nodes?labelSelector=node-role.kubernetes.io/worker")}
    workloads.create("daemonsets", "agent", {})
    status = workloads.until("daemonsets", "agent", numberReady=6, numberAvailable=6, desiredNumberScheduled=6, currentNumberScheduled=6)
    assert (status["numberMisscheduled"], status["updatedNumberScheduled"]) == (0, 6)
    assert {one["spec"]["nodeName"] for one in workloads.of("agent")} == workers
    digest = {one["metadata"]["labels"]["controller-revision-hash"] for one in workloads.of("agent")}
    assert {one["metadata"]["labels"]["controller-revision-hash"] for one in workloads.api.items(workloads.path("controllerrevisions"))} == digest
    workloads.image("daemonsets", "agent", "registry.example/app:2")
    missing = []

    def renewed() -> bool:
        status = workloads.status("daemonsets", "agent")
        missing.append(status.get("numberUnavailable", 0))
        return bool(status.get("updatedNumberScheduled") == 6 and status.get("numberAvailable") == 6)

    eventually(renewed)
    assert max(missing) <= 1
    assert {one["spec"]["containers"][0]["image"] for one in workloads.of("agent")} == {"registry.example/app:2"}
    assert [one["revision"] for one in workloads.api.items(workloads.path("controllerrevisions"))].count(2) == 1


def test_daemons_follow_the_nodes(start: Callable[..., Api]) -> None:
    api = start(cluster="empty")
    eventually(lambda: api.request("GET", "/api/v1/namespaces/default/serviceaccounts/default").status == 200)
    workloads = Workloads(api, "default")
    workloads.create("daemonsets", "agent", {}, nodeSelector={"test.okd.virt/agent": "yes"})
    workloads.until("daemonsets", "agent", desiredNumberScheduled=0)
    for value, count in (("yes", 1), (None, 0)):
        labels = {"metadata": {"labels": {"test.okd.virt/agent": value}}}
        api.expect(200, "PATCH", "/api/v1/nodes/node03", labels, content_type=MERGE_PATCH)
        workloads.until("daemonsets", "agent", desiredNumberScheduled=count, numberReady=count)
    eventually(lambda: not workloads.of("agent"))
    # A node that goes takes its pods with it.
    api.expect(200, "PATCH", "/api/v1/nodes/node03", {"metadata": {"labels": {"test.okd.virt/agent": "yes"}}}, content_type=MERGE_PATCH)
    workloads.until("daemonsets", "agent", numberReady=1)
    api.expect(200, "DELETE", "/api/v1/nodes/node03")
    eventually(lambda: not api.items("/api/v1/pods?fieldSelector=spec.nodeName=node03"))


def test_stateful_pods_come_in_order_with_their_claims(workloads: Workloads) -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    workloads.create("statefulsets", "db", {"replicas": 3, "serviceName": "db", "volumeClaimTemplates": [claim]})
    workloads.until("statefulsets", "db", readyReplicas=3, availableReplicas=3, currentReplicas=3)
    pods = {one["metadata"]["name"]: one for one in workloads.of("db")}
    assert sorted(pods) == ["db-0", "db-1", "db-2"]
    versions = [int(pods[name]["metadata"]["creationTimestamp"][-3:-1]) for name in sorted(pods)]
    assert len(set(versions)) == 3
    claims = workloads.api.items(f"/api/v1/namespaces/{workloads.namespace}/persistentvolumeclaims")
    assert sorted(one["metadata"]["name"] for one in claims) == ["data-db-0", "data-db-1", "data-db-2"]
    uid = pods["db-1"]["metadata"]["uid"]
    workloads.api.expect(200, "DELETE", f"{workloads.pods.path}/db-1")
    eventually(lambda: [one for one in workloads.of("db") if one["metadata"]["name"] == "db-1" and one["metadata"]["uid"] != uid])
    workloads.until("statefulsets", "db", readyReplicas=3)
    workloads.patch("statefulsets", "db", {"replicas": 1})
    eventually(lambda: [one["metadata"]["name"] for one in workloads.of("db")] == ["db-0"])


def test_a_budget_by_percentage_counts_what_the_deployment_wants(workloads: Workloads) -> None:
    workloads.create("deployments", "web", {"replicas": 4})
    workloads.until("deployments", "web", availableReplicas=4)
    path = f"/apis/policy/v1/namespaces/{workloads.namespace}/poddisruptionbudgets"
    workloads.api.expect(201, "POST", path, {
        "metadata": {"name": "web"}, "spec": {"maxUnavailable": "25%", "selector": {"matchLabels": {"app": "web"}}}})
    eventually(lambda: workloads.api.get(f"{path}/web")["status"].get("disruptionsAllowed") == 1)
    status = workloads.api.get(f"{path}/web")["status"]
    assert (status["expectedPods"], status["desiredHealthy"], status["currentHealthy"]) == (4, 3, 4)


def test_the_operators_run_in_pods(admin: Api) -> None:
    where = admin.items("/apis/kubevirt.io/v1/kubevirts")[0]["metadata"]["namespace"]
    pods = admin.items(f"/api/v1/namespaces/{where}/pods")
    apps = [one["metadata"]["labels"].get("kubevirt.io") for one in pods]
    assert apps.count("virt-handler") == 6
    assert {apps.count(name) for name in ("virt-api", "virt-controller")} == {2}
    assert all(one["status"]["phase"] == "Running" and one["spec"]["nodeName"] for one in pods)
    assert len({one["status"]["podIP"] for one in pods}) == len(pods)
