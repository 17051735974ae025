# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.store.stored import copy_changed, copy_json

values = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.sampled_from("abc"), inner, max_size=3), max_leaves=8)


@given(values, values)
def test_a_copy_is_equal_whatever_is_known(value: t.Any, known: t.Any) -> None:
    before = copy.deepcopy(known)
    assert copy_changed(value, known) == value
    assert known == before


def test_what_is_known_is_kept_and_all_else_copied() -> None:
    known: dict[str, t.Any] = {"conditions": [{"type": "Ready"}, {"type": "Paused"}], "nodes": {"a": {"b": [1]}}, "phase": "Running"}
    changed, inner = {"type": "Ready", "status": "True"}, {"new": [2]}
    made = copy_changed({**known, "conditions": [changed, known["conditions"][1]], "nodes": {**known["nodes"], "c": inner}}, known)
    assert made["conditions"][1] is known["conditions"][1]
    assert made["nodes"]["a"] is known["nodes"]["a"]
    changed["type"] = "Gone"
    inner["new"].append(3)
    assert made["conditions"][0] == {"type": "Ready", "status": "True"}
    assert made["nodes"]["c"] == {"new": [2]}


@pytest.mark.parametrize("value", [{"a": object()}, {"a": {"b": {1, 2}}}, 2**70])
def test_what_is_no_json_is_refused_in_both(value: t.Any) -> None:
    with pytest.raises(TypeError):
        copy_json(value)
    with pytest.raises(TypeError):
        copy_changed(value, {"a": {"b": 1}})
