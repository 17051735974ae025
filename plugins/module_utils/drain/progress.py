# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drain says while it works. Private to this collection."""

from __future__ import annotations

import time
import typing as t

from .._plan import Listener
from .decide import Decision, Standing
from .fates import Key

if t.TYPE_CHECKING:
    from .run import Moved, NodeDrain

Json = dict[str, t.Any]
_NAMED = 3
"""VMs on their way that a heartbeat names, those first that have been at it longest."""


class Progress:
    """One line a change, and a heartbeat with how much is done. Neither the share done nor the time left ever goes back."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._copied: dict[tuple[str, Key, int], int] = {}
        self._total: dict[str, set[str]] = {}
        self._pending: dict[str, set[str]] = {}
        self._percent = 0
        self._left: float | None = None

    def counted(self, drain: NodeDrain, decision: Decision) -> None:
        """What there is to do on a node, as it stands."""
        uids = {one.pod["metadata"]["uid"] for one in decision.pending}
        if drain.name not in self._total:
            vms = sum(1 for one in decision.pending if one.fate.vmi)
            text = f"{drain.name}: {vms} VMs and {len(uids) - vms} other pods have to leave, {len(decision.left)} pods stay"
            self._listener.event(text, node=drain.name, vms=vms, pods=len(uids) - vms, stay=len(decision.left))
        self._total.setdefault(drain.name, set()).update(uids)
        self._pending[drain.name] = uids

    def moves(self, drain: NodeDrain, key: Key, attempt: int = 1) -> None:
        again = f" (attempt {attempt})" if attempt > 1 else ""
        self._say(drain, f"VM {'/'.join(key)} migrates{again}", vm="/".join(key), attempt=attempt)

    def moved(self, drain: NodeDrain, moved: Moved) -> None:
        where = f" to {moved.to}" if moved.to else ""
        self._say(drain, f"VM {'/'.join(moved.vmi)} has moved{where} in {moved.seconds:.0f} s", vm="/".join(moved.vmi), to=moved.to)

    def failed(self, drain: NodeDrain, key: Key) -> None:
        self._say(drain, f"the migration of VM {'/'.join(key)} has failed; the VM runs on", vm="/".join(key))

    def standing(self, drain: NodeDrain, one: Standing) -> None:
        metadata = one.pod["metadata"]
        self._say(drain, f"{metadata['namespace']}/{metadata['name']}: {one.fate.sentence}", pod=metadata["name"], code=one.fate.code)

    def evicted(self, drain: NodeDrain, pod: Json) -> None:
        metadata = pod["metadata"]
        self._say(drain, f"pod {metadata['namespace']}/{metadata['name']} is evicted", pod=metadata["name"])

    def beat(self, drains: t.Sequence[NodeDrain], copied: t.Mapping[Key, Json]) -> None:
        """The sign of life. C(copied) is what is known of memory that was sent, by VM: percent and remaining_seconds."""
        if not drains or not self._total:
            return
        moving = self._moving(drains, copied)
        shown = ", ".join(one.text for one in sorted(moving, key=lambda one: -one.seconds)[:_NAMED])
        done, total = self._counts()
        waiting = sum(len(self._pending.get(drain.name, ())) for drain in drains) - len(moving)
        self._percent = max(self._percent, 100 * done // total if total else 0)
        text = f"{done} of {total} gone, {len(moving)} moving{f' ({shown})' if shown else ''}, {max(0, waiting)} waiting, {self._percent} %"
        left = self._time_left(drains, moving)
        self._listener.heartbeat(text + (f", about {_spoken(left)} left (estimated)" if left is not None else ""))

    def _say(self, drain: NodeDrain, text: str, **data: t.Any) -> None:
        done, total = self._counts()
        self._listener.event(f"{drain.name}: {text}", node=drain.name, done=done, total=total, **data)

    def _counts(self) -> tuple[int, int]:
        total = sum(len(uids) for uids in self._total.values())
        return total - sum(len(uids) for uids in self._pending.values()), total

    def _moving(self, drains: t.Sequence[NodeDrain], copied: t.Mapping[Key, Json]) -> list[_OnItsWay]:
        now, found = time.monotonic(), []
        for drain in drains:
            for key, moving in drain.moving.items():
                known = copied.get(key) or {}
                seconds, text = now - moving.began, f"{'/'.join(key)} for {now - moving.began:.0f} s"
                which = drain.name, key, moving.attempt
                if "percent" in known:
                    # What a guest writes meanwhile is sent again: the share that is left may grow.
                    self._copied[which] = max(self._copied.get(which, 0), known["percent"])
                if which in self._copied:
                    text += f", {self._copied[which]} % copied"
                found.append(_OnItsWay(seconds, text, known.get("remaining_seconds")))
        return found

    def _time_left(self, drains: t.Sequence[NodeDrain], moving: t.Sequence[_OnItsWay]) -> float | None:
        """By the pace so far; what is known of the memory that is still to be sent counts instead where it is shown."""
        finished = [moved.seconds for drain in drains for moved in drain.moved]
        vms = sum(1 for drain in drains if drain.decision for one in drain.decision.pending if one.fate.vmi)
        left = time_left(finished, [(one.seconds, one.remaining) for one in moving], max(0, vms - len(moving)))
        if left is not None:
            self._left = left if self._left is None else min(self._left, left)
        return self._left


class _OnItsWay(t.NamedTuple):
    """A VM that moves: for how many seconds, how that is said, and how many remain as far as that is shown."""

    seconds: float
    text: str
    remaining: float | None


def time_left(finished: t.Sequence[float], moving: t.Sequence[tuple[float, float | None]], waiting: int) -> float | None:
    """Seconds until all have moved, None while nothing tells.

    C(finished) are the seconds that moves took; C(moving) the seconds so far and those that remain, None where that is not shown. What waits takes as
    long as a move did on average, as many at once as move now.
    """
    each = sum(finished) / len(finished) if finished else None
    if each is None and (waiting or not moving or any(remaining is None for _seconds, remaining in moving)):
        return None
    usual = each or 0.0
    under_way = [max(0.0, usual - seconds) if remaining is None else remaining for seconds, remaining in moving]
    return max([(sum(under_way) + usual * waiting) / max(1, len(moving)), *under_way])


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


__all__ = ("Progress", "time_left")
