# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a body becomes, and what is refused of it, against what a real server recorded."""
from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine import errors
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver import schema
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.builtin_decoding import DecodeError, read_object
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.builtin_types import type_named
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.custom_resources import kinds_of
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.quantities import (
    QuantityError,
    canonical_quantity,
    quantity,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.validation import (
    prepare,
    validate_create,
    validate_update,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import StatusError
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kinds import Kind

from .recordings import GADGET, Object, answer, kind, kind_of, registry, sent

RBAC = "rbac.authorization.k8s.io"
GADGETS = next(iter(kinds_of(GADGET)))


def created(target: Kind, obj: Object, namespace: str = "corpus-a") -> Object:
    """The Status or object that a create leads to, as far as this layer decides."""
    read, _warnings = prepare(target, copy.deepcopy(obj))
    read.setdefault("metadata", {})
    if target.namespaced:
        read["metadata"].setdefault("namespace", namespace)
    causes = validate_create(target, read)
    if causes:
        return errors.invalid(target, read["metadata"].get("name", ""), causes).to_status()
    return read


@pytest.mark.parametrize("case", [
    "errors/422-pod-invalid", "errors/422-node-invalid", "errors/422-name-missing", "misc/422-lease-422", "eviction/422-pdb-invalid"])
def test_a_built_in_object_is_refused_as_recorded(case: str) -> None:
    body = sent(case)
    assert created(kind_of(body), body) == answer(case)


def test_an_event_of_another_namespace_is_refused_as_recorded() -> None:
    body, expected = sent("misc/422-event-422"), answer("misc/422-event-422")
    body["metadata"]["name"] = expected["details"]["name"]
    assert created(kind("", "events"), body) == expected


@pytest.mark.parametrize("case", ["misc/422-cr-422", "misc/422-cr-422-required"])
def test_a_custom_resource_is_refused_as_recorded(case: str) -> None:
    assert created(GADGETS, sent(case)) == answer(case)


def test_a_deployment_is_completed_as_recorded() -> None:
    expected = answer("objects/201-create-deployment")
    assert created(kind("apps", "deployments"), sent("objects/201-create-deployment"))["spec"] == expected["spec"]


def test_a_pod_is_completed_as_recorded() -> None:
    expected = answer("objects/200-delete-pod")["spec"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p1"}, "spec": {
        "containers": [{"name": "c", "image": "registry.invalid/pause:3.10"}]}}
    made = created(kind("", "pods"), pod)["spec"]
    # The rest comes from admission and the scheduler.
    of_others = {"volumes", "serviceAccountName", "serviceAccount", "nodeName", "tolerations", "priority", "preemptionPolicy"}
    assert made.keys() == expected.keys() - of_others
    assert {key: made[key] for key in made if key != "containers"} == {key: expected[key] for key in made if key != "containers"}
    container = dict(expected["containers"][0])
    del container["volumeMounts"]
    assert made["containers"] == [container]


@pytest.mark.parametrize(("target", "old", "new", "case"), [
    (kind("", "configmaps"), {"immutable": True, "data": {"k": "v"}}, {"immutable": True, "data": {"k": "x"}}, "errors/422-immutable"),
])
def test_what_is_immutable_stays_as_recorded(target: Kind, old: Object, new: Object, case: str) -> None:
    metadata = {"name": "immut", "namespace": "corpus-a"}
    causes = validate_update(target, {**new, "metadata": metadata}, {**old, "metadata": metadata})
    assert errors.invalid(target, "immut", causes).to_status() == answer(case)


def test_a_selector_is_immutable_as_recorded() -> None:
    old = answer("objects/201-create-deployment")
    new = copy.deepcopy(old)
    new["spec"]["selector"] = {"matchLabels": {"app": "e"}}
    causes = validate_update(kind("apps", "deployments"), new, old)
    assert errors.invalid(kind("apps", "deployments"), "d", causes).to_status() == answer("objects/422-selector-immutable")


def binding(role: str, **more: t.Any) -> Object:
    return {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": {"name": "kvmigrate", "namespace": "proc"},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}, **more}


def test_a_role_reference_is_immutable_as_recorded() -> None:
    bindings = kind(RBAC, "rolebindings")
    causes = validate_update(bindings, binding("edit"), binding("kubevirt.io:migrate"))
    assert errors.invalid(bindings, "kvmigrate", causes).to_status()["message"] == (
        'RoleBinding.rbac.authorization.k8s.io "kvmigrate" is invalid: roleRef: Invalid value: '
        '{"APIGroup":"rbac.authorization.k8s.io","Kind":"ClusterRole","Name":"edit"}: cannot change roleRef')


@pytest.mark.parametrize(("subject", "fields"), [
    ({"kind": "User", "name": "u"}, []),
    ({"kind": "ServiceAccount", "name": "s", "namespace": "n"}, []),
    ({"kind": "ServiceAccount", "name": "s"}, ["subjects[0].namespace"]),
    ({"kind": "User", "name": "u", "apiGroup": "x"}, ["subjects[0].apiGroup"]),
    ({"kind": "Robot", "name": "u"}, ["subjects[0].kind"]),
    ({"kind": "Group"}, ["subjects[0].name"]),
])
def test_subjects(subject: Object, fields: list[str]) -> None:
    made = created(kind(RBAC, "rolebindings"), binding("edit", subjects=[subject]))
    assert [cause["field"] for cause in made.get("details", {}).get("causes", [])] == fields
    if not fields and subject["kind"] == "User":
        assert made["subjects"][0]["apiGroup"] == RBAC


def test_rules_need_verbs_groups_and_resources() -> None:
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "r"}, "rules": [{}, {"verbs": ["get"], "nonResourceURLs": ["/x"]}]}
    causes = created(kind(RBAC, "roles"), role)["details"]["causes"]
    assert [cause["field"] for cause in causes] == [
        "rules[0].verbs", "rules[0].apiGroups", "rules[0].resources", "rules[1].nonResourceURLs"]


