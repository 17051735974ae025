# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine on which recorded scenes are played again: machines, migrations, evictions, and what was answered meanwhile."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..support.api import MERGE_PATCH, Answer
from ..support.held_engine import HeldEngine
from .kubevirt_cases import Allowed, Object, compare, recorded, send, summary

KUBEVIRT = "/apis/kubevirt.io/v1"
FINAL = ("Succeeded", "Failed")
_PATIENCE = 20.0


class Stage:
    """Remembers of each recorded case where the engine's answer differs. A case that this version has no recording of is left out."""

    def __init__(self, engine: HeldEngine, version: str, allowed: Allowed) -> None:
        self.engine, self.api, self.version, self.allowed = engine, engine.api, version, allowed
        self.cases, self.summary = recorded(version), summary(version)
        self.answered: dict[str, list[str]] = {}
        self.namespace = ""

    @contextlib.contextmanager
    def within(self, namespace: str) -> Iterator[None]:
        """Play in a namespace of this name, made unless it is there."""
        self.namespace = namespace
        if self.api.request("GET", f"/api/v1/namespaces/{namespace}").status == 404:
            self.api.expect(201, "POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
            self.until("its ServiceAccount", lambda: self.found(f"/api/v1/namespaces/{namespace}/serviceaccounts/default"))
        yield

    def ask(self, case: str, name: str = "") -> Object:
        """Send a case as it was recorded, with another name at the end of its path or before its subresource; the answer's body."""
        asked = self.cases.get(case)
        if asked is None:
            return {}
        names = {}
        if name:
            names[asked["request"]["path"].split("?")[0].removesuffix("/eviction").removesuffix("/status").rsplit("/", 1)[1]] = name
        answer = send(self.api, asked, self.engine.namespace, names)
        self.answered[case] = compare(self.allowed.said(asked), answer)
        return answer.body if isinstance(answer.body, dict) else {}

    def until(self, what: str, holds: Callable[[], Any]) -> Any:
        """The first true answer. Raises AssertionError, which names it."""
        deadline = time.monotonic() + _PATIENCE
        while not (value := holds()):
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come")
            time.sleep(0.003)
        return value

    def found(self, path: str) -> Object | None:
        answer = self.api.request("GET", path)
        return answer.body if answer.status == 200 else None

    def path(self, resource: str, name: str = "") -> str:
        return f"{KUBEVIRT}/namespaces/{self.namespace}/{resource}" + (f"/{name}" if name else "")

    def create(self, name: str, binding: str = "masquerade", eviction: str | None = "LiveMigrate", engine: Object | None = None,
               disk: str = "containerdisk", **spec: Any) -> None:
        """A machine like those that were recorded; `engine` is what the engine is told of it by annotations."""
        domain = {"resources": {"requests": {"memory": "128Mi"}}, "devices": {
            "disks": [{"name": disk, "disk": {"bus": "virtio"}}], "interfaces": [{"name": "default", binding: {}}],
        }}  # fmt: skip
        tag = "v1.9.0" if disk == "containerdisk" else f"v{self.version}"
        volumes = [{"name": disk, "containerDisk": {"image": f"quay.io/kubevirt/cirros-container-disk-demo:{tag}"}}]
        template = {"domain": domain, "networks": [{"name": "default", "pod": {}}], "volumes": volumes, **spec}
        if eviction is not None:
            template["evictionStrategy"] = eviction
        body = {
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
            "metadata": {"name": name, "annotations": {f"engine.okd.virt/{key}": value for key, value in (engine or {}).items()}},
            "spec": {"runStrategy": "Always", "template": {"metadata": {"labels": {"kubevirt.io/vm": name}}, "spec": template}},
        }  # fmt: skip
        self.api.expect(201, "POST", self.path("virtualmachines"), body)

    def tell(self, name: str, **engine: str | None) -> None:
        """Tell the engine something of a machine."""
        told = {f"engine.okd.virt/{key.replace('_', '-')}": value for key, value in engine.items()}
        self.api.expect(200, "PATCH", self.path("virtualmachines", name), {"metadata": {"annotations": told}}, content_type=MERGE_PATCH)

    def runs(self, *names: str) -> None:
        """Wait until machines are ready and nothing of them changes for a moment."""
        for name in names:
            self.until(f"{name} Running", functools.partial(self._ready, name))

    def _ready(self, name: str) -> bool:
        vm = self.found(self.path("virtualmachines", name)) or {}
        return bool(vm.get("status", {}).get("ready")) and any(
            one["type"] == "LiveMigratable" for one in self.instance(name).get("status", {}).get("conditions") or ()
        )

    def instance(self, name: str) -> Object:
        return self.found(self.path("virtualmachineinstances", name)) or {}

    def migration(self, name: str) -> Object:
        return self.found(self.path("virtualmachineinstancemigrations", name)) or {}

    def migrations(self, vmi: str) -> list[Object]:
        return [one for one in self.api.items(self.path("virtualmachineinstancemigrations")) if one["spec"]["vmiName"] == vmi]

    def migrate(self, vmi: str, **annotations: str) -> str:
        """Ask for a migration; its name."""
        metadata: Object = {"generateName": f"mig-{vmi}-", **({"annotations": annotations} if annotations else {})}
        body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration", "metadata": metadata, "spec": {"vmiName": vmi}}
        return str(self.api.expect(201, "POST", self.path("virtualmachineinstancemigrations"), body)["metadata"]["name"])

    def reaches(self, migration: str, *phases: str) -> None:
        self.until(f"{migration} {phases}", lambda: self.migration(migration).get("status", {}).get("phase") in phases)

    def over(self, migration: str) -> None:
        """Wait until a migration is over and has been let go."""
        self.until(f"the end of {migration}", lambda: self._over(migration))

    def _over(self, migration: str) -> bool:
        found = self.migration(migration)
        return not found or self.ended(found)

    @staticmethod
    def ended(migration: Object) -> bool:
        """Whether a migration is over and has been let go."""
        return migration.get("status", {}).get("phase") in FINAL and not migration["metadata"].get("finalizers")

    def cancel(self, migration: str) -> None:
        self.api.request("DELETE", self.path("virtualmachineinstancemigrations", migration))
        self.gone(migration)

    def gone(self, migration: str) -> None:
        self.until(f"the end of {migration}", lambda: not self.migration(migration))

    def launchers(self, vmi: str) -> list[Object]:
        pods = self.api.items(f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=vm.kubevirt.io/name={vmi}")
        return sorted(pods, key=lambda pod: pod["status"].get("phase") != "Running")

    def launcher(self, vmi: str) -> str:
        """The pod that the guest is in."""
        return str(self.launchers(vmi)[0]["metadata"]["name"])

    def evict(self, vmi: str) -> Answer:
        pod = self.launcher(vmi)
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": self.namespace}}
        return self.api.request("POST", f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction", body)

    def evict_completed(self) -> None:
        """As kubectl drain goes on: it evicts the launchers that guests have left, too."""
        pods = f"/api/v1/namespaces/{self.namespace}/pods"
        for pod in self.api.items(pods):
            if pod["status"].get("phase") == "Succeeded":
                name = pod["metadata"]["name"]
                body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": self.namespace}}
                self.api.expect(201, "POST", f"{pods}/{name}/eviction", body)
        budgets = f"/apis/policy/v1/namespaces/{self.namespace}/poddisruptionbudgets"
        self.until("budgets without them", lambda: all(one["status"].get("expectedPods") == 1 for one in self.api.items(budgets)))

    def limit(self, **limits: int) -> None:
        """Set fields of HyperConverged's liveMigrationConfig and wait until KubeVirt has them."""
        path = f"/apis/hco.kubevirt.io/v1beta1/namespaces/{self.engine.namespace}/hyperconvergeds/kubevirt-hyperconverged"
        self.api.expect(200, "PATCH", path, {"spec": {"liveMigrationConfig": limits}}, content_type=MERGE_PATCH)
        self.until("the limits", lambda: limits.items() <= (
            self.api.items(f"{KUBEVIRT}/kubevirts")[0]["spec"].get("configuration", {}).get("migrations", {}).items()
        ))  # fmt: skip

    def unmark(self, vmi: str) -> None:
        """Take back an eviction, as nobody but KubeVirt itself may."""
        patch = [{"op": "remove", "path": "/status/evacuationNodeName"}]
        user = f"system:serviceaccount:{self.engine.namespace}:kubevirt-controller"
        path = self.path("virtualmachineinstances", vmi)
        self.api.request("PATCH", path, patch, content_type="application/json-patch+json", user=user, groups=("system:masters",))

    def nodes(self) -> list[str]:
        """Names of the nodes that run machines."""
        return [str(node["metadata"]["name"]) for node in self.api.items("/api/v1/nodes?labelSelector=kubevirt.io/schedulable=true")]

    def cordon(self, *nodes: str, off: bool = False) -> None:
        for node in nodes:
            self.api.expect(200, "PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None if off else True}}, content_type=MERGE_PATCH)


def drain_once(stage: Stage, node: str) -> None:
    """Cordon a node and ask for the eviction of the machines of one namespace on it."""
    stage.cordon(node)
    for vmi in stage.api.items(stage.path("virtualmachineinstances")):
        if vmi["status"].get("nodeName") == node:
            stage.evict(vmi["metadata"]["name"])
