# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a live migration, and when: the copy, KubeVirt's preparations around it, and what it does when time is up. Pure.

Private to this collection. Source: KubeVirt pkg/virt-launcher/virtwrap/live-migration-source.go (time-outs, connections); measured on QEMU 10.0
(speeds) and on KubeVirt 1.5 (around the copy).
"""

from __future__ import annotations

import functools
import heapq
import math
import typing as t
from dataclasses import dataclass, replace

from .._quantity import quantity
from .guests import Guest
from .limits import Limits
from .precopy import MIB, PATTERNS, POST_COPY_SWITCH, ZERO, Channel, Copy, Load, copied, surely_ends_within

SET_UP = 3.5
"""Seconds for a target pod to come up and for the hand-over, images being there."""
LINK = 1250 * 10**6
"""Bytes per second of a node's link: 10 Gbit/s."""
ONE_STREAM = 650.0 * MIB
"""Bytes per second that one QEMU sends at most; more while its guest stands still."""
ENCRYPTED = 190.0 * MIB
"""Bytes per second that one encrypted connection carries."""
CONNECTIONS = 8
OVERSHOOT = 1.17
"""What several connections make of a limit; one connection sends 1 MiB/s more than it."""
_ONE_OVERSHOOT = 1.05 * MIB
_STOPPED = 1200.0 * MIB
_LOOK = 0.4
_GIVEN_IN_TENTHS = 10
_NAMED = 3
_GIGA = 10**9
CONVERGES, POST_COPY, PAUSED, GIVEN_UP, NEVER = "converges", "post_copy", "paused", "given_up", "never_ends"


@dataclass(frozen=True)
class Prediction:
    """One migration from its creation in a free slot to its end, in seconds, infinite if it has none.

    C(outcome) is converges, post_copy, paused (these three end well), given_up or never_ends. C(throttle) is the share of its CPU time that the
    guest loses at most, C(downtime) how many seconds it stands still.
    """

    outcome: str
    seconds: float
    sentence: str
    throttle: float = 0.0
    downtime: float = 0.0

    @property
    def converges(self) -> bool:
        """Whether it gets over by copying while the guest runs."""
        return self.outcome == CONVERGES

    @property
    def moves(self) -> bool:
        """Whether the VM gets over at all."""
        return self.outcome in (CONVERGES, POST_COPY, PAUSED)

    def to_dict(self) -> dict[str, t.Any]:
        return {
            "outcome": self.outcome, "converges": self.converges, "seconds": round(self.seconds, 1) if math.isfinite(self.seconds) else None,
            "sentence": self.sentence,
        }


@dataclass(frozen=True)
class Estimate:
    """An expectation in seconds, and the sentences without which it is worth nothing."""

    seconds: float
    assumptions: tuple[str, ...]


def bandwidth_bytes(limits: Limits) -> float:
    """bandwidthPerMigration in bytes per second as libvirt gets it, in whole MiB; 0 is unlimited, and so is what can't be read."""
    return round(quantity(limits.bandwidth) / MIB) * float(MIB)


def longest_seconds(memory_bytes: float, limits: Limits) -> float:
    """Seconds after which KubeVirt no longer waits for a copy: completionTimeoutPerGiB for each 10^9 bytes begun. Infinite when it is off."""
    if limits.completion_seconds_per_gib <= 0:
        return math.inf
    return float(limits.completion_seconds_per_gib * math.ceil(memory_bytes / _GIGA))


def channel_of(limits: Limits, one_channel: bool, share: float) -> Channel:
    """What one migration gets. C(share) is what the link leaves it, in bytes per second. Post-copy allowed means one connection."""
    connections = 1 if one_channel or limits.post_copy else CONNECTIONS
    most = min(ONE_STREAM, ENCRYPTED * connections) if limits.encrypted else ONE_STREAM
    asked = bandwidth_bytes(limits)
    cap = math.inf if not asked else asked * OVERSHOOT if connections > 1 else asked + _ONE_OVERSHOOT
    starts = (0.128 if connections > 1 else 0.053) if limits.encrypted else 0.003
    speed = min(most, share)
    return Channel(speed, cap, speed if speed < ONE_STREAM else _STOPPED, starts)


@functools.lru_cache(maxsize=4096)
def predict(load: Load, limits: Limits, one_channel: bool = False, share: float = LINK) -> Prediction:
    """What becomes of one migration of a guest under these settings, the MigrationPolicy of its VM included, on its share of the link."""
    channel = channel_of(limits, one_channel, share)
    longest = longest_seconds(load.memory, limits)
    late = _looked_at(longest)
    copy = copied(load, channel, limits.auto_converge, late)
    if copy.ended < math.inf:
        return Prediction(CONVERGES, SET_UP + copy.ended, f"it is over after {_seconds(SET_UP + copy.ended)}", copy.throttle, copy.downtime)
    stuck = _stuck(copy, limits)
    if stuck < late:
        after = f"KubeVirt gives it up after {_seconds(stuck)} without progress (progressTimeout)"
        return Prediction(GIVEN_UP, SET_UP + stuck, after, copy.throttle)
    if math.isinf(late):
        return Prediction(NEVER, math.inf, "it never ends: the guest writes faster than is sent, and no completion time-out is set", copy.throttle)
    return _late(copy, limits, longest, late)


def _looked_at(seconds: float) -> float:
    """When virt-launcher sees that more whole seconds have gone than these: it looks every 400 ms."""
    return math.ceil(round((seconds + 1) / _LOOK, 6)) * _LOOK if math.isfinite(seconds) else math.inf


