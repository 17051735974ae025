# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that is lost: its virt-handler falls silent, its machines stay where nobody can tell, and come back once it is gone for sure."""
from __future__ import annotations

import asyncio
import datetime
import typing as t
from collections.abc import AsyncIterator, Callable

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import NODES

Object = dict[str, t.Any]
LOST = "node01"


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    made = Engine(Options(cluster="lab", release="4.19", speed="max"))
    await made.start()
    yield made
    await made.stop()


async def until(holds: Callable[[], t.Any]) -> None:
    for _turn in range(1000):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the expected state was not reached in time")


def instances(engine: Engine) -> dict[tuple[str, str], Object]:
    return {(one.namespace, one.name): one.value for one in engine.store.list(("kubevirt.io", "virtualmachineinstances"))}


async def test_a_lost_node_and_its_machines(engine: Engine) -> None:
    before = {key: vmi for key, vmi in instances(engine).items() if vmi["status"]["nodeName"] == LOST}
    assert before

    def node() -> Object:
        stored = engine.store.get(("", "nodes"), "", LOST)
        assert stored is not None
        value: Object = stored.value
        return value

    began = engine.clock.now()
    engine.runtime.power_off(LOST)
    await until(lambda: node()["metadata"]["labels"]["kubevirt.io/schedulable"] == "false")
    beat = datetime.datetime.fromisoformat(node()["metadata"]["annotations"]["kubevirt.io/heartbeat"])
    assert beat <= began + datetime.timedelta(seconds=1)
    silent = (engine.clock.now() - beat).total_seconds()
    assert 300 <= silent < 420
    # Nobody can tell whether the guests still run there, so they are started nowhere else.
    after = instances(engine)
    assert {key: (after[key]["metadata"]["uid"], after[key]["status"]["phase"]) for key in before} == {
        key: (vmi["metadata"]["uid"], "Running") for key, vmi in before.items()
    }
    await engine.admin.delete(NODES, LOST)

    def again() -> bool:
        now = instances(engine)
        return all(
            key in now and now[key]["metadata"]["uid"] != vmi["metadata"]["uid"] and now[key]["status"].get("phase") == "Running"
            for key, vmi in before.items()
        )

    await until(again)
    assert all(instances(engine)[key]["status"]["nodeName"] != LOST for key in before)
    said = {one.value["message"] for one in engine.store.list(("", "events"))}
    assert "virt-handler is not responsive, marking node as unresponsive" in said
    assert f"virt-handler on node {LOST} is not responsive, marking VMI as failed" in said
