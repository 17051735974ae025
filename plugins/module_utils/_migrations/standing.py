# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a migration stands and why, in one word and one sentence. Pure. Private to this collection.

Source: KubeVirt pkg/virt-controller/watch/migration/migration.go (handleTargetPodCreation, handleMigrationBackoff).
"""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass, field

from .limits import Limits
from .ours import BY_EVACUATION, BY_WORKLOAD_UPDATE, made_by
from .reasons import own_state, why_failed
from .state import Key, Reason, condition, failed, is_active, mode, phase, succeeded, vmi_key
from .times import ended_at, moment

Json = dict[str, t.Any]
_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 20.0, 320.0
_HANDING_OVER = {
    "Scheduled": "its target pod is up, and is handed over to",
    "PreparingTarget": "the target node prepares to receive it",
    "TargetReady": "the target node is ready, and the source node has not begun to copy",
}


@dataclass
class Slots:
    """How many migrations hold a slot, in the cluster and out of each node."""

    limits: Limits
    used: int = 0
    by_node: dict[str, int] = field(default_factory=dict)

    def free(self, node: str = "") -> int:
        """How many more may start, out of a node if one is named; never below 0."""
        left = self.limits.per_cluster - self.used
        return max(0, min(left, self.limits.per_node - self.by_node.get(node, 0)) if node else left)


def slots(limits: Limits, migrations: t.Iterable[Json], node_of: t.Callable[[Key], str]) -> Slots:
    """Counted as KubeVirt does: out of the node on which the instance is now."""
    found = Slots(limits)
    for one in migrations:
        if is_active(one):
            found.used += 1
            node = node_of(vmi_key(one))
            if node:
                found.by_node[node] = found.by_node.get(node, 0) + 1
    return found


def failures_before(migration: Json, of_vm: t.Sequence[Json]) -> list[Json]:
    """The failed migrations of the same VM right before this one, oldest first; of_vm are all that are known, by creation."""
    before: list[Json] = []
    for one in of_vm:
        if one["metadata"]["uid"] == migration["metadata"]["uid"]:
            break
        if failed(one):
            before.append(one)
        elif succeeded(one):
            before = []
    return before


def standing(
    migration: Json, vmi: Json | None, taken: Slots | None = None, events: t.Sequence[Json] = (), earlier: t.Sequence[Json] = (),
    now: datetime.datetime | None = None,
) -> Reason:
    """Where it stands. C(taken) is None where the cluster's migrations can't all be seen; C(earlier) are the failures right before it."""
    known = phase(migration)
    if known == "Succeeded":
        target = own_state(migration, vmi).get("targetNode") or ""
        return Reason("succeeded", f"the VM has moved{f' to {target}' if target else ''}")
    if known == "Failed":
        return why_failed(migration, vmi, events)
    if migration["metadata"].get("deletionTimestamp"):
        return Reason("cancelling", "it is being cancelled")
    if known in _HANDING_OVER:
        return Reason("handing_over", _HANDING_OVER[known])
    if known == "Running":
        how = {"PostCopy": "the VM runs on the target, the rest of its memory follows (post-copy)", "Paused": "the VM is paused while it is copied"}
        return Reason("copying", how.get(mode(vmi) if vmi else "", "its memory is copied"))
    if known == "Scheduling":
        told = next((str(one.get("message") or "") for one in events if one.get("reason") == "migrationTargetPodUnschedulable"), "")
        return Reason("target_unschedulable", f"no node takes its target pod ({told})") if told else Reason("target_starting", "its target pod comes up")
    return _waiting(migration, vmi, taken, earlier, now)


def _waiting(migration: Json, vmi: Json | None, taken: Slots | None, earlier: t.Sequence[Json], now: datetime.datetime | None) -> Reason:
    if not phase(migration):
        return Reason("not_seen", "KubeVirt has not taken it up yet")
    if condition(migration, "migrationRejectedByResourceQuota") is not None:
        return Reason("quota", "a ResourceQuota of its namespace leaves no room for the target pod")
    if vmi is not None and (vmi.get("status") or {}).get("phase") != "Running":
        return Reason("vm_not_running", f"the VM is {(vmi.get('status') or {}).get('phase') or 'starting'}")
    waits = _back_off(migration, earlier, now)
    if waits is not None:
        return waits
    if taken is None:
        return Reason("waiting", "it waits for a slot, or for its target pod to be made")
    node = str(((vmi or {}).get("status") or {}).get("nodeName") or "")
    if not taken.free():
        return Reason("no_slot", f"{taken.used} migrations are under way and parallelMigrationsPerCluster is {taken.limits.per_cluster}")
    if node and not taken.free(node):
        number = taken.by_node.get(node, 0)
        return Reason("no_slot", f"{number} migrations out of {node} are under way and parallelOutboundMigrationsPerNode is {taken.limits.per_node}")
    return Reason("waiting", "a slot is free; KubeVirt looks at those that wait every 5 s, and makes one target pod after the other")


def _back_off(migration: Json, earlier: t.Sequence[Json], now: datetime.datetime | None) -> Reason | None:
    """KubeVirt waits after failures of the migrations that it makes itself."""
    last = moment(ended_at(earlier[-1])) if earlier else None
    if now is None or last is None or made_by(migration) not in (BY_EVACUATION, BY_WORKLOAD_UPDATE):
        return None
    waits = min(_LONGEST_BACK_OFF, _FIRST_BACK_OFF * 2.0 ** (len(earlier) - 1))
    left = waits - (now - last).total_seconds()
    if left <= 0:
        return None
    number = len(earlier)
    return Reason("back_off", f"after {number} failure{'s' if number > 1 else ''} KubeVirt waits {waits:.0f} s, {left:.0f} s of it to come")
