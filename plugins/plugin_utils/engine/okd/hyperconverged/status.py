# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of the HyperConverged object: pure.

Source: HCO controllers/hyperconverged/hyperconverged_controller.go, controllers/operands/operand.go, v1.14.0 and v1.15.0.
"""
from __future__ import annotations

import typing as t

from ...interface import Object
from ..olm.objects import condition, with_condition
from . import json_patch
from .json_patch import BrokenPatch
from .names import KUBEVIRT_NAME, PATCHES, annotations_of

_Put = t.Callable[[str, str, str, str], None]
_DONE = ("ReconcileCompleted", "Reconcile completed successfully")
_UNKNOWN = ("Unknown", "StatusUnknown", "Unknown Status")
_TAINTED = ("UnsupportedFeatureAnnotation", "Unsupported feature was activated via an HCO annotation")
_WORKER = "node-role.kubernetes.io/worker"
_FEWEST_WORKERS = 2
_KINDS = ("ReconcileComplete", "Available", "Progressing", "Degraded", "Upgradeable")


def operator_version(hyperconverged: Object) -> str:
    """The version that the object says it is at; empty before the first installation is complete."""
    versions = (hyperconverged.get("status") or {}).get("versions") or ()
    return next((str(entry["version"]) for entry in versions if entry.get("name") == "operator"), "")


def is_complete(component: Object | None, kubevirt_version: str) -> bool:
    """Whether the component runs the expected version and is healthy."""
    status = (component or {}).get("status") or {}
    if status.get("observedKubeVirtVersion") != kubevirt_version or status.get("targetKubeVirtVersion") != kubevirt_version:
        return False
    healthy = {"Available": "True", "Progressing": "False", "Degraded": "False"}
    return all((condition(status.get("conditions"), kind) or {}).get("status") == wanted for kind, wanted in healthy.items())


def several(workers: t.Sized) -> bool:
    """Whether there are so many workers that the infrastructure is highly available. Source: HCO pkg/nodeinfo."""
    return len(workers) >= _FEWEST_WORKERS


def is_worker(node: Object) -> bool:
    return _WORKER in (node["metadata"].get("labels") or {})


def unsafe_modifications(hyperconverged: Object) -> dict[str, int]:
    """How many operations each annotation that patches an operand has; none for one that is no patch."""
    made = {}
    for name in PATCHES:
        try:
            made[name] = len(json_patch.decode(annotations_of(hyperconverged).get(name, "[]")))
        except BrokenPatch:
            made[name] = 0
    return made


def is_ready(hyperconverged: Object) -> bool:
    """Whether the object says that everything runs and nothing is under way."""
    held = {entry["type"]: entry["status"] for entry in (hyperconverged.get("status") or {}).get("conditions") or ()}
    return held.get("Available") == "True" and held.get("Progressing") == "False"


def failed(hyperconverged: Object, problem: str, several_workers: bool, now: str) -> Object:
    """The status while what the object asks for can't be made at all. `several_workers` as status has it."""
    made = dict(hyperconverged.get("status") or {})
    conditions = list(made.get("conditions") or ())
    for kind in _KINDS:
        value, reason, message = _UNKNOWN
        if kind == "ReconcileComplete":
            value, reason, message = "False", "ReconcileFailed", f"Error while reconciling: {problem}"
        conditions = with_condition(conditions, kind, value, now, reason=reason, message=message)
    return _finished(hyperconverged, made, conditions, several_workers, now)


