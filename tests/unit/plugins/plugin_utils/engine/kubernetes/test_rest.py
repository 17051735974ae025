# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster at rest is at rest: nothing is written, and jumping time does not run."""
from __future__ import annotations

import asyncio
import pathlib
import time

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import (
    DAEMON_SETS,
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
)


async def _settled(engine: Engine) -> int:
    """The version of the store once nothing has been written for a while."""
    async with asyncio.timeout(20):
        while True:
            version = engine.store.version
            await asyncio.sleep(0.3)
            if engine.store.version == version:
                return version


@pytest.mark.parametrize("release", ["4.18", "4.19"])
async def test_nothing_is_written_and_time_stands_with_the_clock_on_the_wall(release: str) -> None:
    engine = Engine(Options(cluster="empty", speed="max", release=release))
    await engine.start()
    try:
        version = await _settled(engine)
        began, wall = engine.clock.monotonic(), time.monotonic()
        await asyncio.sleep(0.5)
        assert engine.store.version == version
        assert abs((engine.clock.monotonic() - began) - (time.monotonic() - wall)) < 1
    finally:
        await engine.stop()


async def test_what_the_sample_cluster_holds_is_what_the_controllers_would_have_made(tmp_path: pathlib.Path) -> None:
    engine = Engine(Options(cluster="empty", speed="max", data_dir=tmp_path / "data"))
    await engine.start()
    try:
        loaded = {ref: {(one.namespace, one.name): one.version for one in engine.store.list((ref.group, ref.plural))}
                  for ref in (DEPLOYMENTS, REPLICA_SETS, DAEMON_SETS, PODS)}
        await _settled(engine)
        for ref, versions in loaded.items():
            assert versions
            assert {(one.namespace, one.name): one.version for one in engine.store.list((ref.group, ref.plural))} == versions
    finally:
        await engine.stop()
    # And so it is after a restart.
    again = Engine(Options(cluster="empty", speed="max", data_dir=tmp_path / "data"))
    await again.start()
    try:
        await _settled(again)
        assert {(one.namespace, one.name): one.version for one in again.store.list(("", "pods"))} == loaded[PODS]
    finally:
        await again.stop()
