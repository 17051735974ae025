# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes are drained in turn, and the site has work of its own on each before or after."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import OptionError, PreconditionFailed
from ansible_collections.okd.virt.plugins.module_utils.drain import claims
from ansible_collections.okd.virt.plugins.module_utils.drain.draining import DrainIncomplete
from ansible_collections.okd.virt.plugins.module_utils.drain.turns import STILL_TO_COME, turn_of

from ..conftest import EngineFactory
from ..support.api import MERGE_PATCH
from .rolling_site import NODES, Site, a_site, eventually
from .verbs import Verbs

BOTH: dict[str, t.Any] = {"hold_for": ["before", "after"]}
THREE: dict[str, t.Any] = {"machine_config_pool": None, "names": ["node0001", "node0002", "node0003"]}
ALL = {f"node000{number}" for number in range(1, 6)}


@pytest.fixture(scope="module")
def site(fresh_engine: EngineFactory) -> Site:
    return a_site(fresh_engine)


def held(outcome: t.Any) -> dict[str, str]:
    return {one["name"]: one["moment"] for one in outcome.result["held"]}


def handed_back(outcome: t.Any, **failed: str) -> list[dict[str, str]]:
    return [{"name": one["name"]} | ({"failed": failed[one["name"]]} if one["name"] in failed else {}) for one in outcome.result["held"]]


def to_the_end(site: Site, step: t.Any, **options: t.Any) -> t.Any:
    """Hand back whatever the site has, until it has nothing."""
    for _round in range(20):
        if not step.result["held"]:
            return step
        step = site.roll(**options, step=step.result["step"], handed_back=handed_back(step))
    raise AssertionError("the site has nodes still")


def tainted(site: Site) -> set[str]:
    return {one["metadata"]["name"] for one in site.workers() if any(taint["key"] == STILL_TO_COME for taint in one["spec"].get("taints") or ())}


def test_the_site_has_every_node_twice_and_waves_stay(site: Site) -> None:
    before = site.vms()
    seen: list[tuple[str, str]] = []
    most = 0
    step = site.roll(**BOTH, max_parallel=2)
    while step.result["held"]:
        now = held(step)
        most = max(most, len(now))
        where = set(site.vms().values())
        for name, moment in now.items():
            seen.append((name, moment))
            assert site.cordoned(name)
            assert (name in where) is (moment == "before")
            assert name not in tainted(site)
        assert tainted(site) == ALL - {name for name, _moment in seen}
        step = site.roll(**BOTH, max_parallel=2, step=step.result["step"], handed_back=handed_back(step))
    assert sorted(seen) == sorted((name, moment) for name in ALL for moment in ("before", "after"))
    assert all(seen.index((name, "before")) < seen.index((name, "after")) for name in ALL)
    assert most == 2
    assert step.summary["drained"] == 5
    # What earlier steps have moved is not lost, and nobody was stopped.
    assert step.summary["vms_moved"] == sum(one["vms_moved"] for one in step.result["nodes"]) >= 30
    assert set(site.vms()) == set(before)
    assert site.is_clean()


def test_a_run_that_was_killed_while_the_site_worked_goes_on(site: Site) -> None:
    first = site.roll(**BOTH, **THREE)
    (name,) = held(first)
    assert held(first) == {name: "before"}
    # As if the play had died: it begins anew, without a step, and the site prepares that node once more.
    again = site.roll(**BOTH, **THREE)
    assert held(again) == {name: "before"}
    assert again.result["step"]["run"] == first.result["step"]["run"]
    there = list(site.vms().values()).count(name)
    empty = site.roll(**BOTH, **THREE, step=again.result["step"], handed_back=handed_back(again))
    assert held(empty) == {name: "after"}
    assert {one["name"]: one["vms_moved"] for one in empty.result["nodes"]}[name] == there
    # What was prepared is not prepared again, and what has moved does not move again.
    anew = site.roll(**BOTH, **THREE)
    assert held(anew) == {name: "after"}
    assert not anew.actions
    assert to_the_end(site, anew, **BOTH, **THREE).summary["drained"] == 3
    assert site.is_clean()


