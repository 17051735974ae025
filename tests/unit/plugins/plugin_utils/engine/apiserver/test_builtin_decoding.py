# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read in a hurry is what the decoder reads that knows where it is: over every recorded object, and over each with something wrong in it."""
from __future__ import annotations

import copy
import functools
import json
import typing as t

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver import builtin_decoding
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.builtin_decoding import DecodeError, read_object
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.builtin_types import type_named

from .recordings import RECORDED, registry

Object = dict[str, t.Any]
ODD: tuple[t.Any, ...] = (None, [], {}, "", 0, 1, -1, 2 ** 40, 1.5, 2.0, True, False, "x", "1Gi", "2026-01-01T00:00:00Z", [None], {"a": None}, {"a": "b"})


@functools.cache
def objects() -> list[tuple[str, Object]]:
    """The built-in objects of every recorded answer, with the names of their types."""
    found: list[tuple[str, Object]] = []
    for path in sorted(RECORDED.rglob("*.json")):
        recorded = json.loads(path.read_bytes())
        body = (recorded.get("response") or {}).get("body") if isinstance(recorded, dict) else None
        if not isinstance(body, dict):
            continue
        for one in body.get("items") or [body]:
            if isinstance(one, dict) and one.get("kind") and one.get("apiVersion"):
                group, dummy, version = one["apiVersion"].rpartition("/")
                kind = registry().lookup_kind(group, version, one["kind"])
                if kind is not None and kind.type_name:
                    found.append((kind.type_name, one))
    return found


def carefully(type_name: str, obj: Object) -> t.Any:
    found = type_named(type_name)
    assert found is not None
    decoder = builtin_decoding._Decoder()
    return decoder.struct(found, obj, "", ""), decoder.unknown


def outcome(read: t.Callable[[str, Object], t.Any], type_name: str, obj: Object) -> t.Any:
    try:
        return read(type_name, obj)
    except DecodeError as error:
        return str(error)


def places(value: t.Any) -> t.Iterator[tuple[t.Any, t.Any]]:
    """Every container in a value with each of its keys."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


def test_recorded_objects_are_read_the_same() -> None:
    assert len(objects()) > 90
    assert {"core.v1.Pod", "core.v1.Node", "policy.v1.PodDisruptionBudget"} <= {name for name, _obj in objects()}
    for name, obj in objects():
        assert json.dumps(read_object(name, obj)) == json.dumps(carefully(name, obj))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_what_is_wrong_is_told_the_same(data: st.DataObject) -> None:
    name, recorded = data.draw(st.sampled_from(objects()), label="object")
    obj = copy.deepcopy(recorded)
    where = [*places(obj)]
    for dummy in range(data.draw(st.integers(1, 3))):
        container, key = where[data.draw(st.integers(0, len(where) - 1))]
        if (key in container) if isinstance(container, dict) else key < len(container):
            container[key] = data.draw(st.sampled_from(ODD))
    assert json.dumps(outcome(read_object, name, obj)) == json.dumps(outcome(carefully, name, obj))


def with_parts_of(value: t.Any, stored: t.Any) -> t.Any:
    """An equal value in which whatever is in its place in the stored one too is that very part."""
    if json.dumps(value) == json.dumps(stored):
        return stored
    if isinstance(value, dict) and isinstance(stored, dict):
        return {key: with_parts_of(below, stored[key]) if key in stored else below for key, below in value.items()}
    if isinstance(value, list) and isinstance(stored, list):
        return [with_parts_of(below, stored[index]) if index < len(stored) else below for index, below in enumerate(value)]
    return value


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_is_stored_already_is_read_the_same(data: st.DataObject) -> None:
    name, recorded = data.draw(st.sampled_from(objects()), label="object")
    stored = read_object(name, recorded)[0]
    before, obj = copy.deepcopy(stored), copy.deepcopy(stored)
    where = [*places(obj)]
    for dummy in range(data.draw(st.integers(0, 3))):
        container, key = where[data.draw(st.integers(0, len(where) - 1))]
        if (key in container) if isinstance(container, dict) else key < len(container):
            container[key] = data.draw(st.sampled_from(ODD))
    known = outcome(lambda type_name, some: read_object(type_name, some, stored), name, with_parts_of(obj, stored))
    assert json.dumps(known) == json.dumps(outcome(read_object, name, obj))
    assert stored == before
