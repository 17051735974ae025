# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb migrate_role_aggregation: the documented way back for good. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._cluster.resources import CLUSTER_ROLES
from .._errors import PreconditionFailed
from .._options import ArgumentSpec, wait_spec
from .._plan import Change, Outcome, Plan
from .._verb import Context, Options, Verb
from . import aggregated
from .roles import AGGREGATE_VALUE, MIGRATE_ROLE, TARGETS, Json, aggregate_label, selects


@dataclass(frozen=True)
class Observed:
    """The ClusterRole kubevirt.io:migrate with the roles it may be aggregated into."""

    roles: dict[str, Json]

    @property
    def migrate(self) -> Json | None:
        return self.roles.get(MIGRATE_ROLE)


def spec() -> ArgumentSpec:
    """The options of the verb."""
    return ArgumentSpec(
        {
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "aggregate_to": {"type": "list", "elements": "str", "choices": list(TARGETS)},
            "when_missing": {"type": "str", "choices": ["fail", "skip"], "default": "fail"},
        }
    ).merge(wait_spec(60))


def targets_of(options: Options) -> list[str]:
    """The roles that are meant: admin to give, both to take back, unless the options say otherwise."""
    given = options["aggregate_to"]
    if given is not None:
        return [target for target in TARGETS if target in given]
    return ["admin"] if options["state"] == "present" else list(TARGETS)


def reached(targets: t.Iterable[str]) -> list[str]:
    """The roles that get the rules: what is aggregated to edit reaches admin too."""
    asked = set(targets)
    return [name for name in TARGETS if name in asked or (name == "admin" and "edit" in asked)]


def observe(context: Context) -> Observed:
    """The roles that matter, by name to give and all of them to take back, since others may give the same rules."""
    if context.options["state"] == "absent":
        return Observed(aggregated.by_name(context.cluster.list(CLUSTER_ROLES).items))
    roles: dict[str, Json] = {}
    for name in (MIGRATE_ROLE, *reached(targets_of(context.options))):
        role = context.cluster.get(CLUSTER_ROLES, name)
        if role is not None:
            roles[name] = role
        elif name == MIGRATE_ROLE:
            break
    return Observed(roles)


def plan(observed: Observed, options: Options) -> Plan:
    """The labels to set or to remove. Raises PreconditionFailed when the role does not exist and that is not accepted."""
    role = observed.migrate
    if role is None:
        return _without_role(options)
    labels = role["metadata"].get("labels") or {}
    changed: dict[str, str | None] = {}
    reasons: list[str] = []
    for target in targets_of(options):
        label = aggregate_label(target)
        if options["state"] == "present" and labels.get(label) != AGGREGATE_VALUE:
            changed[label] = AGGREGATE_VALUE
            was = f', was "{labels[label]}"' if label in labels else ""
            reasons.append(f'label {label} set to "{AGGREGATE_VALUE}"{was}')
        elif options["state"] == "absent" and label in labels:
            changed[label] = None
            reasons.append(f"label {label} removed")
    if options["state"] == "present":
        _refuse_unselected(
            observed, {**labels, **{key: str(value) for key, value in changed.items()}}, targets_of(options)
        )
    if not changed:
        return Plan()
    before = {"metadata": {"labels": dict(labels)}}
    after_labels = {key: value for key, value in {**labels, **changed}.items() if value is not None}
    change = Change(
        "patch", "ClusterRole", "", MIGRATE_ROLE, "; ".join(reasons), before, {"metadata": {"labels": after_labels}}
    )
    return Plan((change,))


def _without_role(options: Options) -> Plan:
    if options["state"] == "absent":
        return Plan()
    text = f"ClusterRole {MIGRATE_ROLE} does not exist: KubeVirt makes it in the update to OKD Virtualization 4.19"
    if options["when_missing"] == "skip":
        return Plan(warnings=(f"{text}, so there is nothing to label yet",))
    raise PreconditionFailed(
        f"{text}. Run this after the update, or set when_missing to skip. To keep live migration during the update use "
        "temporary_migrate_role.",
        role=MIGRATE_ROLE,
    )


def _refuse_unselected(observed: Observed, labels: t.Mapping[str, str], targets: t.Iterable[str]) -> None:
    for target in targets:
        if not selects(observed.roles.get(target), labels):
            raise PreconditionFailed(
                f'ClusterRole {target} does not select the label {aggregate_label(target)}: "{AGGREGATE_VALUE}" (aggregationRule), so it would '
                "never get the rules. Restore its aggregationRule first. Nothing was changed.",
                role=target,
            )


def report(observed: Observed, planned: Plan, options: Options) -> Outcome:
    """What a run would do."""
    labels = next((change.after["metadata"]["labels"] for change in planned.changes if change.after), None)
    return _outcome(observed, planned, options, labels)


def apply(context: Context, observed: Observed, planned: Plan) -> Outcome:
    """Set the labels and wait until the aggregated roles follow."""
    roles, options = dict(observed.roles), context.options
    for change in planned.changes:
        wanted = (change.after or {})["metadata"]["labels"]
        had = (change.before or {})["metadata"]["labels"]
        patch = {key: wanted.get(key) for key in {**had, **wanted} if had.get(key) != wanted.get(key)}
        roles[MIGRATE_ROLE] = context.cluster.merge_patch(CLUSTER_ROLES, MIGRATE_ROLE, {"metadata": {"labels": patch}})
        context.listener.event(f"{change.object_name}: {change.reason}")
    if options["wait"] and MIGRATE_ROLE in roles:
        rules = roles[MIGRATE_ROLE].get("rules") or []
        condition = aggregated.rules_arrived if options["state"] == "present" else aggregated.rules_left
        missing = condition(reached(targets_of(options)), rules)
        if missing(roles):
            roles = aggregated.wait(
                context.cluster, missing, context.deadline(options["wait_timeout"]), context.listener
            )
    return _outcome(Observed(roles), planned, options, None)


def _outcome(observed: Observed, planned: Plan, options: Options, labels: Json | None) -> Outcome:
    role = observed.migrate
    if labels is None:
        labels = (role or {}).get("metadata", {}).get("labels") or {}
    holders = [target for target in TARGETS if labels.get(aggregate_label(target)) == AGGREGATE_VALUE]
    if role is None:
        msg = f"ClusterRole {MIGRATE_ROLE} does not exist; nothing to do."
    elif holders:
        msg = f"ClusterRole {MIGRATE_ROLE} is aggregated into {' and '.join(holders)}."
    else:
        msg = f"ClusterRole {MIGRATE_ROLE} is aggregated into no role."
    result = {"role": {"name": MIGRATE_ROLE, "exists": role is not None, "aggregate_to": holders}}
    return Outcome(not planned.empty, msg, summary={"changes": len(planned.changes)}, result=result)


VERB = Verb("migrate_role_aggregation", spec, observe, plan, report, apply)
