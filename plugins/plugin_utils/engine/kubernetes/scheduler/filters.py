# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a node cannot take a pod, in the order and the words of the real scheduler: pure.

Source: Kubernetes pkg/scheduler/framework/plugins/{nodeunschedulable,nodename,tainttoleration,nodeaffinity,nodeports,noderesources}.
"""
from __future__ import annotations

import json
import typing as t

from ...interface import Object
from . import node_affinity, taints
from .nodes import NodeRecord, PodRecord
from .requests import PODS


class Refusal(t.NamedTuple):
    """Why a node is not taken. `helpless`: no pod that made room would change it."""

    plugin: str
    reasons: tuple[str, ...]
    helpless: bool


UNSCHEDULABLE = Refusal("NodeUnschedulable", ("node(s) were unschedulable",), True)
NODE_NAME = Refusal("NodeName", ("node(s) didn't match the requested node name",), True)
NODE_AFFINITY = Refusal("NodeAffinity", ("node(s) didn't match Pod's node affinity/selector",), True)
NOT_NAMED = Refusal("NodeAffinity", ("node(s) didn't satisfy plugin(s) [NodeAffinity]",), True)
NODE_PORTS = Refusal("NodePorts", ("node(s) didn't have free ports for the requested pod ports",), False)
_CORDONED: Object = {"key": taints.UNSCHEDULABLE, "effect": "NoSchedule"}


def lasting(spec: Object, record: NodeRecord) -> Refusal | None:
    """What holds whichever pods are on the node: cordon, taints, labels."""
    tolerations = spec.get("tolerations") or ()
    if record.unschedulable and not taints.tolerated(tolerations, _CORDONED):
        return UNSCHEDULABLE
    taint = taints.untolerated(tolerations, record.taints)
    if taint is not None:
        return Refusal("TaintToleration", (f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}",), True)
    if not node_affinity.matches(spec, record.name, record.labels):
        return NODE_AFFINITY
    return None


def lasting_key(spec: Object) -> str:
    """Equal for pods for which `lasting` is the same on every node."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return json.dumps(
        (spec.get("nodeSelector"), affinity.get("requiredDuringSchedulingIgnoredDuringExecution"), spec.get("tolerations")), sort_keys=True
    )


def room(pod: PodRecord, record: NodeRecord) -> Refusal | None:
    """Whether the node's ports and resources are free."""
    if pod.ports and record.port_taken(pod.ports):
        return NODE_PORTS
    if not record.lacks(pod.requests):
        return None
    lacking = record.lacking(pod.requests)
    reasons = tuple("Too many pods" if name == PODS else f"Insufficient {name}" for name in lacking)
    helpless = any(pod.requests[name] > record.allocatable.get(name, 0) for name in lacking if name != PODS)
    return Refusal("NodeResourcesFit", reasons, helpless)


def fits(pod: Object, node: Object, pods_on_node: t.Iterable[Object] = ()) -> list[str]:
    """Why the node cannot take the pod next to those on it (finished ones do not count); empty when it can.

    What pods say about one another (affinity, spreading) needs the whole cluster and is not looked at here.
    """
    record = NodeRecord(node["metadata"]["name"])
    record.describe(node)
    for other in pods_on_node:
        if (other.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            record.add(PodRecord.of(other, record.name))
    refusal = lasting(pod["spec"], record) or room(PodRecord.of(pod, record.name), record)
    return [] if refusal is None else list(refusal.reasons)
