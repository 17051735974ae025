# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-launcher's monitor: sizes in decimal giga, looks every 0.4 s, whole seconds that have to be exceeded, and what comes first."""
from __future__ import annotations

import math
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_handler.monitor import (
    Abort,
    Limits,
    Mode,
    Monitor,
    limits,
)


def _vmi(memory: str, **settings: t.Any) -> dict[str, t.Any]:
    return {"spec": {"domain": {"memory": {"guest": memory}}}, "status": {"migrationState": {"migrationConfiguration": settings}}}


@pytest.mark.parametrize(
    ("memory", "seconds"), [("1Gi", 300), ("2Gi", 450), ("4Gi", 750), ("6Gi", 1050), ("8Gi", 1350), ("64Gi", 10350), ("1G", 150)]
)
def test_acceptable_time(memory: str, seconds: int) -> None:
    assert limits(_vmi(memory, completionTimeoutPerGiB=150)).acceptable == seconds


def test_what_may_be_done_to_get_it_over() -> None:
    assert limits(_vmi("1Gi", allowPostCopy=True)) == Limits(assist=True, post_copy=True)
    assert limits(_vmi("1Gi", allowPostCopy=True, allowWorkloadDisruption=False)) == Limits(assist=False, post_copy=True)
    assert limits(_vmi("1Gi", allowPostCopy=False, allowWorkloadDisruption=True)) == Limits(assist=True, post_copy=False)


def _falling() -> t.Callable[[float], float]:
    return lambda moment: 1e6 - moment


def _run(monitor: Monitor, remaining: t.Callable[[float], float], until: float = 1e4) -> list[tuple[float, Mode | Abort]]:
    found = []
    while (decision := monitor.watch(until, remaining)) is not None:
        found.append((round(decision[0], 6), decision[1]))
        if isinstance(decision[1], Abort) or decision[1] is Mode.POST_COPY:
            break
    return found


@pytest.mark.parametrize(
    ("given_limits", "expected"),
    [
        (Limits(acceptable=150), [(151.2, Abort("Live migration is not completed after 150 seconds and has been aborted"))]),
        (Limits(acceptable=150, assist=True, post_copy=True), [(151.2, Mode.POST_COPY)]),
        (Limits(acceptable=150, assist=True), [
            (151.2, Mode.PAUSED), (301.2, Abort("Live migration is not completed after 300 seconds and has been aborted")),
        ]),
        (Limits(), []),
    ],
)
def test_a_copy_that_goes_on_for_ever(given_limits: Limits, expected: list[tuple[float, Mode | Abort]]) -> None:
    assert _run(Monitor(given_limits, 0.0), _falling()) == expected


def test_a_copy_that_is_stuck_is_given_up_before_it_is_late() -> None:
    # The first look counts as progress.
    assert _run(Monitor(Limits(150, 30), 0.0), lambda _moment: 5.0) == [(31.6, Abort("Live migration stuck for 31 seconds and has been aborted"))]


def test_a_copy_that_goes_up_and_down_makes_progress_whenever_it_goes_down() -> None:
    assert _run(Monitor(Limits(0, 5), 0.0), lambda moment: 100.0 + moment % 4.0 * -1.0, 100.0) == []


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0, 60), st.booleans(), st.booleans())
def test_no_look_before_the_earliest_leads_to_anything(acceptable: int, progress: int, stops: float, assist: bool, post_copy: bool) -> None:
    monitor = Monitor(Limits(acceptable, progress, assist, post_copy), 7.0)
    for dummy in range(400):
        earliest, look = monitor.earliest(), monitor.next_look()
        decision = monitor.look(look, max(0.0, 1000.0 - min(look, stops)) + 1.0)
        if decision is None:
            continue
        assert look >= earliest - 1e-6
        if isinstance(decision, Abort):
            return
    assert math.isinf(monitor.earliest()) or monitor.mode is Mode.POST_COPY or monitor.earliest() > 7.0 + 150
