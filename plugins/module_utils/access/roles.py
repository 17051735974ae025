# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ClusterRoles that give live migration, and the labels that spread them. Private to this collection.

Source: KubeVirt pkg/virt-operator/resource/generate/rbac/cluster.go v1.5; Kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy.
"""

from __future__ import annotations

import typing as t

Json = dict[str, t.Any]

RBAC_GROUP = "rbac.authorization.k8s.io"
RBAC_VERSION = f"{RBAC_GROUP}/v1"
#: Made by KubeVirt 1.5 (OKD Virtualization 4.19); bound to nobody.
MIGRATE_ROLE = "kubevirt.io:migrate"
#: The documented name of the role that bridges the update.
TEMPORARY_ROLE = "kubevirt.io:upgrademigrate"
AGGREGATE_PREFIX = f"{RBAC_GROUP}/aggregate-to-"
#: Label values are strings: "true" and nothing else is what the selectors of admin and edit look for.
AGGREGATE_VALUE = "true"
#: Roles into which live migration may be aggregated.
TARGETS = ("admin", "edit")

MIGRATE_RULES: tuple[Json, ...] = (
    {"apiGroups": ["subresources.kubevirt.io"], "resources": ["virtualmachines/migrate"], "verbs": ["update"]},
    {
        "apiGroups": ["kubevirt.io"],
        "resources": ["virtualmachineinstancemigrations"],
        "verbs": ["get", "delete", "create", "update", "patch", "list", "watch", "deletecollection"],
    },
)

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "okd.virt"
#: Values of MANAGED_BY by which virt-operator knows what is its own; it deletes what is labelled so and not part of its release.
VIRT_OPERATORS = ("virt-operator", "kubevirt-operator")

#: Roles that Kubernetes, OpenShift or KubeVirt ship: never to be overwritten or deleted by us.
SHIPPED = frozenset(
    {
        "cluster-admin", "admin", "edit", "view", "basic-user", "self-provisioner",
        "kubevirt.io:default", "kubevirt.io:admin", "kubevirt.io:edit", "kubevirt.io:view", "instancetype.kubevirt.io:view", MIGRATE_ROLE,
    }
)  # fmt: skip


def aggregate_label(target: str) -> str:
    """The label that makes a role part of C(admin) or C(edit)."""
    return AGGREGATE_PREFIX + target


def canonical_rule(rule: Json) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A rule without regard to the order of its entries, empty lists left out."""
    return tuple(sorted((key, tuple(sorted(map(str, value)))) for key, value in rule.items() if value))


def same_rules(one: t.Iterable[Json] | None, other: t.Iterable[Json] | None) -> bool:
    """Whether two lists say the same, whatever the order."""
    return {canonical_rule(rule) for rule in one or ()} == {canonical_rule(rule) for rule in other or ()}


def holds_rules(role: Json | None, rules: t.Iterable[Json]) -> bool:
    """Whether a role contains every one of these rules, as aggregation copies them."""
    present = {canonical_rule(rule) for rule in (role or {}).get("rules") or ()}
    return all(canonical_rule(rule) in present for rule in rules)


def selects(role: Json | None, labels: t.Mapping[str, str]) -> bool:
    """Whether the aggregation rule of a role picks up a role with these labels (matchLabels and matchExpressions)."""
    selectors = ((role or {}).get("aggregationRule") or {}).get("clusterRoleSelectors") or ()
    return any(_matches(selector, labels) for selector in selectors)


def _matches(selector: Json, labels: t.Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for expression in selector.get("matchExpressions") or ():
        key, operator, values = expression.get("key", ""), expression.get("operator"), expression.get("values") or []
        matched = {
            "In": key in labels and labels[key] in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }.get(str(operator), False)
        if not matched:
            return False
    return True


def contributors(roles: t.Mapping[str, Json], target: str) -> set[str]:
    """The roles whose own rules reach C(target) by aggregation, over any number of steps."""
    found: set[str] = set()
    waiting = [target]
    while waiting:
        current = waiting.pop()
        for name, role in roles.items():
            if (
                name not in found
                and name != target
                and selects(roles.get(current), role["metadata"].get("labels") or {})
            ):
                found.add(name)
                waiting.append(name)
    return found


def leftover_rules(roles: t.Mapping[str, Json], target: str, rules: t.Iterable[Json]) -> list[Json]:
    """Those of C(rules) that C(target) still holds although no role gives them to it any more."""
    if not (roles.get(target) or {}).get("aggregationRule"):
        return []
    given = {
        canonical_rule(rule)
        for name in contributors(roles, target)
        if not roles[name].get("aggregationRule")
        for rule in roles[name].get("rules") or ()
    }
    return [rule for rule in rules if holds_rules(roles[target], [rule]) and canonical_rule(rule) not in given]
