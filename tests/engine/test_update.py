# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The update from 4.18 to 4.19 as a client sees it: nothing before approval, then each thing in its order, then rest."""
from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Callable

import pytest

from ..support.api import MERGE_PATCH, OPERATORS, RBAC, Api
from .updating import TOLD, Told, Update, changes, condition, written
from .waiting import eventually

DONE = {"ReconcileComplete": "True", "Available": "True", "Progressing": "False", "Degraded": "False", "Upgradeable": "True"}


@dataclasses.dataclass(frozen=True)
class Case:
    cluster: str
    flavour: str
    namespace: str
    names: tuple[str, ...]
    replaced: tuple[str, ...]


OPERATOR = "kubevirt-hyperconverged-operator.v"
CASES = (
    Case("lab", "okd", "kubevirt-hyperconverged", (f"{OPERATOR}1.15.3",), (f"{OPERATOR}1.14.1",)),
    Case("empty", "openshift", "openshift-cnv", (f"{OPERATOR}4.19.6",), (f"{OPERATOR}4.18.13",)),
    Case(
        "lab-two-operators", "okd", "kubevirt-hyperconverged", (f"{OPERATOR}1.15.3", "kubernetes-nmstate-operator.4.19.1"),
        (f"{OPERATOR}1.14.1", "kubernetes-nmstate-operator.4.18.2"),
    ),
)


class Story:
    """What was told of one update, by resource."""

    def __init__(self, told: list[Told]) -> None:
        self.told = told

    def of(self, resource: str, name: str = "", namespace: str | None = None) -> list[Told]:
        return [
            one for one in self.told
            if one.resource == resource and name in ("", one.name) and namespace in (None, one.object["metadata"].get("namespace"))
        ]

    def first(self, resource: str, holds: Callable[[Told], t.Any], name: str = "") -> int:
        """When something was first so."""
        return next(one.version for one in self.of(resource, name) if holds(one))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.cluster}-{case.flavour}")
def test_a_whole_update(case: Case, start: Callable[..., Api]) -> None:
    api = start(cluster=case.cluster, flavour=case.flavour)
    update = Update(api)
    assert (update.namespace, update.names) == (case.namespace, list(case.names))
    waits(update, case)
    update.approve()
    update.finished()
    namespaces = sorted(one["metadata"]["name"] for one in api.items("/api/v1/namespaces"))
    eventually(lambda: shown(api) == dict.fromkeys(case.names, namespaces), 10)
    eventually(lambda: moved(api), 60)
    eventually(lambda: {kind for kind, _where, _name in written(api, 0.3)} <= {"v1/nodes"}, 60)
    story = Story(update.told())
    plans(update, story)
    for old, new in zip(case.replaced, case.names, strict=True):
        one_version_gives_way_to_the_next(update, story, old, new)
    hyperconverged(update, story)
    kubevirt(story)
    roles_and_roll_outs(story)
    # Events themselves are forgotten after an hour of the engine's time.
    added = [one.object for one in story.of("events") if one.type == "ADDED"]
    assert [one["message"] for one in added if one["reason"] == "UpgradeHCO"] == [
        f"Upgrading the HyperConverged to version {update.target}", f"Successfully upgraded to version {update.target}",
    ]
    # The new operator changes KubeVirt of its own accord: nobody else has edited it.
    of_operand = [(one["type"], one["reason"]) for one in added if one["message"].endswith("KubeVirt kubevirt-kubevirt-hyperconverged")]
    assert of_operand == [("Normal", "Updated")]


def moved(api: Api) -> bool:
    """Whether all that can be migrated to the new virt-launcher has been, and the KubeVirt object counts the rest."""
    left = api.items("/apis/kubevirt.io/v1/virtualmachineinstances?labelSelector=kubevirt.io/outdatedLauncherImage")
    (kubevirt,) = api.items("/apis/kubevirt.io/v1/kubevirts")
    failed = {
        (one["metadata"]["namespace"], one["spec"]["vmiName"]) for one in api.items("/apis/kubevirt.io/v1/virtualmachineinstancemigrations")
        if (one.get("status") or {}).get("phase") == "Failed"
    }
    stuck = [
        condition(one, "LiveMigratable")["status"] == "False" or (one["metadata"]["namespace"], one["metadata"]["name"]) in failed for one in left
    ]
    return all(stuck) and kubevirt["status"]["outdatedVirtualMachineInstanceWorkloads"] == len(left)


def shown(api: Api) -> dict[str, list[str]]:
    """The namespaces that each ClusterServiceVersion, or a copy of it, is in."""
    found: dict[str, list[str]] = {}
    for one in api.items(f"{OPERATORS}/clusterserviceversions"):
        found.setdefault(one["metadata"]["name"], []).append(one["metadata"]["namespace"])
    return {name: sorted(places) for name, places in found.items()}


