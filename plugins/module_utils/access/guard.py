# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who would be without live migration if a ClusterRole were gone, and the proof afterwards. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._cluster.client import Cluster
from .._cluster.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, GROUPS, ROLE_BINDINGS, ROLES
from .._errors import VirtError
from .._plan import Listener
from . import subjects
from .must_keep import Keeper
from .rbac import Attributes, any_allows, settled
from .roles import Json
from .subjects import Groups, Identity

#: Stands for every namespace, where a ClusterRoleBinding reaches.
EVERYWHERE = "*"
_MIGRATIONS = "virtualmachineinstancemigrations"
CREATE = Attributes("create", "kubevirt.io", _MIGRATIONS)
CANCEL = Attributes("delete", "kubevirt.io", _MIGRATIONS)
MIGRATE = Attributes("update", "subresources.kubevirt.io", "virtualmachines", "migrate")
ACTIONS = (CREATE, CANCEL, MIGRATE)
#: What live migration takes at least; cancelling is kept where it was held before.
NEEDED = frozenset({CREATE, MIGRATE})
#: Access reviews that one run sends at most; what is left is as computed.
MOST_REVIEWS = 400

Actions = frozenset[Attributes]
NOTHING: Actions = frozenset()


@dataclass(frozen=True)
class Evidence:
    """All RBAC objects of a moment, and the groups that the API knows."""

    roles: dict[str, Json]
    namespaced_roles: dict[tuple[str, str], Json]
    cluster_role_bindings: tuple[Json, ...]
    role_bindings: tuple[Json, ...]
    groups: Groups


@dataclass(frozen=True)
class Loss:
    """A subject that would be without live migration, where, and why that is so."""

    subject: str
    namespaces: tuple[str, ...]
    reason: str

    def to_dict(self) -> Json:
        return {"subject": self.subject, "namespaces": list(self.namespaces), "reason": self.reason}


def observe(cluster: Cluster) -> Evidence:
    """One list a kind."""
    return Evidence(
        roles={entry["metadata"]["name"]: entry for entry in cluster.list(CLUSTER_ROLES).items},
        namespaced_roles={
            (entry["metadata"]["namespace"], entry["metadata"]["name"]): entry for entry in cluster.list(ROLES).items
        },
        cluster_role_bindings=tuple(cluster.list(CLUSTER_ROLE_BINDINGS).items),
        role_bindings=tuple(cluster.list(ROLE_BINDINGS).items),
        groups=Groups(cluster.list(GROUPS, missing_ok=True).items),
    )


class Access:
    """Who may do which of ACTIONS where, by the roles of one moment."""

    def __init__(self, evidence: Evidence, without: str = "") -> None:
        """C(without): a ClusterRole that is taken to be gone, aggregation having followed."""
        self._groups = evidence.groups
        self._held: dict[Identity, dict[str, Actions]] = {}
        roles = settled({name: role for name, role in evidence.roles.items() if name != without})
        given = {name: _actions(role) for name, role in roles.items()}
        for binding in evidence.cluster_role_bindings:
            self._add(binding, EVERYWHERE, given.get(str(binding["roleRef"].get("name")), NOTHING))
        for binding in evidence.role_bindings:
            namespace, reference = binding["metadata"]["namespace"], binding["roleRef"]
            if reference.get("kind") == "Role":
                role = evidence.namespaced_roles.get((namespace, str(reference.get("name"))))
                self._add(binding, namespace, _actions(role) if role is not None else NOTHING)
            else:
                self._add(binding, namespace, given.get(str(reference.get("name")), NOTHING))

    def _add(self, binding: Json, place: str, actions: Actions) -> None:
        if not actions:
            return
        for subject in binding.get("subjects") or ():
            identity = subjects.of_binding(subject, place if place != EVERYWHERE else "")
            if identity is not None:
                places = self._held.setdefault(identity, {})
                places[place] = places.get(place, NOTHING) | actions

    def subjects(self) -> list[Identity]:
        """Everybody whom a binding names that gives one of ACTIONS."""
        return list(self._held)

    def reached_by(self, identity: Identity, groups: t.Iterable[str] = ()) -> tuple[Identity, ...]:
        """The subject and its groups, those named by the caller included."""
        return tuple(dict.fromkeys((*self._groups.identities(identity), *(subjects.group(name) for name in groups))))

    def places(self, identities: t.Iterable[Identity]) -> list[str]:
        """Namespaces (or EVERYWHERE) in which one of these holds something."""
        return sorted({place for identity in identities for place in self._held.get(identity, {})})

    def actions(self, identities: t.Iterable[Identity], place: str) -> Actions:
        """What these may do together in a namespace; what they may do everywhere counts there too."""
        found = NOTHING
        for identity in identities:
            held = self._held.get(identity, {})
            found |= held.get(place, NOTHING) | held.get(EVERYWHERE, NOTHING)
        return found


