# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a node, and give it back. Private to this collection."""

from __future__ import annotations

import contextlib
import time
import typing as t
from dataclasses import replace

from .._cluster.client import Cluster
from .._cluster.resources import NODES
from .._errors import ApiError, Conflict, PreconditionFailed
from .._plan import Change, Listener
from . import claims
from .claims import CLAIM, Claim
from .observed import is_cordoned

Json = dict[str, t.Any]
_TRIES = 10
_PATH = "/metadata/annotations/" + CLAIM.replace("/", "~1")


def take(cluster: Cluster, name: str, own: Claim, take_over: bool, listener: Listener, deadline: float) -> tuple[Claim, Change | None]:
    """Cordon a node and claim it in one write; the claim, and the change if it was not cordoned.

    An abandoned run goes on under its own name, unless the node was uncordoned since. The same user's run elsewhere is waited for until its lease has ended.
    Raises PreconditionFailed when somebody else is at it, ApiError.
    """
    for dummy in range(_TRIES):
        node = _read(cluster, name)
        found = claims.claim_of(node)
        if found is not None and found.process != own.process:
            if _must_wait(found, own, take_over, name):
                if time.monotonic() >= deadline:
                    raise _held(name, found)
                seconds = claims.seconds_left(found, claims.now())
                listener.event(f"{name}: an earlier run of {found.holder} may still be at it; its lease ends in {seconds:.0f} s", node=name)
                _wait_for(cluster, name, found, deadline)
                continue
            if is_cordoned(node):
                own = claims.taken_over(own, found)
                listener.event(f"{name}: the run of {found.holder} that began at {found.began} is taken up again", node=name, run=own.run)
            # Otherwise somebody has uncordoned it since: VMs that had moved may be back, and the old run's migrations say nothing of them.
        elif found is None:
            own = replace(own, was_unschedulable=is_cordoned(node))
        with contextlib.suppress(Conflict):
            return _write(cluster, node, own.at(claims.now()))
    raise PreconditionFailed(f"Node {name} could not be claimed: others write to it all the time. Try again.", node=name, code="contended")


def _read(cluster: Cluster, name: str) -> Json:
    node = cluster.get(NODES, name)
    if node is None:
        raise PreconditionFailed(f"Node {name} is gone.", node=name, code="node_gone")
    return node


def _must_wait(found: Claim, own: Claim, take_over: bool, name: str) -> bool:
    if take_over or claims.is_abandoned(found, claims.now()):
        return False
    if not claims.same_user(found, own):
        raise _held(name, found)
    # While the site is at work nobody renews a claim: its user goes on at once.
    return found.state != claims.HELD


def _held(name: str, found: Claim) -> PreconditionFailed:
    return PreconditionFailed(
        f"Node {name} is being drained by {found.holder} since {found.began} (run {found.run}), who is still at it. "
        "Wait for that run, or set take_over to go on in its place.",
        node=name, holder=found.holder, run=found.run, code="held",
    )


def _wait_for(cluster: Cluster, name: str, found: Claim, deadline: float) -> None:
    """Until the lease has run out; a claim that is renewed meanwhile is alive. Raises PreconditionFailed."""
    while time.monotonic() < deadline:
        time.sleep(1.0)
        current = claims.claim_of(_read(cluster, name))
        if current is None or current.process != found.process or claims.is_abandoned(current, claims.now()):
            return
        if current.renewed != found.renewed:
            raise _held(name, current)


def _write(cluster: Cluster, node: Json, own: Claim) -> tuple[Claim, Change | None]:
    metadata, cordoned = node["metadata"], is_cordoned(node)
    patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "annotations": {CLAIM: own.text()}}, "spec": {"unschedulable": True}}
    cluster.merge_patch(NODES, metadata["name"], patch)
    before, after = {"spec": {"unschedulable": False}}, {"spec": {"unschedulable": True}}
    change = None if cordoned else Change("patch", "Node", "", metadata["name"], "no new pods while it is drained", before, after)
    return own, change


def give_back(cluster: Cluster, name: str, own: Claim, uncordon: bool = False) -> bool:
    """Remove the claim, if it is still ours; whether it was. The node stays cordoned unless asked otherwise."""
    patch: list[Json] = [{"op": "test", "path": _PATH, "value": own.text()}, {"op": "remove", "path": _PATH}]
    if uncordon:
        patch.append({"op": "add", "path": "/spec/unschedulable", "value": False})
    try:
        cluster.json_patch(NODES, name, patch)
    except ApiError as error:
        if error.status not in (404, 422):
            raise
        return False
    return True
