# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role-based access control: may this user do that?

Bindings are indexed by subject and roles by what they name, so the answer does not get slower with the cluster.
Source: Kubernetes plugin/pkg/auth/authorizer/rbac/rbac.go and pkg/registry/rbac/validation/rule.go.
"""
from __future__ import annotations

import typing as t

from .. import errors
from .identity import MASTERS, UserInfo, service_account_name
from .request import RequestInfo

RBAC_GROUP = "rbac.authorization.k8s.io"
ROLES = (RBAC_GROUP, "roles")
CLUSTER_ROLES = (RBAC_GROUP, "clusterroles")
ROLE_BINDINGS = (RBAC_GROUP, "rolebindings")
CLUSTER_ROLE_BINDINGS = (RBAC_GROUP, "clusterrolebindings")
RESOURCES = (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS)

Object = dict[str, t.Any]
Rule = dict[str, t.Any]
_Grant = tuple[frozenset[str], frozenset[str]]
_NO_GRANTS: tuple[_Grant, ...] = ()
_MOST_VERDICTS = 50_000


class Attributes(t.NamedTuple):
    """What is asked. Without a resource the path is what counts."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @classmethod
    def of(cls, info: RequestInfo) -> Attributes:
        if not info.is_resource:
            return cls(info.verb, path=info.path)
        # As in the real server only the first segment after the name is authorised as the subresource.
        subresource = info.subresource.partition("/")[0]
        return cls(info.verb, info.group, info.resource, subresource, info.namespace, info.name)


class Role:
    """A role's rules, laid out for look-up by (group, resource)."""

    __slots__ = ("_grants", "_paths", "rules")

    def __init__(self, rules: t.Sequence[Rule]) -> None:
        self.rules = rules
        self._grants: dict[tuple[str, str], tuple[_Grant, ...]] = {}
        self._paths: list[tuple[frozenset[str], tuple[str, ...]]] = []
        for rule in rules:
            verbs = frozenset(rule.get("verbs") or ())
            grant = (verbs, frozenset(rule.get("resourceNames") or ()))
            for group in rule.get("apiGroups") or ():
                for resource in rule.get("resources") or ():
                    self._grants[group, resource] = (*self._grants.get((group, resource), ()), grant)
            if rule.get("nonResourceURLs"):
                self._paths.append((verbs, tuple(rule["nonResourceURLs"])))

    def allows(self, asked: Attributes) -> bool:
        if not asked.resource:
            return any(_has(verbs, asked.verb) and any(path_matches(url, asked.path) for url in urls) for verbs, urls in self._paths)
        return any(_has(verbs, asked.verb) and (not names or asked.name in names) for verbs, names in self._grants_for(asked))

    def minds_the_name(self, asked: Attributes) -> bool:
        """Whether it may allow the same for an object of another name, or not allow it."""
        return any(names for dummy, names in self._grants_for(asked))

    def _grants_for(self, asked: Attributes) -> t.Iterator[_Grant]:
        resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        names = [resource, "*"]
        if asked.subresource:
            names.append(f"*/{asked.subresource}")
        for group in (asked.group, "*"):
            for name in names:
                yield from self._grants.get((group, name), _NO_GRANTS)


def _has(verbs: frozenset[str], verb: str) -> bool:
    return verb in verbs or "*" in verbs


def path_matches(url: str, path: str) -> bool:
    return url in ("*", path) or (url.endswith("*") and path.startswith(url.rstrip("*")))


class Binding(t.NamedTuple):
    namespace: str
    name: str
    role_kind: str
    role_name: str
    subjects: tuple[Object, ...]

    @property
    def role_key(self) -> tuple[str, str]:
        return (self.namespace if self.role_kind == "Role" else "", self.role_name)

    @property
    def missing_role(self) -> str:
        """What is said when the role does not exist."""
        return f"{self.role_kind.lower()}.{RBAC_GROUP} {errors.quote(self.role_name)} not found"

    def reason(self, user: UserInfo) -> str:
        binding = f'RoleBinding {errors.quote(f"{self.name}/{self.namespace}")}' if self.namespace else f"ClusterRoleBinding {errors.quote(self.name)}"
        subject = next(subject for subject in self.subjects if subject_applies(subject, user, self.namespace))
        return f'RBAC: allowed by {binding} of {self.role_kind} {errors.quote(self.role_name)} to {_described(subject, self.namespace)}'


def subject_key(subject: Object, namespace: str) -> tuple[str, str]:
    """What a user must be to be meant: ("User", name) or ("Group", name)."""
    if subject.get("kind") == "ServiceAccount":
        return ("User", service_account_name(subject.get("namespace") or namespace, subject["name"]))
    return (subject.get("kind", ""), subject.get("name", ""))


def subject_applies(subject: Object, user: UserInfo, namespace: str) -> bool:
    kind, name = subject_key(subject, namespace)
    return name == user.name if kind == "User" else name in user.groups


def _described(subject: Object, namespace: str) -> str:
    if subject.get("kind") == "ServiceAccount":
        return f'ServiceAccount {errors.quote(subject["name"] + "/" + (subject.get("namespace") or namespace))}'
    return f'{subject["kind"]} {errors.quote(subject["name"])}'