def waits(update: Update, case: Case) -> None:
    """Nothing happens before the approval."""
    plan = update.get("installplans", update.plan)
    assert (plan["spec"]["approval"], plan["spec"]["approved"]) == ("Manual", False)
    subscriptions = update.api.items(f"{OPERATORS}/namespaces/{update.namespace}/subscriptions")
    said = {one["status"]["currentCSV"]: one["status"] for one in subscriptions}
    assert set(said) == set(case.names)
    assert {status["installedCSV"] for status in said.values()} == set(case.replaced)
    for status in said.values():
        assert status["installPlanRef"]["name"] == update.plan
        assert condition({"status": status}, "InstallPlanPending")["reason"] == "RequiresApproval"
    assert update.csvs() == dict.fromkeys(case.replaced, "Succeeded")
    # Copies of the present versions still spread over the namespaces of a cluster that has just begun.
    eventually(lambda: {kind for kind, _where, _name in written(update.api, 0.2)} <= {"v1/nodes"}, 20)
    assert {kind for kind, _where, _name in written(update.api, 0.5)} <= {"v1/nodes"}


def plans(update: Update, story: Story) -> None:
    events = story.of("installplans")
    assert {one.name for one in events} == {update.plan}
    assert changes(one.status["phase"] for one in events) == ["RequiresApproval", "Installing", "Complete"]


def one_version_gives_way_to_the_next(update: Update, story: Story, old: str, new: str) -> None:
    comes, goes = story.of("clusterserviceversions", new, update.namespace), story.of("clusterserviceversions", old, update.namespace)
    assert comes[0].object["spec"]["replaces"] == old
    assert changes(one.status.get("phase", "") for one in comes) == ["", "Pending", "InstallReady", "Installing", "Succeeded"]
    assert changes(one.status["phase"] for one in goes) == ["Replacing", "Deleting"]
    assert goes[-1].type == "DELETED"
    assert goes[0].status["reason"] == "BeingReplaced"
    succeeded = next(one.version for one in comes if one.status.get("phase") == "Succeeded")
    deleting = next(one.version for one in goes if one.status["phase"] == "Deleting")
    installing = story.first("installplans", lambda one: one.status["phase"] == "Installing")
    assert installing < comes[0].version < goes[0].version
    assert succeeded < deleting
    # The trap: a Subscription is at its latest as soon as the version is there, long before it runs.
    latest = story.first("subscriptions", lambda one: (one.status["state"], one.status["installedCSV"]) == ("AtLatestKnown", new))
    assert comes[0].version < latest < succeeded


def hyperconverged(update: Update, story: Story) -> None:
    events = story.of("hyperconvergeds")
    states = changes((one.status["versions"][0]["version"], one.status["systemHealthStatus"]) for one in events)
    assert states[-1] == (update.target, "healthy")
    assert [version for version, _health in states] == [update.before] * (len(states) - 1) + [update.target]
    assert "error" in [health for _version, health in states]
    between = [one for one in events if one.status["versions"][0]["version"] == update.before]
    for one in between:
        progressing = condition(one.object, "Progressing")
        assert (progressing["status"], progressing["reason"], progressing["message"]) == (
            "True", "HCOUpgrading", f"HCO is now upgrading to version {update.target}",
        )
    degraded = [condition(one.object, "Degraded") for one in between]
    assert ("True", "KubeVirtDegraded") in [(one["status"], one["reason"]) for one in degraded]
    assert ("False", "HCODegraded") in [(one["status"], one["reason"]) for one in (condition(each.object, "Upgradeable") for each in between)]
    assert {entry["type"]: entry["status"] for entry in events[-1].status["conditions"]} == DONE
    said = changes(
        (entry["status"], entry["reason"])
        for one in story.of("operatorconditions", update.new) for entry in one.object["spec"].get("conditions") or ()
    )
    assert said == [("False", "AlreadyPerformingUpgrade"), ("True", "Upgradeable")]
    (status,) = update.get("operatorconditions", update.new)["status"]["conditions"]
    assert (status["type"], status["status"]) == ("Upgradeable", "True")


def kubevirt(story: Story) -> None:
    events = [one for one in story.of("kubevirts") if one.status["targetKubeVirtVersion"] == "v1.5.3"]
    assert {one.status["phase"] for one in events} == {"Deployed"}
    assert changes(one.status["observedKubeVirtVersion"] for one in events) == ["v1.4.1", "v1.5.3"]
    during, after = events[0], events[-1]
    for kind in ("Available", "Progressing", "Degraded"):
        assert (condition(during.object, kind)["status"], condition(during.object, kind)["reason"]) == ("True", "UpdateInProgress")
    assert condition(during.object, "Created") == {}
    assert condition(after.object, "Created")["status"] == "True"
    assert [condition(after.object, kind)["status"] for kind in ("Available", "Progressing", "Degraded")] == ["True", "False", "False"]
    assert condition(after.object, "Synchronized") == {}


