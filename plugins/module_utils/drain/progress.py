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


class Progress:
    """One line a change, and a heartbeat with how much is done. Neither the share done nor the time left ever goes back."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
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

    def beat(self, drains: t.Sequence[NodeDrain]) -> None:
        """The sign of life."""
        if not drains or not self._total:
            return
        now = time.monotonic()
        moving = [(key, now - found.began) for drain in drains for key, found in drain.moving.items()]
        shown = ", ".join(f"{'/'.join(key)} for {seconds:.0f} s" for key, seconds in sorted(moving, key=lambda item: -item[1])[:3])
        done, total = self._counts()
        waiting = sum(len(self._pending.get(drain.name, ())) for drain in drains) - len(moving)
        self._percent = max(self._percent, 100 * done // total if total else 0)
        text = f"{done} of {total} gone, {len(moving)} moving{f' ({shown})' if shown else ''}, {max(0, waiting)} waiting, {self._percent} %"
        left = self._time_left(drains)
        self._listener.heartbeat(text + (f", about {_spoken(left)} left (estimated)" if left is not None else ""))

    def _say(self, drain: NodeDrain, text: str, **data: t.Any) -> None:
        done, total = self._counts()
        self._listener.event(f"{drain.name}: {text}", node=drain.name, done=done, total=total, **data)

    def _counts(self) -> tuple[int, int]:
        total = sum(len(uids) for uids in self._total.values())
        return total - sum(len(uids) for uids in self._pending.values()), total

    def _time_left(self, drains: t.Sequence[NodeDrain]) -> float | None:
        """By the pace so far: seconds of a move, for each VM that still has to begin, over as many as move at once."""
        finished = [moved.seconds for drain in drains for moved in drain.moved]
        if not finished:
            return self._left
        each = sum(finished) / len(finished)
        vms = sum(1 for drain in drains if drain.decision for one in drain.decision.pending if one.fate.vmi)
        at_once = max(1, sum(len(drain.moving) for drain in drains))
        left = each * vms / at_once
        self._left = left if self._left is None else min(self._left, left)
        return self._left


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


__all__ = ("Progress",)
