# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON patch, merge patch and strategic merge patch: laws, directives, and refusals as recorded."""
from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.negotiation import (
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.patches import (
    apply_patch,
    json_patch,
    merge_patch,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import StatusError

from .recordings import Object, answer, kind, recorded

CONFIG_MAPS, DEPLOYMENTS, NODES, PODS = kind("", "configmaps"), kind("apps", "deployments"), kind("", "nodes"), kind("", "pods")

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
documents = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc/~"), inner, max_size=3), max_leaves=8)
objects = st.dictionaries(st.sampled_from("abc"), documents, max_size=3)


def has_null(value: t.Any) -> bool:
    if isinstance(value, dict):
        return any(item is None or has_null(item) for item in value.values())
    return False


@given(objects, objects)
def test_a_merge_patch_applied_twice_is_applied_once(target: Object, patch: Object) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@given(objects, objects)
def test_a_merge_patch_into_nothing_is_itself_without_nulls(target: Object, patch: Object) -> None:
    made = merge_patch({}, patch)
    assert not has_null(made)
    if not has_null(patch):
        assert made == patch


@given(documents, objects)
def test_a_merge_patch_leaves_its_target_alone(target: t.Any, patch: Object) -> None:
    before = copy.deepcopy(target)
    merge_patch(target, patch)
    assert target == before


@given(st.dictionaries(st.sampled_from("abc"), documents, max_size=3), st.sampled_from(["d", "e/f", "g~h"]), documents)
def test_add_then_test_then_remove_is_nothing(document: Object, key: str, value: t.Any) -> None:
    before = copy.deepcopy(document)
    path = "/" + key.replace("~", "~0").replace("/", "~1")
    operations = [{"op": "add", "path": path, "value": value}, {"op": "test", "path": path, "value": value}, {"op": "remove", "path": path}]
    assert json_patch(document, operations) == before
    assert document == before


@given(st.lists(st.integers(), min_size=1), st.data())
def test_move_there_and_back(items: list[int], data: st.DataObject) -> None:
    first, second = (data.draw(st.integers(0, len(items) - 1)) for dummy in range(2))
    there = {"op": "move", "from": f"/a/{first}", "path": f"/a/{second}"}
    back = {"op": "move", "from": f"/a/{second}", "path": f"/a/{first}"}
    assert json_patch({"a": items}, [there, back]) == {"a": items}


@pytest.mark.parametrize("operation", [
    {"op": "test", "path": "/data/k", "value": "nope"}, {"op": "replace", "path": "/nope/k", "value": "x"}, {"op": "remove", "path": "/data/x"},
    {"op": "add", "path": "/data/k/x", "value": 1}, {"op": "add", "path": "no", "value": 1}, {"op": "fly", "path": "/data"}, {"op": "add"},
    {"op": "test", "path": "/data/n", "value": True}, {"op": "add", "path": "/list/7", "value": 1}, {"op": "copy", "from": "/x", "path": "/y"}])
def test_an_operation_that_does_not_fit_is_refused_as_recorded(operation: Object) -> None:
    with pytest.raises(StatusError) as refused:
        apply_patch(JSON_PATCH, {"data": {"k": "v2", "n": 1}, "list": []}, [operation], CONFIG_MAPS)
    assert refused.value.to_status() == answer("errors/422-json-patch-test")


def test_a_broken_merge_patch_is_refused_as_recorded() -> None:
    body = recorded("errors/400-merge-patch-syntax")["request"]["body_raw"]
    with pytest.raises(StatusError) as refused:
        apply_patch(MERGE_PATCH, {}, body.encode(), CONFIG_MAPS)
    assert refused.value.to_status() == answer("errors/400-merge-patch-syntax")


@pytest.mark.parametrize(("media", "body", "message"), [
    (JSON_PATCH, b'{"op":"replace"}', "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
    (MERGE_PATCH, b"[]", "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"),
])
def test_a_patch_of_another_shape(media: str, body: bytes, message: str) -> None:
    with pytest.raises(StatusError) as refused:
        apply_patch(media, {}, body, CONFIG_MAPS)
    assert (refused.value.code, refused.value.message) == (400, message)


def test_cordon_and_uncordon_as_kubectl_does() -> None:
    node: Object = {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}
    cordoned = apply_patch(STRATEGIC_PATCH, node, b'{"spec":{"unschedulable":true}}', NODES)
    assert cordoned["spec"] == {**node["spec"], "unschedulable": True}
    assert apply_patch(STRATEGIC_PATCH, cordoned, b'{"spec":{"unschedulable":null}}', NODES) == node


def conditions(*types: str) -> list[Object]:
    return [{"type": one, "status": "True"} for one in types]


def test_lists_merge_by_the_key_of_their_type() -> None:
    pod: Object = {"status": {"conditions": conditions("A", "B")}}
    patch: Object = {"status": {"conditions": [{"type": "B", "status": "False"}, {"type": "C", "status": "True"}]}}
    merged = apply_patch(STRATEGIC_PATCH, pod, patch, PODS)["status"]["conditions"]
    assert merged == [{"type": "A", "status": "True"}, {"type": "B", "status": "False"}, {"type": "C", "status": "True"}]


def test_lists_without_a_key_are_replaced() -> None:
    pod: Object = {"spec": {"tolerations": [{"key": "a"}]}}
    assert apply_patch(STRATEGIC_PATCH, pod, {"spec": {"tolerations": [{"key": "b"}]}}, PODS)["spec"]["tolerations"] == [{"key": "b"}]


def deployment(*containers: Object) -> Object:
    return {"spec": {"template": {"spec": {"containers": list(containers)}}}}


def test_directives() -> None:
    original = deployment({"name": "a", "image": "1"}, {"name": "b", "image": "2"})
    before = copy.deepcopy(original)
    patch: Object = {"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
        "containers": [{"name": "a", "image": "9"}, {"name": "b", "$patch": "delete"}, {"name": "c", "image": "3", "command": None}]}}}}
    patched = apply_patch(STRATEGIC_PATCH, original, patch, DEPLOYMENTS)
    assert patched == deployment({"name": "c", "image": "3"}, {"name": "a", "image": "9"})
    assert original == before
    replaced = apply_patch(STRATEGIC_PATCH, original, deployment({"$patch": "replace"}, {"name": "z"}), DEPLOYMENTS)
    assert replaced == deployment({"name": "z"})


