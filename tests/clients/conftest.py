# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients, each against the engine of the test run."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine
from ansible_collections.okd.virt.tests.support.api import Api
from ansible_collections.okd.virt.tests.support.kubectl import Kubectl
from ansible_collections.okd.virt.tests.support.peers import OLDER_KUBECTL


@pytest.fixture(scope="module", params=["", str(OLDER_KUBECTL)], ids=["newest", "older"])
def kubectl(engine: RunningEngine, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Kubectl:
    """kubectl as cluster-admin: the newest, and one of an older minor version."""
    return Kubectl(engine.kubeconfig, tmp_path_factory.mktemp("kubectl"), request.param)


@pytest.fixture(scope="module")
def api(engine: RunningEngine) -> Api:
    """Plain requests as cluster-admin."""
    return Api(engine.kubeconfig)


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"clients-{uuid.uuid4().hex[:8]}"
    api.expect(201, "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    api.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def kubectl_of(engine: RunningEngine, tmp_path: Path) -> Kubectl:
    """kubectl with caches of its own for each test."""
    return Kubectl(engine.kubeconfig, tmp_path / "home")
