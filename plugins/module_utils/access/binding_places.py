# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the bindings of one name, and the namespaces they are wanted in. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._cluster.client import Cluster
from .._cluster.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, NAMESPACES, ROLE_BINDINGS
from .._errors import Forbidden
from . import binding_plan
from .binding_plan import INTERIM_LABEL, Wanted
from .roles import MIGRATE_ROLE, Json

#: Up to so many namespaces are read one by one, which also works for a caller who may read only these.
FEW = 2


@dataclass(frozen=True)
class Observed:
    """The namespaces asked for and what is in them; the namespace of a ClusterRoleBinding is empty."""

    places: tuple[str, ...]
    bindings: dict[str, Json]
    interims: dict[str, Json]
    role_exists: bool
    missing: tuple[str, ...] = ()
    terminating: tuple[str, ...] = ()


def observe(cluster: Cluster, wanted: Wanted, names: t.Sequence[str], selector: str | None) -> Observed:
    """Read what decides about the bindings, in as few requests as there are kinds of object (few namespaces: one by one)."""
    role = cluster.get(CLUSTER_ROLES, MIGRATE_ROLE)
    if wanted.kind == "ClusterRoleBinding":
        return _cluster_wide(cluster, wanted, role is not None)
    names = list(dict.fromkeys(names))
    if selector is None and len(names) <= FEW:
        return _one_by_one(cluster, wanted, names, role is not None)
    try:
        return _at_once(cluster, wanted, names, selector, role is not None)
    except Forbidden:
        if selector is not None:
            raise
        return _one_by_one(cluster, wanted, names, role is not None)


def _cluster_wide(cluster: Cluster, wanted: Wanted, role_exists: bool) -> Observed:
    binding = cluster.get(CLUSTER_ROLE_BINDINGS, wanted.name)
    interim = None
    if wanted.looks_for_interim:
        interim = cluster.get(CLUSTER_ROLE_BINDINGS, binding_plan.interim_name(wanted.name))
    interims = {"": interim} if interim is not None and binding_plan.is_interim(interim, wanted.name) else {}
    return Observed(("",), {"": binding} if binding is not None else {}, interims, role_exists)


def _one_by_one(cluster: Cluster, wanted: Wanted, names: t.Sequence[str], role_exists: bool) -> Observed:
    missing: list[str] = []
    terminating: list[str] = []
    bindings: dict[str, Json] = {}
    interims: dict[str, Json] = {}
    for name in names:
        binding = cluster.get(ROLE_BINDINGS, wanted.name, namespace=name)
        if binding is not None:
            bindings[name] = binding
        if binding is None or wanted.state != "absent":
            namespace = cluster.get(NAMESPACES, name)
            if namespace is None:
                missing.append(name)
            elif _is_terminating(namespace):
                terminating.append(name)
        if wanted.looks_for_interim:
            interim = cluster.get(ROLE_BINDINGS, binding_plan.interim_name(wanted.name), namespace=name)
            if interim is not None and binding_plan.is_interim(interim, wanted.name):
                interims[name] = interim
    return Observed(tuple(names), bindings, interims, role_exists, tuple(missing), tuple(terminating))


def _at_once(
    cluster: Cluster, wanted: Wanted, names: t.Sequence[str], selector: str | None, role_exists: bool
) -> Observed:
    known: dict[str, Json] = {}
    selected: list[str] = []
    if names:
        known = {entry["metadata"]["name"]: entry for entry in cluster.list(NAMESPACES).items}
    if selector is not None:
        found = cluster.list(NAMESPACES, label_selector=selector).items
        selected = [entry["metadata"]["name"] for entry in found if not _is_terminating(entry)]
    missing = tuple(name for name in names if name not in known)
    terminating = tuple(name for name in names if name in known and _is_terminating(known[name]))
    places = tuple(dict.fromkeys((*names, *selected)))
    listed = cluster.list(ROLE_BINDINGS, field_selector=f"metadata.name={wanted.name}").items
    bindings = {entry["metadata"]["namespace"]: entry for entry in listed}
    interims: dict[str, Json] = {}
    if wanted.looks_for_interim:
        held = cluster.list(ROLE_BINDINGS, label_selector=INTERIM_LABEL).items
        interims = {
            entry["metadata"]["namespace"]: entry for entry in held if binding_plan.is_interim(entry, wanted.name)
        }
    return Observed(places, bindings, interims, role_exists, missing, terminating)


def _is_terminating(namespace: Json) -> bool:
    return bool(namespace["metadata"].get("deletionTimestamp"))
