# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every migration whose memory is on its way: the copies with the links that they share, and the monitor of each. No cluster, no clock."""
from __future__ import annotations

import dataclasses
import math
import typing as t

from ...agenda import Agenda
from ..precopy import Copy, FixedCopy, Network, Phase, Progress
from .monitor import Abort, Limits, Mode, Monitor

Key = tuple[str, str]
"""Namespace and name of the instance."""
HORIZON = 86400.0
"""Seconds ahead; what does not end by then by itself is held to never end."""
ABORTED = "Live migration aborted "
BROKEN = (
    "Live migration failed error encountered during MigrateToURI3 libvirt api call: "
    "virError(Code=9, Domain=10, Message='operation failed: migration out job: unexpectedly failed')"
)
LOST = (
    "Live migration failed error encountered during MigrateToURI3 libvirt api call: "
    "virError(Code=9, Domain=10, Message='operation failed: Lost connection to destination host')"
)
SECONDS_TO_MISS = 30.0
"""How long libvirt hears nothing of the other side until it gives it up. Source: libvirt qemu.conf, keepalive_interval 5 and keepalive_count 5."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a migration ended: without a reason it succeeded."""

    reason: str = ""
    aborted: bool = False


class Transfer:
    """One of them. `outcome` is None while it goes on."""

    def __init__(self, uid: str, source: str, target: str, copy: Copy | FixedCopy, monitor: Monitor, fails_at: float = math.inf) -> None:
        self.uid, self.source, self.target, self.copy, self.monitor, self.fails_at = uid, source, target, copy, monitor, fails_at
        self.mode = Mode.PRE_COPY
        self.outcome: Outcome | None = None
        self.failure = BROKEN

    @property
    def deadline(self) -> float:
        return min(self.monitor.earliest(), self.fails_at)

    def look_on(self, until: float) -> None:
        """Look at the copy up to that moment, as long as nothing comes of it."""
        self.monitor.look_on(until, self._remaining)

    def watch(self, until: float) -> tuple[float, Mode | Abort] | None:
        """Look at the copy up to that moment; what comes of it first, and when."""
        return self.monitor.watch(until, self._remaining)

    def _remaining(self, moment: float) -> float:
        self.copy.advance(moment)
        return self.copy.remaining(moment)


