# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes of a pool are updated next, and what the pool says of them. Pure.

Source: openshift/machine-config-operator pkg/controller/node/{node_controller.go,status.go}.
"""
from __future__ import annotations

import dataclasses
import typing as t

from ...interface import Object
from .names import CURRENT, DESIRED, DONE, STATE, annotations_of

_ZONE = "topology.kubernetes.io/zone"
_COUNTS = ("machineCount", "updatedMachineCount", "readyMachineCount", "unavailableMachineCount", "degradedMachineCount")
ALL_UPDATED = "All nodes are updated with MachineConfig {}"
ALL_UPDATING = "All nodes are updating to MachineConfig {}"


def max_unavailable(pool: Object, machines: int) -> int:
    """How many nodes may be out at once: a number, or a share that is rounded down and never less than one."""
    wanted = (pool.get("spec") or {}).get("maxUnavailable")
    if wanted is None:
        return 1
    text = str(wanted)
    if text.endswith("%"):
        share = text[:-1]
        return max(1, machines * int(share) // 100) if share.isdigit() else 1
    return int(text) if text.isdigit() else 1


def is_ready(node: Object) -> bool:
    entries = (node.get("status") or {}).get("conditions") or ()
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in entries) and not (node.get("spec") or {}).get("unschedulable")


def is_updated(node: Object, configuration: str) -> bool:
    found = annotations_of(node)
    return found.get(CURRENT) == found.get(DESIRED) == configuration and found.get(STATE) == DONE


def is_unavailable(node: Object) -> bool:
    """Cordoned, not ready, or in the middle of its update."""
    found = annotations_of(node)
    return not is_ready(node) or found.get(CURRENT) != found.get(DESIRED) or found.get(STATE) != DONE


def next_nodes(pool: Object, nodes: t.Sequence[Object], configuration: str) -> list[Object]:
    """Those that are told now to become what the pool wants: by zone, and the oldest of a zone first."""
    if (pool.get("spec") or {}).get("paused"):
        return []
    capacity = max_unavailable(pool, len(nodes)) - sum(map(is_unavailable, nodes))
    waiting = [node for node in nodes if annotations_of(node).get(DESIRED) != configuration]
    return sorted(waiting, key=_order)[:max(0, capacity)]


def _order(node: Object) -> tuple[bool, str, str, str]:
    metadata = node["metadata"]
    zone = (metadata.get("labels") or {}).get(_ZONE, "")
    return not zone, zone, metadata.get("creationTimestamp") or "", metadata["name"]


@dataclasses.dataclass(frozen=True)
class Standing:
    """The counts of a pool in the order of its status, and whether all is done."""

    machines: int
    updated: int
    ready: int
    unavailable: int
    degraded: int

    @property
    def done(self) -> bool:
        return self.updated == self.machines and not self.unavailable

    def counts(self) -> dict[str, int]:
        return dict(zip(_COUNTS, dataclasses.astuple(self), strict=True))


def standing(nodes: t.Sequence[Object], configuration: str, failing: t.Collection[str] = ()) -> Standing:
    """C(failing) are the names of nodes whose drain has failed for an hour."""
    updated = [node for node in nodes if is_updated(node, configuration)]
    return Standing(
        len(nodes), len(updated), sum(map(is_ready, updated)), sum(map(is_unavailable, nodes)),
        sum(node["metadata"]["name"] in failing for node in nodes),
    )


def status(pool: Object, nodes: t.Sequence[Object], configuration: str, failing: t.Mapping[str, str], now: str) -> Object:
    """status of a MachineConfigPool. C(failing) are messages by node."""
    found = standing(nodes, configuration, failing)
    before = pool.get("status") or {}
    updated, updating = found.done, not found.done and not (pool.get("spec") or {}).get("paused")
    shown = before.get("configuration") if not found.done else {"name": configuration}
    messages = [f'Node {name} is reporting: "{message}"' for name, message in sorted(failing.items())]
    wanted = {
        "Updated": (updated, ALL_UPDATED.format(configuration) if updated else ""),
        "Updating": (updating, ALL_UPDATING.format(configuration) if updating else ""),
        "NodeDegraded": (bool(messages), ", ".join(messages)), "RenderDegraded": (False, ""), "Degraded": (bool(messages), ""),
    }
    reasons = {"NodeDegraded": f"{len(messages)} nodes are reporting degraded status on sync" if messages else ""}
    held = {entry["type"]: entry for entry in before.get("conditions") or ()}
    conditions = []
    for kind, (holds, message) in wanted.items():
        entry = {"type": kind, "status": "True" if holds else "False", "reason": reasons.get(kind, ""), "message": message}
        known = held.get(kind) or {}
        entry["lastTransitionTime"] = known["lastTransitionTime"] if known.get("status") == entry["status"] else now
        conditions.append(entry)
    return {
        "configuration": shown or {"name": configuration}, "conditions": conditions, "observedGeneration": pool["metadata"].get("generation", 1),
        **found.counts(),
    }
