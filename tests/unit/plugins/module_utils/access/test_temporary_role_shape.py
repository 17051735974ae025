# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils.access import temporary_role_shape as shape
from ansible_collections.okd.virt.plugins.module_utils.access.roles import (
    MIGRATE_RULES,
    holds_rules,
    same_rules,
    selects,
)

Json = dict[str, t.Any]
ADMIN = "rbac.authorization.k8s.io/aggregate-to-admin"
EDIT = "rbac.authorization.k8s.io/aggregate-to-edit"
VIEW = "rbac.authorization.k8s.io/aggregate-to-view"
MANAGED_BY = "app.kubernetes.io/managed-by"
NAME = "kubevirt.io:upgrademigrate"


def merged(target: t.Any, patch: t.Any) -> t.Any:
    """RFC 7386, as an API server applies a merge patch."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def role(labels: Json | None = None, rules: t.Any = MIGRATE_RULES, **rest: t.Any) -> Json:
    metadata: Json = {"name": NAME, "annotations": rest.pop("annotations", {})}
    if labels is not None:
        metadata["labels"] = labels
    return {"metadata": metadata, "rules": copy.deepcopy(list(rules)), **rest}


def test_the_role_has_the_documented_rules_and_labels_that_are_strings() -> None:
    body = shape.body(NAME, ["admin"])
    assert body["metadata"]["labels"] == {ADMIN: "true", MANAGED_BY: "okd.virt"}
    assert body["rules"] == [
        {"apiGroups": ["subresources.kubevirt.io"], "resources": ["virtualmachines/migrate"], "verbs": ["update"]},
        {
            "apiGroups": ["kubevirt.io"],
            "resources": ["virtualmachineinstancemigrations"],
            "verbs": ["get", "delete", "create", "update", "patch", "list", "watch", "deletecollection"],
        },
    ]
    assert set(shape.body(NAME, ["admin", "edit"])["metadata"]["labels"]) == {ADMIN, EDIT, MANAGED_BY}


REVERSED_RULES = [{**rule, "verbs": list(reversed(rule["verbs"]))} for rule in reversed(MIGRATE_RULES)]
RIGHT: list[tuple[str, Json, list[str]]] = [
    ("made by hand", role({ADMIN: "true"}), ["admin"]),
    ("ours", role({ADMIN: "true", MANAGED_BY: "okd.virt"}), ["admin"]),
    ("with labels of somebody else", role({ADMIN: "true", "team": "platform", MANAGED_BY: "Helm"}), ["admin"]),
    ("rules in another order", role({ADMIN: "true"}, rules=REVERSED_RULES), ["admin"]),
    ("both", role({ADMIN: "true", EDIT: "true"}), ["edit", "admin"]),
    ("an unwanted label that selects nothing", role({ADMIN: "true", EDIT: "false"}), ["admin"]),
]


@pytest.mark.parametrize(("found", "aggregate_to"), [case[1:] for case in RIGHT], ids=[case[0] for case in RIGHT])
def test_a_right_role_is_left_alone(found: Json, aggregate_to: list[str]) -> None:
    assert shape.repairs(found, aggregate_to) == ({}, [])


WRONG: list[tuple[str, Json, list[str], str]] = [
    ("no labels at all", role(None), ["admin"], "has no label"),
    ("the label dropped by a lenient tool", role({}), ["admin"], "has no label"),
    ("the label written key=value", role({ADMIN + "=true": ""}), ["admin"], "key=value"),
    ("a value with capitals", role({ADMIN: "True"}), ["admin"], '"True"'),
    ("switched off", role({ADMIN: "false"}), ["admin"], '"false"'),
    ("edit missing", role({ADMIN: "true"}), ["admin", "edit"], EDIT),
    ("too much", role({ADMIN: "true", EDIT: "true"}), ["admin"], "not asked for"),
    ("given to viewers", role({ADMIN: "true", VIEW: "true"}), ["admin"], "not asked for"),
    (
        "a verb missing",
        role({ADMIN: "true"}, rules=[MIGRATE_RULES[0], {**MIGRATE_RULES[1], "verbs": ["get"]}]),
        ["admin"],
        "rules",
    ),
    (
        "more than migration",
        role({ADMIN: "true"}, rules=[*MIGRATE_RULES, {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]),
        ["admin"],
        "rules",
    ),
    ("no rules", role({ADMIN: "true"}, rules=[]), ["admin"], "rules"),
    (
        "rules overwritten by aggregation",
        role({ADMIN: "true"}, aggregationRule={"clusterRoleSelectors": []}),
        ["admin"],
        "aggregationRule",
    ),
    (
        "cloned from a shipped role",
        role(
            {ADMIN: "true", MANAGED_BY: "virt-operator", "kubevirt.io": ""}, annotations={"kubevirt.io/generation": "1"}
        ),
        ["admin"],
        "would delete it",
    ),
    (
        "cloned from an old release",
        role({ADMIN: "true", MANAGED_BY: "kubevirt-operator"}),
        ["admin"],
        "would delete it",
    ),
]


@pytest.mark.parametrize(
    ("found", "aggregate_to", "fault"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_a_wrong_role_is_repaired_and_the_fault_is_named(found: Json, aggregate_to: list[str], fault: str) -> None:
    patch, faults = shape.repairs(found, aggregate_to)
    assert any(fault in said for said in faults), faults
    after = merged(found, patch)
    assert shape.repairs(after, aggregate_to) == ({}, [])
    assert same_rules(after["rules"], MIGRATE_RULES)
    assert "aggregationRule" not in after
    assert all(
        after["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{target}"] == "true"
        for target in aggregate_to
    )
    assert after["metadata"]["labels"].get(MANAGED_BY) not in ("virt-operator", "kubevirt-operator")
    assert "kubevirt.io" not in after["metadata"]["labels"]
    assert not after["metadata"].get("annotations")


label_keys = st.sampled_from([ADMIN, EDIT, VIEW, ADMIN + "=true", EDIT + "=true", MANAGED_BY, "team", "kubevirt.io"])
label_values = st.sampled_from(["true", "false", "True", "", "virt-operator", "kubevirt-operator", "okd.virt"])
rules = st.lists(
    st.sampled_from([*MIGRATE_RULES, {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]), max_size=4
)


@given(
    st.none() | st.dictionaries(label_keys, label_values),
    rules,
    st.none() | st.just({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}),
    st.sampled_from([["admin"], ["edit"], ["admin", "edit"]]),
)
def test_one_repair_is_enough_whatever_was_wrong(
    labels: Json | None, found_rules: list[Json], rule: Json | None, aggregate_to: list[str]
) -> None:
    found = role(labels, rules=found_rules, **({"aggregationRule": rule} if rule else {}))
    patch, faults = shape.repairs(found, aggregate_to)
    assert bool(patch) == bool(faults)
    assert shape.repairs(merged(found, patch), aggregate_to) == ({}, [])


@pytest.mark.parametrize("name", ["admin", "edit", "kubevirt.io:admin", "kubevirt.io:migrate", "system:node"])
def test_shipped_roles_are_never_taken_for_the_temporary_one(name: str) -> None:
    with pytest.raises(shape.NotOurs):
        shape.refuse_shipped(name, None)


def test_a_bootstrap_role_of_another_name_is_refused_too() -> None:
    with pytest.raises(shape.NotOurs):
        shape.refuse_shipped("registry-admin", role({"kubernetes.io/bootstrapping": "rbac-defaults"}))
    shape.refuse_shipped(NAME, role({ADMIN: "true"}))


@pytest.mark.parametrize(
    ("labels", "aggregate_to", "lost"),
    [
        ({ADMIN: "true", EDIT: "true"}, ["admin"], ["edit"]),
        ({ADMIN: "true"}, ["edit"], []),
        ({ADMIN: "true"}, ["admin", "edit"], []),
        ({EDIT: "true"}, ["admin"], ["edit"]),
    ],
)
def test_who_loses_when_the_role_is_narrowed(labels: Json, aggregate_to: list[str], lost: list[str]) -> None:
    assert shape.lost_targets(role(labels), aggregate_to) == lost


def test_aggregated_rules_are_found_whatever_their_order() -> None:
    aggregated = {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}, *REVERSED_RULES]}
    assert holds_rules(aggregated, MIGRATE_RULES)
    assert not holds_rules({"rules": [MIGRATE_RULES[0]]}, MIGRATE_RULES)
    assert not holds_rules(None, MIGRATE_RULES)


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        ({"matchLabels": {ADMIN: "true"}}, {ADMIN: "true"}, True),
        ({"matchLabels": {ADMIN: "true"}}, {ADMIN: "false"}, False),
        ({"matchExpressions": [{"key": ADMIN, "operator": "In", "values": ["true"]}]}, {ADMIN: "true"}, True),
        ({"matchExpressions": [{"key": ADMIN, "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": ADMIN, "operator": "DoesNotExist"}]}, {}, True),
        ({"matchExpressions": [{"key": ADMIN, "operator": "NotIn", "values": ["true"]}]}, {ADMIN: "true"}, False),
        ({}, {}, True),
    ],
)
def test_aggregation_selectors(selector: Json, labels: Json, selected: bool) -> None:
    assert selects({"aggregationRule": {"clusterRoleSelectors": [selector]}}, labels) is selected
    assert selects({"rules": []}, labels) is False
