# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy of a guest's memory while the guest goes on writing to it, round by round. Pure. Private to this collection.

Bytes, bytes per second, seconds. A round ends when what is left would go over within the downtime limit, not when nothing is left; what was
written meanwhile is read then, each page once, and is what the next round sends. If that is still little enough the guest is stopped.

Source: QEMU migration/migration.c, migration/ram.c (rules); measured on QEMU 10.0 (numbers).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MIB = 2**20
DOWNTIME = 0.3
"""Seconds that a guest may stand still at the end. KubeVirt leaves libvirt's default."""
WINDOW = 0.1
"""Seconds in which a tenth of the limit is sent at full speed; then it waits for the next."""
LOOK = 0.05
"""Seconds of sending without a limit, after which it looks whether the guest can be stopped."""
ZERO = 0.00018 / MIB
"""Seconds to find that a byte's page is all zeros; nothing is sent for it."""
HAND_OVER = 0.003
POST_COPY_SWITCH = 0.02
VCPU_WRITES = 900.0 * MIB
"""What a guest that is not slowed down could write: one that works off a load from outside keeps its rate until its share of that is less."""
FIRST_THROTTLE, MORE_THROTTLE, MOST_THROTTLE = 0.2, 0.1, 0.99
_THROTTLE_PERIOD = 1.0
_MOST_ROUNDS = 5000
_CLEARLY_LESS = 0.5
UNIFORM, SEQUENTIAL, HOT = "uniform", "sequential", "hot"
PATTERNS = (UNIFORM, SEQUENTIAL, HOT)
_HOT = ((0.2, 0.8), (0.8, 0.2))
"""Parts of a working set, and the share of the writes that each gets."""


@dataclass(frozen=True)
class Load:
    """A guest's memory, what of it is not zeros, what is written again and again, and how fast, and where in it.

    C(keeps_up) is whether a guest that is slowed down catches up with its work; else it does less of it.
    """

    memory: float
    non_zero: float
    working_set: float = 0.0
    dirty_rate: float = 0.0
    pattern: str = UNIFORM
    keeps_up: bool = True

    def rate(self, throttle: float) -> float:
        """What it writes with this share of its CPU time taken away."""
        if not throttle:
            return self.dirty_rate
        return min(self.dirty_rate, VCPU_WRITES * (1 - throttle)) if self.keeps_up else self.dirty_rate * (1 - throttle)

    def distinct(self, written: float) -> float:
        """Bytes that differ after so many were written."""
        if self.working_set <= 0 or written <= 0:
            return 0.0
        if self.pattern == SEQUENTIAL:
            return min(self.working_set, written)
        if self.pattern == UNIFORM:
            return self.working_set * -math.expm1(-written / self.working_set)
        return sum(size * self.working_set * -math.expm1(-share * written / (size * self.working_set)) for size, share in _HOT)

    def together(self, unsent: float, dirtied: float) -> float:
        """Bytes to send when so many are left of a round and so many were dirtied in it."""
        if self.working_set <= 0 or dirtied <= 0:
            return unsent
        if self.pattern == SEQUENTIAL:
            return min(max(self.working_set, unsent), unsent + dirtied)
        return unsent + dirtied * max(0.0, 1 - unsent / self.working_set)


@dataclass(frozen=True)
class Channel:
    """How fast it goes: C(speed) while it sends, C(cap) on average (infinite for none), C(stopped) while the guest stands still."""

    speed: float
    cap: float = math.inf
    stopped: float = 1200.0 * MIB
    set_up: float = 0.003

    @property
    def rate(self) -> float:
        """On average."""
        return min(self.speed, self.cap)

    @property
    def step(self) -> float:
        """Seconds between two looks."""
        return WINDOW if self.cap < self.speed else LOOK


