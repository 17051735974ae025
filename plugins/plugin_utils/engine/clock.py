# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's time: real, so many times faster, or jumping to whatever is due next.

Foreground sleeps are steps of something that happens (a roll-out, a copy). Background sleeps (heartbeats, periodic looks) never make
a jumping clock jump: they fire when time has passed them, or the clock would race for ever.
"""
from __future__ import annotations

import asyncio
import contextlib
import datetime
import heapq
import itertools
import time
import typing as t

IDLE_PASSES = 25
"""Passes through the event loop without activity after which a jumping clock holds that nothing else is due."""
LONGEST_NAP = 3600.0
"""Real seconds; longer sleeps are taken in several."""


class Clock(t.Protocol):
    """What the engine knows of time. Seconds are engine seconds."""

    def now(self) -> datetime.datetime:
        """Engine time, UTC."""

    def timestamp(self) -> str:
        """Engine time as metav1.Time: 2026-11-23T10:18:49Z."""

    def micro_timestamp(self) -> str:
        """Engine time as metav1.MicroTime: 2026-11-23T10:18:49.000000Z."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    async def sleep(self, seconds: float, *, background: bool = False) -> None:
        """Return when so much engine time has passed."""

    def busy(self) -> contextlib.AbstractContextManager[None]:
        """While entered, work of this task is under way that time must not overtake, except while it sleeps itself. May be entered again."""

    def activity(self) -> None:
        """Something happened: what follows from it comes before any jump."""


def _rfc3339(moment: datetime.datetime, timespec: str) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def _beginning(not_before: datetime.datetime | None) -> datetime.datetime:
    now = datetime.datetime.now(datetime.UTC)
    return max(now, not_before) if not_before is not None else now


