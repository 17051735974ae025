# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virt-launcher pod of a VirtualMachineInstance, for its first start and as the target of a migration: pure.

Source: KubeVirt pkg/virt-controller/services/template.go, pkg/container-disk/container-disk.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import json
import re
import typing as t
import zlib

from ...interface import Object
from ..install_strategy import REGISTRY
from .configuration import DEFAULTS, Configuration, Version
from .launcher_resources import compute_resources, is_dedicated, is_guaranteed, launcher_memory, memory_overhead
from .launcher_scheduling import affinity, host_model_selector, node_selector, uses_host_model
from .launcher_volumes import EPHEMERAL_DISKS, PRIVATE, Claims, launcher_volumes

__all__ = ["NONROOT", "UNPAUSED", "launcher_image", "launcher_memory", "launcher_pod", "memory_overhead", "owner_reference"]

UNPAUSED = "kubevirt.io/virtual-machine-unpaused"
NONROOT = "kubevirt.io/nonroot"
DEFAULT_GRACE = 30
_PADDING = 15
"""Seconds that virt-launcher is given beyond the guest's grace period, and again the pod beyond virt-launcher's."""
_QEMU_TIMEOUT, _QEMU_TIMEOUT_JITTER = 240, 120
_USER = 107
_NOT_FOR_PODS = (
    "kubectl.kubernetes.io/last-applied-configuration", "kubevirt.io/latest-observed-api-version", "kubevirt.io/storage-observed-api-version",
)
_DIRECTORIES = [
    {"name": "XDG_CACHE_HOME", "value": PRIVATE}, {"name": "XDG_CONFIG_HOME", "value": PRIVATE}, {"name": "XDG_RUNTIME_DIR", "value": "/var/run"},
]


def launcher_image(version: Version) -> str:
    return f"{REGISTRY}/virt-launcher:v{'.'.join(str(part) for part in version)}"


def owner_reference(obj: Object) -> Object:
    """A controller reference to the object."""
    metadata = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": metadata["name"], "uid": metadata["uid"], "controller": True,
        "blockOwnerDeletion": True,
    }


def launcher_pod(
    vmi: Object, kubevirt_version: Version, cluster_config: Configuration = DEFAULTS, *, migration: Object | None = None,
    source_pod: Object | None = None, source_node: Object | None = None, claims: Claims | None = None,
) -> Object:
    """The pod to create for the instance, or with `migration`, its source pod and source node, the target pod of that migration.

    Raises launcher_scheduling.HostModelUnknown.
    """
    metadata, spec = vmi["metadata"], vmi["spec"]
    grace = int(spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE)) + _PADDING
    volumes = launcher_volumes(vmi, claims)
    images = _image_ids(source_pod) if source_pod is not None else {}
    compute = _compute(vmi, kubevirt_version, cluster_config, grace, volumes.mounts, volumes.devices, migration)
    disks = [(volume["name"], index, volume["containerDisk"]) for index, volume in enumerate(spec.get("volumes") or ()) if "containerDisk" in volume]
    containers = [compute, *(_container_disk(vmi, name, index, source, images) for name, index, source in disks)]
    if _logs_console(vmi, cluster_config):
        containers.append(_console_log(vmi, kubevirt_version, cluster_config, migration))
    hostname = _hostname(vmi)
    pod_spec: Object = {
        "hostname": hostname, "restartPolicy": "Never", "terminationGracePeriodSeconds": grace + _PADDING,
        "securityContext": {"runAsUser": _USER, "runAsGroup": _USER, "runAsNonRoot": True, "fsGroup": _USER},
        "volumes": volumes.volumes, "containers": containers, "nodeSelector": node_selector(vmi, kubevirt_version, cluster_config),
        "readinessGates": [{"conditionType": UNPAUSED}], "enableServiceLinks": False,
        "automountServiceAccountToken": any("serviceAccount" in volume for volume in spec.get("volumes") or ()),
    }
    if disks:
        pod_spec["initContainers"] = [
            _binary(vmi, kubevirt_version, cluster_config), *(_container_disk_init(vmi, name, source, images) for name, _index, source in disks)
        ]
    if where := affinity(vmi, apart=migration is not None):
        pod_spec["affinity"] = where
    _copied(vmi, cluster_config, pod_spec)
    pod: Object = {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": f"virt-launcher-{metadata['name']}-", "namespace": metadata["namespace"], "ownerReferences": [owner_reference(vmi)],
            "labels": _labels(vmi, hostname), "annotations": _annotations(vmi),
        },
        "spec": pod_spec,
    }
    if migration is not None and source_pod is not None:
        _as_target(pod, vmi, cluster_config, migration, source_pod, source_node)
    return pod


