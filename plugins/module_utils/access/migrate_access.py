# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may live-migrate where, by which chain, now and after the update: pure. Private to this collection.

Nothing is written out for each subject and namespace: a binding for the whole cluster stays one fact.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from . import outlook
from .rbac import Roles
from .role_powers import ANY_RIGHT, Gift, gifts_of, mask_of, own_gift, rights_of
from .roles import TEMPORARY_ROLE, Json
from .snapshot import Snapshot
from .subjects import Identity, of_binding

#: Stands for the whole cluster where a namespace is asked for.
CLUSTER = ""


class RoleKey(t.NamedTuple):
    """A ClusterRole (no namespace) or a Role."""

    kind: str
    namespace: str
    name: str


class Grant(t.NamedTuple):
    """A binding of somebody to a role. C(namespace) is empty for a ClusterRoleBinding."""

    namespace: str
    binding: str
    role: RoleKey

    @property
    def text(self) -> str:
        return f"{self.namespace}/{self.binding}" if self.namespace else self.binding


@dataclass(frozen=True)
class Powers:
    """What a role gives in each scenario: bits of role_powers. C(matters): whether that is live migration in any of them."""

    masks: t.Mapping[str, int]
    matters: bool

    @classmethod
    def of(cls, masks: t.Mapping[str, int]) -> Powers:
        return cls(masks, any(mask & ANY_RIGHT for mask in masks.values()))

    def __bool__(self) -> bool:
        return any(self.masks.values())


class RoleBook:
    """What every role gives, now and in every outlook."""

    def __init__(self, snapshot: Snapshot, temporary_role: str) -> None:
        self.temporary_role = temporary_role
        self._scenarios = outlook.scenarios(snapshot.cluster_roles, temporary_role)
        self._roles = snapshot.roles
        self._masks = {
            scenario: {name: mask_of(role.get("rules")) for name, role in roles.items()} for scenario, roles in self._scenarios.items()
        }
        self._powers: dict[RoleKey, Powers] = {}
        self._gifts: dict[tuple[RoleKey, str], tuple[Gift, ...]] = {}

    def cluster_roles(self, scenario: str) -> Roles:
        """All ClusterRoles of a scenario."""
        return self._scenarios[scenario]

    def mask(self, key: RoleKey, scenario: str) -> int:
        """The powers of a role; none for one that does not exist."""
        return self.powers(key).masks[scenario]

    def powers(self, key: RoleKey) -> Powers:
        """The powers of a role in all scenarios."""
        found = self._powers.get(key)
        if found is None:
            if key.kind == "ClusterRole":
                found = Powers.of({scenario: masks.get(key.name, 0) for scenario, masks in self._masks.items()})
            else:
                mask = mask_of((self._roles.get((key.namespace, key.name)) or {}).get("rules"))
                found = Powers.of(dict.fromkeys(self._masks, mask))
            self._powers[key] = found
        return found

    def gifts(self, key: RoleKey, scenario: str) -> tuple[Gift, ...]:
        """By which ways a role has its rights in a scenario."""
        found = self._gifts.get((key, scenario))
        if found is None:
            if key.kind == "ClusterRole":
                roles = self._scenarios[scenario]
                found = gifts_of(roles, key.name, self._masks[scenario]) if key.name in roles else ()
            else:
                mask, role = self.mask(key, scenario), self._roles.get((key.namespace, key.name))
                found = (own_gift((key.name,), role, mask),) if role is not None and rights_of(mask) else ()
            self._gifts[key, scenario] = found
        return found


class Access:
    """Who may do what, by identity and namespace."""

    def __init__(self, snapshot: Snapshot, temporary_role: str = TEMPORARY_ROLE) -> None:
        self.snapshot = snapshot
        self.groups = snapshot.groups
        self.book = RoleBook(snapshot, temporary_role)
        self._grants: dict[Identity, dict[str, list[Grant]]] = {}
        for binding in snapshot.cluster_role_bindings:
            self._add(binding, CLUSTER)
        for binding in snapshot.role_bindings:
            self._add(binding, binding["metadata"]["namespace"])

    def _add(self, binding: Json, namespace: str) -> None:
        reference = binding.get("roleRef") or {}
        kind = str(reference.get("kind") or "")
        if kind not in ("ClusterRole", "Role") or (kind == "Role" and not namespace):
            return
        key = RoleKey(kind, namespace if kind == "Role" else "", str(reference.get("name") or ""))
        if not self.book.powers(key):
            return
        grant = Grant(namespace, binding["metadata"]["name"], key)
        for subject in binding.get("subjects") or ():
            identity = of_binding(subject, namespace)
            if identity is not None:
                grants = self._grants.setdefault(identity, {}).setdefault(namespace, [])
                if grant not in grants:
                    grants.append(grant)

    def holders(self) -> list[Identity]:
        """Everybody a binding names that gives live migration, now or after the update."""
        return [
            identity
            for identity, places in self._grants.items()
            if any(self.book.powers(grant.role).matters for grants in places.values() for grant in grants)
        ]

    def known_namespaces(self) -> list[str]:
        """All namespaces with a RoleBinding."""
        return sorted({binding["metadata"]["namespace"] for binding in self.snapshot.role_bindings})

    def identities(self, identity: Identity) -> tuple[Identity, ...]:
        """The subject and its groups."""
        return self.groups.identities(identity)

    def namespaces(self, identity: Identity) -> set[str]:
        """Namespaces in which a RoleBinding names exactly this subject and gives live migration, now or later."""
        return {
            namespace
            for namespace, grants in self._grants.get(identity, {}).items()
            if namespace != CLUSTER and any(self.book.powers(grant.role).matters for grant in grants)
        }

    def grants(self, identities: t.Iterable[Identity], namespace: str) -> tuple[tuple[Identity, Grant], ...]:
        """The bindings that reach somebody in exactly this place, with the identity that each one names."""
        return tuple(
            (identity, grant) for identity in identities for grant in self._grants.get(identity, {}).get(namespace, ())
        )

    def mask(self, identity: Identity, namespace: str, scenario: str = outlook.NOW) -> int:
        """All powers of somebody in a namespace, groups and bindings for the whole cluster included."""
        identities = self.identities(identity)
        places = (CLUSTER,) if namespace == CLUSTER else (CLUSTER, namespace)
        found = 0
        for place in places:
            for dummy, grant in self.grants(identities, place):
                found |= self.book.mask(grant.role, scenario)
        return found

    def rights(self, identity: Identity, namespace: str, scenario: str = outlook.NOW) -> frozenset[str]:
        """Which of create, delete and migrate somebody has in a namespace, or in all of them when it is empty."""
        return frozenset(rights_of(self.mask(identity, namespace, scenario)))
