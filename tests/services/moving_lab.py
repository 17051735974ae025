# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab whose VMs are moved one by one, sixty times as fast as a real one."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ..support.api import MERGE_PATCH, Api
from .verbs import Verbs

KUBEVIRT_API = "/apis/kubevirt.io/v1"
SHOP = f"{KUBEVIRT_API}/namespaces/shop"
FAULTS = "engine.okd.virt/"


def eventually(what: t.Callable[[], t.Any], seconds: float = 30.0) -> t.Any:
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


@dataclasses.dataclass
class MovingLab:
    """VMs of namespace shop, each as calm as the test wants it."""

    api: Api
    verbs: Verbs

    def vmi(self, name: str, namespace: str = "shop") -> dict[str, t.Any]:
        return self.api.get(f"{KUBEVIRT_API}/namespaces/{namespace}/virtualmachineinstances/{name}")

    def node(self, name: str) -> str:
        return str(self.vmi(name)["status"]["nodeName"])

    def behaves(self, name: str, namespace: str = "shop", **annotations: str | None) -> None:
        """How its copies go: copy_seconds, fail_migration, hang_migration; None takes one away."""
        named = {FAULTS + key.replace("_", "-"): value for key, value in annotations.items()}
        path = f"{KUBEVIRT_API}/namespaces/{namespace}/virtualmachineinstances/{name}"
        self.api.expect(200, "PATCH", path, {"metadata": {"annotations": named}}, content_type=MERGE_PATCH)

    def migrations(self, name: str = "") -> list[dict[str, t.Any]]:
        items = self.api.items(f"{SHOP}/virtualmachineinstancemigrations")
        return [one for one in items if not name or one["spec"]["vmiName"] == name]

    def unfinished(self, name: str = "") -> list[dict[str, t.Any]]:
        return [one for one in self.migrations(name) if (one.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]

    def ask(self, vm: str, name: str, namespace: str = "shop") -> dict[str, t.Any]:
        """A migration of somebody else."""
        return self.api.expect(201, "POST", f"{KUBEVIRT_API}/namespaces/{namespace}/virtualmachineinstancemigrations", {
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration", "metadata": {"name": name}, "spec": {"vmiName": vm},
        })

    def runs(self, vm: str) -> dict[str, t.Any]:
        """The migration of a VM, once it copies."""
        def copying() -> dict[str, t.Any] | None:
            return next((one for one in self.unfinished(vm) if (one.get("status") or {}).get("phase") == "Running"), None)

        found: dict[str, t.Any] = eventually(copying)
        return found

    def end(self, *vms: str) -> None:
        """Stop what moves, and wait until nothing does."""
        for vm in vms:
            for one in self.unfinished(vm):
                self.api.request("DELETE", f"{SHOP}/virtualmachineinstancemigrations/{one['metadata']['name']}")
        eventually(lambda: not any(self.unfinished(vm) for vm in vms))
