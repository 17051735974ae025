# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb rolling_drain: many nodes in turn, emptied and given back. Private to this collection."""

from __future__ import annotations

import datetime
import time
import typing as t
from dataclasses import dataclass, field, replace

from .._cluster.following import Target
from .._cluster.resources import MACHINE_CONFIG_POOLS, NODES, PODS
from .._errors import Conflict, OptionError, PreconditionFailed
from .._migrations.state import is_migratable
from .._options import ArgumentSpec, drain_spec
from .._placement.fitting import some
from .._placement.in_turn import in_turn
from .._placement.room import keep, room_of
from .._placement.verdict import DOES_NOT_FIT, FITS
from .._plan import Change, Json, Outcome, Plan
from .._pool import allowed_away
from .._verb import Context, Options, Verb
from . import claiming, claims, verb
from .draining import DrainIncomplete, Ended
from .health import Gate, gates, unhealthy
from .observed import Observed, look_around, name_of, observe
from .plan import describe, make_plan
from .request import Request
from .run import Drainer, NodeDrain, light, node_drain
from .turns import DONE, QUARANTINED, TO_COME, Queue, Turn, next_node, turn_of, with_turn

_ROOM = Target(PODS, keep=keep)
_NODES = Target(NODES, keep=light)
_TRIES = 10
_GATE_EVERY = 10.0


def spec() -> ArgumentSpec:
    """The options of the verb."""
    return ArgumentSpec(
        {
            "deadline": {"type": "int", "default": 14400},
            "node_deadline": {"type": "int", "default": 3600},
            "max_parallel": {"type": "int"},
            "max_quarantined": {"type": "int", "default": 0},
            "quarantine": {"type": "str", "choices": ["cordoned", "uncordoned"], "default": "cordoned"},
            "uncordon": {"type": "bool", "default": True},
            "soak_time": {"type": "int", "default": 0},
            "health": {
                "type": "list", "elements": "dict", "default": [],
                "options": {
                    "api_version": {"type": "str", "default": "v1"}, "kind": {"type": "str", "required": True}, "name": {"type": "str"},
                    "namespace": {"type": "str"}, "label_selector": {"type": "str"}, "query": {"type": "str", "required": True}, "sentence": {"type": "str"},
                },
            },
            "end_by": {"type": "str"},
            "restart": {"type": "bool", "default": False},
        },
    ).merge(drain_spec())


@dataclass(frozen=True)
class RollingRequest:
    """What belongs to turns; C(drain) is what holds for each node. C(end_by) None is never."""

    drain: Request
    max_parallel: int
    node_deadline: float
    max_quarantined: int
    leave_quarantined_cordoned: bool
    uncordon: bool
    soak_time: float
    gates: tuple[Gate, ...]
    end_by: datetime.datetime | None
    restart: bool


def _checked(options: Options, pool_allows: int = 1) -> RollingRequest:
    """What the options ask for. Raises OptionError."""
    for name, least in (("node_deadline", 1), ("max_quarantined", 0), ("soak_time", 0), ("max_parallel", 1)):
        if options.get(name) is not None and options[name] < least:
            raise OptionError(f"{name} is {options[name]}; it must be {least} at least.")
    end_by = None
    if options["end_by"]:
        try:
            end_by = datetime.datetime.fromisoformat(options["end_by"].replace("Z", "+00:00"))
        except ValueError as error:
            raise OptionError(f"end_by is {options['end_by']!r}, no time such as 2026-05-01T04:00:00+02:00.") from error
        if end_by.tzinfo is None:
            raise OptionError(f"end_by is {options['end_by']!r}; add its offset from UTC, such as +02:00.")
    return RollingRequest(
        verb.checked({**options, "state": "drained", "wait": True, "clear_marks": False, "max_parallel": 1}),
        options["max_parallel"] or pool_allows, options["node_deadline"], options["max_quarantined"], options["quarantine"] == "cordoned",
        options["uncordon"], options["soak_time"], gates(options["health"]), end_by, options["restart"],
    )


@dataclass
class Seen:
    """What was observed, and how many nodes the pool lets be away."""

    nodes: Observed
    pool_allows: int = 1


def _observe(context: Context) -> Seen:
    options = context.options
    request = _checked(options)
    found = observe(context.cluster, request.drain, options["names"], options["label_selector"] or "", options["machine_config_pool"] or "")
    look_around(context.cluster, found)
    pool = context.cluster.get(MACHINE_CONFIG_POOLS, options["machine_config_pool"]) if options["machine_config_pool"] else None
    return Seen(found, allowed_away(pool, len(found.nodes)))


