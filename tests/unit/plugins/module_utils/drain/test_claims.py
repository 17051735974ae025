# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a node is, and for how long."""

from __future__ import annotations

import dataclasses
import datetime
import os
import subprocess
import sys

import pytest

from ansible_collections.okd.virt.plugins.module_utils.drain import claims


def node(text: str | None) -> dict[str, object]:
    return {"metadata": {"name": "n", "annotations": {claims.CLAIM: text} if text else {}}}


def test_there_and_back() -> None:
    own = claims.mine("alice")
    assert claims.claim_of(node(own.text())) == own
    assert claims.claim_of(node(None)) is None
    assert own.holder.startswith("alice on ")


@pytest.mark.parametrize("text", ["{", "[]", '{"run": "x"}', "null"])
def test_what_cannot_be_read_is_abandoned(text: str) -> None:
    found = claims.claim_of(node(text))
    assert found is not None
    assert claims.is_abandoned(found, claims.now())


def test_a_lease_runs_out() -> None:
    own = dataclasses.replace(claims.mine("alice"), host="elsewhere")
    now = claims.now()
    assert not claims.is_abandoned(own, now)
    assert 28 < claims.seconds_left(own, now) <= 31
    assert claims.is_abandoned(own, now + datetime.timedelta(seconds=40))
    assert not claims.is_abandoned(own.at(now + datetime.timedelta(seconds=20)), now + datetime.timedelta(seconds=40))


def test_a_process_of_this_machine_that_is_gone_holds_nothing() -> None:
    own = claims.mine("alice")
    assert not claims.is_abandoned(own, claims.now())
    assert claims.is_abandoned(dataclasses.replace(own, process="999999999/1"), claims.now())
    # The number lives on in another process.
    assert claims.is_abandoned(dataclasses.replace(own, process=own.process.split("/")[0] + "/1"), claims.now())


def test_a_run_goes_on_under_its_name() -> None:
    own, found = claims.mine("bob"), dataclasses.replace(claims.mine("alice"), was_unschedulable=True, began="2026-01-01T00:00:00Z")
    taken = claims.taken_over(own, found)
    assert (taken.run, taken.began, taken.was_unschedulable) == (found.run, found.began, True)
    assert (taken.holder, taken.process) == (own.holder, own.process)


def test_a_dead_process_that_nobody_has_reaped_holds_nothing() -> None:
    claim = claims.mine("alice")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        held = dataclasses.replace(claim, process=f"{child.pid}/{claims._started(child.pid)}")
        assert not claims.is_abandoned(held, claims.now())
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert claims.is_abandoned(held, claims.now())


def test_what_the_site_has_is_held_without_a_process_for_its_own_time() -> None:
    now = claims.now()
    held = dataclasses.replace(claims.mine("alice"), process="999999999/1").held(now, 600)
    assert claims.claim_of(node(held.text())) == held
    assert not claims.is_abandoned(held, now + datetime.timedelta(seconds=500))
    assert claims.is_abandoned(held, now + datetime.timedelta(seconds=700))
    # Taken up again it is a claim like any other.
    taken = claims.taken_over(claims.mine("alice"), held)
    assert (taken.run, taken.state, taken.lease) == (held.run, claims.DRAINING, 0.0)
    assert claims.same_user(taken, held)
    assert not claims.same_user(claims.mine("bob"), held)


@pytest.mark.parametrize("lease", ['"long"', "null", "[]", "-5"])
def test_a_lease_that_cannot_be_read_is_the_usual_one(lease: str) -> None:
    own = dataclasses.replace(claims.mine("alice"), host="elsewhere")
    found = claims.claim_of(node(own.text().replace('"lease":0.0', f'"lease":{lease}')))
    assert found is not None
    assert 28 < claims.seconds_left(found, claims.now()) <= 31