def status(hyperconverged: Object, component: Object | None, version: str, kubevirt_version: str, several_workers: bool, now: str) -> Object:
    """The status at one moment: of an installation, an update, or of a cluster at rest. `several_workers` makes it highly available."""
    made = dict(hyperconverged.get("status") or {})
    before = operator_version(hyperconverged)
    upgrading = bool(before) and before != version
    complete = is_complete(component, kubevirt_version)
    conditions = list(made.get("conditions") or ())

    def put(kind: str, value: str, reason: str, message: str) -> None:
        nonlocal conditions
        conditions = with_condition(
            conditions, kind, value, now, reason=reason, message=message,
        )

    if component is None and not before:
        for kind in _KINDS:
            value = {"Progressing": "True", "ReconcileComplete": "Unknown", "Upgradeable": "Unknown"}.get(kind, "False")
            put(kind, value, "Init", "Initializing HyperConverged cluster")
    elif complete:
        made["versions"] = [{"name": "operator", "version": version}]
        for kind in ("ReconcileComplete", "Available", "Upgradeable"):
            put(kind, "True", *_DONE)
        for kind in ("Progressing", "Degraded"):
            put(kind, "False", *_DONE)
    else:
        put("ReconcileComplete", "True", *_DONE)
        _of_component(component, put)
        if upgrading:
            put("Progressing", "True", "HCOUpgrading", f"HCO is now upgrading to version {version}")
    if component is not None:
        made["relatedObjects"] = [{
            "apiVersion": "kubevirt.io/v1", "kind": "KubeVirt", "name": KUBEVIRT_NAME, "namespace": hyperconverged["metadata"]["namespace"],
            "uid": component["metadata"].get("uid", ""),
        }]
    return _finished(hyperconverged, made, conditions, several_workers, now)


def _finished(hyperconverged: Object, made: Object, conditions: list[Object], several_workers: bool, now: str) -> Object:
    generation = hyperconverged["metadata"].get("generation", 1)
    if any(unsafe_modifications(hyperconverged).values()):
        conditions = with_condition(conditions, "TaintedConfiguration", "True", now, reason=_TAINTED[0], message=_TAINTED[1])
    else:
        conditions = [entry for entry in conditions if entry["type"] != "TaintedConfiguration"]
    made["conditions"] = sorted(({**entry, "observedGeneration": generation} for entry in conditions), key=_order)
    made["observedGeneration"] = generation
    made["systemHealthStatus"] = health(made["conditions"])
    made["infrastructureHighlyAvailable"] = several_workers
    return made


def _of_component(component: Object | None, put: _Put) -> None:
    """Conditions that follow from a KubeVirt that isn't where it should be."""
    known = ((component or {}).get("status") or {}).get("conditions")
    if not known:
        put("Available", "False", "KubeVirtConditions", "KubeVirt resource has no conditions")
        put("Progressing", "True", "KubeVirtConditions", "KubeVirt resource has no conditions")
        put("Degraded", "False", *_DONE)
        put("Upgradeable", "False", "KubeVirtConditions", "KubeVirt resource has no conditions")
        return
    entries = {entry["type"]: entry for entry in known}

    def text(kind: str) -> str:
        return str(entries.get(kind, {}).get("message", ""))

    available = entries.get("Available", {}).get("status") == "True"
    progressing = entries.get("Progressing", {}).get("status") == "True"
    degraded = entries.get("Degraded", {}).get("status") == "True"
    put("Available", *(("True", *_DONE) if available else ("False", "KubeVirtNotAvailable", f"KubeVirt is not available: {text('Available')}")))
    put("Progressing", *(("True", "KubeVirtProgressing", f"KubeVirt is progressing: {text('Progressing')}") if progressing else ("False", *_DONE)))
    put("Degraded", *(("True", "KubeVirtDegraded", f"KubeVirt is degraded: {text('Degraded')}") if degraded else ("False", *_DONE)))
    if degraded:
        put("Upgradeable", "False", "HCODegraded", "HCO is not Upgradeable due to degraded components")
    elif progressing:
        put("Upgradeable", "False", "HCOProgressing", "HCO is not Upgradeable due to progressing components")
    else:
        put("Upgradeable", "True", *_DONE)


def health(conditions: list[Object]) -> str:
    """healthy, warning or error, as the system health metric has it."""
    held = {entry["type"]: entry["status"] for entry in conditions}
    if held.get("Available") != "True" or held.get("Degraded") == "True":
        return "error"
    if held.get("ReconcileComplete") != "True" or held.get("Progressing") == "True":
        return "warning"
    return "healthy"


def _order(entry: Object) -> int:
    return (*_KINDS, "TaintedConfiguration").index(entry["type"])


def operator_condition(version: str, upgrading: bool, now: str) -> Object:
    """What the operator says to OLM about being replaced."""
    made = {"type": "Upgradeable", "lastTransitionTime": now}
    if upgrading:
        text = f"upgrading the hyperConverged cluster operator to version {version}"
        return {**made, "status": "False", "reason": "AlreadyPerformingUpgrade", "message": text}
    return {**made, "status": "True", "reason": "Upgradeable", "message": ""}
