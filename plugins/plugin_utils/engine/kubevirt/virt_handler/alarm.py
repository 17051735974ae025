# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One moment to be woken at for all copies under way, moved whenever another comes first."""
from __future__ import annotations

import asyncio
import math
import typing as t

from ...clock import Clock


class Alarm:
    """Calls the function at the moments that were set last: one that time goes on for, and one that is only waited for."""

    def __init__(self, clock: Clock, function: t.Callable[[], None]) -> None:
        self._clock, self._function = clock, function
        self._set: dict[bool, tuple[float, asyncio.Task[None]]] = {}

    def set(self, step: float, background: float) -> None:
        """Moments of the engine's monotonic time; infinity is never. A jumping clock jumps to the first alone."""
        for waits, due in ((False, step), (True, background)):
            before = self._set.get(waits)
            if before is not None and before[0] == due:
                continue
            if before is not None:
                before[1].cancel()
                del self._set[waits]
            if due < math.inf:
                self._set[waits] = due, asyncio.create_task(self._wake(due, waits))

    async def _wake(self, due: float, waits: bool) -> None:
        await self._clock.sleep(max(0.0, due - self._clock.monotonic()), background=waits)
        self._set.pop(waits, None)
        self._function()

    def stop(self) -> None:
        for dummy, task in self._set.values():
            task.cancel()
