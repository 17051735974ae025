# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb live_migration_config: the settings of live migration, for good or for a while. Private to this collection."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass, field

from .._cluster.client import Cluster
from .._cluster.resources import (
    HYPERCONVERGEDS,
    KUBEVIRTS,
    MIGRATION_POLICIES,
    NETWORK_ATTACHMENT_DEFINITIONS,
)
from .._errors import Conflict, Forbidden, OptionError, PreconditionFailed
from .._options import ArgumentSpec, wait_spec
from .._plan import Change, Json, Outcome, Plan
from .._verb import Context, Options, Verb
from . import foreseeing
from .effective import configured, differences, settings
from .fields import BY_KEY, BY_OPTION, FIELDS, Value, cautions, checked, same
from .following import follow
from .profiles import Scene
from .temporary import RECORD, Record, record_of

PRESENT, TEMPORARY, RESTORED = "present", "temporary", "restored"
_TRIES = 5


def spec() -> ArgumentSpec:
    """The options of the verb."""
    return ArgumentSpec(
        {
            "state": {"type": "str", "choices": [PRESENT, TEMPORARY, RESTORED], "default": PRESENT},
            "namespace": {"type": "str"},
            **{one.option: {"type": one.type} for one in FIELDS},
            "defaults": {"type": "list", "elements": "str", "choices": list(BY_OPTION), "default": []},
            "take_over": {"type": "bool", "default": False},
        }
    ).merge(foreseeing.spec()).merge(wait_spec(600))


