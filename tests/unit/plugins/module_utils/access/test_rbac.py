# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rules allow and what aggregation does, held against an evaluator written apart from it."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils.access.migrate_access import Access
from ansible_collections.okd.virt.plugins.module_utils.access.rbac import (
    Attributes,
    allows,
    allows_some,
    is_wildcard,
    settled,
    sources_of,
)
from ansible_collections.okd.virt.plugins.module_utils.access.role_powers import RIGHTS
from ansible_collections.okd.virt.plugins.module_utils.access.snapshot import Snapshot
from ansible_collections.okd.virt.plugins.module_utils.access.subjects import Groups, Identity, group, user
from ansible_collections.okd.virt.tests.support.rbac import Person, Rbac

Json = dict[str, t.Any]
MIGRATE = RIGHTS["migrate"]
CREATE = RIGHTS["create"]


def rule(verbs: str = "update", groups: str = "subresources.kubevirt.io", resources: str = "virtualmachines/migrate", names: str = "") -> Json:
    made: Json = {"verbs": verbs.split(), "apiGroups": groups.split(","), "resources": resources.split()}
    return {**made, "resourceNames": names.split()} if names else made


@pytest.mark.parametrize(
    ("given_rule", "allowed"),
    [
        (rule(), True),
        (rule(verbs="*"), True),
        (rule(verbs="get patch"), False),
        (rule(groups="*"), True),
        (rule(groups="kubevirt.io"), False),
        (rule(groups=""), False),
        (rule(resources="*"), True),
        (rule(resources="*/migrate"), True),
        (rule(resources="virtualmachines"), False),
        (rule(resources="virtualmachines/*"), False),
        (rule(resources="*/start"), False),
        (rule(names="vm-1"), False),
        ({}, False),
        ({"verbs": ["*"], "nonResourceURLs": ["*"]}, False),
    ],
)
def test_a_rule_for_a_subresource(given_rule: Json, allowed: bool) -> None:
    assert allows(given_rule, MIGRATE) is allowed


def test_a_star_of_a_subresource_does_not_reach_the_resource_itself() -> None:
    assert not allows(rule("create", "kubevirt.io", "*/virtualmachineinstancemigrations"), CREATE)
    assert allows(rule("create", "kubevirt.io", "virtualmachineinstancemigrations"), CREATE)


def test_names_restrict_a_rule() -> None:
    named = rule(names="vm-1")
    assert allows(named, MIGRATE._replace(name="vm-1"))
    assert not allows(named, MIGRATE._replace(name="vm-2"))
    assert allows_some(named, MIGRATE)