class ScaledClock:
    """Real time, `factor` times as fast."""

    def __init__(self, factor: float = 1.0, not_before: datetime.datetime | None = None) -> None:
        self._factor = factor
        self._epoch, self._started = _beginning(not_before), time.monotonic()

    def now(self) -> datetime.datetime:
        return self._epoch + datetime.timedelta(seconds=self.monotonic())

    def timestamp(self) -> str:
        return _rfc3339(self.now(), "seconds")

    def micro_timestamp(self) -> str:
        return _rfc3339(self.now(), "microseconds")

    def monotonic(self) -> float:
        return (time.monotonic() - self._started) * self._factor

    async def sleep(self, seconds: float, *, background: bool = False) -> None:
        until = self.monotonic() + seconds
        await asyncio.sleep(max(0.0, seconds) / self._factor)
        # The two clocks round differently: never wake early.
        while (left := until - self.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left / self._factor)

    def busy(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def activity(self) -> None:
        """Nothing can be overtaken: time only passes."""


class JumpingClock:
    """Real time that jumps to the next foreground deadline as soon as nothing else is due. `real` is where real seconds come from."""

    def __init__(self, not_before: datetime.datetime | None = None, real: t.Callable[[], float] = time.monotonic) -> None:
        self._real = real
        self._epoch, self._started = _beginning(not_before), real()
        self._said_at, self._said = -1, ""
        self._jumped = 0.0
        self._sleepers: list[tuple[float, int, bool, asyncio.Future[None]]] = []
        self._number = itertools.count()
        self._foreground = 0
        self._busy = 0
        # By task and not by context: a task begun by work under way is not that work.
        self._inside: dict[asyncio.Task[t.Any] | None, int] = {}
        self._happened = 0
        self._ticker: asyncio.Task[None] | None = None
        self._wake: asyncio.Event | None = None

    def now(self) -> datetime.datetime:
        return self._epoch + datetime.timedelta(seconds=self.monotonic())

    def timestamp(self) -> str:
        # Written into nearly every object: the same text all through a second.
        second = int(self.monotonic() + self._epoch.microsecond / 1_000_000)
        if second != self._said_at:
            self._said_at, self._said = second, _rfc3339(self._epoch.replace(microsecond=0) + datetime.timedelta(seconds=second), "seconds")
        return self._said

    def micro_timestamp(self) -> str:
        return _rfc3339(self.now(), "microseconds")

    def monotonic(self) -> float:
        return self._real() - self._started + self._jumped

    def activity(self) -> None:
        self._happened += 1

    def busy(self) -> contextlib.AbstractContextManager[None]:
        return _Busy(self, asyncio.current_task())

    def begin(self, task: asyncio.Task[t.Any] | None) -> None:
        """The task is at work from now on."""
        self._busy += 1
        self._inside[task] = self._inside.get(task, 0) + 1

    def end(self, task: asyncio.Task[t.Any] | None) -> None:
        """The work that the task has begun last is done."""
        left = self._inside[task] - 1
        if left:
            self._inside[task] = left
        else:
            del self._inside[task]
        self._busy -= 1
        self._happened += 1

    async def sleep(self, seconds: float, *, background: bool = False) -> None:
        self.activity()
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.monotonic() + seconds, next(self._number), background, future))
        self._start()
        inside = self._inside.get(asyncio.current_task(), 0)
        # Who sleeps isn't in the way of time, whatever it is in the middle of.
        self._busy -= inside
        self._foreground += not background
        try:
            await future
        finally:
            self._foreground -= not background
            self._busy += inside
            self.activity()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._ticker is None or self._ticker.done() or self._ticker.get_loop() is not loop:
            self._wake = asyncio.Event()
            self._ticker = loop.create_task(self._tick(self._wake), name="clock")
        elif self._wake is not None:
            self._wake.set()

    async def _tick(self, wake: asyncio.Event) -> None:
        while self._sleepers:
            # Who slept may have gone while the loop went round.
            if self._foreground and await self._idle() and self._foreground:
                self._jump()
            self._fire()
            if self._foreground:
                continue
            wake.clear()
            pending = self._sleepers[0][0] - self.monotonic() if self._sleepers else 0.0
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(wake.wait(), max(0.0, min(pending, LONGEST_NAP)))

    async def _idle(self) -> bool:
        """Whether the loop went round often enough without anything happening; gives way to sockets in between."""
        before, passes = self._happened, 0
        while passes < IDLE_PASSES:
            await asyncio.sleep(0 if not self._busy else 0.001)
            if self._happened != before or self._busy:
                before, passes = self._happened, 0
                if self._sleepers and self._sleepers[0][0] <= self.monotonic():
                    return False
            else:
                passes += 1
        return True

    def _jump(self) -> None:
        # Never past a background deadline: what lies before the next step happens before it.
        if self._sleepers:
            self._jumped += max(0.0, self._sleepers[0][0] - self.monotonic())

    def _fire(self) -> None:
        """Wake those whose time has come, one moment after the other, so that the earlier acts before the later."""
        while self._sleepers and (self._sleepers[0][3].done() or self._sleepers[0][0] <= self.monotonic()):
            when = self._sleepers[0][0]
            while self._sleepers and self._sleepers[0][0] == when:
                future = heapq.heappop(self._sleepers)[3]
                if not future.done():
                    future.set_result(None)
                    self.activity()
            if self._happened and self._sleepers and self._sleepers[0][0] <= self.monotonic():
                return


class _Busy:
    """Work of a task under way while it lasts. A class, as every reconciliation enters one."""

    __slots__ = ("_clock", "_task")

    def __init__(self, clock: JumpingClock, task: asyncio.Task[t.Any] | None) -> None:
        self._clock, self._task = clock, task

    def __enter__(self) -> None:
        self._clock.begin(self._task)

    def __exit__(self, *_exception: object) -> None:
        self._clock.end(self._task)


def make_clock(speed: str | float, not_before: datetime.datetime | None = None) -> Clock:
    """A clock for `max`, `1`, `60`… that begins now, or at `not_before` when that is later. Raises ValueError with a sentence."""
    if speed == "max":
        return JumpingClock(not_before)
    try:
        factor = float(speed)
    except ValueError:
        factor = 0.0
    if not 0.0 < factor < float("inf"):
        raise ValueError(f"speed {speed!r} is neither a positive number (1 is real time, 60 a minute a second) nor max")
    return ScaledClock(factor, not_before)
