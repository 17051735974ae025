# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy of a service over HTTP: what a ConfigMap says, and to whom."""
from __future__ import annotations

import pytest

from ..support.api import RBAC, Api


@pytest.fixture
def services(admin: Api, namespace: str) -> str:
    """The path of services of which one answers, one wants a login, and one has nobody behind it."""
    core = f"/api/v1/namespaces/{namespace}"
    admin.expect(201, "POST", f"{core}/configmaps", {"metadata": {"name": "said"}, "data": {"api.v2.alerts": '[{"labels": {"alertname": "A"}}]'}})
    answers, login = "engine.okd.virt/answers", "engine.okd.virt/wants-login"
    marks = {"answers": {answers: "said"}, "guarded": {login: "true"}, "lonely": {}, "lost": {answers: "x"}}
    for name, marked in marks.items():
        admin.expect(201, "POST", f"{core}/services", {"metadata": {"name": name, "annotations": marked}, "spec": {"ports": [{"port": 80}]}})
    return f"{core}/services"


@pytest.mark.parametrize("name", ["answers", "answers:80", "http:answers:80", "http:answers:"])
def test_what_the_config_map_says(admin: Api, services: str, name: str) -> None:
    answer = admin.request("GET", f"{services}/{name}/proxy/api/v2/alerts?active=true")
    assert (answer.status, answer.body) == (200, [{"labels": {"alertname": "A"}}])


@pytest.mark.parametrize(("name", "status", "said"), [
    ("answers/proxy/other", 404, "404 page not found"), ("nowhere/proxy/", 404, 'services "nowhere" not found'),
    ("lonely:80/proxy", 503, 'no endpoints available for service "lonely:80"'), ("guarded/proxy/api", 401, "Unauthorized"),
    ("lost/proxy/api", 404, 'configmaps "x" not found'),
])
def test_what_has_no_answer(admin: Api, services: str, name: str, status: int, said: str) -> None:
    answer = admin.request("GET", f"{services}/{name}")
    assert answer.status == status
    assert said in str(answer.body)


def test_only_reading_and_only_by_whom_it_is_allowed(admin: Api, namespace: str, services: str) -> None:
    path = f"{services}/answers:80/proxy/api/v2/alerts"
    assert admin.request("POST", path, {}).status == 405
    assert admin.request("GET", path, user="reader").status == 403
    rules = [{"apiGroups": [""], "resources": ["services/proxy"], "resourceNames": ["answers:80"], "verbs": ["get"]}]
    roles = f"{RBAC}/namespaces/{namespace}"
    admin.expect(201, "POST", f"{roles}/roles", {"metadata": {"name": "reads"}, "rules": rules})
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader"}]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reads"}
    admin.expect(201, "POST", f"{roles}/rolebindings", {"metadata": {"name": "reads"}, "roleRef": reference, "subjects": subjects})
    assert admin.request("GET", path, user="reader").status == 200
    assert admin.request("GET", f"{services}/lonely:80/proxy", user="reader").status == 403


def test_of_pods_there_is_none(admin: Api) -> None:
    pod = admin.items("/api/v1/pods")[0]["metadata"]
    assert admin.request("GET", f"/api/v1/namespaces/{pod['namespace']}/pods/{pod['name']}/proxy/metrics").status == 405
