# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Required and preferred affinity between pods, as terms that can be looked up by label: pure.

Source: Kubernetes pkg/scheduler/framework/types.go (AffinityTerm), plugins/interpodaffinity.
"""
from __future__ import annotations

import dataclasses
import typing as t

from ...apiserver.selectors import LabelSelector, Requirement, from_label_selector_object
from ...interface import Object
from ..label_index import fixed_label

Labels = t.Mapping[str, str]
NamespaceLabels = t.Callable[[str], Labels]
"""The labels of a namespace by name."""
_REQUIRED, _PREFERRED = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"


@dataclasses.dataclass(frozen=True)
class Term:
    """One term: pods it selects, where, and by which label of nodes they are near. weight is negative for preferred anti-affinity."""

    selector: LabelSelector
    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None
    topology_key: str
    weight: int = 0

    def selects(self, namespace: str, labels: Labels, namespace_labels: NamespaceLabels) -> bool:
        if not self.selector.matches(labels):
            return False
        if namespace in self.namespaces:
            return True
        chosen = self.namespace_selector
        return chosen is not None and (chosen.empty or chosen.matches(namespace_labels(namespace)))

    @property
    def label(self) -> tuple[str, str] | None:
        """A label and its value that every selected pod has, if the term fixes one."""
        return fixed_label(self.selector)


@dataclasses.dataclass(frozen=True)
class Terms:
    """All that a pod says about other pods."""

    affinity: tuple[Term, ...] = ()
    anti_affinity: tuple[Term, ...] = ()
    preferred: tuple[Term, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.affinity or self.anti_affinity or self.preferred)


NONE = Terms()


def terms_of(pod: Object) -> Terms:
    affinity = pod["spec"].get("affinity") or {}
    near, apart = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    if not near and not apart:
        return NONE
    return Terms(
        tuple(_term(pod, entry) for entry in near.get(_REQUIRED) or ()),
        tuple(_term(pod, entry) for entry in apart.get(_REQUIRED) or ()),
        (
            *(_term(pod, entry["podAffinityTerm"], int(entry["weight"])) for entry in near.get(_PREFERRED) or ()),
            *(_term(pod, entry["podAffinityTerm"], -int(entry["weight"])) for entry in apart.get(_PREFERRED) or ()),
        ),
    )


def _term(pod: Object, entry: Object, weight: int = 0) -> Term:
    metadata = pod["metadata"]
    selector = from_label_selector_object(entry.get("labelSelector"))
    labels = metadata.get("labels") or {}
    more = [Requirement(key, "in", (labels[key],)) for key in entry.get("matchLabelKeys") or () if key in labels]
    more += [Requirement(key, "notin", (labels[key],)) for key in entry.get("mismatchLabelKeys") or () if key in labels]
    if more and not selector.nothing:
        selector = LabelSelector((*selector.requirements, *more))
    given = entry.get("namespaceSelector")
    chosen = from_label_selector_object(given) if given is not None else None
    namespaces = frozenset(entry.get("namespaces") or (() if chosen is not None else (metadata.get("namespace") or "",)))
    return Term(selector, namespaces, chosen, entry["topologyKey"], weight)
