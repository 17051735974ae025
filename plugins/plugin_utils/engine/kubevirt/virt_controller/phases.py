# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which phase a VirtualMachineInstance is: pure.

Source: KubeVirt staging/src/kubevirt.io/api/core/v1/types.go.
"""
from __future__ import annotations

from ...interface import Object, Ref

VIRTUAL_MACHINES = Ref("kubevirt.io", "v1", "virtualmachines")
VIRTUAL_MACHINE_INSTANCES = Ref("kubevirt.io", "v1", "virtualmachineinstances")
MIGRATIONS = Ref("kubevirt.io", "v1", "virtualmachineinstancemigrations")
CLAIMS = Ref("", "v1", "persistentvolumeclaims")
UNPROCESSED, FINAL = ("", "Pending"), ("Succeeded", "Failed")
INSTANCE_FINALIZER = "foregroundDeleteVirtualMachine"
CONTROLLER_FINALIZER = "kubevirt.io/virtualMachineControllerFinalize"
NODE_NAME, OUTDATED = "kubevirt.io/nodeName", "kubevirt.io/outdatedLauncherImage"
GENERATION = "kubevirt.io/vm-generation"
"""Annotation of an instance: the generation of the machine that it was made of."""
OBSERVED_VERSIONS = {"kubevirt.io/latest-observed-api-version": "v1", "kubevirt.io/storage-observed-api-version": "v1"}


def phase(vmi: Object | None) -> str:
    return str(((vmi or {}).get("status") or {}).get("phase") or "")


def is_final(vmi: Object | None) -> bool:
    return phase(vmi) in FINAL


def is_migrating(vmi: Object | None) -> bool:
    """Whether the guest's state is being copied. Source: pkg/util/migrations/migrations.go."""
    state = ((vmi or {}).get("status") or {}).get("migrationState") or {}
    return bool(state.get("startTimestamp")) and not state.get("endTimestamp")


def node_of(vmi: Object) -> list[str]:
    """Index function: the node that the instance runs on."""
    name = (vmi.get("status") or {}).get("nodeName")
    return [name] if name else []
