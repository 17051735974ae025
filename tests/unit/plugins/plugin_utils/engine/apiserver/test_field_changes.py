# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between two objects, against a statement of it that knows no trees."""

from __future__ import annotations

import json
import typing as t

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.field_changes import compare, item_element
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.field_trees import Path, decode_fields
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.shapes import UNTYPED, Shape, builtin_shape

from .recordings import Object

SCALARS = st.sampled_from(["x", "y", 1, 2, None, ""])
VALUES = st.recursive(
    SCALARS | st.lists(SCALARS, max_size=2), lambda below: st.dictionaries(st.sampled_from("abc"), below, max_size=3), max_leaves=12
)
OBJECTS = st.dictionaries(st.sampled_from(["spec", "status", "data"]), VALUES)


def all_fields(value: t.Any, path: Path = ()) -> dict[Path, t.Any]:
    found = {path: value} if path else {}
    if isinstance(value, dict):
        for key, item in value.items():
            found |= all_fields(item, (*path, "f:" + key))
    return found


@given(OBJECTS, OBJECTS)
def test_of_what_is_merged_by_key(old: Object, new: Object) -> None:
    there, after = all_fields(old), all_fields(new)
    replaced = {
        path for path in there.keys() & after.keys()
        if there[path] != after[path] and not (isinstance(there[path], dict) and isinstance(after[path], dict))
    }  # fmt: skip

    def within(path: Path) -> bool:
        return any(path[:length] in replaced for length in range(len(path)))

    difference = compare(UNTYPED, old, new)
    assert decode_fields(difference.written) == replaced | {path for path in after.keys() - there.keys() if not within(path)}
    assert decode_fields(difference.removed) == {path for path in there.keys() - after.keys() if not within(path)}
    assert difference.modified == {path[0] for path in replaced}


def pod(*conditions: Object) -> Object:
    return {"metadata": {"name": "p", "uid": "1"}, "status": {"conditions": list(conditions)}}


def test_of_items_with_keys() -> None:
    old = pod({"type": "Ready", "status": "False"}, {"type": "Gone", "status": "True"})
    new = pod({"type": "New", "status": "True"}, {"type": "Ready", "status": "True"})
    difference = compare(builtin_shape("core.v1.Pod"), old, new)
    conditions = ("f:status", "f:conditions")
    assert decode_fields(difference.written) == {
        (*conditions, 'k:{"type":"New"}'), (*conditions, 'k:{"type":"New"}', "f:type"), (*conditions, 'k:{"type":"New"}', "f:status"),
        (*conditions, 'k:{"type":"Ready"}', "f:status"),
    }  # fmt: skip
    assert decode_fields(difference.removed) == {
        (*conditions, 'k:{"type":"Gone"}'), (*conditions, 'k:{"type":"Gone"}', "f:type"), (*conditions, 'k:{"type":"Gone"}', "f:status"),
    }  # fmt: skip
    assert difference.modified == {"f:status"}


def test_an_item_that_is_named_twice_has_the_fields_of_both() -> None:
    new = pod({"type": "Ready", "status": "True"}, {"type": "Ready", "reason": "x"})
    difference = compare(builtin_shape("core.v1.Pod"), {}, new)
    assert list(difference.written["f:status"]["f:conditions"]['k:{"type":"Ready"}']) == [".", "f:reason", "f:status", "f:type"]


@given(st.one_of(st.text(), st.integers(), st.booleans()))
def test_items_are_named_by_their_json(value: str | int | bool) -> None:
    assert item_element(Shape(), value) == "v:" + json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@given(st.one_of(st.text(), st.integers(), st.booleans()), st.none() | st.text())
def test_items_with_keys_are_named_by_the_json_of_these(value: str | int | bool, other: str | None) -> None:
    shape = Shape()
    for shape.keys in (("a",), ("a", "b")):
        found = {key: one for key, one in (("a", value), ("b", other)) if key in shape.keys and one is not None}
        item = {"c": 1, "b": other, "a": value}
        assert item_element(shape, item) == "k:" + json.dumps(found, separators=(",", ":"), ensure_ascii=False)
