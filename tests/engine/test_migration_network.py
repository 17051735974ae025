# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network of its own for migrations: virt-handler is renewed node after node, and waits where the network isn't there."""
from __future__ import annotations

import itertools
import time
import typing as t
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process
from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine

from ..support.api import MERGE_PATCH, Api
from .updating import condition
from .waiting import eventually

Object = dict[str, t.Any]
HOME = "kubevirt-hyperconverged"
HCO = f"/apis/hco.kubevirt.io/v1beta1/namespaces/{HOME}/hyperconvergeds/kubevirt-hyperconverged"
KUBEVIRT = f"/apis/kubevirt.io/v1/namespaces/{HOME}/kubevirts/kubevirt-kubevirt-hyperconverged"
HANDLER = f"/apis/apps/v1/namespaces/{HOME}/daemonsets/virt-handler"
PODS = f"/api/v1/namespaces/{HOME}/pods"
NETWORKS = f"/apis/k8s.cni.cncf.io/v1/namespaces/{HOME}/network-attachment-definitions"
ANNOTATION, INTERFACE = "k8s.v1.cni.cncf.io/networks", "migration@migration0"


@pytest.fixture(scope="module")
def api(fresh_engine: Callable[..., RunningEngine]) -> Iterator[Api]:
    engine = fresh_engine(cluster="empty", release="4.19")
    yield Api(engine.kubeconfig)
    process.stop(engine.directory)


def ask_for(api: Api, network: str | None) -> None:
    api.expect(200, "PATCH", HCO, {"spec": {"liveMigrationConfig": {"network": network}}}, content_type=MERGE_PATCH)


def handlers(api: Api) -> list[Object]:
    return api.items(f"{PODS}?labelSelector=kubevirt.io=virt-handler")


def network_of(pod: Object) -> str:
    found: str = (pod["metadata"].get("annotations") or {}).get(ANNOTATION, "")
    return found


def is_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def settled(api: Api, network: str) -> bool:
    """Whether every virt-handler has the network, and KubeVirt and the HyperConverged say that they are done."""
    status = api.get(KUBEVIRT)["status"]
    return (
        status["observedDeploymentID"] == status["targetDeploymentID"]
        and all(is_ready(pod) and network_of(pod) == network for pod in handlers(api))
        and api.get(HCO)["status"]["systemHealthStatus"] == "healthy"
    )


def test_a_network_that_comes_late_and_goes_again(api: Api) -> None:
    the_first_node_waits_and_no_other_changes(api)
    the_others_follow_one_after_the_other(api)
    back_to_the_network_of_pods(api)


@pytest.mark.parametrize("after", [0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05])
def test_a_network_that_is_taken_back_while_it_is_brought_about(api: Api, after: float) -> None:
    """Whatever virt-operator was at (the pause is real time), it ends with what is asked for last, and says that it is done."""
    ask_for(api, "never-there")
    eventually(lambda: condition(api.get(KUBEVIRT), "Progressing").get("status") == "True")
    time.sleep(after)
    ask_for(api, None)
    eventually(lambda: settled(api, "") and "network" not in api.get(KUBEVIRT)["spec"]["configuration"]["migrations"], 20)
    assert ANNOTATION not in api.get(HANDLER)["spec"]["template"]["metadata"]["annotations"]
    assert [condition(api.get(KUBEVIRT), kind)["status"] for kind in ("Available", "Progressing", "Degraded")] == ["True", "False", "False"]


