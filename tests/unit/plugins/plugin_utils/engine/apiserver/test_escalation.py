# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody hands out what they don't hold, and the refusals read like the recorded ones."""
from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine import errors
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver import authorization as rbac
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver import escalation
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.identity import UserInfo

MIGRATE = [
    {"apiGroups": ["subresources.kubevirt.io"], "resources": ["virtualmachines/migrate"], "verbs": ["update"]},
    {
        "apiGroups": ["kubevirt.io"],
        "resources": ["virtualmachineinstancemigrations"],
        "verbs": ["get", "delete", "create", "update", "patch", "list", "watch", "deletecollection"],
    },
]
NAMESPACE_ADMIN = [
    {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachineinstancemigrations"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings", "roles"], "verbs": ["create", "update"]},
]
USER = UserInfo("u-admin", ("system:authenticated",))


class Kind(t.NamedTuple):
    kind: str
    plural: str
    group: str = rbac.RBAC_GROUP


ROLE_BINDING, CLUSTER_ROLE = Kind("RoleBinding", "rolebindings"), Kind("ClusterRole", "clusterroles")


@pytest.fixture
def authorizer() -> rbac.Authorizer:
    made = rbac.Authorizer()
    made.observe(rbac.CLUSTER_ROLES, "", "kubevirt.io:migrate", {"rules": MIGRATE})
    made.observe(rbac.CLUSTER_ROLES, "", "admin", {"rules": NAMESPACE_ADMIN})
    subjects = [{"kind": "User", "name": "u-admin"}]
    made.observe(rbac.ROLE_BINDINGS, "proc", "admins", {"roleRef": {"kind": "ClusterRole", "name": "admin"}, "subjects": subjects})
    return made


