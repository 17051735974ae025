# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All nodes and the pods on them, found by label and by what they say about other pods. Nothing here looks at every pod.

Source: Kubernetes pkg/scheduler/backend/cache (cache, node tree).
"""
from __future__ import annotations

import itertools
import typing as t

from ...interface import Object
from ..label_index import LabelIndex
from .nodes import NodeRecord, PodRecord
from .pod_affinity import Term

Said = t.Iterable[tuple[PodRecord, Term]]
Select = t.Callable[[PodRecord], t.Iterable[Term]]


class _Sayings:
    """Terms of the pods on nodes, by the label that a term fixes."""

    def __init__(self, select: Select) -> None:
        self._select = select
        self._by_label: dict[tuple[str, str] | None, dict[str, list[tuple[PodRecord, Term]]]] = {}

    def add(self, pod: PodRecord) -> None:
        for term in self._select(pod):
            self._by_label.setdefault(term.label, {}).setdefault(pod.uid, []).append((pod, term))

    def remove(self, pod: PodRecord) -> None:
        for label in {term.label for term in self._select(pod)}:
            entries = self._by_label[label]
            entries.pop(pod.uid, None)
            if not entries:
                del self._by_label[label]

    def about(self, labels: t.Mapping[str, str]) -> Said:
        """Every term that may select a pod with these labels."""
        if self._by_label:
            for label in (None, *labels.items()):
                for entries in self._by_label.get(label, {}).values():
                    yield from entries


class Cache:
    """Pods count from the moment they are put here, which may be before the cluster says so (an assumed pod)."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeRecord] = {}
        self._pods: dict[str, PodRecord] = {}
        self._labelled: LabelIndex[PodRecord] = LabelIndex()
        self._order: list[NodeRecord] | None = None
        self.required_apart = _Sayings(lambda pod: pod.terms.anti_affinity)
        self.wishes = _Sayings(lambda pod: (*pod.terms.preferred, *pod.terms.affinity))

    def __len__(self) -> int:
        return len(self._pods)

    def in_order(self) -> list[NodeRecord]:
        """The nodes that are there, taken from each zone in turn."""
        if self._order is None:
            zones: dict[str, list[NodeRecord]] = {}
            for record in self.nodes.values():
                if record.node is not None:
                    zones.setdefault(record.zone, []).append(record)
            rounds = itertools.zip_longest(*zones.values())
            self._order = [record for one in rounds for record in one if record is not None]
        return self._order

    def put_node(self, node: Object) -> bool:
        """Whether what changed matters to pods that look for a node."""
        record = self._record(node["metadata"]["name"])
        new, zone = record.node is None, record.zone
        matters = record.describe(node)
        if new or zone != record.zone:
            self._order = None
        return matters

    def remove_node(self, name: str) -> None:
        record = self.nodes.get(name)
        if record is not None:
            record.node = None
            self._order = None
            self._drop_if_empty(record)

    def put_pod(self, record: PodRecord) -> None:
        """Count a pod on its node, in place of what was known of it."""
        self.remove_pod(record.uid)
        self._pods[record.uid] = record
        self._record(record.node).add(record)
        self._labelled.put(record.uid, record.labels, record)
        if record.terms:
            self.required_apart.add(record)
            self.wishes.add(record)

    def pod(self, uid: str) -> PodRecord | None:
        return self._pods.get(uid)

    def remove_pod(self, uid: str) -> PodRecord | None:
        """What was known of the pod."""
        record = self._pods.pop(uid, None)
        if record is None:
            return None
        node = self.nodes[record.node]
        node.remove(record)
        self._drop_if_empty(node)
        self._labelled.remove(uid)
        if record.terms:
            self.required_apart.remove(record)
            self.wishes.remove(record)
        return record

    def selected(self, label: tuple[str, str] | None) -> t.Iterable[PodRecord]:
        """The pods that a selector may select which fixes this label, or none."""
        return self._labelled.candidates(label)

    def _record(self, name: str) -> NodeRecord:
        record = self.nodes.get(name)
        if record is None:
            record = self.nodes[name] = NodeRecord(name)
        return record

    def _drop_if_empty(self, record: NodeRecord) -> None:
        if record.node is None and not record.pods:
            self.nodes.pop(record.name, None)
