# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The indexed authorizer gives the answers of the documented rules, evaluated one after the other."""
from __future__ import annotations

import typing as t

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver import authorization as rbac
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.identity import UserInfo, service_account_user

GROUPS = st.sampled_from(["", "apps", "kubevirt.io", "*"])
RESOURCES = st.sampled_from(["pods", "pods/eviction", "virtualmachines", "virtualmachines/migrate", "*", "*/migrate"])
VERBS = st.sampled_from(["get", "create", "update", "*"])
NAMES = st.sampled_from(["a", "b"])
NAMESPACES = st.sampled_from(["n1", "n2"])
RULES = st.one_of(
    st.fixed_dictionaries(
        {
            "apiGroups": st.lists(GROUPS, min_size=1, max_size=2),
            "resources": st.lists(RESOURCES, min_size=1, max_size=2),
            "verbs": st.lists(VERBS, min_size=1, max_size=2),
        },
        optional={"resourceNames": st.lists(NAMES, min_size=1, max_size=2)},
    ),
    st.fixed_dictionaries({"nonResourceURLs": st.lists(st.sampled_from(["/healthz", "/api/*", "*"]), min_size=1, max_size=2),
                           "verbs": st.lists(VERBS, min_size=1, max_size=2)}),
)
SUBJECTS = st.one_of(
    st.fixed_dictionaries({"kind": st.just("User"), "name": st.sampled_from(["ann", "bob", "system:serviceaccount:n1:robot"])}),
    st.fixed_dictionaries({"kind": st.just("Group"), "name": st.sampled_from(["devs", "system:serviceaccounts:n1"])}),
    st.fixed_dictionaries({"kind": st.just("ServiceAccount"), "name": st.just("robot"), "namespace": NAMESPACES}),
)
ROLE_NAMES = st.sampled_from(["r1", "r2", "r3"])
CLUSTER_ROLES = st.dictionaries(ROLE_NAMES, st.lists(RULES, max_size=3))
ROLES = st.dictionaries(st.tuples(NAMESPACES, ROLE_NAMES), st.lists(RULES, max_size=3))
BINDINGS = st.lists(
    st.tuples(st.sampled_from(["", "n1", "n2"]), st.sampled_from(["Role", "ClusterRole"]), ROLE_NAMES, st.lists(SUBJECTS, max_size=2)),
    max_size=6,
)
USERS = st.one_of(
    st.builds(UserInfo, st.sampled_from(["ann", "bob"]), st.sets(st.sampled_from(["devs", "ops"])).map(lambda groups: tuple(sorted(groups)))),
    NAMESPACES.map(lambda namespace: service_account_user(namespace, "robot")),
)
ASKED = st.one_of(
    st.builds(
        rbac.Attributes, st.sampled_from(["get", "create", "update"]), st.sampled_from(["", "apps", "kubevirt.io"]),
        st.sampled_from(["pods", "virtualmachines"]), st.sampled_from(["", "migrate", "eviction"]), st.sampled_from(["", "n1", "n2"]),
        st.sampled_from(["", "a", "b"]),
    ),
    st.builds(lambda verb, path: rbac.Attributes(verb, path=path), st.sampled_from(["get", "create"]), st.sampled_from(["/healthz", "/api/v1", "/x"])),
)


def rule_allows(rule: dict[str, t.Any], asked: rbac.Attributes) -> bool:
    if asked.verb not in rule["verbs"] and "*" not in rule["verbs"]:
        return False
    if not asked.resource:
        return any(url in ("*", asked.path) or (url[-1] == "*" and asked.path.startswith(url[:-1])) for url in rule.get("nonResourceURLs", []))
    groups, resources, names = rule.get("apiGroups", []), rule.get("resources", []), rule.get("resourceNames", [])
    if asked.group not in groups and "*" not in groups:
        return False
    combined = asked.resource + (f"/{asked.subresource}" if asked.subresource else "")
    if not any(one in ("*", combined) or (asked.subresource and one == f"*/{asked.subresource}") for one in resources):
        return False
    return not names or asked.name in names


def subject_is(subject: dict[str, str], user: UserInfo) -> bool:
    if subject["kind"] == "User":
        return subject["name"] == user.name
    if subject["kind"] == "Group":
        return subject["name"] in user.groups
    return user.name == f"system:serviceaccount:{subject['namespace']}:{subject['name']}"


def build(cluster_roles: t.Any, roles: t.Any, bindings: t.Any) -> rbac.Authorizer:
    authorizer = rbac.Authorizer()
    for name, rules in cluster_roles.items():
        authorizer.observe(rbac.CLUSTER_ROLES, "", name, {"rules": rules})
    for (namespace, name), rules in roles.items():
        authorizer.observe(rbac.ROLES, namespace, name, {"rules": rules})
    for number, (namespace, kind, role, subjects) in enumerate(bindings):
        value = {"roleRef": {"kind": kind if namespace else "ClusterRole", "name": role}, "subjects": subjects}
        authorizer.observe(rbac.ROLE_BINDINGS if namespace else rbac.CLUSTER_ROLE_BINDINGS, namespace, f"b{number}", value)
    return authorizer


