# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb migration_policy: other settings for some VMs, and for which of them they hold. Private to this collection."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from .._cluster.resources import MIGRATION_POLICIES, NAMESPACES, VIRTUAL_MACHINE_INSTANCES
from .._errors import Forbidden, OptionError
from .._migrations.policies import matches
from .._options import ArgumentSpec
from .._plan import Change, Json, Outcome, Plan
from .._verb import Context, Options, Verb
from .fields import check_bandwidth, check_number, same

_FIELDS = {
    "allow_auto_converge": "allowAutoConverge", "allow_post_copy": "allowPostCopy", "allow_workload_disruption": "allowWorkloadDisruption",
    "bandwidth_per_migration": "bandwidthPerMigration", "completion_timeout_per_gib": "completionTimeoutPerGiB",
}
_SELECTORS = {"namespace_selector": "namespaceSelector", "virtual_machine_instance_selector": "virtualMachineInstanceSelector"}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def spec() -> ArgumentSpec:
    """The options of the verb."""
    return ArgumentSpec(
        {
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "namespace_selector": {"type": "dict", "default": {}},
            "virtual_machine_instance_selector": {"type": "dict", "default": {}},
            "match_all": {"type": "bool", "default": False},
            "allow_auto_converge": {"type": "bool"},
            "allow_post_copy": {"type": "bool"},
            "allow_workload_disruption": {"type": "bool"},
            "bandwidth_per_migration": {"type": "str"},
            "completion_timeout_per_gib": {"type": "int"},
        }
    )


@dataclass
class Observed:
    """All policies, and of each VM that runs its labels and those of its namespace; None where they can't be read."""

    policies: list[Json]
    vms: list[tuple[str, str, Json, Json]] | None = None
    warnings: list[str] = field(default_factory=list)

    def policy(self, name: str) -> Json | None:
        return next((one for one in self.policies if one["metadata"]["name"] == name), None)


def checked(options: Options) -> Json:
    """The spec that is asked for. Raises OptionError."""
    name = options["name"]
    if not _NAME.fullmatch(name):
        raise OptionError(f"name is {name!r}, no name that Kubernetes takes.")
    if options["bandwidth_per_migration"] is not None:
        check_bandwidth(options["bandwidth_per_migration"])
    if options["completion_timeout_per_gib"] is not None:
        check_number("completion_timeout_per_gib", options["completion_timeout_per_gib"])
    selectors = {key: {label: str(value) for label, value in options[option].items()} for option, key in _SELECTORS.items() if options[option]}
    if options["state"] == "present":
        if not selectors and not options["match_all"]:
            raise OptionError("namespace_selector and virtual_machine_instance_selector are empty: that selects every VM. Set match_all if it is meant.")
        if selectors and options["match_all"]:
            raise OptionError("match_all is set, and so are selectors; it can't be both.")
        if all(options[option] is None for option in _FIELDS):
            raise OptionError(f"No setting is given: the policy would change nothing. Give one of {', '.join(_FIELDS)}.")
    return {"selectors": selectors} | {key: options[option] for option, key in _FIELDS.items() if options[option] is not None}


def observe(context: Context) -> Observed:
    """Policies, and the VMs that they may hold for."""
    checked(context.options)
    cluster = context.cluster
    found = Observed(cluster.list(MIGRATION_POLICIES).items)
    if context.options["state"] == "absent":
        return found
    try:
        labels = {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in cluster.list(NAMESPACES, metadata_only=True).items}
        instances = cluster.list(VIRTUAL_MACHINE_INSTANCES, metadata_only=True).items
    except Forbidden as error:
        found.warnings.append(f"For which VMs the policy holds is not known, since namespaces and VMs can't be listed: {error.message}")
        return found
    found.vms = [
        (one["metadata"]["namespace"], one["metadata"]["name"], one["metadata"].get("labels") or {}, labels.get(one["metadata"]["namespace"], {}))
        for one in instances
    ]
    return found


def plan(observed: Observed, options: Options) -> Plan:
    """What to write, with the VMs that it reaches as facts."""
    name, wanted, now = options["name"], checked(options), observed.policy(options["name"])
    if options["state"] == "absent":
        return Plan() if now is None else Plan((Change("delete", "MigrationPolicy", "", name, "as asked", {"spec": now.get("spec") or {}}, None),))
    reach = held(observed, name, wanted)
    warnings = [*observed.warnings, *_warnings(reach, wanted)]
    spec_now = (now or {}).get("spec")
    if spec_now is not None and _alike(spec_now, wanted):
        return Plan((), tuple(warnings), reach)
    verb = "create" if now is None else "patch"
    before = None if now is None else {"spec": spec_now}
    return Plan((Change(verb, "MigrationPolicy", "", name, _reason(wanted), before, {"spec": wanted}),), tuple(warnings), reach)