def _plan(seen: Seen, options: Options) -> Plan:
    request = _checked(options, seen.pool_allows)
    finished = set() if request.restart else {name_of(node) for node in seen.nodes.nodes if (turn := turn_of(node)) and turn.state == DONE}
    left = [node for node in seen.nodes.nodes if name_of(node) not in finished]
    changes: list[Change] = []
    facts: list[Json] = [{"name": name, "state": DONE, "pods": []} for name in sorted(finished)]
    refused: list[PreconditionFailed] = []
    for node in left:
        try:
            # Whether its VMs have room now says little of the time when its turn has come.
            planned = make_plan(replace(seen.nodes, nodes=[node], cluster=None), request.drain)
        except PreconditionFailed as error:
            if error.details.get("code") != "cannot_leave":
                raise
            refused.append(error)
            facts.append({"name": name_of(node), "state": QUARANTINED, "pods": error.details["nodes"][0]["pods"], "blocked": error.details["blocked"]})
            continue
        changes += planned.changes
        facts += [{**fact, "state": TO_COME} for fact in planned.facts["nodes"]]
    if len(refused) > request.max_quarantined:
        details = {**refused[0].details, "nodes": facts, "blocked": [entry for error in refused for entry in error.details["blocked"]]}
        raise PreconditionFailed(" ".join(error.message for error in refused) + f" max_quarantined is {request.max_quarantined}.", **details)
    verdict, warnings = _placement(seen, request, left)
    return Plan(tuple(changes), (*seen.nodes.warnings, *warnings), {"nodes": facts} | ({"placement": verdict} if verdict else {}))


def _placement(seen: Seen, request: RollingRequest, left: t.Sequence[Json]) -> tuple[str, list[str]]:
    """Whether all nodes can be emptied in turn, and what to say of it. Nothing where nodes are not given back, or the others may not be read."""
    around = seen.nodes.cluster
    if around is None or not request.uncordon or not left:
        return "", []
    moves = {key for key, vmi in seen.nodes.vmis.items() if is_migratable(vmi)}
    pods = {pod["demand"].key for pod in around.pods if pod["vm"] and pod["instance"] in moves}
    verdict, stuck = in_turn(around.nodes, around.pods, [name_of(node) for node in left], request.max_parallel, pods, around.namespaces)
    if verdict.code == DOES_NOT_FIT:
        over = f": {some(['/'.join(one.key) for one in verdict.crowded])} are left over" if verdict.crowded else ""
        return verdict.code, [f"Not all nodes can be emptied: the others have no places for all VMs while {stuck} is empty{over}. Make room first."]
    if verdict.code != FITS:
        return verdict.code, ["Room is tight: whether each VM finds a place depends on where the others are when the turn of its node comes."]
    return verdict.code, []


def _report(seen: Seen, planned: Plan, options: Options) -> Outcome:
    request = _checked(options, seen.pool_allows)
    states = [fact["state"] for fact in planned.facts["nodes"]]
    moves = sum(1 for change in planned.changes if change.kind == "VirtualMachineInstanceMigration" or change.verb == "restart")
    msg = (
        f"{states.count(TO_COME)} nodes would be drained, {request.max_parallel} at a time at most; {moves} VMs would move; "
        f"{states.count(QUARANTINED)} nodes can't be emptied, {states.count(DONE)} are done already."
    )
    changed = TO_COME in states
    summary = {"nodes": len(states), "to_drain": states.count(TO_COME), "changes": len(planned.changes)}
    return Outcome(changed, msg, summary=summary, result=dict(planned.facts))


