# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory VMs ask for and nodes have left, while nodes are drained in turn. Pure. Private to this collection.

Source: OKD documentation, modules/virt-live-migration-requirements.adoc (spare memory); Kubernetes NodeResourcesFit.
"""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass, field

from .fates import is_finished, is_launcher

with contextlib.suppress(ImportError):
    from kubernetes.utils.quantity import parse_quantity

Json = dict[str, t.Any]
_HOST_MODEL, _RUNS = "host-model-cpu.node.kubevirt.io/", "cpu-model-migration.node.kubevirt.io/"
"""Labels of the node-labeller: a node's own CPU model, and those whose VMs it can take over."""


def memory_request(pod: Json) -> int:
    """Bytes that the scheduler reserves for a pod: its containers together, or its largest init container, and its overhead."""
    spec = pod.get("spec") or {}
    containers = sum(_request(one) for one in spec.get("containers") or ())
    largest = max((_request(one) for one in spec.get("initContainers") or () if one.get("restartPolicy") != "Always"), default=0)
    sidecars = sum(_request(one) for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always")
    return max(containers + sidecars, largest + sidecars) + _bytes((spec.get("overhead") or {}).get("memory"))


def _request(container: Json) -> int:
    return _bytes(((container.get("resources") or {}).get("requests") or {}).get("memory"))


def _bytes(text: t.Any) -> int:
    try:
        return int(parse_quantity(text)) if text else 0  # type: ignore[no-untyped-call]
    except ValueError:
        return 0


def keep(pod: Json) -> Json | None:
    """Of a pod, what room depends on; nothing of one that has ended or has no node."""
    spec = pod.get("spec") or {}
    if is_finished(pod) or not spec.get("nodeName"):
        return None
    metadata = pod["metadata"]
    return {
        "metadata": {key: metadata[key] for key in ("name", "namespace", "uid")}, "node": spec["nodeName"], "memory": memory_request(pod),
        "vm": is_launcher(pod),
    }


@dataclass
class Room:
    """Bytes by node: what VMs ask for, and what is left for others. Beside it whose VMs a node can run, as far as CPU models tell."""

    vms: dict[str, int] = field(default_factory=dict)
    free: dict[str, int] = field(default_factory=dict)
    model: dict[str, str] = field(default_factory=dict)
    runs: dict[str, frozenset[str]] = field(default_factory=dict)

    def fits(self, leaving: t.Collection[str], among: t.Collection[str], slack: float = 1.0) -> bool:
        """Whether so many times all VMs of the leaving nodes have room on the others, as far as memory and CPU models go."""
        others = [name for name in among if name not in leaving]
        if slack * sum(self.vms.get(name, 0) for name in leaving) > sum(self.free.get(name, 0) for name in others):
            return False
        by_model: dict[str, int] = {}
        for name in leaving:
            by_model[self.model.get(name, "")] = by_model.get(self.model.get(name, ""), 0) + self.vms.get(name, 0)
        return all(
            slack * size <= sum(self.free.get(name, 0) for name in others if not model or model in self.runs.get(name, ()))
            for model, size in by_model.items()
        )


def room_of(nodes: t.Iterable[Json], kept: t.Iterable[Json]) -> Room:
    """The room of nodes that take pods; those that are cordoned or not ready have none."""
    found = Room()
    used: dict[str, int] = {}
    for pod in kept:
        used[pod["node"]] = used.get(pod["node"], 0) + pod["memory"]
        if pod["vm"]:
            found.vms[pod["node"]] = found.vms.get(pod["node"], 0) + pod["memory"]
    for node in nodes:
        name = node["metadata"]["name"]
        labels = node["metadata"].get("labels") or {}
        found.model[name] = next((key.removeprefix(_HOST_MODEL) for key in labels if key.startswith(_HOST_MODEL)), "")
        found.runs[name] = frozenset(key.removeprefix(_RUNS) for key in labels if key.startswith(_RUNS))
        if takes_pods(node):
            found.free[name] = max(0, _bytes(((node.get("status") or {}).get("allocatable") or {}).get("memory")) - used.get(name, 0))
    return found


def takes_pods(node: Json) -> bool:
    """Whether VMs may come to a node: it is ready, not cordoned, without a taint against them, and KubeVirt takes it for schedulable."""
    spec, labels = node.get("spec") or {}, node["metadata"].get("labels") or {}
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in (node.get("status") or {}).get("conditions") or ())
    tainted = any(taint.get("effect") in ("NoSchedule", "NoExecute") for taint in spec.get("taints") or ())
    return ready and not spec.get("unschedulable") and not tainted and labels.get("kubevirt.io/schedulable") == "true"
