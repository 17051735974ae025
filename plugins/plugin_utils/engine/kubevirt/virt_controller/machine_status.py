# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of a VirtualMachine, given its instance: pure.

Source: KubeVirt pkg/virt-controller/watch/vm/vm.go (updateStatus, setPrintableStatus), pkg/storage/snapshot, v1.5.3.
"""
from __future__ import annotations

import dataclasses
import datetime
import typing as t
import zlib

from ...interface import Object
from . import conditions, phases
from .instance_status import PVC_NOT_FOUND, SyncError
from .launcher_volumes import claim_name

_LONGEST_BACK_OFF = 300
_OWN_CONDITIONS = ("Ready", "Failure", "RestartRequired")
_RESTARTING = ("Always", "RerunOnFailure", "Once")


@dataclasses.dataclass(frozen=True)
class Around:
    """What a machine's status depends on besides the machine and its instance."""

    now: datetime.datetime
    timestamp: str
    claims: t.Callable[[str], Object | None]
    starting: bool = False
    """An instance has been asked for that nobody has seen yet."""
    stopping: bool = False
    error: SyncError | None = None
    restart_required: bool | None = None
    """None leaves the condition as it is."""


def run_strategy(vm: Object) -> str:
    """The run strategy, `running` included."""
    spec = vm["spec"]
    if spec.get("runStrategy"):
        return str(spec["runStrategy"])
    return "Always" if spec.get("running") else "Halted"


def stop_requested(vm: Object, vmi: Object) -> bool:
    """Whether the first request of the machine is to stop just this instance."""
    first = _first_request(vm)
    return first is not None and first.get("action") == "Stop" and first.get("uid") == vmi["metadata"]["uid"]


def start_requested(vm: Object) -> bool:
    first = _first_request(vm)
    return first is not None and first.get("action") == "Start"


def start_paused_requested(vm: Object) -> bool:
    first = _first_request(vm)
    return first is not None and first.get("action") == "Start" and (first.get("data") or {}).get("paused") == "true"


def _first_request(vm: Object) -> Object | None:
    requests: list[Object] = (vm.get("status") or {}).get("stateChangeRequests") or []
    return requests[0] if requests else None


def back_off_left(vm: Object, now: datetime.datetime) -> int:
    """Seconds until a machine that keeps failing may be started again."""
    retry = ((vm.get("status") or {}).get("startFailure") or {}).get("retryAfterTimestamp")
    try:
        return max(0, int((datetime.datetime.fromisoformat(str(retry)) - now.replace(microsecond=0)).total_seconds()))
    except ValueError:
        return 0


