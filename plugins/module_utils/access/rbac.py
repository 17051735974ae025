# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What RBAC rules allow, and what aggregation makes of them: pure. Private to this collection.

Source: Kubernetes pkg/apis/rbac/v1/evaluation_helpers.go; pkg/controller/clusterroleaggregation.
"""

from __future__ import annotations

import typing as t

from .roles import Json, selects

Rules = t.Sequence[Json]
Roles = t.Mapping[str, Json]


class Attributes(t.NamedTuple):
    """What a request wants to do with a resource. An empty C(name) is what rules with resourceNames never match."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    name: str = ""

    @property
    def combined(self) -> str:
        """The resource as rules write it: C(resource/subresource)."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def to_review(self, namespace: str) -> Json:
        """resourceAttributes of an access review; C(namespace) is empty for all of them."""
        wanted = {"namespace": namespace, **self._asdict()}
        return {key: value for key, value in wanted.items() if value}


def allows(rule: Json, attributes: Attributes) -> bool:
    """Whether one rule allows a request for a resource."""
    names = rule.get("resourceNames") or ()
    return allows_some(rule, attributes) and (not names or attributes.name in names)


def allows_some(rule: Json, attributes: Attributes) -> bool:
    """Whether one rule allows it for some object at least, whatever its resourceNames."""
    return (
        _has(rule.get("verbs"), attributes.verb)
        and _has(rule.get("apiGroups"), attributes.group)
        and _has_resource(rule.get("resources"), attributes)
    )


def any_allows(rules: Rules | None, attributes: Attributes) -> bool:
    """Whether rules taken together allow a request: RBAC only adds."""
    return any(allows(rule, attributes) for rule in rules or ())


def is_wildcard(rule: Json) -> bool:
    """Whether a rule allows every verb on every resource, as that of cluster-admin."""
    return all("*" in (rule.get(key) or ()) for key in ("verbs", "apiGroups", "resources")) and not rule.get("resourceNames")


def _has(values: t.Sequence[str] | None, wanted: str) -> bool:
    return bool(values) and ("*" in values or wanted in values)  # type: ignore[operator]


def _has_resource(values: t.Sequence[str] | None, attributes: Attributes) -> bool:
    if not values:
        return False
    if "*" in values or attributes.combined in values:
        return True
    return bool(attributes.subresource) and f"*/{attributes.subresource}" in values


def sources_of(roles: Roles, name: str) -> list[str]:
    """The roles that the aggregation rule of a role picks up, each once, in the order in which their rules are collected."""
    role = roles[name]
    found: dict[str, None] = {}
    for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
        only = {"aggregationRule": {"clusterRoleSelectors": [selector]}}
        for other in sorted(roles):
            if other != name and selects(only, roles[other]["metadata"].get("labels") or {}):
                found[other] = None
    return list(found)


def settled(roles: Roles) -> dict[str, Json]:
    """The roles once the aggregation controller has nothing left to do.

    Roles that aggregate each other in a circle have no such moment; they are left as they are after as many rounds as there
    are aggregated roles.
    """
    aggregated = {name: sources_of(roles, name) for name in sorted(roles) if roles[name].get("aggregationRule")}
    rules: dict[str, list[Json]] = {name: list(role.get("rules") or ()) for name, role in roles.items()}
    for dummy in range(len(aggregated) + 1):
        before = {name: rules[name] for name in aggregated}
        for name, sources in aggregated.items():
            rules[name] = _collected(rules, sources)
        if all(before[name] == rules[name] for name in aggregated):
            break
    return {name: {**role, "rules": rules[name]} for name, role in roles.items()}


def _collected(rules: t.Mapping[str, list[Json]], sources: t.Sequence[str]) -> list[Json]:
    """The rules of all sources, equal ones once. Source: ClusterRoleAggregationController.syncClusterRole."""
    found: dict[tuple[tuple[str, tuple[str, ...]], ...], Json] = {}
    for source in sources:
        for rule in rules[source]:
            found.setdefault(_identity(rule), rule)
    return list(found.values())


def _identity(rule: Json) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(sorted((key, tuple(values)) for key, values in rule.items() if values))
