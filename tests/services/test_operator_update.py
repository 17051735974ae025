# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import OptionError, PreconditionFailed, VirtError

from ..support.api import MERGE_PATCH, OPERATORS, RBAC, Api
from .verbs import Verbs

NAME = "operator_update"
OPERATORS_V1, OPERATORS_V2 = "/apis/operators.coreos.com/v1", "/apis/operators.coreos.com/v2"


class Cluster:
    """A lab of its own, and where its operator lives."""

    def __init__(self, engine: t.Any) -> None:
        self.api = Api(engine.kubeconfig)
        self.verbs = Verbs(engine.kubeconfig)
        (self.subscription,) = [
            entry
            for entry in self.api.items(f"{OPERATORS}/subscriptions")
            if "kubevirt-hyperconverged" in entry["spec"]["name"]
        ]
        self.namespace: str = self.subscription["metadata"]["namespace"]
        self.before = self.update()["hyperconverged_version"]

    def update(self) -> dict[str, t.Any]:
        found: dict[str, t.Any] = self.verbs(NAME, approve=False).result["operator"]
        return found

    def target(self) -> str:
        """The version that the catalogue offers."""
        name: str = self.update()["current_csv"]
        return name.partition(".v")[2]

    def plans(self) -> list[dict[str, t.Any]]:
        return self.api.items(f"{OPERATORS}/namespaces/{self.namespace}/installplans")

    def approved(self) -> list[str]:
        return [
            name
            for plan in self.plans()
            if plan["spec"]["approved"]
            for name in plan["spec"]["clusterServiceVersionNames"]
        ]


@pytest.fixture(params=["okd", "openshift"])
def cluster(request: pytest.FixtureRequest, fresh_engine: t.Callable[..., t.Any]) -> Cluster:
    return Cluster(fresh_engine(flavour=request.param))


@pytest.fixture
def okd(fresh_engine: t.Callable[..., t.Any]) -> Cluster:
    return Cluster(fresh_engine())


def test_the_whole_update(cluster: Cluster) -> None:
    target = cluster.target()
    started = cluster.update()
    assert started["migrate_role_exists"] is False
    already = cluster.approved()
    checked = cluster.verbs(NAME, check=True, target_version=target)
    assert checked.changed
    assert [action["verb"] for action in checked.actions] == ["approve"]
    assert cluster.approved() == already

    outcome = cluster.verbs(NAME, target_version=target, wait_timeout=120)
    assert outcome.changed
    update = outcome.result["operator"]
    assert update["step"] == "done"
    assert update["hyperconverged_version"] == target
    assert update["kubevirt_version"] != started["kubevirt_version"]
    assert update["migrate_role_exists"] is True
    assert outcome.result["pending"] == []
    assert cluster.approved() == [*already, f"kubevirt-hyperconverged-operator.v{target}"]
    assert cluster.api.request("GET", f"{RBAC}/clusterroles/kubevirt.io:migrate").status == 200
    said = [entry["event"] for entry in outcome.timeline]
    for part in ("approved", "ClusterServiceVersion", "HyperConverged version", "KubeVirt observed version"):
        assert any(part in line for line in said), (part, said)

    again = cluster.verbs(NAME, check=True, target_version=target)
    assert (again.changed, again.actions) == (False, [])
    assert cluster.verbs(NAME, target_version=target).changed is False
    assert cluster.verbs.requests <= 7


def test_looking_changes_nothing(okd: Cluster) -> None:
    before = okd.plans()
    outcome = okd.verbs(NAME, approve=False)
    assert outcome.changed is False
    assert "waits for approval" in outcome.msg
    assert outcome.result["operator"]["install_plan"]["phase"] == "RequiresApproval"
    followed = okd.verbs(NAME, approve=False, target_version=okd.target())
    assert followed.result["operator"]["step"] == "approve"
    assert okd.plans() == before


def test_nothing_is_approved_that_was_not_asked_for(okd: Cluster) -> None:
    before = okd.plans()
    major, minor, patch = okd.target().split(".")
    beyond = f"{major}.{int(minor) + 1}.{patch}"
    with pytest.raises(PreconditionFailed, match="intermediate_versions"):
        okd.verbs(NAME, target_version=beyond)
    with pytest.raises(PreconditionFailed, match="newer"):
        okd.verbs(NAME, target_version=f"{major}.{int(minor) - 2}.0")
    with pytest.raises(OptionError, match="target_version"):
        okd.verbs(NAME, target_version=f"{major}.{minor}")
    with pytest.raises(PreconditionFailed, match="no Subscription"):
        okd.verbs(NAME, target_version=okd.target(), namespace="default")
    assert okd.plans() == before


def test_what_is_wrong_stops_the_update_and_once_mended_it_goes_on(okd: Cluster) -> None:
    target, api, namespace = okd.target(), okd.api, okd.namespace
    impatient: dict[str, t.Any] = {"target_version": target, "problem_timeout": 2, "wait_timeout": 60}
    groups = f"{OPERATORS_V1}/namespaces/{namespace}/operatorgroups"
    second = {
        "apiVersion": "operators.coreos.com/v1",
        "kind": "OperatorGroup",
        "metadata": {"name": "second"},
        "spec": {},
    }
    api.expect(201, "POST", groups, second)
    with pytest.raises(VirtError, match="TooManyOperatorGroups"):
        okd.verbs(NAME, **impatient)
    approved = okd.approved()
    api.expect(200, "DELETE", f"{groups}/second")

    old = okd.update()["installed_csv"]
    condition = f"{OPERATORS_V2}/namespaces/{namespace}/operatorconditions/{old}"
    overrides = [{"type": "Upgradeable", "status": "False", "reason": "Held", "message": "not today"}]
    api.expect(200, "PATCH", condition, {"spec": {"overrides": overrides}}, content_type=MERGE_PATCH)
    with pytest.raises(
        VirtError, match=rf"OperatorCondition {namespace}/{old} is Upgradeable False \(Held: not today\)"
    ) as caught:
        okd.verbs(NAME, **impatient)
    assert caught.value.details["problem"] == "operator-condition"
    assert caught.value.details["changed"] is True
    assert okd.approved() == [*approved, f"kubevirt-hyperconverged-operator.v{target}"]
    api.expect(200, "PATCH", condition, {"spec": {"overrides": None}}, content_type=MERGE_PATCH)

    resumed = okd.verbs(NAME, target_version=target, wait_timeout=120)
    assert resumed.changed is False
    assert resumed.result["operator"]["step"] == "done"


def test_automatic_approval_is_followed(okd: Cluster) -> None:
    target = okd.target()
    path = f"{OPERATORS}/namespaces/{okd.namespace}/subscriptions/{okd.subscription['metadata']['name']}"
    okd.api.expect(200, "PATCH", path, {"spec": {"installPlanApproval": "Automatic"}}, content_type=MERGE_PATCH)
    for plan in okd.plans():
        if not plan["spec"]["approved"]:
            okd.api.expect(
                200, "DELETE", f"{OPERATORS}/namespaces/{okd.namespace}/installplans/{plan['metadata']['name']}"
            )
    outcome = okd.verbs(NAME, target_version=target, wait_timeout=120)
    assert outcome.changed is False
    assert outcome.result["operator"]["step"] == "done"


def test_without_waiting_it_ends_after_the_approval(okd: Cluster) -> None:
    outcome = okd.verbs(NAME, target_version=okd.target(), wait=False)
    assert outcome.changed
    assert outcome.result["pending"]
    finished = okd.verbs(NAME, target_version=okd.target(), wait_timeout=120)
    assert finished.changed is False
    assert finished.result["operator"]["step"] == "done"
