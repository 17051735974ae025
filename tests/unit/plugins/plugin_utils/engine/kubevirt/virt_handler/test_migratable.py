# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a guest can be migrated: every reason, and which comes first."""
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_handler.migratable import migratable

NETWORK = {"networks": [{"name": "default", "pod": {}}]}
SHARED = ("cannot migrate VMI: PVC data is not shared, live migration requires that all PVCs must be shared "
          "(using ReadWriteMany access mode)")
POD_NETWORK = ("cannot migrate VMI which does not use masquerade, bridge with kubevirt.io/allow-pod-bridge-network-live-migration VM annotation "
               "or a migratable plugin to connect to the pod network")


def _vmi(domain: dict[str, t.Any] | None = None, modes: list[str] | None = None, volumes: list[t.Any] | None = None, **more: t.Any) -> dict[str, t.Any]:
    volumes = [{"name": "disk", "persistentVolumeClaim": {"claimName": "data"}}] if volumes is None else volumes
    info = {"name": "disk", "persistentVolumeClaimInfo": {"accessModes": ["ReadWriteMany"] if modes is None else modes}}
    return {"metadata": more.get("metadata", {}), "spec": {"domain": domain or {}, "volumes": volumes, **more.get("spec", {})},
            "status": {"volumeStatus": [info]}}


@pytest.mark.parametrize(
    ("vmi", "reason", "message"),
    [
        (_vmi(), None, None),
        (_vmi(modes=["ReadWriteOnce"]), "DisksNotLiveMigratable", SHARED),
        (_vmi(modes=[]), "DisksNotLiveMigratable", SHARED),
        (_vmi(volumes=[{"name": "h", "hostDisk": {"path": "/x"}}]), "DisksNotLiveMigratable", "cannot migrate VMI with non-shared HostDisk"),
        (_vmi(volumes=[{"name": "h", "hostDisk": {"path": "/x", "shared": True}}]), None, None),
        (_vmi({"devices": {"interfaces": [{"name": "default", "bridge": {}}]}}, spec=NETWORK), "InterfaceNotLiveMigratable", POD_NETWORK),
        (_vmi({"devices": {"interfaces": [{"name": "default", "bridge": {}}]}}, spec=NETWORK,
              metadata={"annotations": {"kubevirt.io/allow-pod-bridge-network-live-migration": ""}}), None, None),
        (_vmi({"devices": {"interfaces": [{"name": "default", "masquerade": {}}]}}, spec=NETWORK), None, None),
        (_vmi({"devices": {"interfaces": [{"name": "other", "bridge": {}}]}}, spec={"networks": [{"name": "other", "multus": {}}]}), None, None),
        (_vmi({"cpu": {"model": "host-model"}}), "CPUModeLiveMigratable", 'the node "n1" does not allow migration with host-model'),
        (_vmi({"cpu": {"model": "Haswell"}}), None, None),
        (_vmi({"devices": {"gpus": [{"name": "g"}]}}), "HostDeviceNotLiveMigratable", "VMI uses a PCI host devices"),
        (_vmi({"devices": {"hostDevices": [{"name": "g"}]}}), "HostDeviceNotLiveMigratable", "VMI uses a PCI host devices"),
        (_vmi({"launchSecurity": {"sev": {}}}), "SEVNotLiveMigratable", "VMI uses SEV"),
        (_vmi({"devices": {"disks": [{"name": "d", "lun": {"reservation": True}}]}}), "PersistentReservationNotLiveMigratable",
         "VMI uses SCSI persitent reservation"),
        (_vmi({"features": {"hypervPassthrough": {"enabled": True}}}), "HypervPassthroughNotLiveMigratable", "VMI uses hyperv passthrough"),
        (_vmi({"launchSecurity": {"sev": {}}, "devices": {"gpus": [{"name": "g"}]}}, modes=["ReadWriteOnce"]), "DisksNotLiveMigratable", SHARED),
    ],
)  # fmt: skip
def test_reasons(vmi: dict[str, t.Any], reason: str | None, message: str | None) -> None:
    node = {"metadata": {"name": "n1", "labels": {"node-labeller.kubevirt.io/obsolete-host-model": "true"}}}
    live, _storage, _method = migratable(vmi, node)
    assert live["status"] == ("True" if reason is None else "False")
    assert (live.get("reason"), live.get("message")) == (reason, message)


def test_storage_leaves_the_disks_out_and_names_all_the_rest() -> None:
    vmi = _vmi({"launchSecurity": {"sev": {}}, "devices": {"gpus": [{"name": "g"}]}}, modes=["ReadWriteOnce"])
    dummy, storage, _method = migratable(vmi, None)
    assert storage["reason"] == "NotMigratable"
    assert storage["message"] == "HostDeviceNotLiveMigratable: VMI uses a PCI host devices, SEVNotLiveMigratable: VMI uses SEV"
    assert migratable(_vmi(modes=["ReadWriteOnce"]), None)[1]["status"] == "True"


@pytest.mark.parametrize(
    ("volumes", "method"),
    [
        (None, "LiveMigration"),
        ([{"name": "c", "containerDisk": {"image": "x"}}], "BlockMigration"),
        ([{"name": "disk", "dataVolume": {"name": "data"}}, {"name": "c", "cloudInitNoCloud": {}}], "BlockMigration"),
    ],
)
def test_method(volumes: list[t.Any] | None, method: str) -> None:
    assert migratable(_vmi(volumes=volumes), None)[2] == method
