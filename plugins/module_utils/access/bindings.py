# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb migrate_role_binding: live migration for trusted subjects. Private to this collection."""

from __future__ import annotations

import typing as t
from collections import Counter

from .._cluster.client import Cluster
from .._cluster.resources import CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS, Resource
from .._errors import ApiError, Conflict, OptionError, PreconditionFailed, VirtError
from .._options import ArgumentSpec
from .._plan import Change, Outcome, Plan
from .._verb import Context, Options, Verb
from . import binding_plan, binding_subjects
from .binding_places import Observed
from .binding_places import observe as read
from .binding_plan import RoleRefConflict, Wanted, plan_binding
from .roles import MIGRATE_ROLE, Json

#: How often a binding that others write at the same time is judged anew.
ATTEMPTS = 5
#: Up to so many changed places each change is told; for more, every so many places.
MOST_LINES, EVERY = 50, 100


def spec() -> ArgumentSpec:
    """The options of the verb."""
    return ArgumentSpec(
        {
            "state": {"type": "str", "choices": ["present", "exact", "absent"], "default": "present"},
            "scope": {"type": "str", "choices": ["namespace", "cluster"], "default": "namespace"},
            "name": {"type": "str", "default": "kvmigrate"},
            "namespaces": {"type": "list", "elements": "str", "default": [], "aliases": ["namespace"]},
            "namespace_selector": {"type": "str"},
            "users": {"type": "list", "elements": "str", "default": []},
            "groups": {"type": "list", "elements": "str", "default": []},
            "service_accounts": {"type": "list", "elements": "str", "default": []},
            "replace_role_ref": {"type": "bool", "default": False},
        }
    )


def wanted_of(options: Options) -> Wanted:
    """What the options ask for. Raises OptionError."""
    try:
        named = [
            *(binding_subjects.user(name) for name in options["users"]),
            *(binding_subjects.group(name) for name in options["groups"]),
            *(binding_subjects.service_account(text) for text in options["service_accounts"]),
        ]
    except binding_subjects.InvalidSubject as error:
        raise OptionError(f"users, groups, service_accounts: {error}.") from error
    if options["state"] != "absent" and not named:
        raise OptionError(f"state {options['state']} needs at least one of users, groups and service_accounts.")
    namespaces, selector = options["namespaces"], options["namespace_selector"]
    if options["scope"] == "cluster" and (namespaces or selector):
        raise OptionError("scope cluster takes neither namespaces nor namespace_selector.")
    if options["scope"] == "namespace" and not namespaces and not selector:
        raise OptionError("scope namespace needs namespaces or namespace_selector.")
    kind = "ClusterRoleBinding" if options["scope"] == "cluster" else "RoleBinding"
    subjects = tuple(binding_subjects.merged(named))
    return Wanted(kind, options["name"], options["state"], subjects, bool(options["replace_role_ref"]))


def observe(context: Context) -> Observed:
    """Namespaces, bindings of the name, and whether the role exists."""
    options = context.options
    return read(context.cluster, wanted_of(options), options["namespaces"], options["namespace_selector"] or None)


def plan(observed: Observed, options: Options) -> Plan:
    """The changes in all places; raises PreconditionFailed when one of them cannot be made."""
    wanted = wanted_of(options)
    _refuse_places(observed, wanted)
    changes: list[Change] = []
    conflicts: list[RoleRefConflict] = []
    for place in observed.places:
        if place in observed.missing or place in observed.terminating:
            continue
        try:
            changes += plan_binding(wanted, place, observed.bindings.get(place), observed.interims.get(place))
        except RoleRefConflict as conflict:
            conflicts.append(conflict)
    if conflicts:
        _refuse_conflicts(wanted, conflicts)
    return Plan(tuple(changes), tuple(_warnings(observed, wanted, options)), {})


def _refuse_places(observed: Observed, wanted: Wanted) -> None:
    if wanted.state == "absent":
        return
    for names, what, remedy in (
        (observed.missing, "do not exist", "Make them first, or take them out of namespaces."),
        (observed.terminating, "are being deleted", "Take them out of namespaces."),
    ):
        if names:
            message = f"These namespaces {what}: {', '.join(names)}. {remedy} Nothing was changed."
            raise PreconditionFailed(message, namespaces=list(names))


