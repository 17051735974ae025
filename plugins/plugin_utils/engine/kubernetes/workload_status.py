# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the statuses of workloads and their pods say, for all who wait for them: pure.

Source: Kubernetes pkg/controller/controller_utils.go, pkg/controller/deployment/util, kubectl pkg/polymorphichelpers/rollout_status.go.
"""
from __future__ import annotations

import contextlib
import datetime
import hashlib
import typing as t

with contextlib.suppress(ImportError):
    import orjson

from ..interface import Object
from . import pods as pod_status

HASH_LABEL, REVISION_HASH_LABEL = "pod-template-hash", "controller-revision-hash"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def rolled_out(workload: Object) -> bool:
    """Whether a Deployment or DaemonSet runs its present template everywhere."""
    status = workload.get("status") or {}
    if status.get("observedGeneration") != workload["metadata"].get("generation"):
        return False
    if workload["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        return bool(status.get("updatedNumberScheduled", 0) >= wanted and status.get("numberReady", 0) >= wanted)
    wanted = workload["spec"].get("replicas", 1)
    updated = status.get("updatedReplicas", 0)
    return bool(updated >= wanted and status.get("replicas", 0) <= updated and status.get("availableReplicas", 0) >= updated)


def template_hash(template: Object, collisions: int = 0) -> str:
    """What names the template's ReplicaSet or ControllerRevision: other than the real one, the same for the same template."""
    bare = {**template, "metadata": {key: value for key, value in (template.get("metadata") or {}).items() if key != "creationTimestamp"}}
    digest = hashlib.sha256(orjson.dumps([bare, collisions], option=orjson.OPT_SORT_KEYS)).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])


def is_active(pod: Object) -> bool:
    """Whether a pod counts as one of its workload's: neither finished nor going."""
    return not pod_status.is_final(pod) and not pod_status.is_going(pod)


def matters(before: Object | None, pod: Object) -> bool:
    """Whether the pod counts otherwise for its workload than it did: most of what a pod goes through does not."""
    return before is None or _counts_as(before) != _counts_as(pod)


def _counts_as(pod: Object) -> tuple[t.Any, ...]:
    metadata, ready = pod["metadata"], pod_status.condition(pod, "Ready") or {}
    return (
        metadata["uid"], metadata.get("labels"), pod_status.is_going(pod), pod_status.is_final(pod), bool(pod_status.node_of(pod)), ready.get("status"),
        ready.get("lastTransitionTime") if ready.get("status") == "True" else None,
    )


def available_in(pod: Object, min_ready: int, now: datetime.datetime) -> float | None:
    """Seconds until a pod has been ready for long enough, 0 when it has; None while it is not ready."""
    ready = pod_status.condition(pod, "Ready")
    if ready is None or ready["status"] != "True":
        return None
    if not min_ready or not ready.get("lastTransitionTime"):
        return 0.0
    return max(0.0, min_ready - (now - datetime.datetime.fromisoformat(ready["lastTransitionTime"])).total_seconds())


def availability(pods: t.Iterable[Object], min_ready: int, now: datetime.datetime) -> tuple[int, int, float | None]:
    """How many pods are ready, how many available, and in how many seconds the next one becomes it."""
    ready = available = 0
    next_look: float | None = None
    for pod in pods:
        left = available_in(pod, min_ready, now)
        if left is not None:
            ready += 1
            if left:
                next_look = left if next_look is None else min(next_look, left)
            else:
                available += 1
    return ready, available, next_look


def first_to_go(pods: t.Sequence[Object]) -> list[Object]:
    """The pods in the order in which a workload with too many of them deletes them.

    Source: controller_utils.go (ActivePodsWithRanks).
    """
    by_node: dict[str, int] = {}
    for pod in pods:
        by_node[pod_status.node_of(pod)] = by_node.get(pod_status.node_of(pod), 0) + 1

    def rank(pod: Object) -> tuple[t.Any, ...]:
        phase, ready = pod_status.phase(pod), pod_status.condition(pod, "Ready")
        is_ready = ready is not None and ready["status"] == "True"
        cost = (pod["metadata"].get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost", "0")
        since = (ready or {}).get("lastTransitionTime") or "" if is_ready else ""
        return (
            bool(pod_status.node_of(pod)), {"Pending": 0, "Unknown": 1}.get(phase, 2), is_ready, int(cost) if cost.lstrip("-").isdigit() else 0,
            -by_node[pod_status.node_of(pod)], _newest_first(since), _newest_first(pod["metadata"].get("creationTimestamp") or ""),
        )

    return sorted(pods, key=rank)


def _newest_first(moment: str) -> float:
    return -datetime.datetime.fromisoformat(moment).timestamp() if moment else 0.0


def condition(before: Object | None, kind: str, holds: bool, reason: str, message: str, now: str) -> Object:
    """A Deployment's condition; its moments change with what it says only."""
    status = "True" if holds else "False"
    if before is not None and (before["status"], before.get("reason"), before.get("message")) == (status, reason, message):
        return before
    since = before["lastTransitionTime"] if before is not None and before["status"] == status else now
    return {"type": kind, "status": status, "lastUpdateTime": now, "lastTransitionTime": since, "reason": reason, "message": message}