class Authorizer:
    """Keeps what it needs of roles and bindings; `observe` is called with every change of them, in order."""

    def __init__(self) -> None:
        self._roles: dict[tuple[str, str], Role] = {}
        self._bindings: dict[tuple[str, str], Binding] = {}
        # namespace ("" for the whole cluster) and subject → the bindings that mean it, by name
        self._by_subject: dict[tuple[str, str, str], dict[str, Binding]] = {}
        # Verdicts that hold for objects of every name, until a role or binding changes: controllers ask the same for thousands of objects.
        self._verdicts: dict[tuple[t.Any, ...], tuple[bool, str]] = {}

    def observe(self, resource: tuple[str, str], namespace: str, name: str, value: Object | None) -> None:
        """Take over a created, changed (value) or deleted (None) role or binding."""
        self._verdicts.clear()
        if resource in (ROLES, CLUSTER_ROLES):
            self._roles.pop((namespace, name), None)
            if value is not None:
                self._roles[namespace, name] = Role(value.get("rules") or ())
            return
        known = self._bindings.pop((namespace, name), None)
        if known is not None:
            self._index(known, remove=True)
        if value is not None:
            ref = value.get("roleRef") or {}
            subjects = tuple(subject for subject in value.get("subjects") or () if subject.get("name"))
            binding = Binding(namespace, name, ref.get("kind", ""), ref.get("name", ""), subjects)
            self._bindings[namespace, name] = binding
            self._index(binding, remove=False)

    def _index(self, binding: Binding, remove: bool) -> None:
        for subject in binding.subjects:
            key = (binding.namespace, *subject_key(subject, binding.namespace))
            if not remove:
                self._by_subject.setdefault(key, {})[binding.name] = binding
                continue
            known = self._by_subject.get(key)
            if known is not None:
                known.pop(binding.name, None)
                if not known:
                    del self._by_subject[key]

    def role(self, namespace: str, name: str) -> Role | None:
        """A Role, or with an empty namespace a ClusterRole."""
        return self._roles.get((namespace, name))

    def bindings_of(self, user: UserInfo, namespace: str) -> list[Binding]:
        """Those that mean the user: cluster-wide ones by name, then those of the namespace by name."""
        found = self._bindings_in("", user)
        if namespace:
            found += self._bindings_in(namespace, user)
        return found

    def _bindings_in(self, namespace: str, user: UserInfo) -> list[Binding]:
        merged: dict[str, Binding] = {}
        for key in (("User", user.name), *(("Group", group) for group in user.groups)):
            known = self._by_subject.get((namespace, *key))
            if known:
                merged.update(known)
        return [merged[name] for name in sorted(merged)] if len(merged) > 1 else list(merged.values())

    def authorize(self, user: UserInfo, asked: Attributes) -> tuple[bool, str]:
        """(allowed, reason); the reason of a refusal names roles that bindings mean and that don't exist, and is empty without such."""
        if MASTERS in user.groups:
            return True, ""
        key = (user.name, user.groups, *asked[:5], asked.path)
        known = self._verdicts.get(key)
        if known is not None:
            return known
        verdict, of_any_name = self._judge(user, asked)
        if of_any_name:
            if len(self._verdicts) >= _MOST_VERDICTS:
                self._verdicts.clear()
            self._verdicts[key] = verdict
        return verdict

    def _judge(self, user: UserInfo, asked: Attributes) -> tuple[tuple[bool, str], bool]:
        """The verdict, and whether it would be the same for every name."""
        missing: list[str] = []
        of_any_name = True
        for binding in self.bindings_of(user, asked.namespace):
            role = self._roles.get(binding.role_key)
            if role is None:
                missing.append(binding.missing_role)
                continue
            of_any_name = of_any_name and not role.minds_the_name(asked)
            if role.allows(asked):
                return (True, binding.reason(user)), of_any_name
        return (False, _aggregate(missing)), of_any_name

    def rules_for(self, user: UserInfo, namespace: str) -> tuple[list[Rule], list[str]]:
        """Every rule the user holds there, and what could not be resolved."""
        rules: list[Rule] = []
        missing: list[str] = []
        for binding in self.bindings_of(user, namespace):
            role = self._roles.get(binding.role_key)
            if role is None:
                missing.append(binding.missing_role)
            else:
                rules.extend(role.rules)
        return rules, missing


def _aggregate(problems: list[str]) -> str:
    """Several errors as one text. Source: apimachinery pkg/util/errors (NewAggregate says each once)."""
    texts = list(dict.fromkeys(problems))
    if not texts:
        return ""
    return f"RBAC: {texts[0]}" if len(texts) == 1 else f"RBAC: [{', '.join(texts)}]"


def refusal(user: UserInfo, asked: Attributes, reason: str = "") -> str:
    """The text of a 403, without what it is about. Source: apiserver pkg/endpoints/handlers/responsewriters/errors.go."""
    who = f"User {errors.quote(user.name)} cannot {asked.verb}"
    why = f": {reason}" if reason else ""
    if not asked.resource:
        return f"{who} path {errors.quote(asked.path)}{why}"
    resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f"in the namespace {errors.quote(asked.namespace)}" if asked.namespace else "at the cluster scope"
    return f"{who} resource {errors.quote(resource)} in API group {errors.quote(asked.group)} {where}{why}"
