# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pod, all nodes: who can take it, and who does.

Source: Kubernetes pkg/scheduler/schedule_one.go (findNodesThatFitPod, numFeasibleNodesToFind, prioritizeNodes).
"""
from __future__ import annotations

import dataclasses
import itertools
import typing as t

from ...apiserver.selectors import LabelSelector
from ...interface import Object
from . import filters, node_affinity, scoring, spreading
from .cache import Cache
from .company import Company
from .filters import Refusal
from .nodes import NodeRecord, PodRecord
from .pod_affinity import NamespaceLabels

LEAST_NODES, PERCENT_OF_NODES = 100, 5
"""Once so many nodes can take a pod, the rest is not asked: the configuration percentageOfNodesToScore, at its least."""
_SHAPES = 128


@dataclasses.dataclass(frozen=True)
class Decision:
    """node is empty when no node takes the pod; then `refusals` has one entry for each node."""

    node: str
    refusals: tuple[Refusal, ...] = ()


class _Question:
    """Everything about one pod that does not depend on the node asked."""

    def __init__(self, pod: Object, workload: LabelSelector | None, cache: Cache, namespace_labels: NamespaceLabels) -> None:
        self.spec: Object = pod["spec"]
        self.record = PodRecord.of(pod)
        self.company = Company(self.record, cache, namespace_labels)
        self.spreading = spreading.Spreading(self.record, self.spec, spreading.constraints_of(pod, workload), cache)
        self.matters = self.company.matters, self.spreading.matters


class Algorithm:
    """Decides over a cache of nodes and pods. What holds for pods of the same shape is found out once for each node."""

    def __init__(self, cache: Cache, namespace_labels: NamespaceLabels) -> None:
        self._cache, self._namespace_labels = cache, namespace_labels
        self._shapes: dict[str, dict[str, Refusal | None]] = {}
        self._next = 0

    def node_changed(self, name: str) -> None:
        """What was found out about the node's labels and taints no longer holds."""
        for shape in self._shapes.values():
            shape.pop(name, None)

    def schedule(self, pod: Object, workload: LabelSelector | None = None) -> Decision:
        """`workload` selects the pods that belong together with this one, if any controller made it."""
        question = _Question(pod, workload, self._cache, self._namespace_labels)
        records = self._cache.in_order()
        named = node_affinity.only_nodes(question.spec)
        if named is not None:
            return self._among(question, named, records)
        found, refusals, asked = self._feasible(question, records)
        if not found:
            return Decision("", tuple(refusals))
        self._next = (self._next + asked) % len(records)
        return Decision(scoring.best(question.record, question.spec, found, question.company, question.spreading).name)

    def could_take(self, pod: Object, names: t.Iterable[str], workload: LabelSelector | None = None) -> bool:
        """Whether any of the nodes can take the pod now."""
        question = _Question(pod, workload, self._cache, self._namespace_labels)
        shape = self._shape(question.spec)
        records = (self._cache.nodes.get(name) for name in names)
        return any(record is not None and record.node is not None and self._refusal(question, record, shape) is None for record in records)

    def _among(self, question: _Question, named: frozenset[str], records: t.Sequence[NodeRecord]) -> Decision:
        refusals, found = [], []
        shape: dict[str, Refusal | None] = {}
        for name in sorted(named):
            record = self._cache.nodes.get(name)
            if record is not None and record.node is not None:
                refusal = self._refusal(question, record, shape)
                if refusal is None:
                    found.append(record)
                else:
                    refusals.append(refusal)
        if found:
            return Decision(scoring.best(question.record, question.spec, found, question.company, question.spreading).name)
        return Decision("", (*refusals, *[filters.NOT_NAMED] * (len(records) - len(refusals))))

    def _feasible(self, question: _Question, records: t.Sequence[NodeRecord]) -> tuple[list[NodeRecord], list[Refusal], int]:
        """The nodes found, the refusals, and how many nodes were asked, beginning after those that were asked last."""
        enough = max(LEAST_NODES, len(records) * PERCENT_OF_NODES // 100)
        shape = self._shape(question.spec)
        found: list[NodeRecord] = []
        refusals: list[Refusal] = []
        asked = 0
        first = self._next % len(records) if records else 0
        for record in itertools.chain(records[first:], records[:first]):
            asked += 1
            refusal = self._refusal(question, record, shape)
            if refusal is not None:
                refusals.append(refusal)
            else:
                found.append(record)
                if len(found) >= enough:
                    break
        return found, refusals, asked

    def _shape(self, spec: Object) -> dict[str, Refusal | None]:
        key = filters.lasting_key(spec)
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= _SHAPES:
                del self._shapes[next(iter(self._shapes))]
            shape = self._shapes[key] = {}
        return shape

    @staticmethod
    def _refusal(question: _Question, record: NodeRecord, shape: dict[str, Refusal | None]) -> Refusal | None:
        name = record.name
        if name in shape:
            refusal = shape[name]
        else:
            refusal = shape[name] = filters.lasting(question.spec, record)
        if refusal is None:
            refusal = filters.room(question.record, record)
        if refusal is None and question.matters[1]:
            refusal = question.spreading.refusal(record)
        if refusal is None and question.matters[0]:
            refusal = question.company.refusal(record)
        return refusal
