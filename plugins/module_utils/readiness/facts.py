# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks rest on, read once and in pages; of thousands of objects only what is looked at is kept. Private to this collection."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass, field

from .._cluster.client import Cluster
from .._cluster.resources import (
    KUBEVIRTS,
    MIGRATION_POLICIES,
    NAMESPACES,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    VIRTUAL_MACHINE_INSTANCE_MIGRATIONS,
    VIRTUAL_MACHINE_INSTANCES,
)
from .._migrations.memory import memory_bytes
from .._migrations.state import is_final
from .._migrations.times import moment, phase_times
from .._placement.room import Room, asks_for_namespaces, keep, room_of
from .._placement.terms import Namespaces
from .surroundings import Surroundings
from .surroundings import read as read_surroundings

Json = dict[str, t.Any]
HEARTBEAT = "kubevirt.io/heartbeat"
_OF_INSTANCE = ("phase", "nodeName", "conditions", "evacuationNodeName", "migrationState")


@dataclass
class Facts:
    """C(moment) is now. C(instances) and C(migrations) are cut down to what is looked at; C(kubevirt) is None without one.

    C(namespaces) has their labels, read only where there are policies, or pods whose affinity asks for them.
    """

    moment: datetime.datetime
    nodes: list[Json] = field(default_factory=list)
    pods: list[Json] = field(default_factory=list)
    instances: list[Json] = field(default_factory=list)
    migrations: list[Json] = field(default_factory=list)
    budgets: list[Json] = field(default_factory=list)
    kubevirt: Json | None = None
    policies: list[Json] = field(default_factory=list)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    surroundings: Surroundings = field(default_factory=Surroundings)

    def room(self) -> Room:
        return room_of(self.nodes, self.pods, Namespaces(self.namespaces))

    def home(self) -> str:
        """KubeVirt's namespace; empty without one."""
        return str(self.kubevirt["metadata"].get("namespace") or "") if self.kubevirt else ""

    def now(self) -> datetime.datetime:
        """By the cluster's clock, as far as it can be told: the latest that a node or a migration has said."""
        told = [moment((node["metadata"].get("annotations") or {}).get(HEARTBEAT)) for node in self.nodes]
        told += [moment(phase_times(one)[-1].since) for one in self.migrations if not is_final(one)]
        return max((one for one in told if one is not None), default=self.moment)


def read(cluster: Cluster) -> Facts:
    """All of it. Raises Forbidden with the resource that can't be read, ResourceMissing where KubeVirt is not installed."""
    found = Facts(datetime.datetime.now(datetime.UTC))
    found.instances = cluster.list(VIRTUAL_MACHINE_INSTANCES, keep=_instance).items
    found.migrations = cluster.list(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, keep=_migration).items
    found.nodes = cluster.list(NODES, keep=_node).items
    found.pods = cluster.list(PODS, keep=keep).items
    found.budgets = cluster.list(POD_DISRUPTION_BUDGETS, keep=_budget).items
    found.kubevirt = next(iter(cluster.list(KUBEVIRTS).items), None)
    found.policies = cluster.list(MIGRATION_POLICIES, missing_ok=True).items
    if found.policies or asks_for_namespaces(found.pods):
        found.namespaces = {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in cluster.list(NAMESPACES, metadata_only=True).items}
    if found.kubevirt:
        found.surroundings = read_surroundings(cluster, found.home())
    return found


def _instance(vmi: Json) -> Json:
    metadata, spec, status = vmi["metadata"], vmi.get("spec") or {}, vmi.get("status") or {}
    return {
        "metadata": {name: metadata.get(name) for name in ("name", "namespace", "uid", "labels", "deletionTimestamp")},
        "spec": {"evictionStrategy": spec.get("evictionStrategy")}, "status": {name: status[name] for name in _OF_INSTANCE if name in status},
        "memory": memory_bytes(vmi),
    }


def _migration(one: Json) -> Json:
    metadata = {name: one["metadata"].get(name) for name in ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "labels", "annotations")}
    return {"metadata": metadata, "spec": one["spec"], "status": one.get("status") or {}}


def _node(node: Json) -> Json:
    metadata, status = node["metadata"], node.get("status") or {}
    return {
        "metadata": {name: metadata.get(name) for name in ("name", "labels", "annotations")}, "spec": node.get("spec") or {},
        "status": {name: status.get(name) for name in ("allocatable", "conditions")},
    }


def _budget(budget: Json) -> Json | None:
    """KubeVirt's own budgets, one for each VM, are no matter of the site."""
    owners = budget["metadata"].get("ownerReferences") or ()
    return None if any(one.get("kind") == "VirtualMachineInstance" for one in owners) else budget
