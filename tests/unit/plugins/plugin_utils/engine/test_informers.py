# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Informers on the engine's own API: what they know, how they find it, and that controllers share them."""
from __future__ import annotations

import asyncio
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.local import LocalCluster
from ansible_collections.okd.virt.plugins.plugin_utils.engine.controller import Controller
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.informers import Informers
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import CONFIG_MAPS, NAMESPACES, Object


@pytest.fixture
async def cluster() -> t.AsyncIterator[tuple[Engine, LocalCluster]]:
    engine = Engine(Options(cluster="empty", speed="max"))
    await engine.start()
    yield engine, engine.admin
    await engine.stop()


def _colour(obj: Object) -> t.Iterable[str]:
    return [value for key, value in (obj.get("data") or {}).items() if key == "colour"]


def _config_map(name: str, colour: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"colour": colour}}


async def _until(holds: t.Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_an_index_follows_what_comes_changes_and_goes(cluster: tuple[Engine, LocalCluster]) -> None:
    engine, api = cluster
    informers = Informers(api, engine.clock)
    known = informers.informer(CONFIG_MAPS)
    await api.create(CONFIG_MAPS, _config_map("first", "red"))
    known.start()
    await known.synced()
    known.add_index("colour", _colour)
    assert [obj["metadata"]["name"] for obj in known.by_index("colour", "red")] == ["first"]
    await api.create(CONFIG_MAPS, _config_map("second", "red"))
    await _until(lambda: known.count("colour", "red") == 2)
    await api.patch(CONFIG_MAPS, "first", {"data": {"colour": "blue"}}, "default")
    await _until(lambda: known.count("colour", "blue") == 1)
    assert [obj["metadata"]["name"] for obj in known.by_index("colour", "red")] == ["second"]
    await api.delete(CONFIG_MAPS, "second", "default")
    await _until(lambda: not known.by_index("colour", "red"))
    assert known.index_values("colour") == ["blue"]
    await informers.stop()


async def test_controllers_given_the_same_informers_share_one_cache(cluster: tuple[Engine, LocalCluster]) -> None:
    engine, api = cluster

    class Follower(Controller):
        name = "follower"

        def setup(self) -> None:
            self.namespaces = self.informer(NAMESPACES)
            self.namespaces.add_handler(self.enqueue)
            self.seen: set[str] = set()

        async def reconcile(self, key: tuple[str, str]) -> float | None:
            self.seen.add(key[1])
            return None

    informers = Informers(api, engine.clock)
    early, late = Follower(), Follower()
    early.start(api, engine.clock, informers=informers)
    await _until(lambda: "default" in early.seen)
    late.start(api, engine.clock, informers=informers)
    assert late.namespaces is early.namespaces
    await _until(lambda: "default" in late.seen)
    await early.stop()
    await api.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "made-later"}})
    await _until(lambda: "made-later" in late.seen)
    assert "made-later" not in early.seen
    await late.stop()
    await informers.stop()
