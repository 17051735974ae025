# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pod asks of a node. Pure. Private to this collection.

Source: Kubernetes NodeResourcesFit (requests), KubeVirt pkg/virt-controller/services/nodeselectorrenderer.go (CPU models).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from .._quantity import quantity

Json = dict[str, t.Any]
HOST_MODEL, RUNS_MODEL = "host-model-cpu.node.kubevirt.io/", "cpu-model-migration.node.kubevirt.io/"
"""Labels of the node-labeller: a node's own CPU model, and those whose VMs it can take over."""
_NAMED_MODEL, _REQUIRED_FEATURES = "cpu-model.node.kubevirt.io/", "host-model-required-features.node.kubevirt.io/"


@dataclass(frozen=True)
class Demand:
    """What a pod needs: bytes of memory, thousandths of a CPU, labels, and what it tolerates. C(model) is the CPU model that it runs on, empty for any."""

    namespace: str
    name: str
    memory: int = 0
    cpu: int = 0
    selector: t.Mapping[str, str] = field(default_factory=dict)
    terms: t.Sequence[Json] = ()
    tolerations: t.Sequence[Json] = ()
    model: str = ""

    def kind(self) -> t.Hashable:
        """What decides which nodes are possible at all, however empty they are."""
        return (self.model, tuple(sorted(self.selector.items())), repr(self.terms), repr(self.tolerations))


def memory_request(pod: Json) -> int:
    """Bytes that the scheduler reserves for a pod: its containers together, or its largest init container, and its overhead."""
    return int(_request(pod, "memory"))


def cpu_request(pod: Json) -> int:
    """Thousandths of a CPU that the scheduler reserves for a pod."""
    return round(_request(pod, "cpu") * 1000)


def _request(pod: Json, name: str) -> float:
    spec = pod.get("spec") or {}
    containers = sum(_of_container(one, name) for one in spec.get("containers") or ())
    largest = max((_of_container(one, name) for one in spec.get("initContainers") or () if one.get("restartPolicy") != "Always"), default=0)
    sidecars = sum(_of_container(one, name) for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always")
    return max(containers + sidecars, largest + sidecars) + quantity((spec.get("overhead") or {}).get(name))


def _of_container(container: Json, name: str) -> float:
    return quantity(((container.get("resources") or {}).get("requests") or {}).get(name))


def demand_of(pod: Json) -> Demand:
    """What a pod needs to run elsewhere. Of a launcher pod, what KubeVirt has put there for the CPU of its node is left out: see on_model."""
    spec, metadata = pod.get("spec") or {}, pod["metadata"]
    given = {key: str(value) for key, value in (spec.get("nodeSelector") or {}).items()}
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    return Demand(
        metadata.get("namespace") or "", metadata["name"], memory_request(pod), cpu_request(pod),
        {key: value for key, value in given.items() if not key.startswith((RUNS_MODEL, _REQUIRED_FEATURES, HOST_MODEL))},
        tuple(required.get("nodeSelectorTerms") or ()), tuple(spec.get("tolerations") or ()),
    )


def on_model(demand: Demand, labels: t.Mapping[str, str]) -> Demand:
    """What the target of a VM's migration needs, by the labels of the node that the VM is on.

    A VM without a named CPU model is taken for one with host-model, which is the default: it needs a node that runs the model of the one it is on.
    """
    named = any(key.startswith(_NAMED_MODEL) for key in demand.selector)
    return demand if named else replace(demand, model=model_of(labels))


def runs_cpu(demand: Demand, labels: t.Mapping[str, str]) -> bool:
    """Whether a node with these labels runs the CPU that a pod asks for, by host-model or by name."""
    named = {key: value for key, value in demand.selector.items() if key.startswith(_NAMED_MODEL)}
    return named.items() <= labels.items() and (not demand.model or labels.get(RUNS_MODEL + demand.model) == "true")


def model_of(labels: t.Mapping[str, str]) -> str:
    """The CPU model that host-model means on a node with these labels."""
    return next((key.removeprefix(HOST_MODEL) for key in sorted(labels) if key.startswith(HOST_MODEL)), "")
