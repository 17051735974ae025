# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of a pod at each step of its life on a node: pure.

Source of the shapes: Kubernetes pkg/kubelet/status/generate.go, pkg/kubelet/kubelet_pods.go.
"""
from __future__ import annotations

import hashlib
import typing as t

from ..interface import Object

FINAL = frozenset(("Succeeded", "Failed"))


def phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


def is_final(pod: Object) -> bool:
    """Whether its containers have ended and will not run again."""
    return phase(pod) in FINAL


def condition(pod: Object, kind: str) -> Object | None:
    for entry in (pod.get("status") or {}).get("conditions") or ():
        if entry["type"] == kind:
            return t.cast(Object, entry)
    return None


def is_ready(pod: Object) -> bool:
    ready = condition(pod, "Ready")
    return ready is not None and ready["status"] == "True"


def is_going(pod: Object) -> bool:
    """Whether it was asked to end."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def node_of(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def creating(pod: Object, host_ip: str, now: str) -> Object:
    """The kubelet has taken the pod over and prepares its containers."""
    containers = [
        {
            **_container(container), "ready": False, "started": False, "restartCount": 0, "imageID": "", "lastState": {},
            "state": {"waiting": {"reason": "ContainerCreating"}},
        }
        for container in pod["spec"]["containers"]
    ]
    entries: list[tuple[str, bool, str, str]] = [
        ("PodReadyToStartContainers", False, "", ""), ("Initialized", True, "", ""), *_not_ready(pod, "ContainersNotReady"),
    ]
    return _status(pod, "Pending", now, entries, containers, {"hostIP": host_ip, "hostIPs": [{"ip": host_ip}]} if host_ip else {})


def running(pod: Object, address: str, now: str, restarts: int = 0) -> Object:
    """Its containers run; it is ready once its gates are open too."""
    containers = [_running(container, pod, now, restarts) for container in pod["spec"]["containers"]]
    gates = closed_gates(pod)
    entries = [
        ("PodReadyToStartContainers", True, "", ""), ("Initialized", True, "", ""), _ready(gates), ("ContainersReady", True, "", ""),
    ]
    beside: Object = {"podIP": address, "podIPs": [{"ip": address}]}
    first = [_finished(container, pod, now, 0, now) for container in pod["spec"].get("initContainers") or ()]
    if first:
        beside["initContainerStatuses"] = first
    return _status(pod, "Running", now, entries, containers, beside)


def ended(pod: Object, code: int, now: str) -> Object:
    """Its containers have ended for good."""
    began = {entry["name"]: (entry.get("state") or {}).get("running", {}).get("startedAt", now)
             for entry in (pod.get("status") or {}).get("containerStatuses") or ()}
    containers = [
        {**_finished(container, pod, now, code, began.get(container["name"], now)), "ready": False, "started": False}
        for container in pod["spec"]["containers"]
    ]
    reason = "PodCompleted" if not code else "PodFailed"
    entries = [
        ("PodReadyToStartContainers", False, "", ""), ("Initialized", True, reason if not code else "", ""),
        ("Ready", False, reason, ""), ("ContainersReady", False, reason, ""),
    ]
    return _status(pod, "Failed" if code else "Succeeded", now, entries, containers, {})


def gated(pod: Object, now: str) -> Object | None:
    """The status with Ready as its gates have it now, or None when that is what it says."""
    kind, holds, reason, message = _ready(closed_gates(pod))
    known = condition(pod, kind)
    if known is None or (known["status"] == "True") == holds:
        return None
    status = dict(pod["status"])
    entry: Object = {"type": kind, "status": "True" if holds else "False", "lastProbeTime": None, "lastTransitionTime": now}
    if not holds:
        entry.update(reason=reason, message=message)
    status["conditions"] = [entry if one["type"] == kind else one for one in status["conditions"]]
    return status


def closed_gates(pod: Object) -> list[str]:
    """The readiness gates that nobody has opened."""
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()]
    return [gate for gate in gates if (condition(pod, gate) or {}).get("status") != "True"]


def _ready(gates: list[str]) -> tuple[str, bool, str, str]:
    if not gates:
        return "Ready", True, "", ""
    message = "; ".join(f'corresponding condition of pod readiness gate "{gate}" does not exist.' for gate in gates)
    return "Ready", False, "ReadinessGatesNotReady", message


def _not_ready(pod: Object, reason: str) -> list[tuple[str, bool, str, str]]:
    names = " ".join(container["name"] for container in pod["spec"]["containers"])
    message = f"containers with unready status: [{names}]"
    return [("Ready", False, reason, message), ("ContainersReady", False, reason, message)]


def _status(
    pod: Object, state: str, now: str, entries: t.Sequence[tuple[str, bool, str, str]], containers: list[Object], beside: Object
) -> Object:
    before = pod.get("status") or {}
    known = {entry["type"]: entry for entry in before.get("conditions") or ()}
    named = {entry[0] for entry in entries}
    conditions = [_condition(known.get(entry[0]), entry, now) for entry in entries]
    # Others' conditions stay: PodScheduled, DisruptionTarget, the readiness gates.
    conditions += [entry for kind, entry in known.items() if kind not in named]
    status: Object = {**before, "phase": state, "conditions": conditions, "containerStatuses": containers, **beside}
    status.setdefault("startTime", now)
    return status


def _condition(known: Object | None, entry: tuple[str, bool, str, str], now: str) -> Object:
    kind, holds, reason, message = entry
    status = "True" if holds else "False"
    since = known["lastTransitionTime"] if known is not None and known["status"] == status else now
    made: Object = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": since}
    if reason:
        made["reason"] = reason
    if message:
        made["message"] = message
    return made


def _container(container: Object) -> Object:
    return {"name": container["name"], "image": container.get("image", "")}


def _identified(container: Object, pod: Object, restarts: int) -> Object:
    image = container.get("image", "")
    digest = hashlib.sha256(image.encode()).hexdigest()
    identity = hashlib.sha256(f"{pod['metadata']['uid']}/{container['name']}/{restarts}".encode()).hexdigest()
    return {**_container(container), "imageID": f"{image.split('@')[0]}@sha256:{digest}", "containerID": f"cri-o://{identity}"}


def _running(container: Object, pod: Object, now: str, restarts: int) -> Object:
    return {
        **_identified(container, pod, restarts), "ready": True, "started": True, "restartCount": restarts, "lastState": {},
        "state": {"running": {"startedAt": now}},
    }


def _finished(container: Object, pod: Object, now: str, code: int, began: str) -> Object:
    terminated: Object = {"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": began, "finishedAt": now}
    identified = _identified(container, pod, 0)
    terminated["containerID"] = identified["containerID"]
    return {**identified, "ready": True, "started": False, "restartCount": 0, "lastState": {}, "state": {"terminated": terminated}}
