# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the sample cluster lab, and why each of it is there."""
from __future__ import annotations

import typing as t

from ..apiserver.local import LocalCluster
from ..clock import Clock
from ..interface import NODES, Object
from ..kubernetes.disruption_status import failed
from ..kubevirt.virt_controller.disruption_budgets import BUDGETS
from .installed import namespace, put
from .running import Running
from .workloads import Machine, pod_address

TENANTS: dict[str, int] = {"team-blue": 10, "team-green": 9, "shop": 9, "analytics": 7, "legacy": 5, "ci": 4, "sandbox": 0}
"""Namespaces and how many VMs run in each."""
GPU, GPU_NODE = "nvidia.com/A100", "node03"
FULL_NODE = "node06"
"""The node that has hardly any memory left; it is one of the older machines."""
_CROWDED_NODE, _CROWD = "node02", 12
"""The node that a drain is tried on: a dozen VMs, all of which can leave it, beside other pods."""
_MONITORING = "openshift-monitoring"
_SPECIAL: dict[tuple[str, str], dict[str, t.Any]] = {
    # Busy: writes its memory faster than it can be copied, unless it is slowed down or switched over.
    ("analytics", "vm-1"): {"node": "node01", "memory_mib": 32768, "cores": 8, "dirty_rate": "700Mi", "working_set": "16Gi"},
    ("shop", "vm-1"): {"node": "node04", "dirty_rate": "150Mi", "working_set": "2Gi"},
    # Cannot migrate, each for a reason of its own.
    ("legacy", "vm-1"): {"node": "node01", "claim": "ReadWriteOnce", "eviction_strategy": "LiveMigrate"},
    ("legacy", "vm-2"): {"node": "node05", "claim": "ReadWriteOnce", "eviction_strategy": "LiveMigrateIfPossible"},
    ("analytics", "vm-2"): {"node": GPU_NODE, "gpu": GPU},
    # Runs only where its CPU model is known: not on the older machines.
    ("analytics", "vm-3"): {"node": "node04", "cpu_model": "Skylake-Server"},
    # An eviction shuts it down, if the budget that its owner made did not forbid that for ever.
    ("ci", "vm-4"): {"node": "node04", "eviction_strategy": "None"},
    # Large ones, which fill their node.
    ("shop", "vm-8"): {"node": FULL_NODE, "memory_mib": 49152, "cores": 8},
    ("shop", "vm-9"): {"node": FULL_NODE, "memory_mib": 49152, "cores": 8},
}


def machines(workers: t.Sequence[str]) -> list[Machine]:
    """The VMs, most of them ordinary ones that can migrate anywhere."""
    made: list[Machine] = []
    crowd, turn = 0, 0
    for where, count in TENANTS.items():
        for number in range(count):
            index, name = len(made), f"vm-{number + 1}"
            special = _SPECIAL.get((where, name), {})
            given: dict[str, t.Any] = {"memory_mib": (2048, 4096, 8192)[index % 3], "cores": (1, 2, 4)[index % 3], **special}
            if where == "ci":
                given["claim"] = ""
            if "node" not in given:
                if crowd < _CROWD and index % 3 == 0:
                    given["node"], crowd = _CROWDED_NODE, crowd + 1
                else:
                    others = [worker for worker in workers if worker != _CROWDED_NODE]
                    given["node"], turn = others[turn % len(others)], turn + 1
            made.append(Machine(where, name, address=pod_address(index), **given))
    return made


def _template(app: str, image: str, volumes: t.Sequence[Object] = (), **spec: t.Any) -> Object:
    container: Object = {"name": app, "image": image, "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}}
    if volumes:
        container["volumeMounts"] = [{"name": volume["name"], "mountPath": f"/{volume['name']}"} for volume in volumes]
    made: Object = {"containers": [container], **spec}
    if volumes:
        made["volumes"] = list(volumes)
    return {"metadata": {"labels": {"app": app}}, "spec": made}


def _workload(kind: str, where: str, app: str, template: Object, **spec: t.Any) -> Object:
    return {
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": app, "namespace": where, "labels": {"app": app}},
        "spec": {"selector": {"matchLabels": {"app": app}}, "template": template, **spec},
    }


async def add_workloads(cluster: LocalCluster, clock: Clock) -> None:
    """Everything that runs beside VMs, and the budget that blocks for ever."""
    gpus = {"status": {"capacity": {GPU: "2"}, "allocatable": {GPU: "2"}}}
    await cluster.patch(NODES, GPU_NODE, gpus, subresource="status")
    await namespace(cluster, _MONITORING)
    running = await Running.of(cluster, clock)
    # Stateless: comes back elsewhere when its node is drained. One of them keeps something in an emptyDir, on the node that it likes best.
    await running.deployment(_workload("Deployment", "shop", "storefront", _template("storefront", "quay.io/lab/storefront:3"), replicas=6))
    likes = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": {"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": [_CROWDED_NODE]},
    ]}}]}
    cached = _template("reports", "quay.io/lab/reports:7", [{"name": "cache", "emptyDir": {}}], affinity={"nodeAffinity": likes})
    await running.deployment(_workload("Deployment", "shop", "reports", cached, replicas=1))
    await running.deployment(_workload("Deployment", "team-blue", "wiki", _template("wiki", "quay.io/lab/wiki:12"), replicas=2))
    # On every node, whatever its taints: a drain leaves it alone.
    everywhere = _template("node-exporter", "quay.io/prometheus/node-exporter:v1.8.2", tolerations=[{"operator": "Exists"}], hostNetwork=True)
    await running.daemon_set(_workload("DaemonSet", _MONITORING, "node-exporter", everywhere))
    # Nobody would make it again.
    await running.pod({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "debug-shell", "namespace": "ci", "labels": {"app": "debug-shell"}},
        "spec": _template("debug-shell", "quay.io/lab/tools:1")["spec"],
    }, "node05")


async def add_budget(cluster: LocalCluster, clock: Clock) -> None:
    """A user's budget with maxUnavailable on a VM's pod, which nobody can count: it never allows an eviction."""
    made = await put(cluster, BUDGETS, {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "keep-vm-4", "namespace": "ci"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"kubevirt.io/vm": "vm-4"}}},
    })
    why = "virtualmachineinstances.kubevirt.io does not implement the scale subresource"
    await cluster.update(BUDGETS, {**made, "status": failed(made, why, clock.timestamp())}, "status")
