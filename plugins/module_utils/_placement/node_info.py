# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node has left, and why a pod does not fit it. Pure. Private to this collection.

Source: Kubernetes pkg/scheduler/framework/plugins (noderesources, nodeports, nodeaffinity, tainttoleration, nodeunschedulable), whose words are used.
"""

from __future__ import annotations

import operator
import typing as t
from dataclasses import dataclass, field

from .demand import RUNS_MODEL, Demand, Json, lacks_feature
from .requests import CPU, MEMORY, PODS, Amounts, Port, amounts, clash

_AGAINST = ("NoSchedule", "NoExecute")
_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"


@dataclass
class NodeInfo:
    """A node as the scheduler sees it, with what nobody has asked for yet: bytes, thousandths of a CPU, pods, other resources, and the ports that are taken.

    C(ready) is what its condition says.
    """

    name: str
    labels: t.Mapping[str, str] = field(default_factory=dict)
    taints: t.Sequence[Json] = ()
    unschedulable: bool = False
    ready: bool = True
    memory: int = 0
    cpu: int = 0
    pods: int = 0
    extended: Amounts = field(default_factory=dict)
    ports: tuple[Port, ...] = ()

    def takes(self, demand: Demand) -> None:
        """Reserve what it asks for."""
        self.memory -= demand.memory
        self.cpu -= demand.cpu
        self.pods -= 1
        if demand.extended:
            self.extended = {**self.extended, **{name: self.extended.get(name, 0) - value for name, value in demand.extended.items()}}
        self.ports += demand.ports

    def left(self, resource: str) -> int:
        """How much of a resource is left."""
        if resource == MEMORY:
            return self.memory
        if resource == CPU:
            return self.cpu
        return self.pods if resource == PODS else self.extended.get(resource, 0)


def node_infos(nodes: t.Iterable[Json], taken: t.Iterable[tuple[str, Demand]]) -> list[NodeInfo]:
    """The nodes, less what the pods on them ask for: the name of a node and a demand each."""
    found = {node["metadata"]["name"]: _info(node) for node in nodes}
    for name, demand in taken:
        if name in found:
            found[name].takes(demand)
    return list(found.values())


def _info(node: Json) -> NodeInfo:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    has = amounts(status.get("allocatable"))
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ())
    return NodeInfo(
        node["metadata"]["name"], node["metadata"].get("labels") or {}, tuple(spec.get("taints") or ()), bool(spec.get("unschedulable")), ready,
        has.pop(MEMORY, 0), has.pop(CPU, 0), has.pop(PODS, 0), has,
    )


def why_never(demand: Demand, node: NodeInfo) -> str:
    """Why a node is none for this pod however empty it be; empty when it is one."""
    if node.unschedulable and not _tolerated({"key": _UNSCHEDULABLE, "effect": "NoSchedule"}, demand.tolerations):
        return "the node is cordoned"
    against = (one for one in node.taints if one.get("effect") in _AGAINST and one["key"] != _UNSCHEDULABLE)
    taint = next((one for one in against if not _tolerated(one, demand.tolerations)), None)
    if taint is not None:
        return f"untolerated taint {taint['key']}"
    if not node.ready:
        return "the node is not ready"
    if demand.model and node.labels.get(RUNS_MODEL + demand.model) != "true":
        return f"it can't run CPU model {demand.model}"
    missing = lacks_feature(demand, node.labels)
    if missing:
        return f"its CPU has no {missing}"
    if any(node.labels.get(key) != value for key, value in demand.selector.items()):
        return "didn't match the pod's node selector"
    if demand.terms and not any(_matches(term, node) for term in demand.terms):
        return "didn't match the pod's node affinity"
    absent = next((key for key in demand.spread if key not in node.labels), "")
    return f"it has no label {absent}, over which the pod must be spread" if absent else ""


def why_not_now(demand: Demand, node: NodeInfo) -> str:
    """Why a node that could run the pod has no room for it; empty when it has."""
    if node.name == demand.source:
        return "the VM leaves it"
    if demand.memory > max(0, node.memory):
        return "insufficient memory"
    if demand.cpu > max(0, node.cpu):
        return "insufficient cpu"
    if node.pods < 1:
        return "too many pods"
    left = node.extended
    for name, value in demand.extended.items():
        if value > left.get(name, 0):
            return f"insufficient {name}"
    return "a port of the node is taken" if demand.ports and clash(demand.ports, node.ports) else ""


def _tolerated(taint: Json, tolerations: t.Iterable[Json]) -> bool:
    return any(
        one.get("effect") in (None, "", taint.get("effect")) and (
            one.get("key") in (None, "", taint["key"]) if one.get("operator") == "Exists"
            else one.get("key") == taint["key"] and (one.get("value") or "") == (taint.get("value") or "")
        )
        for one in tolerations
    )


def _matches(term: Json, node: NodeInfo) -> bool:
    """An empty term matches nothing, as the scheduler has it."""
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(_holds(one, node.labels) for one in expressions) and all(_holds(one, {"metadata.name": node.name}) for one in fields)


def _holds(expression: Json, labels: t.Mapping[str, str]) -> bool:
    found, values = labels.get(expression["key"]), expression.get("values") or ()
    verdicts: dict[t.Any, t.Callable[[], bool]] = {
        "In": lambda: found in values, "NotIn": lambda: found not in values, "Exists": lambda: found is not None, "DoesNotExist": lambda: found is None,
        "Gt": lambda: _compares(found, values, operator.gt), "Lt": lambda: _compares(found, values, operator.lt),
    }
    verdict = verdicts.get(expression.get("operator"))
    return verdict is not None and verdict()


def _compares(found: str | None, values: t.Sequence[str], compare: t.Callable[[int, int], bool]) -> bool:
    try:
        return found is not None and len(values) == 1 and compare(int(found), int(values[0]))
    except ValueError:
        return False
