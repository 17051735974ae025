# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real kubectl drains nodes of pods without virtual machines: what it prints, what it waits for, what it refuses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process
from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine
from ansible_collections.okd.virt.tests.support.api import MERGE_PATCH, Api
from ansible_collections.okd.virt.tests.support.kubectl import Kubectl

Object = dict[str, Any]
DRAIN = ("--ignore-daemonsets", "--delete-emptydir-data")


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """The first true value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


class Cluster:
    """An engine of the test's own with a namespace full of workloads."""

    def __init__(self, engine: RunningEngine, home: Path) -> None:
        self.kubectl, self.api = Kubectl(engine.kubeconfig, home), Api(engine.kubeconfig)
        self.api.expect(201, "POST", "/api/v1/namespaces", {"metadata": {"name": "work"}})
        until(lambda: self.api.request("GET", "/api/v1/namespaces/work/serviceaccounts/default").status == 200)

    def deploy(self, name: str, replicas: int) -> None:
        """A Deployment whose pods have local storage, spread over the workers."""
        spec = {
            "containers": [{"name": "main", "image": "registry.example/app:1"}],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        }
        labels = {"app": name}
        self.api.expect(201, "POST", "/apis/apps/v1/namespaces/work/deployments", {
            "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
        })
        self.kubectl.ok("rollout", "status", f"deployment/{name}", "-n", "work", "--timeout=20s")

    def protect(self, name: str, **spec: Any) -> None:
        """A budget over a Deployment's pods, counted."""
        path = "/apis/policy/v1/namespaces/work/poddisruptionbudgets"
        self.api.expect(201, "POST", path, {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": name}}, **spec}})
        until(lambda: self.api.get(f"{path}/{name}")["status"].get("observedGeneration"))

    def pods(self, name: str) -> list[Object]:
        """The pods of a Deployment that are not going."""
        found = self.api.items(f"/api/v1/namespaces/work/pods?labelSelector=app={name}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def on(self, node: str) -> list[Object]:
        """Every pod of a node."""
        return self.api.items(f"/api/v1/pods?fieldSelector=spec.nodeName={node}")


@pytest.fixture
def cluster(fresh_engine: Callable[..., RunningEngine], tmp_path: Path) -> Iterator[Cluster]:
    engine = fresh_engine(cluster="empty")
    yield Cluster(engine, tmp_path / "home")
    process.stop(engine.directory)


def test_a_node_is_emptied_and_its_workloads_run_elsewhere(cluster: Cluster) -> None:
    cluster.deploy("web", 8)
    cluster.protect("web", maxUnavailable=1)
    node = min((pod["spec"]["nodeName"] for pod in cluster.pods("web")), key=lambda name: len(cluster.on(name)))
    before = [pod["metadata"]["name"] for pod in cluster.pods("web") if pod["spec"]["nodeName"] == node]
    finished = cluster.kubectl("drain", node, *DRAIN)
    assert finished.returncode == 0, finished
    lines = finished.stdout.splitlines()
    assert lines[0] == f"node/{node} cordoned"
    assert lines[-1] == f"node/{node} drained"
    assert {f"pod/{name} evicted" for name in before} <= set(lines)
    assert "Warning: ignoring DaemonSet-managed Pods: " in finished.stderr
    left = cluster.on(node)
    assert {pod["metadata"]["ownerReferences"][0]["kind"] for pod in left} == {"DaemonSet"}
    cluster.kubectl.ok("rollout", "status", "deployment/web", "-n", "work", "--timeout=20s")
    assert all(pod["spec"]["nodeName"] != node for pod in cluster.pods("web"))
    taints = cluster.api.get(f"/api/v1/nodes/{node}")["spec"]["taints"]
    assert [(taint["key"], taint["effect"]) for taint in taints] == [("node.kubernetes.io/unschedulable", "NoSchedule")]
    assert cluster.kubectl.ok("uncordon", node) == f"node/{node} uncordoned\n"
    until(lambda: not cluster.api.get(f"/api/v1/nodes/{node}")["spec"].get("taints"))


def test_a_budget_without_room_holds_the_drain_until_its_time_is_over(cluster: Cluster) -> None:
    cluster.deploy("web", 1)
    cluster.protect("web", minAvailable=1)
    pod = cluster.pods("web")[0]
    node, name = pod["spec"]["nodeName"], pod["metadata"]["name"]
    finished = cluster.kubectl("drain", node, *DRAIN, "--timeout=1s", timeout=30)
    assert finished.returncode == 1
    refused = f'error when evicting pods/"{name}" -n "work" (will retry after 5s): Cannot evict pod as it would violate the pod\'s disruption budget.'
    assert refused in finished.stderr
    assert "global timeout reached: 1s" in finished.stderr
    assert cluster.pods("web")[0]["metadata"]["uid"] == pod["metadata"]["uid"]
    # A plain deletion asks no budget.
    assert f"pod/{name} deleted" in cluster.kubectl.ok("drain", node, *DRAIN, "--disable-eviction")
    cluster.kubectl.ok("rollout", "status", "deployment/web", "-n", "work", "--timeout=20s")


def test_pods_that_nobody_would_make_again_need_force(cluster: Cluster) -> None:
    pod = {"metadata": {"name": "alone"}, "spec": {"containers": [{"name": "main", "image": "registry.example/app:1"}]}}
    cluster.api.expect(201, "POST", "/api/v1/namespaces/work/pods", pod)
    found = until(lambda: cluster.api.get("/api/v1/namespaces/work/pods/alone")["spec"].get("nodeName"))
    finished = cluster.kubectl("drain", found, *DRAIN)
    assert finished.returncode == 1
    assert "cannot delete Pods that declare no controller (use --force to override): work/alone" in finished.stderr
    assert cluster.api.get(f"/api/v1/nodes/{found}")["spec"]["unschedulable"] is True
    assert "pod/alone evicted" in cluster.kubectl.ok("drain", found, *DRAIN, "--force")


def test_a_drain_that_is_only_tried_changes_nothing(cluster: Cluster) -> None:
    cluster.deploy("web", 2)
    cluster.protect("web", minAvailable=1)
    node = cluster.pods("web")[0]["spec"]["nodeName"]
    versions = {pod["metadata"]["uid"]: pod["metadata"]["resourceVersion"] for pod in cluster.on(node)}
    said = cluster.kubectl.ok("drain", node, *DRAIN, "--dry-run=server")
    assert f"node/{node} cordoned (server dry run)" in said
    assert "evicting pod work/web-" in said
    assert said.endswith(f"node/{node} drained (server dry run)\n")
    assert {pod["metadata"]["uid"]: pod["metadata"]["resourceVersion"] for pod in cluster.on(node)} == versions
    assert not cluster.api.get(f"/api/v1/nodes/{node}")["spec"].get("unschedulable")


def test_all_workers_one_after_the_other(cluster: Cluster) -> None:
    cluster.deploy("web", 6)
    cluster.protect("web", minAvailable="50%")
    seen: list[int] = []
    for number in range(1, 7):
        cluster.kubectl.ok("drain", f"node{number:02}", *DRAIN)
        seen.append(len(cluster.pods("web")))
        cluster.kubectl.ok("rollout", "status", "deployment/web", "-n", "work", "--timeout=20s")
        cluster.api.expect(200, "PATCH", f"/api/v1/nodes/node{number:02}", {"spec": {"unschedulable": None}}, content_type=MERGE_PATCH)
    assert min(seen) >= 3
