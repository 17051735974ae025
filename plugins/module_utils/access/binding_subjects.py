# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The subjects of a binding, and how lists of them change. Private to this collection."""

from __future__ import annotations

import typing as t

from .roles import RBAC_GROUP, Json

SERVICE_ACCOUNT_USER = "system:serviceaccount:"
#: Groups that hold everybody: never meant when live migration is given to trusted people.
EVERYBODY = ("system:authenticated", "system:unauthenticated", "system:authenticated:oauth")


class InvalidSubject(ValueError):
    """A subject is not written as it must be."""


def user(name: str) -> Json:
    """A User; the user name of a service account becomes that service account, which it is to RBAC."""
    if name.startswith(SERVICE_ACCOUNT_USER):
        return service_account(name)
    return {"kind": "User", "apiGroup": RBAC_GROUP, "name": _named(name, "user")}


def group(name: str) -> Json:
    """A Group."""
    return {"kind": "Group", "apiGroup": RBAC_GROUP, "name": _named(name, "group")}


def service_account(text: str) -> Json:
    """A ServiceAccount written C(namespace:name), or as the user name that it has."""
    namespace, colon, name = text.removeprefix(SERVICE_ACCOUNT_USER).partition(":")
    if not (namespace and colon and name) or ":" in name:
        raise InvalidSubject(f"{text!r} is not a service account: write namespace:name")
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def _named(name: str, what: str) -> str:
    name = str(name).strip()
    if not name:
        raise InvalidSubject(f"a {what} has no name")
    return name


def key_of(subject: Json) -> tuple[str, str, str]:
    """What makes two subjects the same: kind, namespace (service accounts only) and name."""
    kind = str(subject.get("kind", ""))
    return kind, str(subject.get("namespace") or "") if kind == "ServiceAccount" else "", str(subject.get("name", ""))


def text_of(subject: Json) -> str:
    """C(user:alice), C(group:devs) or C(serviceaccount:namespace:name)."""
    kind, namespace, name = key_of(subject)
    return f"{kind.lower()}:{namespace}:{name}" if namespace else f"{kind.lower()}:{name}"


def merged(*lists: t.Iterable[Json]) -> list[Json]:
    """All subjects once, in the order of their first appearance."""
    result: dict[tuple[str, str, str], Json] = {}
    for subjects in lists:
        for subject in subjects:
            result.setdefault(key_of(subject), subject)
    return list(result.values())


def without(subjects: t.Iterable[Json], removed: t.Iterable[Json]) -> list[Json]:
    """The subjects that are not among the removed."""
    keys = {key_of(subject) for subject in removed}
    return [subject for subject in subjects if key_of(subject) not in keys]


def same(one: t.Iterable[Json], other: t.Iterable[Json]) -> bool:
    """Whether two lists name the same subjects."""
    return {key_of(subject) for subject in one} == {key_of(subject) for subject in other}
