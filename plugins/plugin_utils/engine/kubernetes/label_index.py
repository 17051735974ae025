# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Things found by their labels, and selectors found by the labels they fix: without looking at all of them.

The budgets of a namespace with thousands of virtual machines each select one machine's pods.
"""
from __future__ import annotations

import typing as t

from ..apiserver.selectors import LabelSelector

Label = tuple[str, str]
T = t.TypeVar("T")
Labels = t.Mapping[str, str]


def fixed_label(selector: LabelSelector) -> Label | None:
    """A label with the value that everything selected has, if the selector fixes one."""
    for requirement in selector.requirements:
        if requirement.operator in ("=", "==", "in") and len(requirement.values) == 1:
            return requirement.key, requirement.values[0]
    return None


class LabelIndex(t.Generic[T]):
    """Labelled things by key. The first question after a label makes the index of that label, which is kept from then on."""

    def __init__(self) -> None:
        self._things: dict[t.Hashable, tuple[Labels, T]] = {}
        self._by_label: dict[str, dict[str, dict[t.Hashable, T]]] = {}

    def __len__(self) -> int:
        return len(self._things)

    def put(self, key: t.Hashable, labels: Labels, thing: T) -> None:
        self.remove(key)
        self._things[key] = (labels, thing)
        for label, values in self._by_label.items():
            if label in labels:
                values.setdefault(labels[label], {})[key] = thing

    def remove(self, key: t.Hashable) -> None:
        labels = self._things.pop(key, ({}, None))[0]
        for label, values in self._by_label.items():
            if label in labels:
                found = values[labels[label]]
                del found[key]
                if not found:
                    del values[labels[label]]

    def candidates(self, label: Label | None) -> t.Iterable[T]:
        """Everything with the label; everything at all without one."""
        if label is None:
            return [thing for dummy, thing in self._things.values()]
        key, value = label
        if key not in self._by_label:
            values: dict[str, dict[t.Hashable, T]] = {}
            for name, (labels, thing) in self._things.items():
                if key in labels:
                    values.setdefault(labels[key], {})[name] = thing
            self._by_label[key] = values
        return self._by_label[key].get(value, {}).values()


class SelectorIndex(t.Generic[T]):
    """Selectors by key, asked which of them may select something."""

    def __init__(self) -> None:
        self._labels: dict[t.Hashable, Label | None] = {}
        self._by_label: dict[Label | None, dict[t.Hashable, T]] = {}

    def put(self, key: t.Hashable, selector: LabelSelector, thing: T) -> None:
        self.remove(key)
        label = self._labels[key] = fixed_label(selector)
        self._by_label.setdefault(label, {})[key] = thing

    def remove(self, key: t.Hashable) -> None:
        if key in self._labels:
            label = self._labels.pop(key)
            del self._by_label[label][key]
            if not self._by_label[label]:
                del self._by_label[label]

    def candidates(self, labels: Labels) -> t.Iterator[T]:
        """Whatever may select something with these labels."""
        for label in (None, *labels.items()):
            yield from self._by_label.get(label, {}).values()
