# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds an update up, as on a cluster: an operator that is not upgradeable, OperatorGroups, roles that the new operator lacks."""
from __future__ import annotations

import contextlib
import pathlib
import subprocess
import sys
import time
import typing as t
from collections.abc import Callable, Iterator

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt import install_strategy

from ..support.api import MERGE_PATCH, RBAC, Api
from .updating import GROUPS, Update, condition
from .waiting import eventually

MODULE = "ansible_collections.okd.virt.plugins.plugin_utils.engine"
MIGRATE = f"{RBAC}/clusterroles/kubevirt.io:migrate"


def reached(update: Update, name: str, phase: str, reason: str) -> dict[str, t.Any]:
    """The status of a ClusterServiceVersion once it is in a phase for a reason."""

    def status() -> dict[str, t.Any] | None:
        answer = update.api.request("GET", update.path("clusterserviceversions", name))
        found: dict[str, t.Any] = answer.body.get("status") or {} if answer.status == 200 else {}
        return found if (found.get("phase"), found.get("reason")) == (phase, reason) else None

    found: dict[str, t.Any] = eventually(status)
    return found


def stays(update: Update, name: str, phase: str) -> None:
    """It is in this phase and is not written any more."""
    before = update.get("clusterserviceversions", name)
    time.sleep(0.5)
    after = update.get("clusterserviceversions", name)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert after["status"]["phase"] == phase


def test_an_operator_that_is_not_upgradeable_holds_its_successor_in_pending(start: Callable[..., Api]) -> None:
    update = Update(start(cluster="empty"))
    held = {"type": "Upgradeable", "status": "False", "reason": "Held", "message": "not today"}
    update.patch("operatorconditions", update.old, {"spec": {"overrides": [held]}})
    update.approve()
    status = reached(update, update.new, "Pending", "OperatorConditionNotUpgradeable")
    assert status["message"] == "operator is not upgradeable: The operator is not upgradeable: not today"
    eventually(lambda: update.get("installplans", update.plan)["status"]["phase"] == "Complete")
    stays(update, update.new, "Pending")
    (subscription,) = update.api.items(f"/apis/operators.coreos.com/v1alpha1/namespaces/{update.namespace}/subscriptions")
    assert (subscription["status"]["state"], subscription["status"]["installedCSV"]) == ("AtLatestKnown", update.new)
    (hyperconverged,) = update.api.items("/apis/hco.kubevirt.io/v1beta1/hyperconvergeds")
    assert hyperconverged["status"]["versions"] == [{"name": "operator", "version": update.before}]
    # The operator's own word holds it as well, and an override to True is stronger.
    said = {**held, "message": "busy", "lastTransitionTime": "2026-11-23T10:18:49Z"}
    update.patch("operatorconditions", update.old, {"spec": {"overrides": None, "conditions": [said]}})
    eventually(
        lambda: update.get("clusterserviceversions", update.new)["status"]["message"].endswith("The operator is not upgradeable: busy"),
    )
    stays(update, update.new, "Pending")
    update.patch("operatorconditions", update.old, {"spec": {"overrides": [{**held, "status": "True"}]}})
    update.finished()


def test_exactly_one_operator_group(start: Callable[..., Api]) -> None:
    update = Update(start(cluster="empty"))
    groups = f"{GROUPS}/namespaces/{update.namespace}/operatorgroups"
    (group,) = update.api.items(groups)
    update.api.expect(200, "DELETE", f"{groups}/{group['metadata']['name']}")
    status = reached(update, update.old, "Failed", "NoOperatorGroup")
    assert status["message"] == "csv in namespace with no operatorgroups"
    stays(update, update.old, "Failed")
    for name in ("one", "two"):
        body = {"apiVersion": "operators.coreos.com/v1", "kind": "OperatorGroup", "metadata": {"name": name}, "spec": {}}
        update.api.expect(201, "POST", groups, body)
        if name == "one":
            reached(update, update.old, "Succeeded", "InstallSucceeded")
    status = reached(update, update.old, "Failed", "TooManyOperatorGroups")
    assert status["message"] == "csv created in namespace with multiple operatorgroups, can't pick one automatically"
    update.approve()
    reached(update, update.new, "Failed", "TooManyOperatorGroups")
    stays(update, update.new, "Failed")
    update.api.expect(200, "DELETE", f"{groups}/two")
    update.finished()


