# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform is updated, and pools of nodes are rolled, with VMs that live-migrate on the way."""
from __future__ import annotations

import typing as t
from collections.abc import Callable

import pytest

from ..support.api import MERGE_PATCH, Api
from .waiting import eventually

Object = dict[str, t.Any]
VERSION = "/apis/config.openshift.io/v1/clusterversions/version"
POOLS = "/apis/machineconfiguration.openshift.io/v1/machineconfigpools"
CONFIGS = "/apis/machineconfiguration.openshift.io/v1/machineconfigs"
VMIS = "/apis/kubevirt.io/v1/virtualmachineinstances"
NODES = "/api/v1/nodes"
PREFIX = "machineconfiguration.openshift.io/"
SIZES = ("vms=12", "nodes=4", "namespaces=2", "bindings=0", "rwo_percent=0", "busy_percent=0")


class Platform:
    """A cluster of four workers with twelve VMs on a platform of 4.18."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def change(self, path: str, body: Object) -> None:
        self.api.expect(200, "PATCH", path, body, content_type=MERGE_PATCH)

    def condition(self, path: str, kind: str) -> Object:
        found: list[Object] = self.api.get(path)["status"]["conditions"]
        return next((one for one in found if one["type"] == kind), {"status": "", "message": ""})

    def update_to(self, version: str, **more: t.Any) -> None:
        self.change(VERSION, {"spec": {"desiredUpdate": {"version": version, **more}}})

    def is_at(self, version: str) -> bool:
        newest = self.api.get(VERSION)["status"]["history"][0]
        return bool(newest["version"] == version and newest["state"] == "Completed")

    def is_rolled(self, pool: str) -> bool:
        found = self.api.get(f"{POOLS}/{pool}")
        same = found["status"]["configuration"]["name"] == found["spec"]["configuration"]["name"]
        return bool(same and self.condition(f"{POOLS}/{pool}", "Updated")["status"] == "True")

    def vms(self) -> dict[str, str]:
        return {one["metadata"]["uid"]: one["status"]["phase"] for one in self.api.items(VMIS)}

    def workers(self) -> list[Object]:
        return [one for one in self.api.items(NODES) if one["metadata"]["name"].startswith("node")]

    def out(self) -> int:
        return sum(1 for node in self.workers() if node["spec"].get("unschedulable"))

    def messages(self, reason: str) -> list[str]:
        return [one["message"] for one in self.api.items(f"/api/v1/events?fieldSelector=reason={reason}")]

    def configure(self, name: str = "99-worker-time") -> None:
        body = {"apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
                "metadata": {"name": name, "labels": {f"{PREFIX}role": "worker"}}, "spec": {"kernelArguments": ["quiet"]}}
        self.api.expect(201, "POST", CONFIGS, body)


@pytest.fixture
def platform(start: Callable[..., Api]) -> Platform:
    return Platform(start(speed="max", cluster="generated", platform="4.18", sizes=SIZES))


def test_to_the_next_minor_version_with_all_vms_running(platform: Platform) -> None:
    before = platform.vms()
    assert [one["version"] for one in platform.api.get(VERSION)["status"]["availableUpdates"]] == ["4.18.13", "4.19.0"]
    platform.change(f"{POOLS}/worker", {"spec": {"maxUnavailable": 2}})
    platform.update_to("4.19.0")
    most = 0
    eventually(lambda: platform.condition(VERSION, "Progressing")["message"].startswith("Working towards 4.19.0"))

    def done() -> bool:
        nonlocal most
        most = max(most, platform.out())
        return platform.is_at("4.19.0") and platform.is_rolled("worker") and platform.is_rolled("master")

    eventually(done, 60)
    assert 1 <= most <= 2
    assert platform.vms() == before
    assert platform.condition(VERSION, "Progressing")["message"] == "Cluster version is 4.19.0"
    annotations = [node["metadata"]["annotations"] for node in platform.workers()]
    wanted = platform.api.get(f"{POOLS}/worker")["spec"]["configuration"]["name"]
    for found in annotations:
        assert found[f"{PREFIX}currentConfig"] == found[f"{PREFIX}desiredConfig"] == wanted
        assert found[f"{PREFIX}state"] == "Done"
        assert found[f"{PREFIX}lastAppliedDrain"] == found[f"{PREFIX}desiredDrain"] == f"uncordon-{wanted}"
    assert not platform.out()
    assert platform.api.get(f"{POOLS}/worker")["status"]["updatedMachineCount"] == 4
    targeted = [text for text in platform.messages("SetDesiredConfig") if text.startswith(("Targeted node node", "Set target for"))]
    assert targeted
    assert len(platform.messages("Reboot")) == 7


def test_what_is_not_on_offer_is_refused(platform: Platform) -> None:
    platform.update_to("4.20.0")
    found = eventually(lambda: platform.condition(VERSION, "Invalid") if platform.condition(VERSION, "Invalid")["status"] else None)
    assert found["reason"] == "InvalidClusterVersion"
    assert found["message"] == (
        'The cluster version is invalid: spec.desiredUpdate.version: Invalid value: "4.20.0": '
        "when image is empty the update must be a previous version or an available update"
    )
    assert platform.is_at("4.18.0")


def test_a_minor_version_waits_for_what_has_to_be_acknowledged(platform: Platform) -> None:
    gates = {"metadata": {"name": "admin-gates"}, "data": {"ack-4.18-boot-image-opt-out-in-4.19": "Boot images change in 4.19."}}
    platform.api.expect(201, "POST", "/api/v1/namespaces/openshift-config-managed/configmaps", gates)
    eventually(lambda: platform.condition(VERSION, "Upgradeable")["status"] == "False")
    platform.update_to("4.19.0")
    refused = eventually(lambda: platform.condition(VERSION, "ReleaseAccepted") if platform.condition(VERSION, "ReleaseAccepted")["status"] else None)
    assert refused["reason"] == "PreconditionChecks"
    assert refused["message"].endswith('failed because of "AdminAckRequired": Boot images change in 4.19.')
    platform.update_to("4.18.13")
    eventually(lambda: platform.is_at("4.18.13"), 60)
    platform.update_to("4.19.0")
    acks = {"metadata": {"name": "admin-acks"}, "data": {"ack-4.18-boot-image-opt-out-in-4.19": "true"}}
    platform.api.expect(201, "POST", "/api/v1/namespaces/openshift-config/configmaps", acks)
    eventually(lambda: platform.is_at("4.19.0"), 60)


def test_a_new_configuration_rolls_its_pool_and_no_other_unless_it_is_paused(platform: Platform) -> None:
    before = platform.vms()
    platform.change(f"{POOLS}/worker", {"spec": {"paused": True}})
    platform.configure()
    eventually(lambda: platform.condition(f"{POOLS}/worker", "Updated")["status"] == "False")
    assert platform.condition(f"{POOLS}/worker", "Updating")["status"] == "False"
    assert not platform.out()
    platform.change(f"{POOLS}/worker", {"spec": {"paused": False, "maxUnavailable": "50%"}})
    eventually(lambda: platform.is_rolled("worker"), 60)
    assert platform.vms() == before
    assert all(node["metadata"]["annotations"][f"{PREFIX}desiredConfig"].startswith("rendered-worker-") for node in platform.workers())
    assert "99-worker-time" in [one["name"] for one in platform.api.get(f"{POOLS}/worker")["spec"]["configuration"]["source"]]
    assert not [text for text in platform.messages("SetDesiredConfig") if "control-" in text]


def test_a_blocked_drain_is_tried_again_and_stops_the_pool(start: Callable[..., Api]) -> None:
    """A budget that never opens: one node waits, cordoned, and no other begins."""
    platform = Platform(start(speed="600", cluster="generated", sizes=SIZES))
    node = sorted(platform.workers(), key=lambda one: one["metadata"]["labels"]["topology.kubernetes.io/zone"])[0]["metadata"]["name"]
    pod = {"metadata": {"name": "held", "labels": {"app": "held"}, "ownerReferences": []}, "spec": {
        "nodeName": node, "containers": [{"name": "main", "image": "registry.example/app:1"}]}}
    platform.api.expect(201, "POST", "/api/v1/namespaces/default/pods", pod)
    budget = {"metadata": {"name": "held"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "held"}}}}
    platform.api.expect(201, "POST", "/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget)
    eventually(lambda: platform.api.get("/api/v1/namespaces/default/pods/held")["status"].get("phase") == "Running")
    platform.configure()
    eventually(lambda: [text for text in platform.messages("DrainThresholdExceeded") if node in text], 30)
    assert platform.out() == 1
    assert platform.api.get(f"{NODES}/{node}")["spec"]["unschedulable"] is True
    eventually(lambda: platform.condition(f"{POOLS}/worker", "Degraded")["status"] == "True", 30)
    assert "after 1 hour" in platform.condition(f"{POOLS}/worker", "NodeDegraded")["message"]
    assert platform.api.get(f"{POOLS}/worker")["status"]["degradedMachineCount"] == 1
    platform.api.expect(200, "DELETE", "/apis/policy/v1/namespaces/default/poddisruptionbudgets/held")
    eventually(lambda: platform.is_rolled("worker"), 60)
    assert platform.condition(f"{POOLS}/worker", "Degraded")["status"] == "False"