def _reason(wanted: Json) -> str:
    return ", ".join(f"{key} {wanted[key]}" for key in _FIELDS.values() if key in wanted)


def _alike(now: Json, wanted: Json) -> bool:
    selectors = {key: value for key, value in (now.get("selectors") or {}).items() if value}
    if now.get("selectors") is None or selectors != wanted["selectors"]:
        return False
    return all((key in now) == (key in wanted) and same(key, now.get(key), wanted.get(key)) for key in _FIELDS.values())


def held(observed: Observed, name: str, wanted: Json) -> Json:
    """For which VMs the policy holds, which it selects in vain, and where only its name decides. Empty where VMs can't be read."""
    if observed.vms is None:
        return {}
    policies = [one for one in observed.policies if one["metadata"]["name"] != name] + [{"metadata": {"name": name}, "spec": wanted}]
    holds: list[str] = []
    overruled: list[Json] = []
    ties: list[Json] = []
    for namespace, vm, labels, of_namespace in observed.vms:
        found = matches(policies, labels, of_namespace)
        mine = next((one for one in found if one.name == name), None)
        if mine is None:
            continue
        if found[0] is mine:
            holds.append(f"{namespace}/{vm}")
        else:
            overruled.append({"vm": f"{namespace}/{vm}", "by": found[0].name})
        ties += [{"vm": f"{namespace}/{vm}", "with": one.name} for one in found if one is not mine and one.ties_with(mine)]
    return {"holds_for": sorted(holds), "overruled": overruled, "ties": ties}


def _warnings(reach: Json, wanted: Json) -> t.Iterator[str]:
    if reach and not reach["holds_for"] and not reach["overruled"]:
        yield "The policy selects no VM that runs now."
    for other in sorted({one["with"] for one in reach.get("ties", ())}):
        number = sum(1 for one in reach["ties"] if one["with"] == other)
        yield f"Between this policy and {other} only the names decide for {number} VMs: the first in the alphabet holds. List one more label in one of them."
    if reach.get("overruled"):
        by = ", ".join(sorted({one["by"] for one in reach["overruled"]}))
        yield f"For {len(reach['overruled'])} of the VMs that it selects another policy holds ({by}), which lists more of their labels."
    if wanted.get("allowPostCopy"):
        yield "allow_post_copy: if either node or the network fails while the rest of a VM's memory follows, the VM is lost."


def report(_observed: Observed, planned: Plan, options: Options) -> Outcome:
    """What a run would do."""
    return _outcome(planned, options)


def apply(context: Context, observed: Observed, planned: Plan) -> Outcome:
    """Write it. Raises Conflict when somebody else has changed or made it in between."""
    for change in planned.changes:
        if change.verb == "create":
            body = {"apiVersion": MIGRATION_POLICIES.api_version, "kind": "MigrationPolicy", "metadata": {"name": change.name}, **(change.after or {})}
            context.cluster.create(MIGRATION_POLICIES, body)
        elif change.verb == "delete":
            context.cluster.delete(MIGRATION_POLICIES, change.name)
        else:
            _replace(context, t.cast(Json, observed.policy(change.name)), change)
        context.listener.event(f"{change.object_name}: {change.verb}, {change.reason}")
    return _outcome(planned, context.options)


def _replace(context: Context, now: Json, change: Change) -> None:
    wanted = (change.after or {})["spec"]
    gone = dict.fromkeys(key for key in _FIELDS.values() if key in now["spec"] and key not in wanted)
    selectors = {}
    for key in _SELECTORS.values():
        old, new = (now["spec"].get("selectors") or {}).get(key) or {}, wanted["selectors"].get(key) or {}
        selectors[key] = dict.fromkeys(label for label in old if label not in new) | new
    patch = {"metadata": {"resourceVersion": now["metadata"]["resourceVersion"]}, "spec": {**wanted, **gone, "selectors": selectors}}
    context.cluster.merge_patch(MIGRATION_POLICIES, change.name, patch)


def _outcome(planned: Plan, options: Options) -> Outcome:
    what = planned.changes[0].reason if planned.changes else "nothing to change"
    reach = {"holds_for": [], "overruled": [], "ties": [], **planned.facts}
    summary = {"changes": len(planned.changes), "vms": len(reach["holds_for"]), "overruled": len(reach["overruled"]), "ties": len(reach["ties"])}
    return Outcome(not planned.empty, f"MigrationPolicy {options['name']}: {what}.", summary=summary, result=reach)


VERB = Verb("migration_policy", spec, observe, plan, report, apply)
