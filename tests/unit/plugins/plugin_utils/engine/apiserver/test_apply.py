# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""managedFields and server-side apply, against what a real server recorded."""
from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.apply import apply, path_text
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.custom_resources import kinds_of
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.managed_fields import track_update
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import StatusError

from .recordings import GADGET, Object, answer, kind, kind_of, recorded

CONFIG_MAPS = kind("", "configmaps")


def configuration(data: Object, name: str = "s") -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def managers(obj: Object) -> dict[str, Object]:
    return {entry["manager"]: entry for entry in obj["metadata"]["managedFields"]}


@pytest.mark.parametrize("case", [
    "objects/201-create-deployment", "objects/201-dryrun-create", "misc/201-lease-create", "eviction/201-create-pdb", "errors/201-generate-name",
    "errors/201-put-lease-create-on-update", "errors/200-put-no-rv"])
def test_a_created_object_is_owned_as_recorded(case: str) -> None:
    obj = answer(case)
    expected = obj["metadata"].pop("managedFields")
    assert track_update(kind_of(obj), None, obj, "unknown", "", expected[0]["time"]) == expected


def test_a_custom_resource_is_owned_as_recorded() -> None:
    gadgets = next(iter(kinds_of(GADGET)))
    listed = answer("misc/200-cr-selectable")["items"][0]
    expected = listed["metadata"].pop("managedFields")
    time = expected[0]["time"]
    created = {**listed, "metadata": {"name": "g1"}, "spec": {"color": "red", "size": 3}}
    del created["status"]
    steps = [
        ("", {**created, "spec": {"color": "red", "size": 4}}),
        ("", {**created, "spec": {"color": "red", "size": 4}, "metadata": {"name": "g1", "labels": {"a": "b"}}}),
        ("status", {**listed, "metadata": {"name": "g1", "labels": {"a": "b"}}}),
    ]
    before, entries = created, track_update(gadgets, None, created, "unknown", "", time)
    for subresource, after in steps:
        before = {**before, "metadata": {**before["metadata"], "managedFields": entries}}
        entries = track_update(gadgets, before, copy.deepcopy(after), "unknown", subresource, time)
        before = after
    assert entries == [{**entry} for entry in expected]


def test_the_recorded_story_of_two_appliers() -> None:
    create, remove = answer("ssa/201-create"), answer("ssa/200-remove")
    time = create["metadata"]["managedFields"][0]["time"]
    obj = apply(CONFIG_MAPS, None, configuration({"a": "1", "b": "1"}), "m1", timestamp=time)
    assert obj["metadata"]["managedFields"] == create["metadata"]["managedFields"]
    again = apply(CONFIG_MAPS, obj, configuration({"a": "1", "b": "1"}), "m1", timestamp="later")
    assert again == obj
    obj = apply(CONFIG_MAPS, obj, configuration({"a": "1"}), "m2", timestamp=time)
    with pytest.raises(StatusError) as refused:
        apply(CONFIG_MAPS, obj, configuration({"b": "2", "a": "9"}), "m2")
    assert refused.value.to_status() == answer("ssa/409-conflict")
    obj = apply(CONFIG_MAPS, obj, configuration({"b": "2", "a": "9"}), "m2", force=True, timestamp=time)
    obj = apply(CONFIG_MAPS, obj, configuration({}), "m1", timestamp=time)
    assert obj["data"] == remove["data"]
    assert obj["metadata"]["managedFields"] == remove["metadata"]["managedFields"]


def test_an_updater_is_named_with_its_version() -> None:
    obj = apply(CONFIG_MAPS, None, configuration({"a": "1"}), "m1")
    after = copy.deepcopy(obj)
    after["data"]["a"] = "2"
    after["metadata"]["managedFields"] = track_update(CONFIG_MAPS, obj, after, "kubectl-edit", "", "t")
    with pytest.raises(StatusError, match=r'1 conflict: conflict with "kubectl-edit" using v1: \.data\.a$'):
        apply(CONFIG_MAPS, after, configuration({"a": "1"}), "m1")


def test_managed_fields_may_not_be_applied() -> None:
    body = {**configuration({}), "metadata": {"name": "s", "managedFields": [{"manager": "x"}]}}
    with pytest.raises(StatusError) as refused:
        apply(CONFIG_MAPS, None, body, "m")
    assert refused.value.to_status() == answer("ssa/400-managed-fields")


