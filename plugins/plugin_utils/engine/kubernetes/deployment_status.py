# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a Deployment's ReplicaSets grow and shrink from one template to the next, and what its status says of it: pure.

Source: Kubernetes pkg/controller/deployment/{rolling,sync,progress}.go, pkg/controller/deployment/util/deployment_util.go.
"""
from __future__ import annotations

import math
import typing as t

from ..interface import Object
from .pod_control import owner_reference
from .workload_status import HASH_LABEL, condition, template_hash

REVISION = "deployment.kubernetes.io/revision"
_DESIRED, _MOST = "deployment.kubernetes.io/desired-replicas", "deployment.kubernetes.io/max-replicas"


def bounds(deployment: Object) -> tuple[int, int]:
    """How many pods there may be beyond the wanted ones, and how many may be missing."""
    spec = deployment["spec"]
    if (spec.get("strategy") or {}).get("type") == "Recreate":
        return 0, 0
    rolling, replicas = (spec.get("strategy") or {}).get("rollingUpdate") or {}, spec.get("replicas", 1)
    surge = _scaled(rolling.get("maxSurge", "25%"), replicas, up=True)
    unavailable = _scaled(rolling.get("maxUnavailable", "25%"), replicas, up=False)
    if not surge and not unavailable:
        unavailable = 1
    return surge, min(unavailable, replicas)


def _scaled(value: int | str, total: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * total / 100
    return math.ceil(share) if up else math.floor(share)


def same_template(replica_set: Object, deployment: Object) -> bool:
    """Whether the ReplicaSet is of the Deployment's present template."""
    return _without_hash(replica_set["spec"]["template"]) == _without_hash(deployment["spec"]["template"])


def _without_hash(template: Object) -> Object:
    metadata = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    return {**template, "metadata": {**{key: value for key, value in metadata.items() if key != "creationTimestamp"}, "labels": labels}}


def revision(obj: Object) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def new_replica_set(deployment: Object, number: int, replicas: int, collisions: int = 0) -> Object:
    """The ReplicaSet of the present template."""
    metadata, spec = deployment["metadata"], deployment["spec"]
    template = spec["template"]
    digest = template_hash(template, collisions)
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: digest}
    selector = spec["selector"]
    made: Object = {
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{digest}", "namespace": metadata["namespace"], "labels": labels, "annotations": noted(deployment, number),
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {
            "replicas": replicas, "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: digest}},
            "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
        },
    }
    if spec.get("minReadySeconds"):
        made["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    return made


def noted(deployment: Object, number: int) -> dict[str, str]:
    """The annotations of the ReplicaSet of the present template."""
    wanted = deployment["spec"].get("replicas", 1)
    return {_DESIRED: str(wanted), _MOST: str(wanted + bounds(deployment)[0]), REVISION: str(number)}


def _wanted(replica_set: Object) -> int:
    return int(replica_set["spec"].get("replicas", 1))


def _available(replica_set: Object) -> int:
    return int((replica_set.get("status") or {}).get("availableReplicas") or 0)


def grown(deployment: Object, new: Object, every: t.Sequence[Object]) -> int:
    """How many replicas the new ReplicaSet gets now."""
    wanted = deployment["spec"].get("replicas", 1)
    if _wanted(new) >= wanted:
        return int(wanted)
    room = wanted + bounds(deployment)[0] - sum(_wanted(one) for one in every)
    return int(min(wanted, _wanted(new) + max(0, room)))


def shrunk(deployment: Object, new: Object, old: t.Sequence[Object]) -> dict[str, int]:
    """The old ReplicaSets that lose replicas now, by name: first pods that are not available, then others, the oldest first."""
    least = deployment["spec"].get("replicas", 1) - bounds(deployment)[1]
    every = [*old, new]
    may_go = sum(_wanted(one) for one in every) - least - (_wanted(new) - _available(new))
    left = {one["metadata"]["name"]: _wanted(one) for one in old}
    ordered = sorted(old, key=lambda one: one["metadata"].get("creationTimestamp") or "")
    for one in ordered:
        name = one["metadata"]["name"]
        gone = max(0, min(may_go, left[name] - _available(one)))
        left[name] -= gone
        may_go -= gone
    spare = min(sum(_available(one) for one in every) - least, may_go)
    for one in ordered:
        name = one["metadata"]["name"]
        gone = max(0, min(spare, left[name]))
        left[name] -= gone
        spare -= gone
    return {one["metadata"]["name"]: left[one["metadata"]["name"]] for one in old if left[one["metadata"]["name"]] != _wanted(one)}


def is_complete(deployment: Object, status: Object) -> bool:
    wanted = deployment["spec"].get("replicas", 1)
    counts = {status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")}
    return counts == {wanted} and status["observedGeneration"] >= deployment["metadata"]["generation"]


def counts(deployment: Object, new: Object | None, every: t.Sequence[Object]) -> Object:
    """The numbers of the status; those that are 0 are left out."""

    def total(key: str, sets: t.Sequence[Object]) -> int:
        return sum((one.get("status") or {}).get(key) or 0 for one in sets)

    status: Object = {"observedGeneration": deployment["metadata"]["generation"]}
    available = total("availableReplicas", every)
    for key, value in (
        ("replicas", total("replicas", every)), ("updatedReplicas", total("replicas", [new] if new is not None else [])),
        ("readyReplicas", total("readyReplicas", every)), ("availableReplicas", available),
        ("unavailableReplicas", max(0, sum(_wanted(one) for one in every) - available)),
    ):
        if value:
            status[key] = value
    return status


def status_of(deployment: Object, new: Object | None, every: t.Sequence[Object], now: str, late: bool = False) -> Object:
    """The status over all its ReplicaSets. `late`: nothing has moved for as long as progressDeadlineSeconds."""
    before = deployment.get("status") or {}
    known = {entry["type"]: entry for entry in before.get("conditions") or ()}
    status = counts(deployment, new, every)
    enough = status.get("availableReplicas", 0) >= deployment["spec"].get("replicas", 1) - bounds(deployment)[1]
    available = condition(
        known.get("Available"), "Available", enough, "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        f"Deployment {'has' if enough else 'does not have'} minimum availability.", now,
    )
    status["conditions"] = [available, *_progress(deployment, known.get("Progressing"), status, before, new, now, late=late)]
    if before.get("collisionCount"):
        status["collisionCount"] = before["collisionCount"]
    return status


def _progress(deployment: Object, known: Object | None, status: Object, before: Object, new: Object | None, now: str, *, late: bool) -> list[Object]:
    if new is None:
        return [known] if known is not None else []
    name = new["metadata"]["name"]
    if is_complete(deployment, status):
        return [condition(known, "Progressing", True, "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.', now)]
    if progressed(before, status) or known is None:
        fresh = condition(known, "Progressing", True, "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.', now)
        return [{**fresh, "lastUpdateTime": now}]
    if late and known.get("reason") != "NewReplicaSetAvailable":
        return [condition(known, "Progressing", False, "ProgressDeadlineExceeded", f'ReplicaSet "{name}" has timed out progressing.', now)]
    return [known]


def progressed(before: Object, after: Object) -> bool:
    """Whether anything has moved in the right direction."""
    def old(status: Object) -> int:
        return int(status.get("replicas", 0) - status.get("updatedReplicas", 0))

    rising = any(after.get(key, 0) > before.get(key, 0) for key in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    return rising or old(after) < old(before)
