# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One node and the pods on it, as sums that are kept with every pod that comes and goes.

Source: Kubernetes pkg/scheduler/framework/types.go (NodeInfo, PodInfo).
"""
from __future__ import annotations

import dataclasses
import typing as t

from ...interface import Object
from . import pod_affinity
from .requests import PODS, Amounts, amounts, compared_requests, pod_requests

Port = tuple[str, int, str]
"""Protocol, host port, host address."""
_ANY = "0.0.0.0"  # noqa: S104


@dataclasses.dataclass(slots=True)
class PodRecord:
    """What matters of a pod when another one looks for a node."""

    uid: str
    namespace: str
    name: str
    labels: t.Mapping[str, str]
    requests: Amounts
    cpu: int
    memory: int
    ports: tuple[Port, ...]
    terms: pod_affinity.Terms
    node: str
    going: bool
    generation: int

    @classmethod
    def of(cls, pod: Object, node: str = "") -> PodRecord:
        """The pod as it is, on the node it is bound to unless another one is given."""
        metadata, spec = pod["metadata"], pod["spec"]
        cpu, memory = compared_requests(spec)
        return cls(
            metadata.get("uid") or "", metadata.get("namespace") or "", metadata.get("name") or "", metadata.get("labels") or {}, pod_requests(spec),
            cpu, memory, _host_ports(spec), pod_affinity.terms_of(pod), node or spec.get("nodeName") or "", bool(metadata.get("deletionTimestamp")),
            metadata.get("generation") or 0,
        )

    def same(self, pod: Object) -> bool:
        """Whether nothing of it that matters has changed."""
        metadata = pod["metadata"]
        return (
            self.node == (pod["spec"].get("nodeName") or "") and self.labels == (metadata.get("labels") or {})
            and self.going == bool(metadata.get("deletionTimestamp")) and self.generation == (metadata.get("generation") or 0)
        )


def _host_ports(spec: Object) -> tuple[Port, ...]:
    return tuple(
        (port.get("protocol") or "TCP", int(port["hostPort"]), port.get("hostIP") or _ANY)
        for container in spec.get("containers") or () for port in container.get("ports") or () if port.get("hostPort")
    )


def _clash(one: Port, other: Port) -> bool:
    return one[:2] == other[:2] and (one[2] == other[2] or _ANY in (one[2], other[2]))


class NodeRecord:
    """A node, what it can hold and what is held. `node` is None while pods are bound to it and it is not there."""

    __slots__ = ("_ports", "allocatable", "cpu", "free", "labels", "memory", "name", "node", "pods", "taints", "unschedulable", "used", "zone")

    def __init__(self, name: str) -> None:
        self.name = name
        self.node: Object | None = None
        self.labels: t.Mapping[str, str] = {}
        self.taints: tuple[Object, ...] = ()
        self.unschedulable = False
        self.zone = ""
        self.allocatable: Amounts = {}
        self.used: Amounts = {}
        self.free: Amounts = {}
        self.cpu = self.memory = 0
        self.pods: dict[str, PodRecord] = {}
        self._ports: dict[str, tuple[Port, ...]] = {}

    def describe(self, node: Object) -> bool:
        """Take over what the node says of itself; whether that matters to a pod that looks for one."""
        labels, spec, status = node["metadata"].get("labels") or {}, node.get("spec") or {}, node.get("status") or {}
        known = (self.node is None, self.labels, self.taints, self.unschedulable, self.allocatable)
        self.node, self.labels = node, labels
        self.taints = tuple(spec.get("taints") or ())
        self.unschedulable = bool(spec.get("unschedulable"))
        self.zone = f"{labels.get('topology.kubernetes.io/region', '')}/{labels.get('topology.kubernetes.io/zone', '')}"
        self.allocatable = amounts(status.get("allocatable") or status.get("capacity"))
        self.free = {name: self.allocatable.get(name, 0) - self.used.get(name, 0) for name in {**self.allocatable, **self.used}}
        return known != (False, self.labels, self.taints, self.unschedulable, self.allocatable)

    def add(self, pod: PodRecord) -> None:
        self.pods[pod.uid] = pod
        for name, value in pod.requests.items():
            self.used[name] = self.used.get(name, 0) + value
            self.free[name] = self.free.get(name, 0) - value
        self.cpu += pod.cpu
        self.memory += pod.memory
        if pod.ports:
            self._ports[pod.uid] = pod.ports

    def remove(self, pod: PodRecord) -> None:
        del self.pods[pod.uid]
        for name, value in pod.requests.items():
            self.used[name] -= value
            self.free[name] += value
        self.cpu -= pod.cpu
        self.memory -= pod.memory
        self._ports.pop(pod.uid, None)

    def lacks(self, requests: t.Mapping[str, int]) -> bool:
        """Whether lacking() has anything to say."""
        if len(self.pods) >= self.allocatable.get(PODS, 0):
            return True
        free = self.free
        for name, value in requests.items():  # noqa: SIM110
            # Asked of every node for every pod: a generator would cost as much again.
            if value > free.get(name, 0):
                return True
        return False

    def lacking(self, requests: t.Mapping[str, int]) -> list[str]:
        """The resources of which not enough is left, `pods` when there is no room for one more."""
        full = [PODS] if len(self.pods) >= self.allocatable.get(PODS, 0) else []
        return full + [name for name, value in requests.items() if value > self.free.get(name, 0)]

    def port_taken(self, ports: tuple[Port, ...]) -> bool:
        return any(_clash(port, other) for others in self._ports.values() for other in others for port in ports)
