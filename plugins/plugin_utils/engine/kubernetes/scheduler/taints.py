# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taints of nodes and tolerations of pods: pure.

Source: Kubernetes pkg/scheduler/framework/plugins/tainttoleration, component-helpers scheduling/corev1.
"""
from __future__ import annotations

import typing as t

from ...interface import Object

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_HARD = ("NoSchedule", "NoExecute")


def tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    return bool(operator == "Equal" and toleration.get("key") and (toleration.get("value") or "") == (taint.get("value") or ""))


def tolerated(tolerations: t.Sequence[Object], taint: Object) -> bool:
    return any(tolerates(toleration, taint) for toleration in tolerations)


def untolerated(tolerations: t.Sequence[Object], taints: t.Iterable[Object], effects: t.Sequence[str] = _HARD) -> Object | None:
    """The first taint of one of the effects that nothing tolerates."""
    for taint in taints:
        if taint.get("effect") in effects and not tolerated(tolerations, taint):
            return taint
    return None


def disliked(tolerations: t.Sequence[Object], taints: t.Iterable[Object]) -> int:
    """How many PreferNoSchedule taints nothing tolerates."""
    preferring = [one for one in tolerations if one.get("effect") in (None, "", "PreferNoSchedule")]
    return sum(1 for taint in taints if taint.get("effect") == "PreferNoSchedule" and not tolerated(preferring, taint))
