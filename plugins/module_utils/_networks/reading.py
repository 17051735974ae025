# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what a network for migrations is judged by. What can't be read, or is not served, is left unknown. Private to this collection."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass

from .._cluster.client import Cluster
from .._cluster.resources import (
    NETWORK_ATTACHMENT_DEFINITIONS,
    NETWORKS,
    NODE_NETWORK_STATES,
    NODES,
    PODS,
    VIRTUAL_MACHINE_INSTANCE_MIGRATIONS,
    Resource,
)
from .._errors import Forbidden
from .attachment import Attachment
from .fitness import Fitness, Surroundings, fitness
from .use import HANDLERS, Use, use

Json = dict[str, t.Any]
_SCHEDULABLE = "kubevirt.io/schedulable"


@dataclass
class MigrationNetwork:
    """One network by name in the namespace of the HyperConverged, what was found of it, and how it is used; None where that is not known."""

    namespace: str
    name: str
    fitness: Fitness
    use: Use | None = None


def look(
    cluster: Cluster, namespace: str, name: str, is_set: bool, nodes: list[Json] | None = None, migrations: list[Json] | None = None
) -> MigrationNetwork:
    """All that can be told of it, the use that is made of it only when it C(is_set). Nodes and migrations are read unless they are given."""
    found = fitness(name, surroundings(cluster, namespace, name, nodes))
    return MigrationNetwork(namespace, name, found, used(cluster, namespace, name, found.attachment, migrations) if is_set else None)


def surroundings(cluster: Cluster, namespace: str, name: str, nodes: list[Json] | None = None) -> Surroundings:
    """What a network of that name is judged by. C(nodes) are those on which virt-handler runs."""
    found = Surroundings(namespace)
    found.definitions = _listed(cluster, NETWORK_ATTACHMENT_DEFINITIONS)
    if found.definitions is None:
        # Who can't list them everywhere may well read this one.
        with contextlib.suppress(Forbidden):
            one = cluster.get(NETWORK_ATTACHMENT_DEFINITIONS, name, namespace)
            found.definitions = [] if one is None else [one]
    found.nodes = nodes if nodes is not None else _listed(cluster, NODES, label_selector=_SCHEDULABLE, keep=_node)
    found.states = _listed(cluster, NODE_NETWORK_STATES, keep=_state)
    with contextlib.suppress(Forbidden):
        found.cluster_network = cluster.get(NETWORKS, "cluster")
    if found.states == []:
        found.states = None
    return found


def used(cluster: Cluster, namespace: str, network: str, found: Attachment | None, migrations: list[Json] | None = None) -> Use | None:
    """Whether it is used; None where virt-handler's pods can't be listed."""
    pods = _listed(cluster, PODS, namespace, HANDLERS)
    if pods is None:
        return None
    if migrations is None:
        migrations = _listed(cluster, VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, keep=_migration)
    return use(network, found, pods, migrations or ())


def _listed(cluster: Cluster, resource: Resource, namespace: str | None = None, label_selector: str | None = None, **more: t.Any) -> list[Json] | None:
    """None for what may not be read. A kind that is not served has no objects."""
    try:
        return cluster.list(resource, namespace, label_selector, missing_ok=True, **more).items
    except Forbidden:
        return None


def _node(node: Json) -> Json:
    status = node.get("status") or {}
    return {
        "metadata": {name: node["metadata"].get(name) for name in ("name", "labels")}, "spec": node.get("spec") or {},
        "status": {name: status.get(name) for name in ("allocatable", "addresses")},
    }


def _state(state: Json) -> Json:
    current = (state.get("status") or {}).get("currentState") or {}
    interfaces = [{"name": one.get("name"), "state": one.get("state")} for one in current.get("interfaces") or ()]
    return {"metadata": {"name": state["metadata"]["name"]}, "status": {"currentState": {"interfaces": interfaces, "ovn": current.get("ovn")}}}


def _migration(one: Json) -> Json | None:
    """Of those that began, what they are judged by."""
    state = (one.get("status") or {}).get("migrationState") or {}
    if not state.get("startTimestamp"):
        return None
    metadata = {name: one["metadata"].get(name) for name in ("name", "namespace")}
    return {"metadata": metadata, "spec": one.get("spec") or {}, "status": {"migrationState": state}}
