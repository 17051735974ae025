# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What virt-launcher does about a migration that takes too long: pure.

Source: KubeVirt pkg/virt-launcher/virtwrap/live-migration-source.go (migrationMonitor), manager.go (getVMIMigrationDataSize), v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import dataclasses
import enum
import math
import typing as t

from ...interface import Object
from ..virt_controller.configuration import bytes_of

PERIOD = 0.4
"""Engine seconds between two looks."""
_EARLY = 1e-6


class Mode(enum.StrEnum):
    """status.migrationState.mode."""

    PRE_COPY = "PreCopy"
    POST_COPY = "PostCopy"
    PAUSED = "Paused"


@dataclasses.dataclass(frozen=True)
class Abort:
    """The migration is given up, with this failureReason."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Limits:
    """Seconds; 0 is no limit. `assist` says that the guest may be disturbed to get it over, `post_copy` how."""

    acceptable: int = 0
    progress: int = 0
    assist: bool = False
    post_copy: bool = False


def guest_memory(vmi: Object) -> int:
    """Bytes of memory that the guest has."""
    domain = vmi["spec"].get("domain") or {}
    asked = (domain.get("memory") or {}).get("guest") or ((domain.get("resources") or {}).get("requests") or {}).get("memory")
    return bytes_of(asked or "0")


def limits(vmi: Object) -> Limits:
    """What the instance's migrationConfiguration allows. A size counts in thousand millions of bytes, rounded up."""
    settings = ((vmi.get("status") or {}).get("migrationState") or {}).get("migrationConfiguration") or {}
    size = math.ceil(guest_memory(vmi) / 1e9)
    post_copy = bool(settings.get("allowPostCopy"))
    return Limits(
        int(settings.get("completionTimeoutPerGiB") or 0) * size, int(settings.get("progressTimeout") or 0),
        # KubeVirt 1.4 knows post-copy alone.
        bool(settings.get("allowWorkloadDisruption", post_copy)), post_copy,
    )


class Monitor:
    """Looks at a copy every 0.4 s from its beginning and says once what is to be done."""

    def __init__(self, given: Limits, began: float) -> None:
        self.limits, self.began = given, began
        self.mode = Mode.PRE_COPY
        self._acceptable = given.acceptable
        self._looks = 0
        self._watermark = 0.0
        self._progress = began

    def next_look(self) -> float:
        return self.began + (self._looks + 1) * PERIOD

    def earliest(self) -> float:
        """No look before this one can lead to anything, whatever the copy does; infinity when none ever will."""
        if self.mode is Mode.POST_COPY:
            return math.inf
        moments = []
        if self._acceptable:
            moments.append(self.began + self._acceptable + 1)
        if self.limits.progress:
            moments.append(self._progress + self.limits.progress + 1)
        if not moments:
            return math.inf
        looks = math.ceil((min(moments) - self.began) / PERIOD - _EARLY)
        return max(self.began + looks * PERIOD, self.next_look())

    def look(self, now: float, remaining: float) -> Mode | Abort | None:
        """The next look, at next_look(): the mode to go over to, or an end."""
        self._looks += 1
        if self._watermark == 0.0 or remaining < self._watermark:
            self._progress = now
        self._watermark = remaining
        if self.mode is Mode.POST_COPY:
            return None
        late = bool(self._acceptable) and int(now - self.began + _EARLY) > self._acceptable
        if late and self.limits.assist and self.mode is not Mode.PAUSED:
            if self.limits.post_copy:
                self.mode = Mode.POST_COPY
            else:
                self.mode = Mode.PAUSED
                self._acceptable *= 2
            return self.mode
        stuck = int(now - self._progress + _EARLY)
        if self.limits.progress and stuck > self.limits.progress:
            return Abort(f"Live migration stuck for {stuck} seconds and has been aborted")
        if late:
            return Abort(f"Live migration is not completed after {self._acceptable} seconds and has been aborted")
        return None

    def look_on(self, until: float, remaining: t.Callable[[float], float]) -> None:
        """Take the looks up to that moment that can't lead to anything yet."""
        first = self.earliest()
        while (moment := self.next_look()) <= until + _EARLY:
            if moment >= first - _EARLY and moment >= (first := self.earliest()) - _EARLY:
                return
            self.look(moment, remaining(moment))

    def watch(self, until: float, remaining: t.Callable[[float], float]) -> tuple[float, Mode | Abort] | None:
        """Take all looks up to that moment; the first that leads to something, and when it was."""
        while self.next_look() <= until + _EARLY:
            moment = self.next_look()
            decision = self.look(moment, remaining(moment))
            if decision is not None:
                return moment, decision
        return None
