# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb migration_info: the migrations of a cluster, and why they are where they are. Private to this collection."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass

from .._errors import OptionError
from .._migrations.reasons import own_state
from .._migrations.standing import slots
from .._migrations.state import Key, failed, is_final, vmi_key
from .._options import ArgumentSpec
from .._plan import Json, Outcome, Plan
from .._verb import Context, Options, Verb
from . import listing
from .reading import read_events, read_instances, read_limits, read_migrations, read_transfers


@dataclass
class Observed:
    """What is shown, and against what."""

    shown: list[Json]
    around: listing.Around
    by_vm: dict[Key, list[Json]]
    warnings: list[str]


def spec() -> ArgumentSpec:
    """The options of the verb."""
    return ArgumentSpec(
        {
            "namespace": {"type": "str"},
            "names": {"type": "list", "elements": "str", "default": [], "aliases": ["name", "vm"]},
            "node": {"type": "str"},
            "phases": {"type": "list", "elements": "str", "default": [], "choices": list(listing.PHASES)},
            "run": {"type": "str"},
            "events": {"type": "bool", "default": True},
            "metrics_path": {"type": "str"},
        },
    )


def _filter(options: Options) -> listing.Filter:
    return listing.Filter(tuple(options["names"]), options["node"] or "", tuple(options["phases"]), options["run"] or "")


def observe(context: Context) -> Observed:
    """Migrations once, instances only of those that need them, events only when there is something to explain."""
    options, cluster = context.options, context.cluster
    path, namespace = options["metrics_path"] or "", options["namespace"] or ""
    if path and not path.startswith("/"):
        raise OptionError(f"metrics_path: {path} is no path of the API server; it begins with a slash.")
    read = read_migrations(cluster, namespace)
    known, warnings = read_limits(cluster)
    wanted = _filter(options)
    shown = [one for one in read.items if (not namespace or vmi_key(one)[0] == namespace) and listing.matches(one, wanted)]
    unfinished = [one for one in read.items if not is_final(one)]
    # An ended migration has its own copy of the state, unless it failed before it had a target.
    needed = {vmi_key(one) for one in unfinished} | {vmi_key(one) for one in shown if failed(one) and not _tells(one)}
    vmis = read_instances(cluster, needed)
    taken = slots(known, read.items, lambda key: str((vmis.get(key, {}).get("status") or {}).get("nodeName") or "")) if read.everywhere else None
    around = listing.Around(listing.latest_moment(read.items, datetime.datetime.now(datetime.UTC)), known, taken, vmis)
    if options["events"] and any(not is_final(one) or (failed(one) and not _tells(one)) for one in shown):
        around.events = read_events(cluster, namespace or None)
    if path:
        around.transfers = read_transfers(cluster, path)
    return Observed(shown, around, listing.by_vm(read.items), [*read.warnings, *warnings])


def _tells(migration: Json) -> bool:
    return bool(own_state(migration, None).get("failureReason"))


def plan(observed: Observed, _options: Options) -> Plan:
    """Nothing is ever changed."""
    return Plan(warnings=tuple(observed.warnings))


def report(observed: Observed, _planned: Plan, options: Options) -> Outcome:
    """The list, those under way first, then the newest."""
    described = [listing.describe(one, observed.around, observed.by_vm[vmi_key(one)]) for one in observed.shown]
    described = [one for one in described if listing.of_node(one, options["node"] or "")]
    described.sort(key=lambda one: (str(one["created"]), one["namespace"], one["name"]), reverse=True)
    described.sort(key=lambda one: one["phase"] in ("Succeeded", "Failed"))
    numbers = listing.summary(described, observed.around.taken)
    outcome = Outcome(False, _sentence(numbers), summary=numbers, result={"migrations": described, "slots": listing.describe_slots(observed.around.taken)})
    outcome.result["limits"] = _limits(observed)
    return outcome


def _limits(observed: Observed) -> Json:
    known = observed.around.limits
    return {
        "parallel_migrations_per_cluster": known.per_cluster, "parallel_outbound_migrations_per_node": known.per_node,
        "bandwidth_per_migration": known.bandwidth, "completion_timeout_per_gib": known.completion_seconds_per_gib,
        "progress_timeout": known.progress_seconds, "allow_auto_converge": known.auto_converge, "allow_post_copy": known.post_copy, "network": known.network,
    }


def _sentence(numbers: t.Mapping[str, t.Any]) -> str:
    free = numbers["slots_free"]
    left = f"; {free} slot{'s are' if free != 1 else ' is'} free" if free is not None else ""
    return (
        f"{numbers['migrations']} migrations of {numbers['vms']} VMs: {numbers['active']} under way, {numbers['waiting']} waiting, "
        f"{numbers['succeeded']} succeeded, {numbers['failed']} failed{left}."
    )


def _apply(context: Context, observed: Observed, planned: Plan) -> Outcome:
    return report(observed, planned, context.options)


VERB = Verb("migration_info", spec, observe, plan, report, _apply, read_only=True)
