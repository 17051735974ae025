# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies and options that the real server refuses are refused in its words."""
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.decoding import check_type, decode, load_yaml
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.options import (
    DeleteOptions,
    ListOptions,
    WriteOptions,
    resource_version,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.request import Query
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import StatusError
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kinds import Kind

CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps", "configmap", namespaced=True)
INSTANCE = Kind("kubevirt.io", "v1", "VirtualMachineInstance", "virtualmachineinstances", "vmi", namespaced=True, custom=True)
UNRECOGNIZED = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: "


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"kind":', UNRECOGNIZED + 'unexpected end of JSON input ({"kind":)'),
        (b"", UNRECOGNIZED + "unexpected end of JSON input (<empty>)"),
        (b"x", UNRECOGNIZED + "invalid character 'x' looking for beginning of value (78)"),
        (b'{"a":1}}', UNRECOGNIZED + "invalid character '}' after top-level value ({\"a\":1}})"),
        (b'{"a" 1}', UNRECOGNIZED + "invalid character '1' after object key ({\"a\" 1})"),
        (b'{"a":1 "b"}', UNRECOGNIZED + "invalid character '\"' after object key:value pair ({\"a\":1 \"b\"})"),
        (b"{a:1}", UNRECOGNIZED + "invalid character 'a' looking for beginning of object key string ({a:1})"),
        (
            b"[]",
            UNRECOGNIZED + "json: cannot unmarshal array into Go value of type struct { APIVersion string "
            '"json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" } (5b5d)',
        ),
    ],
)
def test_broken_json(body: bytes, text: str) -> None:
    with pytest.raises(StatusError) as caught:
        decode(body, "application/json", CONFIG_MAP)
    assert (caught.value.code, caught.value.message) == (400, text)


@pytest.mark.parametrize(
    ("kind", "obj", "text"),
    [
        (
            CONFIG_MAP, {"kind": "Pod", "apiVersion": "v1"},
            'Pod in version "v1" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion',
        ),
        (
            CONFIG_MAP, {"kind": "ConfigMap", "apiVersion": "v9"},
            'ConfigMap in version "v9" cannot be handled as a ConfigMap: no kind "ConfigMap" is registered for version "v9" in scheme '
            '"pkg/runtime/scheme.go:111"',
        ),
        (
            INSTANCE, {"kind": "ConfigMap", "apiVersion": "v1"},
            "the API version in the data (v1) does not match the expected API version (kubevirt.io/v1)",
        ),
    ],
)
def test_the_wrong_type(kind: Kind, obj: dict[str, str], text: str) -> None:
    with pytest.raises(StatusError) as caught:
        check_type(obj, kind)
    assert (caught.value.code, caught.value.message) == (400, text)


def test_a_built_in_kind_is_taken_from_the_path_a_custom_one_is_not() -> None:
    obj: dict[str, object] = {"metadata": {}}
    check_type(obj, CONFIG_MAP)
    assert (obj["kind"], obj["apiVersion"]) == ("ConfigMap", "v1")
    body = b'{"metadata": {"name": "nokind"}}'
    with pytest.raises(StatusError) as caught:
        check_type(json.loads(body), INSTANCE, body)
    assert caught.value.message == (
        "the object provided is unrecognized (must be of type VirtualMachineInstance): Object 'Kind' is missing in "
        "'{\"metadata\": {\"name\": \"nokind\"}}' ({\"metadata\": {\"name\": \"nokind\" ...)"
    )


def test_keys_that_come_twice_are_found_where_they_are() -> None:
    body = b'{"data":{"a":"1","a":"2"},"items":[{"b":1},{"c":{"d":1,"d":2,"d":3}}],"data2":{}}'
    assert decode(body, "application/json", CONFIG_MAP)[1] == ["data.a", "items[1].c.d", "items[1].c.d"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON), st.sampled_from([None, 1]), st.booleans())
def test_every_object_is_read_as_it_was_written(value: dict[str, object], indent: int | None, ascii_only: bool) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert decode(body, "application/json; charset=utf-8", CONFIG_MAP) == (value, [])


def test_yaml_keeps_times_as_text() -> None:
    assert load_yaml(b"a: 2026-11-23T10:18:49Z\nb: 'true'\nc: true\n") == {"a": "2026-11-23T10:18:49Z", "b": "true", "c": True}
    with pytest.raises(ValueError, match="error converting YAML to JSON"):
        load_yaml(b"a: [")
    assert decode(b"kind: ConfigMap\nmetadata: {name: x}\n", "application/yaml", CONFIG_MAP)[0]["metadata"] == {"name": "x"}
    with pytest.raises(StatusError) as caught:
        decode(b"x", "text/plain", CONFIG_MAP)
    assert caught.value.code == 415


@pytest.mark.parametrize(
    ("query", "watch", "code"),
    [
        ("limit=abc", False, 400), ("timeoutSeconds=x", False, 400), ("resourceVersionMatch=Exact", False, 422),
        ("resourceVersion=1&resourceVersionMatch=Nope", False, 422), ("resourceVersion=0&resourceVersionMatch=Exact", False, 422),
        ("sendInitialEvents=true", False, 422), ("sendInitialEvents=true", True, 422),
        ("resourceVersionMatch=NotOlderThan&resourceVersion=1", True, 422),
    ],
)
def test_options_of_a_list(query: str, watch: bool, code: int) -> None:
    with pytest.raises(StatusError) as caught:
        ListOptions.of(Query(query), watch)
    assert caught.value.code == code


def test_the_manager_of_a_write() -> None:
    def manager(query: str, agent: str) -> str:
        return WriteOptions.of("create", Query(query), "application/json", agent).field_manager

    assert manager("", "") == "unknown"
    assert manager("", "kubectl/v1.32.0 (linux/amd64)") == "kubectl"
    assert manager("fieldManager=me", "kubectl/v1.32.0") == "me"
    with pytest.raises(StatusError, match="is required for apply patch"):
        WriteOptions.of("patch", Query(""), "application/apply-patch+yaml", "kubectl/v1")
    with pytest.raises(StatusError, match="may not be specified for non-apply patch"):
        WriteOptions.of("patch", Query("force=true"), "application/merge-patch+json", "kubectl/v1")


def test_options_of_a_delete_come_from_the_body_or_the_query() -> None:
    body = json.dumps({"propagationPolicy": "Orphan", "gracePeriodSeconds": 0, "preconditions": {"uid": "u"}}).encode()
    assert DeleteOptions.of(Query("propagationPolicy=Foreground"), body) == DeleteOptions(0, "u", "", "Orphan", False)
    assert DeleteOptions.of(Query("propagationPolicy=Foreground&dryRun=All"), b"") == DeleteOptions(None, "", "", "Foreground", True)
    assert DeleteOptions.of(Query(""), {"orphanDependents": True}).propagation == "Orphan"
    for wrong in (b'{"propagationPolicy":"Nope"}', b'{"orphanDependents":true,"propagationPolicy":"Orphan"}', b'{"dryRun":["x"]}'):
        with pytest.raises(StatusError) as caught:
            DeleteOptions.of(Query(""), wrong)
        assert caught.value.code == 422


def test_a_version_is_a_number() -> None:
    assert (resource_version(""), resource_version("0"), resource_version("17")) == (0, 0, 17)
    with pytest.raises(StatusError) as caught:
        resource_version("abc")
    assert caught.value.to_status() == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 500,
        "message": 'resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax',
    }
