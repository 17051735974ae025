# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users, namespaces and roles that the verbs' tests need, made and removed around each of them."""

from __future__ import annotations

import contextlib
import itertools
import os
import typing as t
from collections.abc import Iterator

import pytest

from ansible_collections.okd.virt.plugins.module_utils.access.roles import MIGRATE_ROLE, MIGRATE_RULES

from ..support.api import RBAC, Api
from .verbs import Verbs

_NUMBERS = itertools.count()


@pytest.fixture
def api(engine: t.Any) -> Api:
    return Api(engine.kubeconfig)


@pytest.fixture
def verbs(engine: t.Any) -> Verbs:
    return Verbs(engine.kubeconfig)


@pytest.fixture
def unique() -> str:
    """A name that no other test uses."""
    return f"t{os.getpid()}-{next(_NUMBERS)}"


@pytest.fixture
def namespaces(api: Api, unique: str) -> Iterator[list[str]]:
    """Three namespaces with the label C(tenant) set to the unique name."""
    names = [f"{unique}-{letter}" for letter in "abc"]
    for name in names:
        api.expect(201, "POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": {"tenant": unique}}})
    yield names
    for name in names:
        api.request("DELETE", f"/api/v1/namespaces/{name}")


@contextlib.contextmanager
def cluster_role(api: Api, body: dict[str, t.Any]) -> Iterator[dict[str, t.Any]]:
    """A ClusterRole for as long as the block runs."""
    made = api.expect(201, "POST", f"{RBAC}/clusterroles", body)
    try:
        yield made
    finally:
        api.request("DELETE", f"{RBAC}/clusterroles/{made['metadata']['name']}")


@pytest.fixture
def migrate_role(api: Api) -> Iterator[None]:
    """C(kubevirt.io:migrate), as KubeVirt 1.5 makes it."""
    body = {"metadata": {"name": MIGRATE_ROLE, "labels": {"kubevirt.io": ""}}, "rules": list(MIGRATE_RULES)}
    with cluster_role(api, body):
        yield


@pytest.fixture
def bind(api: Api) -> t.Callable[..., None]:
    """Binds a user to a ClusterRole in a namespace."""

    def make(namespace: str, user: str, role: str, name: str = "") -> None:
        body = {
            "metadata": {"name": name or f"{user}-{role}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }
        api.expect(201, "POST", f"{RBAC}/namespaces/{namespace}/rolebindings", body)

    return make
