# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""FieldsV1 that is added to or taken from is what it would be if it were made anew."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver import field_trees
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.field_trees import (
    Path,
    Tree,
    decode_fields,
    encode_fields,
    forget_nodes,
    with_fields,
    without_fields,
)

PATHS = st.frozensets(st.lists(st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"']), min_size=1, max_size=4).map(tuple), max_size=12)


@given(PATHS)
def test_there_and_back(paths: frozenset[Path]) -> None:
    assert decode_fields(encode_fields(paths)) == paths


@given(PATHS, PATHS)
def test_what_is_added(paths: frozenset[Path], more: frozenset[Path]) -> None:
    tree, text = encode_fields(paths), json.dumps(encode_fields(paths))
    edited = with_fields(tree, encode_fields(more))
    assert json.dumps(edited) == json.dumps(encode_fields(paths | more))
    assert json.dumps(tree) == text
    assert (edited is tree) == (more <= paths)


@given(PATHS, PATHS)
def test_what_is_removed(paths: frozenset[Path], some: frozenset[Path]) -> None:
    tree, text = encode_fields(paths), json.dumps(encode_fields(paths))
    edited = without_fields(tree, encode_fields(some))
    assert json.dumps(edited) == json.dumps(encode_fields(paths - some))
    assert json.dumps(tree) == text
    assert (edited is tree) == paths.isdisjoint(some)


@given(PATHS, PATHS)
def test_what_a_client_sent_is_as_good_as_our_own(paths: frozenset[Path], others: frozenset[Path]) -> None:
    sent = json.loads(json.dumps(encode_fields(paths)))
    assert decode_fields(with_fields(sent, encode_fields(others))) == paths | others
    assert decode_fields(without_fields(sent, encode_fields(others))) == paths - others


@given(PATHS, PATHS)
def test_objects_that_are_owned_alike_share_a_tree(paths: frozenset[Path], more: frozenset[Path]) -> None:
    # Else the nodes of other tests may use up the number that is remembered, in the middle of this one.
    forget_nodes()
    assert with_fields(encode_fields(paths), encode_fields(more)) is encode_fields(paths | more)
    assert without_fields(encode_fields(paths), encode_fields(more)) is encode_fields(paths - more)


@given(PATHS, PATHS)
def test_trees_from_before_the_nodes_were_forgotten_are_as_good_as_new_ones(paths: frozenset[Path], others: frozenset[Path]) -> None:
    older, same = encode_fields(paths), encode_fields(others)
    forget_nodes()
    assert json.dumps(with_fields(older, encode_fields(others))) == json.dumps(encode_fields(paths | others))
    assert json.dumps(without_fields(older, encode_fields(others))) == json.dumps(encode_fields(paths - others))
    assert (with_fields(older, same) is older) == (others <= paths)


def test_the_nodes_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_trees, "_NODES_LIMIT", 10)
    forget_nodes()
    texts = [json.dumps(encode_fields([("f:spec", f"f:{number}", "f:x")])) for number in range(50)]
    assert texts == [json.dumps({"f:spec": {f"f:{number}": {"f:x": {}}}}) for number in range(50)]
    assert len(field_trees._nodes) <= 10


def test_the_usual_form() -> None:
    paths = frozenset({("f:metadata", "f:labels"), ("f:metadata", "f:labels", "f:a"), ("f:spec", "f:x")})
    assert encode_fields(paths) == {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {"f:x": {}}}


def test_a_tree_that_says_of_a_leaf_that_it_is_in_the_set() -> None:
    tree: Tree = {"f:a": {".": {}}, "f:b": {}}
    assert without_fields(tree, encode_fields([("f:a",)])) == {"f:b": {}}
    assert with_fields(tree, encode_fields([("f:a", "f:c")])) == {"f:a": {".": {}, "f:c": {}}, "f:b": {}}
