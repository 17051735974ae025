# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes and running virtual machines, as the API shows them.

Source of the shapes: KubeVirt v1.4.1 pkg/virt-controller/services/{template,renderresources}.go, pkg/virt-handler/node-labeller.
"""
from __future__ import annotations

import dataclasses
import hashlib
import re

from ..clock import Clock
from ..interface import KUBEVIRTS, NODES, PODS, Cluster, Object
from ..kubernetes.disruption_status import counted
from ..kubevirt.virt_controller import conditions, instance_status, machine_status, machine_template, phases
from ..kubevirt.virt_controller.cluster_config import version_of
from ..kubevirt.virt_controller.configuration import Configuration, Version, bytes_of, configuration
from ..kubevirt.virt_controller.disruption_budgets import BUDGETS, budget_for
from ..kubevirt.virt_controller.eviction_strategies import is_guarded
from ..kubevirt.virt_controller.launcher import UNPAUSED, launcher_image, launcher_pod
from ..kubevirt.virt_controller.phases import CLAIMS, VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from ..kubevirt.virt_handler.instance_writes import interfaces
from ..okd.machine_config.names import initial_annotations
from .installed import put

NEWEST = (1, 5, 3)
CPU_MODELS = {
    "Cascadelake-Server": ("Haswell-noTSX", "Skylake-Server", "Cascadelake-Server"),
    "Haswell-noTSX": ("Haswell-noTSX",),
}


POOL, DEDICATED, APART = "engine.okd.virt/pool", "engine.okd.virt/dedicated", "engine.okd.virt/apart"


@dataclasses.dataclass(frozen=True)
class Machine:
    """One virtual machine that runs on a node. `claim` is the access mode of its disk, empty for a container disk."""

    namespace: str
    name: str
    node: str
    memory_mib: int = 2048
    cores: int = 1
    claim: str = "ReadWriteMany"
    eviction_strategy: str = ""
    dirty_rate: str = ""
    working_set: str = ""
    cpu_model: str = "host-model"
    gpu: str = ""
    """The extended resource of a GPU that is passed through."""
    hugepages: str = ""
    """The size of the pages that its memory comes from."""
    pool: str = ""
    """The value of label POOL that its node must have."""
    dedicated: bool = False
    """Whether it tolerates taint DEDICATED."""
    apart: str = ""
    """The value of its label APART: no two with the same one run on a node."""
    device: str = ""
    """An extended resource of which it asks for one, and that does not keep it from migrating."""
    address: str = ""
    """Of its pod."""


def node(
    name: str, role: str, zone: str, cpu_model: str = "Cascadelake-Server", memory_gib: int = 128, cores: int = 32, configuration: str = "",
) -> tuple[Object, Object]:
    """A node and its status. C(configuration) is the MachineConfig that it runs."""
    labels = {
        "kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", f"node-role.kubernetes.io/{role}": "",
        "topology.kubernetes.io/zone": zone,
    }
    if role == "worker":
        models = CPU_MODELS[cpu_model]
        labels |= {
            "kubevirt.io/schedulable": "true", "cpumanager": "false", "kubevirt.io/ksm-enabled": "false", "cpu-vendor.node.kubevirt.io/Intel": "true",
            f"host-model-cpu.node.kubevirt.io/{cpu_model}": "true", "host-model-required-features.node.kubevirt.io/vmx": "true",
            "cpu-feature.node.kubevirt.io/vmx": "true", "machine-type.node.kubevirt.io/q35": "true",
            "machine-type.node.kubevirt.io/pc-q35-rhel9.4.0": "true", "machine-type.node.kubevirt.io/pc-q35-rhel9.6.0": "true",
            "cpu-timer.node.kubevirt.io/tsc-frequency": "2400000000", "cpu-timer.node.kubevirt.io/tsc-scalable": "true",
        }
        for model in models:
            labels |= {f"cpu-model.node.kubevirt.io/{model}": "true", f"cpu-model-migration.node.kubevirt.io/{model}": "true"}
    annotations = initial_annotations(configuration)
    spec: Object = {}
    if role == "master":
        spec["taints"] = [{"key": "node-role.kubernetes.io/master", "effect": "NoSchedule"}]
    devices = {f"devices.kubevirt.io/{device}": "1k" for device in ("kvm", "tun", "vhost-net")} if role == "worker" else {}
    capacity = {"cpu": str(cores), "memory": f"{memory_gib}Gi", "pods": "250", "ephemeral-storage": "500Gi", **devices}
    allocatable = {**capacity, "cpu": f"{cores * 1000 - 500}m", "memory": f"{memory_gib * 1024 - 1126}Mi"}
    status = {
        "capacity": capacity, "allocatable": allocatable,
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}],
        "nodeInfo": {
            "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "cri-o://1.32.4", "kernelVersion": "5.14.0-570.el9.x86_64",
            "kubeProxyVersion": "", "kubeletVersion": "v1.32.8", "machineID": "", "operatingSystem": "linux", "osImage": "CentOS Stream CoreOS 9",
            "systemUUID": "",
        },
        "addresses": [{"type": "InternalIP", "address": _node_address(name, role)}, {"type": "Hostname", "address": name}],
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels, "annotations": annotations}, "spec": spec}, status


def _node_address(name: str, role: str) -> str:
    """An address of its own by the number that the node's name ends with; nobody ever dials it."""
    number = int(re.sub(r"\D", "", name) or 0) + (10 if role == "master" else 256)
    return f"192.168.{66 + (number >> 8)}.{number & 255}"


