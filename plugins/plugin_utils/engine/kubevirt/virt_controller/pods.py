# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-launcher pods as virt-controller looks at them: pure.

Source: KubeVirt pkg/controller/{pod_utils,controller}.go, v1.5.3.
"""
from __future__ import annotations

import typing as t

from ...interface import Object

LAUNCHERS = "kubevirt.io=virt-launcher"
"""Label selector of the pods that virt-controller follows."""
FINAL = ("Succeeded", "Failed")
BY_INSTANCE = "instance"
"""Index of pods by the uid of the instance that controls them."""
BY_NODE = "node"
"""Index of pods by spec.nodeName, and of instances by status.nodeName."""


def controller_of(obj: Object) -> Object | None:
    """The owner reference of the object's controller."""
    return next((owner for owner in obj["metadata"].get("ownerReferences") or () if owner.get("controller")), None)


def instance_uid(pod: Object) -> list[str]:
    """Index function: the uid of the VirtualMachineInstance that controls the pod."""
    owner = controller_of(pod)
    return [owner["uid"]] if owner is not None and owner.get("kind") == "VirtualMachineInstance" else []


def node_of(pod: Object) -> list[str]:
    """Index function: the node that the pod is on."""
    name = pod["spec"].get("nodeName")
    return [name] if name else []


def is_final(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in FINAL


def is_going_down(pod: Object) -> bool:
    """Whether the pod has ended, is being deleted, or its compute container has ended."""
    if is_final(pod) or pod["metadata"].get("deletionTimestamp"):
        return True
    return any(status["name"] == "compute" and "terminated" in (status.get("state") or {}) for status in _container_statuses(pod))


def is_up(pod: Object) -> bool:
    """Whether everything in the pod runs: compute only has to run, the others have to be ready."""
    if is_going_down(pod) or (pod.get("status") or {}).get("phase") != "Running":
        return False
    for status in _container_statuses(pod):
        if status["name"] in ("compute", "istio-proxy"):
            if "running" not in (status.get("state") or {}):
                return False
        elif not status.get("ready"):
            return False
    return True


def _container_statuses(pod: Object) -> t.Sequence[Object]:
    found: t.Sequence[Object] = (pod.get("status") or {}).get("containerStatuses") or ()
    return found


def current_pod(vmi: Object, pods: t.Iterable[Object]) -> Object | None:
    """Of the pods that the instance controls, the newest on its node, or the newest of all while it has no node."""
    node = (vmi.get("status") or {}).get("nodeName")
    found: Object | None = None
    for pod in pods:
        if node and pod["spec"].get("nodeName") != node:
            continue
        if found is None or found["metadata"]["creationTimestamp"] < pod["metadata"]["creationTimestamp"]:
            found = pod
    return found


def pull_error(pod: Object) -> tuple[str, str] | None:
    """Reason and message of an image that can't be had."""
    status = pod.get("status") or {}
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff"):
            return waiting["reason"], waiting.get("message", "")
    return None
