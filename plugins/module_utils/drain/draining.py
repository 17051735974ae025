# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state drained: one node after the other, or several at once, until they are empty or the time is up. Private to this collection."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from .._errors import PreconditionFailed, VirtError
from .._plan import Change, Json, Outcome
from .._verb import Context
from . import claiming, claims
from .observed import Observed, is_cordoned, name_of
from .plan import describe
from .request import Request
from .run import Drainer, NodeDrain, node_drain

_LISTED = 5


class DrainIncomplete(VirtError):
    """A node could not be emptied; the details say what is left, why, since when, and how the node was left."""


@dataclass
class Ended:
    """How the drain of one node came out. C(code) is empty when it is drained."""

    drain: NodeDrain
    code: str = ""
    sentence: str = ""

    def to_dict(self) -> Json:
        drain, decision = self.drain, self.drain.decision
        pending = [] if decision is None else [
            describe(one) | {"since": drain.since.get(one.pod["metadata"]["uid"], ("", ""))[1]} for one in decision.pending
        ]
        return {
            "name": drain.name, "state": "incomplete" if self.code else "drained", "code": self.code, "run": drain.claim.run,
            "seconds": round(time.monotonic() - drain.began, 1), "moved": [one.to_dict() for one in drain.moved], "evicted": list(drain.evicted),
            "left": [] if decision is None else [describe(one) for one in decision.left], "pending": pending,
        }


@dataclass
class Draining:
    """A run over some nodes."""

    context: Context
    request: Request
    observed: Observed
    changes: list[Change] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    refused: dict[str, PreconditionFailed] = field(default_factory=dict)
    """Nodes that somebody else has taken since the plan was made."""

    def run(self) -> Outcome:
        """Drain them all. Raises DrainIncomplete for those that can't be emptied, PreconditionFailed when somebody else has the first."""
        deadline = self.context.deadline(self.request.deadline)
        waiting = [name_of(node) for node in self.observed.nodes]
        own = claims.mine(self.observed.user)
        began = self.context.cluster.requests
        with Drainer(self.context.cluster, self.request, self.observed.budgets, self.context.listener) as drainer:
            try:
                while waiting or drainer.active:
                    while waiting and len(drainer.active) < self.request.max_parallel:
                        self._begin(drainer, waiting.pop(0), own, deadline)
                    self._look(drainer, deadline, waiting)
            finally:
                for drain in drainer.active:
                    claiming.give_back(self.context.cluster, drain.name, drain.claim)
        self.changes += drainer.changes
        return self._outcome(self.context.cluster.requests - began)

    def _begin(self, drainer: Drainer, name: str, own: claims.Claim, deadline: float) -> None:
        try:
            claim, change = claiming.take(self.context.cluster, name, own, self.request.take_over, self.context.listener, deadline)
        except PreconditionFailed as error:
            if not self.ended and not drainer.active:
                raise
            # What was done to other nodes is not to be lost.
            self.refused[name] = error
            self.context.listener.event(f"{name}: not begun. {error.message}", node=name, code="held")
            return
        if change is not None:
            self.changes.append(change)
            self.context.listener.event(f"{name}: cordoned", node=name)
        drainer.add(node_drain(name, claim, self.request))

    def _look(self, drainer: Drainer, deadline: float, waiting: list[str]) -> None:
        for drain in drainer.step(deadline):
            self._end(drainer, drain)
        if not self.request.wait:
            for drain in [drain for drain in drainer.active if drain.decision is not None and not drain.memory.busy]:
                self._end(drainer, drain, "started", "the drain was begun and not waited for")
        if time.monotonic() >= deadline:
            waiting.clear()
            for drain in drainer.active:
                self._end(drainer, drain, "deadline", f"it is not empty after {self.request.deadline:.0f} s")

    def _end(self, drainer: Drainer, drain: NodeDrain, code: str = "", sentence: str = "") -> None:
        if drain.lost:
            code, sentence = "lost", drain.lost
        elif not code and drain.decision is not None and drain.decision.stuck:
            code, sentence = "stuck", "what is left can't leave"
        elif drain.decision is not None and drain.decision.done:
            code, sentence = "", ""
        drainer.remove(drain)
        claiming.give_back(self.context.cluster, drain.name, drain.claim)
        self.ended.append(Ended(drain, code, sentence))
        text = f"{drain.name}: drained" if not code else f"{drain.name}: {sentence}"
        self.context.listener.event(text, node=drain.name, code=code)

    def _outcome(self, requests: int) -> Outcome:
        nodes = [one.to_dict() for one in self.ended]
        begun = {one["name"] for one in nodes}
        nodes += [
            {"name": name_of(node), "state": "not_begun", "code": "held" if name_of(node) in self.refused else "deadline", "cordoned": is_cordoned(node)}
            for node in self.observed.nodes if name_of(node) not in begun
        ]
        moved = sum(len(one.get("moved", ())) for one in nodes)
        summary = {
            "nodes": len(nodes), "drained": sum(1 for one in nodes if one["state"] == "drained"), "vms_moved": moved,
            "pods_evicted": sum(len(one.get("evicted", ())) for one in nodes), "pending": sum(len(one.get("pending", ())) for one in nodes),
            "requests": requests,
        }
        bad = [one for one in nodes if one["state"] != "drained" and one["code"] != "started"]
        if bad:
            raise DrainIncomplete(
                self._sentence(bad), nodes=nodes, summary=summary, changed=bool(self.changes), actions=[change.to_dict() for change in self.changes],
                code=next(one["code"] for one in bad), pending=[entry | {"node": one["name"]} for one in bad for entry in one.get("pending", ())],
            )
        names = ", ".join(one["name"] for one in nodes)
        msg = f"{names}: drained, {moved} VMs have moved, {summary['pods_evicted']} other pods were evicted."
        if not self.request.wait:
            msg = f"{names}: the drain was begun; {summary['pending']} pods have not left yet."
        outcome = Outcome(bool(self.changes), msg, summary=summary, result={"nodes": nodes})
        outcome.actions = [change.to_dict() for change in self.changes]
        return outcome

    def _sentence(self, bad: list[Json]) -> str:
        parts = []
        for one in bad:
            ended = next((found for found in self.ended if found.drain.name == one["name"]), None)
            if ended is None:
                refusal = self.refused.get(one["name"])
                parts.append(f"Node {one['name']} was not begun{': ' + refusal.message if refusal else '.'}")
                continue
            pending = one["pending"]
            shown = "; ".join(f"{entry['namespace']}/{entry['name']}: {entry['reason']} (since {entry['since']})" for entry in pending[:_LISTED])
            more = f"; and {len(pending) - _LISTED} more" if len(pending) > _LISTED else ""
            moving = len(ended.drain.moving)
            goes_on = f" {moving} migration{'s' if moving != 1 else ''} under way will end by themselves." if moving else ""
            parts.append(f"Node {one['name']}: {ended.sentence}. Left: {shown or 'nothing that is known'}{more}. It stays cordoned.{goes_on}")
        return " ".join(parts) + " Run it again to go on, or use state evacuation_cancelled to give the node back."