def pod_address(number: int) -> str:
    """Addresses of VMs begin where those of the operators' pods have ended."""
    number += 4096
    return f"10.{128 + (number >> 16)}.{(number >> 8) & 255}.{number & 255}"


async def add_node(cluster: Cluster, clock: Clock, made: tuple[Object, Object]) -> None:
    obj, status = made
    if "kubevirt.io/schedulable" in obj["metadata"]["labels"]:
        obj["metadata"]["annotations"]["kubevirt.io/heartbeat"] = clock.timestamp()
    now = clock.timestamp()
    conditions = [{**entry, "lastHeartbeatTime": now, "lastTransitionTime": now} for entry in status["conditions"]]
    await put(cluster, NODES, obj, {**status, "conditions": conditions})


def _volume(machine: Machine) -> Object:
    if machine.claim:
        return {"name": "rootdisk", "persistentVolumeClaim": {"claimName": machine.name}}
    return {"name": "rootdisk", "containerDisk": {"image": "quay.io/containerdisks/fedora:42", "imagePullPolicy": "IfNotPresent"}}


def _template(machine: Machine) -> Object:
    """spec.template.spec of the machine, with everything that KubeVirt would fill in."""
    memory = f"{machine.memory_mib}Mi"
    devices: Object = {"disks": [{"name": "rootdisk", "disk": {"bus": "virtio"}}], "interfaces": [{"name": "default", "masquerade": {}}]}
    if machine.gpu:
        devices["gpus"] = [{"name": "gpu", "deviceName": machine.gpu}]
    spec: Object = {
        "architecture": "amd64",
        "domain": {
            "cpu": {"cores": machine.cores, "sockets": 1, "threads": 1, "model": machine.cpu_model},
            "devices": devices, "features": {"acpi": {"enabled": True}}, "machine": {"type": "q35"}, "memory": {"guest": memory},
            "resources": {"requests": {"memory": memory}},
        },
        "networks": [{"name": "default", "pod": {}}], "volumes": [_volume(machine)],
    }
    if machine.eviction_strategy:
        spec["evictionStrategy"] = machine.eviction_strategy
    if machine.hugepages:
        spec["domain"]["memory"]["hugepages"] = {"pageSize": machine.hugepages}
    if machine.device:
        spec["domain"]["resources"]["requests"][machine.device] = spec["domain"]["resources"].setdefault("limits", {})[machine.device] = "1"
    if machine.pool:
        spec["nodeSelector"] = {POOL: machine.pool}
    if machine.dedicated:
        spec["tolerations"] = [{"key": DEDICATED, "operator": "Exists"}]
    if machine.apart:
        term = {"labelSelector": {"matchLabels": {APART: machine.apart}}, "topologyKey": "kubernetes.io/hostname"}
        spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return spec


def _labels(machine: Machine) -> dict[str, str]:
    return {"kubevirt.io/vm": machine.name, **({APART: machine.apart} if machine.apart else {})}


