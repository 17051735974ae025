# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb rolling_drain: many nodes in turn, emptied and given back. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .._cluster.resources import MACHINE_CONFIG_POOLS
from .._errors import OptionError, PreconditionFailed
from .._migrations.guests import guest_of
from .._migrations.limits import limits
from .._migrations.state import is_migratable
from .._placement.fitting import some
from .._placement.in_turn import in_turn
from .._placement.verdict import DOES_NOT_FIT, FITS
from .._plan import Change, Json, Outcome, Plan
from .._pool import allowed_away
from .._verb import Context, Options, Verb
from . import claims, rolling_outcome
from .foresight import foresee
from .gatekeeping import Gatekeeper
from .observed import Observed, look_around, name_of, observe
from .plan import check_claims, make_plan
from .rolling_request import RollingRequest, checked, spec
from .rolling_run import Rolling
from .turn_writing import TurnWriter, stamp
from .turns import DONE, DRAINING, EMPTY, POSTPONED, PREPARING, QUARANTINED, SOAKING, TO_COME, Queue, Turn, turn_of


@dataclass
class Seen:
    """What was observed, and how many nodes the pool lets be away. A step is not told of the neighbours: the plan was made before."""

    nodes: Observed
    pool_allows: int = 1


def _observe(context: Context) -> Seen:
    options = context.options
    request = checked(options)
    found = observe(context.cluster, request.drain, options["names"], options["label_selector"] or "", options["machine_config_pool"] or "")
    pool = context.cluster.get(MACHINE_CONFIG_POOLS, options["machine_config_pool"]) if options["machine_config_pool"] else None
    if not request.run:
        look_around(context.cluster, found)
    return Seen(found, allowed_away(pool, len(found.nodes)))


def _turns(seen: Seen, request: RollingRequest) -> dict[str, Turn]:
    """What the nodes say of the run that goes on. Raises PreconditionFailed when another run has taken the place of the one of which this is a step."""
    found = {name_of(node): turn for node in seen.nodes.nodes if (turn := turn_of(node))}
    runs = {turn.run for turn in found.values()}
    if request.run and request.run not in runs:
        now = f"another one ({', '.join(sorted(runs))}) is on these nodes" if runs else "it was cancelled"
        raise PreconditionFailed(f"Run {request.run} has ended: {now}. Begin anew.", code="lost")
    run = request.run or next(iter(found.values()), Turn("")).run
    found = {name: turn for name, turn in found.items() if turn.run == run}
    if not request.run:
        # A run that is taken up again gives another chance to those that were put aside.
        again = (DONE, QUARANTINED, POSTPONED) if request.restart else (QUARANTINED, POSTPONED)
        found = {name: turn for name, turn in found.items() if turn.state not in again}
    return found


def _plan(seen: Seen, options: Options) -> Plan:
    request = checked(options, seen.pool_allows)
    unknown = sorted(set(request.handed_back) - {name_of(node) for node in seen.nodes.nodes})
    if unknown:
        raise OptionError(f"handed_back: {', '.join(unknown)} is none of the nodes that are drained.")
    if not request.run:
        check_claims(seen.nodes, request.drain)
    turns = _turns(seen, request)
    changes: list[Change] = []
    facts: list[Json] = []
    refused: list[PreconditionFailed] = []
    for node in seen.nodes.nodes:
        name = name_of(node)
        turn = turns.get(name)
        if turn is not None and turn.state not in (TO_COME, DRAINING):
            facts.append({"name": name, "state": turn.state, "pods": []} | ({"code": turn.code, "reason": turn.sentence} if turn.code else {}))
            continue
        try:
            # Whether its VMs have room now says little of the time when its turn has come.
            planned = make_plan(replace(seen.nodes, nodes=[node], cluster=None), request.drain)
        except PreconditionFailed as error:
            if request.run and error.details.get("code") == "held":
                # Somebody has taken it since the last step: seen when its turn comes, and no reason to leave the others.
                facts.append({"name": name, "state": TO_COME, "pods": []})
                continue
            if error.details.get("code") != "cannot_leave":
                raise
            refused.append(error)
            facts.append({"name": name, "state": QUARANTINED, "pods": error.details["nodes"][0]["pods"], "blocked": error.details["blocked"]})
            continue
        changes += planned.changes
        facts += [{**fact, "state": TO_COME} for fact in planned.facts["nodes"]]
    # The verdict on a step comes at its end: what the site has in hand is not to be lost.
    if len(refused) > request.max_quarantined and not request.run:
        details = {**refused[0].details, "nodes": facts, "blocked": [entry for error in refused for entry in error.details["blocked"]]}
        raise PreconditionFailed(" ".join(error.message for error in refused) + f" max_quarantined is {request.max_quarantined}.", **details)
    left = [fact["name"] for fact in facts if fact["state"] not in (DONE, POSTPONED) and not (fact["state"] == QUARANTINED and "blocked" not in fact)]
    verdict, warnings = _placement(seen, request, left)
    return Plan(tuple(changes), (*seen.nodes.warnings, *warnings), {"nodes": facts} | ({"placement": verdict} if verdict else {}))


