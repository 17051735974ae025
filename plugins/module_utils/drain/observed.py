# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drain reads before it plans. Private to this collection."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass, field

from .._cluster.client import Cluster
from .._cluster.resources import (
    KUBEVIRTS,
    MACHINE_CONFIG_POOLS,
    NAMESPACES,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    VIRTUAL_MACHINE_INSTANCE_MIGRATIONS,
    VIRTUAL_MACHINE_INSTANCES,
)
from .._errors import Forbidden, OptionError
from .._placement import room
from .._placement.terms import Namespaces, labels_of
from . import claims
from .fates import Around, Key
from .moves import keep
from .request import CANCELLED, DRAINED, Request

Json = dict[str, t.Any]
_MOST_ASKED = 20
"""Nodes whose pods are listed one by one."""
_MOST_NAMED = 40
"""Nodes that one selector names; beyond that everything is read."""


@dataclass(frozen=True)
class Neighbours:
    """All nodes, and all pods that have one, as room.keep leaves them; and the labels of namespaces where they matter."""

    nodes: list[Json]
    pods: list[Json]
    namespaces: Namespaces = field(default_factory=Namespaces)


@dataclass
class Observed:
    """The nodes that are meant, and what there is on and around them. C(cluster) is what all nodes have, None when it was not read."""

    nodes: list[Json]
    moment: datetime.datetime
    pods: dict[str, list[Json]] = field(default_factory=dict)
    vmis: dict[Key, Json] = field(default_factory=dict)
    budgets: list[Json] = field(default_factory=list)
    migrations: list[Json] = field(default_factory=list)
    kubevirt: Json | None = None
    user: str = "?"
    cluster: Neighbours | None = None
    warnings: list[str] = field(default_factory=list)

    def around(self, node: str) -> Around:
        return Around(self.vmis, self.budgets, {pod["metadata"]["uid"] for pod in self.pods.get(node, ())})


def name_of(node: Json) -> str:
    return str(node["metadata"]["name"])


def is_cordoned(node: Json) -> bool:
    return bool((node.get("spec") or {}).get("unschedulable"))


def find_nodes(cluster: Cluster, names: t.Sequence[str], label_selector: str, pool: str) -> list[Json]:
    """The nodes of all three, each once, in the order of their names unless they are named. Raises OptionError for one that is not there."""
    found: dict[str, Json] = {}
    for name in names:
        node = cluster.get(NODES, name)
        if node is None:
            raise OptionError(f"names: the cluster has no node {name}.")
        found[name] = node
    selectors = [("label_selector", label_selector)] if label_selector else []
    if pool:
        selectors.append(("machine_config_pool", _selector_of(cluster, pool)))
    for option, selector in selectors:
        items = cluster.list(NODES, label_selector=selector).items
        if not items:
            raise OptionError(f"{option}: no node has the labels {selector}.")
        for node in sorted(items, key=name_of):
            found.setdefault(name_of(node), node)
    return list(found.values())


def _selector_of(cluster: Cluster, pool: str) -> str:
    found = cluster.get(MACHINE_CONFIG_POOLS, pool)
    if found is None:
        raise OptionError(f"machine_config_pool: the cluster has no MachineConfigPool {pool}.")
    selector = (found.get("spec") or {}).get("nodeSelector") or {}
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        values = ",".join(one.get("values") or ())
        words = {"In": f"{one['key']} in ({values})", "NotIn": f"{one['key']} notin ({values})", "Exists": one["key"], "DoesNotExist": f"!{one['key']}"}
        parts.append(words[one["operator"]])
    if not parts:
        raise OptionError(f"machine_config_pool: MachineConfigPool {pool} selects no nodes by labels.")
    return ",".join(parts)


def look_around(cluster: Cluster, observed: Observed) -> None:
    """Read what all nodes have, so that the plan can say where VMs fit. Without the right to do so the plan goes without it."""
    try:
        nodes = cluster.list(NODES).items
        pods = cluster.list(PODS, keep=room.keep).items
        namespaces = cluster.list(NAMESPACES, metadata_only=True).items if room.asks_for_namespaces(pods) else []
    except Forbidden as error:
        observed.warnings.append(f"Where the VMs fit is not known, since nodes and pods of the whole cluster can't be listed: {error.message}")
        return
    observed.cluster = Neighbours(nodes, pods, labels_of(namespaces))


def _pods(cluster: Cluster, request: Request, names: t.Sequence[str]) -> dict[str, list[Json]]:
    """The pods of each node: asked for node by node, or out of all pods when there are many nodes."""
    selector = request.pod_selector or None
    if len(names) <= _MOST_ASKED:
        return {name: cluster.list(PODS, label_selector=selector, field_selector=f"spec.nodeName={name}").items for name in names}
    found: dict[str, list[Json]] = {name: [] for name in names}
    for pod in cluster.list(PODS, label_selector=selector, keep=lambda one: one if (one.get("spec") or {}).get("nodeName") in found else None).items:
        found[pod["spec"]["nodeName"]].append(pod)
    return found


def observe(cluster: Cluster, request: Request, names: t.Sequence[str], label_selector: str, pool: str) -> Observed:
    """The nodes, and for a drain all that its plan rests on, but for what other nodes have: see look_around."""
    observed = Observed(find_nodes(cluster, names, label_selector, pool), claims.now())
    observed.user = cluster.whoami()
    if request.state not in (DRAINED, CANCELLED):
        return observed
    if request.state == DRAINED:
        observed.pods = _pods(cluster, request, [name_of(node) for node in observed.nodes])
        observed.budgets = cluster.list(POD_DISRUPTION_BUDGETS).items
    names = ",".join(name_of(node) for node in observed.nodes)
    of_nodes = f"kubevirt.io/nodeName in ({names})" if len(observed.nodes) <= _MOST_NAMED else None
    for vmi in cluster.list(VIRTUAL_MACHINE_INSTANCES, label_selector=of_nodes, missing_ok=True).items:
        observed.vmis[vmi["metadata"]["namespace"], vmi["metadata"]["name"]] = vmi
    observed.migrations = cluster.list(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, missing_ok=True, keep=keep).items
    kubevirts = cluster.list(KUBEVIRTS, missing_ok=True).items
    observed.kubevirt = kubevirts[0] if kubevirts else None
    return observed
