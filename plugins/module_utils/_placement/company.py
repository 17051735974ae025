# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pods of a cluster mean for one that looks for a node: near whom it must be, and who keeps it away. Pure. Private to this collection.

Source: Kubernetes pkg/scheduler/framework/plugins/interpodaffinity/filtering.go.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .demand import Demand
from .terms import Namespaces, Term

Labels = t.Mapping[str, str]
Key = tuple[str, str]
Placed = tuple[str, Demand]
"""A node, and a pod that is on it or comes to it."""
_NEAR = "didn't match the pod's affinity rules"
_APART = "didn't match the pod's anti-affinity rules"
_UNWELCOME = "anti-affinity rules of pods on it"


@dataclass
class Near:
    """One required affinity: the places where what it asks for is; any place while that may still come there."""

    key: str
    values: set[str] = field(default_factory=set)
    anywhere: bool = False


@dataclass
class Question:
    """What was found for one pod, asked of many nodes. The places are values by the label of nodes that tells places apart."""

    near: list[Near] = field(default_factory=list)
    apart: dict[str, set[str]] = field(default_factory=dict)
    unwelcome: dict[str, set[str]] = field(default_factory=dict)

    def why_not(self, labels: Labels) -> str:
        """Why a node with these labels is none for it; empty when it is one."""
        for one in self.near:
            if one.key not in labels or (not one.anywhere and labels[one.key] not in one.values):
                return _NEAR
        if any(labels.get(key) in values for key, values in self.apart.items()):
            return _APART
        return _UNWELCOME if any(labels.get(key) in values for key, values in self.unwelcome.items()) else ""


class Company:
    """All pods that have a node. C(nodes) are the labels of the nodes by name."""

    def __init__(self, pods: t.Iterable[Placed], nodes: t.Mapping[str, Labels], namespaces: Namespaces | None = None) -> None:
        self._pods = list(pods)
        self._nodes = nodes
        self.namespaces = namespaces or Namespaces()
        self._repelling: dict[tuple[str, str] | None, list[tuple[str, Demand, Term]]] = {}
        for node, demand in self._pods:
            for term in demand.apart:
                self._repelling.setdefault(term.label, []).append((node, demand, term))
        self._by_label: dict[str, dict[str, list[Placed]]] = {}

    def question(self, demand: Demand, leaving: t.Container[Key] = frozenset()) -> Question | None:
        """What the pods that stay mean for it, None if nothing. C(leaving) are those that leave their nodes, the pod itself among them or not.

        A VM's own launcher is on its node until the VM has moved, and counts like any other pod.
        """
        if not demand.near and not demand.apart and not self._repelling:
            return None

        def stays(other: Demand) -> bool:
            return bool(demand.source) if other.key == demand.key else other.key not in leaving

        found = Question()
        for label in (None, *demand.labels.items()) if self._repelling else ():
            for node, other, term in self._repelling.get(label, ()):
                if stays(other) and term.selects(demand.namespace, demand.labels, self.namespaces):
                    self._note(found.unwelcome, term.key, node)
        for term in demand.apart:
            for node, other in self._selected(term):
                if stays(other):
                    self._note(found.apart, term.key, node)
        if demand.near:
            found.near = self._near(demand, stays)
        return found if found.near or found.apart or found.unwelcome else None

    def _near(self, demand: Demand, stays: t.Callable[[Demand], bool]) -> list[Near]:
        found = [Near(term.key) for term in demand.near]
        partners = [
            (node, other) for node, other in self._selected(demand.near[0])
            if all(term.selects(other.namespace, other.labels, self.namespaces) for term in demand.near[1:])
        ]
        # The first of pods that want to be together has to begin somewhere, and a partner that leaves too may come anywhere.
        first = not partners and all(term.selects(demand.namespace, demand.labels, self.namespaces) for term in demand.near)
        moving = any(not stays(other) and other.key != demand.key for _node, other in partners)
        for one in found:
            one.anywhere = first or moving
            one.values = {value for node, other in partners if stays(other) and (value := self._nodes.get(node, {}).get(one.key)) is not None}
        return found

    def _selected(self, term: Term) -> t.Iterator[Placed]:
        label = term.label
        for node, other in self._pods if label is None else self._labelled(*label):
            if term.selects(other.namespace, other.labels, self.namespaces):
                yield node, other

    def _labelled(self, key: str, value: str) -> list[Placed]:
        if key not in self._by_label:
            by_value = self._by_label[key] = {}
            for node, demand in self._pods:
                if key in demand.labels:
                    by_value.setdefault(demand.labels[key], []).append((node, demand))
        return self._by_label[key].get(value, [])

    def _note(self, places: dict[str, set[str]], key: str, node: str) -> None:
        value = self._nodes.get(node, {}).get(key)
        if value is not None:
            places.setdefault(key, set()).add(value)


def repelled_by(one: Demand, other: Demand, namespaces: Namespaces) -> list[str]:
    """The labels of nodes by which two pods must not be in one place."""
    found = [term.key for term in one.apart if term.selects(other.namespace, other.labels, namespaces)]
    return found + [term.key for term in other.apart if term.selects(one.namespace, one.labels, namespaces)]