@dataclass
class Rolling:
    """A run over many nodes."""

    context: Context
    request: RollingRequest
    nodes: dict[str, Json]
    queue: Queue
    run: str
    budgets: list[Json]
    own: claims.Claim
    ended: list[Ended] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    soaking: dict[str, float] = field(default_factory=dict)
    held: str = ""
    """Why no node is begun now, for want of room."""
    sick: str = ""
    """Why no node is begun now, by the health of the cluster."""
    looked: float = float("-inf")
    slowest: float = 0.0
    closed: str = ""
    """Why no more nodes are begun."""

    def go(self) -> None:
        """Drain them in turn until all had theirs or the time is up. The taint is taken off in any case."""
        deadline = self.context.deadline(self.request.drain.deadline)
        try:
            for name in self.queue.waiting:
                self._say_turn(name, TO_COME, attractive=False)
            with Drainer(self.context.cluster, self.request.drain, self.budgets, self.context.listener) as drainer:
                drainer.following.add(_ROOM)
                drainer.following.add(_NODES)
                try:
                    while (self.queue.waiting and not self.closed) or drainer.active or self.soaking:
                        self._begin(drainer, deadline)
                        self._look(drainer, deadline)
                finally:
                    self.changes += drainer.changes
                    for drain in drainer.active:
                        claiming.give_back(self.context.cluster, drain.name, drain.claim)
        finally:
            complete = len(self.queue.done) == len(self.nodes)
            for name in self.nodes:
                self._forget_turn(name, complete)

    def _begin(self, drainer: Drainer, deadline: float) -> None:
        following = drainer.following.snapshot
        if self.closed or _ROOM not in following.objects or _NODES not in following.objects or not self._healthy():
            return
        while True:
            room = room_of(following.all(_NODES), following.all(_ROOM))
            self.queue.active = [*(drain.name for drain in drainer.active), *self.soaking]
            name, why = next_node(self.queue, room, self.request.max_parallel)
            if name is None:
                if why and why != self.held and not self.queue.active:
                    self.context.listener.event(f"no node is begun: {why}")
                self.held = why
                return
            if not self._in_window(name):
                return
            self.held = ""
            self.queue.waiting.remove(name)
            self._take(drainer, name, deadline)

    def _healthy(self) -> bool:
        now = time.monotonic()
        if self.request.gates and self.queue.waiting and now - self.looked >= _GATE_EVERY:
            self.looked = now
            problem = unhealthy(self.context.cluster, self.request.gates)
            if problem and problem != self.sick:
                self.context.listener.event(f"no further node is begun: {problem}", health=problem)
            self.sick = problem
        return not self.sick

    def _in_window(self, name: str) -> bool:
        if self.request.end_by is None:
            return True
        left = (self.request.end_by - claims.now()).total_seconds()
        if left > self.slowest:
            return True
        self.closed = f"{name} and {len(self.queue.waiting) - 1} more would not be done by {self.request.end_by.isoformat()}"
        self.context.listener.event(self.closed)
        return False

    def _take(self, drainer: Drainer, name: str, deadline: float) -> None:
        claim, change = claiming.take(self.context.cluster, name, self.own, self.request.drain.take_over, self.context.listener, deadline)
        if change is not None:
            self.changes.append(change)
        done, total = len(self.queue.done), len(self.nodes)
        self.context.listener.event(f"{name}: its turn has come ({done} of {total} nodes are done)", node=name)
        drainer.add(node_drain(name, claim, self.request.drain))

    def _look(self, drainer: Drainer, deadline: float) -> None:
        now = time.monotonic()
        for drain in drainer.step(deadline):
            self._end(drainer, drain)
        for drain in drainer.active:
            if now - drain.began >= self.request.node_deadline:
                self._end(drainer, drain, "deadline", f"it is not empty after {self.request.node_deadline:.0f} s")
        for name in [name for name, until in self.soaking.items() if now >= until]:
            del self.soaking[name]
            self._done(name)
        if now >= deadline:
            self.closed = f"the time of {self.request.drain.deadline:.0f} s is up"
            for drain in drainer.active:
                self._end(drainer, drain, "deadline", f"it is not empty after {self.request.drain.deadline:.0f} s", put_aside=False)

    def _end(self, drainer: Drainer, drain: NodeDrain, code: str = "", sentence: str = "", put_aside: bool = True) -> None:
        drainer.remove(drain)
        decision = drain.decision
        if drain.lost:
            code, sentence = "lost", drain.lost
        elif not code and decision is not None and decision.stuck:
            left = decision.pending[0]
            code, sentence = "stuck", f"what is left can't leave ({describe(left)['name']}: {left.fate.sentence})"
        self.ended.append(Ended(drain, code, sentence))
        if not code:
            self.slowest = max(self.slowest, time.monotonic() - drain.began)
            self.soaking[drain.name] = time.monotonic() + self.request.soak_time
            return
        self.context.listener.event(f"{drain.name}: {sentence}", node=drain.name, code=code)
        if not put_aside or code == "lost":
            claiming.give_back(self.context.cluster, drain.name, drain.claim)
            self.queue.waiting.append(drain.name)
            return
        self.queue.quarantined.append(drain.name)
        cordoned = self.request.leave_quarantined_cordoned
        self._say_turn(drain.name, QUARANTINED, attractive=True, schedulable=not cordoned, release=True)
        self.context.listener.event(f"{drain.name}: put aside{', cordoned' if cordoned else ', uncordoned'}", node=drain.name)
        if len(self.queue.quarantined) > self.request.max_quarantined:
            self.closed = f"{len(self.queue.quarantined)} nodes could not be emptied, max_quarantined is {self.request.max_quarantined}"
            self.context.listener.event(self.closed)

    def _done(self, name: str) -> None:
        self._say_turn(name, DONE, attractive=True, schedulable=self.request.uncordon or None, release=True)
        self.queue.done.append(name)
        left = len(self.queue.waiting)
        what = "drained and given back" if self.request.uncordon else "drained"
        self.context.listener.event(f"{name}: {what}, {left} to come", node=name, done=len(self.queue.done), total=len(self.nodes))

    def _say_turn(self, name: str, state: str, attractive: bool, schedulable: bool | None = None, release: bool = False) -> None:
        stamp = claims.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        self._patch(name, lambda node: with_turn(node, Turn(self.run, state, stamp), attractive, schedulable, release))

    def _forget_turn(self, name: str, complete: bool) -> None:
        """Nothing stays of a complete run; of another one, which nodes are done."""
        def patch(node: Json) -> Json | None:
            turn = turn_of(node)
            kept = turn if turn is not None and turn.state != TO_COME and not complete else None
            wanted = with_turn(node, kept, attractive=True)
            return wanted if turn is not None or wanted["spec"]["taints"] != (node.get("spec") or {}).get("taints") else None

        self._patch(name, patch)

    def _patch(self, name: str, make: t.Callable[[Json], Json | None]) -> None:
        for attempt in range(_TRIES):
            node = self.context.cluster.get(NODES, name)
            patch = make(node) if node is not None else None
            if patch is None:
                return
            try:
                self.context.cluster.merge_patch(NODES, name, patch)
            except Conflict:
                if attempt == _TRIES - 1:
                    raise
                continue
            return