def binding(role: str, *subjects: str) -> dict[str, t.Any]:
    return {
        "metadata": {"name": "by-ns-admin"},
        "roleRef": {"apiGroup": rbac.RBAC_GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": name} for name in subjects],
    }


def refused(authorizer: rbac.Authorizer, kind: Kind, new: dict[str, t.Any], old: dict[str, t.Any] | None = None) -> errors.StatusError:
    with pytest.raises(errors.StatusError) as caught:
        escalation.check(authorizer, USER, kind, "proc" if kind is ROLE_BINDING else "", new, old)
    return caught.value


def test_a_namespace_admin_cannot_bind_what_it_does_not_hold(authorizer: rbac.Authorizer) -> None:
    error = refused(authorizer, ROLE_BINDING, binding("kubevirt.io:migrate", "u-late"))
    assert (error.code, error.reason) == (403, "Forbidden")
    assert error.message == (
        'rolebindings.rbac.authorization.k8s.io "by-ns-admin" is forbidden: user "u-admin" (groups=["system:authenticated"]) is attempting '
        "to grant RBAC permissions not currently held:\n"
        '{APIGroups:["kubevirt.io"], Resources:["virtualmachineinstancemigrations"], Verbs:["delete" "create" "update" "patch" '
        '"deletecollection"]}\n'
        '{APIGroups:["subresources.kubevirt.io"], Resources:["virtualmachines/migrate"], Verbs:["update"]}'
    )
    assert error.details == {"name": "by-ns-admin", "group": "rbac.authorization.k8s.io", "kind": "rolebindings"}


def test_it_can_while_it_holds_the_rules(authorizer: rbac.Authorizer) -> None:
    authorizer.observe(rbac.CLUSTER_ROLES, "", "admin", {"rules": NAMESPACE_ADMIN + MIGRATE})
    escalation.check(authorizer, USER, ROLE_BINDING, "proc", binding("kubevirt.io:migrate", "u-late"), None)


def test_a_role_that_is_not_there_cannot_be_bound_without_the_verb(authorizer: rbac.Authorizer) -> None:
    error = refused(authorizer, ROLE_BINDING, binding("kubevirt.io:nope", "u-late"))
    assert (error.code, error.message) == (404, 'rolebindings.rbac.authorization.k8s.io "kubevirt.io:nope" not found')
    rule = {"apiGroups": [rbac.RBAC_GROUP], "resources": ["clusterroles"], "verbs": ["bind"], "resourceNames": ["kubevirt.io:nope"]}
    authorizer.observe(rbac.CLUSTER_ROLES, "", "admin", {"rules": [rule]})
    escalation.check(authorizer, USER, ROLE_BINDING, "proc", binding("kubevirt.io:nope", "u-late"), None)


def test_an_unchanged_binding_may_be_labelled(authorizer: rbac.Authorizer) -> None:
    old = binding("kubevirt.io:migrate", "u-late")
    escalation.check(authorizer, USER, ROLE_BINDING, "proc", {**old, "metadata": {"name": "by-ns-admin", "labels": {"a": "b"}}}, old)
    assert refused(authorizer, ROLE_BINDING, binding("kubevirt.io:migrate", "u-late", "u-more"), old).code == 403


def test_aggregation_takes_everything(authorizer: rbac.Authorizer) -> None:
    role = {"metadata": {"name": "x"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}
    error = refused(authorizer, CLUSTER_ROLE, role)
    assert error.message == (
        'clusterroles.rbac.authorization.k8s.io "x" is forbidden: must have cluster-admin privileges to use the aggregationRule'
    )
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    authorizer.observe(rbac.CLUSTER_ROLES, "", "everything", {"rules": rules})
    reference = {"kind": "ClusterRole", "name": "everything"}
    authorizer.observe(rbac.CLUSTER_ROLE_BINDINGS, "", "b", {"roleRef": reference, "subjects": [{"kind": "User", "name": "u-admin"}]})
    escalation.check(authorizer, USER, CLUSTER_ROLE, "", role, None)


def test_the_verb_escalate_is_enough(authorizer: rbac.Authorizer) -> None:
    assert refused(authorizer, CLUSTER_ROLE, {"metadata": {"name": "x"}, "rules": MIGRATE}).code == 403
    rule = {"apiGroups": [rbac.RBAC_GROUP], "resources": ["clusterroles"], "verbs": ["escalate"]}
    authorizer.observe(rbac.CLUSTER_ROLES, "", "editor", {"rules": [rule]})
    reference = {"kind": "ClusterRole", "name": "editor"}
    authorizer.observe(rbac.CLUSTER_ROLE_BINDINGS, "", "b", {"roleRef": reference, "subjects": [{"kind": "User", "name": "u-admin"}]})
    escalation.check(authorizer, USER, CLUSTER_ROLE, "", {"metadata": {"name": "x"}, "rules": MIGRATE}, None)


def test_a_binding_to_a_missing_role_shows_as_a_resolution_error(authorizer: rbac.Authorizer) -> None:
    authorizer.observe(
        rbac.ROLE_BINDINGS, "proc", "stale", {"roleRef": {"kind": "ClusterRole", "name": "gone"}, "subjects": [{"kind": "User", "name": "u-admin"}]}
    )
    error = refused(authorizer, ROLE_BINDING, binding("kubevirt.io:migrate", "u-late"))
    assert error.message.endswith('; resolution errors: [clusterrole.rbac.authorization.k8s.io "gone" not found]')


RESOURCES = ["pods", "pods/eviction", "nodes"]
RULES = st.lists(
    st.fixed_dictionaries(
        {
            "apiGroups": st.lists(st.sampled_from(["", "apps", "*"]), min_size=1, max_size=2),
            "resources": st.lists(st.sampled_from([*RESOURCES, "*", "*/eviction"]), min_size=1, max_size=2),
            "verbs": st.lists(st.sampled_from(["get", "update", "*"]), min_size=1, max_size=2),
        },
        optional={"resourceNames": st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2)},
    ),
    max_size=3,
)


@settings(max_examples=300, deadline=None)
@given(RULES, RULES, st.sampled_from(["", "apps"]), st.sampled_from(RESOURCES), st.sampled_from(["get", "update"]), st.sampled_from(["", "a", "b"]))
def test_who_covers_a_role_can_do_all_that_it_allows(held: t.Any, wanted: t.Any, group: str, resource: str, verb: str, name: str) -> None:
    plain, dummy, subresource = resource.partition("/")
    asked = rbac.Attributes(verb, group, plain, subresource, "", name)
    if not escalation.uncovered(held, wanted) and rbac.Role(wanted).allows(asked):
        assert rbac.Role(held).allows(asked)
