# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Discovery, OpenAPI, Tables and custom kinds, against what a real server recorded."""
from __future__ import annotations

import datetime
import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver import discovery, json_path, tables
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.custom_resources import (
    CustomResources,
    condition,
    kinds_of,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.clock import make_clock
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import PlainError, StatusError
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kinds import Registry, version_priority
from ansible_collections.okd.virt.plugins.plugin_utils.engine.store.store import Store

from .recordings import GADGET, Object, answer, kind, recorded, registry

AGGREGATED = recorded("discovery/200-aggregated-api")["request"]["headers"]["Accept"]
# What no client of this collection asks for.
NOT_SERVED = {"componentstatuses"}


def document(path: str, accept: str = "application/json") -> Object:
    return t.cast(Object, json.loads(discovery.document(path, accept, registry()).body))


@pytest.mark.parametrize(("path", "case"), [
    ("/api/v1", "200-api-v1"), ("/apis/apps/v1", "200-apis-apps-v1"), ("/apis/coordination.k8s.io/v1", "200-apis-coordination-v1")])
def test_resources_are_listed_as_recorded(path: str, case: str) -> None:
    expected = answer(f"discovery/{case}")
    served = [one for one in expected["resources"] if one["name"] not in NOT_SERVED]
    assert document(path) == {**expected, "resources": served}


@pytest.mark.parametrize(("path", "case"), [("/api", "200-aggregated-api"), ("/apis", "200-aggregated-apis")])
def test_aggregated_discovery_lists_what_is_served_as_recorded(path: str, case: str) -> None:
    expected = answer(f"discovery/{case}")
    by_name = {
        (item["metadata"].get("name", ""), version["version"], resource["resource"]): resource
        for item in expected["items"] for version in item["versions"] for resource in version["resources"]
    }
    made = document(path, AGGREGATED)
    assert {key: value for key, value in made.items() if key != "items"} == {key: value for key, value in expected.items() if key != "items"}
    resources = [
        ((item["metadata"].get("name", ""), version["version"], resource["resource"]), resource)
        for item in made["items"] for version in item["versions"] for resource in version["resources"]
    ]
    assert len(resources) > 15
    assert all(by_name[name] == resource for name, resource in resources)
    order = [item["metadata"].get("name", "") for item in expected["items"]]
    names = [item["metadata"].get("name", "") for item in made["items"]]
    assert names == [name for name in order if name in names]


def test_aggregated_discovery_is_not_sent_twice() -> None:
    first = discovery.document("/api", AGGREGATED, registry())
    assert first.content_type == dict(recorded("discovery/200-aggregated-api")["response"]["headers"])["Content-Type"]
    again = discovery.document("/api", AGGREGATED, registry(), first.headers["Etag"])
    assert (again.status, again.body, again.headers["Etag"]) == (304, b"", first.headers["Etag"])


def test_the_etag_follows_the_registry() -> None:
    own = Registry()
    before = discovery.document("/apis", AGGREGATED, own).headers["Etag"]
    own.add_custom(GADGET)
    after = discovery.document("/apis", AGGREGATED, own).headers["Etag"]
    own.remove_custom(GADGET)
    assert after != before
    assert discovery.document("/apis", AGGREGATED, own).headers["Etag"] == before


@pytest.mark.parametrize(("path", "kind_of_error"), [("/apis/nope.example.com/v1", PlainError), ("/apis/policy/v9", StatusError), ("/nope", PlainError)])
def test_unknown_paths(path: str, kind_of_error: type[StatusError]) -> None:
    with pytest.raises(kind_of_error) as refused:
        document(path)
    assert refused.value.code == 404
    if kind_of_error is StatusError:
        assert refused.value.to_status() == answer("discovery/404-group-version-unknown")


def test_openapi_says_what_kubectl_looks_for() -> None:
    index = document("/openapi/v3")["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/rbac.authorization.k8s.io/v1"} <= index.keys()
    path = index["apis/apps/v1"]["serverRelativeURL"].partition("?")[0]
    made = document(path)
    patch = made["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert {"fieldValidation", "fieldManager", "dryRun", "force"} <= {one["name"] for one in patch["parameters"]}
    schemas = made["components"]["schemas"]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"


def references(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, dict):
        yield from (item for key, item in value.items() if key == "$ref" and isinstance(item, str))
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_reference_of_openapi_leads_somewhere() -> None:
    own = Registry()
    own.add_custom(GADGET)
    for group in own.groups():
        for version in own.versions(group):
            made = json.loads(discovery.document(f"/openapi/v3/apis/{group}/{version}" if group else "/openapi/v3/api/v1", None, own).body)
            schemas = made["components"]["schemas"]
            assert {name.rsplit("/", 1)[-1] for name in references(made)} <= schemas.keys()
    swagger = json.loads(discovery.document("/openapi/v2", None, own).body)
    assert {name.rsplit("/", 1)[-1] for name in references(swagger)} <= swagger["definitions"].keys()


# -- tables

NOW = datetime.datetime(2026, 11, 23, 9, 12, 34, tzinfo=datetime.UTC)


@pytest.mark.parametrize(("case", "group", "plural"), [
    ("nodes", "", "nodes"), ("namespaces", "", "namespaces"), ("deployments", "apps", "deployments"), ("daemonsets", "apps", "daemonsets"),
    ("pdb", "policy", "poddisruptionbudgets"), ("apiservices", "apiregistration.k8s.io", "apiservices"),
    ("crds", "apiextensions.k8s.io", "customresourcedefinitions")])
def test_columns_are_the_recorded_ones(case: str, group: str, plural: str) -> None:
    def shape(table: Object) -> list[tuple[t.Any, ...]]:
        return [(one["name"], one["type"], one["format"], one["priority"]) for one in table["columnDefinitions"]]

    made = tables.table(kind(group, plural), [], "", {}, "meta.k8s.io/v1", NOW)
    assert shape(made) == shape(answer(f"table/200-{case}"))


def test_a_node_is_shown_as_recorded() -> None:
    expected = answer("table/200-nodes-include-none")
    made = tables.table(kind("", "nodes"), [answer("misc/200-node-get")], "None", expected["metadata"], "meta.k8s.io/v1", NOW)
    assert made["rows"][0] == expected["rows"][0]
    assert made.keys() == expected.keys()


def test_a_custom_resource_is_shown_as_recorded() -> None:
    expected = answer("misc/200-cr-table")
    obj = answer("misc/200-cr-selectable")["items"][0]
    now = datetime.datetime.fromisoformat(obj["metadata"]["creationTimestamp"])
    assert tables.table(next(iter(kinds_of(GADGET))), [obj], "", expected["metadata"], "meta.k8s.io/v1", now) == expected


def test_later_events_of_a_watch_have_no_columns() -> None:
    assert tables.table(kind("", "pods"), [], "", {}, "meta.k8s.io/v1", NOW, headers=False)["columnDefinitions"] is None


def pod(**status: t.Any) -> Object:
    return {"metadata": {"name": "p", "creationTimestamp": "2026-11-23T09:11:46Z"}, "spec": {"containers": [{}], "nodeName": "n"}, "status": status}


@pytest.mark.parametrize(("obj", "cells"), [
    (pod(phase="Pending"), ["p", "0/1", "Pending", "0", "48s", "<none>", "n", "<none>", "<none>"]),
    (pod(phase="Running", podIP="10.0.0.1", containerStatuses=[{"ready": True, "restartCount": 2, "state": {"running": {}}}]),
     ["p", "1/1", "Running", "2", "48s", "10.0.0.1", "n", "<none>", "<none>"]),
    (pod(phase="Pending", containerStatuses=[{"restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff"}}}]),
     ["p", "0/1", "ImagePullBackOff", "0", "48s", "<none>", "n", "<none>", "<none>"]),
    (pod(phase="Succeeded", containerStatuses=[{"restartCount": 0, "state": {"terminated": {"reason": "Completed"}}}]),
     ["p", "0/1", "Completed", "0", "48s", "<none>", "n", "<none>", "<none>"]),
])
def test_pods(obj: Object, cells: list[str]) -> None:
    assert tables.table(kind("", "pods"), [obj], "", {}, "meta.k8s.io/v1", NOW)["rows"][0]["cells"] == cells


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0s"), (119, "119s"), (125, "2m5s"), (600, "10m"), (10860, "3h1m"), (28800, "8h"), (180000, "2d2h"), (800000, "9d"), (70000000, "2y80d")])
def test_ages(seconds: int, text: str) -> None:
    assert tables.human_duration(seconds) == text


