# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a request is from, whom it may stand for, and what it may do, over HTTPS."""
from __future__ import annotations

import base64
import json
import typing as t

import pytest
import urllib3
import yaml

from ..support.api import MERGE_PATCH, RBAC, REVIEWS, Api
from .waiting import eventually

MIGRATIONS = {"group": "kubevirt.io", "resource": "virtualmachineinstancemigrations", "verb": "create"}


class Tokens:
    """Requests with a bearer token, or with nothing, and without the administrator's certificate."""

    def __init__(self, kubeconfig: t.Any) -> None:
        with open(kubeconfig, encoding="utf-8") as file:
            cluster = yaml.safe_load(file)["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.url = cluster["server"]
        self._pool = urllib3.PoolManager(ca_cert_data=authority, retries=False, timeout=20)

    def request(self, method: str, path: str, token: str = "", body: object = None) -> tuple[int, t.Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        response = self._pool.request(method, self.url + path, headers=headers, body=json.dumps(body) if body is not None else None)
        return response.status, json.loads(response.data)


@pytest.fixture(scope="module")
def tokens(engine: t.Any) -> Tokens:
    return Tokens(engine.kubeconfig)


def test_anonymous_sees_the_version_and_no_more(tokens: Tokens) -> None:
    assert tokens.request("GET", "/version")[0] == 200
    status, body = tokens.request("GET", "/api")
    assert (status, body["message"]) == (403, 'forbidden: User "system:anonymous" cannot get path "/api"')
    status, body = tokens.request("GET", "/api/v1/namespaces/default/pods")
    assert body["message"] == (
        'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" in the namespace "default"'
    )
    assert tokens.request("GET", "/api", token="nobody's")[0] == 401


def token_of(admin: Api, namespace: str, account: str, **spec: t.Any) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600, **spec}}
    made = admin.expect(201, "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", body)
    return t.cast(str, made["status"]["token"])


def test_a_service_account_is_who_its_token_says_until_it_is_gone(admin: Api, tokens: Tokens, namespace: str) -> None:
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    admin.expect(201, "POST", accounts, {"metadata": {"name": "robot"}})
    token = token_of(admin, namespace, "robot")
    status, body = tokens.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", token, {})
    assert status == 201
    assert body["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:robot"
    assert body["status"]["userInfo"]["groups"] == ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    found = admin.expect(201, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert found["status"]["authenticated"] is True
    admin.expect(200, "DELETE", f"{accounts}/robot")
    assert tokens.request("GET", "/api", token)[0] == 401
    admin.expect(201, "POST", accounts, {"metadata": {"name": "robot"}})
    assert tokens.request("GET", "/api", token)[0] == 401
    assert "error" in admin.expect(201, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)["status"]


def test_a_token_bound_to_an_object_ends_with_it(admin: Api, tokens: Tokens, namespace: str) -> None:
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    secret = admin.expect(201, "POST", secrets, {"metadata": {"name": "s"}})
    reference = {"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": secret["metadata"]["uid"]}
    token = token_of(admin, namespace, "default", boundObjectRef=reference)
    assert tokens.request("GET", "/api", token)[0] == 200
    admin.expect(200, "DELETE", f"{secrets}/s")
    assert tokens.request("GET", "/api", token)[0] == 401


def test_tokens_for_others_and_short_ones_are_refused(admin: Api, tokens: Tokens, namespace: str) -> None:
    assert tokens.request("GET", "/api", token_of(admin, namespace, "default", audiences=["somebody-else"]))[0] == 401
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 10}}
    refused = admin.expect(422, "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token", body)
    assert "may not specify a duration less than 10 minutes" in refused["message"]


def bind(admin: Api, namespace: str, role: str, *subjects: dict[str, str], name: str = "") -> None:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    body = {"metadata": {"name": name or role.replace(":", "-")}, "roleRef": reference, "subjects": list(subjects)}
    admin.expect(201, "POST", f"{RBAC}/namespaces/{namespace}/rolebindings", body)


def user(name: str) -> dict[str, str]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}


