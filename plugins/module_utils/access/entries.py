# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of the audit: one for each subject and the places where it fares alike. Pure. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from . import outlook
from .fates import Fate, fate
from .migrate_access import CLUSTER, Access, Grant, RoleKey
from .role_powers import ANY_RIGHT, EVICTS, RIGHTS, STARTS, Gift, can_pass_on, rights_of
from .roles import Json
from .subjects import Identity, user

#: Members of a group, times its namespaces, up to which each member gets entries of its own.
MOST_EXPANDED = 50_000

#: A binding as it reaches a subject: the identity that it names, and the role.
Way = tuple[Identity, RoleKey]


@dataclass(frozen=True)
class Scope:
    """What the audit looks at. C(namespaces) None is all of them; C(outlook) is the scenario that counts as the update."""

    namespaces: frozenset[str] | None = None
    outlook: str = outlook.AS_IS
    subjects: tuple[Identity, ...] = ()
    system_subjects: bool = False
    expand_groups: bool = True

    def covers(self, namespace: str) -> bool:
        return self.namespaces is None or namespace in self.namespaces


@dataclass
class Chain:
    """One way by which a subject has rights: bindings of C(via), to a role, and on to the role whose rules they are."""

    way: Way
    gift: Gift
    bindings: list[str]

    def to_dict(self, subject: Identity) -> Json:
        via, role = self.way
        return {
            "bindings": self.bindings,
            "role_kind": role.kind,
            "role": role.name,
            "through": list(self.gift.path),
            "group": via.name if via != subject else "",
            "rights": list(rights_of(self.gift.mask)),
        }


@dataclass(frozen=True)
class Standing:
    """What somebody has by certain ways: the same for everybody with the same ways."""

    fate: Fate
    lost: t.Mapping[str, tuple[str, ...]]
    gifts: tuple[tuple[Way, Gift], ...]
    passes_on: bool
    evicts: bool

    @property
    def key(self) -> tuple[frozenset[tuple[Way, Gift]], bool, bool]:
        """Places with the same key are told together; bindings that have nothing to do with it don't count."""
        return frozenset(self.gifts), self.passes_on, self.evicts


@dataclass
class Entry:
    """A subject in the whole cluster, or in namespaces where it fares alike."""

    subject: Identity
    standing: Standing
    whole_cluster: bool
    members: tuple[str, ...]
    namespaces: list[str] = field(default_factory=list)
    bindings: dict[Way, dict[str, None]] = field(default_factory=dict)

    @property
    def loses(self) -> bool:
        return bool(self.standing.fate.lost)

    @property
    def pairs(self) -> int:
        """How many namespaces it is about; 0 for the whole cluster."""
        return len(self.namespaces)

    def to_dict(self) -> Json:
        """As the result has it."""
        standing, subject = self.standing, self.subject
        destiny = standing.fate
        after = rights_of(destiny.after)
        return {
            "subject": subject.text,
            "kind": subject.kind,
            "name": subject.name,
            "namespace": subject.namespace,
            "members": list(self.members),
            "system": subject.is_system,
            "scope": "cluster" if self.whole_cluster else "namespaces",
            "namespaces": self.namespaces,
            "rights": _flags(destiny.now),
            "may_migrate": bool(destiny.now & STARTS),
            "chains": [Chain(way, gift, list(self.bindings[way])).to_dict(subject) for way, gift in standing.gifts],
            "loses": self.loses,
            "reason": destiny.reason,
            "after_update": {
                "rights": _flags(destiny.after),
                "may_migrate": bool(destiny.after & STARTS),
                "lost": list(destiny.lost),
                "gained": list(destiny.gained),
                "reason_code": destiny.code,
                "lasts": destiny.lasts and bool(after),
            },
            "outlooks": {scenario: list(lost) for scenario, lost in standing.lost.items()},
            "may_pass_on": standing.passes_on,
            "may_evict": standing.evicts,
        }


def _flags(mask: int) -> dict[str, bool]:
    held = rights_of(mask)
    return {name: name in held for name in RIGHTS}