def naive(cluster_roles: t.Any, roles: t.Any, bindings: t.Any, user: UserInfo, asked: rbac.Attributes) -> bool:
    for namespace, kind, name, subjects in bindings:
        if namespace not in ("", asked.namespace) or not any(subject_is(subject, user) for subject in subjects):
            continue
        rules = roles.get((namespace, name), []) if namespace and kind == "Role" else cluster_roles.get(name, [])
        if any(rule_allows(rule, asked) for rule in rules):
            return True
    return False


@settings(max_examples=400, deadline=None)
@given(CLUSTER_ROLES, ROLES, BINDINGS, USERS, ASKED)
def test_the_index_answers_as_an_evaluation_of_every_binding(
    cluster_roles: t.Any, roles: t.Any, bindings: t.Any, user: UserInfo, asked: rbac.Attributes
) -> None:
    allowed, reason = build(cluster_roles, roles, bindings).authorize(user, asked)
    assert allowed == naive(cluster_roles, roles, bindings, user, asked)
    assert reason.startswith("RBAC: allowed by ") == allowed
    assert allowed or not reason or reason.endswith((" not found", " not found]"))


@settings(max_examples=100, deadline=None)
@given(CLUSTER_ROLES, ROLES, BINDINGS, USERS, ASKED, st.data())
def test_what_was_deleted_or_changed_no_longer_counts(
    cluster_roles: t.Any, roles: t.Any, bindings: t.Any, user: UserInfo, asked: rbac.Attributes, data: st.DataObject
) -> None:
    authorizer = build(cluster_roles, roles, bindings)
    authorizer.authorize(user, asked)
    gone = data.draw(st.sets(st.integers(0, max(0, len(bindings) - 1))))
    for number in gone:
        if number < len(bindings):
            namespace = bindings[number][0]
            resource = rbac.ROLE_BINDINGS if namespace else rbac.CLUSTER_ROLE_BINDINGS
            authorizer.observe(resource, namespace, f"b{number}", None)
    emptied = data.draw(st.sets(ROLE_NAMES))
    for name in emptied:
        authorizer.observe(rbac.CLUSTER_ROLES, "", name, {"rules": []})
    kept = [binding for number, binding in enumerate(bindings) if number not in gone]
    left = {name: rules for name, rules in cluster_roles.items() if name not in emptied}
    assert authorizer.authorize(user, asked)[0] == naive(left, roles, kept, user, asked)
    if not kept:
        assert not authorizer._by_subject


@settings(max_examples=300, deadline=None)
@given(CLUSTER_ROLES, ROLES, BINDINGS, USERS, st.lists(ASKED, min_size=2, max_size=6))
def test_what_was_asked_before_changes_no_answer(
    cluster_roles: t.Any, roles: t.Any, bindings: t.Any, user: UserInfo, questions: list[rbac.Attributes]
) -> None:
    authorizer = build(cluster_roles, roles, bindings)
    # Among them the same for other names, as controllers ask.
    asked = [one for question in questions for one in (question, question._replace(name="a"), question._replace(name="b"), question)]
    assert [authorizer.authorize(user, one) for one in asked] == [build(cluster_roles, roles, bindings).authorize(user, one) for one in asked]


def test_the_reason_names_the_binding_the_role_and_the_subject() -> None:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    user = service_account_user("n1", "robot")
    asked = rbac.Attributes("get", "", "pods", "", "n1")
    bindings = [("n1", "ClusterRole", "view", [{"kind": "ServiceAccount", "name": "robot", "namespace": "n1"}])]
    assert build({"view": rules}, {}, bindings).authorize(user, asked) == (
        True, 'RBAC: allowed by RoleBinding "b0/n1" of ClusterRole "view" to ServiceAccount "robot/n1"'
    )
    bindings = [("", "ClusterRole", "view", [{"kind": "Group", "name": "system:serviceaccounts"}])]
    assert build({"view": rules}, {}, bindings).authorize(user, asked) == (
        True, 'RBAC: allowed by ClusterRoleBinding "b0" of ClusterRole "view" to Group "system:serviceaccounts"'
    )


def test_refusals_read_like_the_real_ones() -> None:
    user = UserInfo("bob", ("devs",))
    assert rbac.refusal(user, rbac.Attributes("list", "", "nodes")) == 'User "bob" cannot list resource "nodes" in API group "" at the cluster scope'
    assert rbac.refusal(user, rbac.Attributes("create", "", "pods", "eviction", "a", "x")) == (
        'User "bob" cannot create resource "pods/eviction" in API group "" in the namespace "a"'
    )
    assert rbac.refusal(user, rbac.Attributes("get", path="/metrics")) == 'User "bob" cannot get path "/metrics"'
