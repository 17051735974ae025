# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Auto-converge: a guest that writes too fast gets less and less CPU.

Source: QEMU migration/ram.c (migration_trigger_throttle), migration/cpu-throttle.c.
"""
from __future__ import annotations

INITIAL, STEP, MOST = 0.2, 0.1, 0.99
PERIOD = 1.0
"""Seconds between two looks."""
TOO_MUCH = 0.5
"""A period counts in which more than this share of what was sent has been dirtied again."""


class Throttle:
    """The share of time in which the guest's CPUs stand still."""

    __slots__ = ("_counted", "_dirtied", "_sent", "_since", "enabled", "share")

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.share = 0.0
        self._since = 0.0
        self._dirtied = 0.0
        self._sent = 0.0
        self._counted = 0

    @property
    def settled(self) -> bool:
        """Whether nothing that happens can change it any more."""
        return not self.enabled or self.share >= MOST

    def synchronised(self, now: float, dirtied: float, sent_in_all: float) -> None:
        """The dirty bitmap was read: so much was dirtied since the last time; sent_in_all since the beginning."""
        self._dirtied += dirtied
        if now - self._since < PERIOD:
            return
        if self.enabled and self._dirtied > TOO_MUCH * (sent_in_all - self._sent):
            self._counted += 1
            if self._counted >= 2:
                self._counted = 0
                self.share = min(MOST, self.share + STEP) if self.share else INITIAL
        self._since, self._dirtied, self._sent = now, 0.0, sent_in_all

    def copy(self) -> Throttle:
        made = Throttle(self.enabled)
        made.share, made._since, made._dirtied, made._sent, made._counted = self.share, self._since, self._dirtied, self._sent, self._counted
        return made
