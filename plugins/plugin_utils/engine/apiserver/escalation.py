# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody hands out rights that they don't hold.

Source: Kubernetes pkg/registry/rbac/{role,clusterrole,rolebinding,clusterrolebinding}/policybased/storage.go,
pkg/registry/rbac/validation/{rule,policy_compact}.go, component-helpers auth/rbac/validation/policy_comparator.go.
"""
from __future__ import annotations

import typing as t

from .. import errors
from .authorization import RBAC_GROUP, RESOURCES, Attributes, Authorizer, Rule, path_matches
from .identity import MASTERS, UserInfo

Object = dict[str, t.Any]
_EVERYTHING: list[Rule] = [
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
]


def check(
    authorizer: Authorizer, user: UserInfo, kind: errors.Named, namespace: str, new: Object, old: Object | None
) -> None:
    """Refuse the write of a role or binding that would give more than the writer has. Raises StatusError 403 or 404."""
    if (kind.group, kind.plural) not in RESOURCES or MASTERS in user.groups:
        return
    if kind.kind.endswith("Binding"):
        _check_binding(authorizer, user, kind, namespace, new, old)
    else:
        _check_role(authorizer, user, kind, namespace, new, old)


def _check_role(authorizer: Authorizer, user: UserInfo, kind: errors.Named, namespace: str, new: Object, old: Object | None) -> None:
    rules, aggregation = new.get("rules") or [], new.get("aggregationRule")
    if old is not None and rules == (old.get("rules") or []) and aggregation == old.get("aggregationRule"):
        return
    name = new["metadata"].get("name", "")
    if authorizer.authorize(user, Attributes("escalate", RBAC_GROUP, kind.plural, "", namespace, name))[0]:
        return
    _confirm(authorizer, user, kind, namespace, name, rules)
    if aggregation or (old is not None and old.get("aggregationRule")):
        held, _missing = authorizer.rules_for(user, namespace)
        if uncovered(held, _EVERYTHING):
            raise errors.forbidden(kind, name, "must have cluster-admin privileges to use the aggregationRule")


def _check_binding(authorizer: Authorizer, user: UserInfo, kind: errors.Named, namespace: str, new: Object, old: Object | None) -> None:
    ref = new.get("roleRef") or {}
    if old is not None and ref == old.get("roleRef") and (new.get("subjects") or []) == (old.get("subjects") or []):
        return
    role_name, own = ref.get("name", ""), ref.get("kind") == "Role"
    plural = "roles" if own else "clusterroles"
    if authorizer.authorize(user, Attributes("bind", RBAC_GROUP, plural, "", namespace, role_name))[0]:
        return
    role = authorizer.role(namespace if own else "", role_name)
    if role is None:
        raise errors.not_found(kind, role_name)
    _confirm(authorizer, user, kind, namespace, new["metadata"].get("name", ""), role.rules)


def _confirm(authorizer: Authorizer, user: UserInfo, kind: errors.Named, namespace: str, name: str, rules: t.Sequence[Rule]) -> None:
    held, unresolved = authorizer.rules_for(user, namespace)
    missing = uncovered(held, rules)
    if not missing:
        return
    text = "\n".join(sorted({described(rule) for rule in compact(missing)}))
    text = f"user {errors.quote(user.name)} (groups={_quoted(user.groups)}) is attempting to grant RBAC permissions not currently held:\n{text}"
    if unresolved:
        text += f"; resolution errors: [{', '.join(unresolved)}]"
    raise errors.forbidden(kind, name, text)


def uncovered(held: t.Sequence[Rule], wanted: t.Sequence[Rule]) -> list[Rule]:
    """The single grants of the wanted rules that no held rule gives."""
    single = [part for rule in wanted for part in breakdown(rule)]
    return [part for part in single if not any(_covers(rule, part) for rule in held)]


def breakdown(rule: Rule) -> list[Rule]:
    """A rule as single grants: one group, resource, verb and at most one name each."""
    parts: list[Rule] = []
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in rule.get("verbs") or ():
                part = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                names = rule.get("resourceNames") or ()
                parts.extend({**part, "resourceNames": [name]} for name in names)
                if not names:
                    parts.append(part)
    for url in rule.get("nonResourceURLs") or ():
        parts.extend({"nonResourceURLs": [url], "verbs": [verb]} for verb in rule.get("verbs") or ())
    return parts


def _covers(held: Rule, part: Rule) -> bool:
    """Whether one held rule gives a single grant."""
    verbs = held.get("verbs") or ()
    if "*" not in verbs and part["verbs"][0] not in verbs:
        return False
    if "nonResourceURLs" in part:
        return any(path_matches(url, part["nonResourceURLs"][0]) for url in held.get("nonResourceURLs") or ())
    groups, resources = held.get("apiGroups") or (), held.get("resources") or ()
    if "*" not in groups and part["apiGroups"][0] not in groups:
        return False
    resource = part["resources"][0]
    subresource = resource.partition("/")[2]
    if not ("*" in resources or resource in resources or (subresource and f"*/{subresource}" in resources)):
        return False
    names = held.get("resourceNames") or ()
    return not names or ("resourceNames" in part and part["resourceNames"][0] in names)


def compact(rules: t.Sequence[Rule]) -> list[Rule]:
    """Single grants on the same resource (and name) put together."""
    merged: dict[t.Any, Rule] = {}
    for rule in rules:
        if "nonResourceURLs" in rule:
            merged[id(rule)] = rule
            continue
        key = (rule["apiGroups"][0], rule["resources"][0], tuple(rule.get("resourceNames") or ()))
        if key in merged:
            merged[key]["verbs"].extend(rule["verbs"])
        else:
            merged[key] = {**rule, "verbs": list(rule["verbs"])}
    return list(merged.values())


def described(rule: Rule) -> str:
    fields = (
        ("APIGroups", "apiGroups"), ("Resources", "resources"), ("NonResourceURLs", "nonResourceURLs"),
        ("ResourceNames", "resourceNames"), ("Verbs", "verbs"),
    )
    return "{" + ", ".join(f"{title}:{_quoted(rule[key])}" for title, key in fields if rule.get(key)) + "}"


def _quoted(items: t.Iterable[str]) -> str:
    return "[" + " ".join(errors.quote(item) for item in items) + "]"
