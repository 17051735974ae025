# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moments by key, of which the first is found without looking at the others."""
from __future__ import annotations

import heapq
import itertools
import math
import typing as t

Key = t.TypeVar("Key", bound=t.Hashable)


class Agenda(t.Generic[Key]):
    """One moment for each key, in any unit; infinity is never."""

    def __init__(self) -> None:
        self._moments: dict[Key, float] = {}
        self._entries: list[tuple[float, int, Key]] = []
        """A heap. Those of a moment that its key no longer has are passed over."""
        self._number = itertools.count()

    def set(self, key: Key, moment: float) -> None:
        """The key's moment is this one from now on."""
        if self._moments.get(key) == moment:
            return
        self._moments[key] = moment
        if moment < math.inf:
            heapq.heappush(self._entries, (moment, next(self._number), key))

    def drop(self, key: Key) -> None:
        """The key has no moment any more."""
        self._moments.pop(key, None)

    def first(self) -> tuple[float, Key | None]:
        """The earliest moment of all, and its key; infinity and None when there is none."""
        while self._entries:
            moment, dummy, key = self._entries[0]
            if self._moments.get(key) == moment:
                return moment, key
            heapq.heappop(self._entries)
        return math.inf, None

    def take(self, until: float) -> list[Key]:
        """The keys whose moment, which is not infinite, has come by then, and which have none from now on; the earliest first."""
        taken = []
        while self.first()[0] <= until:
            key = heapq.heappop(self._entries)[2]
            del self._moments[key]
            taken.append(key)
        return taken
