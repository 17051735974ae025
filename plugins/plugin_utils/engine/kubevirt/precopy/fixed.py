# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy that takes a given time whatever the guest does: for histories that are compared with recorded ones."""
from __future__ import annotations

import math

from .copying import CANCEL, POST_COPY_SWITCH, Phase, Progress


class FixedCopy:
    """The part of Copy that others use. It takes nothing from any link."""

    demand = 0.0
    share = math.inf

    def __init__(self, memory: float, seconds: float, began: float = 0.0) -> None:
        self.memory, self.seconds, self.began, self.now = memory, seconds, began, began
        self.phase = Phase.ACTIVE
        self.stop = 0.0
        self.ended = math.inf
        self.cut = math.inf

    def clone(self) -> FixedCopy:
        made = FixedCopy(self.memory, self.seconds, self.began)
        made.now, made.phase, made.stop, made.ended, made.cut = self.now, self.phase, self.stop, self.ended, self.cut
        return made

    def progress(self, now: float) -> Progress:
        done = 1.0 if self.phase is Phase.COMPLETED else min(1.0, (min(now, self.cut) - self.began) / self.seconds) if self.seconds > 0.0 else 1.0
        speed = self.memory / self.seconds if self.seconds > 0.0 and done < 1.0 and now < self.cut else 0.0
        return Progress(self.phase, self.memory, self.memory * (1.0 - done), self.memory * done, 0.0, 1, 0.0, speed)

    def remaining(self, now: float) -> float:
        return self.progress(now).remaining

    def advance(self, until: float) -> None:
        end = self.began + self.seconds
        if not self.phase.final and until >= end and self.cut >= end:
            self.phase, self.now, self.ended = Phase.COMPLETED, end, end
        elif not self.phase.final:
            self.now = max(self.now, until)

    def advance_to_change(self, until: float) -> float:
        if self.phase.final:
            return math.inf
        self.advance(until)
        return self.ended if self.phase is Phase.COMPLETED and self.ended <= until else math.inf

    def cut_off(self, now: float) -> None:
        """Nothing gets through from now on."""
        self.advance(now)
        self.cut = min(self.cut, now)

    def set_share(self, _share: float, now: float) -> bool:
        self.advance(now)
        return False

    def pause(self, now: float, paused: bool = True) -> None:
        """A guest that stands still changes nothing here."""
        self.advance(now)

    def cancel(self, now: float) -> bool:
        self.advance(now)
        if self.phase.final or self.phase is Phase.POST_COPY:
            return False
        self.phase, self.ended = Phase.CANCELLED, now + CANCEL
        return True

    def start_post_copy(self, now: float) -> bool:
        self.advance(now)
        if self.phase.final:
            return False
        self.phase, self.stop = Phase.POST_COPY, POST_COPY_SWITCH
        return True
