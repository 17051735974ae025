# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What particular kinds get on creation beyond defaults: an empty status, a phase, the finalizer of a namespace.

Source: Kubernetes pkg/registry/*/*/strategy.go (PrepareForCreate, PrepareForUpdate).
"""
from __future__ import annotations

import typing as t

from ..kinds import Kind

Object = dict[str, t.Any]

_EMPTY_STATUS: dict[tuple[str, str], Object] = {
    ("", "namespaces"): {"phase": "Active"},
    ("", "persistentvolumeclaims"): {"phase": "Pending"},
    ("", "persistentvolumes"): {"phase": "Pending"},
    ("", "services"): {"loadBalancer": {}},
    ("", "replicationcontrollers"): {"replicas": 0},
    ("", "resourcequotas"): {},
    ("apps", "deployments"): {},
    ("apps", "daemonsets"): {"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0},
    ("apps", "replicasets"): {"replicas": 0},
    ("apps", "statefulsets"): {"replicas": 0, "availableReplicas": 0},
    ("batch", "jobs"): {},
    ("policy", "poddisruptionbudgets"): {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0},
}
# Their creator may say how they are.
_STATUS_KEPT = frozenset((("", "nodes"), ("apiextensions.k8s.io", "customresourcedefinitions")))


def reset_for_create(kind: Kind, obj: Object) -> None:
    """Take away what a creator may not say, and add what counts as said by it."""
    if "status" in kind.subresources and kind.resource not in _STATUS_KEPT:
        obj.pop("status", None)
    if kind.resource == ("", "namespaces"):
        labels = obj["metadata"].setdefault("labels", {})
        labels["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")


def prepare_for_create(kind: Kind, obj: Object) -> None:
    """Add what the server itself says of a new object, which is nobody's in managedFields."""
    resource = kind.resource
    if resource in _EMPTY_STATUS:
        obj["status"] = dict(_EMPTY_STATUS[resource])
    if resource == ("", "namespaces"):
        finalizers = obj.setdefault("spec", {}).setdefault("finalizers", [])
        if "kubernetes" not in finalizers:
            finalizers.append("kubernetes")
    elif resource == ("apiextensions.k8s.io", "customresourcedefinitions"):
        stored = [version["name"] for version in (obj.get("spec") or {}).get("versions") or () if version.get("storage")]
        obj.setdefault("status", {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored})
    elif resource == ("", "pods"):
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(obj)}


def prepare_for_update(kind: Kind, new: Object, old: Object, subresource: str) -> None:
    """Give back what a writer left out and may not take away."""
    if kind.resource == ("", "namespaces"):
        new["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = old["metadata"]["name"]
        new.setdefault("status", {}).setdefault("phase", "Active")
        held = (old.get("spec") or {}).get("finalizers")
        if held and subresource != "finalize":
            new.setdefault("spec", {})["finalizers"] = held


def qos_class(pod: Object) -> str:
    """Source: Kubernetes pkg/apis/core/v1/helper/qos/qos.go."""
    guaranteed, any_set = True, False
    spec = pod.get("spec") or {}
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        any_set = any_set or any(name in ("cpu", "memory") for name in (*requests, *limits))
        if any(name not in limits or requests.get(name, limits[name]) != limits[name] for name in ("cpu", "memory")):
            guaranteed = False
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