def _apply(context: Context, seen: Seen, planned: Plan) -> Outcome:
    request = _checked(context.options, seen.pool_allows)
    facts = {fact["name"]: fact for fact in planned.facts["nodes"]}
    nodes = {name_of(node): node for node in seen.nodes.nodes}
    queue = Queue(
        [name for name in nodes if facts[name]["state"] == TO_COME], [], [name for name in nodes if facts[name]["state"] == DONE],
        [name for name in nodes if facts[name]["state"] == QUARANTINED],
    )
    own = claims.mine(seen.nodes.user)
    earlier = next((turn.run for node in nodes.values() if (turn := turn_of(node))), "")
    rolling = Rolling(context, request, nodes, queue, earlier or own.run, seen.nodes.budgets, own)
    rolling.go()
    return _outcome(rolling, facts)


def _outcome(rolling: Rolling, facts: dict[str, Json]) -> Outcome:
    queue, by_name = rolling.queue, {one.drain.name: one.to_dict() for one in rolling.ended}
    nodes = []
    for name in rolling.nodes:
        found = by_name.get(name, {"name": name})
        state = DONE if name in queue.done else QUARANTINED if name in queue.quarantined else TO_COME
        nodes.append({**found, "state": state} | ({"blocked": facts[name]["blocked"]} if "blocked" in facts[name] else {}))
    moved = sum(len(one.get("moved", ())) for one in nodes)
    summary = {
        "nodes": len(nodes), "drained": len(queue.done), "quarantined": len(queue.quarantined), "not_begun": len(queue.waiting), "vms_moved": moved,
        "requests": rolling.context.cluster.requests,
    }
    actions = [change.to_dict() for change in rolling.changes]
    if queue.waiting or queue.quarantined:
        parts = [f"{len(queue.done)} of {len(nodes)} nodes are done."]
        if queue.quarantined:
            why = {one.drain.name: one.sentence for one in rolling.ended}
            blocked = "; ".join(f"{name}: {why.get(name) or facts[name]['blocked'][0]['reason']}" for name in queue.quarantined)
            parts.append(f"Put aside: {blocked}.")
        if queue.waiting:
            parts.append(f"Not done: {', '.join(sorted(queue.waiting))} ({rolling.closed or rolling.sick or rolling.held or 'stopped'}).")
        parts.append("Run it again to go on with those that are not done.")
        raise DrainIncomplete(
            " ".join(parts), nodes=nodes, summary=summary, actions=actions, changed=bool(rolling.changes),
            code="quarantined" if queue.quarantined else "not_done",
            pending=[entry | {"node": one["name"]} for one in nodes for entry in one.get("pending", ())],
        )
    outcome = Outcome(bool(rolling.changes), f"{len(nodes)} nodes are done, {moved} VMs have moved.", summary=summary, result={"nodes": nodes})
    outcome.actions = actions
    return outcome


VERB = Verb("rolling_drain", spec, _observe, _plan, _report, _apply)
