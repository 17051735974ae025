# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""FieldsV1 that is edited is what it would be if it were made anew."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.managed_fields import (
    Path,
    decode_fields,
    encode_fields,
    item_element,
    track_update,
    with_paths,
    without_paths,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.shapes import Shape
from ansible_collections.okd.virt.plugins.plugin_utils.engine.builtin_kinds import builtin_kinds

PATHS = st.frozensets(st.lists(st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"']), min_size=1, max_size=4).map(tuple), max_size=12)


@given(PATHS)
def test_there_and_back(paths: frozenset[Path]) -> None:
    assert decode_fields(encode_fields(paths)) == paths


@given(PATHS, PATHS)
def test_what_is_added(paths: frozenset[Path], more: frozenset[Path]) -> None:
    edited = with_paths(encode_fields(paths), more)
    assert json.dumps(edited) == json.dumps(encode_fields(paths | more))


@given(PATHS, PATHS)
def test_what_is_removed(paths: frozenset[Path], some: frozenset[Path]) -> None:
    edited = without_paths(encode_fields(paths), some)
    assert json.dumps(edited) == json.dumps(encode_fields(paths - some))


def test_the_usual_form() -> None:
    paths = frozenset({("f:metadata", "f:labels"), ("f:metadata", "f:labels", "f:a"), ("f:spec", "f:x")})
    assert encode_fields(paths) == {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {"f:x": {}}}


@given(st.one_of(st.text(), st.integers(), st.booleans()))
def test_items_are_named_by_their_json(value: str | int | bool) -> None:
    assert item_element(Shape(), value) == "v:" + json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def test_nobody_owns_what_an_event_was_filled_up_with() -> None:
    kind = next(kind for kind in builtin_kinds() if kind.type_name == "core.v1.Event")
    event = {
        "metadata": {"name": "a", "namespace": "b"}, "reason": "Migrated", "count": 1, "source": {"component": "virt-handler"},
        "eventTime": None, "reportingComponent": "virt-handler", "reportingInstance": "",
    }  # fmt: skip
    (entry,) = track_update(kind, None, event, "virt-handler", "", "2026-01-01T00:00:00Z")
    assert sorted(entry["fieldsV1"]) == ["f:count", "f:reason", "f:reportingComponent", "f:source"]
