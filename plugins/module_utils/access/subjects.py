# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a binding names, which groups somebody is in, and who belongs to the system: pure. Private to this collection.

Source: Kubernetes plugin/pkg/auth/authorizer/rbac (appliesToUser); OpenShift user.openshift.io/v1 Group.
"""

from __future__ import annotations

import typing as t

from .must_keep import KINDS
from .roles import Json

AUTHENTICATED = "system:authenticated"
SERVICE_ACCOUNTS = "system:serviceaccounts"
SERVICE_ACCOUNT_USER = "system:serviceaccount:"
#: Groups that people or service accounts are in without anybody having put them there.
EVERYBODY = frozenset({AUTHENTICATED, "system:authenticated:oauth", "system:unauthenticated", SERVICE_ACCOUNTS})
#: Namespaces of the platform and of Virtualization, whose service accounts work for the cluster and not for a tenant.
_SYSTEM_NAMESPACES = frozenset({"kubevirt", "kubevirt-hyperconverged", "openshift", "olm", "operators", "operator-lifecycle-manager"})
_SYSTEM_PREFIXES = ("kube-", "openshift-")
#: KubeVirt's own accounts, in whatever namespace it was installed.
_KUBEVIRT_ACCOUNTS = frozenset({"kubevirt-operator", "kubevirt-apiserver", "kubevirt-controller", "kubevirt-handler", "kubevirt-export-proxy"})


class InvalidSubject(ValueError):
    """A subject is not written as it must be."""


class Identity(t.NamedTuple):
    """Somebody RBAC knows: kind is User, Group or ServiceAccount; namespace is that of a service account."""

    kind: str
    namespace: str
    name: str

    @property
    def text(self) -> str:
        """C(user:alice), C(group:devs) or C(serviceaccount:namespace:name)."""
        middle = f"{self.namespace}:" if self.namespace else ""
        return f"{self.kind.lower()}:{middle}{self.name}"

    @property
    def user(self) -> str:
        """The user name that requests carry; empty for a group."""
        if self.kind == "ServiceAccount":
            return f"{SERVICE_ACCOUNT_USER}{self.namespace}:{self.name}"
        return self.name if self.kind == "User" else ""

    @property
    def is_everybody(self) -> bool:
        """Whether this is a group that nobody was put into."""
        return self.kind == "Group" and (self.name in EVERYBODY or self.name.startswith(f"{SERVICE_ACCOUNTS}:"))

    @property
    def is_system(self) -> bool:
        """Whether the platform itself acts under this name, and no tenant."""
        if self.kind == "ServiceAccount":
            return (
                self.namespace in _SYSTEM_NAMESPACES or self.namespace.startswith(_SYSTEM_PREFIXES) or self.name in _KUBEVIRT_ACCOUNTS
            )
        if self.name.startswith(f"{SERVICE_ACCOUNTS}:"):
            return Identity("ServiceAccount", self.name.removeprefix(f"{SERVICE_ACCOUNTS}:"), "").is_system
        return self.name.startswith("system:") and not self.is_everybody


def group(name: str) -> Identity:
    """A group."""
    return Identity("Group", "", name)


def user(name: str) -> Identity:
    """A user; the user name of a service account is that service account."""
    if name.startswith(SERVICE_ACCOUNT_USER):
        namespace, dummy, account = name.removeprefix(SERVICE_ACCOUNT_USER).partition(":")
        if namespace and account:
            return Identity("ServiceAccount", namespace, account)
    return Identity("User", "", name)


def of_binding(subject: Json, binding_namespace: str) -> Identity | None:
    """The subject of a binding; None for one that applies to nobody."""
    kind, name = subject.get("kind"), str(subject.get("name") or "")
    if kind == "User":
        return user(name)
    if kind == "Group":
        return group(name)
    if kind == "ServiceAccount":
        namespace = str(subject.get("namespace") or binding_namespace)
        return Identity("ServiceAccount", namespace, name) if namespace else None
    return None


def parse(text: str) -> Identity:
    """Read C(user:alice), C(group:devs), C(serviceaccount:namespace:name) or a service account's user name. Raises InvalidSubject."""
    text = text.strip()
    if text.startswith(SERVICE_ACCOUNT_USER):
        text = text.removeprefix("system:")
    kind, colon, name = text.partition(":")
    known = KINDS.get(kind.lower())
    if known is None or not colon or not name:
        raise InvalidSubject(f"{text!r} is not written user:NAME, group:NAME or serviceaccount:NAMESPACE:NAME")
    if known != "ServiceAccount":
        return user(name) if known == "User" else group(name)
    namespace, colon, name = name.partition(":")
    if not namespace or not name:
        raise InvalidSubject(f"{text!r} is not written serviceaccount:NAMESPACE:NAME")
    return Identity(known, namespace, name)


def implicit_groups(identity: Identity) -> tuple[str, ...]:
    """Groups that authentication adds by itself. Members of any group are authenticated."""
    if identity.kind == "ServiceAccount":
        return (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{identity.namespace}", AUTHENTICATED)
    if identity.name == "system:unauthenticated" or identity.user == "system:anonymous":
        return ("system:unauthenticated",)
    return (AUTHENTICATED,)


class Groups:
    """The OpenShift Group objects of a cluster, by group and by member."""

    def __init__(self, objects: t.Iterable[Json]) -> None:
        self._members: dict[str, tuple[str, ...]] = {}
        self._groups: dict[str, list[str]] = {}
        for obj in objects:
            name, users = obj["metadata"]["name"], tuple(dict.fromkeys(obj.get("users") or ()))
            self._members[name] = users
            for member in users:
                self._groups.setdefault(member, []).append(name)

    def members(self, identity: Identity) -> tuple[str, ...]:
        """User names in a group; empty for one that the API has no object of."""
        return self._members.get(identity.name, ()) if identity.kind == "Group" else ()

    def of(self, identity: Identity) -> tuple[str, ...]:
        """Groups that somebody was put into."""
        return tuple(self._groups.get(identity.name, ())) if identity.kind == "User" else ()

    def identities(self, identity: Identity) -> tuple[Identity, ...]:
        """Everything by which bindings reach somebody: the subject itself and all its groups."""
        names = dict.fromkeys((*self.of(identity), *implicit_groups(identity)))
        return tuple(dict.fromkeys((identity, *(group(name) for name in names))))