def test_labels_that_are_text_are_refused_as_recorded() -> None:
    case = recorded("kv-rbac-doc/500-malformed-apply-ssa", "kubevirt-1.4.1")
    body = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": [],
            "metadata": {"name": "kubevirt.io:upgrademigrate", "labels": "rbac.authorization.k8s.io/aggregate-to-admin=true"}}
    with pytest.raises(StatusError) as refused:
        apply(kind("rbac.authorization.k8s.io", "clusterroles"), None, body, "doc")
    assert refused.value.to_status() == case["response"]["body"]


def container(name: str, **more: t.Any) -> Object:
    return {"name": name, "image": "i", **more}


def deployment(*containers: Object) -> Object:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"spec": {"containers": list(containers)}}}}


def test_items_with_keys_have_owners_of_their_own() -> None:
    deployments = kind("apps", "deployments")
    obj = apply(deployments, None, deployment(container("a"), container("b")), "m1")
    obj = apply(deployments, obj, deployment(container("c", ports=[{"containerPort": 80}])), "m2")
    assert [one["name"] for one in obj["spec"]["template"]["spec"]["containers"]] == ["a", "b", "c"]
    obj = apply(deployments, obj, deployment(container("b")), "m1")
    assert [one["name"] for one in obj["spec"]["template"]["spec"]["containers"]] == ["b", "c"]
    ports = managers(obj)["m2"]["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"c"}']["f:ports"]
    assert list(ports) == ['k:{"containerPort":80,"protocol":"TCP"}']
    with pytest.raises(StatusError, match=r'\.spec\.template\.spec\.containers\[name="c"\]\.image'):
        apply(deployments, obj, deployment({"name": "c", "image": "other"}), "m3")


def test_what_another_updates_within_my_item_keeps_the_item() -> None:
    deployments = kind("apps", "deployments")
    obj = apply(deployments, None, deployment(container("a"), container("b")), "m1")
    after = copy.deepcopy(obj)
    after["spec"]["template"]["spec"]["containers"][1]["workingDir"] = "/x"
    after["metadata"]["managedFields"] = track_update(deployments, obj, after, "editor", "", "t")
    obj = apply(deployments, after, deployment(container("a")), "m1")
    assert obj["spec"]["template"]["spec"]["containers"][1] == {"name": "b", "workingDir": "/x"}


def test_a_selector_is_one_value() -> None:
    deployments = kind("apps", "deployments")
    body = {**deployment(container("a")), "spec": {"selector": {"matchLabels": {"a": "b"}}}}
    obj = apply(deployments, None, body, "m1")
    assert managers(obj)["m1"]["fieldsV1"] == {"f:spec": {"f:selector": {}}}


def test_status_is_nobodys_through_the_main_resource() -> None:
    deployments = kind("apps", "deployments")
    obj = apply(deployments, None, {**deployment(container("a")), "status": {"replicas": 1}}, "m1")
    assert "f:status" not in managers(obj)["m1"]["fieldsV1"]


def test_path_text() -> None:
    path = ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:name")
    assert path_text(path) == '.spec.ports[port=80,protocol="TCP"].name'
    assert path_text(("f:metadata", "f:finalizers", 'v:"x"')) == '.metadata.finalizers[="x"]'


data = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"), max_size=6)


@given(data)
def test_applying_twice_changes_nothing(values: dict[str, str]) -> None:
    once = apply(CONFIG_MAPS, None, configuration(values), "m", timestamp="t1")
    assert apply(CONFIG_MAPS, once, configuration(values), "m", timestamp="t2") == once


@given(data, data)
def test_managers_of_different_fields_never_conflict(first: dict[str, str], second: dict[str, str]) -> None:
    other = {key: value for key, value in second.items() if key not in first}
    obj = apply(CONFIG_MAPS, None, configuration(first), "m1")
    obj = apply(CONFIG_MAPS, obj, configuration(other), "m2")
    assert obj["data"] == {**first, **other}


@given(data, data, data)
def test_what_a_manager_no_longer_sends_goes_unless_another_owns_it(first: dict[str, str], then: dict[str, str], other: dict[str, str]) -> None:
    theirs = {key: first.get(key, value) for key, value in other.items()}
    obj = apply(CONFIG_MAPS, None, configuration(first), "m1")
    obj = apply(CONFIG_MAPS, obj, configuration(theirs), "m2")
    obj = apply(CONFIG_MAPS, obj, configuration(then), "m1", force=True)
    assert obj["data"] == {**theirs, **then}


def test_an_unknown_field_of_a_core_kind_is_named_with_its_version() -> None:
    with pytest.raises(StatusError) as refused:
        apply(CONFIG_MAPS, None, {**configuration({}), "nope": 1}, "m")
    assert (refused.value.code, refused.value.message) == (
        500, "failed to create typed patch object (/s; /v1, Kind=ConfigMap): .nope: field not declared in schema")
