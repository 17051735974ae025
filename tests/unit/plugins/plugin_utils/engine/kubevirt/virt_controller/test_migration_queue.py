# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which migrations are looked at, and the clock that waiting ones don't drive."""
from __future__ import annotations

import asyncio
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.clock import JumpingClock
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller.driving import Driver
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller.migrations.queue import (
    ACTIVE,
    NORMAL,
    WAITING,
    PriorityQueue,
    priority,
)


def jumping() -> JumpingClock:
    """A clock that only jumps: no real time passes."""
    return JumpingClock(real=lambda: 0.0)


async def taken(queue: PriorityQueue, number: int) -> list[t.Any]:
    found = []
    for dummy in range(number):
        found.append(await asyncio.wait_for(queue.get(), 1))
        queue.done(found[-1])
    return found


@pytest.mark.parametrize(
    ("version", "phase", "expected"),
    [
        ((1, 4, 1), "Running", NORMAL), ((1, 4, 1), "Pending", NORMAL), ((1, 5, 3), "Pending", NORMAL), ((1, 5, 3), "", NORMAL),
        ((1, 5, 3), "Scheduling", ACTIVE), ((1, 5, 3), "Running", ACTIVE), ((1, 5, 3), "Succeeded", NORMAL),
    ],
)
def test_who_comes_first_in_which_version(version: tuple[int, int, int], phase: str, expected: int) -> None:
    assert priority({"metadata": {}, "status": {"phase": phase}}, version) == expected


async def test_active_ones_come_before_others_and_waiting_ones_last() -> None:
    queue = PriorityQueue(jumping())
    queue.add("waits", WAITING)
    queue.add("first")
    queue.add("second")
    queue.add("runs", ACTIVE)
    assert await taken(queue, 4) == ["runs", "first", "second", "waits"]


async def test_a_key_that_is_added_again_keeps_the_higher_priority() -> None:
    queue = PriorityQueue(jumping())
    queue.add("a", WAITING)
    queue.add("b")
    queue.add("a", ACTIVE)
    queue.add("a", WAITING)
    assert await taken(queue, 2) == ["a", "b"]
    assert len(queue) == 0


async def test_what_happens_to_a_waiting_key_brings_it_forward_once() -> None:
    clock = jumping()
    queue = PriorityQueue(clock)
    queue.add_after("a", 5, background=True, priority=WAITING)
    assert queue.due_in("a") == 5
    queue.add("a")
    assert queue.due_in("a") is None
    assert await taken(queue, 1) == ["a"]
    await clock.sleep(10)
    assert len(queue) == 0, "the look that was put off is taken already"


async def test_the_earlier_moment_counts() -> None:
    clock = jumping()
    queue = PriorityQueue(clock)
    queue.add_after("a", 5)
    queue.add_after("a", 2)
    queue.add_after("a", 9)
    assert queue.due_in("a") == 2
    assert await taken(queue, 1) == ["a"]
    assert clock.monotonic() == 2


async def test_a_key_in_work_is_not_given_twice_but_comes_again() -> None:
    queue = PriorityQueue(jumping())
    queue.add("a", ACTIVE)
    assert await queue.get() == "a"
    queue.add("a", WAITING)
    queue.add("b")
    assert await asyncio.wait_for(queue.get(), 1) == "b"
    queue.done("b")
    queue.done("a")
    assert await taken(queue, 1) == ["a"]


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from([WAITING, NORMAL, ACTIVE])), max_size=30))
def test_each_key_comes_once_by_its_highest_priority(added: list[tuple[str, int]]) -> None:
    async def run() -> list[t.Any]:
        queue = PriorityQueue(jumping())
        for key, how in added:
            queue.add(key, how)
        return await taken(queue, len(queue))

    highest: dict[str, int] = {}
    for key, how in added:
        highest[key] = max(how, highest.get(key, how))
    found = asyncio.run(run())
    assert sorted(found) == sorted(highest)
    assert [highest[key] for key in found] == sorted(highest.values(), reverse=True)


async def test_waiting_does_not_drive_a_jumping_clock_until_there_is_something_to_find() -> None:
    clock = jumping()
    queue, driver = PriorityQueue(clock), Driver(clock)
    queue.add_after("a", 5, background=True, priority=WAITING)
    await asyncio.sleep(0.02)
    assert clock.monotonic() == 0
    driver.drive(5)
    assert await taken(queue, 1) == ["a"]
    assert clock.monotonic() == 5
    driver.stop()
    queue.close()