def test_strict_validation_refuses_as_recorded() -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "2"}, "nope": 1}
    with pytest.raises(StatusError) as refused:
        prepare(kind("", "configmaps"), body, "Strict", ["data.a"])
    assert refused.value.to_status() == answer("errors/400-strict-unknown-field")
    read, warnings = prepare(kind("", "configmaps"), body, "Warn", ["data.a"])
    assert warnings == ['duplicate field "data.a"', 'unknown field "nope"']
    assert "nope" not in read
    assert prepare(kind("", "configmaps"), body, "Ignore")[1] == []


def test_a_wrong_type_is_refused_as_recorded() -> None:
    with pytest.raises(StatusError) as refused:
        prepare(kind("", "configmaps"), sent("errors/400-type"))
    assert refused.value.to_status() == answer("errors/400-type")


@pytest.mark.parametrize(("value", "go_type"), [("a=true", "string"), (["x"], "array"), (3, "number"), (True, "bool")])
def test_labels_of_another_type_are_refused_in_gos_words(value: t.Any, go_type: str) -> None:
    role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": "kubevirt.io:upgrademigrate", "labels": value}}
    with pytest.raises(StatusError) as refused:
        prepare(kind(RBAC, "clusterroles"), role)
    assert refused.value.message == (
        f'ClusterRole in version "v1" cannot be handled as a ClusterRole: json: cannot unmarshal {go_type} '
        "into Go struct field ObjectMeta.metadata.labels of type map[string]string")


def test_the_faults_of_a_patch_are_told_in_another_way() -> None:
    with pytest.raises(StatusError) as refused:
        prepare(kind("", "configmaps"), {"data": {"a": 1}}, patched=True)
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert refused.value.message.startswith(' "" is invalid: patch: Invalid value: "{\\"data\\":{\\"a\\":1}}": json: cannot unmarshal number')


