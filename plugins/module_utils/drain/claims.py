# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a node is while it is drained: an annotation on the node, with a lease. Pure, but for the name of this process. Private to this collection."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import secrets
import socket
import typing as t
from dataclasses import asdict, dataclass, replace

Json = dict[str, t.Any]
CLAIM = "okd.virt/drain"
"""Annotation of a node that is being drained: the claim as JSON."""
LEASE = 30.0
"""Seconds after which a claim that was not renewed counts as abandoned."""
RENEWAL = 10.0
DRAINING, HELD, CANCELLING = "draining", "held", "cancelling"
"""A run is at work on the node; or the site is, and no process of ours need live; or the drain is being cancelled."""


@dataclass(frozen=True)
class Claim:
    """Who drains a node, since when, and whether they are still at it. Times are RFC 3339."""

    run: str
    holder: str
    host: str
    process: str
    began: str
    renewed: str
    was_unschedulable: bool = False
    state: str = DRAINING
    lease: float = 0.0
    """Seconds that it holds without being renewed; 0 is C(LEASE)."""

    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    def at(self, now: datetime.datetime) -> Claim:
        return replace(self, renewed=_stamp(now))

    def cancelling(self, now: datetime.datetime) -> Claim:
        """While the drain is undone."""
        return replace(self, renewed=_stamp(now), state=CANCELLING)

    def held(self, now: datetime.datetime, seconds: float) -> Claim:
        """For as long as the site works on the node."""
        return replace(self, renewed=_stamp(now), state=HELD, lease=seconds)


def _stamp(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def mine(user: str) -> Claim:
    """A new claim of this process, for the user that the API server takes us for."""
    host = socket.gethostname()
    stamp = _stamp(now())
    return Claim(secrets.token_hex(4), f"{user} on {host}", f"{host}/{_boot()}", f"{os.getpid()}/{_started(os.getpid())}", stamp, stamp)


def _boot() -> str:
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read(8)
    return ""


def _started(pid: int) -> str:
    """When a process was started, in the kernel's ticks; "" where that can't be known, or there is no such process, or it is dead and not reaped."""
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
        return "" if fields[0] in ("Z", "X") else fields[19]
    return ""


def claim_of(node: Json) -> Claim | None:
    """The claim on a node, None if nobody has one. What can't be read counts as somebody's, long abandoned."""
    text = (node["metadata"].get("annotations") or {}).get(CLAIM)
    if not text:
        return None
    try:
        found = json.loads(text)
        return Claim(**{name: found[name] for name in Claim.__dataclass_fields__ if name in found})
    except (ValueError, TypeError, KeyError):
        return Claim("", "somebody unknown", "", "", "", "")


def loss(found: Claim | None) -> str:
    """Why a node is no longer ours, by the claim that it has now."""
    if found is None:
        return "the drain was cancelled"
    return f"the drain was {'cancelled' if found.state == CANCELLING else 'taken over'} by {found.holder}"


def is_abandoned(claim: Claim, moment: datetime.datetime) -> bool:
    """Whether its lease has run out, or its process, on this very machine, is gone."""
    return seconds_left(claim, moment) <= 0 or _is_dead(claim)


def seconds_left(claim: Claim, moment: datetime.datetime) -> float:
    """Until the lease runs out; 0 when it has."""
    try:
        renewed = datetime.datetime.fromisoformat(claim.renewed.replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    lease = claim.lease if isinstance(claim.lease, (int, float)) and claim.lease > 0 else LEASE
    return max(0.0, lease - (moment - renewed).total_seconds())


def _is_dead(claim: Claim) -> bool:
    if claim.state == HELD or claim.host != f"{socket.gethostname()}/{_boot()}":
        return False
    pid, dummy, started = claim.process.partition("/")
    return bool(started) and pid.isdigit() and _started(int(pid)) != started


def same_user(one: Claim, other: Claim) -> bool:
    """Whether both are of one user, on whatever machine."""
    return one.holder.rpartition(" on ")[0] == other.holder.rpartition(" on ")[0]


def taken_over(own: Claim, found: Claim) -> Claim:
    """The own claim, as the continuation of another one: its run goes on."""
    return replace(own, run=found.run or own.run, began=found.began or own.began, was_unschedulable=found.was_unschedulable)
