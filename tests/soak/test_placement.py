# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sample of the clusters whose placement is compared with real drains, and what the soak would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import placement
from .__main__ import DEFAULT_SEED
from .placement import Outcome, Round


@pytest.mark.parametrize(("verdict", "succeeded", "holds"), [
    ("fits", True, True), ("fits", False, False), ("does_not_fit", False, True), ("does_not_fit", True, False), ("tight", True, True), ("tight", False, True),
    ("None", True, False),
])
def test_a_verdict_that_is_not_kept_is_a_failure(verdict: str, succeeded: bool, holds: bool) -> None:
    assert (not Outcome(verdict, succeeded, "because").problems) is holds


def test_clusters_are_of_many_kinds_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    rounds = [Round(seed, tmp_path) for seed in range(placement.CLUSTERS)]
    assert [one.sizes for one in rounds[:5]] == [Round(seed, tmp_path).sizes for seed in range(5)]
    for name in ("older", "named_cpu", "hugepages", "pool", "dedicated", "apart", "device"):
        with_it = sum(one.sizes[f"{name}_percent"] > 0 for one in rounds)
        assert placement.CLUSTERS / 5 < with_it < placement.CLUSTERS / 2
    assert {one.sizes["nodes"] for one in rounds} == set(range(3, 9))


def test_a_sample_holds() -> None:
    report = placement.run(placement.QUICK_CLUSTERS, DEFAULT_SEED, quick=True)
    assert report.failures == []
    assert report.tried == report.held == placement.QUICK_CLUSTERS
