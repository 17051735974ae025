# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what, decided from the RBAC objects alone: an evaluator written from the documented rules, for comparison.

Source: Kubernetes documentation, "Using RBAC Authorization". Additive only; nothing denies.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
Key = tuple[str, str]  # namespace ("" for cluster scope) and name

RESOURCES = ("clusterroles", "clusterrolebindings", "roles", "rolebindings")
CREATE_MIGRATION = {"verb": "create", "group": "kubevirt.io", "resource": "virtualmachineinstancemigrations"}
MIGRATE_MACHINE = {
    "verb": "update",
    "group": "subresources.kubevirt.io",
    "resource": "virtualmachines",
    "subresource": "migrate",
}
MIGRATION_RIGHTS = (CREATE_MIGRATION, MIGRATE_MACHINE)


@dataclass(frozen=True)
class Person:
    """A user as authentication would present it."""

    name: str
    groups: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def user(cls, name: str, *groups: str) -> Person:
        """An ordinary user."""
        return cls(name, frozenset({*groups, "system:authenticated"}))

    @classmethod
    def service_account(cls, namespace: str, name: str) -> Person:
        """A service account."""
        groups = {"system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"}
        return cls(f"system:serviceaccount:{namespace}:{name}", frozenset(groups))


class Rbac:
    """The RBAC objects of a cluster at one moment."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[Key, Object]] = {resource: {} for resource in RESOURCES}

    def set(self, resource: str, value: Object) -> None:
        """Add or replace one object."""
        self.objects[resource][_key(value)] = value

    def remove(self, resource: str, value: Object) -> None:
        """Forget one object."""
        self.objects[resource].pop(_key(value), None)

    def allowed(self, person: Person, namespace: str, attributes: Mapping[str, str]) -> bool:
        """May this person do this in this namespace?"""
        return any(_grants(rule, attributes) for rule in self._rules(person, namespace))

    def aggregate(self) -> None:
        """Give every ClusterRole that is put together by labels the rules of those that it selects, however many turns it takes."""
        roles = self.objects["clusterroles"]
        put_together = [key for key, role in roles.items() if role.get("aggregationRule")]
        settled = False
        while not settled:
            settled = True
            for key in put_together:
                selectors = roles[key]["aggregationRule"].get("clusterRoleSelectors") or ()
                rules: list[Object] = []
                for name, other in sorted(roles.items()):
                    if name != key and any(_selects(selector, other["metadata"].get("labels") or {}) for selector in selectors):
                        rules += [rule for rule in other.get("rules") or () if rule not in rules]
                if _sorted(rules) != _sorted(roles[key].get("rules") or ()):
                    roles[key] = {**roles[key], "rules": rules}
                    settled = False

    def may_migrate(self, person: Person, namespace: str) -> bool:
        """Both rights that live migration needs."""
        return all(self.allowed(person, namespace, right) for right in MIGRATION_RIGHTS)

    def _rules(self, person: Person, namespace: str) -> Iterator[Object]:
        for binding in self.objects["clusterrolebindings"].values():
            if _names(binding, person):
                yield from self._role_rules(binding, "")
        for (place, _name), binding in self.objects["rolebindings"].items():
            if place == namespace and _names(binding, person):
                yield from self._role_rules(binding, namespace)

    def _role_rules(self, binding: Object, namespace: str) -> Iterable[Object]:
        reference = binding["roleRef"]
        if reference["kind"] == "ClusterRole":
            role = self.objects["clusterroles"].get(("", reference["name"]))
        else:
            role = self.objects["roles"].get((namespace, reference["name"]))
        return (role or {}).get("rules") or ()


def _key(value: Object) -> Key:
    return value["metadata"].get("namespace", ""), value["metadata"]["name"]


def _names(binding: Object, person: Person) -> bool:
    for subject in binding.get("subjects") or ():
        kind, name = subject["kind"], subject["name"]
        if kind == "User" and name == person.name:
            return True
        if kind == "Group" and name in person.groups:
            return True
        if kind == "ServiceAccount":
            place = subject.get("namespace") or binding["metadata"].get("namespace", "")
            if person.name == f"system:serviceaccount:{place}:{name}":
                return True
    return False


def _selects(selector: Object, labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for expression in selector.get("matchExpressions") or ():
        held, values = labels.get(expression["key"]), expression.get("values") or ()
        fits = {
            "In": held is not None and held in values,
            "NotIn": held not in values,
            "Exists": held is not None,
            "DoesNotExist": held is None,
        }
        if not fits[expression["operator"]]:
            return False
    return True


def _sorted(rules: Iterable[Object]) -> list[str]:
    return sorted(json.dumps(rule, sort_keys=True) for rule in rules)


def _grants(rule: Object, attributes: Mapping[str, str]) -> bool:
    if "path" in attributes:
        return bool({"*", attributes["verb"]} & set(rule.get("verbs") or ())) and any(
            url == attributes["path"] or (url.endswith("*") and attributes["path"].startswith(url[:-1]))
            for url in rule.get("nonResourceURLs") or ()
        )
    subresource = attributes.get("subresource", "")
    resource = attributes["resource"] + (f"/{subresource}" if subresource else "")
    resources = {"*", resource} | ({f"*/{subresource}"} if subresource else set())
    names = rule.get("resourceNames") or ()
    return (
        bool({"*", attributes["verb"]} & set(rule.get("verbs") or ()))
        and bool({"*", attributes["group"]} & set(rule.get("apiGroups") or ()))
        and bool(resources & set(rule.get("resources") or ()))
        and (not names or attributes.get("name", "") in names)
    )
