# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sample of the deaths of those who set settings for a while, and that the soak would notice."""

from __future__ import annotations

from typing import Any

from ansible_collections.okd.virt.plugins.module_utils.tuning.temporary import RECORD

from . import settings_kill
from .__main__ import DEFAULT_SEED, QUICK_DEATHS
from .proxy import Call

BEFORE: dict[str, Any] = {"progressTimeout": 222}


def hyperconverged(record: str = "", **config: Any) -> dict[str, Any]:
    return {"metadata": {"annotations": {RECORD: record} if record else {}}, "spec": {"liveMigrationConfig": config}}


def kubevirt(**migrations: Any) -> dict[str, Any]:
    return {"spec": {"configuration": {"migrations": migrations}}}


def test_every_death_of_every_story_and_a_sample_of_all() -> None:
    calls = {story.name: [Call("GET", "/a"), Call("PATCH", "/b")] for story in settings_kill.STORIES}
    found = settings_kill.cases(calls)
    assert len(found) == 3 * len(settings_kill.STORIES)
    assert {case.next_run for case in found if case.story.name == "drain"} == {"restore", "again"}
    sample = settings_kill.cases({name: [Call("GET", "/a")] * 40 for name in calls}, QUICK_DEATHS)
    assert len(sample) == QUICK_DEATHS
    assert {case.story.name for case in sample} == set(calls)


def test_what_is_left_is_noticed() -> None:
    assert settings_kill.problems_of(BEFORE, hyperconverged(**BEFORE), kubevirt(**BEFORE)) == []
    assert "HyperConverged has" in settings_kill.problems_of(BEFORE, hyperconverged(progressTimeout=300), kubevirt(**BEFORE))[0]
    assert "the record was left" in settings_kill.problems_of(BEFORE, hyperconverged("{}", **BEFORE), kubevirt(**BEFORE))[0]
    assert "KubeVirt has" in settings_kill.problems_of(BEFORE, hyperconverged(**BEFORE), kubevirt(progressTimeout=300))[0]


def test_settings_put_back_after_a_sample_of_deaths() -> None:
    report = settings_kill.run(DEFAULT_SEED, QUICK_DEATHS)
    assert report.failures == []
    assert report.tried == report.held == QUICK_DEATHS