def _actions(role: Json) -> Actions:
    return frozenset(action for action in ACTIONS if any_allows(role.get("rules"), action))


def keepers_of_all(access: Access) -> list[Keeper]:
    """Everybody who holds something now, with the places."""
    return [
        Keeper(identity.kind, identity.name, identity.namespace, tuple(access.places([identity])))
        for identity in sorted(access.subjects())
    ]


def losses(evidence: Evidence, name: str, everybody: bool, keepers: t.Sequence[Keeper]) -> list[Loss]:
    """Who would be without live migration once the ClusterRole of that name is gone; the keepers, or everybody who has it."""
    before, after = Access(evidence), Access(evidence, without=name)
    found = [_loss(before, after, keeper, name) for keeper in keepers]
    if everybody:
        found += [_lost(before, after, keeper, name) for keeper in keepers_of_all(before)]
    unique = {loss.subject: loss for loss in reversed(found) if loss is not None}
    return sorted(unique.values(), key=lambda loss: loss.subject)


def _identities(access: Access, keeper: Keeper) -> tuple[Identity, ...]:
    return access.reached_by(Identity(keeper.kind, keeper.namespace, keeper.name), keeper.groups)


def _lost(before: Access, after: Access, keeper: Keeper, name: str) -> Loss | None:
    """Where somebody may do less afterwards than before."""
    who = _identities(before, keeper)
    lost = tuple(place for place in keeper.namespaces if before.actions(who, place) - after.actions(who, place))
    if not lost:
        return None
    return Loss(keeper.text, lost, f"has live migration in {_words(lost)} by {name} only")


def _loss(before: Access, after: Access, keeper: Keeper, name: str) -> Loss | None:
    """What a keeper would be without: of what it has, or of what it must have."""
    who = _identities(before, keeper)
    places = keeper.namespaces or tuple(before.places(who))
    lost = _lost(before, after, Keeper(keeper.kind, keeper.name, keeper.namespace, places, keeper.groups), name)
    if lost is not None:
        return lost
    if keeper.namespaces:
        never = tuple(place for place in keeper.namespaces if not after.actions(who, place) >= NEEDED)
        return Loss(keeper.text, never, f"has no live migration in {_words(never)} now either") if never else None
    if any(after.actions(who, place) >= NEEDED for place in places):
        return None
    return Loss(keeper.text, (), "has no live migration anywhere now either")


def _words(places: t.Sequence[str]) -> str:
    return ", ".join("all namespaces" if place == EVERYWHERE else place for place in places)


def prove(
    cluster: Cluster, evidence: Evidence, name: str, everybody: bool, keepers: t.Sequence[Keeper], listener: Listener
) -> Json:
    """Ask the API server whether everybody still may what was computed. Raises VirtError when it refuses somebody."""
    access = Access(evidence, without=name)
    wanted = [*keepers, *(keepers_of_all(access) if everybody else ())]
    sent, refused = 0, []
    asked: set[tuple[Identity, str, Attributes]] = set()
    for keeper in wanted:
        identity = Identity(keeper.kind, keeper.namespace, keeper.name)
        who = _identities(access, keeper)
        groups = [entry.name for entry in who if entry.kind == "Group"]
        for place in keeper.namespaces or access.places(who):
            for action in sorted(access.actions(who, place)):
                if (identity, place, action) in asked or sent >= MOST_REVIEWS:
                    continue
                asked.add((identity, place, action))
                sent += 1
                review = cluster.review(identity.user, groups, action.to_review("" if place == EVERYWHERE else place))
                if not review.allowed:
                    refused.append(
                        {"subject": keeper.text, "namespace": place, "verb": action.verb, "resource": action.combined}
                    )
    listener.event(f"{sent} access reviews, {len(refused)} refused")
    if refused:
        named = "; ".join(
            f"{entry['subject']} may not {entry['verb']} {entry['resource']} in {entry['namespace']}"
            for entry in refused[:10]
        )
        raise VirtError(
            f"ClusterRole {name} is gone, and the API server refuses what RBAC seemed to allow: {named}. "
            "Another authorizer may be at work; temporary_migrate_role with state present brings the role back.",
            changed=True,
            proof={"reviews": sent, "refused": refused},
        )
    return {"reviews": sent, "refused": refused}
