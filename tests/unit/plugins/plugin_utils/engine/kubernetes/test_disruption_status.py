# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The counts of a disruption budget."""
from __future__ import annotations

import datetime
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import Object
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes import disruption_status as status_of

NOW = "2026-11-23T10:00:00Z"
MOMENT = datetime.datetime.fromisoformat(NOW)


def budget(status: Object | None = None, **spec: t.Any) -> Object:
    return {"metadata": {"name": "web", "generation": 3}, "spec": spec, "status": status or {}}


def pod(name: str, ready: bool = True, going: bool = False) -> Object:
    metadata: Object = {"name": name, "deletionTimestamp": NOW} if going else {"name": name}
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}}


@pytest.mark.parametrize(("spec", "expected", "desired"), [
    ({"minAvailable": 2}, 5, 2), ({"minAvailable": "50%"}, 5, 3), ({"minAvailable": "0%"}, 5, 0), ({"minAvailable": 0}, 5, 0),
    ({"maxUnavailable": 1}, 5, 4), ({"maxUnavailable": "50%"}, 5, 2), ({"maxUnavailable": 9}, 5, 0), ({}, 5, 0),
])
def test_desired(spec: Object, expected: int, desired: int) -> None:
    assert status_of.desired_healthy(budget(**spec), expected) == desired


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=12), st.integers(0, 12), st.sampled_from(["minAvailable", "maxUnavailable"]))
def test_what_may_go_leaves_enough(pods: list[tuple[bool, bool, bool]], number: int, key: str) -> None:
    made = [pod(f"p{index}", ready, going) for index, (ready, going, dummy) in enumerate(pods)]
    disrupted = {f"p{index}": NOW for index, (dummy, going, evicted) in enumerate(pods) if evicted and not going}
    asked = budget({"disruptedPods": disrupted}, **{key: number})
    kept, overdue, look = status_of.still_disrupted(asked, made, MOMENT + datetime.timedelta(seconds=30))
    assert kept == disrupted
    assert not overdue
    assert (look == 90) if kept else (look is None)
    current = status_of.healthy(made, kept)
    desired = status_of.desired_healthy(asked, len(made))
    status = status_of.counted(asked, current, desired, len(made), kept, NOW)
    allowed = status["disruptionsAllowed"]
    assert allowed >= 0
    assert allowed == 0 or current - allowed >= desired
    assert (status["conditions"][0]["status"] == "True") == (allowed > 0)
    assert status_of.counted({**asked, "status": status}, current, desired, len(made), kept, "2026-11-23T11:00:00Z") == status


def test_an_evicted_pod_that_stays_counts_again_after_two_minutes() -> None:
    asked = budget({"disruptedPods": {"p": NOW, "gone": NOW}}, minAvailable=1)
    kept, overdue, look = status_of.still_disrupted(asked, [pod("p")], MOMENT + datetime.timedelta(seconds=120))
    assert (kept, [one["metadata"]["name"] for one in overdue], look) == ({}, ["p"], None)


def test_a_failure_leaves_the_generation_unobserved() -> None:
    status = status_of.failed(budget(maxUnavailable=1), "why", NOW)
    assert status == {"disruptionsAllowed": 0, "conditions": [
        {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "why", "lastTransitionTime": NOW}]}
    later = status_of.failed(budget({**status, "observedGeneration": 2}, maxUnavailable=1), "why", "2026-11-23T11:00:00Z")
    assert later["conditions"][0]["observedGeneration"] == 2
    assert later["conditions"][0]["lastTransitionTime"] == NOW