def _migratable(machine: Machine) -> list[Object]:
    """What virt-handler says of the guest: whether it can be migrated, and whether it could if its disks could."""
    entire = storage = ("True", "", "")
    if machine.gpu:
        entire = ("False", "HostDeviceNotLiveMigratable", "VMI uses a PCI host devices")
        storage = ("False", "NotMigratable", "HostDeviceNotLiveMigratable: VMI uses a PCI host devices")
    if machine.claim == "ReadWriteOnce":
        entire = ("False", "DisksNotLiveMigratable", (
            f"cannot migrate VMI: PVC {machine.name} is not shared, live migration requires that all PVCs must be shared "
            "(using ReadWriteMany access mode)"
        ))
    return [
        conditions.new(kind, status, None, reason, message)
        for kind, (status, reason, message) in (("LiveMigratable", entire), ("StorageLiveMigratable", storage))
    ]


async def kubevirt_settings(cluster: Cluster, namespace: str, kubevirt: str) -> Configuration:
    """What the KubeVirt object in the namespace asks for, as that version reads it."""
    found = (await cluster.list(KUBEVIRTS, namespace)).items
    return configuration(found[0] if found else None, version_of(kubevirt) or NEWEST)


async def add_machine(cluster: Cluster, own: Cluster, clock: Clock, machine: Machine, kubevirt: str, config: Configuration) -> None:
    """The VirtualMachine, its instance, its virt-launcher pod, its disk and its disruption budget, as KubeVirt leaves them running.

    `own` is the cluster as virt-controller's ServiceAccount: nobody else may write what it writes. `config` is kubevirt_settings().
    """
    version = version_of(kubevirt) or NEWEST
    where, name, now = machine.namespace, machine.name, clock.timestamp()
    claims = {name: await _add_claim(cluster, machine)} if machine.claim else {}
    annotations = {
        f"engine.okd.virt/{key}": value for key, value in (("dirty-rate", machine.dirty_rate), ("working-set", machine.working_set)) if value
    }
    vm = await cluster.create(VIRTUAL_MACHINES, {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
        "metadata": {
            "name": name, "namespace": where, "annotations": {**phases.OBSERVED_VERSIONS, **annotations},
            "finalizers": [phases.CONTROLLER_FINALIZER],
        },
        "spec": {"runStrategy": "Always", "template": {"metadata": {"labels": _labels(machine)}, "spec": _template(machine)}},
    })
    await own.create(machine_template.CONTROLLER_REVISIONS, machine_template.revision(vm))
    vmi = await own.create(VIRTUAL_MACHINE_INSTANCES, _instance(vm, machine, config))
    pod = await _add_launcher(cluster, own, vmi, machine, version, config, claims, now)
    seen = instance_status.Seen([pod], claims.get, launcher_image(version), True, now)
    running = {**vmi, "status": {**(vmi.get("status") or {}), **_running(machine, vmi, now)}}
    running["metadata"] = {**vmi["metadata"], "labels": {**vmi["metadata"].get("labels", {}), phases.NODE_NAME: machine.node}}
    vmi = await own.update(VIRTUAL_MACHINE_INSTANCES, instance_status.next_instance(running, seen))
    around = machine_status.Around(clock.now(), now, claims.get, restart_required=False)
    await own.update(VIRTUAL_MACHINES, {**vm, "status": machine_status.next_status(vm, vmi, around)}, "status")
    if is_guarded(vmi, config.eviction_strategy):
        await _add_budget(cluster, own, vmi, now)


def machine_memory(machine: Machine, kubevirt: str, config: Configuration) -> int:
    """Bytes that the machine's virt-launcher pod requests, huge pages not among them."""
    vmi = {
        "apiVersion": VIRTUAL_MACHINE_INSTANCES.api_version, "kind": "VirtualMachineInstance",
        "metadata": {"name": machine.name, "namespace": machine.namespace, "uid": ""}, "spec": _template(machine),
    }
    claim = {"spec": {"volumeMode": "Block", "accessModes": [machine.claim]}}
    pod = launcher_pod(vmi, version_of(kubevirt) or NEWEST, config, claims={machine.name: claim})
    return sum(bytes_of(container["resources"]["requests"].get("memory", "0")) for container in pod["spec"]["containers"])


