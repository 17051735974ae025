# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which fields an object has, and which of them differ from another's.

A path is a tuple of elements as FieldsV1 writes them: `f:spec`, `k:{"name":"c"}`, `v:"x"`.
Source: structured-merge-diff typed; Kubernetes apimachinery pkg/util/managedfields/internal.
"""
from __future__ import annotations

import dataclasses
import functools
import json
import typing as t

from .field_trees import LEAF, MEMBER, Draft, Path, Paths, Tree, node, struct_node, with_fields
from .shapes import Shape

Object = dict[str, t.Any]

_UNTRACKED = {"apiVersion", "kind", "metadata"}
_UNTRACKED_METADATA = {"name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion"}
_UNTRACKED_PATHS = {("f:" + name,) for name in _UNTRACKED} | {("f:metadata", "f:" + name) for name in _UNTRACKED_METADATA}
# Keys of list items that are filled in when a client leaves them out.
_KEY_DEFAULTS = {"protocol": "TCP"}


def item_element(shape: Shape, item: t.Any) -> str:
    """How a path names an item of a list that is a set or has keys."""
    if shape.keys and isinstance(item, dict):
        if len(shape.keys) == 1 and isinstance(item.get(shape.keys[0]), str):
            return _named(shape.keys[0], item[shape.keys[0]])
        found = [(key, item.get(key, _KEY_DEFAULTS.get(key))) for key in shape.keys]
        return "k:{" + ",".join([f"{_dumps(key)}:{_dumps(value)}" for key, value in found if value is not None]) + "}"
    return "v:" + _dumps(item)


@functools.lru_cache(maxsize=10_000)
def _named(key: str, value: str) -> str:
    """The usual element of a list with keys: there are few of them, such as types of conditions and names of containers."""
    return f"k:{{{_dumps(key)}:{_dumps(value)}}}"


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def _dumps(value: t.Any) -> str:
    if isinstance(value, str) and value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return f'"{value}"'
    return _encode(value)


def by_element(shape: Shape, items: list[t.Any]) -> dict[str, t.Any]:
    return {item_element(shape, item): item for item in items}


def fields_of(shape: Shape, value: t.Any) -> Paths:
    """The set of an applied configuration: its leaves, and the items of lists with keys."""
    found: Paths = set()
    _fields(shape, value, (), found)
    return found - _UNTRACKED_PATHS


def _fields(shape: Shape, value: t.Any, path: Path, found: Paths) -> None:
    if isinstance(value, dict) and not shape.atomic:
        for key, item in value.items():
            below = (*path, "f:" + key)
            _fields(shape.child(key), item, below, found)
            if not shape.declares(key) or item is None or item == {}:
                found.add(below)
    elif isinstance(value, list) and shape.granular_list and not shape.atomic:
        for item in value:
            below = (*path, item_element(shape, item))
            found.add(below)
            if isinstance(item, dict):
                _fields(shape.item(), item, below, found)
    else:
        found.add(path)


@dataclasses.dataclass(slots=True)
class Difference:
    """What has to be written (added or modified) and removed to get from one map or list to another: trees by element."""

    written: Draft
    removed: Draft
    modified: set[str]
    """The elements of what was there before and is written, or something below it."""

    def add(self, element: str, below: Difference) -> None:
        if below.written:
            self.written[element] = below.written
        if below.removed:
            self.removed[element] = below.removed
        if below.modified:
            self.modified.add(element)


def compare(shape: Shape, old: Object, new: Object) -> Difference:
    """How an object differs from another. Nobody owns its metadata as a whole."""
    difference = _compare_fields(shape, old, new, _UNTRACKED)
    metadata = _compare_fields(shape.child("metadata"), old.get("metadata") or {}, new.get("metadata") or {}, _UNTRACKED_METADATA)
    difference.add("f:metadata", metadata)
    return difference


def _compare_fields(shape: Shape, old: Object, new: Object, untracked: t.Container[str] = ()) -> Difference:
    found = Difference(Draft(), Draft(), set())
    for key, item in new.items():
        if key in old:
            before = old[key]
            # Most of an object is the very same after a write; and to compare what is equal is cheaper than to walk through it.
            if before is not item and key not in untracked and (before != item or type(before) is not type(item)):
                _compare(shape.child(key), before, item, "f:" + key, found)
        elif key not in untracked:
            below = _whole(shape.child(key), item, True) if isinstance(item, (dict, list)) else LEAF
            if below is not None:
                found.written["f:" + key] = below
    if not old.keys() <= new.keys():
        for key, item in old.items():
            below = _whole(shape.child(key), item, True) if key not in new and key not in untracked else None
            if below is not None:
                found.removed["f:" + key] = below
    return found


def _compare_items(shape: Shape, old: list[t.Any], new: list[t.Any]) -> Difference:
    found = Difference(Draft(), Draft(), set())
    there, after = by_element(shape, old), by_element(shape, new)
    for element, item in after.items():
        if element not in there:
            found.written[element] = _whole(shape.item(), item, False) or LEAF
        elif there[element] != item or type(there[element]) is not type(item):
            _compare(shape.item(), there[element], item, element, found)
    for element, item in there.items():
        if element not in after:
            found.removed[element] = _whole(shape.item(), item, False) or LEAF
    return found


def _compare(shape: Shape, old: t.Any, new: t.Any, element: str, found: Difference) -> None:
    """Find what differs within two values that are not the same."""
    if not shape.atomic and isinstance(old, dict) and isinstance(new, dict):
        found.add(element, _compare_fields(shape, old, new))
    elif not shape.atomic and shape.granular_list and isinstance(old, list) and isinstance(new, list):
        found.add(element, _compare_items(shape, old, new))
    else:
        found.written[element] = LEAF
        found.modified.add(element)


def _whole(shape: Shape, value: t.Any, parent_there: bool) -> Tree | None:
    """Everything in a value that is new or gone as a whole, itself included unless it is a struct that every object has."""
    if shape.atomic or not isinstance(value, (dict, list)):
        return LEAF
    there = parent_there and shape.always_there
    if isinstance(value, dict):
        # Most fields are no containers, whose shape says nothing more.
        below = [_whole(shape.child(key), item, there) if isinstance(item, (dict, list)) else LEAF for key, item in value.items()]
        return struct_node(value, below, not there)
    return _whole_list(shape, value, there) if shape.granular_list else LEAF


def _whole_list(shape: Shape, items: list[t.Any], there: bool) -> Tree | None:
    children: Tree = {} if there else {MEMBER: LEAF}
    for item in items:
        element = item_element(shape, item)
        below = _whole(shape.item(), item, False) or LEAF
        # An item that is named twice has the fields of both.
        children[element] = with_fields(children[element], below) if children.get(element) else below
    return node(children) if children else None
