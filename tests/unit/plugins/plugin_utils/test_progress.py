# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is printed while a verb works."""

from __future__ import annotations

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.progress import (
    HEARTBEAT_INTERVALS,
    NORMAL,
    QUIET,
    VERBOSE,
    DisplayListener,
)


class Stage:
    """A clock that is set, and the lines that were displayed."""

    def __init__(self, level: str = NORMAL) -> None:
        self.now = 100.0
        self.lines: list[str] = []
        self.listener = DisplayListener("node_drain", self, level, lambda: self.now)

    def display(self, line: str) -> None:
        self.lines.append(line)


def test_lines_have_time_name_count_and_text() -> None:
    stage = Stage()
    stage.listener.introduce("https://api as ann")
    stage.now += 12.34
    stage.listener.event("vm-1 moved", done=3, total=10, node="worker-1")
    assert stage.lines == ["[    0.0s] node_drain: https://api as ann", "[   12.3s] node_drain 3/10: vm-1 moved"]
    assert stage.listener.timeline == [{"offset": 12.34, "event": "vm-1 moved", "done": 3, "total": 10, "node": "worker-1"}]


@pytest.mark.parametrize(("level", "expected"), [(QUIET, []), (NORMAL, ["moved"]), (VERBOSE, ["moved node=worker-1"])])
def test_levels(level: str, expected: list[str]) -> None:
    stage = Stage(level)
    stage.listener.event("moved", node="worker-1")
    assert [line.partition(": ")[2] for line in stage.lines] == expected
    assert len(stage.listener.timeline) == 1


@pytest.mark.parametrize("level", [QUIET, NORMAL, VERBOSE])
def test_heartbeats_come_when_nothing_was_said_for_a_while(level: str) -> None:
    stage, pause = Stage(level), HEARTBEAT_INTERVALS[level]
    stage.now += pause - 0.5
    stage.listener.heartbeat("waiting")
    assert stage.lines == []
    stage.now += 0.5
    stage.listener.heartbeat("waiting")
    stage.listener.heartbeat("waiting")
    assert len(stage.lines) == 1
    stage.now += pause
    stage.listener.heartbeat("still waiting")
    assert stage.lines[1].endswith("still waiting")
    assert stage.listener.timeline == []


def test_a_text_is_shown_as_it_is() -> None:
    stage = Stage(QUIET)
    stage.listener.show(["SUBJECT  WHERE", "user:ann  shop"])
    assert stage.lines == ["SUBJECT  WHERE", "user:ann  shop"]
