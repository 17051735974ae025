# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that access follows from, read once. Private to this collection."""

from __future__ import annotations

import contextlib
import gc
import typing as t
from dataclasses import dataclass, field

from .._cluster.client import Cluster
from .._cluster.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, GROUPS, ROLE_BINDINGS, ROLES, Resource
from .._errors import Forbidden
from .roles import Json
from .subjects import Groups

#: Up to so many namespaces are read one by one; for more, everything is read at once.
FEW = 20


@dataclass(frozen=True)
class Snapshot:
    """RBAC objects of a cluster at about the same moment, plain as the API gives them."""

    cluster_roles: t.Mapping[str, Json]
    roles: t.Mapping[tuple[str, str], Json] = field(default_factory=dict)
    cluster_role_bindings: t.Sequence[Json] = ()
    role_bindings: t.Sequence[Json] = ()
    groups: Groups = field(default_factory=lambda: Groups(()))
    warnings: tuple[str, ...] = ()


@contextlib.contextmanager
def all_kept() -> t.Iterator[None]:
    """Spares the search for garbage while many objects are made that all are kept; it would cost as much as making them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read(cluster: Cluster, namespaces: t.Collection[str] | None = None) -> Snapshot:
    """Read roles, bindings and, where the API has them, groups; C(namespaces) says that others are of no interest.

    Raises Forbidden with the rule that is missing.
    """
    groups, warnings = _groups(cluster)
    roles = _namespaced(cluster, ROLES, namespaces)
    return Snapshot(
        {role["metadata"]["name"]: role for role in cluster.list(CLUSTER_ROLES).items},
        {(role["metadata"]["namespace"], role["metadata"]["name"]): role for role in roles},
        cluster.list(CLUSTER_ROLE_BINDINGS).items,
        _namespaced(cluster, ROLE_BINDINGS, namespaces),
        groups,
        warnings,
    )


def _namespaced(cluster: Cluster, resource: Resource, namespaces: t.Collection[str] | None) -> list[Json]:
    if namespaces is None or len(namespaces) > FEW:
        return cluster.list(resource).items
    return [item for namespace in sorted(set(namespaces)) for item in cluster.list(resource, namespace).items]


def _groups(cluster: Cluster) -> tuple[Groups, tuple[str, ...]]:
    try:
        return Groups(cluster.list(GROUPS, missing_ok=True).items), ()
    except Forbidden as error:
        return Groups(()), (f"Members of groups are not known: {error.message}",)