def _stuck(copy: Copy, limits: Limits) -> float:
    """When it is given up for lack of progress: rounds that take a whole part of the 400 ms show the same rest at each look."""
    if not copy.circling or limits.progress_seconds <= 0:
        return math.inf
    rounds = _LOOK / copy.circling
    return _looked_at(copy.time + limits.progress_seconds) if rounds >= 1 and math.isclose(rounds, round(rounds), rel_tol=1e-6) else math.inf


def _late(copy: Copy, limits: Limits, longest: float, late: float) -> Prediction:
    """Source: liveMigrationMonitor.processInflightMigration."""
    rest, zeros = copy.rest(late), copy.zero * ZERO
    begin = f"it is not complete after {longest:.0f} s"
    if limits.workload_disruption and limits.post_copy:
        seconds = SET_UP + late + rest / copy.channel.speed + zeros + POST_COPY_SWITCH
        said = f"{begin}, KubeVirt turns to post-copy, and the rest is over after {_seconds(seconds)}"
        return Prediction(POST_COPY, seconds, said, copy.throttle, POST_COPY_SWITCH)
    if limits.workload_disruption:
        more = rest / copy.channel.rate + zeros
        if late + more <= _looked_at(2 * longest):
            said = f"{begin}, KubeVirt pauses the guest for {_seconds(more)}, and it is over after {_seconds(SET_UP + late + more)}"
            return Prediction(PAUSED, SET_UP + late + more, said, copy.throttle, more)
        late = _looked_at(2 * longest)
        said = f"{begin}, KubeVirt pauses the guest, and gives it up after {_seconds(late)} (completionTimeoutPerGiB)"
        return Prediction(GIVEN_UP, SET_UP + late, said, copy.throttle, late)
    return Prediction(GIVEN_UP, SET_UP + late, f"KubeVirt gives it up after {longest:.0f} s (completionTimeoutPerGiB)", copy.throttle)


def of_guest(guest: Guest, limits: Limits, link: float = LINK, number: int = 1) -> Prediction:
    """One migration among so many out of the same node. C(limits) are the cluster's, C(link) is in bytes per second."""
    return predict(guest.load, guest.limits(limits), guest.one_channel, link / max(1, number))


def surely_converges(guest: Guest, limits: Limits, link: float = LINK, number: int = 1) -> bool:
    """Whether a bound says so already: for looking at thousands of guests. False says nothing."""
    own = guest.limits(limits)
    bound = surely_ends_within(guest.load, channel_of(own, guest.one_channel, link / max(1, number)))
    return math.isfinite(bound) and bound <= longest_seconds(guest.load.memory, own)


def assumptions_of(guest: Guest, limits: Limits, link: float = LINK, number: int = 1) -> tuple[str, ...]:
    """What a prediction of it rests on, in sentences."""
    own = guest.limits(limits)
    channel = channel_of(own, guest.one_channel, link / max(1, number))
    said = [
        *guest.assumptions, f"the copy runs at {rate_text(channel.rate)}, {_why_so_fast(channel, own, number, link)}",
        f"the target pod comes up and is handed over to in {SET_UP:g} s: a slot is free, a node has room, images are there",
    ]
    if guest.load.dirty_rate:
        said.append(f"the guest writes {rate_text(guest.load.dirty_rate)} in {guest.load.working_set / 2**30:.1f} GiB of its memory ({guest.source})")
    return tuple(said)


def at_once(limits: Limits, on_node: int) -> int:
    """How many migrations leave a node at the same time at most, of so many VMs on it."""
    return max(1, min(limits.per_node, limits.per_cluster, on_node))


def is_close(guest: Guest, limits: Limits, link: float = LINK, number: int = 1) -> bool:
    """Whether it depends on where in its working set the guest writes, which nobody knows."""
    found = {of_guest(replace(guest, load=replace(guest.load, pattern=pattern)), limits, link, number).moves for pattern in PATTERNS}
    return len(found) > 1


def together(guests: t.Sequence[Guest], limits: Limits, slots: int, link: float = LINK) -> Estimate:
    """Migrations out of one node, the largest first, each as soon as one of so many slots is free. 0 slots never end."""
    ordered = sorted(guests, key=lambda one: (-one.load.memory, one.key))
    if not ordered:
        return Estimate(0.0, ())
    if slots < 1:
        return Estimate(math.inf, ("the limits of KubeVirt leave no slot, so that no migration starts",))
    number = min(slots, len(ordered))
    ends = [0.0] * number
    lost = []
    for guest in ordered:
        found = of_guest(guest, limits, link, number)
        lost += [] if found.moves else [f"VM {guest.full_name} does not get over: {found.sentence}"]
        heapq.heapreplace(ends, ends[0] + found.seconds)
    said = [*assumptions_of(ordered[0], limits, link, number), *lost[:_NAMED]]
    said.append(f"{number} of the {len(ordered)} migrations run at once, the largest first" + (", and none fails" if not lost else ""))
    return Estimate(round(max(ends), 1), tuple(said))


def rate_text(bytes_per_second: float) -> str:
    return f"{bytes_per_second / MIB:.0f} MiB/s"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < _GIVEN_IN_TENTHS else f"{value:.0f} s"


def _why_so_fast(channel: Channel, limits: Limits, number: int, link: float) -> str:
    if channel.cap < channel.speed:
        return f"for the limit of {rate_text(bandwidth_bytes(limits))} (bandwidthPerMigration)"
    if channel.speed == ONE_STREAM:
        return "the most that one QEMU sends"
    if channel.speed == link / max(1, number):
        return f"a share of {number} in a link of {link * 8 / _GIGA:g} Gbit/s"
    return "the most that one encrypted connection carries"
