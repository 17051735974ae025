# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a guest can be migrated, and what is in the way: pure.

Source: KubeVirt pkg/virt-handler/vm.go (calculateLiveMigrationCondition, calculateLiveStorageMigrationCondition),
pkg/network/vmispec/interface.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import typing as t

from ...interface import Object
from ..virt_controller import conditions
from ..virt_controller.launcher_volumes import claim_name

OBSOLETE_HOST_MODEL = "node-labeller.kubevirt.io/obsolete-host-model"
_BRIDGE = "kubevirt.io/allow-pod-bridge-network-live-migration"
_LIVE, _BLOCK = "LiveMigration", "BlockMigration"
Reason = tuple[str, str]


def disks(vmi: Object) -> tuple[Reason | None, str]:
    """What keeps the disks from being shared, if anything, and the migration method."""
    known = {entry["name"]: entry.get("persistentVolumeClaimInfo") for entry in (vmi.get("status") or {}).get("volumeStatus") or ()}
    block = False
    for volume in vmi["spec"].get("volumes") or ():
        claim = claim_name(volume)
        if claim:
            info = known.get(volume["name"]) or {}
            if "ReadWriteMany" not in (info.get("accessModes") or ()):
                text = (f"cannot migrate VMI: PVC {claim} is not shared, live migration requires that all PVCs must be shared "
                        "(using ReadWriteMany access mode)")
                return ("DisksNotLiveMigratable", text), _BLOCK
        elif "hostDisk" in volume:
            if not volume["hostDisk"].get("shared"):
                return ("DisksNotLiveMigratable", "cannot migrate VMI with non-shared HostDisk"), _BLOCK
        else:
            block = True
    return None, _BLOCK if block else _LIVE


def _interfaces(vmi: Object) -> bool:
    """Whether the interface on the pod network, if there is one, can follow the guest."""
    pod_network = next((network["name"] for network in vmi["spec"].get("networks") or () if "pod" in network), None)
    devices = vmi["spec"].get("domain", {}).get("devices") or {}
    interface = next((one for one in devices.get("interfaces") or () if one["name"] == pod_network), None)
    if pod_network is None or interface is None or "masquerade" in interface or (interface.get("binding") or {}).get("name") in ("passt", "l2bridge"):
        return True
    return "bridge" in interface and _BRIDGE in (vmi["metadata"].get("annotations") or {})


def _others(vmi: Object, node: Object | None) -> t.Iterator[Reason]:
    """Everything but the disks that is in the way, in the order in which it is looked at."""
    domain = vmi["spec"].get("domain") or {}
    devices, features = domain.get("devices") or {}, domain.get("features") or {}
    hyperv = features.get("hyperv") or {}
    if not _interfaces(vmi):
        yield "InterfaceNotLiveMigratable", (
            "cannot migrate VMI which does not use masquerade, bridge with kubevirt.io/allow-pod-bridge-network-live-migration VM annotation "
            "or a migratable plugin to connect to the pod network"
        )
    obsolete = node is not None and OBSOLETE_HOST_MODEL in (node["metadata"].get("labels") or {})
    if node is not None and obsolete and (domain.get("cpu") or {}).get("model") == "host-model":
        yield "CPUModeLiveMigratable", f'the node "{node["metadata"]["name"]}" does not allow migration with host-model'
    if devices.get("hostDevices") or devices.get("gpus"):
        yield "HostDeviceNotLiveMigratable", "VMI uses a PCI host devices"
    if "sev" in (domain.get("launchSecurity") or {}):
        yield "SEVNotLiveMigratable", "VMI uses SEV"
    if any((disk.get("lun") or {}).get("reservation") for disk in devices.get("disks") or ()):
        yield "PersistentReservationNotLiveMigratable", "VMI uses SCSI persitent reservation"
    known_frequency = ((vmi.get("status") or {}).get("topologyHints") or {}).get("tscFrequency")
    if "reenlightenment" in hyperv and (hyperv["reenlightenment"] or {}).get("enabled", True) and not known_frequency:
        yield "NoTSCFrequencyNotLiveMigratable", (
            "HyperV Reenlightenment VMIs cannot migrate when TSC Frequency is not exposed on the cluster: guest timers might be inconsistent"
        )
    if (features.get("hypervPassthrough") or {}).get("enabled"):
        yield "HypervPassthroughNotLiveMigratable", "VMI uses hyperv passthrough"


def migratable(vmi: Object, node: Object | None) -> tuple[Object, Object, str]:
    """The conditions LiveMigratable and StorageLiveMigratable, and the migration method. `node` is the one it runs on."""
    shared, method = disks(vmi)
    others = list(_others(vmi, node))
    first = shared or (others[0] if others else None)
    live = conditions.new("LiveMigratable", "False", None, *first) if first else conditions.new("LiveMigratable", "True", None)
    if others:
        text = ", ".join(f"{reason}: {message}" for reason, message in others)
        storage = conditions.new("StorageLiveMigratable", "False", None, "NotMigratable", text)
    else:
        storage = conditions.new("StorageLiveMigratable", "True", None)
    return live, storage, method
