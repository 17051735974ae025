# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb temporary_migrate_role: live migration kept across the update. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .._cluster.resources import CLUSTER_ROLES
from .._errors import ApiError, Conflict, OptionError, PreconditionFailed
from .._options import ArgumentSpec, wait_spec
from .._plan import Change, Outcome, Plan
from .._verb import Context, Options, Verb
from . import aggregated, guard, must_keep
from . import temporary_role_shape as shape
from .aggregation import reached
from .roles import AGGREGATE_VALUE, MIGRATE_ROLE, MIGRATE_RULES, TARGETS, TEMPORARY_ROLE, Json, aggregate_label, selects
from .snapshot import Snapshot, read

#: How often a role that others write at the same time is judged anew.
ATTEMPTS = 5


@dataclass(frozen=True)
class Observed:
    """The roles that were read, by name; with must_keep also everything that access follows from."""

    roles: dict[str, Json]
    name: str
    snapshot: Snapshot | None = None
    updated: bool = field(default=False)

    @property
    def role(self) -> Json | None:
        return self.roles.get(self.name)


def spec() -> ArgumentSpec:
    """The options of the verb."""
    return ArgumentSpec(
        {
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "name": {"type": "str", "default": TEMPORARY_ROLE},
            "aggregate_to": {"type": "list", "elements": "str", "choices": list(TARGETS), "default": ["admin"]},
            "must_keep": {"type": "list", "elements": "raw", "default": []},
        }
    ).merge(wait_spec(60))


def targets_of(options: Options) -> list[str]:
    """The roles that are to keep live migration, in a fixed order. Raises OptionError."""
    targets = [target for target in TARGETS if target in options["aggregate_to"]]
    if not targets:
        raise OptionError("aggregate_to is empty: name admin, edit, or both.")
    return targets


def keepers_of(options: Options) -> tuple[bool, tuple[must_keep.Keeper, ...]]:
    """Who must keep access. Raises OptionError."""
    try:
        return must_keep.parse(options["must_keep"])
    except must_keep.InvalidSubject as error:
        raise OptionError(f"{error}.") from error


def observe(context: Context) -> Observed:
    """Few roles by name to make it; all of them, and with must_keep all bindings, to delete it."""
    options = context.options
    name = options["name"]
    if options["state"] == "present":
        return _observe_present(context, name, targets_of(options))
    keepers_of(options)
    if options["must_keep"]:
        snapshot = read(context.cluster)
        return Observed(dict(snapshot.cluster_roles), name, snapshot)
    return Observed(aggregated.by_name(context.cluster.list(CLUSTER_ROLES).items), name)


def _observe_present(context: Context, name: str, targets: list[str]) -> Observed:
    roles: dict[str, Json] = {}
    for wanted in (name, *reached(targets)):
        role = context.cluster.get(CLUSTER_ROLES, wanted)
        if role is not None:
            roles[wanted] = role
    # Only a role that is made or repaired can come too late, so only then it is asked whether the update has begun.
    current = roles.get(name)
    late = current is None or bool(shape.repairs(current, targets)[0])
    updated = late and context.cluster.get(CLUSTER_ROLES, MIGRATE_ROLE) is not None
    return Observed(roles, name, updated=updated)


def plan(observed: Observed, options: Options) -> Plan:
    """What to write. Raises PreconditionFailed when this role may not be touched or would have no effect."""
    try:
        shape.refuse_shipped(observed.name, observed.role)
    except shape.NotOurs as error:
        raise PreconditionFailed(
            f"{error}; choose another name for the temporary role. Nothing was changed."
        ) from error
    role = observed.role
    if role is not None and role["metadata"].get("deletionTimestamp"):
        finalizers = ", ".join(role["metadata"].get("finalizers") or ["none"])
        raise PreconditionFailed(
            f"ClusterRole {observed.name} is being deleted and waits for its finalizers ({finalizers}). Nothing was changed."
        )
    return _plan_present(observed, options) if options["state"] == "present" else _plan_absent(observed, options)