def _refuse_conflicts(wanted: Wanted, conflicts: t.Sequence[RoleRefConflict]) -> None:
    named = [f"{entry.namespace + '/' if entry.namespace else ''}{entry.name} -> {entry.role}" for entry in conflicts]
    raise PreconditionFailed(
        f"{wanted.kind} of this name exists and points to another role, which cannot be changed: {', '.join(named)}. "
        "Choose another name, or set replace_role_ref to have it deleted and made anew.",
        conflicts=[{"namespace": entry.namespace, "name": entry.name, "role": entry.role} for entry in conflicts],
    )


def _warnings(observed: Observed, wanted: Wanted, options: Options) -> t.Iterator[str]:
    if wanted.state != "absent":
        if not observed.role_exists:
            yield (
                f"ClusterRole {MIGRATE_ROLE} does not exist: bindings to it give nothing until the update to OKD "
                "Virtualization 4.19 makes it"
            )
        everybody = [subject["name"] for subject in wanted.subjects if subject["name"] in binding_subjects.EVERYBODY]
        if everybody:
            yield f"live migration is given to everybody who can log in, by group {', '.join(everybody)}"
    if options["namespace_selector"] and not observed.places:
        yield f"no namespace has the labels of namespace_selector {options['namespace_selector']}"
    for place, binding in observed.bindings.items():
        if place not in observed.places or binding_plan.binds_migrate(binding):
            continue
        where = f"{place}/{wanted.name}" if place else wanted.name
        if wanted.state == "absent":
            yield f"{wanted.kind} {where} points to {binding_plan.role_of(binding)} and is left as it is"
        elif wanted.replace_role_ref:
            subjects = ", ".join(binding_subjects.text_of(subject) for subject in binding.get("subjects") or ())
            kept = "get live migration in its place" if wanted.state == "present" else "get nothing in its place"
            yield f"{wanted.kind} {where} is replaced: {subjects or 'nobody'} lose {binding_plan.role_of(binding)} by it and {kept}"


def report(observed: Observed, planned: Plan, options: Options) -> Outcome:
    """What a run would do."""
    wanted = wanted_of(options)
    held = {place: _subjects(observed.bindings.get(place)) for place in observed.places}
    for change in planned.changes:
        if change.name == wanted.name:
            held[change.namespace] = (change.after or {}).get("subjects") or []
    return _outcome(wanted, observed, planned, planned.changes, held)


def _subjects(binding: Json | None) -> list[Json]:
    return list((binding or {}).get("subjects") or []) if binding_plan.binds_migrate(binding) else []


def apply(context: Context, observed: Observed, planned: Plan) -> Outcome:
    """Make the changes place by place; a place where somebody else wrote meanwhile is judged anew."""
    wanted = wanted_of(context.options)
    held = {place: _subjects(observed.bindings.get(place)) for place in observed.places}
    by_place: dict[str, list[Change]] = {}
    for change in planned.changes:
        by_place.setdefault(change.namespace, []).append(change)
    done: list[Change] = []
    try:
        for number, (place, changes) in enumerate(by_place.items(), 1):
            made = _apply_place(context.cluster, wanted, place, changes)
            done += made
            for change in made:
                if change.name == wanted.name:
                    held[place] = (change.after or {}).get("subjects") or []
            _tell(context, made, number, len(by_place))
    except VirtError as error:
        # What was done stays done; the next run goes on from there.
        error.details.update(changed=bool(done), actions=[change.to_dict() for change in done])
        raise
    outcome = _outcome(wanted, observed, planned, tuple(done), held)
    outcome.actions = [change.to_dict() for change in done]
    outcome.diff = Plan(tuple(done)).diff()
    return outcome


def _tell(context: Context, made: t.Sequence[Change], number: int, total: int) -> None:
    """A line for each change, or for many of them a line now and then."""
    if total <= MOST_LINES:
        for change in made:
            context.listener.event(f"{change.object_name}: {change.verb} ({change.reason})", done=number, total=total)
    elif number == total or number % EVERY == 0:
        context.listener.event(f"{number} of {total} namespaces done", done=number, total=total)


def _resource(wanted: Wanted) -> Resource:
    return CLUSTER_ROLE_BINDINGS if wanted.kind == "ClusterRoleBinding" else ROLE_BINDINGS


