# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes and running virtual machines, as the API shows them.

Source of the shapes: KubeVirt v1.4.1 pkg/virt-controller/services/{template,renderresources}.go, pkg/virt-handler/node-labeller.
"""
from __future__ import annotations

import dataclasses

from ..clock import Clock
from ..interface import NODES, PODS, Cluster, Object, Ref
from .installed import put

VIRTUAL_MACHINES = Ref("kubevirt.io", "v1", "virtualmachines")
VIRTUAL_MACHINE_INSTANCES = Ref("kubevirt.io", "v1", "virtualmachineinstances")
CLAIMS = Ref("", "v1", "persistentvolumeclaims")
BUDGETS = Ref("policy", "v1", "poddisruptionbudgets")
_MIB = 1024 * 1024
CPU_MODELS = {
    "Cascadelake-Server": ("Haswell-noTSX", "Skylake-Server", "Cascadelake-Server"),
    "Haswell-noTSX": ("Haswell-noTSX",),
}


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


def launcher_memory(machine: Machine, kubevirt: str) -> int:
    """Bytes that the virt-launcher pod asks for: guest memory and overhead. Source: renderresources.go GetMemoryOverhead."""
    guest = machine.memory_mib * _MIB
    fixed = {"v1.4.1": 215, "v1.5.3": 220}[kubevirt]
    return guest + guest // 512 + (fixed + 8 * machine.cores + 8 + 16) * _MIB


def node(name: str, role: str, zone: str, cpu_model: str = "Cascadelake-Server", memory_gib: int = 128, cores: int = 32) -> tuple[Object, Object]:
    """A node and its status."""
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
    configuration = f"rendered-{role}-3f0c3d5a9b3e4f60b2f1a1d4c5e6f708"
    annotations = {
        "machineconfiguration.openshift.io/currentConfig": configuration, "machineconfiguration.openshift.io/desiredConfig": configuration,
        "machineconfiguration.openshift.io/state": "Done",
    }
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
        "addresses": [{"type": "Hostname", "address": name}],
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels, "annotations": annotations}, "spec": spec}, status


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
    return {"name": "rootdisk", "containerDisk": {"image": "quay.io/containerdisks/fedora:42"}}


def _instance_spec(machine: Machine) -> Object:
    spec: Object = {
        "architecture": "amd64",
        "domain": {
            "cpu": {"cores": machine.cores, "sockets": 1, "threads": 1, "model": "host-model"},
            "devices": {
                "disks": [{"name": "rootdisk", "disk": {"bus": "virtio"}}], "interfaces": [{"name": "default", "masquerade": {}}],
            },
            "machine": {"type": "q35"}, "memory": {"guest": f"{machine.memory_mib}Mi"},
            "resources": {"requests": {"memory": f"{machine.memory_mib}Mi"}},
        },
        "networks": [{"name": "default", "pod": {}}], "volumes": [_volume(machine)],
        "evictionStrategy": machine.eviction_strategy or "LiveMigrate",
    }
    return spec


def _migratable(machine: Machine) -> list[Object]:
    shared = machine.claim != "ReadWriteOnce"
    if shared:
        return [{"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": None} for kind in ("LiveMigratable", "StorageLiveMigratable")]
    message = (
        f"cannot migrate VMI: PVC {machine.name} is not shared, live migration requires that all PVCs must be shared (using ReadWriteMany access mode)"
    )
    return [
        {
            "type": "LiveMigratable", "status": "False", "reason": "DisksNotLiveMigratable", "message": message, "lastProbeTime": None,
            "lastTransitionTime": None,
        },
        {"type": "StorageLiveMigratable", "status": "True", "lastProbeTime": None, "lastTransitionTime": None},
    ]


async def add_machine(cluster: Cluster, clock: Clock, machine: Machine, kubevirt: str) -> None:
    """The VirtualMachine, its instance, its launcher pod, its disk and its disruption budget, running."""
    now = clock.timestamp()
    where, name = machine.namespace, machine.name
    ready = {"type": "Ready", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    annotations = {
        f"engine.okd.virt/{key}": value for key, value in (("dirty-rate", machine.dirty_rate), ("working-set", machine.working_set)) if value
    }
    if machine.claim:
        await put(
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
    template_spec = _instance_spec(machine)
    if not machine.eviction_strategy:
        del template_spec["evictionStrategy"]
    vm = await put(
        cluster, VIRTUAL_MACHINES,
        {
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
            "metadata": {
                "name": name, "namespace": where, "finalizers": ["kubevirt.io/virtualMachineControllerFinalize"],
                **({"annotations": annotations} if annotations else {}),
            },
            "spec": {"runStrategy": "Always", "template": {"metadata": {"labels": {"kubevirt.io/vm": name}}, "spec": template_spec}},
        },
        {
            "conditions": [ready, *_migratable(machine)], "created": True, "ready": True, "printableStatus": "Running", "runStrategy": "Always",
            "observedGeneration": 1, "desiredGeneration": 1,
        },
    )
    image = f"quay.io/kubevirt/virt-launcher:{kubevirt}"
    instance: Object = {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": {
            "name": name, "namespace": where, "labels": {"kubevirt.io/vm": name, "kubevirt.io/nodeName": machine.node},
            "finalizers": ["kubevirt.io/virtualMachineControllerFinalize", "foregroundDeleteVirtualMachine"],
            "ownerReferences": [_owner(vm)],
        },
        "spec": _instance_spec(machine),
        "status": {
            "conditions": [ready, *_migratable(machine)], "phase": "Running", "nodeName": machine.node, "launcherContainerImageVersion": image,
            "migrationMethod": "LiveMigration" if machine.claim else "BlockMigration", "migrationTransport": "Unix", "qosClass": "Burstable",
            "runtimeUser": 107, "memory": dict.fromkeys(("guestAtBoot", "guestCurrent", "guestRequested"), f"{machine.memory_mib}Mi"),
            "currentCPUTopology": {"cores": machine.cores, "sockets": 1, "threads": 1},
        },
    }
    vmi = await cluster.create(VIRTUAL_MACHINE_INSTANCES, instance)
    pod = await _add_launcher(cluster, machine, vmi, image, launcher_memory(machine, kubevirt), now)
    active = {**vmi, "status": {**instance["status"], "activePods": {pod["metadata"]["uid"]: machine.node}}}
    await cluster.update(VIRTUAL_MACHINE_INSTANCES, active)
    if machine.claim != "ReadWriteOnce" and machine.eviction_strategy in ("", "LiveMigrate"):
        await _add_budget(cluster, vmi, now)


def _owner(obj: Object) -> Object:
    return {
        "apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"], "controller": True,
        "blockOwnerDeletion": True,
    }


async def _add_launcher(cluster: Cluster, machine: Machine, vmi: Object, image: str, memory: int, now: str) -> Object:
    name = machine.name
    devices = {f"devices.kubevirt.io/{device}": "1" for device in ("kvm", "tun", "vhost-net")}
    pod = {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": f"virt-launcher-{name}-", "namespace": machine.namespace, "ownerReferences": [_owner(vmi)],
            "labels": {
                "kubevirt.io": "virt-launcher", "kubevirt.io/created-by": vmi["metadata"]["uid"], "kubevirt.io/vm": name,
                "vm.kubevirt.io/name": name, "kubevirt.io/nodeName": machine.node,
            },
            "annotations": {
                "kubevirt.io/domain": name, "kubevirt.io/migrationTransportUnix": "true", "kubectl.kubernetes.io/default-container": "compute",
                "descheduler.alpha.kubernetes.io/request-evict-only": "",
            },
        },
        "spec": {
            "nodeName": machine.node, "restartPolicy": "Never", "readinessGates": [{"conditionType": "kubevirt.io/virtual-machine-unpaused"}],
            "nodeSelector": {"kubevirt.io/schedulable": "true", "kubernetes.io/arch": "amd64"},
            "containers": [{
                "name": "compute", "image": image, "resources": {
                    "requests": {"cpu": f"{100 * machine.cores}m", "memory": str(memory), "ephemeral-storage": "50M", **devices}, "limits": devices,
                },
            }],
            "volumes": [{"name": volume, "emptyDir": {}} for volume in ("private", "public", "sockets", "libvirt-runtime")],
        },
    }
    status = {
        "phase": "Running", "startTime": now, "qosClass": "Burstable",
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": now}
            for kind in ("kubevirt.io/virtual-machine-unpaused", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        ],
        "containerStatuses": [{
            "name": "compute", "ready": True, "started": True, "restartCount": 0, "image": image, "imageID": "", "state": {"running": {"startedAt": now}},
        }],
    }
    return await put(cluster, PODS, pod, status)


async def _add_budget(cluster: Cluster, vmi: Object, now: str) -> None:
    metadata = {
        "generateName": "kubevirt-disruption-budget-", "namespace": vmi["metadata"]["namespace"], "ownerReferences": [_owner(vmi)],
    }
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"kubevirt.io/created-by": vmi["metadata"]["uid"]}}}
    condition = {
        "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "", "observedGeneration": 1, "lastTransitionTime": now,
    }
    status = {"currentHealthy": 1, "desiredHealthy": 1, "disruptionsAllowed": 0, "expectedPods": 1, "observedGeneration": 1, "conditions": [condition]}
    await put(cluster, BUDGETS, {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}, status)
