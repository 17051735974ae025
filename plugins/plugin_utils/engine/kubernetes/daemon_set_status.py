# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes a DaemonSet's pods belong on, what such a pod is, and which of them give way to the next template: pure.

Source: Kubernetes pkg/controller/daemon/{daemon_controller,update}.go, pkg/controller/daemon/util/daemonset_util.go.
"""
from __future__ import annotations

import dataclasses
import datetime
import math
import typing as t

from ..interface import Object
from . import pods as pod_status
from .pod_control import pod_of
from .scheduler import node_affinity, taints
from .workload_status import REVISION_HASH_LABEL, available_in, is_active

GENERATION_LABEL = "pod-template-generation"
_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"), ("node.kubernetes.io/unreachable", "NoExecute"), ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"), ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


def pod_spec(daemon_set: Object) -> Object:
    """The template's spec with what every daemon tolerates."""
    spec = daemon_set["spec"]["template"]["spec"]
    tolerated = [*_TOLERATED, *([("node.kubernetes.io/network-unavailable", "NoSchedule")] if spec.get("hostNetwork") else [])]
    held = list(spec.get("tolerations") or ())
    for key, effect in tolerated:
        toleration = {"key": key, "operator": "Exists", "effect": effect}
        if toleration not in held:
            held.append(toleration)
    return {**spec, "tolerations": held}


def should_run(spec: Object, node: Object) -> tuple[bool, bool]:
    """Whether a new pod belongs on the node, and whether one that is there stays. `spec` is that of pod_spec."""
    name, labels = node["metadata"]["name"], node["metadata"].get("labels") or {}
    if not node_affinity.matches(spec, name, labels):
        return False, False
    held, tolerations = (node.get("spec") or {}).get("taints") or (), spec["tolerations"]
    return taints.untolerated(tolerations, held) is None, taints.untolerated(tolerations, held, ("NoExecute",)) is None


def pod_for(daemon_set: Object, spec: Object, node: str, digest: str) -> Object:
    """The pod that the scheduler can put on this node only."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    affinity = dict(spec.get("affinity") or {})
    required = (affinity.get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    terms = [{**term, "matchFields": [field]} for term in (required or {}).get("nodeSelectorTerms") or ()] or [{"matchFields": [field]}]
    affinity["nodeAffinity"] = {
        **(affinity.get("nodeAffinity") or {}), "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
    }
    template = {**daemon_set["spec"]["template"], "spec": {**spec, "affinity": affinity}}
    labels = {REVISION_HASH_LABEL: digest, GENERATION_LABEL: str(daemon_set["metadata"]["generation"])}
    return pod_of(daemon_set, template, labels)


def target_node(pod: Object) -> str:
    """The node that a daemon's pod is on, or is meant for."""
    held = pod_status.node_of(pod)
    if held:
        return held
    names = node_affinity.only_nodes(pod["spec"])
    return next(iter(names)) if names else ""


def is_updated(pod: Object, digest: str) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get(REVISION_HASH_LABEL) == digest)


@dataclasses.dataclass
class Plan:
    """Nodes that get a pod, and pods that go."""

    create: list[str] = dataclasses.field(default_factory=list)
    delete: list[Object] = dataclasses.field(default_factory=list)
    failed: list[Object] = dataclasses.field(default_factory=list)


def manage(by_node: t.Mapping[str, list[Object]], nodes: t.Mapping[str, tuple[bool, bool]]) -> Plan:
    """One pod on every node that should have one, none elsewhere. `nodes` is should_run by node."""
    plan = Plan()
    for name, (run, stay) in nodes.items():
        pods = by_node.get(name, [])
        if run and not pods:
            plan.create.append(name)
        elif stay:
            running = [pod for pod in pods if not pod_status.is_going(pod)]
            finished = [pod for pod in running if pod_status.is_final(pod)]
            plan.failed += [pod for pod in finished if pod_status.phase(pod) == "Failed"]
            plan.delete += finished
            active = sorted((pod for pod in running if pod not in finished), key=lambda pod: pod["metadata"].get("creationTimestamp") or "")
            plan.delete += active[1:]
        else:
            plan.delete += [pod for pod in pods if not pod_status.is_going(pod)]
    for name, pods in by_node.items():
        if name not in nodes:
            plan.delete += [pod for pod in pods if not pod_status.is_going(pod)]
    return plan


def outdated(daemon_set: Object, by_node: t.Mapping[str, list[Object]], wanted: t.Collection[str], digest: str, now: datetime.datetime) -> list[Object]:
    """The pods of older templates that give way now: those that serve nobody, then as many as may be missing."""
    strategy = daemon_set["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    may_miss = _most_missing(strategy, len(wanted))
    idle: list[Object] = []
    serving: list[Object] = []
    missing = 0
    for name in wanted:
        active = [pod for pod in by_node.get(name, ()) if is_active(pod)]
        if not active:
            missing += 1
            continue
        pod = active[0]
        serves = available_in(pod, daemon_set["spec"].get("minReadySeconds", 0), now) == 0.0
        missing += not serves
        if not is_updated(pod, digest):
            (serving if serves else idle).append(pod)
    return [*idle, *serving[:max(0, may_miss - missing)]]


def _most_missing(strategy: Object, wanted: int) -> int:
    value = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1)
    if isinstance(value, int):
        return value or 1
    return max(1, math.ceil(int(value.removesuffix("%")) * wanted / 100))


def status_of(
    daemon_set: Object, by_node: t.Mapping[str, list[Object]], nodes: t.Mapping[str, tuple[bool, bool]], digest: str, now: datetime.datetime
) -> tuple[Object, float | None]:
    """The status, and in how many seconds it is another one by itself."""
    min_ready = daemon_set["spec"].get("minReadySeconds", 0)
    wanted = current = misplaced = ready = available = updated = 0
    next_look: float | None = None
    for name, (run, dummy) in nodes.items():
        pods = [pod for pod in by_node.get(name, ()) if not pod_status.is_going(pod)]
        wanted += run
        if not pods:
            continue
        if not run:
            misplaced += 1
            continue
        current += 1
        pod = min(pods, key=lambda one: one["metadata"].get("creationTimestamp") or "")
        left = available_in(pod, min_ready, now)
        ready += left is not None
        available += left == 0.0
        updated += is_updated(pod, digest)
        if left:
            next_look = left if next_look is None else min(next_look, left)
    status: Object = {
        "currentNumberScheduled": current, "numberMisscheduled": misplaced, "desiredNumberScheduled": wanted, "numberReady": ready,
        "observedGeneration": daemon_set["metadata"]["generation"],
    }
    for key, value in (("updatedNumberScheduled", updated), ("numberAvailable", available), ("numberUnavailable", wanted - available)):
        if value:
            status[key] = value
    return status, next_look
