# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Letting a jumping clock go on for what waits in the background.

Whoever waits for something that may never come looks again and again; such looks must not drive the clock, or it would race for ever.
But once what they wait for has come, their next looks are steps of something that happens.
"""
from __future__ import annotations

import asyncio

from ...clock import Clock


class Driver:
    """Keeps the clock going up to a moment, so that background looks until then are taken in their time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = 0.0
        self._task: asyncio.Task[None] | None = None

    def drive(self, seconds: float) -> None:
        """Let the clock pass so many engine seconds from now, if nothing lets it pass more."""
        self._until = max(self._until, self._clock.monotonic() + seconds)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._go())

    async def _go(self) -> None:
        while (left := self._until - self._clock.monotonic()) > 0:
            await self._clock.sleep(left)

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
