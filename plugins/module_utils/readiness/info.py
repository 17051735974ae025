# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb readiness_info: what stands in the way of live migrations and of drains. Private to this collection."""

from __future__ import annotations

import typing as t
from collections import Counter

from .._cluster.decoding import without_cycles
from .._cluster.resources import MACHINE_CONFIG_POOLS
from .._errors import OptionError
from .._migrations.guests import given_loads
from .._migrations.links import given_link
from .._options import ArgumentSpec, loads_spec
from .._placement.room import Room
from .._plan import Json, Outcome, Plan
from .._pool import allowed_away
from .._verb import Context, Options, Verb
from . import budgets, convergence, migrations, network, nodes, policies, room, settings, surroundings, virtual_machines
from .facts import Facts, read
from .finding import BLOCKER, IDS, SEVERITIES, Finding, in_order


class Observed(t.NamedTuple):
    """The facts, and how many nodes are drained at once."""

    facts: Facts
    at_once: int


def spec() -> ArgumentSpec:
    """The options of the verb."""
    return ArgumentSpec(
        {
            "nodes_at_once": {"type": "int"},
            "machine_config_pool": {"type": "str", "default": "worker"},
            "accepted": {"type": "list", "elements": "str", "default": []},
        }
    ).merge(loads_spec())


def observe(context: Context) -> Observed:
    """Everything once. Raises OptionError for options that can't be."""
    options = context.options
    for one in options["accepted"]:
        if one.partition(":")[0] not in IDS:
            raise OptionError(f"accepted: {one} is no id of a finding; they are {', '.join(sorted(IDS))}, each alone or as ID:NAMESPACE/NAME.")
    at_once = options["nodes_at_once"]
    if at_once is not None and at_once < 1:
        raise OptionError(f"nodes_at_once is {at_once}; it must be 1 at least.")
    loads = given_loads(options["loads"])
    given_link(options["link_speed"])
    facts = read(context.cluster, loads, options["link_speed"])
    facts.network = network.read(context.cluster, facts)
    if at_once is None:
        pool = context.cluster.get(MACHINE_CONFIG_POOLS, options["machine_config_pool"])
        at_once = allowed_away(pool, len(nodes.with_virt_handler(facts)))
    return Observed(facts, at_once)


def findings(facts: Facts, available: Room, at_once: int) -> list[Finding]:
    """All of them, the gravest first. Pure. C(available) is the room that the facts leave."""
    found = [
        *settings.check(facts), *virtual_machines.check(facts), *nodes.check(facts), *migrations.check(facts), *budgets.check(facts),
        *policies.check(facts), *convergence.check(facts), *network.check(facts), *room.check(facts, available, at_once),
        *surroundings.check(facts.surroundings, facts.home()),
    ]
    return in_order(found)


def plan(_observed: Observed, _options: Options) -> Plan:
    """Nothing is ever changed."""
    return Plan()


@without_cycles()
def report(observed: Observed, _planned: Plan, options: Options) -> Outcome:
    """The findings, and the verdict: ready when no blocker is left that was not accepted."""
    accepted = frozenset(options["accepted"])
    available = observed.facts.room()
    described = [one.to_dict(accepted) for one in findings(observed.facts, available, observed.at_once)]
    open_ones = [one for one in described if not one["accepted"]]
    by_severity = Counter(one["severity"] for one in open_ones)
    ready = not by_severity[BLOCKER]
    spare = room.spare_memory(available, observed.at_once)
    numbers = {severity: by_severity[severity] for severity in SEVERITIES}
    there = nodes.with_virt_handler(observed.facts)
    summary: Json = {**numbers, "accepted": len(described) - len(open_ones), "vms": len(observed.facts.instances), "nodes": len(there)}
    text = ", ".join(f"{number} {severity}{'s' if number != 1 else ''}" for severity, number in numbers.items())
    outcome = Outcome(False, f"{'Ready' if ready else 'Not ready'}: {text}, {summary['accepted']} accepted.", summary=summary)
    outcome.result = {"ready": ready, "findings": described, "spare_memory": spare.to_dict(), "unused_acceptances": _unused(accepted, described)}
    outcome.result["versions"] = observed.facts.surroundings.versions()
    outcome.lines = [_line(one) for one in described]
    return outcome


def _unused(accepted: t.Iterable[str], described: t.Sequence[Json]) -> list[str]:
    """What was accepted and is not there (any more)."""
    there = {one["id"] for one in described} | {f"{one['id']}:{'/'.join(filter(None, (one['namespace'], one['name'])))}" for one in described}
    return sorted(one for one in accepted if one not in there)


def _line(one: Json) -> str:
    mark = "accepted" if one["accepted"] else one["severity"]
    return f"{mark:<8} {one['id']:<24} {one['text']}"


def apply(_context: Context, observed: Observed, planned: Plan) -> Outcome:
    """As the report; reading is all there is."""
    return report(observed, planned, _context.options)


VERB = Verb("readiness_info", spec, observe, plan, report, apply, read_only=True)
