# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What virt-api fills in: as recorded, and where a user has said less or more."""

from __future__ import annotations

import copy
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_api import defaults
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller import machine_template
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller.configuration import (
    Configuration,
)

RECORDED = Path(__file__).parents[6] / "conformance" / "recorded"
NOW = "2026-11-23T12:00:00Z"
Object = dict[str, t.Any]


@pytest.mark.parametrize("version", ["1.4.1", "1.5.3"])
def test_an_instance_is_filled_in_as_recorded(version: str) -> None:
    directory = RECORDED / f"kubevirt-{version}"
    vm: Object = json.loads((directory / "machines" / "machines.json").read_text(encoding="utf-8"))["running"]
    wanted: Object = json.loads((directory / "launcher" / "first-start.json").read_text(encoding="utf-8"))["vmi"]
    vmi = machine_template.instance(vm)
    defaults.instance_defaults(vmi, Configuration(eviction_strategy="LiveMigrate"), NOW)
    assert vmi["spec"] == wanted["spec"]
    assert vmi["metadata"]["finalizers"] == wanted["metadata"]["finalizers"]
    for field in ("currentCPUTopology", "memory", "runtimeUser"):
        assert vmi["status"][field] == wanted["status"][field]
    assert vmi["status"]["phaseTransitionTimestamps"][0]["phase"] == wanted["status"]["phaseTransitionTimestamps"][0]["phase"] == "Pending"
    again = copy.deepcopy(vmi)
    defaults.instance_defaults(again, Configuration(), "2026-11-23T13:00:00Z")
    assert again == vmi


def filled(domain: Object, config: Configuration | None = None, **spec: t.Any) -> Object:
    vmi: Object = {"metadata": {"name": "a"}, "spec": {"domain": domain, **spec}}
    defaults.instance_defaults(vmi, config or Configuration(), NOW)
    return vmi


@pytest.mark.parametrize(("domain", "topology"), [
    ({}, (1, 1, 1)), ({"cpu": {"cores": 4}}, (4, 1, 1)), ({"cpu": {"sockets": 2, "threads": 2}}, (1, 2, 2)),
    ({"resources": {"limits": {"cpu": "3"}}}, (1, 3, 1)), ({"resources": {"requests": {"cpu": "1500m"}}}, (1, 2, 1)),
])
def test_topologies(domain: Object, topology: tuple[int, int, int]) -> None:
    cpu = filled(domain)["spec"]["domain"]["cpu"]
    assert (cpu["cores"], cpu["sockets"], cpu["threads"]) == topology
    assert cpu["model"] == "host-model"


@pytest.mark.parametrize(("domain", "overcommit", "request_", "guest"), [
    ({"memory": {"guest": "2Gi"}}, 100, "2Gi", "2Gi"), ({"memory": {"guest": "2Gi"}}, 200, "1Gi", "2Gi"),
    ({"resources": {"requests": {"memory": "1Gi"}}}, 200, "1Gi", "1Gi"), ({"resources": {"limits": {"memory": "3Gi"}}}, 100, "3Gi", "3Gi"),
    ({"memory": {"hugepages": {"pageSize": "1Gi"}}}, 200, "1Gi", "1Gi"),
])
def test_memory(domain: Object, overcommit: int, request_: str, guest: str) -> None:
    made = filled(domain, Configuration(memory_overcommit=overcommit))["spec"]["domain"]
    assert (made["resources"]["requests"]["memory"], made["memory"]["guest"]) == (request_, guest)


@pytest.mark.parametrize(("image", "policy"), [
    ("registry.example/disk:1", "IfNotPresent"), ("registry.example/disk@sha256:0", "IfNotPresent"), ("disk:latest", "Always"), ("disk", "Always"),
])
def test_pull_policies(image: str, policy: str) -> None:
    volumes = [{"name": "d", "containerDisk": {"image": image}}]
    assert filled({}, volumes=volumes)["spec"]["volumes"][0]["containerDisk"]["imagePullPolicy"] == policy


def test_the_cluster_s_strategy_is_written_into_instances_only() -> None:
    config = Configuration(eviction_strategy="LiveMigrate")
    assert filled({}, config)["spec"]["evictionStrategy"] == "LiveMigrate"
    assert filled({}, config, evictionStrategy="None")["spec"]["evictionStrategy"] == "None"
    assert "evictionStrategy" not in filled({})["spec"]


def test_machines_get_a_serial_number_with_their_creation_from_1_5_on() -> None:
    def made(version: tuple[int, int, int], create: bool) -> Object:
        vm: Object = {"spec": {"template": {"metadata": {"labels": {}, "annotations": {"a": "b"}}, "spec": {"domain": {"machine": {"type": ""}}}}}}
        defaults.machine_defaults(vm, version, create)
        found: Object = vm["spec"]["template"]
        return found

    assert made((1, 4, 1), True) == {"metadata": {"annotations": {"a": "b"}}, "spec": {"architecture": "amd64", "domain": {"machine": {"type": "q35"}}}}
    assert len(made((1, 5, 3), True)["spec"]["domain"]["firmware"]["serial"]) == 36
    assert "firmware" not in made((1, 5, 3), False)["spec"]["domain"]
    broken: Object = {"spec": {}}
    defaults.machine_defaults(broken, (1, 5, 3), True)
    assert broken == {"spec": {}}
