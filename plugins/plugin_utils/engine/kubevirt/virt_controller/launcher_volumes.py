# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The volumes of a virt-launcher pod and where its compute container has them: pure.

Source: KubeVirt pkg/virt-controller/services/rendervolumes.go, v1.5.3.
"""
from __future__ import annotations

import dataclasses
import typing as t

from ...interface import Object
from .launcher_resources import hugepages

PRIVATE = "/var/run/kubevirt-private"
EPHEMERAL_DISKS = "/var/run/kubevirt-ephemeral-disks"
Claims = t.Mapping[str, Object]
"""PersistentVolumeClaims of a namespace by name."""


@dataclasses.dataclass
class Volumes:
    """`volumes` of the pod, `volumeMounts` and `volumeDevices` of the container."""

    volumes: list[Object] = dataclasses.field(default_factory=list)
    mounts: list[Object] = dataclasses.field(default_factory=list)
    devices: list[Object] = dataclasses.field(default_factory=list)

    def add(self, name: str, source: Object, path: str, **more: t.Any) -> None:
        self.volumes.append({"name": name, **source})
        self.mounts.append({"name": name, **more, "mountPath": path})


def claim_name(volume: Object) -> str:
    """The claim that a volume of a machine uses, or nothing."""
    if "persistentVolumeClaim" in volume:
        return str(volume["persistentVolumeClaim"]["claimName"])
    if "dataVolume" in volume:
        return str(volume["dataVolume"]["name"])
    if "ephemeral" in volume:
        return str((volume["ephemeral"].get("persistentVolumeClaim") or {}).get("claimName", ""))
    return ""


def is_hotplugged(volume: Object) -> bool:
    return any((volume.get(kind) or {}).get("hotpluggable") for kind in ("persistentVolumeClaim", "dataVolume"))


def launcher_volumes(vmi: Object, claims: Claims | None = None) -> Volumes:
    """Without claims, what the instance's status says of them is taken."""
    made = Volumes()
    empty: Object = {"emptyDir": {}}
    made.add("private", empty, PRIVATE)
    made.add("public", empty, "/var/run/kubevirt")
    for name in ("sockets", "virt-bin-share-dir", "libvirt-runtime", "ephemeral-disks", "container-disks"):
        made.volumes.append({"name": name, **empty})
    made.mounts += [
        {"name": "ephemeral-disks", "mountPath": EPHEMERAL_DISKS},
        {"name": "container-disks", "mountPath": "/var/run/kubevirt/container-disks", "mountPropagation": "HostToContainer"},
        {"name": "libvirt-runtime", "mountPath": "/var/run/libvirt"},
        {"name": "sockets", "mountPath": "/var/run/kubevirt/sockets"},
    ]
    block = _block_claims(vmi, claims)
    for volume in vmi["spec"].get("volumes") or ():
        if not is_hotplugged(volume):
            _add(made, volume, block)
    if hugepages(vmi):
        made.add("hugepages", {"emptyDir": {"medium": "HugePages"}}, "/dev/hugepages")
        made.add("hugetblfs-dir", empty, "/dev/hugepages/libvirt/qemu")
    if not (vmi["spec"]["domain"].get("devices") or {}).get("disableHotplug"):
        made.add("hotplug-disks", empty, "/var/run/kubevirt/hotplug-disks", mountPropagation="HostToContainer")
    return made


def _block_claims(vmi: Object, claims: Claims | None) -> set[str]:
    """The claims that are block devices."""
    if claims is not None:
        return {name for name, claim in claims.items() if claim["spec"].get("volumeMode") == "Block"}
    known = [entry.get("persistentVolumeClaimInfo") or {} for entry in (vmi.get("status") or {}).get("volumeStatus") or ()]
    return {info["claimName"] for info in known if info.get("volumeMode") == "Block" and "claimName" in info}


def _add(made: Volumes, volume: Object, block: set[str]) -> None:
    name, claim = volume["name"], claim_name(volume)
    if claim:
        read_only = bool((volume.get("persistentVolumeClaim") or {}).get("readOnly"))
        source = {"claimName": claim, **({"readOnly": True} if read_only else {})}
        made.volumes.append({"name": name, "persistentVolumeClaim": source})
        if claim in block:
            made.devices.append({"name": name, "devicePath": f"/dev/{name}"})
        else:
            made.mounts.append({"name": name, "mountPath": f"{PRIVATE}/vmi-disks/{name}"})
    elif "configMap" in volume:
        made.add(name, {"configMap": _pick(volume["configMap"], "name", "optional")}, f"{PRIVATE}/config-map/{name}", readOnly=True)
    elif "secret" in volume:
        made.add(name, {"secret": _pick(volume["secret"], "secretName", "optional")}, f"{PRIVATE}/secret/{name}", readOnly=True)
    elif "downwardAPI" in volume:
        made.add(name, {"downwardAPI": _pick(volume["downwardAPI"], "fields")}, f"{PRIVATE}/downwardapi/{name}", readOnly=True)
    elif "downwardMetrics" in volume:
        made.add(name, {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}, f"{PRIVATE}/downwardapi-disks")
    elif "hostDisk" in volume:
        path = volume["hostDisk"]["path"].rpartition("/")[0]
        made.add(name, {"hostPath": {"path": path, "type": "DirectoryOrCreate"}}, f"{PRIVATE}/vmi-disks/{name}")
    elif "sysprep" in volume:
        for kind, key in (("secret", "secretName"), ("configMap", "name")):
            if kind in volume["sysprep"]:
                made.add(name, {kind: {key: volume["sysprep"][kind]["name"]}}, f"{PRIVATE}/sysprep/{name}", readOnly=True)
    for kind in ("cloudInitNoCloud", "cloudInitConfigDrive"):
        cloud_init: Object = volume.get(kind) or {}
        for field, suffix in (("secretRef", "udata"), ("networkDataSecretRef", "ndata")):
            if field in cloud_init:
                made.add(f"{name}-{suffix}", {"secret": {"secretName": cloud_init[field]["name"]}}, f"{PRIVATE}/secret/{name}", readOnly=True)


def _pick(source: Object, *names: str) -> Object:
    return {name: source[name] for name in names if name in source}
