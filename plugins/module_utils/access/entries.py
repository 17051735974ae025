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

#: How a role reaches a subject: the group that the binding names, empty when it names the subject itself, and the role.
Way = tuple[str, RoleKey]


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


@dataclass(frozen=True)
class Standing:
    """What somebody has by certain ways: the same for everybody with the same ways. C(number) tells it from others."""

    number: int
    fate: Fate
    lost: t.Mapping[str, tuple[str, ...]]
    gifts: tuple[tuple[Way, Gift], ...]
    passes_on: bool
    evicts: bool

    @property
    def loses(self) -> bool:
        return bool(self.fate.lost)

    @property
    def identity(self) -> t.Hashable:
        """All but the number."""
        return self.fate, tuple(self.lost.items()), self.gifts, self.passes_on, self.evicts

    def to_dict(self) -> Json:
        """As the result has it, once for all its entries."""
        fate = self.fate
        return {
            "chains": [
                {
                    "role_kind": role.kind, "role": role.name, "through": list(gift.path), "group": group,
                    "rights": list(rights_of(gift.mask)),
                }
                for (group, role), gift in self.gifts
            ],
            "after_update": {
                "rights": _flags(fate.after),
                "may_migrate": bool(fate.after & STARTS),
                "lost": list(fate.lost),
                "gained": list(fate.gained),
                "reason_code": fate.code,
                "lasts": fate.lasts and bool(fate.after),
            },
            "outlooks": {scenario: list(lost) for scenario, lost in self.lost.items()},
            "may_pass_on": self.passes_on,
            "may_evict": self.evicts,
        }


def _flags(mask: int) -> dict[str, bool]:
    held = rights_of(mask)
    return {name: name in held for name in RIGHTS}


@dataclass
class Entry:
    """A subject in the whole cluster, or in namespaces where it fares alike. C(bindings): their names, by that of the role."""

    subject: Identity
    standing: Standing
    whole_cluster: bool
    namespaces: list[str] = field(default_factory=list)
    bindings: dict[str, dict[str, None]] = field(default_factory=dict)

    @property
    def loses(self) -> bool:
        return self.standing.loses

    @property
    def pairs(self) -> int:
        """How many namespaces it is about; 0 for the whole cluster."""
        return len(self.namespaces)

    def to_dict(self) -> Json:
        """As the result has it: short, since a large cluster has thousands."""
        standing, subject = self.standing, self.subject
        entry: Json = {
            "subject": subject.text,
            "kind": subject.kind,
            "name": subject.name,
            "namespace": subject.namespace,
            "scope": "cluster" if self.whole_cluster else "namespaces",
            "namespaces": self.namespaces,
            "rights": _flags(standing.fate.now),
            "may_migrate": bool(standing.fate.now & STARTS),
            "bindings": {role: list(names) for role, names in self.bindings.items()},
            "way": standing.number,
            "loses": standing.loses,
            "reason": standing.fate.reason,
        }
        if subject.is_system:
            entry["system"] = True
        return entry


#: The whole cluster or not, and the number of a standing.
Place = tuple[bool, int]


class Listing:
    """Writes the entries of an access analysis."""

    def __init__(self, access: Access, scope: Scope) -> None:
        self._access, self._scope = access, scope
        self._by_ways: dict[frozenset[Way], Standing] = {}
        #: Those that tell themselves apart; bindings that have nothing to do with live migration don't make a difference.
        self._different: dict[t.Hashable, Standing] = {}
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

    def standings(self) -> list[Standing]:
        """All that were found, by number."""
        return list(self._different.values())

    def _file(self, found: dict[Place, Entry], subject: Identity, grants: tuple[tuple[Identity, Grant], ...], namespace: str) -> None:
        standing = self._standing(frozenset(("" if via == subject else via.name, grant.role) for via, grant in grants))
        if not (standing.fate.now or standing.fate.after):
            return
        place = namespace == CLUSTER, standing.number
        entry = found.get(place)
        if entry is None:
            entry = found[place] = Entry(subject, standing, namespace == CLUSTER)
        if namespace != CLUSTER:
            entry.namespaces.append(namespace)
        for dummy, grant in grants:
            if self._access.book.powers(grant.role).matters:
                entry.bindings.setdefault(grant.role.name, {})[grant.text] = None

    def _standing(self, ways: frozenset[Way]) -> Standing:
        found = self._by_ways.get(ways)
        if found is None:
            judged = self._judge(len(self._different), sorted(ways))
            found = self._by_ways[ways] = self._different.setdefault(judged.identity, judged)
        return found

    def _judge(self, number: int, ways: t.Sequence[Way]) -> Standing:
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
            number,
            destiny,
            {scenario: rights_of(now & ~masks[scenario]) for scenario in outlook.OUTLOOKS},
            # Who has nothing yet has it by the ways of later.
            gifts or later,
            can_pass_on(masks[outlook.NOW]),
            bool(masks[outlook.NOW] & EVICTS),
        )
