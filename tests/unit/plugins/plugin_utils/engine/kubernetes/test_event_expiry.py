# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events go an hour after they were last written, on the engine's own API at jumping time."""
from __future__ import annotations

import asyncio

from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import EVENTS


async def test_events_go_after_their_hour() -> None:
    engine = Engine(Options(cluster="empty", speed="max"))
    await engine.start()
    try:
        for name in ("old", "new"):
            await engine.admin.create(EVENTS, {
                "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"},
                "involvedObject": {"kind": "Node", "name": "node01", "namespace": "default"}, "reason": "Test", "message": name, "type": "Normal",
            })
        await asyncio.sleep(0.05)
        await engine.clock.sleep(3000)
        await engine.admin.patch(EVENTS, "new", {"count": 2}, "default")
        await asyncio.sleep(0.05)
        await engine.clock.sleep(900)
        names = {one["metadata"]["name"] for one in (await engine.admin.list(EVENTS, "default")).items}
        assert "new" in names
        assert "old" not in names
        await engine.clock.sleep(3000)
        assert not (await engine.admin.list(EVENTS, "default", field_selector="reason=Test")).items
    finally:
        await engine.stop()
