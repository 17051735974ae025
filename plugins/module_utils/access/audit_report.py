# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit says as a whole: counts, facts beyond single entries, and a table for people. Pure. Private to this collection."""

from __future__ import annotations

import typing as t

from . import outlook
from .entries import Entry, Listing
from .migrate_access import Access, RoleKey
from .role_powers import STARTS, mask_of, names_only, rights_of
from .roles import MIGRATE_ROLE, Json, aggregate_label, selects
from .subjects import Identity

#: Subjects named in a sentence; the others are counted.
_NAMED = 5


def roles_release(access: Access) -> str:
    """C(4.18) or C(4.19), by what KubeVirt's roles give; empty when KubeVirt's roles are not there."""
    roles = access.book.cluster_roles(outlook.NOW)
    reduced = [roles[name] for name in outlook.REDUCED if name in roles]
    if not reduced:
        return ""
    return "4.18" if any(rights_of(mask_of(role.get("rules"))) for role in reduced) else "4.19"


def temporary_role(access: Access) -> Json:
    """The temporary role as it is: whether it exists, and which roles have live migration by it."""
    roles, name = access.book.cluster_roles(outlook.NOW), access.book.temporary_role
    labels = (roles[name]["metadata"].get("labels") or {}) if name in roles else {}
    return {"name": name, "exists": name in roles, "aggregated_to": [target for target in ("admin", "edit") if selects(roles.get(target), labels)]}


def summary(access: Access, listing: Listing, holders: t.Sequence[Entry], gains: t.Sequence[Entry]) -> Json:
    """Counts. Subjects are counted once; pairs are subjects and namespaces, without those that a ClusterRoleBinding covers."""
    subjects = {entry.subject for entry in holders}
    losers = {entry.subject for entry in holders if entry.loses}
    return {
        "subjects": len(subjects),
        "users": _of_kind(subjects, "User"),
        "groups": _of_kind(subjects, "Group"),
        "service_accounts": _of_kind(subjects, "ServiceAccount"),
        "cluster_wide": len({entry.subject for entry in holders if entry.whole_cluster}),
        "pairs": sum(entry.pairs for entry in holders),
        "loses": len(losers),
        "loses_pairs": sum(entry.pairs for entry in holders if entry.loses),
        "keeps": len(subjects - losers),
        "gains": len({entry.subject for entry in gains}),
        "outlooks": {
            scenario: len({entry.subject for entry in holders if entry.standing.lost[scenario]}) for scenario in outlook.OUTLOOKS
        },
        "namespaces": len({namespace for entry in holders for namespace in entry.namespaces}),
        "system_left_out": listing.system_left_out,
        "cluster_roles": len(access.snapshot.cluster_roles),
        "roles": len(access.snapshot.roles),
        "bindings": len(access.snapshot.cluster_role_bindings) + len(access.snapshot.role_bindings),
    }


def _of_kind(subjects: t.Iterable[Identity], kind: str) -> int:
    return sum(subject.kind == kind for subject in subjects)


def message(counts: Json, scenario: str) -> str:
    """The audit in a sentence."""
    when = {
        outlook.AS_IS: "with 4.19 as things are",
        outlook.WITHOUT_TEMPORARY_ROLE: "with 4.19 without the temporary role",
        outlook.AGGREGATE_TO_ADMIN: "with 4.19 and the temporary role for admin",
        outlook.AGGREGATE_TO_EDIT: "with 4.19 and the temporary role for admin and edit",
    }[scenario]
    number, losers = counts["subjects"], counts["loses"]
    if not number:
        return "No subject may live-migrate."
    lose = "none of them loses it" if not losers else f"{losers} of them {'loses' if losers == 1 else 'lose'} it"
    return f"{number} {'subject' if number == 1 else 'subjects'} may live-migrate; {lose} {when}."


def facts(access: Access, holders: t.Sequence[Entry], gains: t.Sequence[Entry]) -> list[Json]:
    """What entries don't say by themselves: powers to pass the right on or to go round it, bindings without effect, odd roles."""
    found = []
    passing = _texts(entry for entry in holders if entry.standing.passes_on and not _is_administrator(entry))
    if passing:
        found.append(
            _fact(
                "may_pass_on", passing,
                f"may bind others to {MIGRATE_ROLE} once it exists, since they hold its rules and may write RoleBindings; such bindings "
                "outlast the temporary role",
            )
        )
    evicting = _texts(entry for entry in holders if entry.loses and entry.standing.evicts)
    if evicting:
        found.append(
            _fact(
                "may_evict", evicting,
                "lose live migration but can go on causing it: evicting a virt-launcher pod of a VM with evictionStrategy LiveMigrate migrates the VM",
            )
        )
    inert = _texts(gains)
    if inert and MIGRATE_ROLE not in access.snapshot.cluster_roles:
        found.append(_fact("inert_binding", inert, f"are bound to {MIGRATE_ROLE} already, which has no effect before 4.19 makes that role"))
    return [*found, *_odd_roles(access)]


def _is_administrator(entry: Entry) -> bool:
    return any(gift.wildcard for dummy, gift in entry.standing.gifts)


def _odd_roles(access: Access) -> t.Iterator[Json]:
    roles, name = access.book.cluster_roles(outlook.NOW), access.book.temporary_role
    for role_name, role in sorted(roles.items()):
        rights = names_only(role.get("rules"))
        if rights:
            yield {
                "id": "resource_names", "subjects": [], "role": role_name,
                "sentence": f"ClusterRole {role_name} gives {' and '.join(rights)} for certain names only (resourceNames), which doesn't count as access.",
            }
    if name not in roles:
        return
    labels = roles[name]["metadata"].get("labels") or {}
    for target in ("admin", "edit"):
        written = aggregate_label(target)
        if any(key.startswith(f"{written}=") for key in labels) or labels.get(written, "true") != "true":
            yield {
                "id": "temporary_role_label", "subjects": [], "role": name,
                "sentence": f"ClusterRole {name} has a label that nothing selects; the right one is {written}: \"true\".",
            }
    expected = access.book.mask(RoleKey("ClusterRole", "", "admin"), outlook.NOW) & STARTS
    if not expected and "admin" in temporary_role(access)["aggregated_to"]:
        yield {
            "id": "aggregation_behind", "subjects": [], "role": "admin",
            "sentence": f"ClusterRole admin selects {name} and does not have its rules: aggregation is behind, or the controller manager doesn't run.",
        }


def _texts(entries: t.Iterable[Entry]) -> list[str]:
    return list(dict.fromkeys(entry.subject.text for entry in entries))


def _fact(fact: str, subjects: list[str], predicate: str) -> Json:
    more = len(subjects) - _NAMED
    named = ", ".join(subjects[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    return {"id": fact, "subjects": subjects, "sentence": f"{named}: {predicate}."}


def table(holders: t.Sequence[Entry], gains: t.Sequence[Entry]) -> list[str]:
    """Lines for people: who, where, what now, and what after the update."""
    header = ("SUBJECT", "WHERE", "NOW", "AFTER 4.19", "WHY")
    rows = [header]
    for entry in (*holders, *gains):
        fate = entry.standing.fate
        now, after = rights_of(fate.now), rights_of(fate.after)
        rows.append((entry.subject.text, _where(entry), ",".join(now) or "-", "same" if now == after else ",".join(after) or "-", fate.reason))
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _where(entry: Entry, most: int = 3) -> str:
    if entry.whole_cluster:
        return "(whole cluster)"
    more = len(entry.namespaces) - most
    return ", ".join(entry.namespaces[:most]) + (f" and {more} more" if more > 0 else "")
