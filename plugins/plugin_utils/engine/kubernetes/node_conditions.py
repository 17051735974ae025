# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a node by its conditions and its cordon: taints, and Unknown when its kubelet is silent. Pure.

Source: Kubernetes pkg/controller/nodelifecycle/node_lifecycle_controller.go, pkg/controller/tainteviction/taint_eviction.go.
"""
from __future__ import annotations

import datetime
import typing as t

from ..interface import Object
from .scheduler.taints import UNSCHEDULABLE, tolerates

GRACE = 40.0
"""Engine seconds of a kubelet's silence after which its node is Unknown."""
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
_PRESSURES = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure", "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure", "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_OWN = {
    (UNSCHEDULABLE, "NoSchedule"), *((key, effect) for key in (NOT_READY, UNREACHABLE) for effect in ("NoSchedule", "NoExecute")),
    *((key, "NoSchedule") for key in _PRESSURES.values()),
}
_REPORTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def condition(node: Object, kind: str) -> Object | None:
    for entry in (node.get("status") or {}).get("conditions") or ():
        if entry["type"] == kind:
            return t.cast(Object, entry)
    return None


def is_ready(node: Object) -> bool:
    return (condition(node, "Ready") or {}).get("status") == "True"


def wanted_taints(node: Object) -> list[tuple[str, str]]:
    """Keys and effects that the node's cordon and conditions ask for."""
    wanted = []
    ready = (condition(node, "Ready") or {}).get("status")
    if ready in ("False", "Unknown"):
        key = NOT_READY if ready == "False" else UNREACHABLE
        wanted += [(key, "NoSchedule"), (key, "NoExecute")]
    wanted += [(key, "NoSchedule") for kind, key in _PRESSURES.items() if (condition(node, kind) or {}).get("status") == "True"]
    if (node.get("spec") or {}).get("unschedulable"):
        wanted.append((UNSCHEDULABLE, "NoSchedule"))
    return wanted


def taints_of(node: Object, now: str) -> list[Object] | None:
    """The node's taints as they should be, or None when that is what they are. Others' taints stay."""
    held, wanted = list((node.get("spec") or {}).get("taints") or ()), wanted_taints(node)
    identities = [(taint["key"], taint.get("effect")) for taint in held]
    kept = [taint for taint, identity in zip(held, identities, strict=True) if identity not in _OWN or identity in wanted]
    added = [{"key": key, "effect": effect, "timeAdded": now} for key, effect in wanted if (key, effect) not in identities]
    return None if not added and len(kept) == len(held) else [*kept, *added]


def silent(node: Object, now: str) -> list[Object]:
    """The node's conditions when nothing has been heard of its kubelet for too long."""
    held = {entry["type"]: entry for entry in (node.get("status") or {}).get("conditions") or ()}
    for kind in _REPORTED:
        before = held.get(kind)
        if before is None:
            held[kind] = {
                "type": kind, "status": "Unknown", "lastHeartbeatTime": node["metadata"].get("creationTimestamp"), "lastTransitionTime": now,
                "reason": "NodeStatusNeverUpdated", "message": "Kubelet never posted node status.",
            }
        elif before["status"] != "Unknown":
            held[kind] = {
                **before, "status": "Unknown", "lastTransitionTime": now, "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status.",
            }
    return list(held.values())


def reported(node: Object, now: str) -> list[Object]:
    """The node's conditions as its kubelet posts them: ready, and no pressure where there was a word of it."""
    conditions = []
    for entry in (node.get("status") or {}).get("conditions") or [{"type": "Ready", "status": "Unknown"}]:
        good = "True" if entry["type"] == "Ready" else "False"
        if entry["type"] not in _REPORTED:
            conditions.append(entry)
        elif entry["status"] == "Unknown" or (entry["type"] == "Ready" and entry["status"] != good):
            conditions.append({**entry, "status": good, "lastHeartbeatTime": now, "lastTransitionTime": now, **_REASONS[entry["type"]]})
        else:
            conditions.append({**entry, "lastHeartbeatTime": now})
    return conditions


_REASONS = {
    "Ready": {"reason": "KubeletReady", "message": "kubelet is posting ready status"},
    "MemoryPressure": {"reason": "KubeletHasSufficientMemory", "message": "kubelet has sufficient memory available"},
    "DiskPressure": {"reason": "KubeletHasNoDiskPressure", "message": "kubelet has no disk pressure"},
    "PIDPressure": {"reason": "KubeletHasSufficientPID", "message": "kubelet has sufficient PID available"},
}


def seconds_to_stay(pod: Object, node: Object, now: datetime.datetime) -> float | None:
    """How long the node's NoExecute taints let the pod stay: 0 is not at all, None for ever."""
    taints = [taint for taint in (node.get("spec") or {}).get("taints") or () if taint.get("effect") == "NoExecute"]
    shortest: float | None = None
    for taint in taints:
        used = [one for one in pod["spec"].get("tolerations") or () if tolerates(one, taint)]
        if not used:
            return 0.0
        limits = [one["tolerationSeconds"] for one in used if one.get("tolerationSeconds") is not None]
        if limits:
            added = taint.get("timeAdded")
            passed = (now - datetime.datetime.fromisoformat(added)).total_seconds() if added else 0.0
            left = max(0.0, max(0, min(limits)) - passed)
            shortest = left if shortest is None else min(shortest, left)
    return shortest
