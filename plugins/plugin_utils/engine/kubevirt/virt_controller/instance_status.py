# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a VirtualMachineInstance's object, given its pods: pure.

Source: KubeVirt pkg/virt-controller/watch/vmi/{lifecycle,storage}.go (updateStatus), v1.5.3.
"""
from __future__ import annotations

import dataclasses
import typing as t

from ...interface import Object
from . import conditions, phases, pods
from .launcher_resources import is_dedicated
from .launcher_volumes import claim_name

FILESYSTEM_OVERHEAD = "0.055"
"""What CDI takes off a volume for its file system unless told otherwise."""
PVC_NOT_FOUND = "FailedPvcNotFound"


_HEEDED_STATUS = (
    "phase", "phaseTransitionTimestamps", "conditions", "nodeName", "activePods", "volumeStatus", "qosClass", "migrationTransport",
    "launcherContainerImageVersion",
)


@dataclasses.dataclass(frozen=True)
class SyncError:
    """What kept the controller from doing its work, as the condition Synchronized says."""

    reason: str
    message: str


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the controller knows of an instance: the pods that it controls, the claims of its namespace by name, who else is there."""

    pods: t.Sequence[Object]
    claims: t.Callable[[str], Object | None]
    launcher_image: str
    has_owner: bool
    now: str
    error: SyncError | None = None


def heeded(vmi: Object) -> tuple[t.Any, ...]:
    """What of an instance its controller goes by or looks after; a migration changes far more often what it does not."""
    metadata, status = vmi["metadata"], vmi.get("status") or {}
    labels = metadata.get("labels") or {}
    return (
        metadata.get("uid"), metadata.get("ownerReferences"), metadata.get("deletionTimestamp"), metadata.get("finalizers"), metadata.get("annotations"),
        labels.get(phases.NODE_NAME), labels.get(phases.OUTDATED), vmi.get("spec"), *map(status.get, _HEEDED_STATUS),
    )


def next_instance(vmi: Object, seen: Seen) -> Object:
    """The instance as it should be. The given one is left alone; what has not changed is shared with it."""
    status: Object = dict(vmi.get("status") or {})
    metadata: Object = {**vmi["metadata"], "labels": dict(vmi["metadata"].get("labels") or {})}
    made: Object = {**vmi, "metadata": metadata, "status": status}
    pod = pods.current_pod(vmi, seen.pods)
    _active_pods(status, seen)
    status["conditions"] = conditions.updated(status.get("conditions") or (), ready_condition(vmi, pod, seen.now))
    if pod is not None:
        _launcher(made, pod, seen.launcher_image)
    error = _by_phase(vmi, made, pod, seen)
    if phases.phase(vmi) not in ("Running", "Scheduled"):
        _failure(status, error, seen.now)
        if phases.phase(made) != phases.phase(vmi):
            entry = {"phase": status["phase"], "phaseTransitionTimestamp": seen.now}
            status["phaseTransitionTimestamps"] = [*(status.get("phaseTransitionTimestamps") or ()), entry]
    if not metadata["labels"]:
        del metadata["labels"]
    return made


def _by_phase(vmi: Object, made: Object, pod: Object | None, seen: Seen) -> SyncError | None:
    """Set the phase and what belongs to it; returns the error that the instance has then."""
    current, status = phases.phase(vmi), made["status"]
    if current in phases.UNPROCESSED:
        if pod is not None:
            status["phase"] = "Scheduling"
        elif vmi["metadata"].get("deletionTimestamp"):
            status["phase"] = "Failed"
        else:
            status["phase"] = "Pending"
            if seen.error is not None and seen.error.reason == PVC_NOT_FOUND:
                unscheduled = conditions.new("PodScheduled", "False", None, "Unschedulable", seen.error.message)
                status["conditions"] = conditions.updated(status["conditions"], unscheduled)
    elif current == "Scheduling":
        return _scheduling(vmi, made, pod, seen)
    elif current in ("Running", "Scheduled"):
        if pod is None:
            status["phase"] = "Failed"
        else:
            _volumes(vmi, status, seen)
    elif phases.is_final(vmi):
        _final(made, seen)
    return seen.error


def _scheduling(vmi: Object, made: Object, pod: Object | None, seen: Seen) -> SyncError | None:
    status = made["status"]
    status["conditions"] = conditions.without(status["conditions"], "Provisioning")
    if pod is None:
        status["phase"] = "Failed"
        return seen.error
    qos = (pod.get("status") or {}).get("qosClass")
    if qos:
        status["qosClass"] = qos
    scheduled = conditions.condition(pod, "PodScheduled")
    if scheduled is not None and scheduled["status"] == "False":
        status["conditions"] = conditions.updated(status["conditions"], scheduled)
    else:
        status["conditions"] = conditions.without(status["conditions"], "PodScheduled")
    pull = pods.pull_error(pod)
    error = SyncError(*pull) if pull is not None else seen.error
    if pods.is_up(pod) and not vmi["metadata"].get("deletionTimestamp"):
        if is_dedicated(vmi) and qos != "Guaranteed":
            return SyncError("FailedGuaranteePodResources", "failed to guarantee pod resources")
        _volumes(vmi, status, seen)
        made["metadata"]["labels"][phases.NODE_NAME] = pod["spec"]["nodeName"]
        status["phase"], status["nodeName"] = "Scheduled", pod["spec"]["nodeName"]
        if "kubevirt.io/migrationTransportUnix" in (pod["metadata"].get("annotations") or {}):
            status["migrationTransport"] = "Unix"
    elif pods.is_going_down(pod):
        status["phase"] = "Failed"
    return error


