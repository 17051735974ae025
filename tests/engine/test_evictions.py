# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disruption budgets and evictions: what is counted, what is refused in which words, and what an eviction leaves."""
from __future__ import annotations

import typing as t

import pytest

from ..support.api import Answer, Api
from .test_scheduling import Pods, condition, pod
from .waiting import eventually

Object = dict[str, t.Any]
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."


class Budgets:
    """The budgets and pods of one namespace; pods with the label app=web that no controller makes."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api, self.namespace, self.pods = api, namespace, Pods(api, namespace)
        self.path = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"

    def web(self, *names: str, **spec: t.Any) -> None:
        """Pods that run and are ready, or as far as their gates let them."""
        for name in names:
            made = pod(name, **spec)
            made["metadata"]["labels"] = {"app": "web"}
            self.pods.create(made)
        for name in names:
            self.pods.until(name, lambda one: one["status"]["phase"] == "Running")

    def create(self, name: str, **spec: t.Any) -> None:
        self.api.expect(201, "POST", self.path, {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}})

    def status(self, name: str) -> Object:
        found: Object = self.api.get(f"{self.path}/{name}")["status"]
        return found

    def until(self, name: str, **wanted: t.Any) -> Object:
        eventually(lambda: wanted.items() <= self.status(name).items())
        return self.status(name)

    def evict(self, name: str, **more: t.Any) -> Answer:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": self.namespace}, **more}
        return self.api.request("POST", f"{self.pods.path}/{name}/eviction", body)

    def cause(self, answer: Answer) -> str:
        assert (answer.status, answer.body["reason"], answer.body["message"]) == (429, "TooManyRequests", REFUSED)
        causes = answer.body["details"]["causes"]
        assert [one["reason"] for one in causes] == ["DisruptionBudget"]
        return str(causes[0]["message"])


@pytest.fixture
def budgets(admin: Api, namespace: str) -> Budgets:
    return Budgets(admin, namespace)


def test_discovery_tells_of_evictions(admin: Api) -> None:
    found = next(one for one in admin.get("/api/v1")["resources"] if one["name"] == "pods/eviction")
    assert (found["kind"], found["group"], found["version"], found["verbs"]) == ("Eviction", "policy", "v1", ["create"])


def test_an_eviction_spends_the_budget_until_a_pod_comes_back(budgets: Budgets) -> None:
    budgets.web("a", "b", "c")
    budgets.create("web", minAvailable=2)
    status = budgets.until("web", disruptionsAllowed=1)
    assert (status["currentHealthy"], status["desiredHealthy"], status["expectedPods"], status["observedGeneration"]) == (3, 2, 3, 1)
    assert [(one["type"], one["status"], one["reason"]) for one in status["conditions"]] == [("DisruptionAllowed", "True", "SufficientPods")]

    answer = budgets.evict("a", deleteOptions={"dryRun": ["All"]})
    assert (answer.status, answer.body) == (201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
    assert "deletionTimestamp" not in budgets.pods.get("a")["metadata"]
    assert budgets.status("web")["disruptionsAllowed"] == 1

    # Two in one moment: the controller has no time in between.
    assert [budgets.evict(name).status for name in ("a", "b")] == [201, 429]
    assert budgets.cause(budgets.evict("b")) == "The disruption budget web needs 2 healthy pods and has 2 currently"
    status = budgets.until("web", currentHealthy=2)
    assert [(one["status"], one["reason"]) for one in status["conditions"]] == [("False", "InsufficientPods")]
    eventually(lambda: budgets.api.request("GET", f"{budgets.pods.path}/a").status == 404)
    assert "disruptedPods" not in budgets.until("web", expectedPods=2)
    budgets.web("d")
    budgets.until("web", disruptionsAllowed=1)
    assert budgets.evict("b").status == 201


def test_the_evicted_pod_says_that_it_was_evicted(budgets: Budgets) -> None:
    budgets.web("last", terminationGracePeriodSeconds=0)
    holding = {"metadata": {"name": "held", "labels": {"app": "held"}, "finalizers": ["test.okd.virt/hold"]}}
    budgets.pods.create({**pod("held"), **holding})
    budgets.pods.until("held", lambda one: one["status"]["phase"] == "Running")
    assert budgets.evict("held", deleteOptions={"gracePeriodSeconds": 7}).status == 201
    found = budgets.pods.get("held")
    target = condition(found, "DisruptionTarget")
    assert (target["status"], target["reason"], target["message"]) == ("True", "EvictionByEvictionAPI", "Eviction API: evicting")
    assert found["metadata"]["deletionTimestamp"]
    # Who is going already is none of the budget's business any more.
    budgets.create("web", minAvailable=5)
    assert budgets.evict("held").status == 201
    budgets.api.expect(200, "PATCH", f"{budgets.pods.path}/held", {"metadata": {"finalizers": None}}, content_type="application/merge-patch+json")


def test_an_eviction_that_fails_has_spent_the_budget_all_the_same(budgets: Budgets) -> None:
    budgets.web("a", "b")
    budgets.create("web", minAvailable=1)
    budgets.until("web", disruptionsAllowed=1)
    wrong = "00000000-0000-0000-0000-000000000000"
    uid = budgets.pods.get("a")["metadata"]["uid"]
    answer = budgets.evict("a", deleteOptions={"preconditions": {"uid": wrong}})
    assert (answer.status, answer.body["reason"], answer.body["details"]) == (409, "Conflict", {"name": "a", "kind": "Pod"})
    assert answer.body["message"] == (
        f'Operation cannot be fulfilled on Pod "a": the UID in the precondition ({wrong}) does not match the UID in record ({uid}). '
        "The object might have been deleted and then recreated"
    )
    assert not condition(budgets.pods.get("a"), "DisruptionTarget")
    assert list(budgets.until("web", disruptionsAllowed=0, currentHealthy=1)["disruptedPods"]) == ["a"]
    assert budgets.cause(budgets.evict("b")) == "The disruption budget web needs 1 healthy pods and has 1 currently"


def test_what_is_refused_before_any_budget(budgets: Budgets) -> None:
    answer = budgets.evict("nope")
    assert (answer.status, answer.body["message"], answer.body["details"]) == (404, 'pods "nope" not found', {"name": "nope", "kind": "pods"})
    assert budgets.api.request("GET", f"{budgets.pods.path}/nope/eviction").status == 405
    budgets.web("a")
    other = budgets.api.request("POST", f"{budgets.pods.path}/a/eviction", {"metadata": {"name": "b"}})
    assert (other.status, other.body["message"]) == (400, "name in URL does not match name in Eviction object")
    old = budgets.api.request("POST", f"{budgets.pods.path}/a/eviction?dryRun=All", {
        "apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "a"}})
    assert old.status == 201
    assert budgets.api.request("POST", f"{budgets.pods.path}/a/eviction", {"metadata": {"name": "a"}}, user="nina").status == 403


def test_two_budgets_are_one_too_many(budgets: Budgets) -> None:
    budgets.web("a")
    budgets.create("one", minAvailable=0)
    budgets.create("two", minAvailable=0)
    budgets.until("two", disruptionsAllowed=1)
    answer = budgets.evict("a")
    assert (answer.status, answer.body) == (500, {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 500,
        "message": "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
    })


def test_pods_that_are_not_ready_go_when_enough_others_are(budgets: Budgets) -> None:
    budgets.web("a")
    budgets.web("gated", readinessGates=[{"conditionType": "test.okd.virt/open"}])
    budgets.create("web", minAvailable=1)
    budgets.until("web", disruptionsAllowed=0, currentHealthy=1, expectedPods=2)
    assert budgets.cause(budgets.evict("a")) == "The disruption budget web needs 1 healthy pods and has 1 currently"
    assert budgets.evict("gated").status == 201

    budgets.web("again", readinessGates=[{"conditionType": "test.okd.virt/open"}])
    budgets.api.expect(200, "PATCH", f"{budgets.path}/web", {"spec": {"minAvailable": 3}}, content_type="application/merge-patch+json")
    budgets.until("web", desiredHealthy=3, observedGeneration=2)
    assert budgets.cause(budgets.evict("again")) == "The disruption budget web needs 3 healthy pods and has 1 currently"
    policy = {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}
    budgets.api.expect(200, "PATCH", f"{budgets.path}/web", policy, content_type="application/merge-patch+json")
    assert budgets.evict("again").status == 201


def test_pending_and_finished_pods_are_not_protected(budgets: Budgets) -> None:
    budgets.create("web", minAvailable=9)
    waiting = pod("waiting", schedulerName="nobody")
    waiting["metadata"]["labels"] = {"app": "web"}
    budgets.pods.create(waiting)
    budgets.until("web", expectedPods=1)
    assert budgets.evict("waiting").status == 201
    eventually(lambda: budgets.api.request("GET", f"{budgets.pods.path}/waiting").status == 404)


def test_a_budget_over_pods_without_a_scale_blocks_and_says_so(budgets: Budgets) -> None:
    owner = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": "vm", "uid": "1", "controller": True}
    made = pod("owned")
    made["metadata"] = {"name": "owned", "labels": {"app": "web"}, "ownerReferences": [{**owner, "uid": _instance(budgets)}]}
    budgets.pods.create(made)
    budgets.pods.until("owned", lambda one: one["status"]["phase"] == "Running")
    budgets.create("trap", maxUnavailable=1)
    status = eventually(lambda: budgets.status("trap").get("conditions") and budgets.status("trap"))
    said = status["conditions"][0]
    assert (said["type"], said["status"], said["reason"]) == ("DisruptionAllowed", "False", "SyncFailed")
    assert said["message"] == "virtualmachineinstances.kubevirt.io does not implement the scale subresource"
    assert "observedGeneration" not in status
    answer = budgets.evict("owned")
    assert budgets.cause(answer) == "The disruption budget trap is still being processed by the server."
    assert answer.body["details"]["retryAfterSeconds"] == 10
    events = budgets.api.items(f"/api/v1/namespaces/{budgets.namespace}/events?fieldSelector=reason=CalculateExpectedPodCountFailed")
    assert events[0]["message"].endswith("does not implement the scale subresource")


def _instance(budgets: Budgets) -> str:
    """The uid of an instance that nothing runs for."""
    body = {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": "vm"},
        "spec": {"domain": {"devices": {}, "resources": {"requests": {"memory": "900Gi"}}}},
    }
    made = budgets.api.expect(201, "POST", f"/apis/kubevirt.io/v1/namespaces/{budgets.namespace}/virtualmachineinstances", body)
    return str(made["metadata"]["uid"])


def test_percentages_are_of_what_controllers_want(budgets: Budgets) -> None:
    budgets.web("alone")
    budgets.create("share", minAvailable="50%")
    eventually(lambda: budgets.api.items(f"/api/v1/namespaces/{budgets.namespace}/events?fieldSelector=reason=UnmanagedPods"))
    status = budgets.until("share", observedGeneration=1)
    assert (status["expectedPods"], status["disruptionsAllowed"]) == (0, 0)
