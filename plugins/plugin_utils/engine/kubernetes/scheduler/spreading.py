# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Spreading pods over places: topologySpreadConstraints, and the default ones of workloads that have none.

Source: Kubernetes pkg/scheduler/framework/plugins/podtopologyspread/{common,filtering,scoring}.go.
"""
from __future__ import annotations

import collections
import dataclasses
import math
import typing as t

from ...apiserver.selectors import LabelSelector, Requirement, from_label_selector_object
from ...interface import Object
from ..label_index import fixed_label
from . import node_affinity, taints
from .cache import Cache
from .filters import Refusal
from .nodes import NodeRecord, PodRecord

MISSING_LABEL = Refusal("PodTopologySpread", ("node(s) didn't match pod topology spread constraints (missing required label)",), True)
SKEWED = Refusal("PodTopologySpread", ("node(s) didn't match pod topology spread constraints",), False)
_HOSTNAME = "kubernetes.io/hostname"


@dataclasses.dataclass(frozen=True)
class Constraint:
    """One of topologySpreadConstraints with its defaults filled in."""

    key: str
    max_skew: int
    selector: LabelSelector
    hard: bool
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False

    @property
    def label(self) -> tuple[str, str] | None:
        return fixed_label(self.selector)


def constraints_of(pod: Object, workload: LabelSelector | None) -> tuple[Constraint, ...]:
    """The pod's own constraints; without any, the cluster's default ones over the pods of its workload."""
    entries = pod["spec"].get("topologySpreadConstraints") or ()
    if entries:
        return tuple(_constraint(pod, entry) for entry in entries)
    if workload is None:
        return ()
    zone = Constraint("topology.kubernetes.io/zone", 5, workload, hard=False)
    return zone, Constraint(_HOSTNAME, 3, workload, hard=False)


def _constraint(pod: Object, entry: Object) -> Constraint:
    selector = from_label_selector_object(entry.get("labelSelector"))
    labels = pod["metadata"].get("labels") or {}
    more = [Requirement(key, "in", (labels[key],)) for key in entry.get("matchLabelKeys") or () if key in labels]
    if more and not selector.nothing:
        selector = LabelSelector((*selector.requirements, *more))
    return Constraint(
        entry["topologyKey"], int(entry["maxSkew"]), selector, entry.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule",
        int(entry.get("minDomains") or 1), entry.get("nodeAffinityPolicy", "Honor") == "Honor", entry.get("nodeTaintsPolicy", "Ignore") == "Honor",
    )


class Spreading:
    """The pods that count, by place, for one pod that looks for a node."""

    def __init__(self, pod: PodRecord, spec: Object, constraints: t.Sequence[Constraint], cache: Cache) -> None:
        self._pod, self._spec, self._cache = pod, spec, cache
        self._hard = tuple(one for one in constraints if one.hard)
        self._soft = tuple(one for one in constraints if not one.hard)
        self._found: dict[LabelSelector, collections.Counter[str]] = {}
        self._limits = [self._limit(one) for one in self._hard]

    @property
    def matters(self) -> bool:
        """Whether any node could be refused for it."""
        return bool(self._hard)

    def refusal(self, record: NodeRecord) -> Refusal | None:
        for key, counts, most in self._limits:
            value = record.labels.get(key)
            if value is None:
                return MISSING_LABEL
            if counts.get(value, 0) > most:
                return SKEWED
        return None

    def _limit(self, one: Constraint) -> tuple[str, dict[str, int], int]:
        """The key, the pods in each place, and how many there may be already where the pod goes."""
        counts = self._count(one, self._hard)
        least = min(counts.values(), default=0) if len(counts) >= one.min_domains else 0
        return one.key, counts, one.max_skew + least - one.selector.matches(self._pod.labels)

    def _counted(self, one: Constraint, record: NodeRecord) -> bool:
        if one.honor_affinity and not node_affinity.matches(self._spec, record.name, record.labels):
            return False
        return not one.honor_taints or taints.untolerated(self._spec.get("tolerations") or (), record.taints) is None

    def _count(self, one: Constraint, together: t.Sequence[Constraint]) -> dict[str, int]:
        """Matching pods by place; places without any are 0. Only nodes that have the labels of all constraints count."""
        counts: dict[str, int] = {}
        counted = set()
        for record in self._cache.in_order():
            if all(other.key in record.labels for other in together) and self._counted(one, record):
                counts.setdefault(record.labels[one.key], 0)
                counted.add(record.name)
        for name, count in self._by_node(one).items():
            if name in counted:
                counts[self._cache.nodes[name].labels[one.key]] += count
        return counts

    def _matching(self, one: Constraint) -> t.Iterator[PodRecord]:
        pod = self._pod
        for other in self._cache.selected(one.label):
            if other.namespace == pod.namespace and not other.going and other.uid != pod.uid and one.selector.matches(other.labels):
                yield other

    def scores(self, records: t.Sequence[NodeRecord]) -> list[float] | None:
        """0 to 100 for each node, the emptier its places the higher; None when the pod has no such wishes."""
        if not self._soft:
            return None
        raw: list[float | None] = [0.0] * len(records)
        for one in self._soft:
            by_place = self._by_place(one)
            places = {record.labels.get(one.key) for record in records} - {None}
            weight = math.log((len(records) if one.key == _HOSTNAME else len(places)) + 2)
            for index, record in enumerate(records):
                value, sum_of = record.labels.get(one.key), raw[index]
                raw[index] = None if value is None or sum_of is None else sum_of + by_place.get(value, 0) * weight + (one.max_skew - 1)
        known = [value for value in raw if value is not None]
        least, most = min(known, default=0.0), max(known, default=0.0)
        return [0.0 if value is None else 100.0 if not most else 100.0 * (most + least - value) / most for value in raw]

    def _by_node(self, one: Constraint) -> collections.Counter[str]:
        # The default constraints count the same pods.
        if one.selector not in self._found:
            self._found[one.selector] = collections.Counter(other.node for other in self._matching(one))
        return self._found[one.selector]

    def _by_place(self, one: Constraint) -> dict[str, int]:
        counts: collections.Counter[str] = collections.Counter()
        for name, count in self._by_node(one).items():
            record = self._cache.nodes[name]
            value = record.labels.get(one.key)
            if value is not None and self._counted(one, record):
                counts[value] += count
        return counts
