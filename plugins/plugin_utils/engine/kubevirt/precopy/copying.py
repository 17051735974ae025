# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One guest's memory on its way: rounds, the windows that keep the cap, the rule that stops the guest, the switch to post-copy.

Exact between events: what nothing can interrupt (whole windows, the wait for one's end, a scan of zeros) is one piece with a closed
form, so an hour of copying costs milliseconds. Source of the rules: QEMU migration/migration.c, migration/ram.c.
"""
from __future__ import annotations

import dataclasses
import enum
import math

from .guest import Guest
from .settings import Settings
from .throttle import Throttle

WINDOW = 0.1
"""Seconds in which a tenth of the cap may be sent, at full speed; the rest of them it waits."""
ITERATION = 0.05
"""Seconds of sending after which it looks whether the guest can be stopped."""
ZERO_SCAN = 0.00018
"""Seconds to find that a MiB is all zeros."""
ZERO_SENT = 11 * 256 / 1048576
"""MiB on the wire for a MiB of pages that are all zeros."""
HAND_OVER = 0.003
"""Seconds between the last page and the guest running on the other side."""
POST_COPY_SWITCH = 0.02
"""Seconds in which the guest runs nowhere when it changes sides before its memory."""
CANCEL = 0.1
"""Seconds until a copy that is cancelled has ended."""
BITMAP_READ = 0.001
"""Seconds at least between two reads of the dirty bitmap."""
PAGE = 1 / 256
_NOTHING = 1e-9
_LEFT_OVER = 1e-5
"""MiB that rounding leaves."""


class Phase(enum.StrEnum):
    """How far a copy is."""

    SET_UP = "setup"
    ACTIVE = "active"
    STOPPED = "device"
    POST_COPY = "postcopy-active"
    COMPLETED = "completed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in (Phase.COMPLETED, Phase.CANCELLED)


class _Piece(enum.Enum):
    PAUSE = enum.auto()
    SEND = enum.auto()
    WINDOWS = enum.auto()
    SCAN = enum.auto()


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a copy tells of itself: MiB, MiB/s; iterations counts the reads of the dirty bitmap, throttle is a share."""

    phase: Phase
    total: float
    remaining: float
    sent: float
    dirty_rate: float
    iterations: int
    throttle: float
    speed: float = 0.0


class Copy:
    """The state at `now`. Everything that happens to it from outside is told with its moment, which never goes back."""

    __slots__ = (
        "_budget", "_cycle", "_dirty_rate", "_paused", "_piece", "_piece_end", "_scanning", "_share", "_synced", "_throttle",
        "_window_end", "_written", "began", "dirtied", "ended", "guest", "iterations", "now", "phase", "sent", "settings", "stop",
        "unsent", "zero",
    )  # fmt: skip

    def __init__(self, guest: Guest, settings: Settings, began: float = 0.0) -> None:
        self.guest, self.settings = guest, settings
        self.began = self.now = began
        self.phase = Phase.SET_UP
        self.unsent = guest.nonzero
        self.zero = max(0.0, guest.memory - guest.occupied)
        self.sent = 0.0
        """MiB of pages sent, without what zeros take on the wire."""
        self.dirtied = 0.0
        """MiB that had to be sent again."""
        self.iterations = 1
        self.stop = 0.0
        """Seconds that the guest stood still, or will."""
        self.ended = math.inf
        self._throttle = Throttle(settings.auto_converge)
        self._share = math.inf
        self._paused = False
        self._written = 0.0
        self._synced = began
        self._dirty_rate = 0.0
        self._window_end = began
        self._budget = 0.0
        self._scanning = False
        self._piece, self._piece_end = _Piece.PAUSE, began + settings.set_up
        self._cycle: tuple[float, float, float, float] | None = None

    def clone(self) -> Copy:
        """The same once more, to see what will become of it."""
        made = object.__new__(Copy)
        for name in Copy.__slots__:
            setattr(made, name, getattr(self, name))
        made._throttle = self._throttle.copy()
        return made

    # What others see

    @property
    def throttle(self) -> float:
        return self._throttle.share

    @property
    def share(self) -> float:
        """MiB/s that its links give it at most, as told last."""
        return self._share

    @property
    def demand(self) -> float:
        """MiB/s that it would take from a link now."""
        if self.phase is Phase.ACTIVE:
            return 0.0 if self._scanning else min(self.settings.cap, self.settings.speed)
        if self.phase is Phase.STOPPED:
            return self.settings.stopped_speed
        return self.settings.post_copy_speed if self.phase is Phase.POST_COPY else 0.0

    @property
    def on_the_wire(self) -> float:
        """MiB that went over the link, zeros included."""
        scanned = max(0.0, self.guest.memory - self.guest.occupied) - self.zero
        return self.sent + scanned * ZERO_SENT

    def remaining(self, now: float) -> float:
        """MiB still to send at a moment in what it does at present: quicker than progress()."""
        rest, took = self.unsent + self.zero, now - self.now
        if took <= 0.0 or self.phase.final:
            return rest
        if self._piece is _Piece.SEND:
            return max(self.zero, rest - self._speed() * took)
        if self._piece is _Piece.SCAN:
            return max(self.unsent, rest - took / ZERO_SCAN)
        if self._piece is _Piece.WINDOWS:
            whole = int(took / WINDOW)
            budget = self.settings.cap * WINDOW
            return rest - whole * budget - min(budget, (took - whole * WINDOW) * self._speed())
        return rest

    def progress(self, now: float) -> Progress:
        """As of that moment, without going there."""
        seen = self
        if now > self.now and not self.phase.final:
            seen = self.clone()
            seen.advance(now)
            if not seen.phase.final:
                seen._cut(now)
        return Progress(
            seen.phase, self.guest.memory, seen.unsent + seen.zero, seen.on_the_wire, seen._dirty_rate, seen.iterations, seen.throttle,
            min(seen.demand, seen._share),
        )

    # What happens to it

    def advance(self, until: float) -> None:
        """Go on to that moment, or to the end."""
        while not self.phase.final and self._piece_end <= until:
            self._apply(self._piece_end)
            self._plan(until)

    def advance_to_change(self, until: float) -> float:
        """Go on until its demand changes, or to that moment; returns when that is, infinity for not before `until`."""
        demand = self.demand
        while not self.phase.final and self._piece_end <= until:
            self._apply(self._piece_end)
            self._plan(until)
            if self.demand != demand:
                return self.now
        return math.inf

    def set_share(self, share: float, now: float) -> bool:
        """From that moment its links give it so many MiB/s; False when they did so before."""
        if share == self._share:
            return False
        self.advance(now)
        before, kept = self._speed(), self._share
        self._share = share
        if self._speed() == before:
            return True
        self._share = kept
        self._cut(now)
        self._share = share
        self._changed(now)
        return True

    def pause(self, now: float, paused: bool = True) -> None:
        """The guest stands still, or runs again."""
        if paused == self._paused:
            return
        self.advance(now)
        self._cut(now)
        self._paused = paused
        self._changed(now)

    def cancel(self, now: float) -> bool:
        """End it; False when it can't be ended any more."""
        self.advance(now)
        if self.phase.final or self.phase is Phase.POST_COPY:
            return False
        self._cut(now)
        self.phase, self.ended = Phase.CANCELLED, now + CANCEL
        self.stop = 0.0
        return True

    def start_post_copy(self, now: float) -> bool:
        """The guest changes sides, its memory follows; False when it is too early or too late for that."""
        self.advance(now)
        if self.phase is not Phase.ACTIVE:
            return False
        self._cut(now)
        self._synchronise()
        self.phase = Phase.POST_COPY
        self.stop = POST_COPY_SWITCH
        self._piece, self._piece_end = _Piece.PAUSE, now + POST_COPY_SWITCH + self.zero * ZERO_SCAN
        return True

    # How it goes

    def _speed(self) -> float:
        """MiB/s while it sends: what its links give when that is less than it would take."""
        if self.phase is Phase.ACTIVE:
            speed = self.settings.speed
            return self._share if self._share < min(self.settings.cap, speed) else speed
        return min(self.demand, self._share)

    def _changed(self, now: float) -> None:
        """Its speed is another from now on: what it was about to do has to be planned again."""
        if self.phase.final:
            return
        self._cycle = None
        if self._piece is _Piece.PAUSE and self.phase is not Phase.ACTIVE:
            return
        self._cut(now)
        self._plan(now)

    def _cut(self, now: float) -> None:
        if now > self.now:
            self._apply(now)

    def _apply(self, until: float) -> None:
        """Do the present piece up to that moment."""
        took = until - self.now
        if self.phase in (Phase.SET_UP, Phase.ACTIVE) and not self._paused:
            self._written += self.guest.rate(self._throttle.share) * took
        if self._piece is _Piece.SEND:
            self._send(self._speed() * took)
        elif self._piece is _Piece.SCAN:
            self.zero = max(0.0, self.zero - took / ZERO_SCAN)
            if self.zero < _NOTHING:
                self.zero = 0.0
        elif self._piece is _Piece.WINDOWS:
            self._windows(until)
        self.now = until

    def _send(self, amount: float) -> None:
        amount = min(amount, self.unsent)
        self.unsent -= amount
        self.sent += amount
        self._budget -= amount
        if self.unsent < _LEFT_OVER:
            self.sent, self.unsent = self.sent + self.unsent, 0.0

    def _windows(self, until: float) -> None:
        budget = self.settings.cap * WINDOW
        if until >= self._piece_end:
            whole, rest = round((self._piece_end - self.now) / WINDOW), 0.0
        else:
            whole = int((until - self.now) / WINDOW)
            rest = until - self.now - whole * WINDOW
        last = min(budget, rest * self._speed())
        self._window_end = self.now + whole * WINDOW + (WINDOW if rest else 0.0)
        self._send(whole * budget + last)
        self._budget = budget - last if rest else 0.0

    def _plan(self, until: float) -> None:
        """Decide what comes next; `until` is how far anybody looks, so that what repeats itself can be left out."""
        self._scanning = False
        if self.phase is Phase.SET_UP:
            self.phase = Phase.ACTIVE
        if self.phase is Phase.ACTIVE:
            self._plan_round(until)
        elif self.unsent > 0.0:
            speed = self._speed()
            self._set(_Piece.SEND, self.unsent / speed if speed > 0.0 else math.inf)
        else:
            self.zero = 0.0
            self.phase, self.ended = Phase.COMPLETED, self.now

    def _set(self, piece: _Piece, seconds: float) -> None:
        # Late in a long time a short piece is none: there is always a next moment.
        self._piece, self._piece_end = piece, max(self.now + seconds, math.nextafter(self.now, math.inf))

    def _may_stop(self, threshold: float) -> bool:
        rest = self.unsent + self.zero
        return rest < PAGE or rest < threshold

    def _plan_round(self, until: float) -> None:
        speed = self._speed()
        threshold = min(self.settings.cap, speed) * self.settings.downtime_limit
        if self._may_stop(threshold):
            if self.now - self._synced < BITMAP_READ - _NOTHING:
                self._set(_Piece.PAUSE, self._synced + BITMAP_READ - self.now)
                return
            self._synchronise()
            if self._may_stop(threshold):
                self._stop_guest()
                return
            if self.zero:
                self._set(_Piece.SCAN, self.zero * ZERO_SCAN)
                return
            self._skip_cycles(until)
        if self.now >= self._window_end - _NOTHING:
            self._window_end, self._budget = self.now + WINDOW, self.settings.cap * WINDOW
        if self.unsent <= 0.0:
            step = ITERATION / ZERO_SCAN
            steps = max(1, math.ceil((self.zero - threshold) / step))
            self._scanning = steps > 1
            self._set(_Piece.SCAN, min(self.zero, steps * step) * ZERO_SCAN)
        elif self._budget <= _LEFT_OVER:
            self._set(_Piece.PAUSE, self._window_end - self.now)
        else:
            self._plan_sending(speed, threshold)

    def _plan_sending(self, speed: float, threshold: float) -> None:
        if speed <= _NOTHING:
            self._set(_Piece.PAUSE, math.inf)
            return
        budget = self.settings.cap * WINDOW
        surely = min(self.unsent + self.zero - threshold, self.unsent)
        if speed * WINDOW <= budget:
            many = int(surely / (speed * ITERATION)) - 1
            self._set(_Piece.SEND, many * ITERATION if many > 1 else min(ITERATION, self.unsent / speed))
            self._budget = math.inf
            return
        many = int(surely / budget) - 1
        if many > 1 and self._budget == budget:
            self._set(_Piece.WINDOWS, many * WINDOW)
        else:
            self._set(_Piece.SEND, min(ITERATION, self._budget / speed, self.unsent / speed))

    def _synchronise(self) -> None:
        """Read the dirty bitmap: what was written since the last time has to be sent again."""
        dirtied = self.guest.distinct(self._written)
        throttle = self._throttle.share
        self._throttle.synchronised(self.now - self.began, dirtied, self.sent)
        if self._throttle.share != throttle:
            self._cycle = None
        merged = self.guest.merged(self.unsent, dirtied, self.iterations == 1)
        self.dirtied += merged - self.unsent
        self.unsent = merged
        if self.now > self._synced:
            self._dirty_rate = dirtied / (self.now - self._synced)
        self._synced, self._written = self.now, 0.0
        self.iterations += 1

    def _skip_cycles(self, until: float) -> None:
        """A round that left everything as it found it will do so for ever: whole rounds up to `until` are left out."""
        before = self._cycle
        self._cycle = (self.unsent, self._window_end - self.now, self.now, self.sent)
        if before is None or not self._throttle.settled or not math.isclose(before[0], self.unsent, rel_tol=1e-9):
            return
        period = self.now - before[2]
        if period <= 0.0 or abs(before[1] - self._cycle[1]) > 1e-7:
            return
        rounds = int((until - self.now) / period) - 1 if until < math.inf else 0
        if rounds < 1:
            return
        sent, span = self.sent - before[3], rounds * period
        self.sent += rounds * sent
        self.dirtied += rounds * sent
        self.iterations += rounds
        self.now += span
        self._window_end += span
        self._synced = self.now
        self._cycle = (self.unsent, self._window_end - self.now, self.now, self.sent)

    def _stop_guest(self) -> None:
        self.phase = Phase.STOPPED
        self.iterations += 1
        self.stop = HAND_OVER + self.zero * ZERO_SCAN + self.unsent / self.settings.stopped_speed
        self._set(_Piece.PAUSE, HAND_OVER + self.zero * ZERO_SCAN)