def _plan_present(observed: Observed, options: Options) -> Plan:
    targets = targets_of(options)
    wanted = shape.body(observed.name, targets)
    for target in targets:
        if not selects(observed.roles.get(target), wanted["metadata"]["labels"]):
            raise PreconditionFailed(
                f'ClusterRole {target} does not select the label {aggregate_label(target)}: "{AGGREGATE_VALUE}" (aggregationRule), so the '
                "temporary role would have no effect. Restore its aggregationRule first. Nothing was changed.",
                role=target,
            )
    role = observed.role
    if role is None:
        change = Change("create", "ClusterRole", "", observed.name, "it does not exist", None, wanted)
        return Plan((change,), tuple(_late(observed)), {"faults": []})
    patch, faults = shape.repairs(role, targets)
    if not patch:
        return Plan((), (), {"faults": []})
    reason = "; ".join(faults)
    change = Change("patch", "ClusterRole", "", observed.name, reason, _shown(role), _shown(_merged(role, patch)))
    warnings = [*_late(observed), f"ClusterRole {observed.name} was not right: {reason}"]
    warnings += [
        f"{target} had live migration by {observed.name} and has it no longer: who is bound to {target} loses it"
        for target in shape.lost_targets(role, targets)
    ]
    return Plan((change,), tuple(warnings), {"faults": faults})


def _late(observed: Observed) -> t.Iterator[str]:
    if observed.updated:
        yield (
            f"the roles of OKD Virtualization 4.19 are in force already ({MIGRATE_ROLE} exists): until now the holders of admin and edit "
            "have been without live migration"
        )


def _plan_absent(observed: Observed, options: Options) -> Plan:
    facts: Json = {"would_lose": []}
    if observed.snapshot is not None:
        everybody, keepers = keepers_of(options)
        facts["would_lose"] = [
            loss.to_dict() for loss in guard.losses(observed.snapshot, observed.name, everybody, keepers)
        ]
    role = observed.role
    if role is None:
        return Plan((), (), facts)
    change = Change("delete", "ClusterRole", "", observed.name, "it is no longer needed", _shown(role), None)
    return Plan((change,), observed.snapshot.warnings if observed.snapshot is not None else (), facts)


def _shown(role: Json) -> Json:
    """A role as plans show it: labels, aggregation rule and rules."""
    shown: Json = {"metadata": {"labels": dict(role["metadata"].get("labels") or {})}, "rules": role.get("rules") or []}
    if role.get("aggregationRule") is not None:
        shown["aggregationRule"] = role["aggregationRule"]
    return shown


def _merged(role: Json, patch: Json) -> Json:
    """The role after a merge patch of its labels, rules and aggregation rule."""
    metadata = patch.get("metadata") or {}
    labels = {**(role["metadata"].get("labels") or {}), **(metadata.get("labels") or {})}
    kept = {key: value for key, value in labels.items() if value is not None}
    after = {**role, **{key: value for key, value in patch.items() if key != "metadata"}}
    return {**after, "metadata": {**role["metadata"], "labels": kept}}


def report(observed: Observed, planned: Plan, options: Options) -> Outcome:
    """What a run would do; subjects that would lose access are a warning here and an error in a run."""
    outcome = _outcome(observed, planned, options, present=options["state"] == "present")
    lost = planned.facts.get("would_lose")
    if lost:
        outcome.warnings.append(f"a run would refuse to go on: {_refusal(observed, lost)}")
    return outcome


def apply(context: Context, observed: Observed, planned: Plan) -> Outcome:
    """Write, and wait until aggregation has followed."""
    if context.options["state"] == "present":
        return _apply_present(context, observed, planned)
    return _apply_absent(context, observed, planned)


