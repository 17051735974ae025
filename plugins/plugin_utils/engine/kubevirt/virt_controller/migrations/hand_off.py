# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What virt-controller writes into the instance when its migration goes over to virt-handler, is aborted, or loses its target: pure.

Source: KubeVirt pkg/virt-controller/watch/migration/migration.go (handleTargetPodHandoff, handleMarkMigrationFailedOnVMI), v1.4.1 and v1.5.3.
"""
from __future__ import annotations

from ....interface import Object
from ..configuration import Migrations
from ..launcher import NONROOT
from . import phases

_STATE = "/status/migrationState"


def _unchanged(vmi: Object) -> Object:
    return {"op": "test", "path": "/metadata/resourceVersion", "value": vmi["metadata"]["resourceVersion"]}


def handed_off(
    vmi: Object, migration: Object, target_pod: Object, source_pod: str, settings: Migrations, policy: str = ""
) -> list[Object]:
    """The JSON patch that names source and target; a state that was there before is replaced as a whole."""
    node = target_pod["spec"]["nodeName"]
    state: Object = {
        "migrationUid": migration["metadata"]["uid"], "sourceNode": vmi["status"]["nodeName"], "sourcePod": source_pod, "targetNode": node,
        "targetPod": target_pod["metadata"]["name"], "migrationConfiguration": settings.to_dict(),
    }
    if policy:
        state["migrationPolicyName"] = policy
    labels = {**(vmi["metadata"].get("labels") or {}), phases.TARGET_NODE_NAME: node}
    # The target's launcher has no root, whatever the source's was started as.
    annotations = {**(vmi["metadata"].get("annotations") or {}), NONROOT: "true"}
    return [
        _unchanged(vmi), {"op": "add", "path": _STATE, "value": state}, {"op": "add", "path": "/metadata/labels", "value": labels},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
    ]


def abort_requested(vmi: Object) -> list[Object]:
    """The JSON patch by which virt-handler hears that the migration is to be aborted."""
    return [_unchanged(vmi), {"op": "add", "path": f"{_STATE}/abortRequested", "value": True}]


def never_began(vmi: Object) -> bool:
    """Whether the migration that has the instance's state neither got ready on its target nor ended."""
    state = phases.state_of(vmi)
    return not any(state.get(field) for field in ("targetDirectMigrationNodePorts", "startTimestamp", "failed", "completed"))


def target_lost(vmi: Object, now: str) -> list[Object]:
    """The JSON patch that ends a migration whose target went down before virt-handler had it ready."""
    state = {**phases.state_of(vmi), "startTimestamp": now, "endTimestamp": now, "failed": True, "completed": True}
    return [_unchanged(vmi), {"op": "add", "path": _STATE, "value": state}]