Place = tuple[bool, tuple[frozenset[tuple[Way, Gift]], bool, bool]]


class Listing:
    """Writes the entries of an access analysis."""

    def __init__(self, access: Access, scope: Scope) -> None:
        self._access, self._scope = access, scope
        self._standings: dict[frozenset[Way], Standing] = {}
        self.system_left_out = 0
        self.unexpanded: list[str] = []

    def subjects(self) -> list[Identity]:
        """Who is looked at: those asked for, or everybody who has live migration or will have it."""
        if self._scope.subjects:
            return list(dict.fromkeys(self._scope.subjects))
        found = dict.fromkeys(self._access.holders())
        for holder in list(found) if self._scope.expand_groups else ():
            members = self._access.groups.members(holder)
            if len(members) * (1 + len(self._access.namespaces(holder))) <= MOST_EXPANDED:
                found.update(dict.fromkeys(user(name) for name in members))
            elif members:
                self.unexpanded.append(holder.name)
        kept = [subject for subject in found if self._scope.system_subjects or not subject.is_system]
        self.system_left_out = len(found) - len(kept)
        return sorted(kept)

    def entries(self) -> list[Entry]:
        """All entries, by subject; those for the whole cluster first."""
        return [entry for subject in self.subjects() for entry in self.of(subject)]

    def of(self, subject: Identity) -> list[Entry]:
        """The entries of one subject."""
        access = self._access
        identities = access.identities(subject)
        everywhere = access.grants(identities, CLUSTER)
        found: dict[Place, Entry] = {}
        self._file(found, subject, everywhere, CLUSTER)
        # Where only a group of everybody is bound, that group's own entry says so.
        named = [identity for identity in identities if identity == subject or not identity.is_everybody]
        for namespace in sorted(set().union(*(access.namespaces(identity) for identity in named))):
            if self._scope.covers(namespace):
                self._file(found, subject, everywhere + access.grants(identities, namespace), namespace)
        return list(found.values())

    def _file(self, found: dict[Place, Entry], subject: Identity, grants: tuple[tuple[Identity, Grant], ...], namespace: str) -> None:
        ways = frozenset((via, grant.role) for via, grant in grants)
        standing = self._standing(ways)
        if not (standing.fate.now or standing.fate.after):
            return
        key = namespace == CLUSTER, standing.key
        entry = found.get(key)
        if entry is None:
            entry = found[key] = Entry(subject, standing, namespace == CLUSTER, self._access.groups.members(subject))
        if namespace != CLUSTER:
            entry.namespaces.append(namespace)
        for via, grant in grants:
            entry.bindings.setdefault((via, grant.role), {})[grant.text] = None

    def _standing(self, ways: frozenset[Way]) -> Standing:
        found = self._standings.get(ways)
        if found is None:
            found = self._standings[ways] = self._judge(sorted(ways))
        return found

    def _judge(self, ways: t.Sequence[Way]) -> Standing:
        book = self._access.book
        masks = dict.fromkeys(outlook.SCENARIOS, 0)
        for dummy, role in ways:
            for scenario, mask in book.powers(role).masks.items():
                masks[scenario] |= mask
        now, after = masks[outlook.NOW] & ANY_RIGHT, masks[self._scope.outlook] & ANY_RIGHT
        gifts = tuple((way, gift) for way in ways for gift in book.gifts(way[1], outlook.NOW))
        later = tuple((way, gift) for way in ways for gift in book.gifts(way[1], self._scope.outlook))
        destiny = fate(now, after, [gift for dummy, gift in gifts], [gift for dummy, gift in later], book.temporary_role)
        return Standing(
            destiny,
            {scenario: rights_of(now & ~masks[scenario]) for scenario in outlook.OUTLOOKS},
            # Who has nothing yet has it by the ways of later.
            gifts or later,
            can_pass_on(masks[outlook.NOW]),
            bool(masks[outlook.NOW] & EVICTS),
        )
