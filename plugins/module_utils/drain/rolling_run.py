# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run over many nodes in turn, or one step of it between two pieces of work of the site. Private to this collection."""

from __future__ import annotations

import datetime
import time
import typing as t
from dataclasses import dataclass, field

from .._cluster.following import Target
from .._cluster.resources import NODES, PODS
from .._errors import PreconditionFailed
from .._placement.room import Room, keep, room_of
from .._plan import Change, Json
from .._verb import Context
from . import claiming, claims
from .draining import Ended
from .gatekeeping import Gatekeeper
from .plan import describe
from .rolling_request import RollingRequest
from .run import Drainer, NodeDrain, light, node_drain
from .turn_writing import TurnWriter
from .turns import (
    AFTER,
    BEFORE,
    DONE,
    DRAINING,
    EMPTY,
    POSTPONED,
    PREPARING,
    QUARANTINED,
    SOAKING,
    TO_COME,
    Queue,
    Turn,
    next_node,
    turn_of,
)

_ROOM = Target(PODS, keep=keep)
_NODES = Target(NODES, keep=light)
_PAUSE, _TIMES = 1.0, 10.0
"""Between two looks for the next node, while none can be begun: seconds at least, and times what a look takes at least."""


@dataclass
class Rolling:
    """C(turns) are what stood on the nodes when the step began, as far as they are of this run."""

    context: Context
    request: RollingRequest
    nodes: dict[str, Json]
    turns: dict[str, Turn]
    queue: Queue
    writer: TurnWriter
    budgets: list[Json]
    own: claims.Claim
    deadline: float
    gate: Gatekeeper
    ended: list[Ended] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    """Nodes that are the site's for now, and at what moment of their turn."""
    gone: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Nodes that are no longer ours, with a code and a sentence."""
    late: dict[str, str] = field(default_factory=dict)
    """Nodes that would not be done by the end of the window, with a sentence."""
    set_aside: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Nodes that were put aside, by this step or an earlier one, with a code and a sentence."""
    no_room: str = ""
    """Why no node is begun now, for want of room."""
    closed: str = ""
    """Why no more nodes are begun."""
    _prepared: set[str] = field(default_factory=set)
    _soaking: dict[str, float] = field(default_factory=dict)
    _ready: list[str] = field(default_factory=list)
    _not_before: float = 0.0
    _decided: bool = False

    def go(self) -> None:
        """Drain them in turn until all had theirs, the site has to do something, or the time is up. The taint goes unless the site is to hand back a node."""
        goes_on = False
        try:
            self._take_up()
            for name in self.queue.waiting:
                self.writer.to_come(name, self.nodes[name])
            with Drainer(self.context.cluster, self.request.drain, self.budgets, self.context.listener) as drainer:
                drainer.following.add(_ROOM)
                drainer.following.add(_NODES)
                try:
                    while self._goes_on(drainer):
                        self._begin(drainer)
                        self._look(drainer)
                finally:
                    self.changes += drainer.changes
                    for drain in drainer.active:
                        claiming.give_back(self.context.cluster, drain.name, drain.claim)
            self._let_go()
            goes_on = bool(self.held)
        finally:
            if not goes_on:
                self._forget()

    def _goes_on(self, drainer: Drainer) -> bool:
        """Nodes under way are waited for, so that nobody's drain stands still while the site works."""
        if drainer.active or self._ready:
            return True
        if self.held:
            return not (self._decided or self.closed)
        return bool(self._soaking) or bool(self.queue.waiting and not self.closed)

    def _take_up(self) -> None:
        """Go on where the cluster is, and where the site hands nodes back."""
        if self.request.run:
            # A step knows them all. Whoever cancels the drain of a node takes its turn away.
            for name in [name for name in self.queue.waiting if name not in self.turns]:
                self.queue.waiting.remove(name)
                self._lose(name, "lost", "the drain was cancelled")
        elif self.request.hold_for:
            for name in self.queue.quarantined:
                self.writer.say(name, QUARANTINED, fresh=True, code=self.set_aside[name][0], sentence=self.set_aside[name][1])
        for name, turn in self.turns.items():
            if turn.state == POSTPONED:
                self.late[name] = turn.sentence
            elif turn.state == SOAKING:
                self._soaking[name] = time.monotonic() + self.request.soak_time - _age(turn)
            elif turn.state == DRAINING:
                self._prepared.add(name)
            elif turn.state in (PREPARING, EMPTY) and self._is_ours(name):
                self._take_back(name, turn)
        if len(self.queue.quarantined) > self.request.max_quarantined:
            self._close(self._too_many())

    def _is_ours(self, name: str) -> bool:
        """Whether nobody else has taken a node from the site."""
        found = claims.claim_of(self.nodes[name])
        if found is None or claims.same_user(found, self.own):
            return True
        self._lose(name, "lost", claims.loss(found))
        return False

    def _take_back(self, name: str, turn: Turn) -> None:
        moment = BEFORE if turn.state == PREPARING else AFTER
        if name not in self.request.handed_back and moment in self.request.hold_for:
            self.held[name] = moment
            return
        failed = self.request.handed_back.get(name, "")
        if failed:
            self._put_aside(name, "site_failed", f"what the site does {moment} the drain failed: {failed}", site_seconds=_age(turn))
        elif moment == BEFORE:
            self.gate.site_seconds = max(self.gate.site_seconds, _age(turn))
            self._prepared.add(name)
            self._ready.append(name)
        else:
            self.gate.site_seconds = max(self.gate.site_seconds, turn.site_seconds + _age(turn))
            self._watch(name, site_seconds=_age(turn))

    def _begin(self, drainer: Drainer) -> None:
        while self._ready:
            name = self._ready.pop(0)
            if self.closed:
                self.held[name] = BEFORE
            else:
                self._take(drainer, name)
        if self.closed or not self.queue.waiting:
            self._decided = True
            return
        snapshot = drainer.following.snapshot
        if any(target not in snapshot.objects for target in (_ROOM, _NODES)) or time.monotonic() < self._not_before:
            return
        self._decided = True
        while self.queue.waiting and self._away(drainer) < self.request.max_parallel and self.gate.open():
            began = time.monotonic()
            room = room_of(snapshot.all(_NODES), snapshot.all(_ROOM))
            found = self._next(drainer, room)
            if found is None:
                # With a thousand nodes a look takes its time, and something happens all the time.
                self._not_before = time.monotonic() + max(_PAUSE, _TIMES * (time.monotonic() - began))
                return
            self.queue.waiting.remove(found)
            if self._still_wanted(found):
                self._take(drainer, found)

    def _away(self, drainer: Drainer) -> int:
        self.queue.active = [*(drain.name for drain in drainer.active), *self._soaking, *self.held]
        return len(self.queue.active)

    def _next(self, drainer: Drainer, room: Room) -> str | None:
        while True:
            name, why = next_node(self.queue, room, self.request.max_parallel)
            if name is None:
                if why and why != self.no_room and not self.queue.active:
                    self.context.listener.event(f"no node is begun: {why}")
                self.no_room = why
                return None
            self.no_room = ""
            late = self.gate.too_late(name, room, drainer.limits, len(drainer.active) + 1)
            if not late:
                return name
            # A smaller one may still be in time, and VMs may go to this one: it is not drained in this window.
            self.late[name] = late
            self.queue.waiting.remove(name)
            self.writer.say(name, POSTPONED, code="window", sentence=late)
            self.context.listener.event(f"not begun: {late}", node=name, code="window")

    def _still_wanted(self, name: str) -> bool:
        """Whoever cancels the drain of a node whose turn is yet to come takes its turn away."""
        node = self.context.cluster.get(NODES, name)
        if node is None:
            self._lose(name, "node_gone", "the node is gone")
            return False
        turn = turn_of(node)
        if turn is None or turn.run != self.writer.run:
            self._lose(name, "lost", "the drain was cancelled" if turn is None else "another run has it")
            return False
        return True

    def _take(self, drainer: Drainer, name: str) -> None:
        """Cordon and claim it; then it is drained, or the site has it first."""
        try:
            claim, change = claiming.take(self.context.cluster, name, self.own, self.request.drain.take_over, self.context.listener, self.deadline)
        except PreconditionFailed as error:
            self._lose(name, str(error.details.get("code") or "held"), error.message)
            return
        if change is not None:
            self.changes.append(change)
        if BEFORE in self.request.hold_for and name not in self._prepared:
            if not self.writer.say(name, PREPARING, claim=claim.held(claims.now(), self.request.hold_time)):
                self._lose_again(name)
                return
            self.held[name] = BEFORE
            self.context.listener.event(f"{name}: its turn has come; the site prepares it", node=name, moment=BEFORE)
            return
        if BEFORE in self.request.hold_for and not self.writer.say(name, DRAINING):
            claiming.give_back(self.context.cluster, name, claim)
            self._lose_again(name)
            return
        done, total = len(self.queue.done), len(self.nodes)
        self.context.listener.event(f"{name}: its turn has come ({done} of {total} nodes are done)", node=name)
        drainer.add(node_drain(name, claim, self.request.drain))

    def _look(self, drainer: Drainer) -> None:
        now = time.monotonic()
        for drain in drainer.step(self.deadline):
            self._end(drainer, drain)
        for drain in drainer.active:
            if now - drain.began >= self.request.node_deadline:
                self._end(drainer, drain, "deadline", f"it is not empty after {self.request.node_deadline:.0f} s")
        for name in [name for name, until in self._soaking.items() if now >= until]:
            del self._soaking[name]
            self._done(name)
        if now >= self.deadline:
            self._close(f"the time of {self.request.drain.deadline:.0f} s is up")
            for drain in drainer.active:
                self._end(drainer, drain, "deadline", f"it is not empty after {self.request.drain.deadline:.0f} s", put_aside=False)
            self._soaking.clear()

    def _end(self, drainer: Drainer, drain: NodeDrain, code: str = "", sentence: str = "", put_aside: bool = True) -> None:
        drainer.remove(drain)
        self._not_before = 0.0
        decision, seconds = drain.decision, time.monotonic() - drain.began
        if drain.lost:
            code, sentence = "lost", drain.lost
        elif not code and decision is not None and decision.stuck:
            left = decision.pending[0]
            code, sentence = "stuck", f"what is left can't leave ({describe(left)['name']}: {left.fate.sentence})"
        self.ended.append(Ended(drain, code, sentence))
        if not code:
            self._empty(drain, seconds)
            return
        self.context.listener.event(f"{drain.name}: {sentence}", node=drain.name, code=code)
        if code == "lost":
            self._lose(drain.name, code, sentence)
        elif put_aside:
            self._put_aside(drain.name, code, sentence, len(drain.moved), seconds)
        else:
            claiming.give_back(self.context.cluster, drain.name, drain.claim)
            self.queue.waiting.append(drain.name)

    def _empty(self, drain: NodeDrain, seconds: float) -> None:
        self.gate.took(drain.name, seconds)
        if AFTER not in self.request.hold_for:
            self._watch(drain.name, drain.claim, len(drain.moved), seconds)
            return
        claim = drain.claim.held(claims.now(), self.request.hold_time)
        if not self.writer.say(drain.name, EMPTY, claim=claim, moved=len(drain.moved), seconds=seconds):
            self._lose_again(drain.name)
            return
        self.held[drain.name] = AFTER
        self.context.listener.event(f"{drain.name}: empty; the site has it", node=drain.name, moment=AFTER)

    def _watch(self, name: str, claim: claims.Claim | None = None, moved: int = 0, seconds: float = 0.0, site_seconds: float = 0.0) -> None:
        """Let it soak, and then be done."""
        if self.request.soak_time <= 0:
            self._done(name, moved, seconds, site_seconds)
            return
        found = claim or claims.claim_of(self.nodes[name])
        held = found.held(claims.now(), self.request.soak_time + claims.LEASE) if found else None
        if not self.writer.say(name, SOAKING, claim=held, moved=moved, seconds=seconds, site_seconds=site_seconds):
            self._lose_again(name)
            return
        self._soaking[name] = time.monotonic() + self.request.soak_time

    def _done(self, name: str, moved: int = 0, seconds: float = 0.0, site_seconds: float = 0.0) -> None:
        schedulable = self.request.uncordon or None
        if not self.writer.say(name, DONE, schedulable=schedulable, release=True, moved=moved, seconds=seconds, site_seconds=site_seconds):
            self._lose_again(name)
            return
        self.queue.done.append(name)
        self._not_before = 0.0
        left = len(self.queue.waiting)
        what = "drained and given back" if self.request.uncordon else "drained"
        self.context.listener.event(f"{name}: {what}, {left} to come", node=name, done=len(self.queue.done), total=len(self.nodes))

    def _put_aside(self, name: str, code: str, sentence: str, moved: int = 0, seconds: float = 0.0, site_seconds: float = 0.0) -> None:
        cordoned = self.request.leave_quarantined_cordoned
        ours = self.writer.say(
            name, QUARANTINED, schedulable=not cordoned, release=True, moved=moved, seconds=seconds, site_seconds=site_seconds, code=code, sentence=sentence,
        )
        if not ours:
            self._lose_again(name)
            return
        self.queue.quarantined.append(name)
        self.set_aside[name] = code, sentence
        self.context.listener.event(f"{name}: put aside, {'cordoned' if cordoned else 'uncordoned'}: {sentence}", node=name, code=code)
        if len(self.queue.quarantined) > self.request.max_quarantined:
            self._close(self._too_many())

    def _too_many(self) -> str:
        return f"{len(self.queue.quarantined)} nodes could not be emptied, max_quarantined is {self.request.max_quarantined}"

    def _lose(self, name: str, code: str, sentence: str) -> None:
        """Somebody else has it now, or wants it left alone. It is not begun again."""
        self.gone[name] = code, sentence
        self.context.listener.event(f"{name}: not ours any more: {sentence}", node=name, code=code)

    def _lose_again(self, name: str) -> None:
        """What was ours a moment ago is not."""
        self._lose(name, "lost", "the node is gone, or its drain was cancelled or taken over meanwhile")

    def _close(self, why: str) -> None:
        if not self.closed:
            self.closed = why
            self.context.listener.event(f"no further node is begun: {why}")

    def _let_go(self) -> None:
        """What the site was to prepare, and will not be begun any more, is given back; it comes later."""
        for name in [name for name, moment in self.held.items() if moment == BEFORE] if self.closed else ():
            del self.held[name]
            self.queue.waiting.append(name)
            node = self.context.cluster.get(NODES, name)
            claim = claims.claim_of(node) if node is not None else None
            self.writer.say(name, TO_COME, schedulable=None if claim is not None and claim.was_unschedulable else True, release=True)

    def _forget(self) -> None:
        """Nothing stays of a complete run; of another one, which nodes are done."""
        complete = len(self.queue.done) == len(self.nodes)
        for name in self.nodes:
            self.writer.forget(name, complete or name in self.gone)


def _age(turn: Turn) -> float:
    """Seconds for which it has been in its state."""
    try:
        since = datetime.datetime.fromisoformat(turn.since.replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    return max(0.0, (claims.now() - since).total_seconds())


def states_of(rolling: Rolling) -> t.Iterator[tuple[str, str]]:
    """Each node, and what has become of it."""
    in_hand = {BEFORE: PREPARING, AFTER: EMPTY}
    for name in rolling.nodes:
        if name in rolling.held:
            yield name, in_hand[rolling.held[name]]
        else:
            yield name, DONE if name in rolling.queue.done else QUARANTINED if name in rolling.queue.quarantined else TO_COME