def test_impersonation_needs_the_right_and_gives_no_more_than_the_other_has(admin: Api, tokens: Tokens, namespace: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    refused = admin.expect(403, "GET", pods, user="dave", groups=["devs"])
    assert refused["message"] == (
        f'pods is forbidden: User "dave" cannot list resource "pods" in API group "" in the namespace "{namespace}"'
    )
    bind(admin, namespace, "edit", {"kind": "ServiceAccount", "name": "default", "namespace": namespace})
    token = token_of(admin, namespace, "default")
    assert tokens.request("GET", pods, token)[0] == 200
    answer = admin.request("GET", pods, user=f"system:serviceaccount:{namespace}:default")
    assert answer.status == 200


def test_a_binding_counts_from_the_next_request_on(admin: Api, namespace: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    for _round in range(3):
        admin.expect(403, "GET", pods, user="erin")
        bind(admin, namespace, "view", user("erin"))
        admin.expect(200, "GET", pods, user="erin")
        admin.expect(200, "GET", f"/api/v1/namespaces/{namespace}", user="erin")
        admin.expect(403, "GET", f"/api/v1/namespaces/{namespace}/secrets", user="erin")
        admin.expect(200, "DELETE", f"{RBAC}/namespaces/{namespace}/rolebindings/view")
    admin.expect(403, "GET", pods, user="erin")


def test_reviews_agree_with_each_other_and_name_the_reason(admin: Api, namespace: str) -> None:
    bind(admin, namespace, "admin", user("alice"), name="alice-admin")
    attributes = {"namespace": namespace, "verb": "create", "group": "", "resource": "pods", "subresource": "eviction"}
    spec = {"user": "alice", "groups": ["devs"], "resourceAttributes": attributes}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    reason = f'RBAC: allowed by RoleBinding "alice-admin/{namespace}" of ClusterRole "admin" to User "alice"'
    assert admin.expect(201, "POST", f"{REVIEWS}/subjectaccessreviews", body)["status"] == {"allowed": True, "reason": reason}
    own = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
    assert admin.expect(201, "POST", f"{REVIEWS}/selfsubjectaccessreviews", own, user="alice")["status"]["reason"] == reason
    local = {**body, "kind": "LocalSubjectAccessReview", "metadata": {"namespace": namespace}}
    path = f"{REVIEWS}/namespaces/{namespace}/localsubjectaccessreviews"
    assert admin.expect(201, "POST", path, local)["status"]["allowed"] is True
    assert admin.expect(201, "POST", path, local, user="alice")["status"]["allowed"] is True
    rules = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}}
    found = admin.expect(201, "POST", f"{REVIEWS}/selfsubjectrulesreviews", rules, user="alice")["status"]
    assert {"verbs": ["create"], "apiGroups": [""], "resources": ["pods/eviction"]} in found["resourceRules"]
    assert found["incomplete"] is False
    admin.expect(403, "POST", f"{REVIEWS}/subjectaccessreviews", body, user="alice")


def test_aggregation_follows_labels_both_ways(admin: Api, namespace: str) -> None:
    bind(admin, namespace, "admin", user("ada"), name="ada")
    bind(admin, namespace, "edit", user("ed"), name="ed")
    role = f"aggregated-{namespace}"
    rule = {"apiGroups": ["example.com"], "resources": [f"things{namespace}"], "verbs": ["get"]}
    asked = {"namespace": namespace, "verb": "get", "group": "example.com", "resource": f"things{namespace}"}
    label = "rbac.authorization.k8s.io/aggregate-to-"
    admin.expect(201, "POST", f"{RBAC}/clusterroles", {"metadata": {"name": role, "labels": {f"{label}admin": "true"}}, "rules": [rule]})
    try:
        eventually(lambda: admin.allowed("ada", [], asked))
        assert not admin.allowed("ed", [], asked)
        labels = {"metadata": {"labels": {f"{label}admin": None, f"{label}edit": "true"}}}
        admin.expect(200, "PATCH", f"{RBAC}/clusterroles/{role}", labels, content_type=MERGE_PATCH)
        eventually(lambda: admin.allowed("ed", [], asked))
        eventually(lambda: admin.allowed("ada", [], asked))
    finally:
        admin.expect(200, "DELETE", f"{RBAC}/clusterroles/{role}")
    eventually(lambda: not admin.allowed("ed", [], asked) and not admin.allowed("ada", [], asked))
    managers = {entry["manager"]: entry["operation"] for entry in admin.get(f"{RBAC}/clusterroles/admin")["metadata"]["managedFields"]}
    assert managers["clusterrole-aggregation-controller"] == "Apply"


def test_a_namespace_admin_hands_out_only_what_it_holds(admin: Api, namespace: str) -> None:
    bind(admin, namespace, "admin", user("u-admin"), name="admins")
    role = f"special-{namespace}"
    rule = {"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get", "list"]}
    admin.expect(201, "POST", f"{RBAC}/clusterroles", {"metadata": {"name": role}, "rules": [rule]})
    bindings = f"{RBAC}/namespaces/{namespace}/rolebindings"

    def binding(name: str) -> dict[str, t.Any]:
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
        return {"metadata": {"name": "by-admin"}, "roleRef": reference, "subjects": [user("late")]}

    try:
        refused = admin.expect(403, "POST", bindings, binding(role), user="u-admin")
        assert refused["message"] == (
            'rolebindings.rbac.authorization.k8s.io "by-admin" is forbidden: user "u-admin" (groups=["system:authenticated"]) is '
            'attempting to grant RBAC permissions not currently held:\n{APIGroups:["example.com"], Resources:["things"], Verbs:["get" "list"]}'
        )
        missing = admin.expect(404, "POST", bindings, binding("nope:nope"), user="u-admin")
        assert missing["message"] == 'rolebindings.rbac.authorization.k8s.io "nope:nope" not found'
        made = admin.expect(201, "POST", bindings, binding("view"), user="u-admin")
        assert made["subjects"] == [user("late")]
        changed = admin.expect(422, "PATCH", f"{bindings}/by-admin", {"roleRef": {"name": "edit"}}, content_type=MERGE_PATCH)
        assert "cannot change roleRef" in changed["message"]
    finally:
        admin.expect(200, "DELETE", f"{RBAC}/clusterroles/{role}")
