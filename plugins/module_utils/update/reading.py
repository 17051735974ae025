# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading everything an update is judged by: once, or again and again by watches. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._cluster.client import Cluster
from .._cluster.resources import (
    CLUSTER_ROLES,
    CLUSTER_SERVICE_VERSIONS,
    HYPERCONVERGEDS,
    INSTALL_PLANS,
    KUBEVIRTS,
    OPERATOR_CONDITIONS,
    SUBSCRIPTIONS,
    Resource,
)
from .._cluster.waiting import Snapshot, Target
from .._errors import Forbidden, PreconditionFailed
from . import subscription as subscriptions
from .conditions import Json, conditions_of
from .observed import Observed
from .subscription import Subscription

#: Made by KubeVirt 1.5: its existence says that the roles of 4.19 are in force.
MIGRATE_ROLE = "kubevirt.io:migrate"
FOLLOWED = (SUBSCRIPTIONS, INSTALL_PLANS, CLUSTER_SERVICE_VERSIONS, HYPERCONVERGEDS, KUBEVIRTS)
REMEDY = "Set namespace (and subscription) to those of OKD Virtualization's Subscription."


def observe(cluster: Cluster, namespace: str | None, name: str | None) -> Observed:
    """One list a kind. Raises PreconditionFailed when the Subscription cannot be told."""
    found = _subscription(cluster, namespace, name)
    lists: dict[Resource, list[Json]] = {}
    for resource in FOLLOWED:
        lists[resource] = cluster.list(resource, namespace=found.namespace, missing_ok=True).items
    observed = assembled(found, lists)
    return replace(observed, migrate_role=migrate_role(cluster))


def _subscription(cluster: Cluster, namespace: str | None, name: str | None) -> Subscription:
    try:
        listed = cluster.list(SUBSCRIPTIONS, namespace=namespace, missing_ok=True).items
    except Forbidden as error:
        if namespace is None:
            raise PreconditionFailed(f"{error.message} Or set namespace, so that only that one is read.") from error
        raise
    try:
        return subscriptions.choose(listed, name, namespace)
    except subscriptions.NotFound as error:
        what = f"Subscription {name}" if name else f"Subscription of package {' or '.join(subscriptions.PACKAGES)}"
        where = f"namespace {namespace}" if namespace else "the cluster"
        raise PreconditionFailed(f"There is no {what} in {where}. {REMEDY}") from error
    except subscriptions.Ambiguous as error:
        message = f"There are several Subscriptions of OKD Virtualization: {error}. {REMEDY}"
        raise PreconditionFailed(message, subscriptions=error.candidates) from error


def migrate_role(cluster: Cluster) -> bool | None:
    """Whether the ClusterRole kubevirt.io:migrate exists; None when that may not be read."""
    try:
        return cluster.get(CLUSTER_ROLES, MIGRATE_ROLE) is not None
    except Forbidden:
        return None


def assembled(found: Subscription, lists: t.Mapping[Resource, t.Iterable[Json]]) -> Observed:
    """What was read, put together."""
    observed = Observed(subscription=found)
    for resource in FOLLOWED:
        for obj in lists.get(resource, ()):
            observed = observed.with_event(resource.kind, "ADDED", obj)
    return observed


def targets(namespace: str) -> tuple[Target, ...]:
    """What to follow while an update runs."""
    return tuple(Target(resource, namespace) for resource in FOLLOWED)


def seen(before: Observed, snapshot: Snapshot) -> Observed:
    """What the watches have seen last."""
    lists = {target.resource: snapshot.all(target) for target in targets(before.subscription.namespace)}
    return replace(assembled(before.subscription, lists), migrate_role=before.migrate_role)


def operator_condition(cluster: Cluster, namespace: str, name: str) -> str:
    """What the OperatorCondition of that name says about being upgradeable, in its own words; empty when it cannot be read."""
    try:
        found = cluster.get(OPERATOR_CONDITIONS, name, namespace=namespace)
    except Forbidden:
        return ""
    if found is None:
        return ""
    overrides = conditions_of({"status": {"conditions": (found.get("spec") or {}).get("overrides")}})
    said = overrides.get("Upgradeable") or conditions_of(
        {"status": {"conditions": (found.get("spec") or {}).get("conditions")}}
    ).get("Upgradeable")
    said = said or conditions_of(found).get("Upgradeable")
    return f"OperatorCondition {namespace}/{name} is {said.sentence()}" if said is not None else ""
