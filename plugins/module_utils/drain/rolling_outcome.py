# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rolling drain returns: at its end, as a step, and on paper. Private to this collection."""

from __future__ import annotations

import typing as t

from .._plan import Json, Outcome, Plan
from .draining import DrainIncomplete
from .rolling_run import Rolling, states_of
from .turns import DONE, POSTPONED, QUARANTINED, TO_COME


def outcome(rolling: Rolling, facts: t.Mapping[str, Json]) -> Outcome:
    """The end, or the step when the site has nodes to work on. Raises DrainIncomplete when not all nodes are done."""
    result = _result(rolling, facts)
    summary = result.pop("summary")
    actions = [change.to_dict() for change in rolling.changes]
    if rolling.held:
        done = f"{summary['drained']} of {summary['nodes']} nodes are done; the site has {', '.join(f'{name} ({at})' for name, at in rolling.held.items())}."
        ended = Outcome(bool(rolling.changes), done, summary=summary, result=result)
    elif summary["drained"] < summary["nodes"]:
        raise DrainIncomplete(
            _sentence(rolling, result), **result, summary=summary, actions=actions, changed=bool(rolling.changes),
            code="quarantined" if result["quarantined"] else "not_done",
            pending=[entry | {"node": one["name"]} for one in result["nodes"] for entry in one.get("pending", ())],
        )
    else:
        ended = Outcome(bool(rolling.changes), f"{summary['nodes']} nodes are done, {summary['vms_moved']} VMs have moved.", summary=summary, result=result)
    ended.actions = actions
    return ended


def _result(rolling: Rolling, facts: t.Mapping[str, Json]) -> Json:
    by_name = {one.drain.name: one.to_dict() for one in rolling.ended}
    nodes, aside = [], []
    for name, state in states_of(rolling):
        turn = rolling.turns.get(name)
        entry = {**by_name.get(name, {"name": name}), "state": state}
        entry["vms_moved"] = len(entry.get("moved", ())) + (turn.moved if turn else 0)
        entry |= {"blocked": facts[name]["blocked"]} if "blocked" in facts[name] else {}
        if state == QUARANTINED:
            code, sentence = rolling.set_aside[name]
            entry |= {"code": code, "reason": sentence}
            aside.append({"name": name, "code": code, "reason": sentence})
        elif name in rolling.gone or name in rolling.late:
            code, sentence = rolling.gone.get(name) or ("window", rolling.late[name])
            entry |= {"code": code, "reason": sentence}
        nodes.append(entry)
    states = [one["state"] for one in nodes]
    summary = {
        "nodes": len(nodes), "drained": states.count(DONE), "quarantined": len(aside), "not_begun": states.count(TO_COME), "held": len(rolling.held),
        "vms_moved": sum(one["vms_moved"] for one in nodes), "requests": rolling.context.cluster.requests,
    }
    return {
        "nodes": nodes, "quarantined": aside, "held": [{"name": name, "moment": moment} for name, moment in rolling.held.items()],
        "step": {"run": rolling.writer.run, "began": rolling.writer.began} if rolling.held else {}, "summary": summary,
    }


def _sentence(rolling: Rolling, result: Json) -> str:
    parts = [f"{len(rolling.queue.done)} of {len(result['nodes'])} nodes are done."]
    if result["quarantined"]:
        parts.append(f"Put aside: {'; '.join(one['name'] + ': ' + one['reason'] for one in result['quarantined'])}.")
    left = sorted(one["name"] for one in result["nodes"] if one["state"] == TO_COME and one["name"] not in rolling.gone | rolling.late)
    if left:
        reasons = "; ".join(filter(None, (rolling.closed, rolling.gate.problem or rolling.no_room)))
        parts.append(f"Not done: {', '.join(left)} ({reasons or 'stopped'}).")
    if rolling.late:
        parts.append(f"Not begun: {'; '.join(rolling.late.values())}.")
    parts += [f"{name}: {sentence}." for name, (_code, sentence) in sorted(rolling.gone.items())]
    parts.append("Run it again to go on with those that are not done.")
    return " ".join(parts)


def report(planned: Plan, foresight: Json, max_parallel: int) -> Outcome:
    """What check mode says."""
    nodes = planned.facts["nodes"]
    states = [fact["state"] for fact in nodes]
    aside = [{"name": fact["name"], **dict(zip(("code", "reason"), why(fact), strict=True))} for fact in nodes if fact["state"] == QUARANTINED]
    moves = sum(1 for change in planned.changes if change.kind == "VirtualMachineInstanceMigration" or change.verb == "restart")
    msg = (
        f"{states.count(TO_COME)} nodes would be drained, {max_parallel} at a time at most; {moves} VMs would move; "
        f"{len(aside)} nodes can't be emptied, {states.count(DONE)} are done already."
    )
    changed = any(state not in (DONE, QUARANTINED, POSTPONED) for state in states)
    summary = {"nodes": len(states), "to_drain": states.count(TO_COME), "changes": len(planned.changes)}
    result = {**planned.facts, "quarantined": aside, "held": [], "step": {}, **foresight}
    found = Outcome(changed, msg, summary=summary, result=result)
    found.lines = lines(result)
    return found


def why(fact: Json) -> tuple[str, str]:
    """Why a node is put aside, as code and sentence: by what the plan found, or by what stands on it."""
    if "blocked" not in fact:
        return fact["code"], fact["reason"]
    first = fact["blocked"][0]
    more = f" and {len(fact['blocked']) - 1} more" if len(fact["blocked"]) > 1 else ""
    return "cannot_leave", f"{first['namespace']}/{first['name']}: {first['reason']}{more}"


def lines(result: Json) -> list[str]:
    """The plan for people: the order with its times, what is put aside, and what all of it rests on."""
    found = []
    for one in result.get("order", ()):
        beside = f", beside {', '.join(one['beside'])}" if one["beside"] else ""
        ends = "never ends" if one["ends"] is None else f"{one['begins']:.0f} to {one['ends']:.0f} s"
        again = f", {one['again']} of them to nodes that are still to come" if one["again"] else ""
        before, after = (one["spare_memory"][key] / 2**30 for key in ("before_bytes", "after_bytes"))
        spare = f"{before:.1f} GiB are free on the others before and {after:.1f} after"
        found.append(f"{one['name']}: {ends}{beside}; {one['vms']} VMs move{again}; {spare}")
    found += [f"{one['name']}: put aside: {one['reason']}" for one in result["quarantined"]]
    if result.get("held_back"):
        found.append(f"The rest would not be begun: {result['held_back']}.")
    if result.get("not_foreseen") and not result.get("held_back"):
        found.append(f"{result['not_foreseen']} more nodes come after these; their order is not worked out.")
    expectation = result.get("expected") or {}
    if expectation.get("assumptions"):
        seconds = expectation["seconds"]
        time = "All of it would never end" if seconds is None else f"All of it is expected to take {seconds:.0f} s"
        found.append(f"{time}, if {'; '.join(expectation['assumptions'])}.")
    return found


__all__ = ("lines", "outcome", "report")