async def _add_claim(cluster: Cluster, machine: Machine) -> Object:
    where, name = machine.namespace, machine.name
    return await put(
        cluster, CLAIMS,
        {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": where},
            "spec": {
                "accessModes": [machine.claim], "resources": {"requests": {"storage": "30Gi"}}, "volumeMode": "Block", "volumeName": f"pv-{where}-{name}",
                "storageClassName": "ceph-rbd-virtualization",
            },
        },
        {"phase": "Bound", "accessModes": [machine.claim], "capacity": {"storage": "30Gi"}},
    )


def _instance(vm: Object, machine: Machine, config: Configuration) -> Object:
    """The instance before it has a pod, with what virt-api fills in."""
    vmi = machine_template.instance(vm)
    vmi["metadata"]["annotations"] |= phases.OBSERVED_VERSIONS
    if phases.INSTANCE_FINALIZER not in vmi["metadata"]["finalizers"]:
        vmi["metadata"]["finalizers"].append(phases.INSTANCE_FINALIZER)
    vmi["spec"].setdefault("evictionStrategy", config.eviction_strategy)
    return vmi


def _running(machine: Machine, vmi: Object, now: str) -> Object:
    """What the status says once virt-handler has started the guest."""
    memory = f"{machine.memory_mib}Mi"
    transitions = [{"phase": phase, "phaseTransitionTimestamp": now} for phase in ("Pending", "Scheduling", "Scheduled", "Running")]
    return {
        "phase": "Running", "nodeName": machine.node, "conditions": _migratable(machine), "phaseTransitionTimestamps": transitions,
        "migrationMethod": "LiveMigration" if machine.claim == "ReadWriteMany" else "BlockMigration", "migrationTransport": "Unix",
        "qosClass": "Burstable", "runtimeUser": 107, "selinuxContext": "none", "guestOSInfo": {}, "machine": {"type": "pc-q35-rhel9.6.0"},
        "memory": dict.fromkeys(("guestAtBoot", "guestCurrent", "guestRequested"), memory),
        "currentCPUTopology": {"cores": machine.cores, "sockets": 1, "threads": 1},
        "volumeStatus": [{"name": "rootdisk", "target": "vda"}],
        **({"interfaces": interfaces(vmi, machine.address)} if machine.address else {}),
    }


async def _add_launcher(
    cluster: Cluster, own: Cluster, vmi: Object, machine: Machine, version: Version, config: Configuration, claims: dict[str, Object], now: str
) -> Object:
    pod = launcher_pod(vmi, version, config, claims=claims)
    pod["spec"]["nodeName"] = machine.node
    pod["metadata"]["labels"][phases.NODE_NAME] = machine.node
    said = [
        conditions.new(UNPAUSED, "True", now, "NotPaused", "the virtual machine is not paused", now),
        *(
            conditions.new(kind, "True", now)
            for kind in ("PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready")
        ),
    ]
    status: Object = {"phase": "Running", "startTime": now, "qosClass": "Burstable", "conditions": said}
    if machine.address:
        status |= {"podIP": machine.address, "podIPs": [{"ip": machine.address}]}
    for kind, field in (("initContainers", "initContainerStatuses"), ("containers", "containerStatuses")):
        if kind in pod["spec"]:
            status[field] = [_container_status(one, kind == "initContainers", now) for one in pod["spec"][kind]]
    made = await own.create(PODS, pod)
    return await cluster.update(PODS, {**made, "status": status}, "status")


def _container_status(container: Object, ended: bool, now: str) -> Object:
    terminated = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
    state: Object = {"terminated": terminated} if ended else {"running": {"startedAt": now}}
    image = container["image"]
    digest = hashlib.sha256(image.encode()).hexdigest()
    return {
        "name": container["name"], "ready": True, "started": True, "restartCount": 0, "image": image, "state": state, "lastState": {},
        "imageID": f"{image.rpartition(':')[0]}@sha256:{digest}",
    }


async def _add_budget(cluster: Cluster, own: Cluster, vmi: Object, now: str) -> None:
    made = await own.create(BUDGETS, budget_for(vmi))
    await cluster.update(BUDGETS, {**made, "status": counted(made, 1, 1, 1, {}, now)}, "status")
