# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations as a client sees them over HTTP, on an engine of its own with everything at work."""
from __future__ import annotations

import typing as t
from collections.abc import Callable

import pytest

from ..support.api import Api
from .waiting import eventually

VMIMS = "/apis/kubevirt.io/v1/namespaces/shop/virtualmachineinstancemigrations"
VMIS = "/apis/kubevirt.io/v1/namespaces/shop/virtualmachineinstances"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PHASES = ["Pending", "Scheduling", "Scheduled", "PreparingTarget", "TargetReady", "Running", "Succeeded"]


def ask(api: Api, vmi: str) -> str:
    body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration", "metadata": {"generateName": "mine-"}, "spec": {"vmiName": vmi}}
    return str(api.expect(201, "POST", VMIMS, body)["metadata"]["name"])


def over(api: Api, name: str) -> dict[str, t.Any]:
    def ended() -> bool:
        return api.get(f"{VMIMS}/{name}").get("status", {}).get("phase") in ("Succeeded", "Failed")

    eventually(ended, timeout=30)
    eventually(lambda: not api.get(f"{VMIMS}/{name}")["metadata"].get("finalizers"), timeout=30)
    return api.get(f"{VMIMS}/{name}")


@pytest.mark.parametrize("release", ["4.18", "4.19"])
def test_machines_are_migrated_by_object_and_by_subresource(start: Callable[..., Api], release: str) -> None:
    api = start(release=release)
    before = api.get(f"{VMIS}/vm-2")
    found = over(api, ask(api, "vm-2"))
    after = api.get(f"{VMIS}/vm-2")
    assert [entry["phase"] for entry in found["status"]["phaseTransitionTimestamps"]] == PHASES
    assert found["status"]["migrationState"] == after["status"]["migrationState"]
    assert found["status"]["migrationState"]["sourceNode"] == before["status"]["nodeName"]
    assert after["status"]["nodeName"] == found["status"]["migrationState"]["targetNode"] != before["status"]["nodeName"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert found["metadata"]["labels"] == {"kubevirt.io/vmi-name": "vm-2"}
    table = api.request("GET", f"{VMIMS}/{found['metadata']['name']}", accept=TABLE).body
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Phase", "VMI"]
    assert table["rows"][0]["cells"] == [found["metadata"]["name"], "Succeeded", "vm-2"]

    migrate = "/apis/subresources.kubevirt.io/v1/namespaces/shop/virtualmachines/vm-2/migrate"
    assert api.request("PUT", migrate, accept="*/*").status == 202
    made = eventually(lambda: [one for one in api.items(VMIMS) if one["metadata"]["name"].startswith("kubevirt-migrate-vm-")])
    assert over(api, made[0]["metadata"]["name"])["status"]["phase"] == "Succeeded"


def test_a_cancelled_migration_goes_and_the_machine_stays(start: Callable[..., Api]) -> None:
    api = start(release="4.19")
    before = api.get(f"{VMIS}/vm-2")
    annotations = {"metadata": {"annotations": {"engine.okd.virt/copy-seconds": "100000"}}}
    api.expect(200, "PATCH", "/apis/kubevirt.io/v1/namespaces/shop/virtualmachines/vm-2", annotations, content_type="application/merge-patch+json")
    name = ask(api, "vm-2")
    eventually(lambda: api.get(f"{VMIMS}/{name}").get("status", {}).get("phase") in ("Running", "Failed"), timeout=30)
    api.request("DELETE", f"{VMIMS}/{name}")
    eventually(lambda: api.request("GET", f"{VMIMS}/{name}").status == 404, timeout=30)
    after = api.get(f"{VMIS}/vm-2")
    assert (after["metadata"]["uid"], after["status"]["phase"]) == (before["metadata"]["uid"], "Running")
    assert after["status"]["nodeName"] == before["status"]["nodeName"]
