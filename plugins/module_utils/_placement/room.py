# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory VMs ask for and nodes have left, while nodes are drained in turn. Pure. Private to this collection.

Source: OKD documentation, modules/virt-live-migration-requirements.adoc (spare memory); Kubernetes NodeResourcesFit.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .._pods import instance_key, is_finished, is_launcher
from .company import Company, Placed
from .demand import RUNS_MODEL, Demand, as_target, cpu_of, demand_of
from .node_info import NodeInfo, node_infos
from .placing import place
from .terms import Namespaces
from .verdict import Looks

Json = dict[str, t.Any]
_MIRROR = "kubernetes.io/config.mirror"


def keep(pod: Json) -> Json | None:
    """Of a pod, what room depends on; nothing of one that has ended or has no node."""
    spec = pod.get("spec") or {}
    if is_finished(pod) or not spec.get("nodeName"):
        return None
    metadata = pod["metadata"]
    return {
        "metadata": {key: metadata[key] for key in ("name", "namespace", "uid")}, "node": spec["nodeName"], "demand": demand_of(pod), "vm": is_launcher(pod),
        "instance": instance_key(pod) if is_launcher(pod) else None, "stays": _stays(metadata),
    }


def _stays(metadata: Json) -> bool:
    """Whether a pod belongs to its node: that of a DaemonSet, or a static one."""
    owners = metadata.get("ownerReferences") or ()
    return _MIRROR in (metadata.get("annotations") or {}) or any(one.get("controller") and one.get("kind") == "DaemonSet" for one in owners)


@dataclass
class Room:
    """Bytes by node: what VMs ask for, and what is left for others. Beside it the VMs, the nodes themselves, and all pods that have one.

    C(visitors) are the pods of each node that come back elsewhere when it is drained, and are no VMs.
    """

    vms: dict[str, int] = field(default_factory=dict)
    free: dict[str, int] = field(default_factory=dict)
    demands: dict[str, list[Demand]] = field(default_factory=dict)
    infos: dict[str, NodeInfo] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    pods: list[Placed] = field(default_factory=list)
    visitors: dict[str, list[Demand]] = field(default_factory=dict)
    namespaces: Namespaces = field(default_factory=Namespaces)

    def recommended(self, at_once: int) -> int:
        """Spare memory by the documented rule: nodes that are drained at once, times the highest total of VM memory requests on a node."""
        return at_once * max(self.vms.values(), default=0)

    def fits(self, leaving: t.Collection[str], among: t.Collection[str], slack: float = 1.0) -> bool:
        """Whether so many times all VMs of the leaving nodes have room on the others, as far as memory and CPU models go."""
        others = [name for name in among if name not in leaving]
        if slack * sum(self.vms.get(name, 0) for name in leaving) > sum(self.free.get(name, 0) for name in others):
            return False
        by_model: dict[str, int] = {}
        for name in leaving:
            by_model[self.models.get(name, "")] = by_model.get(self.models.get(name, ""), 0) + self.vms.get(name, 0)
        return all(slack * size <= sum(self.free.get(name, 0) for name in others if self.runs(model, name)) for model, size in by_model.items())

    def runs(self, model: str, name: str) -> bool:
        """Whether a node can take over VMs with that CPU model."""
        node = self.infos.get(name)
        return not model or (node is not None and node.labels.get(RUNS_MODEL + model) == "true")

    def left_over(self, leaving: t.Collection[str], among: t.Iterable[str], slack: float = 1.0) -> int:
        """How many VMs of the leaving nodes find no place on those."""
        nodes = [self.infos[name] for name in among if name in self.infos and name not in leaving]
        return len(place((one for name in leaving for one in self.demands.get(name, ())), nodes, slack).left)

    def has_places(self, leaving: t.Collection[str]) -> bool:
        """Whether all VMs of the leaving nodes, of which there are some, have a place on the others, those among them that are not for every VM."""
        return any(self.demands.get(name) for name in leaving) and not self.left_over(leaving, self.infos)

    def looks(self) -> Looks:
        """The nodes and pods, to be judged."""
        return Looks(self.infos.values(), Company(self.pods, {name: info.labels for name, info in self.infos.items()}, self.namespaces))


def room_of(nodes: t.Iterable[Json], kept: t.Iterable[Json], namespaces: Namespaces | None = None) -> Room:
    """The room of nodes that take pods; those that are cordoned or not ready have none."""
    found = Room(namespaces=namespaces or Namespaces())
    nodes = list(nodes)
    kept = list(kept)
    labels = {node["metadata"]["name"]: node["metadata"].get("labels") or {} for node in nodes}
    found.pods = [(pod["node"], pod["demand"]) for pod in kept]
    found.infos = {info.name: info for info in node_infos(nodes, found.pods)}
    cpus = {name: cpu_of(given) for name, given in labels.items()}
    found.models = {name: cpu.model for name, cpu in cpus.items()}
    for pod in kept:
        name = pod["node"]
        if pod["vm"]:
            found.vms[name] = found.vms.get(name, 0) + pod["demand"].memory
            found.demands.setdefault(name, []).append(as_target(pod["demand"], name, labels.get(name) or {}, cpus.get(name)))
        elif not pod["stays"]:
            found.visitors.setdefault(name, []).append(pod["demand"])
    found.free = {node["metadata"]["name"]: max(0, found.infos[node["metadata"]["name"]].memory) for node in nodes if takes_pods(node)}
    return found


def asks_for_namespaces(kept: t.Iterable[Json]) -> bool:
    """Whether what some pod says about others depends on the labels of namespaces."""
    return any(term.namespace_selector for pod in kept for term in (*pod["demand"].near, *pod["demand"].apart))


def takes_pods(node: Json) -> bool:
    """Whether VMs may come to a node: it is ready, not cordoned, without a taint against them, and KubeVirt takes it for schedulable."""
    spec, labels = node.get("spec") or {}, node["metadata"].get("labels") or {}
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in (node.get("status") or {}).get("conditions") or ())
    tainted = any(taint.get("effect") in ("NoSchedule", "NoExecute") for taint in spec.get("taints") or ())
    return ready and not spec.get("unschedulable") and not tainted and labels.get("kubevirt.io/schedulable") == "true"