def roles_and_roll_outs(story: Story) -> None:
    """Definitions, roles, then the workloads one after the other; editors lose their right before the role comes that gives it."""
    definitions = [one.version for one in story.of("customresourcedefinitions")]
    loses = story.first("clusterroles", lambda one: one.type == "MODIFIED" and not migrations(one, "create"), "kubevirt.io:edit")
    appears = story.first("clusterroles", lambda one: one.type == "ADDED" and migrations(one, "create"), "kubevirt.io:migrate")
    edit = story.first("clusterroles", lambda one: one.type == "MODIFIED" and not migrations(one, "create"), "edit")
    assert max(definitions) < loses < appears
    assert loses < edit
    observed = story.first("kubevirts", lambda one: one.status["observedKubeVirtVersion"] == "v1.5.3")
    order = []
    for resource, name in (("daemonsets", "virt-handler"), *(("deployments", f"virt-{part}") for part in ("controller", "exportproxy", "api"))):
        changed = story.first(resource, lambda one: one.object["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":v1.5.3"), name)
        order += [changed, story.of(resource, name)[-1].version]
    assert appears < order[0]
    assert order == sorted(order)
    assert order[-1] < observed


def migrations(one: Told, verb: str) -> bool:
    return any(
        "virtualmachineinstancemigrations" in rule.get("resources", ()) and {verb, "*"} & set(rule["verbs"])
        for rule in one.object.get("rules") or ()
    )


def test_a_cluster_that_begins_at_4_19_is_at_rest(start: Callable[..., Api]) -> None:
    api = start(release="4.19", speed="60")
    (subscription,) = api.items(f"{OPERATORS}/subscriptions")
    eventually(lambda: api.items(f"{OPERATORS}/subscriptions")[0]["status"].get("conditions"))
    assert subscription["status"]["state"] == "AtLatestKnown"
    assert subscription["status"]["installedCSV"].startswith(OPERATOR)
    eventually(lambda: {kind for kind, _where, _name in written(api, 0.3)} <= {"v1/nodes"}, 15)
    # Three minutes of the engine's time, in which the heartbeats of the nodes show that it passes.
    changed = written(api, 3)
    assert changed
    assert {kind for kind, _where, _name in changed} == {"v1/nodes"}
    assert api.items(f"{OPERATORS}/installplans") == []
    assert api.request("GET", f"{RBAC}/clusterroles/kubevirt.io:migrate").status == 200
    (hyperconverged_object,) = api.items(f"{TOLD['hyperconvergeds']}/hyperconvergeds")
    assert {entry["type"]: entry["status"] for entry in hyperconverged_object["status"]["conditions"]} == DONE


def test_with_automatic_approval_it_updates_by_itself(start: Callable[..., Api]) -> None:
    api = start(cluster="lab-two-operators")
    update = Update(api)
    first, second = (one["metadata"]["name"] for one in api.items(f"{OPERATORS}/subscriptions"))
    update.patch("subscriptions", first, {"spec": {"installPlanApproval": "Automatic"}})
    api.expect(200, "DELETE", update.path("installplans", update.plan))
    # One Subscription that is Manual makes the plan of the namespace Manual.
    again = Update(api)
    assert again.plan != update.plan
    assert again.get("installplans", again.plan)["spec"]["approval"] == "Manual"
    assert again.names == update.names
    update.patch("subscriptions", second, {"spec": {"installPlanApproval": "Automatic"}})
    api.expect(200, "DELETE", again.path("installplans", again.plan))
    again.finished()
    (plan,) = api.items(f"{OPERATORS}/installplans")
    assert (plan["spec"]["approval"], plan["spec"]["approved"], plan["status"]["phase"]) == ("Automatic", True, "Complete")


def test_what_users_changed_in_shipped_roles_is_put_back_and_what_they_added_stays(start: Callable[..., Api]) -> None:
    api = start(cluster="empty", release="4.19")
    role = f"{RBAC}/clusterroles/kubevirt.io:admin"
    before = api.get(role)
    label = "rbac.authorization.k8s.io/aggregate-to-admin"
    rules = [*before["rules"], {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachineinstancemigrations"], "verbs": ["create"]}]
    patch = {"metadata": {"labels": {label: "false", "mine": "kept"}}, "rules": rules}
    assert api.expect(200, "PATCH", role, patch, content_type=MERGE_PATCH)["rules"] == rules
    eventually(lambda: api.get(role)["rules"] == before["rules"])
    after = api.get(role)
    assert after["metadata"]["labels"] == {**before["metadata"]["labels"], "mine": "kept"}
    migrate = f"{RBAC}/clusterroles/kubevirt.io:migrate"
    shipped = api.get(migrate)
    api.expect(200, "PATCH", migrate, {"metadata": {"labels": {label: "true"}}}, content_type=MERGE_PATCH)
    api.expect(200, "DELETE", migrate)
    eventually(lambda: api.request("GET", migrate).status == 200)
    made = api.get(migrate)
    assert made["metadata"]["uid"] != shipped["metadata"]["uid"]
    assert made["metadata"]["labels"] == shipped["metadata"]["labels"]
    assert made["rules"] == shipped["rules"]
