# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody hands out rights that they do not hold, whichever way they write: each way over HTTPS, with the real texts."""
from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Iterator

import pytest

from ..support.api import MERGE_PATCH, RBAC, Api

GROUP = "rbac.authorization.k8s.io"
MORE = {"apiGroups": ["things.example.com"], "resources": ["things"], "verbs": ["get", "list"]}
GRANT = 'attempting to grant RBAC permissions not currently held:\n{APIGroups:["things.example.com"], Resources:["things"], Verbs:["get" "list"]}'
APPLY = "application/apply-patch+yaml"


@dataclasses.dataclass(frozen=True)
class Writer:
    """Somebody who may write every kind of role and binding, and holds nothing but `held`."""

    admin: Api
    name: str
    namespace: str

    def plural(self, kind: str) -> str:
        where = f"/namespaces/{self.namespace}" if kind.startswith("Role") else ""
        return f"{RBAC}{where}/{kind.lower()}s"

    def object(self, kind: str, name: str, **content: t.Any) -> dict[str, t.Any]:
        return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": f"{self.namespace}-{name}"}, **content}

    def binding(self, kind: str, name: str, role: str, role_kind: str = "ClusterRole") -> dict[str, t.Any]:
        reference = {"apiGroup": GROUP, "kind": role_kind, "name": role}
        return self.object(kind, name, roleRef=reference, subjects=[{"apiGroup": GROUP, "kind": "User", "name": self.name}])

    def write(self, status: int, obj: dict[str, t.Any], how: str = "POST") -> str:
        """The message of the answer, which must have this status."""
        path = self.plural(obj["kind"])
        named = f"{path}/{obj['metadata']['name']}"
        options: dict[str, t.Any] = {"user": self.name}
        if how == "POST":
            answer = self.admin.request("POST", path, obj, **options)
        elif how == "PUT":
            answer = self.admin.request("PUT", named, obj, **options)
        elif how == "apply":
            answer = self.admin.request("PATCH", f"{named}?fieldManager=tests&force=true", obj, content_type=APPLY, **options)
        else:
            answer = self.admin.request("PATCH", named, obj, content_type=MERGE_PATCH, **options)
        assert answer.status == status, answer.body
        return str(answer.body.get("message", ""))


@pytest.fixture
def writer(admin: Api, namespace: str) -> Iterator[Writer]:
    made = Writer(admin, f"{namespace}-writer", namespace)
    rule = {"apiGroups": [GROUP], "resources": ["*"], "verbs": ["get", "create", "update", "patch", "delete"]}
    admin.expect(201, "POST", f"{RBAC}/clusterroles", made.object("ClusterRole", "writer", rules=[rule]))
    admin.expect(201, "POST", f"{RBAC}/clusterroles", made.object("ClusterRole", "more", rules=[MORE]))
    admin.expect(201, "POST", f"{RBAC}/clusterrolebindings", made.binding("ClusterRoleBinding", "writer", f"{namespace}-writer"))
    yield made
    for plural in ("clusterroles", "clusterrolebindings"):
        for obj in admin.items(f"{RBAC}/{plural}"):
            if obj["metadata"]["name"].startswith(f"{namespace}-"):
                admin.request("DELETE", f"{RBAC}/{plural}/{obj['metadata']['name']}")


def grant(admin: Api, writer: Writer, name: str, *rules: dict[str, t.Any]) -> None:
    """Give the writer these rules in the whole cluster."""
    admin.expect(201, "POST", f"{RBAC}/clusterroles", writer.object("ClusterRole", name, rules=list(rules)))
    admin.expect(201, "POST", f"{RBAC}/clusterrolebindings", writer.binding("ClusterRoleBinding", name, f"{writer.namespace}-{name}"))


@pytest.mark.parametrize("kind", ["ClusterRole", "Role"])
def test_no_way_of_writing_a_role_gives_more_than_is_held(writer: Writer, kind: str) -> None:
    empty, full = writer.object(kind, "mine", rules=[]), writer.object(kind, "mine", rules=[MORE])
    plural = f"{kind.lower()}s"
    refused = f'{plural}.{GROUP} "{writer.namespace}-mine" is forbidden: user "{writer.name}" (groups=["system:authenticated"]) is {GRANT}'
    assert writer.write(403, full) == refused
    assert writer.write(403, full, "apply") == refused
    writer.write(201, empty)
    for how in ("PUT", "patch", "apply"):
        assert writer.write(403, full, how) == refused
    # What changes no rule is no grant.
    writer.write(200, {**empty, "metadata": {**empty["metadata"], "labels": {"a": "b"}}}, "patch")
    assert writer.admin.get(f"{writer.plural(kind)}/{writer.namespace}-mine").get("rules") in (None, [])