def _apply_place(cluster: Cluster, wanted: Wanted, place: str, changes: t.Sequence[Change]) -> list[Change]:
    made: list[Change] = []
    for _attempt in range(ATTEMPTS):
        try:
            for change in changes:
                _write(cluster, wanted, change)
                made.append(change)
            return made
        except ApiError as error:
            gone = error.status == 404 and change.verb == "patch"
            if not gone and not isinstance(error, Conflict):
                raise
            changes = _planned_anew(cluster, wanted, place)
    raise PreconditionFailed(
        f"{wanted.kind} {place + '/' if place else ''}{wanted.name} is being written by somebody else all the time. Try again.",
    )


def _planned_anew(cluster: Cluster, wanted: Wanted, place: str) -> list[Change]:
    resource, namespace = _resource(wanted), place or None
    existing = cluster.get(resource, wanted.name, namespace=namespace)
    interim = cluster.get(resource, binding_plan.interim_name(wanted.name), namespace=namespace)
    if interim is not None and not binding_plan.is_interim(interim, wanted.name):
        raise PreconditionFailed(
            f"{wanted.kind} {interim['metadata']['name']} is not ours, and its name is needed to replace {wanted.name}. "
            "Choose another name, or rename it."
        )
    try:
        return plan_binding(wanted, place, existing, interim)
    except RoleRefConflict as conflict:
        _refuse_conflicts(wanted, [conflict])
        raise


def _write(cluster: Cluster, wanted: Wanted, change: Change) -> None:
    """One change. Raises Conflict when the object is not what the change was planned for."""
    resource, namespace = _resource(wanted), change.namespace or None
    if change.verb == "delete":
        # What others added since it was read must not be lost. An interim binding that this very run made has no identity
        # in the plan; its name is enough then.
        read = (change.before or {}).get("metadata") or {}
        version = read.get("resourceVersion")
        cluster.delete(resource, change.name, namespace=namespace, uid=read.get("uid"), resource_version=version)
        return
    body = change.after or {}
    if change.verb == "create":
        try:
            cluster.create(resource, body)
        except ApiError as error:
            if error.status == 404 and 'namespaces "' not in error.message:
                raise PreconditionFailed(
                    f"{error.message}. ClusterRole {MIGRATE_ROLE} does not exist yet, and before the update only a user with the verb bind on it "
                    "(a cluster-admin has it) can bind it."
                ) from error
            raise
        return
    version = body["metadata"].get("resourceVersion")
    patch = {"metadata": {"resourceVersion": version}, "subjects": body["subjects"]}
    cluster.merge_patch(resource, change.name, patch, namespace=namespace)


def _outcome(
    wanted: Wanted, observed: Observed, planned: Plan, changes: t.Sequence[Change], held: t.Mapping[str, list[Json]]
) -> Outcome:
    verbs = Counter(change.verb for change in changes)
    touched = {change.namespace for change in changes}
    places = [place for place in observed.places if place not in observed.missing]
    bindings = [
        {
            "namespace": place,
            "name": wanted.name,
            "subjects": [binding_subjects.text_of(subject) for subject in held[place]],
        }
        for place in places
        if held[place]
    ]
    summary = {
        "namespaces": len(places) if wanted.kind == "RoleBinding" else 0,
        "created": verbs["create"],
        "patched": verbs["patch"],
        "deleted": verbs["delete"],
        "unchanged": len([place for place in places if place not in touched]),
    }
    inert = not observed.role_exists
    result = {"bindings": bindings, "inert": inert}
    return Outcome(bool(changes), _sentence(wanted, places, touched, inert), summary=summary, result=result)


def _sentence(wanted: Wanted, places: t.Sequence[str], touched: t.Collection[str], inert: bool) -> str:
    where = (
        "the whole cluster"
        if wanted.kind == "ClusterRoleBinding"
        else f"{len(places)} namespace{'s' if len(places) != 1 else ''}"
    )
    who = ", ".join(binding_subjects.text_of(subject) for subject in wanted.subjects) or "everybody"
    changed = f"{len(touched)} changed" if touched else "nothing to change"
    if wanted.state == "absent":
        return f"{MIGRATE_ROLE} is not bound to {who} by {wanted.name} in {where} ({changed})."
    only = " and nobody else" if wanted.state == "exact" else ""
    later = ", from the update on" if inert else ""
    return f"{MIGRATE_ROLE} is bound to {who}{only} by {wanted.name} in {where}{later} ({changed})."


VERB = Verb("migrate_role_binding", spec, observe, plan, report, apply)
