# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The instance that a VirtualMachine's template makes, and the ControllerRevision that remembers the template: pure.

Source: KubeVirt pkg/virt-controller/watch/vm/vm.go (SetupVMIFromVM, createVMRevision), v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import copy
import uuid

from ...interface import Object, Ref
from . import machine_status
from .launcher import owner_reference
from .phases import CONTROLLER_FINALIZER, GENERATION

CONTROLLER_REVISIONS = Ref("apps", "v1", "controllerrevisions")
_FIRMWARE = uuid.UUID("6a1a24a1-4061-4607-8bf4-a3963d0c5895")


def revision_name(vm: Object) -> str:
    return f"revision-start-vm-{vm['metadata']['uid']}-{vm['metadata'].get('generation', 1)}"


def revision(vm: Object) -> Object:
    """What the machine was when its instance was made of it."""
    metadata = vm["metadata"]
    return {
        "apiVersion": CONTROLLER_REVISIONS.api_version, "kind": "ControllerRevision",
        "metadata": {"name": revision_name(vm), "namespace": metadata["namespace"], "ownerReferences": [owner_reference(vm)]},
        "data": {"spec": vm["spec"]}, "revision": metadata.get("generation", 1),
    }


def instance(vm: Object, interface: str = "bridge") -> Object:
    """The instance to create for the machine; `interface` is how one that names none is bound to the pod network."""
    metadata, template = vm["metadata"], vm["spec"].get("template") or {}
    spec: Object = copy.deepcopy(template.get("spec") or {})
    of_template = template.get("metadata") or {}
    if machine_status.start_paused_requested(vm):
        spec["startStrategy"] = "Paused"
    domain = spec.setdefault("domain", {})
    firmware = domain.setdefault("firmware", {})
    firmware.setdefault("uuid", str(uuid.uuid5(_FIRMWARE, metadata["name"])))
    devices = domain.setdefault("devices", {})
    _disks(spec, devices)
    if not devices.get("interfaces") and not spec.get("networks") and devices.get("autoattachPodInterface") is not False:
        devices["interfaces"] = [{"name": "default", interface: {}}]
        spec["networks"] = [{"name": "default", "pod": {}}]
    made: Object = {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "ownerReferences": [owner_reference(vm)],
            "annotations": {**(of_template.get("annotations") or {}), GENERATION: str(metadata.get("generation", 1))},
            "finalizers": [CONTROLLER_FINALIZER],
        },
        "spec": spec, "status": {"virtualMachineRevisionName": revision_name(vm)},
    }
    if of_template.get("labels"):
        made["metadata"]["labels"] = dict(of_template["labels"])
    return made


def _disks(spec: Object, devices: Object) -> None:
    """A volume that nothing mentions is a disk."""
    known = {entry["name"] for kind in ("disks", "filesystems") for entry in devices.get(kind) or ()}
    for volume in spec.get("volumes") or ():
        if volume["name"] not in known and "memoryDump" not in volume:
            devices["disks"] = [*(devices.get("disks") or ()), {"name": volume["name"], "disk": {"bus": "virtio"}}]