def _final(made: Object, seen: Seen) -> None:
    metadata, status = made["metadata"], made["status"]
    finalizers = metadata.get("finalizers") or []
    if not seen.pods:
        finalizers = [name for name in finalizers if name != phases.INSTANCE_FINALIZER]
        metadata["labels"].pop(phases.OUTDATED, None)
        status.pop("launcherContainerImageVersion", None)
    if not seen.has_owner:
        finalizers = [name for name in finalizers if name != phases.CONTROLLER_FINALIZER]
    if finalizers != (metadata.get("finalizers") or []):
        metadata["finalizers"] = finalizers


def _active_pods(status: Object, seen: Seen) -> None:
    active = {pod["metadata"]["uid"]: pod["spec"].get("nodeName") or "" for pod in seen.pods}
    if active:
        status["activePods"] = active
    else:
        status.pop("activePods", None)


def ready_condition(vmi: Object, pod: Object | None, now: str) -> Object:
    """The condition Ready, which for a running guest is its pod's."""
    if pod is None:
        return conditions.new("Ready", "False", now, "PodNotExists", "virt-launcher pod has not yet been scheduled", now)
    if pods.is_going_down(pod):
        return conditions.new("Ready", "False", now, "PodTerminating", "virt-launcher pod is terminating", now)
    if phases.phase(vmi) != "Running":
        return conditions.new("Ready", "False", now, "GuestNotRunning", "Guest VM is not reported as running", now)
    found = conditions.condition(pod, "Ready")
    if found is None:
        return conditions.new("Ready", "False", now, "PodConditionMissing", "virt-launcher pod is missing the Ready condition", now)
    return conditions.new(
        "Ready", found["status"], found.get("lastTransitionTime"), found.get("reason") or "", found.get("message") or "", found.get("lastProbeTime")
    )


def _launcher(made: Object, pod: Object, launcher_image: str) -> None:
    image = next((one.get("image", "") for one in pod["spec"]["containers"] if one["name"] == "compute"), "")
    if image and image != launcher_image:
        made["metadata"]["labels"][phases.OUTDATED] = ""
    else:
        made["metadata"]["labels"].pop(phases.OUTDATED, None)
    made["status"]["launcherContainerImageVersion"] = image


def _volumes(vmi: Object, status: Object, seen: Seen) -> None:
    """What virt-handler has to know of the volumes without asking for claims."""
    before = {entry["name"]: entry for entry in status.get("volumeStatus") or ()}
    made = []
    for volume in vmi["spec"].get("volumes") or ():
        entry: Object = dict(before.get(volume["name"]) or {"name": volume["name"], "target": ""})
        claim = seen.claims(claim_name(volume)) if claim_name(volume) else None
        if claim is not None:
            entry["persistentVolumeClaimInfo"] = claim_info(claim)
        made.append(entry)
    made.sort(key=lambda entry: str(entry["name"]))
    if made:
        status["volumeStatus"] = made


def claim_info(claim: Object) -> Object:
    """status.volumeStatus[].persistentVolumeClaimInfo of a PersistentVolumeClaim."""
    spec = claim["spec"]
    mode = spec.get("volumeMode", "Filesystem")
    made: Object = {
        "claimName": claim["metadata"]["name"], "accessModes": spec.get("accessModes") or [], "volumeMode": mode,
        "capacity": (claim.get("status") or {}).get("capacity") or {}, "requests": (spec.get("resources") or {}).get("requests") or {},
        "filesystemOverhead": "0" if mode == "Block" else FILESYSTEM_OVERHEAD,
    }
    return {key: value for key, value in made.items() if value not in ({}, [])}


def _failure(status: Object, error: SyncError | None, now: str) -> None:
    """The condition Synchronized is there only while something fails."""
    found = next((entry for entry in status["conditions"] if entry["type"] == "Synchronized"), None)
    if error is None:
        if found is not None:
            status["conditions"] = conditions.without(status["conditions"], "Synchronized")
    elif found is None or found["status"] != "False" or found.get("reason") != error.reason:
        made = conditions.new("Synchronized", "False", now, error.reason, error.message)
        status["conditions"] = [*conditions.without(status["conditions"], "Synchronized"), made]


def unpaused_condition(vmi: Object, pod: Object, now: str) -> Object | None:
    """The pod's condition kubevirt.io/virtual-machine-unpaused where it has to change. Its readiness gate waits for it."""
    kind = "kubevirt.io/virtual-machine-unpaused"
    holds = conditions.is_true(pod, kind)
    paused = conditions.is_true(vmi, "Paused")
    if paused and holds:
        return conditions.new(kind, "False", now, "Paused", "the virtual machine is paused", now)
    if not paused and not holds:
        return conditions.new(kind, "True", now, "NotPaused", "the virtual machine is not paused", now)
    return None
