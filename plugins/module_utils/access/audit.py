# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb migrate_access_info: who may live-migrate, why, and who will not any more in 4.19. Private to this collection."""

from __future__ import annotations

import random
import typing as t
from dataclasses import dataclass

from .._cluster.client import Cluster
from .._cluster.resources import NAMESPACES, VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from .._errors import Forbidden, OptionError, VirtError
from .._options import ArgumentSpec
from .._plan import Outcome, Plan
from .._verb import Context, Options, Verb
from . import audit_report, outlook, proof, snapshot, subjects
from . import temporary_role_shape as shape
from .entries import Entry, Listing, Scope
from .migrate_access import Access
from .role_powers import RIGHTS
from .roles import TEMPORARY_ROLE, Json

#: Booleans are written as text by choices.
VERIFY = {"none": "none", "false": "none", "sample": "sample", "all": "all", "true": "all"}


@dataclass(frozen=True)
class Observed:
    """What was read, and within which limits it is looked at."""

    access: Access
    scope: Scope
    warnings: tuple[str, ...]


def spec() -> ArgumentSpec:
    """The options of the verb."""
    return ArgumentSpec(
        {
            "namespaces": {"type": "list", "elements": "str"},
            "namespace_selector": {"type": "str"},
            "with_vms_only": {"type": "bool", "default": False},
            "subjects": {"type": "list", "elements": "str"},
            "system_subjects": {"type": "bool", "default": False},
            "expand_groups": {"type": "bool", "default": True},
            "outlook": {"type": "str", "choices": list(outlook.OUTLOOKS), "default": outlook.AS_IS},
            "temporary_role": {"type": "str", "default": TEMPORARY_ROLE},
            "verify": {"type": "str", "choices": list(VERIFY), "default": "sample"},
            "sample_size": {"type": "int", "default": 20},
            "table": {"type": "bool", "default": False},
        },
        mutually_exclusive=[("namespaces", "namespace_selector")],
    )


def observe(context: Context) -> Observed:
    """One reading of RBAC; namespaces and VMs only when options ask for them."""
    options, cluster = context.options, context.cluster
    wanted = _subjects(options)
    try:
        shape.refuse_shipped(options["temporary_role"], None)
    except shape.NotOurs as error:
        raise OptionError(f"temporary_role: {error}, and can't be the temporary one.") from error
    if options["sample_size"] < 1:
        raise OptionError("sample_size: at least one pair is needed; verify: none turns the access reviews off.")
    namespaces = _namespaces(cluster, options)
    # Names in the result are those of the namespaces that were asked for; more than these is not read either.
    with snapshot.all_kept():
        found = snapshot.read(cluster, namespaces)
        access = Access(found, options["temporary_role"])
    scope = Scope(
        None if namespaces is None else frozenset(namespaces),
        options["outlook"],
        wanted,
        options["system_subjects"],
        options["expand_groups"],
    )
    return Observed(access, scope, found.warnings)


def _subjects(options: Options) -> tuple[subjects.Identity, ...]:
    found = []
    for text in _texts(options["subjects"]):
        try:
            found.append(subjects.parse(text))
        except subjects.InvalidSubject as error:
            raise OptionError(f"subjects: {error}.") from error
    return tuple(found)


def _texts(values: t.Iterable[str] | None) -> list[str]:
    """Entries of a list that may also have come as lines of a survey."""
    return [part.strip() for value in values or () for part in value.splitlines() if part.strip()]


def _namespaces(cluster: Cluster, options: Options) -> list[str] | None:
    """The namespaces to look at; None for all."""
    found: list[str] | None = None
    if options["namespaces"] is not None:
        found = list(dict.fromkeys(_texts(options["namespaces"])))
        known = _known(cluster, found)
        missing = [name for name in found if name not in known]
        if missing:
            raise OptionError(f"namespaces: {', '.join(missing)} {'does' if len(missing) == 1 else 'do'} not exist.", missing=missing)
    elif options["namespace_selector"]:
        listed = cluster.list(NAMESPACES, label_selector=options["namespace_selector"], metadata_only=True).items
        found = [item["metadata"]["name"] for item in listed]
    if options["with_vms_only"]:
        with_vms = _with_vms(cluster)
        found = sorted(with_vms) if found is None else [name for name in found if name in with_vms]
    return found


def _known(cluster: Cluster, names: list[str]) -> set[str]:
    if len(names) <= snapshot.FEW:
        return {name for name in names if cluster.get(NAMESPACES, name) is not None}
    return {item["metadata"]["name"] for item in cluster.list(NAMESPACES, metadata_only=True).items}


def _with_vms(cluster: Cluster) -> set[str]:
    """Namespaces with VMs, or with instances that have no VM."""
    return {
        item["metadata"]["namespace"]
        for resource in (VIRTUAL_MACHINES, VIRTUAL_MACHINE_INSTANCES)
        for item in cluster.list(resource, metadata_only=True).items
    }