def test_while_the_site_works_nobody_else_has_the_node(site: Site) -> None:
    step = site.roll(hold_for=["after"], **THREE)
    (name,) = held(step)
    claim = claims.claim_of(site.node(name))
    assert claim is not None
    assert claim.state == claims.HELD
    bob = Verbs(site.verbs.connection["kubeconfig"], impersonate_user="bob", impersonate_groups=["system:masters"])
    for verb, options in (("node_drain", {"names": [name]}), ("node_drain", {"names": [name], "state": "uncordoned"}), ("rolling_drain", THREE)):
        with pytest.raises(PreconditionFailed) as caught:
            bob(verb, **options)
        assert caught.value.details["code"] == "held"
        assert claim.holder in caught.value.message
    cancelled = site.verbs("node_drain", names=THREE["names"], state="evacuation_cancelled")
    assert cancelled.changed
    assert site.is_clean()
    # The step finds that nothing is the run's any more.
    error = site.fails(hold_for=["after"], **THREE, step=step.result["step"], handed_back=handed_back(step))
    assert error.details["code"] == "lost"
    assert "it was cancelled" in error.message
    assert site.is_clean()


def test_a_node_whose_drain_is_cancelled_between_two_steps_is_left_alone(site: Site) -> None:
    step = site.roll(hold_for=["after"], **THREE)
    (name,) = held(step)
    left = next(one for one in THREE["names"] if one != name)
    assert site.verbs("node_drain", names=[left], state="evacuation_cancelled").changed
    with pytest.raises(DrainIncomplete) as caught:
        to_the_end(site, step, hold_for=["after"], **THREE)
    assert {one["name"]: one.get("code") for one in caught.value.details["nodes"]}[left] == "lost"
    assert caught.value.details["summary"]["drained"] == 2
    assert not site.cordoned(left)
    assert site.verbs("node_drain", names=THREE["names"], state="evacuation_cancelled").changed
    assert site.is_clean()


def test_what_the_plan_puts_aside_stays_so_in_later_steps(site: Site) -> None:
    pod = site.lone_pod("node0003")
    options = {**THREE, "hold_for": ["after"], "max_quarantined": 1, "evict_uncontrolled": False}
    step = site.roll(**options)
    assert [one["name"] for one in step.result["quarantined"]] == ["node0003"]
    site.api.expect(200, "DELETE", pod)
    with pytest.raises(DrainIncomplete) as caught:
        to_the_end(site, step, **options)
    (aside,) = caught.value.details["quarantined"]
    assert (aside["name"], aside["code"]) == ("node0003", "cannot_leave")
    assert "default/lone" in aside["reason"]
    assert caught.value.details["summary"]["drained"] == 2
    assert not site.cordoned("node0003")
    assert to_the_end(site, site.roll(**options), **options).summary["drained"] == 3
    assert site.is_clean()


def test_a_node_that_the_site_fails_with_is_put_aside(site: Site) -> None:
    step = site.roll(hold_for=["after"], **THREE, max_quarantined=1)
    (name,) = held(step)
    reason = "Flash it: no such firmware"
    step = site.roll(hold_for=["after"], **THREE, max_quarantined=1, step=step.result["step"], handed_back=handed_back(step, **{name: reason}))
    with pytest.raises(DrainIncomplete) as caught:
        to_the_end(site, step, hold_for=["after"], **THREE, max_quarantined=1)
    error = caught.value
    assert error.details["code"] == "quarantined"
    (aside,) = error.details["quarantined"]
    assert (aside["name"], aside["code"]) == (name, "site_failed")
    assert reason in aside["reason"]
    assert reason in error.message
    assert error.details["summary"]["drained"] == 2
    assert site.unclean() == ["node0001", "node0002", "node0003"]
    turn = turn_of(site.node(name))
    assert turn is not None
    assert (turn.state, turn.code) == ("quarantined", "site_failed")
    # The next run gives it another chance, and has nothing to do for the others.
    step = site.roll(hold_for=["after"], **THREE)
    assert held(step) == {name: "after"}
    assert site.roll(hold_for=["after"], **THREE, step=step.result["step"], handed_back=handed_back(step)).summary["drained"] == 3
    assert site.is_clean()


