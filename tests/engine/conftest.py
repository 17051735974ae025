# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster-admin's client and a namespace of its own for each test that talks to the shared engine."""
from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import typing as t
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine import kubevirt, process
from ansible_collections.okd.virt.plugins.plugin_utils.engine.clock import Clock
from ansible_collections.okd.virt.plugins.plugin_utils.engine.controller import Controller
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import Cluster
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt import virt_controller
from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine

from ..support.api import Api
from ..support.node_agent import NodeAgent
from .migrating import Migrating
from .waiting import eventually

_NUMBERS = itertools.count()


def pytest_asyncio_loop_factories() -> dict[str, t.Callable[[], asyncio.AbstractEventLoop]]:
    """What runs in this process runs on both loops that an engine may have."""
    factories: dict[str, t.Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.SelectorEventLoop}
    with contextlib.suppress(ImportError):
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture(scope="session")
def admin(engine: t.Any) -> Api:
    return Api(engine.kubeconfig)


@pytest.fixture
def namespace(admin: Api) -> Iterator[str]:
    """A namespace with its default ServiceAccount, deleted afterwards."""
    name = f"test-{os.getpid()}-{next(_NUMBERS)}"
    admin.expect(201, "POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    eventually(lambda: admin.request("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default").status == 200)
    yield name
    admin.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def start(fresh_engine: Callable[..., RunningEngine]) -> Iterator[Callable[..., Api]]:
    """Start an engine of the test's own, stopped with the test: `start(release="4.19", …)` takes what EngineOptions has."""
    started: list[RunningEngine] = []

    def begin(**options: t.Any) -> Api:
        started.append(fresh_engine(**options))
        return Api(started[-1].kubeconfig)

    yield begin
    for engine in started:
        process.stop(engine.directory)


@pytest.fixture
def migrating(monkeypatch: pytest.MonkeyPatch) -> Callable[..., contextlib.AbstractAsyncContextManager[Migrating]]:
    """An engine in this process at jumping time, the lab unless told otherwise, whose virt-handler is a script.

    `async with migrating(release="4.19", namespace="shop", …) as cluster`.
    """

    def without_handler(cluster: Cluster, clock: Clock, namespace: str, *_more: object) -> list[Controller]:
        return virt_controller.start(cluster, clock, namespace)

    monkeypatch.setattr(kubevirt, "start", without_handler)

    @contextlib.asynccontextmanager
    async def begin(namespace: str = "shop", **options: t.Any) -> t.AsyncIterator[Migrating]:
        engine = Engine(Options(**{"cluster": "lab", "release": "4.19", "speed": "max", **options}))
        await engine.start()
        try:
            async with NodeAgent(engine) as agent, Migrating(engine, agent, namespace) as cluster:
                yield cluster
        finally:
            await engine.stop()

    return begin