def plan(_observed: Observed, _options: Options) -> Plan:
    """Nothing is written."""
    return Plan()


def apply(context: Context, observed: Observed, planned: Plan) -> Outcome:
    """Compute, and prove it. Raises VirtError when the API server disagrees with what was computed."""
    options, listener = context.options, context.listener
    with snapshot.all_kept():
        outcome, entries = _outcome(observed, options)
    outcome.warnings.extend(observed.warnings)
    how = VERIFY[options["verify"]]
    if how == "none":
        return outcome
    try:
        verification = _prove(context, observed, entries, how)
    except Forbidden as error:
        if how == "all":
            error.details.update(outcome.result)
            raise
        outcome.warnings.append(f"The computed access was not proven by access reviews: {error.message}")
        return outcome
    wrong = verification["disagreements"]
    outcome.result["verification"] = verification
    outcome.summary.update({"verified": verification["pairs"], "disagreements": len(wrong)})
    listener.event(f"{outcome.msg} Proven for {verification['pairs']} subjects and places by {verification['reviews']} access reviews.")
    if wrong:
        named = "; ".join(entry["sentence"] for entry in wrong[:5])
        raise VirtError(
            f"{len(wrong)} of {verification['reviews']} access reviews disagree with the roles and bindings: {named}. "
            "Another authorizer (webhook, node) may be at work.",
            summary=outcome.summary, **outcome.result,
        )
    return outcome


def _outcome(observed: Observed, options: Options) -> tuple[Outcome, list[Entry]]:
    access = observed.access
    listing = Listing(access, observed.scope)
    entries = listing.entries()
    holders = [entry for entry in entries if entry.standing.fate.now]
    gains = [entry for entry in entries if not entry.standing.fate.now]
    counts = audit_report.summary(access, listing, holders, gains)
    result: Json = {
        "access": [entry.to_dict() for entry in holders],
        "ways": [standing.to_dict() for standing in listing.standings()],
        "gains": [entry.to_dict() for entry in gains],
        "lost": list(dict.fromkeys(entry.subject.text for entry in holders if entry.loses)),
        "groups": {entry.subject.name: list(access.groups.members(entry.subject)) for entry in entries if access.groups.members(entry.subject)},
        "without_access": _without(observed.scope, holders),
        "facts": audit_report.facts(access, holders, gains),
        "roles_release": audit_report.roles_release(access),
        "temporary_role": audit_report.temporary_role(access),
        "outlook": options["outlook"],
        "verification": {"pairs": 0, "reviews": 0, "disagreements": []},
    }
    lines = audit_report.table(holders, gains) if options["table"] else []
    outcome = Outcome(
        False, audit_report.message(counts, options["outlook"]), summary={**counts, "verified": 0, "disagreements": 0}, result=result, lines=lines
    )
    outcome.warnings.extend(_warnings(access, listing, result))
    return outcome, entries


def _without(scope: Scope, holders: t.Sequence[Entry]) -> list[str]:
    """Subjects that were asked for and may live-migrate nowhere."""
    having = {entry.subject for entry in holders}
    return [subject.text for subject in scope.subjects if subject not in having]


def _warnings(access: Access, listing: Listing, result: Json) -> t.Iterator[str]:
    if listing.unexpanded:
        yield f"The members of these groups have too many namespaces to be listed one by one: {', '.join(listing.unexpanded)}"
    if not result["roles_release"]:
        yield "KubeVirt's ClusterRoles (kubevirt.io:admin, kubevirt.io:edit) are not in this cluster"


def _prove(context: Context, observed: Observed, entries: list[Entry], how: str) -> Json:
    """Access reviews. Roles and bindings may have changed since they were read, so what disagrees is read and asked once more."""
    cluster, access = context.cluster, observed.access
    pairs = (
        proof.all_pairs(access, entries)
        if how == "all"
        else proof.some_pairs(access, entries, context.options["sample_size"], random.SystemRandom())
    )
    wrong = proof.disagreements(cluster, access, pairs, context.listener)
    reviews = len(pairs) * len(RIGHTS)
    if wrong:
        again = list(dict.fromkeys(entry.pair for entry in wrong))
        namespaces = observed.scope.namespaces
        fresh = Access(snapshot.read(cluster, namespaces), context.options["temporary_role"])
        wrong = proof.disagreements(cluster, fresh, again, context.listener)
        reviews += len(again) * len(RIGHTS)
    return {"pairs": len(pairs), "reviews": reviews, "disagreements": [entry.to_dict() for entry in wrong]}


def _report(_observed: Observed, _planned: Plan, _options: Options) -> Outcome:
    """Never asked for: a verb that only reads does the same in check mode."""
    return Outcome(False, "")


VERB = Verb("migrate_access_info", spec, observe, plan, _report, apply, read_only=True)
