# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab has of everything: each of its varieties is there because a drain, a plan or a finding is tried on it."""
from __future__ import annotations

import collections
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.quantities import quantity
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import NODES, PODS, Object, Ref

VMIS = Ref("kubevirt.io", "v1", "virtualmachineinstances")
BUDGETS = Ref("policy", "v1", "poddisruptionbudgets")


@pytest.fixture
async def engine() -> t.AsyncIterator[Engine]:
    made = Engine(Options(cluster="lab", speed="max"))
    await made.start()
    yield made
    await made.stop()


def _condition(obj: Object, kind: str) -> Object:
    return next((one for one in obj["status"].get("conditions", ()) if one["type"] == kind), {})


def _requests(pod: Object) -> int:
    return sum(int(quantity(one.get("resources", {}).get("requests", {}).get("memory", "0"))) for one in pod["spec"]["containers"])


async def test_every_variety_is_there(engine: Engine) -> None:
    vmis = {f"{vmi['metadata']['namespace']}/{vmi['metadata']['name']}": vmi for vmi in (await engine.admin.list(VMIS)).items}
    assert len(vmis) == 44
    reasons = collections.Counter(_condition(vmi, "LiveMigratable").get("reason", "") for vmi in vmis.values())
    assert reasons == {"": 41, "DisksNotLiveMigratable": 2, "HostDeviceNotLiveMigratable": 1}
    strategies = collections.Counter(vmi["spec"]["evictionStrategy"] for vmi in vmis.values())
    assert strategies == {"LiveMigrate": 42, "LiveMigrateIfPossible": 1, "None": 1}
    assert vmis["analytics/vm-3"]["spec"]["domain"]["cpu"]["model"] == "Skylake-Server"
    models = {vmi["spec"]["domain"]["cpu"]["model"] for vmi in vmis.values()}
    assert models == {"host-model", "Skylake-Server"}
    nodes = (await engine.admin.list(NODES)).items
    hosts = {key for node in nodes for key in node["metadata"]["labels"] if key.startswith("host-model-cpu.node.kubevirt.io/")}
    assert len(hosts) == 2
    addresses = [one["ipAddress"] for vmi in vmis.values() for one in vmi["status"]["interfaces"]]
    assert len(set(addresses)) == 44


async def test_one_node_has_a_dozen_vms_that_can_all_leave_it_and_what_else_a_drain_meets(engine: Engine) -> None:
    pods = (await engine.admin.list(PODS, field_selector="spec.nodeName=node02")).items
    launchers = [pod for pod in pods if pod["metadata"]["labels"].get("kubevirt.io") == "virt-launcher"]
    assert len(launchers) == 12
    for pod in launchers:
        owner = pod["metadata"]["ownerReferences"][0]["name"]
        vmi = await engine.admin.get(VMIS, owner, pod["metadata"]["namespace"])
        assert _condition(vmi, "LiveMigratable")["status"] == "True"
        assert vmi["spec"]["evictionStrategy"] == "LiveMigrate"
    others = [pod for pod in pods if pod not in launchers]
    owners = {pod["metadata"]["ownerReferences"][0]["kind"] for pod in others}
    assert owners == {"DaemonSet", "ReplicaSet"}
    assert any("emptyDir" in volume for pod in others if pod["metadata"]["labels"].get("app") == "reports" for volume in pod["spec"]["volumes"])


async def test_one_node_is_nearly_full(engine: Engine) -> None:
    pods = (await engine.admin.list(PODS)).items
    left = {}
    for node in (await engine.admin.list(NODES)).items:
        used = sum(_requests(pod) for pod in pods if pod["spec"].get("nodeName") == node["metadata"]["name"])
        left[node["metadata"]["name"]] = (int(quantity(node["status"]["allocatable"]["memory"])) - used) / 2**30
    assert 0 <= left["node06"] < 8
    assert all(room > 40 for name, room in left.items() if name.startswith("node") and name != "node06")


async def test_a_users_budget_blocks_for_ever_and_one_pod_is_nobodys(engine: Engine) -> None:
    budget = await engine.admin.get(BUDGETS, "keep-vm-4", "ci")
    assert budget["status"]["disruptionsAllowed"] == 0
    assert _condition(budget, "DisruptionAllowed")["reason"] == "SyncFailed"
    assert "ownerReferences" not in (await engine.admin.get(PODS, "debug-shell", "ci"))["metadata"]