def _as_target(pod: Object, vmi: Object, config: Configuration, migration: Object, source_pod: Object, source_node: Object | None) -> None:
    metadata, spec = pod["metadata"], pod["spec"]
    metadata["labels"]["kubevirt.io/migrationJobUID"] = migration["metadata"]["uid"]
    metadata["annotations"]["kubevirt.io/migrationJobName"] = migration["metadata"]["name"]
    metadata["annotations"][NONROOT] = "true"
    if uses_host_model(vmi) and source_node is not None:
        spec["nodeSelector"] |= host_model_selector(source_pod, source_node)
    context = (vmi.get("status") or {}).get("selinuxContext") or ""
    if config.migrations.match_selinux_level_on_migration is not False and context not in ("", "none"):
        level = context.split(":", 3)[-1]
        spec["securityContext"] = {**spec["securityContext"], "seLinuxOptions": {"level": level}}


def _copied(vmi: Object, config: Configuration, pod_spec: Object) -> None:
    """What the pod has because the instance has it."""
    spec = vmi["spec"]
    same = ("subdomain", "dnsConfig", "dnsPolicy", "schedulerName", "tolerations", "topologySpreadConstraints", "priorityClassName")
    pod_spec |= {name: spec[name] for name in same if spec.get(name)}
    if config.default_runtime_class:
        pod_spec["runtimeClassName"] = config.default_runtime_class
    secrets = [volume["containerDisk"]["imagePullSecret"] for volume in spec.get("volumes") or () if (volume.get("containerDisk") or {}).get("imagePullSecret")]
    if secrets:
        pod_spec["imagePullSecrets"] = [{"name": name} for name in dict.fromkeys(secrets)]
    for volume in spec.get("volumes") or ():
        if "serviceAccount" in volume:
            pod_spec["serviceAccountName"] = volume["serviceAccount"]["serviceAccountName"]


def _hostname(vmi: Object) -> str:
    """The guest's host name as a label. Source: pkg/util/net/dns/dns.go SanitizeHostname."""
    asked = vmi["spec"].get("hostname") or vmi["metadata"]["name"].split(".", 1)[0]
    return str(asked)[:63].rstrip("-")


def _labels(vmi: Object, hostname: str) -> dict[str, str]:
    return {
        **(vmi["metadata"].get("labels") or {}), "kubevirt.io": "virt-launcher", "kubevirt.io/created-by": vmi["metadata"]["uid"],
        "vm.kubevirt.io/name": hostname,
    }