@pytest.mark.parametrize(("type_name", "obj", "message"), [
    ("coordination.v1.Lease", {"spec": {"renewTime": "2026-01-01T00:00:00Z"}},
     'parsing time "2026-01-01T00:00:00Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000"'),
    ("apps.v1.Deployment", {"spec": {"replicas": 1.5}},
     "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
    ("core.v1.Secret", {"data": {"a": "%"}}, "illegal base64 data at input byte 0"),
    ("core.v1.Pod", {"spec": []}, "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"),
])
def test_values_that_do_not_fit(type_name: str, obj: Object, message: str) -> None:
    with pytest.raises(DecodeError) as refused:
        read_object(type_name, obj)
    assert str(refused.value) == message


def test_reading_drops_what_a_type_does_not_have() -> None:
    pod = {"metadata": {"labels": {}, "creationTimestamp": None}, "spec": {"containers": [{"name": "c", "x": 1}], "nodeSelector": {}, "volumes": [
        {"name": "v", "emptyDir": {}}]}}
    read, unknown = read_object("core.v1.Pod", pod)
    assert read == {"metadata": {}, "spec": {"containers": [{"name": "c"}], "volumes": [{"name": "v", "emptyDir": {}}]}}
    assert unknown == ["spec.containers[0].x"]


def test_every_built_in_kind_has_a_type() -> None:
    assert [found.kind for found in registry().all() if type_named(found.type_name) is None] == []


@pytest.mark.parametrize(("text", "canonical"), [
    ("0.5", "500m"), ("1000m", "1"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("100k", "100k"), ("1000k", "1M"), ("1e3", "1e3"), ("0Mi", "0"),
    ("-1.5", "-1500m"), ("131072Ki", "128Mi"), (".5", "500m"), ("1536Mi", "1536Mi"), ("0.0000000001", "1n")])
def test_quantities(text: str, canonical: str) -> None:
    assert canonical_quantity(text) == canonical


@given(st.integers(0, 10 ** 15), st.sampled_from(["", "m", "k", "M", "Gi", "Mi", "Ki"]))
def test_a_canonical_quantity_is_the_same_amount(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    assert quantity(canonical_quantity(text)) == quantity(text)
    assert canonical_quantity(canonical_quantity(text)) == canonical_quantity(text)


@pytest.mark.parametrize("text", ["", "Mi", "1 Gi", "abc", "1Kii", "--1"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(QuantityError):
        canonical_quantity(text)


# -- structural schemas


def gadget(spec: t.Any, **more: t.Any) -> Object:
    return {"apiVersion": "rk.example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": spec, **more}


def test_a_custom_resource_is_pruned_and_completed() -> None:
    read, warnings = prepare(GADGETS, gadget({"size": 3, "nope": 1}, other=2))
    assert read["spec"] == {"size": 3, "color": "red"}
    assert "other" not in read
    assert warnings == ['unknown field "other"', 'unknown field "spec.nope"']
    with pytest.raises(StatusError, match=r'Gadget in version "v1" cannot be handled as a Gadget: strict decoding error: unknown field "spec\.nope"'):
        prepare(GADGETS, gadget({"size": 3, "nope": 1}), "Strict")


def causes_of(below: Object, value: t.Any) -> list[tuple[str, str]]:
    found = schema.validate({"type": "object", "properties": {"f": below}}, {"f": value})
    return [(cause.field, cause.message) for cause in found]


@pytest.mark.parametrize(("below", "value", "message"), [
    ({"type": "integer"}, "3", 'Invalid value: "string": f in body must be of type integer: "string"'),
    ({"type": "string"}, 3, 'Invalid value: "integer": f in body must be of type string: "integer"'),
    ({"type": "integer", "maximum": 5}, 6, "Invalid value: 6: f in body should be less than or equal to 5"),
    ({"type": "number", "minimum": 1, "exclusiveMinimum": True}, 1, "Invalid value: 1: f in body should be greater than 1"),
    ({"type": "string", "pattern": "^a+$"}, "b", "Invalid value: \"b\": f in body should match '^a+$'"),
    ({"type": "string", "pattern": "^a+$"}, "a\n", "Invalid value: \"a\\n\": f in body should match '^a+$'"),
    ({"type": "integer", "format": "int64"}, 2**63, 'Invalid value: "number": f in body must be of type integer: "number"'),
    ({"type": "string", "maxLength": 2}, "abc", "Too long: may not be more than 2 bytes"),
    ({"type": "array", "items": {"type": "string"}, "minItems": 1}, [], "Invalid value: 0: f in body should have at least 1 items"),
    ({"type": "array", "items": {"type": "string"}, "maxItems": 1}, ["a", "b"], "Too many: 2: must have at most 1 items"),
    ({"type": "string", "format": "date-time"}, "x", 'Invalid value: "x": f in body must be of type date-time: "x"'),
    ({"type": "string", "enum": ["a", "b"]}, "c", 'Unsupported value: "c": supported values: "a", "b"'),
    ({"type": "string"}, None, 'Invalid value: "null": f in body must be of type string: "null"'),
])
def test_schema_refusals(below: Object, value: t.Any, message: str) -> None:
    assert causes_of(below, value) == [("f", message)]


def test_an_integer_beyond_its_format_is_refused_without_a_field() -> None:
    message = 'Invalid value: "": Checked value must be of type integer with format int32 in f'
    assert causes_of({"type": "integer", "format": "int32"}, 2**31) == [("<nil>", message)]
    assert causes_of({"type": "integer", "format": "int32"}, 2**31 - 1) == []


@pytest.mark.parametrize(("below", "value"), [
    ({"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}, "25%"),
    ({"x-kubernetes-int-or-string": True}, 3),
    ({"type": "string", "nullable": True}, None),
    ({"type": "number"}, 3),
    ({"type": "object", "additionalProperties": {"type": "string"}}, {"a": "b"}),
    ({"type": "string", "format": "date-time"}, "2026-01-01T00:00:00Z"),
    ({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, {"a": {"b": [1]}}),
])
def test_schema_accepts(below: Object, value: t.Any) -> None:
    assert causes_of(below, value) == []


def test_lists_with_keys_have_no_duplicates() -> None:
    below = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
        "type": "object", "properties": {"name": {"type": "string"}}}}
    assert causes_of(below, [{"name": "a"}, {"name": "b"}, {"name": "a"}]) == [("f[2]", 'Duplicate value: {"name":"a"}')]


def test_preserved_fields_and_embedded_objects_survive_pruning() -> None:
    below = {"type": "object", "properties": {
        "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {"type": "object"}}}}}
    obj = {"raw": {"x": {"y": 1}}, "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"z": 1}, "w": 1}, "gone": 1}
    pruned, unknown = schema.prune(below, obj)
    assert pruned == {"raw": {"x": {"y": 1}}, "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}}}
    assert unknown == ["gone", "pod.spec.z", "pod.w"]


def test_what_is_the_very_same_as_stored_is_left_alone_and_all_else_looked_at() -> None:
    below = {"type": "object", "properties": {
        "old": {"type": "object", "properties": {"size": {"type": "integer", "default": 1}}},
        "items": {"type": "array", "items": {"type": "object", "properties": {"size": {"type": "integer", "default": 1}}}}}}
    # As an earlier schema let it through.
    known: Object = {"old": {"size": "large", "more": 1}, "items": [{"size": "large", "more": 1}]}
    obj = {"old": known["old"], "items": [known["items"][0], {"size": "large", "more": 1}, {}]}
    pruned, unknown = schema.prune(below, obj, known)
    assert unknown == ["items[1].more"]
    schema.set_defaults(below, pruned, known)
    assert pruned == {"old": {"size": "large", "more": 1}, "items": [{"size": "large", "more": 1}, {"size": "large"}, {"size": 1}]}
    assert known == {"old": {"size": "large", "more": 1}, "items": [{"size": "large", "more": 1}]}
    assert [cause.field for cause in schema.validate(below, pruned, known)] == ["items[1].size"]


values = st.recursive(st.booleans() | st.integers() | st.text("ab", max_size=2), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
    st.sampled_from(["size", "color", "x"]), inner, max_size=3), max_leaves=6)


@given(values)
def test_pruning_and_defaulting_twice_is_once(spec: t.Any) -> None:
    once = prepare(GADGETS, gadget(copy.deepcopy(spec)))[0]
    again, warnings = prepare(GADGETS, copy.deepcopy(once))
    assert again == once
    assert warnings == []