@pytest.mark.parametrize("found", list(registry().all()), ids=lambda found: f"{found.group}/{found.kind}")
def test_every_kind_can_be_shown_however_empty(found: t.Any) -> None:
    made = tables.table(found, [{"metadata": {"name": "x"}}], "", {}, "meta.k8s.io/v1", NOW)
    assert len(made["rows"][0]["cells"]) == len(made["columnDefinitions"])


@pytest.mark.parametrize(("path", "found"), [
    (".spec.size", [3]), (".spec.list[0].name", ["a"]), (".spec.list[-1].name", ["b"]), (".spec.list[*].name", ["a", "b"]),
    ('.status.conditions[?(@.type=="Ready")].status', ["True"]), (".status.conditions[?(@.type!='Ready')].status", ["False"]),
    (r".metadata.annotations['a\.b/c']", ["d"]), (r".metadata.annotations.a\.b/c", ["d"]), ("{.spec.size}", [3]), (".nope.x", []), ("a b", [])])
def test_json_paths(path: str, found: list[t.Any]) -> None:
    obj = {"metadata": {"annotations": {"a.b/c": "d"}}, "spec": {"size": 3, "list": [{"name": "a"}, {"name": "b"}]},
           "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}}
    assert json_path.find(path, obj) == found


# -- custom kinds


def test_versions_are_ordered_as_kubernetes_does() -> None:
    versions = ["v1alpha1", "foo10", "v2", "v1beta1", "v10", "v1", "v11alpha2", "foo1"]
    assert sorted(versions, key=version_priority) == ["v10", "v2", "v1", "v1beta1", "v11alpha2", "v1alpha1", "foo1", "foo10"]


@given(st.sampled_from(["v1", "v2beta1", "x"]), st.sampled_from(["v1", "v1alpha1", "y"]))
def test_a_registry_forgets_what_was_removed(first: str, second: str) -> None:
    own = Registry(())
    versions = [{"name": name, "served": True, "storage": name == first, "schema": {}} for name in dict.fromkeys((first, second))]
    definition = {**GADGET, "spec": {**GADGET["spec"], "versions": versions}}
    own.add_custom(definition)
    revision = own.revision
    own.add_custom(definition)
    assert own.revision == revision
    assert own.versions("rk.example.com") == sorted({first, second}, key=version_priority)
    storage = own.storage_kind("rk.example.com", "gadgets")
    assert storage is not None
    assert storage.version == first
    own.remove_custom(definition)
    assert own.groups() == []


class Cluster:
    """A store with what follows its definitions, as the API server has it."""

    def __init__(self) -> None:
        self.store, self.registry, self.clock = Store(), Registry(), make_clock("1")
        self.custom = CustomResources(self.store, self.registry, self.clock)

    def create(self, resource: tuple[str, str], obj: Object, namespace: str = "") -> None:
        self.custom.observe(self.store.create(resource, namespace, obj["metadata"]["name"], obj), False)

    def update(self, resource: tuple[str, str], obj: Object, namespace: str = "") -> None:
        self.custom.observe(self.store.update(resource, namespace, obj["metadata"]["name"], obj), False)

    def definition(self, name: str = "gadgets.rk.example.com") -> Object | None:
        stored = self.store.get(DEFINITIONS, "", name)
        return stored.value if stored is not None else None


DEFINITIONS, GADGETS = ("apiextensions.k8s.io", "customresourcedefinitions"), ("rk.example.com", "gadgets")


def test_a_definition_is_established_and_served() -> None:
    cluster = Cluster()
    cluster.create(DEFINITIONS, GADGET)
    definition = cluster.definition()
    assert definition is not None
    expected = answer("misc/200-crd-delete")["status"]
    assert [{**one, "lastTransitionTime": ""} for one in definition["status"]["conditions"]] == [
        {**one, "lastTransitionTime": ""} for one in expected["conditions"][:2]]
    assert {key: definition["status"][key] for key in ("acceptedNames", "storedVersions")} == {
        key: expected[key] for key in ("acceptedNames", "storedVersions")}
    found = cluster.registry.lookup("rk.example.com", "v1", "gadgets")
    assert found is not None
    assert (found.subresources, found.selectable_fields, found.short_names) == (frozenset({"status"}), ("spec.color",), ("gd",))


def test_a_name_that_is_in_use_is_not_accepted() -> None:
    cluster = Cluster()
    cluster.create(DEFINITIONS, GADGET)
    names = {"plural": "widgets", "singular": "widget", "kind": "Gadget", "listKind": "WidgetList"}
    cluster.create(DEFINITIONS, {**GADGET, "metadata": {"name": "widgets.rk.example.com"}, "spec": {**GADGET["spec"], "names": names}})
    definition = cluster.definition("widgets.rk.example.com")
    assert definition is not None
    assert not condition(definition, "Established")
    assert definition["status"]["conditions"][0]["message"] == '"Gadget" is already in use'
    assert cluster.registry.lookup("rk.example.com", "v1", "widgets") is None


def test_instances_go_with_their_definition() -> None:
    cluster = Cluster()
    cluster.create(DEFINITIONS, GADGET)
    for name, finalizers in (("free", []), ("held", ["x/y"])):
        cluster.create(GADGETS, {"metadata": {"name": name, "namespace": "n", **({"finalizers": finalizers} if finalizers else {})}}, "n")
    definition = cluster.definition()
    assert definition is not None
    going = {**definition["metadata"], "deletionTimestamp": cluster.clock.timestamp(), "finalizers": ["customresourcecleanup.apiextensions.k8s.io"]}
    cluster.update(DEFINITIONS, {**definition, "metadata": going})
    assert [stored.name for stored in cluster.store.list(GADGETS)] == ["held"]
    held = cluster.definition()
    assert held is not None
    assert condition(held, "Terminating")
    assert cluster.registry.lookup("rk.example.com", "v1", "gadgets") is not None
    cluster.custom.observe(cluster.store.delete(GADGETS, "n", "held"), True)
    assert cluster.definition() is None
    assert cluster.registry.lookup("rk.example.com", "v1", "gadgets") is None


def test_the_second_openapi_is_readable_to_kubectl_and_refused_to_others() -> None:
    found = discovery.document("/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf", registry())
    # Field 1 (swagger) "2.0", then field 2 (info) to the end.
    assert found.body[:6] == b"\x0a\x032.0\x12"
    assert found.body[6] == len(found.body) - 7
    with pytest.raises(StatusError) as refused:
        discovery.document("/openapi/v2", "text/html", registry())
    assert refused.value.code == 406