def _annotations(vmi: Object) -> dict[str, str]:
    metadata = vmi["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    kept = {key: value for key, value in (metadata.get("annotations") or {}).items() if key not in _NOT_FOR_PODS}
    freezer = ["/usr/bin/virt-freezer", "", "--name", name, "--namespace", namespace]
    made = {
        **kept, "kubevirt.io/domain": name, "kubectl.kubernetes.io/default-container": "compute",
        "kubevirt.io/migrationTransportUnix": "true", "descheduler.alpha.kubernetes.io/request-evict-only": "",
        "pre.hook.backup.velero.io/container": "compute", "post.hook.backup.velero.io/container": "compute",
    }
    for when, what in (("pre", "--freeze"), ("post", "--unfreeze")):
        freezer[1] = what
        made[f"{when}.hook.backup.velero.io/command"] = json.dumps(freezer)
    interfaces = (vmi["spec"]["domain"].get("devices") or {}).get("interfaces") or ()
    if any("masquerade" in interface for interface in interfaces):
        made["traffic.sidecar.istio.io/kubevirtInterfaces"] = "k6t-eth0"
    networks = [network["multus"]["networkName"] for network in vmi["spec"].get("networks") or () if "multus" in network]
    if networks:
        made["k8s.v1.cni.cncf.io/networks"] = json.dumps(
            [{"name": one.rpartition("/")[2], "namespace": one.rpartition("/")[0] or namespace} for one in networks], separators=(",", ":")
        )
    return made


def _qemu_timeout(vmi: Object, migration: Object | None) -> str:
    """Anything between 240 and 360 s; for one pod always the same, so that a history can be told twice."""
    seed = vmi["metadata"]["uid"] + (migration["metadata"]["uid"] if migration is not None else "")
    return f"{_QEMU_TIMEOUT + zlib.crc32(seed.encode()) % _QEMU_TIMEOUT_JITTER}s"


def _image(config: Configuration, version: Version) -> Object:
    return {"image": launcher_image(version), "imagePullPolicy": config.image_pull_policy}


def _compute(
    vmi: Object, version: Version, config: Configuration, grace: int, mounts: list[Object], devices: list[Object], migration: Object | None
) -> Object:
    metadata = vmi["metadata"]
    capabilities = {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}
    if (vmi["spec"]["domain"].get("cpu") or {}).get("realtime") is not None:
        capabilities["add"].append("SYS_NICE")
    command = [
        "/usr/bin/virt-launcher-monitor", "--qemu-timeout", _qemu_timeout(vmi, migration), "--name", metadata["name"], "--uid", metadata["uid"],
        "--namespace", metadata["namespace"], "--kubevirt-share-dir", "/var/run/kubevirt", "--ephemeral-disk-dir", EPHEMERAL_DISKS,
        "--container-disk-dir", "/var/run/kubevirt/container-disks", "--grace-period-seconds", str(grace), "--hook-sidecars", "0",
        "--ovmf-path", "/usr/share/OVMF", "--run-as-nonroot",
    ]
    container: Object = {
        "name": "compute", **_image(config, version), "command": command,
        "env": [*_DIRECTORIES, {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
        "resources": compute_resources(vmi, version, config), "volumeMounts": mounts,
        "securityContext": {
            "capabilities": capabilities, "privileged": False, "runAsUser": _USER, "runAsGroup": _USER, "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
        },
    }
    if devices:
        container["volumeDevices"] = devices
    ports = [
        {"containerPort": port["port"], "protocol": port.get("protocol", "TCP"), **({"name": port["name"]} if port.get("name") else {})}
        for interface in (vmi["spec"]["domain"].get("devices") or {}).get("interfaces") or () for port in interface.get("ports") or ()
    ]
    if ports:
        container["ports"] = ports
    for probe in ("readinessProbe", "livenessProbe"):
        if probe in vmi["spec"]:
            container[probe] = vmi["spec"][probe]
    return container


def _plain_security() -> Object:
    return {"capabilities": {"drop": ["ALL"]}, "runAsUser": _USER, "runAsNonRoot": True, "allowPrivilegeEscalation": False}


def _pinned(vmi: Object) -> bool:
    """Helpers ask for what they are limited to where the pod must be Guaranteed."""
    return is_dedicated(vmi) or is_guaranteed(vmi)


def _helper(vmi: Object, limits: dict[str, str], requests: dict[str, str]) -> Object:
    return {"limits": dict(limits), "requests": {**requests, **limits} if _pinned(vmi) else dict(requests)}


def _binary(vmi: Object, version: Version, config: Configuration) -> Object:
    """The init container that copies the container-disk binary to where containers of disks find it."""
    limits = {"cpu": "10m" if _pinned(vmi) else "100m", "memory": "40M"}
    return {
        "name": "container-disk-binary", **_image(config, version), "env": list(_DIRECTORIES),
        "command": ["/usr/bin/cp", "/usr/bin/container-disk", "/init/usr/bin/container-disk"],
        "resources": _helper(vmi, limits, {"cpu": "10m", "memory": "1M"}),
        "volumeMounts": [{"name": "virt-bin-share-dir", "mountPath": "/init/usr/bin"}],
        "securityContext": {
            "capabilities": {"drop": ["ALL"]}, "privileged": False, "runAsUser": _USER, "runAsGroup": _USER, "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
        },
    }


def _disk_container(vmi: Object, name: str, args: list[str], source: Object, image: str) -> Object:
    uid = vmi["metadata"]["uid"]
    container: Object = {
        "name": name, "image": image, "command": ["/usr/bin/container-disk"], "args": args,
        "resources": _helper(vmi, {"cpu": "10m", "memory": "40M"}, {"cpu": "1m", "memory": "1M", "ephemeral-storage": "50M"}),
        "volumeMounts": [
            {"name": "container-disks", "mountPath": f"{EPHEMERAL_DISKS}/container-disk-data/{uid}"},
            {"name": "virt-bin-share-dir", "mountPath": "/usr/bin"},
        ],
        "securityContext": _plain_security(),
    }
    if source.get("imagePullPolicy"):
        container["imagePullPolicy"] = source["imagePullPolicy"]
    return container


def _container_disk_init(vmi: Object, name: str, source: Object, images: t.Mapping[str, str]) -> Object:
    """Has the image pulled before virt-launcher starts."""
    return _disk_container(vmi, f"volume{name}-init", ["--no-op"], source, images.get(f"volume{name}", source["image"]))


def _container_disk(vmi: Object, name: str, index: int, source: Object, images: t.Mapping[str, str]) -> Object:
    path = f"{EPHEMERAL_DISKS}/container-disk-data/{vmi['metadata']['uid']}/disk_{index}"
    return _disk_container(vmi, f"volume{name}", ["--copy-path", path], source, images.get(f"volume{name}", source["image"]))


def _image_ids(source_pod: Object) -> dict[str, str]:
    """By container, the image of a disk by its digest: a target must have the very same."""
    found = {}
    for status in (source_pod.get("status") or {}).get("containerStatuses") or ():
        repository, at, digest = (status.get("imageID") or "").rpartition("@")
        if at and digest.startswith("sha256:"):
            repository = re.sub(r":[^:/]+$", "", re.sub(r"^[^:/]+://", "", repository))
            found[status["name"]] = f"{repository}@{digest}"
    return found


def _logs_console(vmi: Object, config: Configuration) -> bool:
    devices = vmi["spec"]["domain"].get("devices") or {}
    if devices.get("autoattachSerialConsole") is False:
        return False
    asked = devices.get("logSerialConsole")
    return not config.disable_serial_console_log if asked is None else bool(asked)


def _console_log(vmi: Object, version: Version, config: Configuration, migration: Object | None) -> Object:
    return {
        "name": "guest-console-log", **_image(config, version), "command": ["/usr/bin/virt-tail"],
        "args": ["--logfile", f"{PRIVATE}/{vmi['metadata']['uid']}/virt-serial0-log", "--socket-timeout", _qemu_timeout(vmi, migration)],
        "env": [{"name": "VIRT_LAUNCHER_LOG_VERBOSITY", "value": "2"}],
        "resources": _helper(vmi, {"cpu": "15m", "memory": "60M"}, {"cpu": "5m", "memory": "35M"}),
        "volumeMounts": [{"name": "private", "readOnly": True, "mountPath": PRIVATE}], "securityContext": _plain_security(),
    }
