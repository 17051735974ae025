# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a target pod may take to be placed and to start, and whether any node could take it: pure.

Source: KubeVirt pkg/virt-controller/watch/migration/migration.go (handlePendingPodTimeout, alertIfHostModelIsUnschedulable), v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ....interface import Object
from ..conditions import has_status
from ..launcher_scheduling import CPU_FEATURE, CPU_MODEL_MIGRATION

UNSCHEDULABLE_TIMEOUT, PENDING_TIMEOUT = 300, 900
"""Seconds since the pod was created."""
READY_TIMESTAMP = "kubevirt.io/migration-target-ready-timestamp"
_UNSCHEDULABLE = "kubevirt.io/migrationUnschedulablePodTimeoutSeconds"
_PENDING = "kubevirt.io/migrationPendingPodTimeoutSeconds"


@dataclasses.dataclass(frozen=True)
class Overdue:
    """The pod is to be deleted; `what` is what it was too long."""

    what: str


def is_unschedulable(pod: Object) -> bool:
    return has_status(pod, "PodScheduled", "False", "Unschedulable")


def is_waiting(pod: Object) -> bool:
    """Whether the pod has not started yet, and is meant to."""
    return (pod.get("status") or {}).get("phase") == "Pending" and not pod["metadata"].get("deletionTimestamp")


def check(migration: Object, pod: Object, now: datetime.datetime) -> Overdue | float | None:
    """Overdue, or after how many seconds to look again, or None for a pod that does not wait. Ages are whole seconds."""
    if not is_waiting(pod):
        return None
    created = datetime.datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    age = float(max(0, int(now.timestamp()) - int(created.timestamp())))
    pending = _seconds(migration, _PENDING, PENDING_TIMEOUT)
    if is_unschedulable(pod):
        unschedulable = _seconds(migration, _UNSCHEDULABLE, UNSCHEDULABLE_TIMEOUT)
        return Overdue("unschedulable") if age >= unschedulable else unschedulable - age
    return Overdue("pending") if age >= pending else pending - age


def _seconds(migration: Object, annotation: str, default: int) -> int:
    try:
        return int((migration["metadata"].get("annotations") or {})[annotation])
    except (KeyError, ValueError):
        return default


def required_host_model(pod: Object) -> dict[str, str]:
    """The labels that the pod needs for the CPU of its guest."""
    selector = pod["spec"].get("nodeSelector") or {}
    return {key: value for key, value in selector.items() if key.startswith((CPU_FEATURE, CPU_MODEL_MIGRATION))}


def fits_nowhere(pod: Object, nodes: t.Iterable[Object], source: str) -> dict[str, str] | None:
    """The labels that no node but the source has, or None when one has them all."""
    required = required_host_model(pod)
    for node in nodes:
        labels = node["metadata"].get("labels") or {}
        if node["metadata"]["name"] != source and required.items() <= labels.items():
            return None
    return required or None
