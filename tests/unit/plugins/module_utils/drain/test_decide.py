# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked for next, and when."""

from __future__ import annotations

import typing as t

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils.drain.decide import (
    Decision,
    Memory,
    Trying,
    Verb,
    View,
    decide,
    forget_seen,
)
from ansible_collections.okd.virt.plugins.module_utils.drain.fates import Around
from ansible_collections.okd.virt.plugins.module_utils.drain.moves import manifest
from ansible_collections.okd.virt.plugins.module_utils.drain.request import Request

from .objects import NODE, Json, launcher, migration, pod, vmi


def view(vms: dict[str, Json], pods: t.Sequence[Json] = (), migrations: t.Sequence[Json] = ()) -> View:
    return View(NODE, [*(launcher(name) for name in vms), *pods], Around({("shop", name): one for name, one in vms.items()}), migrations)


def asked(decision: Decision) -> list[tuple[str, str]]:
    return [(act.verb.value, act.key[1] if act.key else act.pod["metadata"]["name"]) for act in decision.acts]


THREE = {"small": vmi("small"), "large": vmi("large", memory="8Gi"), "middle": vmi("middle", memory="2Gi")}


def test_the_largest_first_and_no_more_than_there_are_slots() -> None:
    assert asked(decide(view(THREE), Memory(), Request(), "run", 2, 0.0)) == [("migrate", "large"), ("migrate", "middle")]
    assert asked(decide(view(THREE), Memory(), Request(), "run", 0, 0.0)) == []


def test_what_moves_already_is_left_alone_whoever_moves_it() -> None:
    for moving in ([migration("large", "Running")], [migration("large", "Pending", run="")]):
        decision = decide(view(THREE, migrations=moving), Memory(), Request(), "run", 1, 0.0)
        assert asked(decision) == [("migrate", "middle")]
        assert decision.moving == {("shop", "large")}
    marked = {**THREE, "large": vmi("large", memory="8Gi", evacuationNodeName=NODE)}
    assert asked(decide(view(marked), Memory(), Request(), "run", 1, 0.0)) == [("migrate", "middle")]


def test_evictions_mark_no_more_than_slots_and_those_ahead() -> None:
    request = Request(move_by="eviction", marked_ahead=1)
    assert asked(decide(view(THREE), Memory(), request, "run", 1, 0.0)) == [("mark", "large"), ("mark", "middle")]
    marked = {**THREE, "large": vmi("large", evacuationNodeName=NODE)}
    assert asked(decide(view(marked), Memory(), request, "run", 1, 0.0)) == [("mark", "middle")]


def test_other_pods_come_after_the_vms_unless_asked_otherwise() -> None:
    seen = view({"a": vmi("a")}, [pod()])
    assert asked(decide(seen, Memory(), Request(), "run", 1, 0.0)) == [("migrate", "a")]
    assert asked(decide(seen, Memory(), Request(vms_first=False), "run", 1, 0.0)) == [("migrate", "a"), ("evict", "web")]
    assert asked(decide(view({}, [pod()]), Memory(), Request(), "run", 1, 0.0)) == [("evict", "web")]


def test_what_has_ended_is_removed_at_once() -> None:
    seen = view({"a": vmi("a")}, [launcher("gone", "Succeeded")])
    assert asked(decide(seen, Memory(), Request(), "run", 0, 0.0)) == [("evict", "virt-launcher-gone-abcde")]
    memory = Memory(trying={"virt-launcher-gone-abcde-uid": Trying(next_at=30.0, code="marked")})
    assert asked(decide(seen, memory, Request(), "run", 0, 0.0)) == [("evict", "virt-launcher-gone-abcde")]


def test_a_refused_eviction_is_tried_again_in_its_time() -> None:
    memory = Memory(trying={"web-uid": Trying(next_at=5.0, tries=1, code="budget_closed", sentence="closed")})
    decision = decide(view({}, [pod()]), memory, Request(), "run", 1, 1.0)
    assert not decision.acts
    assert decision.wake == 5.0
    assert decision.pending[0].fate.code == "budget_closed"
    assert asked(decide(view({}, [pod()]), memory, Request(), "run", 1, 5.0)) == [("evict", "web")]


def test_an_accepted_eviction_is_waited_for() -> None:
    memory = Memory(trying={"web-uid": Trying(accepted=True)})
    decision = decide(view({}, [pod()]), memory, Request(), "run", 1, 1.0)
    assert not decision.acts
    assert not decision.done


def test_a_failed_migration_is_tried_again_after_its_back_off_and_not_for_ever() -> None:
    failures = [migration("a", "Failed", name="m1")]
    memory, seen = Memory(), view({"a": vmi("a")}, migrations=failures)
    waiting = decide(seen, memory, Request(), "run", 1, 100.0)
    assert not waiting.acts
    assert waiting.wake == 120.0
    [again] = decide(seen, memory, Request(), "run", 1, 120.0).acts
    assert again.attempt == 2
    failures.append(migration("a", "Failed", name="m2", attempt=2, created="2026-01-01T00:01:00Z"))
    assert decide(view({"a": vmi("a")}, migrations=failures), memory, Request(), "run", 1, 130.0).wake == 170.0
    given_up = decide(seen, memory, Request(migration_attempts=1), "run", 1, 500.0)
    assert given_up.stuck
    assert not given_up.acts


