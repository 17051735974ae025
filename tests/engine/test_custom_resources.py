# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of a user's making from the first request to the last, and what is refused of them."""
from __future__ import annotations

import copy
import typing as t
from collections.abc import Iterator

import pytest

from ..support.api import MERGE_PATCH, Api
from .waiting import eventually

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SCHEMA: dict[str, t.Any] = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 1}}}}}
VERSION: dict[str, t.Any] = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}}


def definition(plural: str, *versions: dict[str, t.Any], **spec: t.Any) -> dict[str, t.Any]:
    kind = plural[:-1].capitalize()
    names = {"plural": plural, "singular": plural[:-1], "kind": kind, "listKind": f"{kind}List"}
    return {
        "metadata": {"name": f"{plural}.tests.example.com"},
        "spec": {"group": "tests.example.com", "scope": "Namespaced", "names": names, "versions": list(versions or (VERSION,)), **spec},
    }


@pytest.fixture
def shapes(admin: Api) -> Iterator[str]:
    """A kind with two versions that are the same but for their names."""
    made = admin.expect(201, "POST", DEFINITIONS, definition("shapes", VERSION, {**VERSION, "name": "v2", "storage": False}))
    assert made["status"] == {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": ["v1"]}
    yield f"{DEFINITIONS}/{made['metadata']['name']}"
    admin.request("DELETE", f"{DEFINITIONS}/{made['metadata']['name']}")


def test_a_kind_lives_as_long_as_its_definition_and_its_instances(admin: Api, namespace: str, shapes: str) -> None:
    first, second = (f"/apis/tests.example.com/{version}/namespaces/{namespace}/shapes" for version in ("v1", "v2"))
    made = admin.expect(201, "POST", second, {"apiVersion": "tests.example.com/v2", "kind": "Shape", "metadata": {"name": "a"}, "spec": {"other": 1}})
    assert made["spec"] == {"size": 1}
    assert admin.get(f"{first}/a") == {**made, "apiVersion": "tests.example.com/v1"}
    # A version that is no longer served is gone at once, a changed schema counts for the next write.
    spec = admin.get(shapes)["spec"]
    changed = copy.deepcopy(spec["versions"])
    changed[0]["served"] = False
    changed[1]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"]["maximum"] = 3
    admin.expect(200, "PATCH", shapes, {"spec": {"versions": changed}}, content_type=MERGE_PATCH)
    assert admin.request("GET", f"{first}/a").body == "404 page not found\n"
    refused = admin.expect(422, "PATCH", f"{second}/a", {"spec": {"size": 4}}, content_type=MERGE_PATCH)
    assert "spec.size in body should be less than or equal to 3" in refused["message"]
    # Its end waits for its instances, and they for whoever holds them.
    admin.expect(200, "PATCH", f"{second}/a", {"metadata": {"finalizers": ["tests.example.com/hold"]}}, content_type=MERGE_PATCH)
    admin.expect(200, "DELETE", shapes)
    conditions = {one["type"]: one["status"] for one in admin.get(shapes)["status"]["conditions"]}
    assert conditions["Terminating"] == "True"
    assert admin.get(f"{second}/a")["metadata"]["deletionTimestamp"]
    late = admin.expect(405, "POST", second, {"apiVersion": "tests.example.com/v2", "kind": "Shape", "metadata": {"name": "b"}})
    assert late["message"] == "create not allowed while custom resource definition is terminating"
    admin.expect(200, "PATCH", f"{second}/a", {"metadata": {"finalizers": None}}, content_type=MERGE_PATCH)
    eventually(lambda: admin.request("GET", shapes).status == 404)
    assert admin.request("GET", second).body == "404 page not found\n"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (definition("lines", {**VERSION, "schema": None}), "schema.openAPIV3Schema: Required value: schemas are required"),
        (
            definition("lines", {**VERSION, "schema": {"openAPIV3Schema": {"properties": {"a": {"type": "string"}}}}}),
            "spec.versions[0].schema.openAPIV3Schema.type: Required value: must not be empty at the root",
        ),
        (
            definition("lines", {**VERSION, "schema": {"openAPIV3Schema": {**SCHEMA, "properties": {"spec": {"properties": {}}}}}}),
            "spec.versions[0].schema.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
        ),
        (definition("lines", VERSION, {**VERSION, "name": "v2"}), "must have exactly one version marked as storage version"),
        ({**definition("lines"), "metadata": {"name": "points.tests.example.com"}}, 'must be spec.names.plural+"."+spec.group'),
        (definition("lines", conversion={"strategy": "Webhook"}), 'spec.conversion.strategy: Unsupported value: "Webhook": supported values: "None"'),
    ],
    ids=["no-schema", "no-root-type", "not-structural", "two-storage-versions", "wrong-name", "conversion"],
)
def test_a_definition_that_could_not_be_served_is_refused(admin: Api, made: dict[str, t.Any], said: str) -> None:
    assert said in admin.expect(422, "POST", DEFINITIONS, made)["message"]


def test_what_is_not_acted_upon_is_refused_or_said(admin: Api, namespace: str) -> None:
    hook = {"name": "a.tests.example.com", "clientConfig": {"url": "https://127.0.0.1/x"}, "sideEffects": "None", "admissionReviewVersions": ["v1"]}
    for plural in ("validatingwebhookconfigurations", "mutatingwebhookconfigurations"):
        path = f"/apis/admissionregistration.k8s.io/v1/{plural}"
        refused = admin.expect(403, "POST", path, {"metadata": {"name": "mine"}, "webhooks": [hook]})
        assert refused["message"].endswith('"mine" is forbidden: this API server calls no admission webhooks')
    assert admin.request("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests", {}).status == 404
    assert admin.request("POST", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", {}).status == 404
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "1"}}}
    answer = admin.request("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", quota)
    assert (answer.status, answer.headers["Warning"]) == (201, '299 - "this API server keeps the ResourceQuota and does not enforce it"')
    schema = {**SCHEMA, "properties": {"spec": {"type": "object", "x-kubernetes-validations": [{"rule": "true"}]}}}
    answer = admin.request("POST", f"{DEFINITIONS}?dryRun=All", definition("lines", {**VERSION, "schema": {"openAPIV3Schema": schema}}))
    assert answer.status == 201
    assert answer.headers["Warning"] == '299 - "this API server keeps x-kubernetes-validations and does not evaluate them"'
