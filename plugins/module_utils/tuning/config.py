# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb live_migration_config: the settings of live migration, for good or for a while. Private to this collection."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass, field

from .._cluster.resources import KUBEVIRTS, MIGRATION_POLICIES
from .._errors import Conflict, Forbidden, OptionError, PreconditionFailed
from .._networks.fitness import ACCEPTABLE
from .._networks.reading import MigrationNetwork, look
from .._options import ArgumentSpec, wait_spec
from .._plan import Change, Json, Outcome, Plan
from .._verb import Context, Options, Verb
from . import foreseeing
from . import network as networks
from .effective import configured, differences, settings, taken_over
from .fields import BY_OPTION, DEFAULTS, FIELDS, Value, cautions, checked, same
from .following import follow
from .profiles import Scene
from .served import config_of, defaults_of, hyperconverged_of, patch_of, resource_of
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
            "accepted_network_problems": {"type": "list", "elements": "str", "choices": list(ACCEPTABLE), "default": []},
            "take_over": {"type": "bool", "default": False},
        }
    ).merge(foreseeing.spec()).merge(wait_spec(600))


@dataclass
class Observed:
    """The HyperConverged with what follows from it. C(moment) is RFC 3339, C(network) the one that is asked for, or else the one that is set.

    C(scene) is there for a profile or a prediction.
    """

    hyperconverged: Json
    kubevirt: Json | None = None
    policies: list[Json] = field(default_factory=list)
    holder: str = "?"
    moment: str = ""
    network: MigrationNetwork | None = None
    defaults: t.Mapping[str, Value] = field(default_factory=lambda: DEFAULTS)
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
    found.defaults = defaults_of(cluster, found.hyperconverged)
    is_set = taken_over(found.kubevirt)["network"]
    network = wanted.get("network") or is_set
    if network:
        found.network = look(cluster, found.namespace, str(network), network == is_set)
    return found


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
    changed = {key: value for key, value in wanted.items() if not same(key, current.get(key), value, observed.defaults)}
    warnings += _network_warnings(observed, options, changed)
    if options["state"] == TEMPORARY and changed:
        after = (record or Record(observed.holder, observed.moment)).with_more(current, changed)
    warnings += cautions({key: observed.defaults[key] if value is None else value for key, value in {**current, **wanted}.items()} if wanted else {})
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


def _network_warnings(observed: Observed, options: Options, changed: t.Mapping[str, Value]) -> list[str]:
    """Of the network that holds afterwards. Raises PreconditionFailed for one that is asked for, is another than before and can't do."""
    network = observed.network
    if network is None or ("network" in changed and changed["network"] != network.name):
        return []
    if "network" in changed and options["state"] != RESTORED:
        return networks.refuse(network, options["accepted_network_problems"])
    return networks.warnings(network)


def _change(
    observed: Observed, changed: t.Mapping[str, Value], current: t.Mapping[str, Value], record: Record | None, after: Record | None, state: str
) -> Change:
    shown = [f"{key} {_said(observed.defaults[key], current.get(key))} -> {_said(observed.defaults[key], value)}" for key, value in changed.items()]
    what = {PRESENT: "", TEMPORARY: "for a while: ", RESTORED: "put back: "}[state]
    reason = what + (", ".join(shown) or "only the record is removed, the settings are what they were")
    before = patch_of(observed.hyperconverged, {key: current.get(key) for key in changed})
    then = patch_of(observed.hyperconverged, changed)
    if after != record:
        before["metadata"] = {"annotations": {RECORD: record.text() if record else None}}
        then["metadata"] = {"annotations": {RECORD: after.text() if after else None}}
    return Change("patch", "HyperConverged", observed.namespace, observed.name, reason, before, then)


def _said(default: Value, value: Value) -> str:
    return f"{default if default is not None else 'nothing'} (default)" if value is None else str(value)


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
            observed.hyperconverged = context.cluster.merge_patch(resource_of(observed.hyperconverged), observed.name, patch, observed.namespace)
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
        rolls = _rolls(observed, done, context.options)
        observed.kubevirt = follow(context, observed.namespace, observed.hyperconverged, rolls)
        _verify(context, observed, rolls)
    return _outcome(observed, done, done.changes[0].reason if done.changes else "")


def _rolls(observed: Observed, done: Plan, options: Options) -> bool:
    """Whether virt-handler has to run with the network: where that is changed, and where it is asked for, since a run before may have been killed."""
    version = observed.hyperconverged.get("apiVersion")
    return "network" in checked(options) or any("network" in config_of({**(change.after or {}), "apiVersion": version}) for change in done.changes)


def _verify(context: Context, observed: Observed, rolls: bool) -> None:
    """Whether migrations use the network that is set now. Raises VirtError where it was asked for and virt-handler has no address of it."""
    name = taken_over(observed.kubevirt)["network"]
    if not name:
        observed.network = None
    elif observed.network is None or observed.network.name != name:
        observed.network = look(context.cluster, observed.namespace, str(name), True)
    if observed.network is not None and rolls:
        networks.verify(context.cluster, observed.network)


def _outcome(observed: Observed, planned: Plan, reason: str) -> Outcome:
    found = differences(observed.hyperconverged, observed.kubevirt)
    record = record_of(observed.hyperconverged)
    msg = f"HyperConverged {observed.namespace}/{observed.name}: {reason or 'nothing to change'}."
    result = {
        "settings": settings(observed.hyperconverged, observed.kubevirt, observed.policies, observed.defaults),
        "differences": [one.to_dict() for one in found], "temporary": record.to_dict() if record else None,
        "network": networks.described(observed.network) if observed.network is not None else None,
        "profile": planned.facts.get("profile"), "predictions": planned.facts.get("predictions", []),
    }
    outcome = Outcome(not planned.empty, msg, summary={"changes": len(planned.changes), "differences": len(found)}, result=result)
    outcome.warnings = [one.sentence() for one in found]
    outcome.lines = list(planned.facts.get("lines", ()))
    use = observed.network.use if observed.network is not None else None
    if use is not None and use.is_used is False:
        outcome.warnings.append(f"network: {use.sentence()}.")
    return outcome


VERB = Verb("live_migration_config", spec, observe, plan, report, apply)