def _placement(seen: Seen, request: RollingRequest, left: t.Sequence[str]) -> tuple[str, list[str]]:
    """Whether all nodes can be emptied in turn, and what to say of it. Nothing where nodes are not given back, or the others may not be read."""
    around = seen.nodes.cluster
    if around is None or not request.uncordon or not left:
        return "", []
    moves = {key for key, vmi in seen.nodes.vmis.items() if is_migratable(vmi)}
    pods = {pod["demand"].key for pod in around.pods if pod["vm"] and pod["instance"] in moves}
    verdict, stuck = in_turn(around.nodes, around.pods, left, request.max_parallel, pods, around.namespaces)
    if verdict.code == DOES_NOT_FIT:
        over = f": {some(['/'.join(one.key) for one in verdict.crowded])} are left over" if verdict.crowded else ""
        return verdict.code, [f"Not all nodes can be emptied: the others have no places for all VMs while {stuck} is empty{over}. Make room first."]
    if verdict.code != FITS:
        return verdict.code, ["Room is tight: whether each VM finds a place depends on where the others are when the turn of its node comes."]
    return verdict.code, []


def _queue(seen: Seen, facts: dict[str, Json]) -> Queue:
    def named(*states: str) -> list[str]:
        return [name for node in seen.nodes.nodes if facts[name := name_of(node)]["state"] in states]

    return Queue(named(TO_COME), [], named(DONE), named(QUARANTINED))


def _report(seen: Seen, planned: Plan, options: Options) -> Outcome:
    request = checked(options, seen.pool_allows)
    facts = {fact["name"]: fact for fact in planned.facts["nodes"]}
    foreseen: Json = {}
    around = seen.nodes.cluster
    if around is not None:
        queue, away = _queue(seen, facts), sum(fact["state"] in (PREPARING, EMPTY, SOAKING) for fact in facts.values())
        each, at_once = request.soak_time + request.site_time, max(1, request.max_parallel - away)
        vmis = seen.nodes.vmis
        guests = {pod["demand"].key: guest_of(vmis[pod["instance"]]) for pod in around.pods if pod["vm"] and pod["instance"] in vmis}
        foreseen = foresee(around.nodes, around.pods, queue, limits(seen.nodes.kubevirt), at_once, each, request.uncordon, guests).to_dict()
    return rolling_outcome.report(planned, foreseen, request.max_parallel)


def _apply(context: Context, seen: Seen, planned: Plan) -> Outcome:
    request = checked(context.options, seen.pool_allows)
    facts = {fact["name"]: fact for fact in planned.facts["nodes"]}
    turns, own = _turns(seen, request), claims.mine(seen.nodes.user)
    began = request.began or claims.now()
    elapsed = max(0.0, (claims.now() - began).total_seconds()) if request.began else 0.0
    writer = TurnWriter(context.cluster, request.run or next((turn.run for turn in turns.values()), own.run), stamp(began), own)
    gate = Gatekeeper(context.cluster, request, context.listener, max((turn.site_seconds for turn in turns.values()), default=0.0))
    rolling = Rolling(
        context, request, {name_of(node): node for node in seen.nodes.nodes}, turns, _queue(seen, facts), writer, seen.nodes.budgets, own,
        context.deadline(request.drain.deadline - elapsed), gate,
        set_aside={name: rolling_outcome.why(fact) for name, fact in facts.items() if fact["state"] == QUARANTINED},
    )
    rolling.go()
    return rolling_outcome.outcome(rolling, facts)


VERB = Verb("rolling_drain", spec, _observe, _plan, _report, _apply)
