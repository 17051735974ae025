# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pods that run mean for a pod that looks for a node: near whom it must, may not and likes to be.

Source: Kubernetes pkg/scheduler/framework/plugins/interpodaffinity/{filtering,scoring}.go.
"""
from __future__ import annotations

import collections
import typing as t

from .cache import Cache, Said
from .filters import Refusal
from .nodes import NodeRecord, PodRecord
from .pod_affinity import NamespaceLabels, Term

AFFINITY = Refusal("InterPodAffinity", ("node(s) didn't match pod affinity rules",), True)
ANTI_AFFINITY = Refusal("InterPodAffinity", ("node(s) didn't match pod anti-affinity rules",), False)
EXISTING_ANTI_AFFINITY = Refusal("InterPodAffinity", ("node(s) didn't satisfy existing pods anti-affinity rules",), False)
_HARD_AFFINITY_WEIGHT = 1

Place = tuple[str, str]
"""A topology key and its value."""


class Company:
    """What was found in the cluster for one pod, asked of many nodes."""

    def __init__(self, pod: PodRecord, cache: Cache, namespace_labels: NamespaceLabels) -> None:
        self._pod, self._cache, self._namespace_labels = pod, cache, namespace_labels
        self._unwelcome = self._places(
            (other, term) for other, term in cache.required_apart.about(pod.labels)
            if term.selects(pod.namespace, pod.labels, namespace_labels)
        )
        self._apart = self._places((other, term) for term in pod.terms.anti_affinity for other in self._selected(term))
        self._near = self._wanted()
        self._alone = not any(self._near.values()) and self._selects_itself()

    @property
    def matters(self) -> bool:
        """Whether any node could be refused for company."""
        return bool(self._unwelcome or self._apart or self._near)

    def refusal(self, record: NodeRecord) -> Refusal | None:
        labels = record.labels
        if self._near and not self._near_enough(labels):
            return AFFINITY
        for key, values in self._apart.items():
            if labels.get(key) in values:
                return ANTI_AFFINITY
        for key, values in self._unwelcome.items():
            if labels.get(key) in values:
                return EXISTING_ANTI_AFFINITY
        return None

    def _places(self, said: Said) -> dict[str, set[str]]:
        """Values by topology key of where these pods are."""
        places: dict[str, set[str]] = {}
        for other, term in said:
            place = self._place(other, term)
            if place is not None:
                places.setdefault(place[0], set()).add(place[1])
        return places

    def _near_enough(self, labels: t.Mapping[str, str]) -> bool:
        if not all(term.topology_key in labels for term in self._near):
            return False
        # The first of pods that want to be together has to begin somewhere.
        return self._alone or all((term.topology_key, labels[term.topology_key]) in places for term, places in self._near.items())

    def _wanted(self) -> dict[Term, set[Place]]:
        terms = self._pod.terms.affinity
        found: dict[Term, set[Place]] = {term: set() for term in terms}
        if terms:
            # Only a pod that meets every term counts for any of them.
            for other in self._selected(terms[0]):
                if all(term.selects(other.namespace, other.labels, self._namespace_labels) for term in terms[1:]):
                    for term in terms:
                        place = self._place(other, term)
                        if place is not None:
                            found[term].add(place)
        return found

    def _selects_itself(self) -> bool:
        pod = self._pod
        return all(term.selects(pod.namespace, pod.labels, self._namespace_labels) for term in pod.terms.affinity)

    def _selected(self, term: Term) -> t.Iterator[PodRecord]:
        for other in self._cache.selected(term.label):
            if other.uid != self._pod.uid and term.selects(other.namespace, other.labels, self._namespace_labels):
                yield other

    def _place(self, other: PodRecord, term: Term) -> Place | None:
        node = self._cache.nodes.get(other.node)
        value = node.labels.get(term.topology_key) if node is not None else None
        return None if value is None else (term.topology_key, value)

    def wishes(self) -> dict[str, collections.Counter[str]]:
        """What a node with a topology key's value is worth, by the wishes of the pod and of those that run."""
        worth: dict[str, collections.Counter[str]] = {}
        pod = self._pod
        own = ((other, term) for term in pod.terms.preferred for other in self._selected(term))
        theirs = (
            (other, term) for other, term in self._cache.wishes.about(pod.labels)
            if term.selects(pod.namespace, pod.labels, self._namespace_labels)
        )
        for other, term in (*own, *theirs):
            place = self._place(other, term)
            if place is not None:
                worth.setdefault(place[0], collections.Counter())[place[1]] += term.weight or _HARD_AFFINITY_WEIGHT
        return worth
