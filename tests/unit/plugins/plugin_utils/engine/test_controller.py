# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue of a controller: each key once, by one worker, later when it failed."""
from __future__ import annotations

import asyncio
import typing as t

from ansible_collections.okd.virt.plugins.plugin_utils.engine.clock import make_clock
from ansible_collections.okd.virt.plugins.plugin_utils.engine.controller import Controller, OwnWrites, WorkQueue
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import StatusError


async def test_a_key_waits_once_and_comes_again_when_it_was_added_while_worked_on() -> None:
    queue = WorkQueue(make_clock("max"))
    for key in ("a", "b", "a"):
        queue.add(key)
    assert await queue.get() == "a"
    queue.add("a")
    assert await queue.get() == "b"
    assert len(queue) == 2
    queue.done("b")
    queue.done("a")
    assert await queue.get() == "a"


async def test_a_delayed_key_comes_when_engine_time_has_passed() -> None:
    clock = make_clock("max")
    queue = WorkQueue(clock)
    before = clock.monotonic()
    queue.add_after("later", 3600)
    assert await asyncio.wait_for(queue.get(), 10) == "later"
    assert clock.monotonic() - before >= 3600


async def test_failures_are_retried_without_racing_time() -> None:
    class Stubborn(Controller):
        name = "stubborn"

        def __init__(self) -> None:
            super().__init__()
            self.tried = 0
            self.succeeded = asyncio.Event()

        def setup(self) -> None:
            self.queue.add("x")

        async def reconcile(self, key: t.Any) -> float | None:
            self.tried += 1
            if self.tried < 5:
                raise StatusError(409, "Conflict", "again") if self.tried % 2 else RuntimeError("again")
            self.succeeded.set()
            return None

    clock = make_clock("max")
    controller, before = Stubborn(), clock.monotonic()
    controller.start(t.cast(t.Any, None), clock)
    await asyncio.wait_for(controller.succeeded.wait(), 10)
    await controller.stop()
    assert controller.tried == 5
    assert clock.monotonic() - before < 5


def test_what_a_controller_wrote_last_is_no_news_once() -> None:
    def version(number: int, name: str = "a") -> dict[str, t.Any]:
        return {"metadata": {"namespace": "ns", "name": name, "resourceVersion": str(number)}}

    writes = OwnWrites()
    assert not writes.heard("MODIFIED", version(2), version(1))
    writes.note(version(1), version(2))
    assert not writes.heard("MODIFIED", version(2, "b"), version(1, "b"))
    assert writes.heard("MODIFIED", version(2), version(1))
    assert not writes.heard("MODIFIED", version(2), version(1))
    # Somebody else wrote first, or between what was seen and what was written: an informer that lists anew tells both at once.
    writes.note(version(2), version(4))
    assert not writes.heard("MODIFIED", version(3), version(2))
    assert not writes.heard("MODIFIED", version(4), version(3))
    writes.note(version(5), version(7))
    assert not writes.heard("MODIFIED", version(7), version(4))
    # That it is gone is always news, and a new one of the name begins anew.
    writes.note(version(7), version(8))
    assert not writes.heard("DELETED", version(8), version(8))
    assert not writes.heard("ADDED", version(8), None)
    # Whoever has looked again before hearing of it may have looked at what was before it.
    writes.note(version(8), version(9))
    writes.forget(("ns", "a"))
    assert not writes.heard("MODIFIED", version(9), version(8))
