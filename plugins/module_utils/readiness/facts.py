# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks rest on, read once and in pages; of thousands of objects only what is looked at is kept. Private to this collection."""

from __future__ import annotations

import concurrent.futures
import datetime
import typing as t
from dataclasses import dataclass, field

from .._cluster.client import Cluster, Keep
from .._cluster.decoding import without_cycles
from .._cluster.resources import (
    KUBEVIRTS,
    MIGRATION_POLICIES,
    NAMESPACES,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    VIRTUAL_MACHINE_INSTANCE_MIGRATIONS,
    VIRTUAL_MACHINE_INSTANCES,
    Resource,
)
from .._migrations.guests import Numbers, annotated, keep_domain
from .._migrations.limits import limits
from .._migrations.links import NOT_KNOWN, Link
from .._migrations.memory import memory_bytes
from .._migrations.sources import read_link, read_machines
from .._migrations.state import Key, is_final
from .._migrations.times import moment, phase_times
from .._networks.reading import MigrationNetwork
from .._placement.room import Room, asks_for_namespaces, keep, room_of
from .._placement.terms import Namespaces
from .surroundings import Surroundings
from .surroundings import read as read_surroundings

Json = dict[str, t.Any]
HEARTBEAT = "kubevirt.io/heartbeat"
_AT_ONCE = 3
"""Lists that are read beside each other: one is decoded while the server makes another. More would weigh on the server."""
_OF_INSTANCE = ("phase", "nodeName", "migrationState")
_CONDITIONS = ("LiveMigratable",)


@dataclass
class Facts:
    """C(moment) is now. C(instances) and C(migrations) are cut down to what is looked at; C(kubevirt) is None without one.

    C(namespaces) has their labels, read only where there are policies, or pods whose affinity asks for them. C(network) is the one that migrations
    are given, None without. C(machines) has what annotations of VirtualMachines say of loads, C(loads) what the caller says of them.
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
    network: MigrationNetwork | None = None
    machines: dict[Key, dict[str, str]] = field(default_factory=dict)
    loads: dict[Key, Numbers] = field(default_factory=dict)
    link: Link = NOT_KNOWN
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


@without_cycles()
def read(cluster: Cluster, loads: dict[Key, Numbers], link_speed: str | None = None) -> Facts:
    """All of it; links only where a load is known. C(loads) and C(link_speed) are what the caller says.

    Raises Forbidden with the resource that can't be read, ResourceMissing where KubeVirt is not installed.
    """
    found = Facts(datetime.datetime.now(datetime.UTC), loads=loads)
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        lists = {name: pool.submit(cluster.list, resource, keep=kept, missing_ok=name == "policies") for name, (resource, kept) in _LISTS.items()}
        machines = pool.submit(read_machines, cluster)
        try:
            for name, listing in lists.items():
                setattr(found, name, listing.result().items)
            found.machines = machines.result()
        except BaseException:
            # What is not begun need not be read any more.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    found.kubevirt = next(iter(cluster.list(KUBEVIRTS).items), None)
    if found.policies or asks_for_namespaces(found.pods):
        found.namespaces = {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in cluster.list(NAMESPACES, metadata_only=True).items}
    if loads or found.machines or any(one["metadata"]["annotations"] for one in found.instances):
        names = [node["metadata"]["name"] for node in found.nodes]
        found.link = read_link(cluster, link_speed, limits(found.kubevirt), found.home(), names)
    if found.kubevirt:
        found.surroundings = read_surroundings(cluster, found.home())
    return found


def _instance(vmi: Json) -> Json:
    metadata, spec, status = vmi["metadata"], vmi.get("spec") or {}, vmi.get("status") or {}
    return {
        "metadata": {
            **{name: metadata.get(name) for name in ("name", "namespace", "labels", "deletionTimestamp")},
            "annotations": annotated(metadata.get("annotations")),
        },
        "spec": {"evictionStrategy": spec.get("evictionStrategy"), "domain": keep_domain(spec)},
        "status": {
            **{name: status[name] for name in _OF_INSTANCE if name in status},
            "conditions": [one for one in status.get("conditions") or () if one.get("type") in _CONDITIONS],
        },
        "memory": memory_bytes(vmi),
    }


def _migration(one: Json) -> Json:
    metadata = {name: one["metadata"].get(name) for name in ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "labels", "annotations")}
    return {"metadata": metadata, "spec": one["spec"], "status": one.get("status") or {}}


def _node(node: Json) -> Json:
    metadata, status = node["metadata"], node.get("status") or {}
    return {
        "metadata": {name: metadata.get(name) for name in ("name", "labels", "annotations")}, "spec": node.get("spec") or {},
        "status": {name: status.get(name) for name in ("allocatable", "conditions", "addresses")},
    }


def _budget(budget: Json) -> Json | None:
    """KubeVirt's own budgets, one for each VM, are no matter of the site."""
    owners = budget["metadata"].get("ownerReferences") or ()
    return None if any(one.get("kind") == "VirtualMachineInstance" for one in owners) else budget


_LISTS: dict[str, tuple[Resource, Keep | None]] = {
    "instances": (VIRTUAL_MACHINE_INSTANCES, _instance), "pods": (PODS, keep), "migrations": (VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, _migration),
    "nodes": (NODES, _node), "budgets": (POD_DISRUPTION_BUDGETS, _budget), "policies": (MIGRATION_POLICIES, None),
}
"""What is read for each of the facts, the longest first, and what is kept of each object."""
