# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a live migration may be expected to take, for plans. Pure. Private to this collection.

The memory of a guest over the bandwidth that it gets, plus what KubeVirt needs around the copy. Pages that the guest writes meanwhile are sent once
more, so that a guest that writes at rate r is copied at the bandwidth less r.

Source: KubeVirt pkg/virt-launcher/virtwrap/live-migration-source.go (time-outs); measured on QEMU 10.0 (speeds) and on KubeVirt 1.5 (around the copy).
"""

from __future__ import annotations

import heapq
import math
import typing as t
from dataclasses import dataclass

from .._quantity import quantity
from .limits import Limits

SET_UP = 3.5
"""Seconds for a target pod to come up and for the hand-over, images being there."""
LINK = 1250 * 10**6
"""Bytes per second of a node's link: 10 Gbit/s."""
ONE_STREAM = 650 * 2**20
"""Bytes per second that one QEMU sends at most."""
_GIGA = 10**9


@dataclass(frozen=True)
class Estimate:
    """An expectation in seconds, and the sentences without which it is worth nothing."""

    seconds: float
    assumptions: tuple[str, ...]


def bandwidth_bytes(limits: Limits) -> float:
    """bandwidthPerMigration in bytes per second; 0 is unlimited, and so is what can't be read."""
    return quantity(limits.bandwidth)


def longest_seconds(memory_bytes: int, limits: Limits) -> float:
    """Seconds after which KubeVirt no longer waits for a copy: completionTimeoutPerGiB for each 10^9 bytes begun. Infinite when it is off."""
    if limits.completion_seconds_per_gib <= 0:
        return math.inf
    return float(limits.completion_seconds_per_gib * math.ceil(memory_bytes / _GIGA))


def expected_seconds(memory_bytes: int, limits: Limits, at_once: int = 1, dirty_bytes_per_second: float = 0.0, link: float = LINK) -> Estimate:
    """One migration among so many out of the same node, from its creation in a free slot to its end.

    C(link) is in bytes per second. Beyond KubeVirt's own time-out it says what KubeVirt does then.
    """
    share, cap = link / max(1, at_once), bandwidth_bytes(limits)
    speed = min(share, ONE_STREAM, cap or math.inf)
    said = [
        "all of the guest's memory is in use and is sent",
        f"the copy runs at {_rate(speed)}, {_why_so_fast(speed, cap, at_once, link)}",
        f"the target pod comes up and is handed over to in {SET_UP:g} s: a slot is free, a node has room, images are there",
    ]
    if dirty_bytes_per_second > 0:
        said.append(f"the guest writes {_rate(dirty_bytes_per_second)}, all of it in pages that were sent already")
    else:
        said.append("the guest writes far less than is sent")
    left = speed - dirty_bytes_per_second
    copy = memory_bytes / left if left > 0 else math.inf
    longest = longest_seconds(memory_bytes, limits)
    if copy > longest:
        said.append(_after_the_time_out(longest, limits))
        copy = longest + (memory_bytes / speed if limits.post_copy and limits.workload_disruption else 0.0)
    elif math.isinf(copy):
        said.append("at this rate it never ends, and no completion time-out is set")
    return Estimate(round(SET_UP + copy, 1) if math.isfinite(copy) else math.inf, tuple(said))


def expected_together(memories: t.Iterable[int], limits: Limits, slots: int, link: float = LINK) -> Estimate:
    """Migrations out of one node, the largest first, each as soon as one of so many slots is free. 0 slots never end."""
    sizes = sorted(memories, reverse=True)
    if not sizes:
        return Estimate(0.0, ())
    if slots < 1:
        return Estimate(math.inf, ("the limits of KubeVirt leave no slot, so that no migration starts",))
    at_once = min(slots, len(sizes))
    ends = [0.0] * at_once
    for size in sizes:
        heapq.heapreplace(ends, ends[0] + expected_seconds(size, limits, at_once, link=link).seconds)
    assumptions = expected_seconds(sizes[0], limits, at_once, link=link).assumptions
    return Estimate(round(max(ends), 1), (*assumptions, f"{at_once} of the {len(sizes)} migrations run at once, the largest first, and none fails"))


def _rate(bytes_per_second: float) -> str:
    return f"{bytes_per_second / 2**20:.0f} MiB/s"


def _why_so_fast(speed: float, cap: float, at_once: int, link: float) -> str:
    if cap and speed == cap:
        return "the limit bandwidthPerMigration"
    if speed == ONE_STREAM:
        return "the most that one QEMU sends"
    return f"a share of {at_once} in a link of {link * 8 / _GIGA:g} Gbit/s"


def _after_the_time_out(longest: float, limits: Limits) -> str:
    """Source: liveMigrationMonitor.processInflightMigration."""
    if limits.workload_disruption and limits.post_copy:
        return f"KubeVirt turns to post-copy after {longest:.0f} s, since it is not complete by then"
    if limits.workload_disruption:
        return f"KubeVirt pauses the guest after {longest:.0f} s, since it is not complete by then"
    return f"KubeVirt gives it up after {longest:.0f} s (completionTimeoutPerGiB), since it is not complete by then"