@pytest.mark.parametrize("kind", ["ClusterRoleBinding", "RoleBinding"])
def test_no_way_of_writing_a_binding_gives_more_than_is_held(admin: Api, writer: Writer, kind: str) -> None:
    more = writer.binding(kind, "mine", f"{writer.namespace}-more")
    plural = f"{kind.lower()}s"
    refused = f'{plural}.{GROUP} "{writer.namespace}-mine" is forbidden: user "{writer.name}" (groups=["system:authenticated"]) is {GRANT}'
    assert writer.write(403, more) == refused
    assert writer.write(403, more, "apply") == refused
    assert admin.request("GET", f"{writer.plural(kind)}/{writer.namespace}-mine").status == 404
    # Somebody else made it: its subjects can't be changed either, but its labels can.
    admin.expect(201, "POST", writer.plural(kind), {**more, "subjects": []})
    assert writer.write(403, more, "PUT") == refused
    assert writer.write(403, more, "patch") == refused
    writer.write(200, {"kind": kind, "metadata": {"name": more["metadata"]["name"], "labels": {"a": "b"}}}, "patch")
    # A binding means one role for good.
    other = {**more, "roleRef": {**more["roleRef"], "name": "view"}, "subjects": []}
    changed = admin.expect(422, "PUT", f"{writer.plural(kind)}/{more['metadata']['name']}", other)
    assert changed["message"].startswith(f'{kind}.{GROUP} "{more["metadata"]["name"]}" is invalid: roleRef: Invalid value: ')
    assert changed["message"].endswith(": cannot change roleRef")
    # A role that does not exist gives nothing yet, and might give anything one day.
    assert "not found" in writer.write(404, writer.binding(kind, "later", f"{writer.namespace}-nope"))


def test_what_is_held_may_be_handed_out(admin: Api, writer: Writer) -> None:
    grant(admin, writer, "held", MORE)
    writer.write(201, writer.object("ClusterRole", "mine", rules=[{**MORE, "verbs": ["get"]}]))
    writer.write(201, writer.object("Role", "mine", rules=[MORE]))
    writer.write(201, writer.binding("RoleBinding", "mine", f"{writer.namespace}-more"))
    assert "Verbs:[\"delete\"]" in writer.write(403, writer.object("Role", "two", rules=[{**MORE, "verbs": ["get", "delete"]}]))
    assert 'Resources:["*"]' in writer.write(403, writer.object("Role", "two", rules=[{**MORE, "resources": ["*"]}]))
    # Rights on one name are not rights on all of them, the other way round they are.
    writer.write(201, writer.object("Role", "named", rules=[{**MORE, "resourceNames": ["one"]}]))


def test_the_verbs_escalate_and_bind_are_enough_for_the_roles_that_they_name(admin: Api, writer: Writer) -> None:
    mine, more = f"{writer.namespace}-mine", f"{writer.namespace}-more"
    escalate = {"apiGroups": [GROUP], "resources": ["clusterroles"], "verbs": ["escalate"], "resourceNames": [mine]}
    bind = {"apiGroups": [GROUP], "resources": ["clusterroles"], "verbs": ["bind"], "resourceNames": [more, f"{writer.namespace}-nope"]}
    grant(admin, writer, "verbs", escalate, bind)
    writer.write(201, writer.object("ClusterRole", "mine", rules=[MORE]))
    assert GRANT in writer.write(403, writer.object("ClusterRole", "other", rules=[MORE]))
    assert GRANT in writer.write(403, writer.object("Role", "mine", rules=[MORE]))
    writer.write(201, writer.binding("ClusterRoleBinding", "mine", more))
    writer.write(201, writer.binding("RoleBinding", "later", f"{writer.namespace}-nope"))
    assert "is attempting to grant RBAC permissions" in writer.write(403, writer.binding("RoleBinding", "admin", "cluster-admin"))


def test_aggregation_is_for_those_who_hold_everything(admin: Api, writer: Writer) -> None:
    chosen = {"clusterRoleSelectors": [{"matchLabels": {"tests.example.com/none": "true"}}]}
    role = writer.object("ClusterRole", "all", aggregationRule=chosen, rules=[])
    name = f"{writer.namespace}-all"
    refused = f'clusterroles.{GROUP} "{name}" is forbidden: must have cluster-admin privileges to use the aggregationRule'
    assert writer.write(403, role) == refused
    assert writer.write(403, role, "apply") == refused
    admin.expect(201, "POST", f"{RBAC}/clusterroles", role)
    assert writer.write(403, writer.object("ClusterRole", "all", aggregationRule=None), "patch") == refused
    writer.write(200, writer.object("ClusterRole", "all", metadata={"name": name, "labels": {"a": "b"}}), "patch")
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    grant(admin, writer, "everything", *everything)
    writer.write(201, writer.object("ClusterRole", "all2", aggregationRule=chosen, rules=[]))


def test_the_group_of_masters_may_everything(admin: Api, writer: Writer) -> None:
    full = writer.object("ClusterRole", "mine", rules=[MORE])
    admin.expect(201, "POST", f"{RBAC}/clusterroles", full, user=writer.name, groups=["system:masters"])
