# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest: how much memory it has in use, and which part of it is different after it has written for a while."""
from __future__ import annotations

import dataclasses
import enum
import math

CATCH_UP = 900.0
"""MiB/s that an unthrottled vCPU can write: a writer that catches up with its clock is slowed only when its share of that falls below its rate."""

_NONE = 1e-6


class Pattern(enum.StrEnum):
    """Where a guest writes within its working set."""

    SEQUENTIAL = "sequential"
    UNIFORM = "uniform"
    HOT = "hot"
    """Four fifths of the writes go to one fifth of the working set."""


class Writer(enum.StrEnum):
    """What a throttled guest does about the writes that it has no time for."""

    OPEN = "open"
    """Catches up with its clock: a service with a load from outside."""
    CLOSED = "closed"
    """Loses them: a computation."""


_PARTS = {Pattern.UNIFORM: ((1.0, 1.0),), Pattern.HOT: ((0.2, 0.8), (0.8, 0.2))}
"""Parts of the working set, each with its share of the memory and of the writes."""


@dataclasses.dataclass(frozen=True)
class Guest:
    """MiB and MiB/s; nonzero is what is not a page of zeros, the working set is part of it."""

    memory: float
    nonzero: float
    working_set: float = 0.0
    dirty_rate: float = 0.0
    pattern: Pattern = Pattern.SEQUENTIAL
    writer: Writer = Writer.OPEN

    @property
    def occupied(self) -> float:
        """MiB that can ever be different from zeros."""
        return max(self.nonzero, self.working_set)

    def rate(self, throttle: float) -> float:
        """MiB/s written while the guest gets no CPU for this share (0 to 1) of the time."""
        if self.writer is Writer.CLOSED:
            return self.dirty_rate * (1.0 - throttle)
        return min(self.dirty_rate, CATCH_UP * (1.0 - throttle)) if throttle else self.dirty_rate

    def distinct(self, written: float) -> float:
        """MiB that differ after so many MiB were written, each counted once."""
        if self.working_set < _NONE or written <= 0.0:
            return 0.0
        if self.pattern is Pattern.SEQUENTIAL:
            return min(self.working_set, written)
        return sum(
            share * self.working_set * -math.expm1(-writes * written / (share * self.working_set)) for share, writes in _PARTS[self.pattern]
        )

    def merged(self, unsent: float, dirtied: float, first_round: bool) -> float:
        """MiB to send when so much is still unsent and so much was dirtied meanwhile: pages in both count once."""
        if self.pattern is Pattern.SEQUENTIAL or first_round or self.working_set < _NONE:
            most = self.occupied if first_round else max(self.working_set, unsent)
            return min(most, unsent + dirtied)
        return unsent + dirtied * max(0.0, 1.0 - unsent / self.working_set)
