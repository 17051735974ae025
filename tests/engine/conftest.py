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

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process
from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine

from ..support.api import Api
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
