# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sample of the procedure's deaths."""

from __future__ import annotations

from . import procedure_kill
from .__main__ import DEFAULT_SEED, QUICK_DEATHS
from .proxy import Call, Death, Moment


def test_deaths_cover_every_call() -> None:
    calls = [Call("GET", "/a"), Call("PATCH", "/b"), Call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews?x=y")]
    assert procedure_kill.deaths(calls) == [
        Death(1, Moment.BEFORE),
        Death(2, Moment.BEFORE),
        Death(2, Moment.AFTER),
        Death(3, Moment.BEFORE),
    ]
    many = [Call("GET", "/a")] * 100
    assert [death.call for death in procedure_kill.deaths(many, quick=5)] == [11, 31, 51, 71, 91]


def test_procedure_killed_at_a_sample_of_its_calls() -> None:
    report = procedure_kill.run(DEFAULT_SEED, QUICK_DEATHS)
    assert report.failures == []
    assert report.tried == report.held == QUICK_DEATHS
