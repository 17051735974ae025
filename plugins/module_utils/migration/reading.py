# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of migrations, VMs and limits. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .._cluster.client import Cluster, Faulty
from .._cluster.resources import EVENTS, KUBEVIRTS, VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, VIRTUAL_MACHINE_INSTANCES
from .._errors import ApiError, Forbidden, OptionError
from .._migrations.limits import Limits, limits
from .._migrations.state import Key
from .._migrations.transfers import Transfer, transfers

Json = dict[str, t.Any]
_MOST_ASKED = 40
"""Instances that are asked for one by one; more are read as a list."""


@dataclass
class Migrations:
    """All migrations that may be seen. C(everywhere) is whether those are the whole cluster's."""

    items: list[Json]
    everywhere: bool
    warnings: list[str] = field(default_factory=list)


def read_migrations(cluster: Cluster, namespace: str) -> Migrations:
    """Those of the cluster, since limits hold for all of it; without the right to list them, those of the namespace. Raises Forbidden."""
    try:
        return Migrations(cluster.list(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, missing_ok=True).items, True)
    except Forbidden:
        if not namespace:
            raise
    items = cluster.list(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, namespace).items
    said = f"only the migrations of namespace {namespace} may be listed: how many slots the rest of the cluster takes is not known"
    return Migrations(items, False, [said])


def read_limits(cluster: Cluster) -> tuple[Limits, list[str]]:
    """The limits of the cluster; KubeVirt's defaults, with a warning, where they can't be read."""
    try:
        kubevirts = cluster.list(KUBEVIRTS, missing_ok=True).items
    except Forbidden as error:
        return limits(None), [f"the limits are taken to be KubeVirt's defaults: {error.message}"]
    return limits(kubevirts[0] if kubevirts else None), []


def read_instances(cluster: Cluster, keys: t.Collection[Key]) -> dict[Key, Json]:
    """Instances by key; those that are gone are left out."""
    if len(keys) <= _MOST_ASKED:
        found = {key: cluster.get(VIRTUAL_MACHINE_INSTANCES, key[1], key[0]) for key in sorted(keys)}
        return {key: vmi for key, vmi in found.items() if vmi is not None}
    namespaces = {key[0] for key in keys}
    items = cluster.list(VIRTUAL_MACHINE_INSTANCES, next(iter(namespaces)) if len(namespaces) == 1 else None, missing_ok=True).items
    by_key = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in items}
    return {key: by_key[key] for key in keys if key in by_key}


def read_events(cluster: Cluster, namespace: str | None, uid: str = "") -> dict[str, list[Json]]:
    """The events on migrations by uid, or on one; none where they may not be listed."""
    selector = f"involvedObject.uid={uid}" if uid else "involvedObject.kind=VirtualMachineInstanceMigration"
    try:
        items = cluster.list(EVENTS, namespace, field_selector=selector).items
    except Forbidden:
        return {}
    found: dict[str, list[Json]] = {}
    for one in items:
        found.setdefault(str((one.get("involvedObject") or {}).get("uid") or ""), []).append(one)
    return found


def read_transfers(cluster: Cluster, path: str) -> dict[Key, Transfer]:
    """What the metrics at a path of the API server say. Raises OptionError for a path that does not give any."""
    try:
        return transfers(cluster.text(path))
    except (ApiError, Faulty) as error:
        raise OptionError(f"metrics_path: {path} can't be read: {error}") from error
