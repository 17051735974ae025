# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who would be without live migration if a ClusterRole were gone, and the proof afterwards. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .._cluster.client import Cluster
from .._errors import VirtError
from .._plan import Listener
from . import subjects
from .migrate_access import CLUSTER, Access
from .must_keep import EVERYWHERE, Keeper
from .rbac import settled
from .role_powers import RIGHTS, STARTING
from .roles import Json
from .snapshot import Snapshot
from .subjects import Identity

#: Access reviews that one run sends at most; what is left is as computed.
MOST_REVIEWS = 400


@dataclass(frozen=True)
class Loss:
    """A subject that would be without live migration, where, and why that is so."""

    subject: str
    namespaces: tuple[str, ...]
    reason: str

    def to_dict(self) -> Json:
        return {"subject": self.subject, "namespaces": list(self.namespaces), "reason": self.reason}


class Holdings:
    """Who has which rights of live migration where, by the roles of one moment."""

    def __init__(self, snapshot: Snapshot, name: str, gone: bool) -> None:
        """C(gone): take the ClusterRole of that name for deleted, aggregation having followed."""
        if gone:
            left = {key: role for key, role in snapshot.cluster_roles.items() if key != name}
            snapshot = replace(snapshot, cluster_roles=settled(left))
        self._access = Access(snapshot, name)

    def everybody(self) -> list[Keeper]:
        """Everybody whom a binding names that gives live migration, with the places."""
        found = []
        for identity in sorted(self._access.holders()):
            places = self.places((identity,))
            if places:
                found.append(Keeper(identity.kind, identity.name, identity.namespace, places))
        return found

    def identities(self, keeper: Keeper) -> tuple[Identity, ...]:
        """The subject and its groups, those that the caller named included."""
        own = self._access.identities(Identity(keeper.kind, keeper.namespace, keeper.name))
        return tuple(dict.fromkeys((*own, *(subjects.group(name) for name in keeper.groups))))

    def places(self, identities: t.Iterable[Identity]) -> tuple[str, ...]:
        """Namespaces in which one of these has a right; EVERYWHERE for the whole cluster."""
        found: set[str] = set()
        for identity in identities:
            found |= {place for place in self._access.namespaces(identity) if self._access.rights(identity, place)}
            if self._access.rights(identity, CLUSTER):
                found.add(EVERYWHERE)
        return tuple(sorted(found))

    def rights(self, identities: t.Iterable[Identity], place: str) -> frozenset[str]:
        """What these have together in a namespace; what they have everywhere counts there too."""
        namespace = CLUSTER if place == EVERYWHERE else place
        return frozenset(right for identity in identities for right in self._access.rights(identity, namespace))


def losses(snapshot: Snapshot, name: str, everybody: bool, keepers: t.Sequence[Keeper]) -> list[Loss]:
    """Who would be without live migration once the ClusterRole of that name is gone; the keepers, or everybody who has it."""
    before, after = Holdings(snapshot, name, gone=False), Holdings(snapshot, name, gone=True)
    found = [_loss(before, after, keeper, name) for keeper in keepers]
    if everybody:
        found += [_lost(before, after, keeper, name) for keeper in before.everybody()]
    unique = {loss.subject: loss for loss in reversed(found) if loss is not None}
    return sorted(unique.values(), key=lambda loss: loss.subject)


def _lost(before: Holdings, after: Holdings, keeper: Keeper, name: str) -> Loss | None:
    """Where somebody may do less afterwards than before."""
    who = before.identities(keeper)
    lost = tuple(place for place in keeper.namespaces if before.rights(who, place) - after.rights(who, place))
    return Loss(keeper.text, lost, f"has live migration in {_words(lost)} by {name} only") if lost else None


def _loss(before: Holdings, after: Holdings, keeper: Keeper, name: str) -> Loss | None:
    """What a keeper would be without: of what it has, or of what it must have."""
    who = before.identities(keeper)
    places = keeper.namespaces or before.places(who)
    lost = _lost(before, after, replace(keeper, namespaces=places), name)
    if lost is not None:
        return lost
    never = tuple(place for place in keeper.namespaces if not after.rights(who, place) & set(STARTING))
    if never:
        return Loss(keeper.text, never, f"has no live migration in {_words(never)} now either")
    if any(after.rights(who, place) & set(STARTING) for place in places):
        return None
    return Loss(keeper.text, (), "has no live migration anywhere now either")


def _words(places: t.Sequence[str]) -> str:
    return ", ".join("all namespaces" if place == EVERYWHERE else place for place in places)


def prove(
    cluster: Cluster, snapshot: Snapshot, name: str, everybody: bool, keepers: t.Sequence[Keeper], listener: Listener
) -> Json:
    """Ask the API server whether everybody still may what was computed. Raises VirtError when it refuses somebody."""
    after = Holdings(snapshot, name, gone=True)
    asked: set[tuple[str, str, str]] = set()
    refused: list[Json] = []
    for keeper in (*keepers, *(after.everybody() if everybody else ())):
        who = after.identities(keeper)
        user = Identity(keeper.kind, keeper.namespace, keeper.name).user
        groups = [entry.name for entry in who if entry.kind == "Group"]
        for place in keeper.namespaces or after.places(who):
            for right in sorted(after.rights(who, place)):
                if (keeper.text, place, right) in asked or len(asked) >= MOST_REVIEWS:
                    continue
                asked.add((keeper.text, place, right))
                attributes = RIGHTS[right]
                review = cluster.review(user, groups, attributes.to_review("" if place == EVERYWHERE else place))
                if not review.allowed:
                    refused.append(
                        {
                            "subject": keeper.text,
                            "namespace": place,
                            "verb": attributes.verb,
                            "resource": attributes.combined,
                        }
                    )
    listener.event(f"{len(asked)} access reviews, {len(refused)} refused")
    proof = {"reviews": len(asked), "refused": refused}
    if refused:
        named = "; ".join(
            f"{entry['subject']} may not {entry['verb']} {entry['resource']} in {entry['namespace']}"
            for entry in refused[:10]
        )
        raise VirtError(
            f"ClusterRole {name} is gone, and the API server refuses what RBAC seemed to allow: {named}. "
            "Another authorizer may be at work; temporary_migrate_role with state present brings the role back.",
            changed=True,
            proof=proof,
        )
    return proof
