# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine's soak would notice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .__main__ import DEFAULT_SEED, QUICK_ENGINE_KILLS
from .engine_kill import Content, Event, Ledger, Watcher, lost, misled, run

if TYPE_CHECKING:
    from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine

TRUTH: list[Event] = [("ADDED", "a", 1), ("MODIFIED", "a", 2), ("DELETED", "a", 3)]


@pytest.mark.parametrize(
    ("found", "held"),
    [("old", True), ("new", True), (None, False), ("else", False)],
)
def test_an_object_is_as_acknowledged_or_as_attempted(found: Content, held: bool) -> None:
    ledger = Ledger({"a": "old", "gone": None}, {"a": "new"}, version=7)
    assert (lost({"a": found} if found is not None else {}, 7, [ledger]) == []) is held
    assert lost({"a": "old", "gone": "back"}, 7, [ledger]) == ["gone holds 'back', acknowledged was None"]
    assert lost({"a": "old"}, 6, [ledger]) == ["the list is at version 6, 7 was acknowledged"]


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        (TRUTH, ""),
        (TRUTH[:1], ""),
        ([TRUTH[0], TRUTH[2]], "what happened was ('MODIFIED', 'a', 2)"),
        ([TRUTH[0], TRUTH[0]], "what happened was ('MODIFIED', 'a', 2)"),
        ([*TRUTH, ("ADDED", "b", 4)], "which did not happen"),
    ],
)
def test_a_watch_tells_every_event_once(engine: RunningEngine, told: list[Event], problem: str) -> None:
    watcher = Watcher(Path(engine.kubeconfig), 0, told)
    problems = misled(TRUTH, [watcher])
    assert bool(problems) is bool(problem)
    assert all(problem in one for one in problems)
    assert misled([*TRUTH, TRUTH[0]], []) == ["versions went back"]


def test_engine_killed_under_its_writers_a_few_times() -> None:
    report = run(QUICK_ENGINE_KILLS, DEFAULT_SEED)
    assert report.failures == []
    assert report.tried == report.held == QUICK_ENGINE_KILLS
