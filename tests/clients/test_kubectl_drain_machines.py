# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real kubectl drains nodes of the lab that virtual machines run on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine
from ansible_collections.okd.virt.tests.support.api import Api
from ansible_collections.okd.virt.tests.support.kubectl import Kubectl

Object = dict[str, Any]
VMIS = "/apis/kubevirt.io/v1/virtualmachineinstances"
DRAIN = ("--ignore-daemonsets", "--delete-emptydir-data")
DENIED = 'admission webhook "virt-launcher-eviction-interceptor.kubevirt.io" denied the request: '


class Lab:
    """An engine of the test's own."""

    def __init__(self, engine: RunningEngine, home: Path) -> None:
        self.kubectl, self.api = Kubectl(engine.kubeconfig, home), Api(engine.kubeconfig)

    def on(self, node: str) -> dict[tuple[str, str], Object]:
        """The instances on the node by namespace and name."""
        found = (one for one in self.api.items(VMIS) if one["status"].get("nodeName") == node)
        return {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in found}

    def instance(self, key: tuple[str, str]) -> Object:
        return self.api.get(f"/apis/kubevirt.io/v1/namespaces/{key[0]}/virtualmachineinstances/{key[1]}")

    def node(self, *, blocked: bool) -> str:
        """A worker with, or without, a machine that an eviction can't move; without pods that need --force."""
        lonely = {pod["spec"].get("nodeName") for pod in self.api.items("/api/v1/pods") if not pod["metadata"].get("ownerReferences")}
        budgets = self.api.items("/apis/policy/v1/poddisruptionbudgets")
        trapped = {
            (budget["metadata"]["namespace"], name)
            for budget in budgets if not budget["metadata"].get("ownerReferences")
            for name in budget["spec"]["selector"].get("matchLabels", {}).values()
        }
        for number in range(1, 7):
            name = f"node{number:02}"
            here = self.on(name)
            stuck = any(_stays(vmi) for vmi in here.values())
            if name not in lonely and stuck == blocked and not trapped & set(here):
                return name
        raise AssertionError("no such node in the lab")


def _stays(vmi: Object) -> bool:
    migratable = any(entry["type"] == "LiveMigratable" and entry["status"] == "True" for entry in vmi["status"]["conditions"])
    return vmi["spec"].get("evictionStrategy") == "LiveMigrate" and not migratable


def _moves(vmi: Object) -> bool:
    return vmi["spec"].get("evictionStrategy") in ("LiveMigrate", "LiveMigrateIfPossible") and any(
        entry["type"] == "LiveMigratable" and entry["status"] == "True" for entry in vmi["status"]["conditions"]
    )


@pytest.fixture
def lab(fresh_engine: Callable[..., RunningEngine], tmp_path: Path) -> Callable[[str], Lab]:
    return lambda release: Lab(fresh_engine(release=release), tmp_path)


@pytest.mark.parametrize("release", ["4.18", "4.19"])
def test_a_drained_node_is_left_by_machines_that_go_on_running(lab: Callable[[str], Lab], release: str) -> None:
    cluster = lab(release)
    node = cluster.node(blocked=False)
    before = cluster.on(node)
    finished = cluster.kubectl("drain", node, *DRAIN, "--timeout=100s", timeout=120)
    assert finished.returncode == 0, finished
    assert f"node/{node} drained" in finished.stdout
    moved = [key for key, vmi in before.items() if _moves(vmi)]
    assert moved
    for key in moved:
        assert f'(will retry after 5s): {DENIED}Eviction triggered evacuation of VMI "{key[0]}/{key[1]}"' in finished.stderr
        after = cluster.instance(key)
        assert after["metadata"]["uid"] == before[key]["metadata"]["uid"]
        assert after["status"]["phase"] == "Running"
        assert after["status"]["phaseTransitionTimestamps"] == before[key]["status"]["phaseTransitionTimestamps"], "never stopped"
        assert after["status"]["nodeName"] != node
        assert "evacuationNodeName" not in after["status"]
    assert not [key for key, vmi in cluster.on(node).items() if _moves(vmi)]


def test_a_machine_that_cannot_migrate_keeps_its_node_from_being_drained(lab: Callable[[str], Lab]) -> None:
    cluster = lab("4.19")
    node = cluster.node(blocked=True)
    key, stuck = next((key, vmi) for key, vmi in cluster.on(node).items() if _stays(vmi))
    finished = cluster.kubectl("drain", node, *DRAIN, "--timeout=12s", timeout=60)
    assert finished.returncode == 1
    text = f"(will retry after 5s): {DENIED}VMI {key[1]} is configured with an eviction strategy but is not live-migratable"
    assert finished.stderr.count(text) >= 2
    assert f'There are pending pods in node "{node}" when an error occurred' in finished.stderr
    after = cluster.instance(key)
    assert (after["metadata"]["uid"], after["status"]["nodeName"]) == (stuck["metadata"]["uid"], node)


def test_without_evictions_machines_are_shut_down_and_start_elsewhere(lab: Callable[[str], Lab]) -> None:
    cluster = lab("4.19")
    node = cluster.node(blocked=False)
    before = cluster.on(node)
    finished = cluster.kubectl("drain", node, *DRAIN, "--disable-eviction", "--timeout=100s", timeout=120)
    assert finished.returncode == 0, finished
    assert "error when evicting" not in finished.stderr
    for key, vmi in before.items():
        found = cluster.api.request("GET", f"/apis/kubevirt.io/v1/namespaces/{key[0]}/virtualmachineinstances/{key[1]}")
        assert found.status == 404 or found.body["metadata"]["uid"] != vmi["metadata"]["uid"]