def test_primitive_lists_and_retained_keys() -> None:
    original: Object = {"metadata": {"finalizers": ["x", "y"]}, "spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch: Object = {
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["x"], "finalizers": ["z"], "$setElementOrder/finalizers": ["z", "y"]},
        "spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    patched = apply_patch(STRATEGIC_PATCH, original, patch, DEPLOYMENTS)
    assert patched == {"metadata": {"finalizers": ["z", "y"]}, "spec": {"strategy": {"type": "Recreate"}}}


def test_what_the_client_does_not_know_keeps_its_place() -> None:
    original = deployment(*({"name": name} for name in "abcd"))
    patch: Object = {"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "d"}, {"name": "a"}], "containers": []}}}}
    names = [one["name"] for one in apply_patch(STRATEGIC_PATCH, original, patch, DEPLOYMENTS)["spec"]["template"]["spec"]["containers"]]
    assert names.index("d") < names.index("a")
    assert names.index("b") < names.index("c")


def test_an_item_without_its_key_is_refused() -> None:
    with pytest.raises(StatusError, match=r"map: map\[image:x\] does not contain declared merge key: name"):
        apply_patch(STRATEGIC_PATCH, deployment(), deployment({"image": "x"}), DEPLOYMENTS)


@given(st.lists(st.sampled_from("abcd"), unique=True), st.lists(st.sampled_from("abcdef"), unique=True))
def test_a_strategic_patch_applied_twice_is_applied_once(first: list[str], second: list[str]) -> None:
    original = deployment(*({"name": name, "image": "1"} for name in first))
    patch = deployment(*({"name": name, "image": "2"} for name in second))
    once = apply_patch(STRATEGIC_PATCH, original, patch, DEPLOYMENTS)
    assert apply_patch(STRATEGIC_PATCH, once, patch, DEPLOYMENTS) == once
    assert {one["name"] for one in once["spec"]["template"]["spec"]["containers"]} == {*first, *second}
