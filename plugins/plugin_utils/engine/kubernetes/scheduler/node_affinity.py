# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes a pod asks for by their labels and names: pure.

Source: Kubernetes component-helpers scheduling/corev1/nodeaffinity.
"""
from __future__ import annotations

import typing as t

from ...interface import Object

Labels = t.Mapping[str, str]


def _holds(expression: Object, value: str | None) -> bool:
    operator, values = expression.get("operator"), expression.get("values") or []
    if operator == "In":
        return value is not None and value in values
    if operator == "NotIn":
        return value is None or value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    try:
        number, limit = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return number > limit if operator == "Gt" else number < limit


def term_matches(term: Object, name: str, labels: Labels) -> bool:
    """One nodeSelectorTerm: all of it must hold; an empty one matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    if not all(_holds(expression, labels.get(expression["key"])) for expression in expressions):
        return False
    return all(field["key"] == "metadata.name" and _holds(field, name) for field in fields)


def required_terms(spec: Object) -> t.Sequence[Object] | None:
    """The nodeSelectorTerms of which one must match; None when the pod has none."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return None if required is None else required.get("nodeSelectorTerms") or ()


def matches(spec: Object, name: str, labels: Labels) -> bool:
    """Whether the node has what nodeSelector and required node affinity ask for."""
    for key, value in (spec.get("nodeSelector") or {}).items():
        if labels.get(key) != value:
            return False
    terms = required_terms(spec)
    return terms is None or any(term_matches(term, name, labels) for term in terms)


def only_nodes(spec: Object) -> frozenset[str] | None:
    """The names to which required node affinity restricts the pod, as that of a DaemonSet's pods does; None when it does not."""
    names: set[str] = set()
    terms = required_terms(spec)
    if not terms:
        return None
    for term in terms:
        listed = [set(field.get("values") or ()) for field in term.get("matchFields") or () if field.get("operator") == "In"]
        if not listed:
            return None
        names |= set.intersection(*listed)
    return frozenset(names)


def preferred_weight(spec: Object, name: str, labels: Labels) -> int:
    """The sum of the weights of the preferences that the node meets."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return sum(
        int(entry.get("weight", 0)) for entry in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        if term_matches(entry.get("preference") or {}, name, labels)
    )
