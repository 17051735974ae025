# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Informers on the engine's own API: what they know, how they find it, what they tell, and that controllers share them."""
from __future__ import annotations

import asyncio
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.local import LocalCluster
from ansible_collections.okd.virt.plugins.plugin_utils.engine.controller import Controller
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.informers import Informer, Informers
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import CONFIG_MAPS, NAMESPACES, Cluster, Object
from ansible_collections.okd.virt.plugins.plugin_utils.engine.store import history


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


class _Heard:
    """An informer of config maps, and what its handler was told of those that have a colour."""

    def __init__(self, engine: Engine, cluster: Cluster, label_selector: str = "") -> None:
        self.informer = Informer(cluster, CONFIG_MAPS, engine.clock, label_selector)
        self.events: list[tuple[str, str, str]] = []
        self.informer.add_handler(self._hear)

    def _hear(self, event: str, obj: Object, _before: Object | None) -> None:
        self.events += [(event, obj["metadata"]["name"], colour) for colour in _colour(obj)]

    async def start(self) -> None:
        self.informer.start()
        await self.informer.synced()


async def test_handlers_hear_of_each_change_in_order_and_once_across_watches(cluster: tuple[Engine, LocalCluster]) -> None:
    engine, api = cluster
    heard = _Heard(engine, api)
    await heard.start()
    told = []
    for number in range(12):
        name = "abc"[number % 3]
        if number < 3:
            await api.create(CONFIG_MAPS, _config_map(name, str(number)))
        else:
            await api.patch(CONFIG_MAPS, name, {"data": {"colour": str(number)}}, "default")
        told.append(("ADDED" if number < 3 else "MODIFIED", name, str(number)))
        if number % 4 == 1:
            await asyncio.sleep(0)
        if number % 4 == 3:
            # What waits is still heard of, and the next watch goes on from there.
            engine.store.end_watches()
    await api.delete(CONFIG_MAPS, "a", "default")
    told.append(("DELETED", "a", "9"))
    await _until(lambda: len(heard.events) >= len(told))
    assert heard.events == told
    await heard.informer.stop()


async def test_who_falls_behind_lists_again(cluster: tuple[Engine, LocalCluster], monkeypatch: pytest.MonkeyPatch) -> None:
    engine, api = cluster
    monkeypatch.setattr(history, "BUFFERED", 2)
    heard = _Heard(engine, api)
    await heard.start()
    await asyncio.sleep(0)
    for number in range(5):
        await api.create(CONFIG_MAPS, _config_map(f"m{number}", "red"))
    await _until(lambda: len(heard.events) >= 5)
    assert sorted(heard.events) == [("ADDED", f"m{number}", "red") for number in range(5)]
    await api.delete(CONFIG_MAPS, "m0", "default")
    await _until(lambda: heard.events[-1] == ("DELETED", "m0", "red"))
    await heard.informer.stop()


async def test_what_leaves_the_selection_is_gone(cluster: tuple[Engine, LocalCluster]) -> None:
    engine, api = cluster
    heard = _Heard(engine, api, "kept=yes")
    await heard.start()
    await api.create(CONFIG_MAPS, _config_map("first", "red"))
    for kept, colour in (("yes", "blue"), ("yes", "green"), ("no", "white"), ("no", "black")):
        await api.patch(CONFIG_MAPS, "first", {"metadata": {"labels": {"kept": kept}}, "data": {"colour": colour}}, "default")
    await _until(lambda: len(heard.events) >= 3)
    await asyncio.sleep(0.01)
    assert heard.events == [("ADDED", "first", "blue"), ("MODIFIED", "first", "green"), ("DELETED", "first", "green")]
    assert len(heard.informer) == 0
    await heard.informer.stop()


async def test_who_was_stopped_hears_nothing_of_what_was_on_its_way(cluster: tuple[Engine, LocalCluster]) -> None:
    engine, api = cluster
    heard = _Heard(engine, api)
    await heard.start()
    await asyncio.sleep(0.01)
    await api.create(CONFIG_MAPS, _config_map("first", "red"))
    await heard.informer.stop()
    await asyncio.sleep(0.01)
    assert heard.events == []


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
