# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's time: steps in order, jumps only when nothing else is due."""
from __future__ import annotations

import asyncio
import datetime
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.clock import Clock, JumpingClock, ScaledClock, make_clock

Steps = list[tuple[str, float]]


def _run(main: t.Callable[[Clock], t.Coroutine[t.Any, t.Any, t.Any]]) -> t.Any:
    async def bounded() -> t.Any:
        # Real time stands still: all that moves is what the clock decides.
        return await asyncio.wait_for(main(JumpingClock(real=lambda: 0.0)), 20)

    return asyncio.run(bounded())


def test_a_jump_goes_to_whatever_is_due_next() -> None:
    async def main(clock: Clock) -> Steps:
        steps: Steps = []

        async def step(name: str, seconds: float, background: bool = False) -> None:
            await clock.sleep(seconds, background=background)
            steps.append((name, round(clock.monotonic())))

        await asyncio.gather(step("late", 3600), step("early", 10), step("beat", 60, background=True))
        return steps

    assert _run(main) == [("early", 10), ("beat", 60), ("late", 3600)]


def test_background_sleeps_never_make_time_jump() -> None:
    async def main(clock: Clock) -> float:
        beat = asyncio.ensure_future(clock.sleep(60, background=True))
        await asyncio.sleep(0.05)
        assert not beat.done()
        beat.cancel()
        return clock.monotonic()

    assert _run(main) == 0


def test_the_last_step_takes_no_background_sleep_along() -> None:
    async def main(clock: Clock) -> float:
        beat = asyncio.ensure_future(clock.sleep(60, background=True))
        await clock.sleep(1)
        await asyncio.sleep(0.05)
        assert not beat.done()
        beat.cancel()
        return clock.monotonic()

    assert _run(main) == 1


def test_time_waits_for_work_but_not_for_work_that_sleeps() -> None:
    async def main(clock: Clock) -> Steps:
        steps: Steps = []

        async def worker() -> None:
            with clock.busy():
                await asyncio.sleep(0.02)
                steps.append(("worked", round(clock.monotonic())))
                await clock.sleep(50)
                steps.append(("slept", round(clock.monotonic())))

        async def sleeper() -> None:
            await clock.sleep(40)
            steps.append(("forty", round(clock.monotonic())))

        await asyncio.gather(worker(), sleeper())
        return steps

    assert _run(main) == [("worked", 0), ("forty", 40), ("slept", 50)]


@given(st.lists(st.tuples(st.floats(0.001, 1e6), st.booleans()), min_size=1, max_size=30))
@settings(max_examples=40)
def test_sleepers_wake_in_order_and_never_early(naps: list[tuple[float, bool]]) -> None:
    async def main(clock: Clock) -> list[tuple[float, bool]]:
        woken: list[tuple[float, bool]] = []
        begin = clock.monotonic()

        async def nap(seconds: float, background: bool) -> None:
            await clock.sleep(seconds, background=background)
            assert clock.monotonic() - begin >= seconds - 1e-6
            woken.append((seconds, background))

        tasks = [asyncio.ensure_future(nap(seconds, background)) for seconds, background in naps]
        foreground = [task for task, (_seconds, background) in zip(tasks, naps, strict=True) if not background]
        if foreground:
            await asyncio.wait(foreground)
        for task in tasks:
            task.cancel()
        return woken

    woken = _run(main)
    assert [seconds for seconds, _background in woken] == sorted(seconds for seconds, _background in woken)
    assert sorted(nap for nap in woken if not nap[1]) == sorted(nap for nap in naps if not nap[1])


def test_a_task_begun_by_work_is_not_that_work() -> None:
    async def main(clock: Clock) -> float:
        begun: list[asyncio.Future[None]] = []

        async def worker() -> None:
            with clock.busy():
                begun.append(asyncio.ensure_future(clock.sleep(1000, background=True)))
                await clock.sleep(5)

        await worker()
        await clock.sleep(5)
        begun[0].cancel()
        return clock.monotonic()

    assert _run(main) == 10


def test_a_cancelled_sleeper_holds_nothing_up() -> None:
    async def main(clock: Clock) -> float:
        gone = asyncio.ensure_future(clock.sleep(5))
        await asyncio.sleep(0)
        gone.cancel()
        await clock.sleep(100)
        return clock.monotonic()

    assert _run(main) == 100


def test_a_hurried_clock_sleeps_so_much_less() -> None:
    async def main() -> tuple[float, float]:
        clock, loop = make_clock("1000"), asyncio.get_running_loop()
        begin = loop.time()
        await clock.sleep(60)
        return clock.monotonic(), loop.time() - begin

    engine, real = asyncio.run(main())
    assert engine >= 60
    assert real < 30


def test_background_sleeps_fire_when_real_time_passes_them() -> None:
    async def main() -> float:
        clock = JumpingClock()
        await clock.sleep(0.01, background=True)
        return clock.monotonic()

    assert asyncio.run(main()) >= 0.01


@pytest.mark.parametrize("speed", ["1", "60", "max"])
def test_time_goes_on_where_it_was(speed: str) -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
    earlier = later - datetime.timedelta(days=4)
    assert make_clock(speed, later).now() >= later
    assert make_clock(speed, earlier).now() > earlier + datetime.timedelta(days=1)


def test_timestamps_are_those_of_the_api() -> None:
    clock = make_clock("1")
    assert isinstance(clock, ScaledClock)
    assert len(clock.timestamp()) == len("2026-11-23T10:18:49Z")
    assert len(clock.micro_timestamp()) == len("2026-11-23T10:18:49.000000Z")


@pytest.mark.parametrize("speed", ["fast", "0", "-3", "inf", "nan"])
def test_a_speed_that_cannot_be_is_refused(speed: str) -> None:
    with pytest.raises(ValueError, match="neither a positive number"):
        make_clock(speed)
