# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What vm_migration reads before it plans. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .._cluster.client import Cluster
from .._cluster.resources import NODES, VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from .._errors import ApiError, Forbidden, OptionError, PreconditionFailed
from .._migrations.limits import Limits
from .._migrations.state import Key
from .reading import read_limits, read_migrations
from .request import Request

Json = dict[str, t.Any]
_MOST_ASKED = 40


@dataclass
class Observed:
    """The instances that are meant, the migrations of the cluster, and the limits. C(stopped) are VMs that are there without an instance."""

    vmis: dict[Key, Json]
    migrations: list[Json]
    limits: Limits
    everywhere: bool = True
    stopped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    fitting_nodes: frozenset[str] = frozenset()
    """Nodes that have all labels of target_node_selector."""
    warnings: list[str] = field(default_factory=list)


def observe(cluster: Cluster, request: Request) -> Observed:
    """Everything that the plan rests on. Raises OptionError, PreconditionFailed, Forbidden."""
    if request.target_node_selector:
        require_target_node_selector(cluster)
    vmis, stopped, missing = _instances(cluster, request)
    read = read_migrations(cluster, request.namespace)
    known, warnings = read_limits(cluster)
    found = Observed(vmis, read.items, known, read.everywhere, stopped, missing, warnings=[*read.warnings, *warnings])
    if request.target_node_selector:
        found.fitting_nodes = _fitting_nodes(cluster, request, found.warnings)
    return found


def require_target_node_selector(cluster: Cluster) -> None:
    """Raises PreconditionFailed unless a migration of this cluster can say where it goes."""
    group = f"/openapi/v3/apis/{VIRTUAL_MACHINE_INSTANCE_MIGRATIONS.group}/{VIRTUAL_MACHINE_INSTANCE_MIGRATIONS.version}"
    schemas = (cluster.document(group).get("components") or {}).get("schemas") or {}
    kind = VIRTUAL_MACHINE_INSTANCE_MIGRATIONS.kind
    described = [one for one in schemas.values() if any(it.get("kind") == kind for it in one.get("x-kubernetes-group-version-kind") or ())]
    known = any("addedNodeSelector" in (((one.get("properties") or {}).get("spec") or {}).get("properties") or {}) for one in described)
    if not known:
        raise PreconditionFailed(
            "target_node_selector: this cluster's VirtualMachineInstanceMigration has no spec.addedNodeSelector, which came with KubeVirt 1.6 "
            "(OKD Virtualization 4.20), so that a migration can't be told where to go. Leave target_node_selector out, or narrow the VM's own nodeSelector "
            "or affinity. Nothing was changed.",
            code="no_target_node_selector",
        )


def _instances(cluster: Cluster, request: Request) -> tuple[dict[Key, Json], tuple[str, ...], tuple[str, ...]]:
    where = request.namespace
    if not request.names:
        items = cluster.list(VIRTUAL_MACHINE_INSTANCES, where, label_selector=request.label_selector).items
        if not items:
            raise OptionError(f"label_selector: no VirtualMachineInstance in namespace {where} has the labels {request.label_selector}.")
        return {(where, one["metadata"]["name"]): one for one in items}, (), ()
    if len(request.names) <= _MOST_ASKED:
        found = {name: cluster.get(VIRTUAL_MACHINE_INSTANCES, name, where) for name in request.names}
    else:
        by_name = {one["metadata"]["name"]: one for one in cluster.list(VIRTUAL_MACHINE_INSTANCES, where).items}
        found = {name: by_name.get(name) for name in request.names}
    absent = [name for name, vmi in found.items() if vmi is None]
    stopped = tuple(name for name in absent if _exists(cluster, name, where))
    return {(where, name): vmi for name, vmi in found.items() if vmi is not None}, stopped, tuple(name for name in absent if name not in stopped)


def _exists(cluster: Cluster, name: str, namespace: str) -> bool:
    try:
        return cluster.get(VIRTUAL_MACHINES, name, namespace) is not None
    except ApiError:
        return False


def _fitting_nodes(cluster: Cluster, request: Request, warnings: list[str]) -> frozenset[str]:
    selector = ",".join(f"{key}={value}" for key, value in sorted(request.target_node_selector.items()))
    try:
        return frozenset(one["metadata"]["name"] for one in cluster.list(NODES, label_selector=selector).items)
    except Forbidden as error:
        warnings.append(f"VMs that are on a node of target_node_selector already can't be told, and are moved: {error.message}")
        return frozenset()