def test_what_is_put_aside_by_the_first_closes_the_run(site: Site) -> None:
    step = site.roll(**BOTH, **THREE, quarantine="uncordoned")
    (name,) = held(step)
    error = site.fails(**BOTH, **THREE, quarantine="uncordoned", step=step.result["step"], handed_back=handed_back(step, **{name: "x: y"}))
    assert error.details["summary"] == error.details["summary"] | {"drained": 0, "quarantined": 1, "not_begun": 2}
    assert "max_quarantined is 0" in error.message
    assert "before the drain failed: x: y" in error.message
    assert not [one for one in THREE["names"] if site.cordoned(one)]
    assert site.verbs("node_drain", names=THREE["names"], state="evacuation_cancelled").changed
    assert site.is_clean()


def test_a_run_without_hooks_takes_up_one_with_hooks(site: Site) -> None:
    site.roll(**BOTH, **THREE)
    done = site.roll(**THREE)
    assert done.summary["drained"] == 3
    assert not done.result["held"]
    assert site.is_clean()


def test_soaking_goes_on_where_it_was(site: Site) -> None:
    step = site.roll(hold_for=["after"], **{**THREE, "names": ["node0001"]}, soak_time=2)
    done = site.roll(hold_for=["after"], **{**THREE, "names": ["node0001"]}, soak_time=2, step=step.result["step"], handed_back=handed_back(step))
    assert done.summary["drained"] == 1
    assert site.is_clean()


def test_the_time_that_is_up_gives_back_what_was_only_prepared(site: Site) -> None:
    step = site.roll(**BOTH, **THREE)
    long_ago = {**step.result["step"], "began": "2020-01-01T00:00:00Z"}
    error = site.fails(**BOTH, **THREE, step=long_ago)
    assert error.details["code"] == "not_done"
    assert "the time of 120 s is up" in error.message
    assert site.is_clean()


@pytest.mark.parametrize(("options", "said"), [
    ({"handed_back": [{"name": "node0001"}]}, "handed_back says"),
    ({"handed_back": [{"name": "nowhere"}], "step": {"run": "x", "began": "2026-01-01T00:00:00Z"}}, "nowhere is none of the nodes"),
    ({"step": {"run": "x", "began": "yesterday"}}, "step.began is 'yesterday'"),
    ({"hold_time": 0}, "hold_time is 0"), ({"site_time": -1}, "site_time is -1"),
])
def test_what_cannot_be(site: Site, options: dict[str, t.Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        site.roll(**options)
    assert site.is_clean()


def test_a_step_of_a_run_that_another_has_taken_the_place_of(site: Site) -> None:
    step = site.roll(**BOTH, **THREE)
    error = site.fails(**BOTH, **THREE, step={**step.result["step"], "run": "older"})
    assert error.details["code"] == "lost"
    site.verbs("node_drain", names=THREE["names"], state="evacuation_cancelled")
    eventually(site.is_clean)


def test_a_node_taken_by_somebody_else_meanwhile_is_left_to_them(site: Site) -> None:
    step = site.roll(hold_for=["after"], **THREE)
    (name,) = held(step)
    theirs = claims.Claim("their-run", "olga on elsewhere", "elsewhere/1", "1/1", "2099-01-01T00:00:00Z", "2099-01-01T00:00:00Z")
    site.api.expect(200, "PATCH", f"{NODES}/{name}", {"metadata": {"annotations": {claims.CLAIM: theirs.text()}}}, content_type=MERGE_PATCH)
    with pytest.raises(DrainIncomplete) as caught:
        to_the_end(site, step, hold_for=["after"], **THREE)
    assert "taken over by olga" in caught.value.message
    assert caught.value.details["summary"]["drained"] == 2
    assert claims.claim_of(site.node(name)) == theirs
    site.verbs("node_drain", names=THREE["names"], state="evacuation_cancelled", take_over=True)
    assert site.is_clean()