class Copy:
    """One copy, at C(time) seconds from its begin. C(ended) is when it was complete, infinite while it is not.

    C(circling) is set once every round is like the one before, so that it never ends by itself: how many seconds such a round takes.
    """

    def __init__(self, load: Load, channel: Channel, auto_converge: bool = False) -> None:
        self.load, self.channel = load, channel
        self.time = channel.set_up
        self.unsent = load.non_zero
        self.zero = max(0.0, load.memory - load.non_zero)
        self.throttle = 0.0
        self.downtime = 0.0
        self.ended = math.inf
        self.circling = 0.0
        self._auto_converge = auto_converge
        self._rate, self._step, self._little = channel.rate, channel.rate * channel.step, channel.rate * DOWNTIME
        self._synced = 0.0
        self._first = True
        self._period = (0.0, 0.0, 0.0)
        self._sent = 0.0
        self._counted = 0
        self._seen: set[int] = set()
        self._rounds = 0

    def advance(self, until: float) -> Copy:
        """Go on to that moment, to the end, or until it circles."""
        if self.time == self.channel.set_up and self._may_stop():
            self._stop()
        while self.ended == math.inf and not self.circling:
            sent, scanned = self._ahead()
            took = sent / self._rate + scanned * ZERO
            if self.time + took > until:
                self._part(until - self.time)
                break
            self.unsent -= sent
            self.zero -= scanned
            self._sent += sent
            self.time += took
            self._synchronise(took)
        return self

    def rest(self, at: float) -> float:
        """Bytes that a post-copy from that moment on has to send, or a guest that is stopped then: what is left with what was written since."""
        if self.circling:
            return self.unsent
        return self._merged(self.load.distinct(self.load.rate(self.throttle) * max(0.0, at - self._synced)))

    def _merged(self, dirtied: float) -> float:
        """What is unsent with what was dirtied. In the first round pages are dirtied that were sent already, so that nothing counts twice."""
        if self._first:
            return min(max(self.load.non_zero, self.load.working_set), self.unsent + dirtied)
        return self.load.together(self.unsent, dirtied)

    def _may_stop(self) -> bool:
        return self.unsent + self.zero < self._little

    def _ahead(self) -> tuple[float, float]:
        """What the next round sends, and what of the zeros it looks at: up to the first look at which little enough is left."""
        too_much = self.unsent + self.zero - self._little
        sent = min(self.unsent, self._step * max(1, int(too_much / self._step) + 1))
        return sent, min(self.zero, max(0.0, too_much - sent + 1)) if sent == self.unsent else 0.0

    def _part(self, seconds: float) -> None:
        sent = min(self.unsent, seconds * self._rate)
        self.unsent -= sent
        self.time += seconds

    def _synchronise(self, took: float) -> None:
        dirtied = self.load.distinct(self.load.rate(self.throttle) * (self.time - self._synced))
        self.unsent = self._merged(dirtied)
        self._first, self._synced = False, self.time
        if self._auto_converge:
            self._slow_down(dirtied)
        if self._may_stop():
            self._stop()
            return
        self.time += self.zero * ZERO
        self.zero = 0.0
        self._rounds += 1
        self._look_for_a_circle(took)

    def _slow_down(self, dirtied: float) -> None:
        """Twice in periods of a second at least more than half of what was sent became dirty again: the guest gets less CPU."""
        since, so_far, sent = self._period
        so_far += dirtied
        if self.time - since < _THROTTLE_PERIOD:
            self._period = since, so_far, sent
            return
        if so_far > 0.5 * (self._sent - sent):
            self._counted += 1
            if self._counted == 2:
                self._counted = 0
                self.throttle = min(MOST_THROTTLE, self.throttle + MORE_THROTTLE) if self.throttle else FIRST_THROTTLE
                self._seen.clear()
        self._period = self.time, 0.0, self._sent

    def _look_for_a_circle(self, took: float) -> None:
        """What a round leaves follows from what it began with: the same twice, to a page, comes again for ever."""
        if self._auto_converge and self.throttle < MOST_THROTTLE and self._rounds < _MOST_ROUNDS:
            return
        mark = int(self.unsent / 4096)
        if mark in self._seen or self._rounds >= _MOST_ROUNDS:
            self.circling = took
        self._seen.add(mark)

    def _stop(self) -> None:
        self.downtime = HAND_OVER + self.unsent / self.channel.stopped + self.zero * ZERO
        self.ended = self.time + self.downtime


def copied(load: Load, channel: Channel, auto_converge: bool = False, until: float = math.inf) -> Copy:
    """The copy as it is at that moment, or when it ended or began to circle before."""
    return Copy(load, channel, auto_converge).advance(until)


def surely_ends_within(load: Load, channel: Channel) -> float:
    """An upper bound of the time of a guest that clearly writes less than is sent; infinite where a closer look is needed."""
    share = load.dirty_rate / channel.rate
    if share > _CLEARLY_LESS:
        return math.inf
    return channel.set_up + load.non_zero / channel.rate / (1 - share) + 2 * (load.memory - load.non_zero) * ZERO + 2 * DOWNTIME + 10 * WINDOW
