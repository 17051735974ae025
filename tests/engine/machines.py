# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual machines of one namespace as a client has them: created, looked at, started, stopped, deleted."""
from __future__ import annotations

import typing as t
from collections.abc import Callable

from ..support.api import MERGE_PATCH, Answer, Api
from .waiting import eventually

Object = dict[str, t.Any]
KUBEVIRT = "/apis/kubevirt.io/v1"
SUBRESOURCES = "/apis/subresources.kubevirt.io/v1"
PATIENCE = 20.0


def machine(name: str, strategy: str | None = "Always", memory: str = "128Mi", claim: str = "", **spec: t.Any) -> Object:
    """A VirtualMachine with one disk, on a claim or from a container image; `spec` goes into its template's spec."""
    volume: Object = {"name": "disk0"}
    if claim:
        volume["persistentVolumeClaim"] = {"claimName": claim}
    else:
        volume["containerDisk"] = {"image": "quay.io/kubevirt/cirros-container-disk-demo:v1.9.0"}
    devices = {"disks": [{"name": "disk0", "disk": {"bus": "virtio"}}], "interfaces": [{"name": "default", "masquerade": {}}]}
    template = {
        "domain": {"resources": {"requests": {"memory": memory}}, "devices": devices}, "networks": [{"name": "default", "pod": {}}],
        "volumes": [volume], "evictionStrategy": "LiveMigrate", **spec,
    }
    asked: Object = {"template": {"metadata": {"labels": {"kubevirt.io/vm": name}}, "spec": template}}
    if strategy is not None:
        asked["runStrategy"] = strategy
    return {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": name}, "spec": asked}


class Machines:
    """VirtualMachines, their instances and their pods in one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api, self.namespace = api, namespace
        self.path = f"{KUBEVIRT}/namespaces/{namespace}/virtualmachines"
        self.instances = f"{KUBEVIRT}/namespaces/{namespace}/virtualmachineinstances"

    def create(self, body: Object) -> Object:
        return self.api.expect(201, "POST", self.path, body)

    def get(self, name: str) -> Object:
        return self.api.expect(200, "GET", f"{self.path}/{name}")

    def status(self, name: str) -> Object:
        found: Object = self.get(name).get("status") or {}
        return found

    def instance(self, name: str) -> Object | None:
        answer = self.api.request("GET", f"{self.instances}/{name}")
        return t.cast("Object", answer.body) if answer.status == 200 else None

    def pods(self, name: str) -> list[Object]:
        return self.api.items(f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=vm.kubevirt.io/name={name}")

    def until(self, name: str, holds: Callable[[Object], t.Any]) -> Object:
        """The machine's status once it is as wanted."""
        try:
            eventually(lambda: holds(self.status(name)), PATIENCE)
        except AssertionError:
            raise AssertionError(f"{name} stays {self.status(name)}, its instance {(self.instance(name) or {}).get('status')}") from None
        return self.status(name)

    def until_word(self, name: str, word: str) -> Object:
        return self.until(name, lambda status: status.get("printableStatus") == word)

    def until_other_instance(self, name: str, uid: str) -> Object:
        """A running instance that is not the one with this uid."""
        eventually(lambda: (found := self.instance(name)) and found["metadata"]["uid"] != uid and found["status"].get("phase") == "Running", PATIENCE)
        return t.cast("Object", self.instance(name))

    def until_gone(self, name: str) -> None:
        eventually(lambda: self.api.request("GET", f"{self.path}/{name}").status == 404 and not self.pods(name), PATIENCE)

    def ask(self, name: str, what: str, body: Object | None = None) -> Answer:
        """PUT one of the machine's subresources, as virtctl does."""
        return self.api.request("PUT", f"{SUBRESOURCES}/namespaces/{self.namespace}/virtualmachines/{name}/{what}", body or {}, accept="*/*")

    def change(self, name: str, spec: Object) -> Object:
        return self.api.expect(200, "PATCH", f"{self.path}/{name}", {"spec": spec}, content_type=MERGE_PATCH)

    def events(self, name: str, kind: str) -> list[Object]:
        query = f"fieldSelector=involvedObject.name={name},involvedObject.kind={kind}"
        return self.api.items(f"/api/v1/namespaces/{self.namespace}/events?{query}")
