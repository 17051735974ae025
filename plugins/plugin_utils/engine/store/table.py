# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of one resource as they are now, in the order of lists. A place in it is the namespace and name of an object that need not be there."""
from __future__ import annotations

import bisect
import typing as t
from dataclasses import dataclass

from .stored import Object, ResourceKey, Stored

Key = tuple[str, str]
FIRST: Key = ("", "")


@dataclass(frozen=True)
class Rest:
    """What a list has from a place on: how many they are, and each when it is asked for."""

    count: int
    items: t.Iterator[Stored]


def _as_prefix(namespace: str) -> str:
    return f"{namespace}/"


def list_order(key: Key) -> Key:
    """Sorts (namespace, name) as lists do: by the bytes of namespace/name, so that `a-b` comes before `a`."""
    return _as_prefix(key[0]), key[1]


def _node_of(value: Object) -> str:
    return (value.get("spec") or {}).get("nodeName") or ""


BY_NODE: dict[ResourceKey, t.Callable[[Object], str]] = {("", "pods"): _node_of}
"""Resources that are asked for by node. Source: Kubernetes pkg/registry/core/pod/strategy.go (NodeNameIndexFunc)."""


class Table:
    """The objects of one resource, in the order of lists."""

    def __init__(self, node_of: t.Callable[[Object], str] | None = None) -> None:
        self._objects: dict[str, dict[str, Stored]] = {}
        self._names: dict[str, list[str]] = {}
        self._namespaces: list[str] = []
        self._node_of = node_of
        self._on_node: dict[str, dict[Key, Stored]] = {}
        self.count = 0

    def get(self, namespace: str, name: str) -> Stored | None:
        return self._objects.get(namespace, {}).get(name)

    def put(self, stored: Stored) -> None:
        namespace, name = stored.namespace, stored.name
        if namespace not in self._objects:
            self._objects[namespace], self._names[namespace] = {}, []
            bisect.insort(self._namespaces, namespace, key=_as_prefix)
        if name not in self._objects[namespace]:
            bisect.insort(self._names[namespace], name)
            self.count += 1
        elif self._node_of is not None:
            self._leave_node(self._objects[namespace][name])
        self._objects[namespace][name] = stored
        if self._node_of is not None and (node := self._node_of(stored.value)):
            self._on_node.setdefault(node, {})[namespace, name] = stored

    def _leave_node(self, stored: Stored) -> None:
        if self._node_of is not None and (node := self._node_of(stored.value)):
            there = self._on_node[node]
            del there[stored.namespace, stored.name]
            if not there:
                del self._on_node[node]

    def remove(self, namespace: str, name: str) -> None:
        self._leave_node(self._objects[namespace][name])
        del self._objects[namespace][name]
        names = self._names[namespace]
        del names[bisect.bisect_left(names, name)]
        self.count -= 1
        if not names:
            del self._objects[namespace], self._names[namespace]
            del self._namespaces[bisect.bisect_left(self._namespaces, _as_prefix(namespace), key=_as_prefix)]

    def items(self, namespace: str | None) -> list[Stored]:
        if namespace is not None:
            objects = self._objects.get(namespace, {})
            return [objects[name] for name in self._names.get(namespace, ())]
        return [self._objects[one][name] for one in self._namespaces for name in self._names[one]]

    def rest(self, namespace: str | None, start: Key) -> Rest:
        """Those from a place on, which need not be there; nothing may be written while they are taken."""
        namespaces = self._namespaces if namespace is None else [namespace] if namespace in self._names else []
        at = bisect.bisect_left(namespaces, _as_prefix(start[0]), key=_as_prefix)
        within = at < len(namespaces) and namespaces[at] == start[0]
        first = bisect.bisect_left(self._names[start[0]], start[1]) if within else 0
        count = sum(len(self._names[namespaces[index]]) for index in range(at, len(namespaces))) - first
        return Rest(count, self._from(namespaces, at, first))

    def _from(self, namespaces: list[str], at: int, first: int) -> t.Iterator[Stored]:
        for index in range(at, len(namespaces)):
            objects, names = self._objects[namespaces[index]], self._names[namespaces[index]]
            for place in range(first, len(names)):
                yield objects[names[place]]
            first = 0

    def on_node(self, node: str, namespace: str | None) -> list[Stored] | None:
        """Those of one node, None if this resource is not kept by node."""
        if self._node_of is None:
            return None
        found = self._on_node.get(node, {})
        return [found[key] for key in sorted(found, key=list_order) if namespace is None or key[0] == namespace]
