# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quick sample of the soak of predictions, and what it would notice."""

from __future__ import annotations

from ansible_collections.okd.virt.plugins.module_utils._migrations.prediction import Prediction

from .__main__ import DEFAULT_SEED
from .prediction import QUICK_MACHINES, Met, drawn, judged, run


def met(predicted: str, outcome: str, seconds: float = 10.0) -> Met:
    return Met(drawn(1, 1), Prediction(predicted, 10.0, ""), outcome, seconds)


def test_a_sample_comes_as_predicted() -> None:
    report = run(QUICK_MACHINES, DEFAULT_SEED)
    assert report.tried == QUICK_MACHINES
    assert report.passed, (report.failures, report.missed)


def test_too_many_wrong_predictions_are_noticed() -> None:
    right, wrong = met("converges", "converges"), met("converges", "given_up")
    assert judged([right] * 19 + [wrong], 1).passed
    assert not judged([right] * 18 + [wrong] * 2, 1).passed
    assert judged([met("given_up", "given_up")], 1).figures["right_of_those_that_did_not"] == 1


def test_a_time_that_is_wrong_in_the_median_is_noticed() -> None:
    assert judged([met("converges", "converges", 12.0)] * 3, 1).passed
    late = judged([met("converges", "converges", 13.0)] * 3, 1)
    assert not late.passed
    assert "23.1% in the median" in late.missed[0]


def test_cases_come_from_the_seed_alone() -> None:
    assert drawn(7, 1) == drawn(7, 1)
    assert drawn(7, 1) != drawn(7, 2)
    assert all(one.working_set <= one.non_zero <= one.memory for one in (drawn(number, 5) for number in range(100)))