def test_failures_of_others_and_of_other_runs_do_not_count() -> None:
    for failure in (migration("a", "Failed", run=""), migration("a", "Failed", run="other"), migration("a", "Failed", node="other")):
        [act] = decide(view({"a": vmi("a")}, migrations=[failure]), Memory(), Request(migration_attempts=1), "run", 1, 0.0).acts
        assert act.attempt == 1


def test_only_two_are_stopped_and_started_at_once() -> None:
    vms = {name: vmi(name, migratable=False) for name in "abc"}
    request = Request(on_unmigratable="stop_and_restart")
    assert [act.verb for act in decide(view(vms), Memory(), request, "run", 0, 0.0).acts] == [Verb.RESTART, Verb.RESTART]
    memory = Memory(trying={"virt-launcher-a-abcde-uid": Trying(accepted=True)})
    assert asked(decide(view(vms), memory, request, "run", 0, 0.0)) == [("restart", "b")]


def test_a_missing_right_ends_the_drain() -> None:
    memory = Memory(trying={"web-uid": Trying(next_at=30.0, code="forbidden", sentence="no")})
    assert decide(view({}, [pod()]), memory, Request(), "run", 1, 1.0).stuck


def test_done_when_only_those_are_left_that_stay() -> None:
    decision = decide(view({}, [pod(owner="DaemonSet")]), Memory(), Request(), "run", 1, 0.0)
    assert decision.done
    assert not decision.stuck
    assert [one.fate.code for one in decision.left] == ["daemon_set"]


def test_what_was_made_counts_until_it_is_seen_or_lost() -> None:
    memory = Memory(made={("shop", "a"): ("m", 0.0)}, busy={"x": Verb.MIGRATE, "y": Verb.EVICT})
    assert memory.starting == 2
    seen = view({"a": vmi("a")})
    assert not decide(seen, memory, Request(), "run", 1, 1.0).acts
    forget_seen(memory, view({"a": vmi("a")}, migrations=[migration("a", name="m")]), 1.0)
    assert not memory.made
    memory.made = {("shop", "a"): ("m", 0.0)}
    forget_seen(memory, seen, 60.0)
    assert not memory.made
    memory.made = {("shop", "a"): ("", 0.0)}
    forget_seen(memory, seen, 1.0)
    assert memory.made
    forget_seen(memory, view({"a": vmi("a", evacuationNodeName=NODE)}), 1.0)
    assert not memory.made


def test_the_same_attempt_has_the_same_name() -> None:
    first = manifest("run", NODE, ("shop", "a"), 1)
    assert first == manifest("run", NODE, ("shop", "a"), 1)
    names = {manifest(run, NODE, ("shop", vm), attempt)["metadata"]["name"] for run in "xy" for vm in "ab" for attempt in (1, 2)}
    assert len(names) == 8
    assert all(len(name) <= 63 for name in names)


VMS = st.dictionaries(st.sampled_from("abcdef"), st.builds(
    vmi, st.just("x"), migratable=st.sampled_from([True, False, None]), memory=st.sampled_from(["1Gi", "2Gi", "x"]),
    strategy=st.sampled_from(["None", "LiveMigrate", "External"]),
))


@given(VMS, st.lists(st.sampled_from("abcdef"), unique=True), st.integers(0, 4), st.sampled_from(["skip", "refuse", "stop_and_restart"]))
def test_never_more_than_slots_never_twice_and_only_what_can(vms: dict[str, Json], moving: list[str], slots: int, unmigratable: str) -> None:
    migrations = [migration(name, "Running", name=f"m-{name}") for name in moving]
    decision = decide(view(vms, migrations=migrations), Memory(), Request(on_unmigratable=unmigratable), "run", slots, 0.0)
    started = [act.key for act in decision.acts if act.verb is Verb.MIGRATE]
    assert len(started) <= slots
    assert len(set(started)) == len(started)
    for key in started:
        assert key is not None
        assert key[1] not in moving
        assert vms[key[1]]["status"]["conditions"][0]["status"] == "True"
    movable = [name for name, one in vms.items() if name not in moving and one["spec"]["evictionStrategy"] != "External"
               and one["status"]["conditions"] and one["status"]["conditions"][0]["status"] == "True"]
    assert len(started) == min(slots, len(movable))


def test_what_the_run_has_moved_is_not_moved_again_where_its_instance_is_still_seen_here() -> None:
    """Two watches may tell of the same move in either order."""
    decision = decide(view({"a": vmi("a")}, migrations=[migration("a", "Succeeded")]), Memory(), Request(), "run", 1, 0.0)
    assert not decision.acts
    assert decision.moving == {("shop", "a")}
    # It may have come back since another run, or have left another node.
    for other in (migration("a", "Succeeded", run="other"), migration("a", "Succeeded", node="other")):
        assert asked(decide(view({"a": vmi("a")}, migrations=[other]), Memory(), Request(), "run", 1, 0.0)) == [("migrate", "a")]