def test_the_wildcard_of_cluster_admin() -> None:
    assert is_wildcard({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
    assert not is_wildcard({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["one"]})
    assert not is_wildcard({"verbs": ["*"], "apiGroups": ["kubevirt.io"], "resources": ["*"]})


def test_attributes_of_a_review() -> None:
    assert MIGRATE.to_review("shop") == {
        "namespace": "shop", "verb": "update", "group": "subresources.kubevirt.io", "resource": "virtualmachines", "subresource": "migrate",
    }
    assert Attributes("get", "", "pods").to_review("") == {"verb": "get", "resource": "pods"}


def role(name: str, rules: list[Json] | None = None, labels: Json | None = None, selects: Json | None = None) -> Json:
    made: Json = {"metadata": {"name": name, "labels": labels or {}}, "rules": rules}
    return {**made, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": selects}]}} if selects else made


def by_name(*roles: Json) -> dict[str, Json]:
    return {each["metadata"]["name"]: each for each in roles}


def test_aggregation_reaches_over_several_steps_and_forgets_what_no_role_gives() -> None:
    one, two = rule("get"), rule("list")
    roles = by_name(
        role("admin", [rule("delete")], selects={"to-admin": "true"}),
        role("edit", None, labels={"to-admin": "true"}, selects={"to-edit": "true"}),
        role("b", [one, two], labels={"to-edit": "true"}),
        role("a", [one], labels={"to-edit": "true", "to-admin": "true"}),
        role("other", [rule("patch")], labels={"to-edit": "TRUE"}),
    )
    after = settled(roles)
    assert after["edit"]["rules"] == [one, two]
    assert after["admin"]["rules"] == [one, two]
    assert sources_of(roles, "admin") == ["a", "edit"]
    assert roles["admin"]["rules"] == [rule("delete")]


def test_roles_that_aggregate_each_other_come_to_an_end() -> None:
    roles = by_name(
        role("a", [rule("get")], labels={"x": "1"}, selects={"y": "1"}),
        role("b", [rule("list")], labels={"y": "1"}, selects={"z": "1"}),
        role("c", [rule("patch")], labels={"z": "1"}, selects={"x": "1"}),
    )
    assert set(settled(roles)) == {"a", "b", "c"}


# Random clusters. Few names, so that bindings, roles and subjects meet.
VERBS = st.lists(st.sampled_from(["create", "delete", "update", "get", "*"]), max_size=3)
API_GROUPS = st.lists(st.sampled_from(["kubevirt.io", "subresources.kubevirt.io", "", "*"]), max_size=2)
RESOURCES = st.lists(
    st.sampled_from(["virtualmachineinstancemigrations", "virtualmachines/migrate", "virtualmachines", "*/migrate", "*", "pods/eviction"]), max_size=3
)
RULES = st.lists(
    st.builds(
        lambda verbs, groups, resources, names: {"verbs": verbs, "apiGroups": groups, "resources": resources, **({"resourceNames": names} if names else {})},
        VERBS, API_GROUPS, RESOURCES, st.lists(st.sampled_from(["vm-1", ""]), max_size=1),
    ),
    max_size=3,
)
ROLE_NAMES = ["admin", "edit", "kubevirt.io:admin", "own", "missing"]
NAMESPACES = ["one", "two"]
GROUP_NAMES = ["devs", "ops", "system:authenticated", "system:serviceaccounts", "system:serviceaccounts:one"]
SUBJECTS = st.one_of(
    st.builds(lambda name: {"kind": "User", "name": name}, st.sampled_from(["ann", "bob", "system:serviceaccount:one:bot"])),
    st.builds(lambda name: {"kind": "Group", "name": name}, st.sampled_from(GROUP_NAMES)),
    st.builds(lambda where: {"kind": "ServiceAccount", "name": "bot", **where}, st.sampled_from([{"namespace": "one"}, {"namespace": "two"}, {}])),
)


@st.composite
def clusters(draw: st.DrawFn) -> Snapshot:
    cluster_roles = by_name(*(role(name, draw(RULES)) for name in ROLE_NAMES[:-1]))
    roles = {(namespace, "own"): {"metadata": {"name": "own", "namespace": namespace}, "rules": draw(RULES)} for namespace in NAMESPACES}

    def binding(number: int, namespace: str) -> Json:
        kind = draw(st.sampled_from(["ClusterRole", "Role"])) if namespace else "ClusterRole"
        metadata = {"name": f"b{number}", **({"namespace": namespace} if namespace else {})}
        return {
            "metadata": metadata, "roleRef": {"kind": kind, "name": draw(st.sampled_from(ROLE_NAMES))},
            "subjects": draw(st.lists(SUBJECTS, max_size=3)) or None,
        }

    wide = [binding(number, "") for number in range(draw(st.integers(0, 2)))]
    narrow = [binding(number, draw(st.sampled_from(NAMESPACES))) for number in range(draw(st.integers(0, 5)))]
    groups = Groups([{"metadata": {"name": "devs"}, "users": ["ann"]}, {"metadata": {"name": "ops"}, "users": None}])
    return Snapshot(cluster_roles, roles, wide, narrow, groups)


def naive(snapshot: Snapshot) -> Rbac:
    rbac = Rbac()
    for name, objects in (
        ("clusterroles", snapshot.cluster_roles.values()), ("roles", snapshot.roles.values()),
        ("clusterrolebindings", snapshot.cluster_role_bindings), ("rolebindings", snapshot.role_bindings),
    ):
        for value in objects:
            rbac.set(name, value)
    return rbac


PEOPLE = (
    (user("ann"), Person.user("ann", "devs")),
    (user("bob"), Person.user("bob")),
    (group("devs"), Person.user("", "devs")),
    (group("ops"), Person.user("", "ops")),
    (Identity("ServiceAccount", "one", "bot"), Person.service_account("one", "bot")),
    (Identity("ServiceAccount", "two", "bot"), Person.service_account("two", "bot")),
)


@settings(max_examples=300, deadline=None)
@given(clusters())
def test_rights_are_those_that_the_rules_give(snapshot: Snapshot) -> None:
    access, truth = Access(snapshot), naive(snapshot)
    for identity, person in PEOPLE:
        for namespace in (*NAMESPACES, ""):
            expected = {
                name
                for name, wanted in RIGHTS.items()
                if truth.allowed(person, namespace, {key: value for key, value in wanted._asdict().items() if value})
            }
            assert access.rights(identity, namespace) == expected, (identity, namespace)


@st.composite
def aggregations(draw: st.DrawFn) -> dict[str, Json]:
    """Roles of three levels: each may pick up those below it."""
    levels = {"top": "to-top", "middle": "to-middle"}
    found = [
        role("top", draw(RULES), selects={"to-top": "true"}),
        role("middle", draw(RULES), labels=draw(st.sampled_from([{}, {"to-top": "true"}])), selects={"to-middle": "true"}),
    ]
    for number in range(draw(st.integers(0, 4))):
        labels = {label: draw(st.sampled_from(["true", "false"])) for label in draw(st.sets(st.sampled_from(sorted(levels.values()))))}
        found.append(role(f"leaf-{number}", draw(RULES), labels=labels))
    return by_name(*found)


@settings(max_examples=200, deadline=None)
@given(aggregations())
def test_a_settled_role_allows_what_its_leaves_allow(roles: dict[str, Json]) -> None:
    after = settled(roles)
    assert settled(after) == after

    def leaves(name: str) -> list[Json]:
        if not roles[name].get("aggregationRule"):
            return [roles[name]]
        label = next(iter(roles[name]["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"]))
        below = [other for other, value in roles.items() if other != name and value["metadata"]["labels"].get(label) == "true"]
        return [leaf for other in below for leaf in leaves(other)]

    for name in roles:
        for wanted in RIGHTS.values():
            given_by_leaves = any(allows(each, wanted) for leaf in leaves(name) for each in leaf["rules"] or ())
            assert any(allows(each, wanted) for each in after[name]["rules"]) is given_by_leaves
