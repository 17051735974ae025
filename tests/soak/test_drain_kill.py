# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sample of the drain's deaths, and that the soak would notice."""

from __future__ import annotations

from typing import Any

from ..support.history import Event
from . import drain_kill
from .__main__ import DEFAULT_SEED, QUICK_DEATHS
from .proxy import Call, Death, Moment


def migration(number: int, uid: str, phase: str, kind: str = "MODIFIED") -> Event:
    value: dict[str, Any] = {"metadata": {"namespace": "shop", "name": uid, "uid": uid}, "spec": {"vmiName": "db"}, "status": {"phase": phase}}
    return Event(number, "virtualmachineinstancemigrations", kind, value)


def instance(number: int, phase: str, kind: str = "MODIFIED") -> Event:
    value = {"metadata": {"namespace": "shop", "name": "db", "uid": "x"}, "status": {"phase": phase}}
    return Event(number, "virtualmachineinstances", kind, value)


def test_deaths_cover_every_call_and_every_write() -> None:
    calls = [Call("GET", "/a"), Call("PATCH", "/b"), Call("GET", "/c")]
    assert drain_kill.deaths(calls) == [
        Death(1, Moment.BEFORE),
        Death(2, Moment.BEFORE),
        Death(3, Moment.BEFORE),
        Death(1, Moment.AFTER, writes=True),
    ]


def test_a_vm_that_is_moved_twice_or_not_at_all_is_noticed() -> None:
    once = [migration(1, "a", "Running"), migration(2, "a", "Succeeded"), migration(3, "a", "Succeeded", "DELETED")]
    assert drain_kill.moved_again(once, ["shop/db"]) == []
    assert drain_kill.moved_again([*once, migration(4, "b", "Succeeded")], ["shop/db"])
    assert drain_kill.moved_again([*once, migration(4, "b", "Failed")], ["shop/db"])
    assert drain_kill.moved_again(once, ["shop/db", "shop/web"]) == ["VM shop/web had migrations [] instead of one that succeeded"]


def test_a_vm_that_does_not_run_for_a_moment_is_noticed() -> None:
    assert drain_kill.stopped([instance(1, "Running")]) == []
    assert drain_kill.stopped([instance(1, "Running"), instance(2, "Succeeded"), instance(3, "Running")])
    assert drain_kill.stopped([instance(1, "Running", "DELETED")])


def test_a_drain_killed_at_a_sample_of_its_calls() -> None:
    report = drain_kill.run(DEFAULT_SEED, QUICK_DEATHS)
    assert report.failures == []
    assert report.tried == report.held == QUICK_DEATHS