def back_off(failures: int, seed: str) -> int:
    """Seconds to wait after so many failures in a row: 10 s by the square, up to half as much again at random, at most 5 minutes.

    The random part depends on the seed alone, so that a history can be told twice.
    """
    delay = 10 * max(1, failures) ** 2
    delay += zlib.crc32(f"{seed} {failures}".encode()) % (delay // 2 + 1)
    return min(delay, _LONGEST_BACK_OFF)


def heeded(vmi: Object) -> tuple[t.Any, ...]:
    """What of an instance anything of its machine hangs on; an instance changes far more often than this."""
    metadata, status = vmi["metadata"], vmi.get("status") or {}
    return (
        metadata.get("uid"), metadata.get("ownerReferences"), metadata.get("deletionTimestamp"), metadata.get("finalizers"),
        (metadata.get("annotations") or {}).get(phases.GENERATION), status.get("phase"), status.get("conditions"), phases.is_migrating(vmi),
        status.get("phaseTransitionTimestamps"), status.get("virtualMachineRevisionName"),
    )


def next_status(vm: Object, vmi: Object | None, around: Around) -> Object:
    """The status as it should be."""
    status: Object = dict(vm.get("status") or {})
    _flag(status, "created", vmi is not None)
    _flag(status, "ready", conditions.is_true(vmi, "Ready"))
    if vmi is not None:
        generation = (vmi["metadata"].get("annotations") or {}).get(phases.GENERATION)
        if generation is not None and generation.isdigit():
            status["observedGeneration"], status["desiredGeneration"] = int(generation), vm["metadata"].get("generation", 1)
    if status.get("runStrategy") or vmi is not None:
        status["runStrategy"] = run_strategy(vm)
    if _first_request_done(vm, vmi):
        rest = status["stateChangeRequests"][1:]
        status["stateChangeRequests"] = rest
        if not rest:
            del status["stateChangeRequests"]
    _start_failure(status, vm, vmi, around)
    status["conditions"] = _conditions(status.get("conditions") or [], vmi, around)
    snapshots = snapshot_statuses(vm, around.claims)
    if snapshots:
        status["volumeSnapshotStatuses"] = snapshots
    status["printableStatus"] = printable_status({**vm, "status": status}, vmi, around)
    return status


def _flag(status: Object, name: str, holds: bool) -> None:
    if holds:
        status[name] = True
    else:
        status.pop(name, None)


def _first_request_done(vm: Object, vmi: Object | None) -> bool:
    first = _first_request(vm)
    if first is None:
        return False
    if first.get("action") == "Stop":
        return vmi is None or first.get("uid") != vmi["metadata"]["uid"]
    return first.get("action") == "Start" and vmi is not None and not vmi["metadata"].get("deletionTimestamp") and not phases.is_final(vmi)


def _ran(vmi: Object | None) -> bool:
    transitions = ((vmi or {}).get("status") or {}).get("phaseTransitionTimestamps") or ()
    return any(entry["phase"] == "Running" for entry in transitions)


def _start_failure(status: Object, vm: Object, vmi: Object | None, around: Around) -> None:
    """A machine whose instances fail before they ever ran is started again ever later."""
    if _ran(vmi) or run_strategy(vm) not in _RESTARTING:
        status.pop("startFailure", None)
        return
    if vmi is None or not phases.is_final(vmi):
        return
    before, uid = status.get("startFailure") or {}, vmi["metadata"]["uid"]
    if before.get("lastFailedVMIUID") == uid:
        return
    count = int(before.get("consecutiveFailCount", 0)) + 1
    retry = around.now.replace(microsecond=0, tzinfo=None) + datetime.timedelta(seconds=back_off(count, uid))
    status["startFailure"] = {"consecutiveFailCount": count, "lastFailedVMIUID": uid, "retryAfterTimestamp": retry.isoformat() + "Z"}


def _conditions(before: list[Object], vmi: Object | None, around: Around) -> list[Object]:
    now = around.timestamp
    found = conditions.condition(vmi, "Ready")
    if vmi is None:
        ready = conditions.new("Ready", "False", now, "VMINotExists", "VMI does not exist", now)
    elif found is None:
        ready = conditions.new("Ready", "False", now, "VMIConditionMissing", "VMI is missing the Ready condition", now)
    else:
        ready = found
    made = conditions.updated(before, ready)
    if around.error is None:
        made = conditions.without(made, "Failure")
    else:
        made = conditions.updated(made, conditions.new("Failure", "True", now, around.error.reason, around.error.message))
    if around.restart_required:
        message = "a non-live-updatable field was changed in the template spec"
        made = conditions.updated(made, conditions.new("RestartRequired", "True", now, "", message))
    elif around.restart_required is False:
        made = conditions.without(made, "RestartRequired")
    if vmi is None:
        return made
    of_instance = (vmi.get("status") or {}).get("conditions") or ()
    for entry in of_instance:
        if entry["type"] not in _OWN_CONDITIONS:
            made = conditions.updated(made, entry)
    kept = {entry["type"] for entry in of_instance} | set(_OWN_CONDITIONS)
    return [entry for entry in made if entry["type"] in kept]


def snapshot_statuses(vm: Object, claims: t.Callable[[str], Object | None]) -> list[Object]:
    """Why each volume can't be in a snapshot: the cluster has no VolumeSnapshotClass."""
    made = []
    for volume in (vm["spec"].get("template") or {}).get("spec", {}).get("volumes") or ():
        name, kinds = volume["name"], ("persistentVolumeClaim", "dataVolume", "memoryDump")
        if not any(kind in volume for kind in kinds):
            reason = f"Snapshot is not supported for this volumeSource type [{name}]"
        elif (claim := claims(claim_name(volume))) is None:
            reason = "PVC not found"
        else:
            storage = claim["spec"].get("storageClassName", "")
            reason = f"No VolumeSnapshotClass: Volume snapshots are not configured for this StorageClass [{storage}] [{name}]"
        made.append({"enabled": False, "name": name, "reason": reason})
    return made


def printable_status(vm: Object, vmi: Object | None, around: Around) -> str:
    """The one word for the machine's state; the first that fits in KubeVirt's order."""
    return next(word for word, holds in _words(vm, vmi, around) if holds())


def _words(vm: Object, vmi: Object | None, around: Around) -> list[tuple[str, t.Callable[[], bool]]]:
    phase, final = phases.phase(vmi), phases.is_final(vmi)
    running = phase == "Running"
    paused = conditions.is_true(vmi, "Paused")
    failures = ((vm.get("status") or {}).get("startFailure") or {}).get("consecutiveFailCount", 0)

    def stopping() -> bool:
        return vmi is not None and not final and (bool(vmi["metadata"].get("deletionTimestamp")) or around.stopping)

    def starting() -> bool:
        return around.starting if vmi is None else phase in (*phases.UNPROCESSED, "Scheduling", "Scheduled")

    def crashing() -> bool:
        return (vmi is None or final) and not around.starting and failures > 0 and run_strategy(vm) in _RESTARTING

    return [
        ("Terminating", lambda: bool(vm["metadata"].get("deletionTimestamp"))),
        ("Stopping", stopping),
        ("Migrating", lambda: phases.is_migrating(vmi)),
        ("Paused", lambda: running and paused),
        ("Running", lambda: running and not paused),
        ("ErrorPvcNotFound", lambda: conditions.has_status(vmi, "Synchronized", "False", PVC_NOT_FOUND)),
        ("ErrorUnschedulable", lambda: conditions.has_status(vmi, "PodScheduled", "False", "Unschedulable")),
        ("Provisioning", lambda: conditions.is_true(vmi, "Provisioning") or _filling(vm, around)),
        ("WaitingForVolumeBinding", lambda: _set_to_start(vm, vmi) and _unbound(vm, around)),
        ("ErrImagePull", lambda: conditions.has_status(vmi, "Synchronized", "False", "ErrImagePull")),
        ("ImagePullBackOff", lambda: conditions.has_status(vmi, "Synchronized", "False", "ImagePullBackOff")),
        ("Starting", starting),
        ("CrashLoopBackOff", crashing),
        ("Stopped", lambda: final if vmi is not None else not around.starting),
        ("Unknown", lambda: True),
    ]


def _volumes(vm: Object) -> list[Object]:
    found: list[Object] = (vm["spec"].get("template") or {}).get("spec", {}).get("volumes") or []
    return found


def _filling(vm: Object, around: Around) -> bool:
    """Whether a DataVolume of the machine is still without its claim."""
    return any("dataVolume" in volume and around.claims(claim_name(volume)) is None for volume in _volumes(vm))


def _unbound(vm: Object, around: Around) -> bool:
    claims = [around.claims(claim_name(volume)) for volume in _volumes(vm) if claim_name(volume)]
    return any(claim is not None and (claim.get("status") or {}).get("phase") != "Bound" for claim in claims)


def _set_to_start(vm: Object, vmi: Object | None) -> bool:
    strategy = run_strategy(vm)
    if strategy == "Manual":
        return not stop_requested(vm, vmi) if vmi is not None else start_requested(vm)
    if strategy == "RerunOnFailure":
        return vmi is None or phases.phase(vmi) != "Succeeded"
    return strategy == "Always" or (strategy == "Once" and vmi is None)