@contextlib.contextmanager
def talkative(directory: pathlib.Path, **options: str) -> Iterator[tuple[Api, Callable[[], str]]]:
    """An engine that says what its controllers do, and what it said so far."""
    log, kubeconfig = directory / "log", directory / "kubeconfig"
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    with log.open("wb") as output:
        command = [sys.executable, "-m", MODULE, "serve", "--kubeconfig", str(kubeconfig), "--verbose", *given]
        engine = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually(kubeconfig.exists, 60)
        yield Api(kubeconfig), log.read_text
    finally:
        engine.terminate()
        engine.wait(15)


def refusals(log: str) -> list[str]:
    return [line for line in log.splitlines() if "forbidden" in line or "Forbidden" in line or "not currently held" in line]


def test_the_controllers_may_do_what_they_do(tmp_path: pathlib.Path) -> None:
    with talkative(tmp_path, cluster="lab-two-operators", speed="max") as (api, log):
        update = Update(api)
        update.approve()
        update.finished()
        eventually(lambda: api.request("GET", MIGRATE).status == 200)
        assert refusals(log()) == []
        assert "Traceback" not in log()


def test_the_new_operator_stalls_without_its_new_role(tmp_path: pathlib.Path) -> None:
    with talkative(tmp_path, cluster="empty", speed="max") as (api, log):
        update = Update(api)
        edit = api.get(f"{RBAC}/clusterroles/kubevirt.io:edit")
        policies = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/migrationpolicies.migrations.kubevirt.io"
        assert "allowWorkloadDisruption" not in str(api.get(policies))
        operator = update.get("deployments", "virt-operator")
        for entry in operator["spec"]["template"]["spec"]["containers"][0]["env"]:
            if entry["name"] == "KUBEVIRT_VERSION":
                entry["value"] = "v1.5.3"
        api.expect(200, "PUT", update.path("deployments", "virt-operator"), operator)
        kubevirt = eventually(lambda: next((one for one in kubevirts(api) if condition(one, "Synchronized")), None))
        assert {kind: condition(kubevirt, kind)["status"] for kind in ("Synchronized", "Available", "Progressing", "Degraded")} == {
            "Synchronized": "False", "Available": "False", "Progressing": "False", "Degraded": "True",
        }
        assert condition(kubevirt, "Synchronized")["reason"] == "DeploymentFailed"
        assert condition(kubevirt, "Synchronized")["message"].startswith("An error occurred during deployment: ")
        assert "attempting to grant RBAC permissions not currently held" in condition(kubevirt, "Synchronized")["message"]
        # New definitions and old rights.
        assert "allowWorkloadDisruption" in str(api.get(policies))
        assert api.request("GET", MIGRATE).status == 404
        assert kubevirt["status"]["observedKubeVirtVersion"] == "v1.4.1"
        eventually(lambda: refusals(log()))
        rules = install_strategy.operator_cluster_role("v1.5.3")["rules"]
        api.expect(200, "PATCH", f"{RBAC}/clusterroles/kubevirt-operator", {"rules": rules}, content_type=MERGE_PATCH)
        eventually(lambda: kubevirts(api)[0]["status"]["observedKubeVirtVersion"] == "v1.5.3", 20)
        assert condition(kubevirts(api)[0], "Synchronized") == {}
        assert api.get(MIGRATE)["rules"]
        assert api.get(f"{RBAC}/clusterroles/kubevirt.io:edit")["rules"] != edit["rules"]


def kubevirts(api: Api) -> list[dict[str, t.Any]]:
    return api.items("/apis/kubevirt.io/v1/kubevirts")
