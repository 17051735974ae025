# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for objects to become what they should: by watch, or by polling where watching is forbidden. Private to this collection."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

from .._errors import DeadlineExceeded
from .._plan import Listener
from .client import Cluster
from .following import Following, Snapshot, Target
from .resources import Resource

Json = dict[str, t.Any]
HEARTBEAT = 30.0


@dataclass(frozen=True)
class Verdict:
    """Whether what was waited for holds; if not, what is missing, in words. C(state) is announced whenever it changes."""

    done: bool
    pending: tuple[str, ...] = ()
    state: str = ""


def follow(
    cluster: Cluster, targets: t.Sequence[Target], deadline: float, beat: float = HEARTBEAT
) -> t.Iterator[Snapshot | None]:
    """The state of all targets, once all are known and then at every change; None after C(beat) seconds without any.

    Ends at the deadline (monotonic seconds). Raises VirtError when a target can't be read.
    """
    with Following(cluster, targets) as following:
        while (left := deadline - time.monotonic()) > 0:
            if not following.look(min(left, beat)):
                if left > beat:
                    yield None
            elif following.complete():
                yield following.snapshot


def wait_for_all(
    cluster: Cluster, targets: t.Sequence[Target], judge: t.Callable[[Snapshot], Verdict], deadline: float, listener: Listener, what: str,
) -> Verdict:
    """Follow the targets until C(judge) says done. Raises DeadlineExceeded with what is pending; whatever judge raises ends the wait."""
    verdict = Verdict(False, (f"{what} has not been read yet",))
    told = ""
    for snapshot in follow(cluster, targets, deadline):
        if snapshot is None:
            listener.heartbeat("; ".join(verdict.pending) or what)
            continue
        verdict = judge(snapshot)
        if verdict.state and verdict.state != told:
            told = verdict.state
            listener.event(told)
        if verdict.done:
            return verdict
    pending = "; ".join(verdict.pending)
    raise DeadlineExceeded(f"{what} did not happen in time: {pending}.", verdict.pending)


def wait_for(
    cluster: Cluster, resource: Resource, name: str, namespace: str | None, judge: t.Callable[[Json | None], Verdict],
    deadline: float, listener: Listener, what: str,
) -> Verdict:
    """Wait for one object; C(judge) is given None while it does not exist."""
    target = Target(resource, namespace, name)
    return wait_for_all(cluster, (target,), lambda snapshot: judge(snapshot.one(target)), deadline, listener, what)


__all__ = ("HEARTBEAT", "Snapshot", "Target", "Verdict", "follow", "wait_for", "wait_for_all")