@dataclass
class Observed:
    """The HyperConverged with what follows from it. C(moment) is RFC 3339; C(scene) is there for a profile or a prediction."""

    hyperconverged: Json
    kubevirt: Json | None = None
    policies: list[Json] = field(default_factory=list)
    holder: str = "?"
    moment: str = ""
    network_missing: bool = False
    scene: Scene | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return str(self.hyperconverged["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.hyperconverged["metadata"]["name"])


def observe(context: Context) -> Observed:
    """The resources. Raises PreconditionFailed when there is no HyperConverged, OptionError for options that can't be."""
    cluster, options = context.cluster, context.options
    wanted = checked(options)
    foreseeing.check(options)
    if options["state"] == RESTORED and (wanted or foreseeing.is_asked(options)):
        raise OptionError("state restored puts back what stands on the HyperConverged; it takes no settings, no defaults, no profile and no loads.")
    found = Observed(hyperconverged_of(cluster, options["namespace"]))
    found.kubevirt = next(iter(cluster.list(KUBEVIRTS, found.namespace, missing_ok=True).items), None)
    try:
        found.policies = cluster.list(MIGRATION_POLICIES, missing_ok=True).items
    except Forbidden:
        found.warnings.append("MigrationPolicies can't be listed: which VMs other settings hold for is not known.")
    if foreseeing.is_asked(options):
        found.scene, warnings = foreseeing.read(cluster, options, found.kubevirt, found.namespace)
        found.warnings += warnings
    if options["state"] == TEMPORARY:
        found.holder = cluster.whoami()
        found.moment = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    network = wanted.get("network")
    if network:
        try:
            found.network_missing = cluster.get(NETWORK_ATTACHMENT_DEFINITIONS, str(network), found.namespace) is None
        except Forbidden:
            found.warnings.append(f"Whether NetworkAttachmentDefinition {found.namespace}/{network} exists is not known, since it can't be read.")
    return found


def hyperconverged_of(cluster: Cluster, namespace: str | None) -> Json:
    """The one HyperConverged of a cluster. Raises PreconditionFailed."""
    items = cluster.list(HYPERCONVERGEDS, namespace or None, missing_ok=True).items
    if len(items) != 1:
        where = f"namespace {namespace}" if namespace else "the cluster"
        raise PreconditionFailed(
            f"{where[0].upper()}{where[1:]} has {len(items) or 'no'} HyperConverged{'' if not items else 's'}; there must be exactly one. "
            "Is OKD Virtualization installed, and may you list its HyperConverged?", found=len(items),
        )
    return items[0]


def plan(observed: Observed, options: Options) -> Plan:
    """What to write. Raises PreconditionFailed when somebody's temporary settings are in the way, or the network is not there."""
    wanted, current = checked(options), configured(observed.hyperconverged)
    record = _record(observed)
    warnings = list(observed.warnings)
    facts: Json = {}
    if observed.scene is not None:
        foreseen = foreseeing.foresee(observed.scene, options, wanted)
        facts = foreseen.facts()
        warnings += foreseen.warnings()
        wanted = {**(foreseen.profile.by_key() if foreseen.profile else {}), **wanted}
    after: Record | None = record
    if options["state"] == RESTORED:
        if record is None:
            return Plan(warnings=tuple(warnings))
        wanted, kept = record.to_restore(current)
        warnings += [f"{key} is {value}, not what was set for a while: somebody has changed it since, and it stays." for key, value in kept.items()]
        after = None
    else:
        _check(observed, options, record, wanted)
    changed = {key: value for key, value in wanted.items() if not same(key, current.get(key), value)}
    if options["state"] == TEMPORARY and changed:
        after = (record or Record(observed.holder, observed.moment)).with_more(current, changed)
    warnings += cautions({key: BY_KEY[key].default if value is None else value for key, value in {**current, **wanted}.items()} if wanted else {})
    if not changed and after == record:
        return Plan((), tuple(warnings), facts)
    return Plan((_change(observed, changed, current, record, after, str(options["state"])),), tuple(warnings), facts)


def _record(observed: Observed) -> Record | None:
    try:
        return record_of(observed.hyperconverged)
    except ValueError as error:
        raise PreconditionFailed(
            f"The annotation {RECORD} of HyperConverged {observed.namespace}/{observed.name} can't be read, so that the settings before are not known. "
            "Set them yourself and remove the annotation. Nothing was changed.", annotation=str(error),
        ) from error


def _check(observed: Observed, options: Options, record: Record | None, wanted: t.Mapping[str, Value]) -> None:
    if observed.network_missing:
        raise PreconditionFailed(
            f"network: there is no NetworkAttachmentDefinition {wanted['network']} in namespace {observed.namespace}. With it virt-handler would start on no "
            "node any more. Make it there first. Nothing was changed.", code="network_missing",
        )
    if record is None or not wanted:
        return
    clash = sorted(set(wanted) & set(record.set))
    if options["state"] == PRESENT and clash:
        raise PreconditionFailed(
            f"{', '.join(clash)}: set for a while by {record.holder} since {record.since}, to be put back. Restore them first (state restored). "
            "Nothing was changed.", code="temporary", holder=record.holder,
        )
    if options["state"] == TEMPORARY and record.holder != observed.holder and not options["take_over"]:
        raise PreconditionFailed(
            f"{record.holder} has settings for a while since {record.since} ({', '.join(sorted(record.set))}). Wait until they are restored, restore them "
            "(state restored), or add to them with take_over. Nothing was changed.", code="held", holder=record.holder,
        )


def _change(
    observed: Observed, changed: t.Mapping[str, Value], current: t.Mapping[str, Value], record: Record | None, after: Record | None, state: str
) -> Change:
    shown = [f"{key} {_said(key, current.get(key))} -> {_said(key, value)}" for key, value in changed.items()]
    what = {PRESENT: "", TEMPORARY: "for a while: ", RESTORED: "put back: "}[state]
    reason = what + (", ".join(shown) or "only the record is removed, the settings are what they were")
    before: Json = {"spec": {"liveMigrationConfig": {key: current.get(key) for key in changed}}}
    then: Json = {"spec": {"liveMigrationConfig": dict(changed)}}
    if after != record:
        before["metadata"] = {"annotations": {RECORD: record.text() if record else None}}
        then["metadata"] = {"annotations": {RECORD: after.text() if after else None}}
    return Change("patch", "HyperConverged", observed.namespace, observed.name, reason, before, then)


def _said(key: str, value: Value) -> str:
    return f"{BY_KEY[key].default if BY_KEY[key].default is not None else 'nothing'} (default)" if value is None else str(value)


def report(observed: Observed, planned: Plan, options: Options) -> Outcome:
    """What a run would do."""
    return _outcome(observed, planned, planned.changes[0].reason if planned.changes else "")


def apply(context: Context, observed: Observed, planned: Plan) -> Outcome:
    """Write, and follow until KubeVirt has taken it over, virt-handler included where it is rolled out anew."""
    done = planned
    for attempt in range(_TRIES):
        if planned.empty:
            break
        change = planned.changes[0]
        version = {"resourceVersion": observed.hyperconverged["metadata"]["resourceVersion"]}
        after = change.after or {}
        patch = {**after, "metadata": {**(after.get("metadata") or {}), **version}}
        try:
            observed.hyperconverged = context.cluster.merge_patch(HYPERCONVERGEDS, observed.name, patch, observed.namespace)
        except Conflict:
            if attempt == _TRIES - 1:
                raise
            # Somebody, most often its operator, has written in between: what there is to do is looked at anew.
            observed = observe(context)
            planned = done = plan(observed, context.options)
            continue
        context.listener.event(f"{change.object_name}: {change.reason}")
        break
    if context.options["wait"]:
        rolls = any("network" in (change.after or {})["spec"]["liveMigrationConfig"] for change in done.changes)
        observed.kubevirt = follow(context, observed.namespace, observed.hyperconverged, rolls)
    return _outcome(observed, done, done.changes[0].reason if done.changes else "")


def _outcome(observed: Observed, planned: Plan, reason: str) -> Outcome:
    found = differences(observed.hyperconverged, observed.kubevirt)
    record = record_of(observed.hyperconverged)
    msg = f"HyperConverged {observed.namespace}/{observed.name}: {reason or 'nothing to change'}."
    result = {
        "settings": settings(observed.hyperconverged, observed.kubevirt, observed.policies),
        "differences": [one.to_dict() for one in found], "temporary": record.to_dict() if record else None,
        "profile": planned.facts.get("profile"), "predictions": planned.facts.get("predictions", []),
    }
    outcome = Outcome(not planned.empty, msg, summary={"changes": len(planned.changes), "differences": len(found)}, result=result)
    outcome.warnings = [one.sentence() for one in found]
    outcome.lines = list(planned.facts.get("lines", ()))
    return outcome


VERB = Verb("live_migration_config", spec, observe, plan, report, apply)
