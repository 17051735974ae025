# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pod asks of a node. Pure. Private to this collection.

Source: Kubernetes pkg/scheduler/framework/plugins; KubeVirt pkg/virt-controller/watch/migration/migration.go (prepareNodeSelectorForHostCpuModel).
"""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass, field, replace

from .requests import CPU, MEMORY, PODS, Amounts, Port, host_ports, requests_of
from .terms import Term, apart_of, near_of, spread_keys

Json = dict[str, t.Any]
HOST_MODEL, RUNS_MODEL = "host-model-cpu.node.kubevirt.io/", "cpu-model-migration.node.kubevirt.io/"
"""Labels of the node-labeller: a node's own CPU model, and those whose VMs it can take over."""
_NAMED_MODEL, _FEATURE, _REQUIRED_FEATURES = "cpu-model.node.kubevirt.io/", "cpu-feature.node.kubevirt.io/", "host-model-required-features.node.kubevirt.io/"


@dataclass(frozen=True)
class Demand:
    """What a pod needs: bytes of memory, thousandths of a CPU, other resources, labels of the node, and what it tolerates.

    C(model) is the CPU model that it runs on, empty for any. C(source) is the node that a VM leaves while its launcher is still there.
    C(labels), C(near), C(apart) and C(spread) are what it is to other pods, and they to it.
    """

    namespace: str
    name: str
    memory: int = 0
    cpu: int = 0
    selector: t.Mapping[str, str] = field(default_factory=dict)
    terms: t.Sequence[Json] = ()
    tolerations: t.Sequence[Json] = ()
    model: str = ""
    extended: Amounts = field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    source: str = ""
    labels: t.Mapping[str, str] = field(default_factory=dict)
    near: tuple[Term, ...] = ()
    apart: tuple[Term, ...] = ()
    spread: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name of the pod."""
        return self.namespace, self.name

    @functools.cached_property
    def amounts(self) -> tuple[tuple[str, int], ...]:
        """All that it takes of a node."""
        return ((MEMORY, self.memory), (CPU, self.cpu), (PODS, 1), *self.extended.items())

    @functools.cached_property
    def kind(self) -> t.Hashable:
        """What decides which nodes are possible at all, however empty they are."""
        return (self.model, tuple(sorted(self.selector.items())), repr(self.terms), repr(self.tolerations), self.spread)


def memory_request(pod: Json) -> int:
    """Bytes that the scheduler reserves for a pod."""
    return requests_of(pod).get(MEMORY, 0)


def demand_of(pod: Json) -> Demand:
    """What a pod asks for, where it is and elsewhere."""
    spec, metadata = pod.get("spec") or {}, pod["metadata"]
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    asked = requests_of(pod)
    return Demand(
        metadata.get("namespace") or "", metadata["name"], asked.pop(MEMORY, 0), asked.pop(CPU, 0),
        {key: str(value) for key, value in (spec.get("nodeSelector") or {}).items()}, tuple(required.get("nodeSelectorTerms") or ()),
        tuple(spec.get("tolerations") or ()), "", asked, host_ports(pod), "", metadata.get("labels") or {}, near_of(pod), apart_of(pod), spread_keys(pod),
    )


def on_restart(demand: Demand) -> Demand:
    """What a VM needs that is stopped and started again: no CPU of any node, since it takes the one that it finds."""
    if not any(key.startswith(RUNS_MODEL) for key in demand.selector):
        return demand
    return replace(demand, selector={key: value for key, value in demand.selector.items() if not key.startswith((RUNS_MODEL, _FEATURE))})


class Cpu(t.NamedTuple):
    """What a host-model VM has on a node: the model, and the labels of the features that a target needs."""

    model: str
    features: t.Mapping[str, str]


def cpu_of(labels: t.Mapping[str, str]) -> Cpu:
    """By the labels of the node."""
    features = {_FEATURE + key.removeprefix(_REQUIRED_FEATURES): value for key, value in labels.items() if key.startswith(_REQUIRED_FEATURES)}
    return Cpu(model_of(labels), features)


def as_target(demand: Demand, node: str, labels: t.Mapping[str, str], cpu: Cpu | None = None) -> Demand:
    """What the target of a VM's migration needs, by the node that the VM is on and its labels; C(cpu) is for many VMs of one node.

    A VM without a named CPU model is taken for one with host-model, which is the default: what its first node had it needs for life, or what this node
    has if it has never moved.
    """
    selector = dict(demand.selector)
    model = next((key.removeprefix(RUNS_MODEL) for key in sorted(selector) if key.startswith(RUNS_MODEL)), "")
    if model:
        selector.pop(RUNS_MODEL + model)
    elif not any(key.startswith((_NAMED_MODEL, _FEATURE)) for key in selector):
        cpu = cpu_of(labels) if cpu is None else cpu
        model = cpu.model
        selector |= cpu.features
    return replace(demand, selector=selector, model=model, source=node)


def runs_cpu(demand: Demand, labels: t.Mapping[str, str]) -> bool:
    """Whether a node with these labels runs the CPU that a pod asks for, by host-model or by name."""
    needed = {key: value for key, value in demand.selector.items() if key.startswith((_NAMED_MODEL, _FEATURE))}
    return needed.items() <= labels.items() and (not demand.model or labels.get(RUNS_MODEL + demand.model) == "true")


def lacks_feature(demand: Demand, labels: t.Mapping[str, str]) -> str:
    """A CPU feature that the pod needs and a node with these labels does not have; empty when it has them all."""
    missing = (key for key, value in demand.selector.items() if key.startswith(_FEATURE) and labels.get(key) != value)
    return next(missing, "").removeprefix(_FEATURE)


def model_of(labels: t.Mapping[str, str]) -> str:
    """The CPU model that host-model means on a node with these labels."""
    return next((key.removeprefix(HOST_MODEL) for key in sorted(labels) if key.startswith(HOST_MODEL)), "")
