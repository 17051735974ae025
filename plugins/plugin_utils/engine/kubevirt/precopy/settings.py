# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration is told: its cap, its channel, and what it may do to converge."""
from __future__ import annotations

import dataclasses
import math

RAW = 650.0
"""MiB/s that one migration sends when nothing holds it back."""
RAW_STOPPED = 1200.0
"""MiB/s that it sends while the guest is stopped: nobody writes, nothing is counted."""
TLS = 190.0
"""MiB/s that one encrypted stream reaches."""
SET_UP = 0.003
SET_UP_TLS = 0.05
SET_UP_TLS_MULTIFD = 0.125
"""Seconds until the first page goes."""


def unlimited(speed: float) -> float:
    """A speed of which 0 means that there is no limit."""
    return speed if speed > 0.0 else math.inf


@dataclasses.dataclass(frozen=True)
class Settings:
    """MiB/s and seconds. A bandwidth of 0 is no limit. tls_speed is what encryption leaves, all channels together."""

    bandwidth: float = 0.0
    raw: float = RAW
    downtime_limit: float = 0.3
    auto_converge: bool = False
    post_copy_bandwidth: float = 0.0
    tls: bool = False
    tls_speed: float = TLS
    multifd: int = 0

    @property
    def cap(self) -> float:
        """MiB/s on average, with what the pacing in windows lets through too much."""
        if self.multifd:
            return 1.17 * unlimited(self.bandwidth)
        return unlimited(self.bandwidth) + 1.05

    @property
    def speed(self) -> float:
        """MiB/s while it sends."""
        return min(self.raw, self.tls_speed) if self.tls else self.raw

    @property
    def stopped_speed(self) -> float:
        """MiB/s with the guest stopped. What is slower than a host is a link or a cipher, and stays what it is."""
        if self.speed < RAW:
            return self.speed
        return self.speed * RAW_STOPPED / RAW

    @property
    def post_copy_speed(self) -> float:
        return min(unlimited(self.post_copy_bandwidth) + 1.05, self.speed)

    @property
    def set_up(self) -> float:
        if not self.tls:
            return SET_UP
        return SET_UP + (SET_UP_TLS_MULTIFD if self.multifd else SET_UP_TLS)
