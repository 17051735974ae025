# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pod says about other pods: near whom it must be, whom it keeps away, how evenly they are spread. Pure. Private to this collection.

Source: Kubernetes pkg/scheduler/framework/types.go (AffinityTerm), plugins/podtopologyspread/common.go. What is only preferred is left out.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._pods import is_launcher
from .._selectors import fixed_label, selects

Json = dict[str, t.Any]
Labels = t.Mapping[str, str]
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_CREATED_BY = "kubevirt.io/created-by"


class Namespaces:
    """The labels of namespaces, as far as they are known; each has its own name at least."""

    def __init__(self, labels: t.Mapping[str, Labels] | None = None) -> None:
        self._labels = labels or {}

    def labels(self, name: str) -> Labels:
        return self._labels.get(name) or {"kubernetes.io/metadata.name": name}


def labels_of(namespaces: t.Iterable[Json]) -> Namespaces:
    """Those of Namespace objects."""
    return Namespaces({one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in namespaces})


@dataclass(frozen=True)
class Term:
    """One required term: the pods that it selects, and the label of nodes by which they count as being in one place."""

    selector: Json | None
    namespaces: frozenset[str]
    namespace_selector: Json | None
    key: str

    def selects(self, namespace: str, labels: Labels, known: Namespaces) -> bool:
        if not selects(self.selector, labels):
            return False
        return namespace in self.namespaces or (self.namespace_selector is not None and selects(self.namespace_selector, known.labels(namespace)))

    @property
    def label(self) -> tuple[str, str] | None:
        """A label and its value that every selected pod has, if the term fixes one."""
        return fixed_label(self.selector)


def near_of(pod: Json) -> tuple[Term, ...]:
    """Required affinity."""
    return _terms(pod, "podAffinity")


def apart_of(pod: Json) -> tuple[Term, ...]:
    """Required anti-affinity, without that which KubeVirt gives a launcher against others of its own VM."""
    found = _terms(pod, "podAntiAffinity")
    if found and is_launcher(pod):
        own = {_CREATED_BY: (pod["metadata"].get("labels") or {}).get(_CREATED_BY)}
        return tuple(one for one in found if (one.selector or {}).get("matchLabels") != own)
    return found


def _terms(pod: Json, kind: str) -> tuple[Term, ...]:
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get(kind)
    return tuple(_term(pod, entry) for entry in affinity.get(_REQUIRED) or ()) if affinity else ()


def _term(pod: Json, entry: Json) -> Term:
    given = entry.get("namespaceSelector")
    own = () if given is not None else (pod["metadata"].get("namespace") or "",)
    return Term(_with_own_labels(pod, entry), frozenset(entry.get("namespaces") or own), given, entry["topologyKey"])


def _with_own_labels(pod: Json, entry: Json) -> Json | None:
    """The selector with what C(matchLabelKeys) and C(mismatchLabelKeys) add by the labels of the pod itself."""
    selector: Json | None = entry.get("labelSelector")
    labels = pod["metadata"].get("labels") or {}
    more = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")) for key in entry.get(field) or () if key in labels
    ]
    if not more or selector is None:
        return selector
    return {**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *more]}


def spread_keys(pod: Json) -> tuple[str, ...]:
    """The labels of nodes over which a pod must be spread evenly (DoNotSchedule): a node without one is none for it."""
    constraints = (pod.get("spec") or {}).get("topologySpreadConstraints") or ()
    return tuple(one["topologyKey"] for one in constraints if (one.get("whenUnsatisfiable") or "DoNotSchedule") == "DoNotSchedule")
