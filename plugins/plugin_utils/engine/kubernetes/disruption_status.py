# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of a PodDisruptionBudget: how many of its pods are healthy, how many have to be, how many may go. Pure.

Source: Kubernetes pkg/controller/disruption/disruption.go, component-helpers apps/poddisruptionbudget.
"""
from __future__ import annotations

import datetime
import math
import typing as t

from ..interface import Object
from . import pods as pod_status

DELETION_TIMEOUT = 120.0
"""Engine seconds after which an evicted pod that was not deleted counts again."""


def scaled(value: int | str, total: int) -> int:
    """A number, or a percentage of the total, rounded up."""
    if isinstance(value, int):
        return value
    return math.ceil(int(value.removesuffix("%")) * total / 100)


def needs_scale(budget: Object) -> bool:
    """Whether how many pods there should be has to be asked of their controllers."""
    spec = budget["spec"]
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def desired_healthy(budget: Object, expected: int) -> int:
    spec = budget["spec"]
    if spec.get("maxUnavailable") is not None:
        return max(0, expected - scaled(spec["maxUnavailable"], expected))
    return scaled(spec.get("minAvailable", 0), expected) if spec.get("minAvailable") is not None else 0


def seconds_since(moment: str, now: datetime.datetime) -> float:
    return (now - datetime.datetime.fromisoformat(moment)).total_seconds()


def still_disrupted(budget: Object, pods: t.Iterable[Object], now: datetime.datetime) -> tuple[dict[str, str], list[Object], float | None]:
    """Evicted pods that are not deleted yet, those whose time is over, and in how many seconds the next one's is."""
    noted: dict[str, str] = (budget.get("status") or {}).get("disruptedPods") or {}
    kept: dict[str, str] = {}
    overdue, next_look = [], None
    for pod in pods if noted else ():
        name = pod["metadata"]["name"]
        if name not in noted or pod_status.is_going(pod):
            continue
        left = DELETION_TIMEOUT - seconds_since(noted[name], now)
        if left <= 0:
            overdue.append(pod)
        else:
            kept[name] = noted[name]
            next_look = left if next_look is None else min(next_look, left)
    return kept, overdue, next_look


def healthy(pods: t.Iterable[Object], disrupted: t.Container[str]) -> int:
    return sum(1 for pod in pods if not pod_status.is_going(pod) and pod["metadata"]["name"] not in disrupted and pod_status.is_ready(pod))


def counted(budget: Object, current: int, desired: int, expected: int, disrupted: dict[str, str], now: str) -> Object:
    """The status with these counts."""
    status: Object = {
        "disruptionsAllowed": max(0, current - desired) if expected > 0 else 0, "currentHealthy": current, "desiredHealthy": desired,
        "expectedPods": expected, "observedGeneration": budget["metadata"].get("generation", 0),
    }
    if disrupted:
        status["disruptedPods"] = disrupted
    conditions = (budget.get("status") or {}).get("conditions") or []
    return {**status, "conditions": with_condition(conditions, allowed_condition(status), now)}


def failed(budget: Object, why: str, now: str) -> Object:
    """The status when the counts can't be found out: nothing may go, and the generation stays unobserved."""
    before = budget.get("status") or {}
    condition: Object = {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": why}
    if before.get("observedGeneration"):
        condition["observedGeneration"] = before["observedGeneration"]
    return {**before, "disruptionsAllowed": 0, "conditions": with_condition(before.get("conditions") or [], condition, now)}


def allowed_condition(status: Object) -> Object:
    """DisruptionAllowed as the counts say it."""
    allowed = status["disruptionsAllowed"] > 0
    condition: Object = {
        "type": "DisruptionAllowed", "status": "True" if allowed else "False", "reason": "SufficientPods" if allowed else "InsufficientPods",
        "message": "",
    }
    if status.get("observedGeneration"):
        condition["observedGeneration"] = status["observedGeneration"]
    return condition


def with_condition(conditions: t.Sequence[Object], condition: Object, now: str) -> list[Object]:
    """The conditions with this one in place; its moment changes with its status only."""
    known = next((one for one in conditions if one["type"] == condition["type"]), None)
    since = known["lastTransitionTime"] if known is not None and known["status"] == condition["status"] else now
    new = {**condition, "lastTransitionTime": since}
    if known is None:
        return [*conditions, new]
    return [new if one is known else one for one in conditions]
