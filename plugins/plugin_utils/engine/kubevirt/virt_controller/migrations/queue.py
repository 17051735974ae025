# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue of the migration controller: active migrations come before others, and those that wait for a free slot after all.

Source: KubeVirt pkg/virt-controller/watch/migration/migration.go, v1.4.1 and v1.5.3; sigs.k8s.io/controller-runtime pkg/controller/priorityqueue.
"""
from __future__ import annotations

import asyncio
import heapq
import itertools
import typing as t

from ....clock import Clock
from ....controller import Key, WorkQueue
from ....interface import Object
from ..configuration import Version
from . import phases

WAITING, NORMAL, ACTIVE = -100, 0, 100
"""Of migrations that wait for capacity, of those that something has happened to, and from KubeVirt 1.5.3 on of those under way."""


def priority(migration: Object, version: Version) -> int:
    """With which priority a change brings the migration into the queue."""
    return ACTIVE if version >= (1, 5, 3) and phases.is_running(migration) else NORMAL


class _Timer(t.NamedTuple):
    due: float
    priority: int
    task: asyncio.Task[None]


class PriorityQueue(WorkQueue):
    """Each key once: added again it keeps the higher priority and the earlier moment. Of equal priority, first come first served."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._heap: list[tuple[int, int, Key]] = []
        self._number = itertools.count()
        self._priorities: dict[Key, int] = {}
        self._in_work: dict[Key, int] = {}
        self._repeat: dict[Key, int] = {}
        self._timers: dict[Key, _Timer] = {}

    def add(self, key: Key, priority: int = NORMAL) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.task.cancel()
            priority = max(priority, timer.priority)
        if key in self._in_work:
            self._repeat[key] = max(priority, self._repeat.get(key, priority))
        elif self._priorities.get(key, priority - 1) < priority:
            self._priorities[key] = priority
            heapq.heappush(self._heap, (-priority, next(self._number), key))
            self._wake()

    def add_after(self, key: Key, seconds: float, background: bool = False, priority: int = NORMAL) -> None:
        if seconds <= 0 or key in self._priorities or key in self._repeat:
            self.add(key, priority)
            return
        due = self._clock.monotonic() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            priority = max(priority, timer.priority)
            if timer.due <= due:
                self._timers[key] = timer._replace(priority=priority)
                return
            timer.task.cancel()
        self._timers[key] = _Timer(due, priority, asyncio.create_task(self._later(key, seconds, background)))

    async def _later(self, key: Key, seconds: float, background: bool) -> None:
        await self._clock.sleep(seconds, background=background)
        timer = self._timers.pop(key)
        self.add(key, timer.priority)

    def failed(self, key: Key) -> None:
        super().failed(key)
        timer = self._timers.get(key)
        if timer is not None:
            self._timers[key] = timer._replace(priority=max(timer.priority, self._in_work.get(key, WAITING)))

    def due_in(self, key: Key) -> float | None:
        """Engine seconds until the key comes up by itself, or None when it doesn't wait."""
        timer = self._timers.get(key)
        return max(0.0, timer.due - self._clock.monotonic()) if timer is not None else None

    def __len__(self) -> int:
        return len(self._priorities) + len(self._in_work)

    async def get(self) -> Key:
        while True:
            while self._heap:
                negative, dummy, key = heapq.heappop(self._heap)
                # An entry that was overtaken by one of higher priority is left behind.
                if self._priorities.get(key) == -negative:
                    self._in_work[key] = self._priorities.pop(key)
                    return key
            await self._woken()

    def done(self, key: Key) -> None:
        self._in_work.pop(key, None)
        if key in self._repeat:
            self.add(key, self._repeat.pop(key))

    def close(self) -> None:
        super().close()
        for timer in self._timers.values():
            timer.task.cancel()
