# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long it may still take, and signs of life that never run backwards."""

from __future__ import annotations

import re
import time
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils.drain.claims import mine
from ansible_collections.okd.virt.plugins.module_utils.drain.decide import Decision, Standing
from ansible_collections.okd.virt.plugins.module_utils.drain.fates import Fate, Way
from ansible_collections.okd.virt.plugins.module_utils.drain.progress import Progress, time_left
from ansible_collections.okd.virt.plugins.module_utils.drain.request import Request
from ansible_collections.okd.virt.plugins.module_utils.drain.run import Moved, Moving, NodeDrain, node_drain

from .objects import launcher


class Heard:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.beats: list[str] = []

    def event(self, text: str, **data: t.Any) -> None:
        pass

    def heartbeat(self, text: str) -> None:
        self.beats.append(text)


@pytest.mark.parametrize(("finished", "moving", "waiting", "expected"), [
    ([], [], 0, None),
    ([], [(5.0, None)], 0, None),
    ([], [(5.0, 30.0)], 1, None),
    ([], [(5.0, 30.0), (5.0, 10.0)], 0, 30.0),
    ([20.0, 40.0], [(10.0, None), (10.0, None)], 4, 80.0),
    ([30.0], [(10.0, 100.0), (10.0, None)], 0, 100.0),
    ([30.0], [(50.0, None)], 0, 0.0),
    ([30.0], [], 2, 60.0),
])
def test_seconds_that_are_left(finished: list[float], moving: list[tuple[float, float | None]], waiting: int, expected: float | None) -> None:
    assert time_left(finished, moving, waiting) == expected


def _drain(*vms: str) -> NodeDrain:
    drain = node_drain("worker-1", mine("alice"), Request())
    drain.decision = Decision(pending=[Standing(launcher(vm), Fate(Way.MIGRATE, "migrates", "", ("shop", vm))) for vm in vms])
    return drain


def test_nothing_of_a_sign_of_life_runs_backwards() -> None:
    heard = Heard()
    progress, drain = Progress(heard), _drain("a", "b")
    assert drain.decision is not None
    progress.counted(drain, drain.decision)
    drain.moving["shop", "a"] = Moving(time.monotonic())
    progress.beat([drain], {("shop", "a"): {"percent": 60, "remaining_seconds": 12.0}})
    assert "a for 0 s, 60 % copied" in heard.beats[-1]
    assert "left" not in heard.beats[-1]
    # The guest writes, and more is left than before; then the metrics are gone for a moment.
    progress.beat([drain], {("shop", "a"): {"percent": 40, "remaining_seconds": 20.0}})
    progress.beat([drain], {})
    assert all("60 % copied" in beat for beat in heard.beats)
    drain.moved.append(Moved(("shop", "c"), "worker-2", 10.0, 1))
    drain.moving.clear()
    progress.beat([drain], {})
    drain.moved.append(Moved(("shop", "d"), "worker-2", 1000.0, 1))
    progress.beat([drain], {})
    left = [found.group(1) for beat in heard.beats if (found := re.search(r"about (\d+ \w+) left \(estimated\)", beat))]
    assert left == ["20 s", "20 s"]


def test_a_new_attempt_begins_to_copy_anew() -> None:
    heard = Heard()
    progress, drain = Progress(heard), _drain("a")
    assert drain.decision is not None
    progress.counted(drain, drain.decision)
    for attempt, percent in ((1, 90), (2, 10)):
        drain.moving["shop", "a"] = Moving(time.monotonic(), attempt)
        progress.beat([drain], {("shop", "a"): {"percent": percent}})
    assert "10 % copied" in heard.beats[-1]
