# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two thousand questions about generated roles, bindings and aggregations: the server answers as the documented rules do."""
from __future__ import annotations

import copy
import functools
import typing as t

import pytest

from ..support.api import MERGE_PATCH, RBAC, REVIEWS, Api
from ..support.rbac import RESOURCES, Object, Rbac
from ..support.rbac_cases import Cases, Question
from .waiting import eventually

ROUNDS, QUESTIONS = 10, 100
"""Rounds with objects of their own; questions before and after some of them changed."""
PLURAL = {"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "Role": "roles", "RoleBinding": "rolebindings"}


def path(obj: Object, named: bool = True) -> str:
    metadata = obj["metadata"]
    where = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{RBAC}{where}/{PLURAL[obj['kind']]}" + (f"/{metadata['name']}" if named else "")


class Cluster:
    """The server's objects, and the same as the evaluator has them."""

    def __init__(self, admin: Api) -> None:
        self.admin, self.rules = admin, Rbac()
        for resource in RESOURCES:
            for value in admin.items(f"{RBAC}/{resource}"):
                self.rules.set(resource, value)

    def create(self, obj: Object) -> None:
        self.admin.expect(201, "POST", path(obj, named=False), obj)
        self.rules.set(PLURAL[obj["kind"]], copy.deepcopy(obj))

    def change(self, obj: Object) -> None:
        labels = obj["metadata"]["labels"]
        current = self.admin.get(path(obj))
        wanted = {**current, "metadata": {**current["metadata"], "labels": labels}, "rules": obj["rules"]}
        self.admin.expect(200, "PUT", path(obj), wanted)
        self.rules.set(PLURAL[obj["kind"]], copy.deepcopy(obj))

    def delete(self, obj: Object) -> None:
        self.admin.expect(200, "DELETE", path(obj))
        self.rules.remove(PLURAL[obj["kind"]], obj)

    def aggregated(self, roles: list[Object]) -> None:
        """Wait until what these roles are put together of is what it should be."""
        self.rules.aggregate()
        for role in roles:
            expected = self.rules.objects["clusterroles"]["", role["metadata"]["name"]].get("rules") or []
            eventually(functools.partial(self._has, role, expected))

    def _has(self, role: Object, rules: list[Object]) -> bool:
        return same(self.admin.get(path(role)).get("rules") or [], rules)

    def review(self, question: Question) -> bool:
        person, attributes = question.person, question.attributes
        spec: Object = {"user": person.name, "groups": sorted(person.groups)}
        if "path" in attributes:
            spec["nonResourceAttributes"] = attributes
        else:
            spec["resourceAttributes"] = {**attributes, "namespace": question.namespace}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        status = self.admin.expect(201, "POST", f"{REVIEWS}/subjectaccessreviews", body)["status"]
        assert status["allowed"] == status.get("reason", "").startswith("RBAC: allowed by ")
        return bool(status["allowed"])

    def disagreements(self, questions: list[Question]) -> list[tuple[Question, bool]]:
        """Questions with the evaluator's answer, where the server's is another."""
        answers = [(question, self.rules.allowed(question.person, question.namespace, question.attributes)) for question in questions]
        assert 0.05 * len(answers) < sum(allowed for _question, allowed in answers) < 0.95 * len(answers)
        return [(question, allowed) for question, allowed in answers if self.review(question) != allowed]


def same(rules: list[Object], expected: list[Object]) -> bool:
    def rows(given: list[Object]) -> list[str]:
        return sorted(str(sorted((key, str(value)) for key, value in rule.items() if value)) for rule in given)

    return rows(rules) == rows(expected)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_the_server_agrees_with_the_documented_rules(admin: Api, namespace: str, seed: int) -> None:
    other = f"{namespace}-other"
    admin.expect(201, "POST", "/api/v1/namespaces", {"metadata": {"name": other}})
    cases, cluster = Cases(seed, f"{namespace}-", (namespace, other)), Cluster(admin)
    cluster_roles, roles, bindings = cases.cluster_roles(), cases.roles(), cases.bindings()
    try:
        for obj in (*cluster_roles, *roles, *bindings):
            cluster.create(obj)
        together = [role for role in cluster_roles if role.get("aggregationRule")]
        cluster.aggregated(together)
        questions = [cases.question() for _number in range(QUESTIONS)]
        assert cluster.disagreements(questions) == []
        for obj in cases.changed([*cluster_roles, *roles]):
            cluster.change(obj)
        for obj in cases.some(bindings):
            cluster.delete(obj)
        cluster.aggregated(together)
        assert cluster.disagreements(questions) == []
    finally:
        for obj in (*cluster_roles, *(one for one in bindings if one["kind"] == "ClusterRoleBinding")):
            admin.request("DELETE", path(obj))
        admin.request("DELETE", f"/api/v1/namespaces/{other}")


def test_a_request_is_judged_as_its_review_says(admin: Api, namespace: str) -> None:
    """What a review allows is done, and what it refuses is forbidden."""
    verbs = {"get": ("GET", "/one"), "list": ("GET", ""), "create": ("POST", ""), "delete": ("DELETE", "/one"), "deletecollection": ("DELETE", "")}
    cases, cluster = Cases(99, f"{namespace}-", (namespace,)), Cluster(admin)
    for obj in (*cases.roles(), *(one for one in cases.bindings() if one["kind"] == "RoleBinding")):
        cluster.create(obj)
    asked: list[t.Any] = []
    for person in cases.people:
        for verb, (method, name) in verbs.items():
            attributes = {"verb": verb, "group": "", "resource": "configmaps", **({"name": "one"} if name else {})}
            # Only asked, never done: a missing object and a dry run change nothing.
            where = f"/api/v1/namespaces/{namespace}/configmaps{name}?dryRun=All"
            body = {"metadata": {"generateName": "x-"}} if method == "POST" else None
            answer = admin.request(method, where, body, user=person.name, groups=sorted(person.groups))
            asked.append((person.name, verb, answer.status != 403, cluster.rules.allowed(person, namespace, attributes)))
    assert [case for case in asked if case[2] != case[3]] == []
    assert {case[3] for case in asked} == {True, False}


def test_a_label_of_a_standard_role_reaches_the_roles_that_it_makes_up(admin: Api, namespace: str) -> None:
    name = f"{namespace}-extra"
    rule = {"apiGroups": ["tests.example.com"], "resources": ["things"], "verbs": ["get"]}
    label = "rbac.authorization.k8s.io/aggregate-to-view"
    made = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name, "labels": {label: "true"}}, "rules": [rule]}
    admin.expect(201, "POST", f"{RBAC}/clusterroles", made)

    def having() -> int:
        # view is part of edit, and edit of admin.
        return sum(rule in admin.get(f"{RBAC}/clusterroles/{role}")["rules"] for role in ("view", "edit", "admin"))

    try:
        eventually(lambda: having() == 3)
        admin.expect(200, "PATCH", f"{RBAC}/clusterroles/{name}", {"metadata": {"labels": {label: None}}}, content_type=MERGE_PATCH)
        eventually(lambda: having() == 0)
    finally:
        admin.request("DELETE", f"{RBAC}/clusterroles/{name}")