def the_first_node_waits_and_no_other_changes(api: Api) -> None:
    before = handlers(api)
    first = api.get(KUBEVIRT)["status"]["observedDeploymentID"]
    ask_for(api, "migration")

    def stuck() -> list[Object]:
        return [pod for pod in handlers(api) if network_of(pod) == INTERFACE and pod["status"].get("containerStatuses")]

    (pod,) = eventually(stuck, 30)
    said = eventually(lambda: api.items(f"/api/v1/namespaces/{HOME}/events?fieldSelector=involvedObject.name={pod['metadata']['name']},type=Warning"), 20)
    missing = 'network-attachment-definitions.k8s.cni.cncf.io "migration" not found'
    text = f"cannot find a network-attachment-definition (migration) in namespace ({HOME}): {missing}"
    assert ("NoNetworkFound", text) in [(one["reason"], one["message"]) for one in said]
    (pod,) = stuck()
    assert pod["status"]["phase"] == "Pending"
    assert [one["state"]["waiting"]["reason"] for one in pod["status"]["containerStatuses"]] == ["ContainerCreating"]
    left = [one for one in handlers(api) if network_of(one) == ""]
    assert {one["metadata"]["uid"] for one in left} < {one["metadata"]["uid"] for one in before}
    assert len(left) == len(before) - 1
    assert all(is_ready(one) for one in left)
    node = api.get(f"/api/v1/nodes/{pod['spec']['nodeName']}")
    assert node["metadata"]["labels"]["kubevirt.io/schedulable"] == "false"
    status = api.get(KUBEVIRT)["status"]
    assert (status["phase"], status["observedDeploymentID"]) == ("Deployed", first)
    assert status["targetDeploymentID"] != first
    conditions = [condition({"status": status}, kind) for kind in ("Available", "Progressing", "Degraded")]
    assert [(one["status"], one["reason"]) for one in conditions] == [("True", "UpdateInProgress")] * 3
    eventually(lambda: condition(api.get(HCO), "Degraded").get("reason") == "KubeVirtDegraded")


def the_others_follow_one_after_the_other(api: Api) -> None:
    nodes = len(handlers(api))
    listed = api.get(f"{PODS}?labelSelector=kubevirt.io=virt-handler")
    assert not settled(api, INTERFACE)
    config = '{"cniVersion":"0.3.1","type":"bridge","bridge":"br1"}'
    body = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "migration"}, "spec": {"config": config}}
    api.expect(201, "POST", NETWORKS, body)
    eventually(lambda: settled(api, INTERFACE), 30)
    assert len(handlers(api)) == nodes
    assert api.get(HANDLER)["spec"]["template"]["metadata"]["annotations"][ANNOTATION] == INTERFACE
    changed = replaced(api, listed["metadata"]["resourceVersion"])
    assert len(changed) == nodes - 1
    # A node's old virt-handler is gone before the next one's goes: the new one serves by then.
    assert all(ready < gone for (ready, dummy), (dummy, gone) in itertools.pairwise(changed))
    eventually(lambda: all(
        one["metadata"]["labels"]["kubevirt.io/schedulable"] == "true" for one in api.items("/api/v1/nodes?labelSelector=kubevirt.io/schedulable")
    ))


def replaced(api: Api, since: str) -> list[tuple[int, int]]:
    """For each virt-handler that went, in order: the version at which its successor was ready, and at which it was told to go."""
    told: dict[str, int] = {}
    ready: dict[str, int] = {}
    for event in api.stream(f"{PODS}?watch=1&labelSelector=kubevirt.io=virt-handler&resourceVersion={since}&timeoutSeconds=1"):
        pod, version = event["object"], int(event["object"]["metadata"]["resourceVersion"])
        node = (pod["spec"].get("nodeName")) or ""
        if pod["metadata"].get("deletionTimestamp"):
            told.setdefault(node, version)
        elif is_ready(pod) and node in told:
            ready.setdefault(node, version)
    return sorted(((ready[node], version) for node, version in told.items()), key=lambda one: one[1])


def back_to_the_network_of_pods(api: Api) -> None:
    other = api.get(KUBEVIRT)["status"]["observedDeploymentID"]
    ask_for(api, None)
    eventually(lambda: settled(api, "") and api.get(KUBEVIRT)["status"]["observedDeploymentID"] != other, 30)
    assert ANNOTATION not in api.get(HANDLER)["spec"]["template"]["metadata"]["annotations"]
    assert "network" not in api.get(KUBEVIRT)["spec"]["configuration"]["migrations"]
