# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Aggregation gives the rules, in the order, that a real cluster with KubeVirt had."""
from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver import bootstrap_roles
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes.role_aggregation import (
    aggregated_rules,
    selects,
)

RECORDED = pathlib.Path(__file__).parents[5] / "conformance" / "recorded"
Object = dict[str, t.Any]


def recorded(case: str) -> Object:
    return t.cast(Object, json.loads((RECORDED / case).read_text())["response"]["body"])


@pytest.fixture
def roles() -> dict[str, Object]:
    return {role["metadata"]["name"]: role for role in bootstrap_roles.cluster_roles()}


def aggregate(roles: dict[str, Object]) -> None:
    """Until nothing changes any more, as the controller does."""
    changed = True
    while changed:
        changed = False
        for role in roles.values():
            if role.get("aggregationRule"):
                rules = aggregated_rules(role, roles.values())
                changed = changed or rules != (role.get("rules") or [])
                role["rules"] = rules


@pytest.mark.parametrize("version", ["1.4.1", "1.5.3"])
def test_view_is_what_was_recorded(roles: dict[str, Object], version: str) -> None:
    shipped = recorded(f"kubevirt-{version}/kv-roles/200-clusterrole-kubevirt.io_view.json")
    roles[shipped["metadata"]["name"]] = shipped
    aggregate(roles)
    assert roles["view"]["rules"] == recorded(f"kubevirt-{version}/kv-roles/200-clusterrole-view.json")["rules"]


def test_admin_and_edit_are_what_was_recorded(roles: dict[str, Object]) -> None:
    folder = "kubevirt-1.5.3/kv-roles"
    expected = {name: recorded(f"{folder}/200-clusterrole-{name}.json") for name in ("admin", "edit", "view")}
    for name in ("kubevirt.io_admin", "kubevirt.io_view"):
        shipped = recorded(f"{folder}/200-clusterrole-{name}.json")
        roles[shipped["metadata"]["name"]] = shipped
    # kubevirt.io:edit was not kept by itself; its rules come first in the recorded edit, before those of the cluster.
    cluster_rules = roles["system:aggregate-to-edit"]["rules"]
    own = expected["edit"]["rules"][: expected["edit"]["rules"].index(cluster_rules[0])]
    label = {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}
    roles["kubevirt.io:edit"] = {"metadata": {"name": "kubevirt.io:edit", "labels": label}, "rules": own}
    aggregate(roles)
    for name, role in expected.items():
        assert roles[name]["rules"] == role["rules"], name


def test_a_role_is_not_its_own_source_and_each_rule_comes_once() -> None:
    rule, other = {"verbs": ["get"], "apiGroups": [""], "resources": ["a"]}, {"verbs": ["get"], "apiGroups": [""], "resources": ["b"]}
    labels = {"x": "true"}
    selector: Object = {"matchLabels": labels}
    top = {"metadata": {"name": "top", "labels": labels}, "rules": [other], "aggregationRule": {"clusterRoleSelectors": [selector, selector]}}
    sources: list[Object] = [
        {"metadata": {"name": "z", "labels": labels}, "rules": [rule, other]},
        {"metadata": {"name": "a", "labels": labels}, "rules": [rule]},
        {"metadata": {"name": "m", "labels": {"x": "false"}}, "rules": [{"verbs": ["*"]}]},
        {"metadata": {"name": "empty", "labels": labels}, "rules": None},
    ]
    assert aggregated_rules(top, [top, *sources]) == [rule, other]


@pytest.mark.parametrize(
    ("expression", "labels", "found"),
    [
        ({"key": "a", "operator": "In", "values": ["1"]}, {"a": "1"}, True),
        ({"key": "a", "operator": "In", "values": ["1"]}, {}, False),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, {}, True),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, {"a": "1"}, False),
        ({"key": "a", "operator": "Exists"}, {"a": ""}, True),
        ({"key": "a", "operator": "DoesNotExist"}, {"a": ""}, False),
    ],
)
def test_selectors_with_expressions(expression: Object, labels: dict[str, str], found: bool) -> None:
    assert selects({"matchExpressions": [expression]}, labels) is found