class Transfers:
    """All of them, by instance. Moments never go back."""

    def __init__(self, capacity: t.Callable[[str], float]) -> None:
        """capacity says the MiB/s of a link: `out/NODE` or `in/NODE`."""
        self._network: Network[Key] = Network(capacity)
        self._all: dict[Key, Transfer] = {}
        self._live: dict[Key, Transfer] = {}
        self._deadlines: Agenda[Key] = Agenda()
        """Before which nothing comes of looking at each of those under way."""

    def __len__(self) -> int:
        return len(self._all)

    def get(self, key: Key) -> Transfer | None:
        return self._all.get(key)

    def on(self, node: str) -> list[Key]:
        """Those under way that leave the node or come to it."""
        return [key for key, transfer in self._live.items() if node in (transfer.source, transfer.target)]

    def begin(
        self, key: Key, uid: str, nodes: tuple[str, str], copy: Copy | FixedCopy, limits: Limits, now: float, hangs: bool = False,
        fails_after: float = math.inf,
    ) -> None:
        """Memory begins to flow from the first node to the second. One that hangs gets nothing through."""
        self.drop(key, now)
        made = Transfer(uid, nodes[0], nodes[1], copy, Monitor(limits, now), now + fails_after)
        self._all[key] = self._live[key] = made
        links = ["nowhere"] if hangs else [f"out/{nodes[0]}", f"in/{nodes[1]}"]
        self._deadlines.set(key, made.deadline)
        self._network.add(key, copy, links, now, made.look_on)

    def drop(self, key: Key, now: float) -> None:
        """Nobody asks for it any more."""
        if self._all.pop(key, None) is not None and self._live.pop(key, None) is not None:
            self._deadlines.drop(key)
            self._network.remove(key, now)

    def end(self, key: Key, outcome: Outcome, now: float) -> bool:
        """End one from outside; False when there is none, or it is past being ended."""
        transfer = self._live.get(key)
        if transfer is None or (outcome.aborted and not self._network.change(key, now, lambda copy: copy.cancel(now))):
            return False
        self._finish(key, transfer, outcome, now)
        return True

    def pause(self, key: Key, paused: bool, now: float) -> None:
        """The guest stands still, or runs again."""
        if key in self._live:
            self._network.change(key, now, lambda copy: copy.pause(now, paused))

    def cut_off(self, node: str, now: float) -> None:
        """A node is gone: nothing gets through to it or from it. A source that is left misses it after a while; its guest runs on."""
        for key in self.on(node):
            transfer = self._live[key]
            self._network.change(key, now, lambda copy: _cut_off(copy, now))
            if transfer.target == node and now + SECONDS_TO_MISS < transfer.fails_at:
                transfer.fails_at, transfer.failure = now + SECONDS_TO_MISS, LOST
                self._deadlines.set(key, transfer.deadline)

    def links_changed(self, now: float) -> None:
        self._network.capacities_changed(now)

    def progress(self, now: float) -> t.Iterator[tuple[Key, Transfer, Progress]]:
        """Those under way, as they are at that moment."""
        for key, transfer in self._live.items():
            yield key, transfer, transfer.copy.progress(now)

    def next_event(self, now: float, hopeless: t.Collection[Key] = ()) -> tuple[float, float]:
        """When run() will have something to say next, infinity when never: something that can still come well, and only another
        end of those that are held to be hopeless."""
        given_up = [key for key in hopeless if key in self._live and not self._live[key].monitor.limits.assist]
        deadline, idle = self._deadlines.first()[0], math.inf
        if given_up:
            idle = min(self._live[key].deadline for key in given_up)
            deadline = min((one.deadline for key, one in self._live.items() if key not in given_up), default=math.inf)
        change = now if self._network.any_ended() else self._network.next_change(min(deadline, idle, now + HORIZON))
        return min(deadline, change), idle

    def run(self, now: float) -> list[Key]:
        """Go on to that moment; whose mode or outcome is another now."""
        told: list[Key] = []
        while self._live:
            limit = min(now, self._deadlines.first()[0])
            until = min(limit, self._network.next_change(limit))
            due = self._deadlines.take(until)
            decisions = [(key, self._live[key], self._live[key].watch(until)) for key in due]
            self._network.advance(until)
            for key, transfer, decision in decisions:
                if decision is not None and self._decide(key, transfer, decision[1], max(decision[0], self._network.now)):
                    told.append(key)
            seen = [key for key in dict.fromkeys([*due, *self._network.ended()]) if key in self._live]
            told += [key for key in seen if self._ends(key, self._live[key], until)]
            if until >= now:
                break
        return told

    def _ends(self, key: Key, transfer: Transfer, now: float) -> bool:
        """End it if it is over; else say when it is to be looked at again."""
        if transfer.copy.phase is Phase.COMPLETED:
            self._finish(key, transfer, Outcome(), now)
        elif transfer.fails_at <= now:
            self._finish(key, transfer, Outcome(transfer.failure), now)
        else:
            self._deadlines.set(key, transfer.deadline)
        return key not in self._live

    def _decide(self, key: Key, transfer: Transfer, what: Mode | Abort, now: float) -> bool:
        if isinstance(what, Abort):
            return self.end(key, Outcome(what.reason, aborted=True), now)
        if what is Mode.POST_COPY:
            if not self._network.change(key, now, lambda copy: copy.start_post_copy(now)):
                return False
        else:
            self._network.change(key, now, lambda copy: copy.pause(now))
        transfer.mode = what
        return True

    def _finish(self, key: Key, transfer: Transfer, outcome: Outcome, now: float) -> None:
        transfer.outcome = outcome
        del self._live[key]
        self._deadlines.drop(key)
        self._network.remove(key, now)


def _cut_off(copy: Copy | FixedCopy, now: float) -> None:
    """One that takes from a link stands still by itself, as the link carries nothing any more."""
    if isinstance(copy, FixedCopy):
        copy.cut_off(now)