def _apply_present(context: Context, observed: Observed, planned: Plan) -> Outcome:
    options, cluster = context.options, context.cluster
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _write(context, observed, planned)
            break
        except ApiError as error:
            # Somebody else made, changed or deleted it meanwhile: what is there now is judged anew.
            if attempt == ATTEMPTS or (error.status != 404 and not isinstance(error, Conflict)):
                raise
            observed = observe(context)
            planned = plan(observed, options)
    if options["wait"]:
        missing = aggregated.rules_arrived(reached(targets_of(options)), MIGRATE_RULES)
        if not planned.empty or missing(observed.roles):
            aggregated.wait(cluster, missing, context.deadline(options["wait_timeout"]), context.listener)
            context.listener.event(
                f"holders of {' and '.join(reached(targets_of(options)))} have live migration by {observed.name}"
            )
    return _outcome(observed, planned, options, present=True)


def _write(context: Context, observed: Observed, planned: Plan) -> None:
    """Make or repair the role, if it is still what was judged. Raises Conflict, or ApiError 404, when it is not."""
    for change in planned.changes:
        if change.verb == "create":
            context.cluster.create(CLUSTER_ROLES, change.after or {})
        else:
            role = observed.roles[observed.name]
            patch, _faults = shape.repairs(role, targets_of(context.options))
            identity = {key: role["metadata"][key] for key in ("uid", "resourceVersion") if key in role["metadata"]}
            patch["metadata"] = {**patch.get("metadata", {}), **identity}
            context.cluster.merge_patch(CLUSTER_ROLES, observed.name, patch)
        context.listener.event(f"{change.object_name}: {change.verb} ({change.reason})")


def _refusal(observed: Observed, lost: t.Sequence[Json]) -> str:
    named = "; ".join(f"{entry['subject']} ({entry['reason']})" for entry in lost)
    if observed.role is None:
        return (
            f"ClusterRole {observed.name} is gone, and these subjects of must_keep are without live migration: {named}."
        )
    return f"Without ClusterRole {observed.name} these subjects of must_keep would be without live migration: {named}."


def _apply_absent(context: Context, observed: Observed, planned: Plan) -> Outcome:
    options, cluster = context.options, context.cluster
    lost = planned.facts["would_lose"]
    if lost:
        kept = "The role was not deleted. " if observed.role is not None else ""
        raise PreconditionFailed(
            f"{_refusal(observed, lost)} {kept}Bind them to {MIGRATE_ROLE} (migrate_role_binding) first, or take them out of must_keep.",
            would_lose=lost,
        )
    role = observed.role
    if role is not None:
        cluster.delete(CLUSTER_ROLES, observed.name, uid=role["metadata"].get("uid"))
        context.listener.event(f"ClusterRole {observed.name}: deleted")
    rules = (role or {}).get("rules") or list(MIGRATE_RULES)
    if options["wait"]:
        missing = aggregated.rules_left(TARGETS, rules)
        if role is not None or missing(observed.roles):
            aggregated.wait(cluster, missing, context.deadline(options["wait_timeout"]), context.listener)
    outcome = _outcome(observed, planned, options, present=False)
    if observed.snapshot is not None:
        everybody, keepers = keepers_of(options)
        outcome.result["proof"] = guard.prove(
            cluster, observed.snapshot, observed.name, everybody, keepers, context.listener
        )
    return outcome


def _outcome(observed: Observed, planned: Plan, options: Options, present: bool) -> Outcome:
    result: Json = {
        "role": {"name": observed.name, "exists": present, "aggregate_to": targets_of(options) if present else []}
    }
    if present:
        result["faults"] = planned.facts["faults"]
        holders = " and ".join(reached(targets_of(options)))
        verb = {"create": "made", "patch": "repaired"}.get(
            planned.changes[0].verb if planned.changes else "", "as it should be"
        )
        msg = f"ClusterRole {observed.name} is {verb}; live migration by it for {holders}."
    else:
        if observed.snapshot is not None:
            result["would_lose"] = planned.facts["would_lose"]
        msg = (
            f"ClusterRole {observed.name} is deleted."
            if planned.changes
            else f"ClusterRole {observed.name} does not exist."
        )
    return Outcome(not planned.empty, msg, summary={"changes": len(planned.changes)}, result=result)


VERB = Verb("temporary_migrate_role", spec, observe, plan, report, apply)
