# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many nodes in turn, played through on paper."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils._migrations.limits import limits
from ansible_collections.okd.virt.plugins.module_utils._placement.room import keep
from ansible_collections.okd.virt.plugins.module_utils.drain import foresight
from ansible_collections.okd.virt.plugins.module_utils.drain.foresight import Foresight, foresee
from ansible_collections.okd.virt.plugins.module_utils.drain.rolling_outcome import lines
from ansible_collections.okd.virt.plugins.module_utils.drain.turns import Queue

from .objects import Json
from .test_turns import GIB, node, pod

LIMITS = limits(None)


def _node(name: str, memory: str = "32Gi") -> Json:
    found = node(name, memory)
    found["status"]["allocatable"] |= {"cpu": "64", "pods": "250"}
    return found


def _vms(*sizes: tuple[str, int]) -> list[Json]:
    """Kept launcher pods: a node, and GiB each."""
    found = []
    for number, (on, gib) in enumerate(sizes):
        one = pod(on, f"{gib}Gi")
        one["metadata"] |= {"name": f"virt-launcher-{number}", "uid": f"u{number}"}
        kept = keep(one)
        assert kept is not None
        found.append(kept)
    return found


def _foresee(nodes: list[Json], vms: list[Json], at_once: int = 1, each: float = 0.0) -> Foresight:
    return foresee(nodes, vms, Queue([one["metadata"]["name"] for one in nodes]), LIMITS, at_once, each)


def test_each_node_has_its_turn_and_the_next_begins_when_it_is_done() -> None:
    found = _foresee([_node("a"), _node("b"), _node("c")], _vms(("a", 4), ("b", 8), ("b", 8)))
    assert [one.name for one in found.turns] == ["c", "a", "b"]
    assert found.turns[1].begins == found.turns[0].ends
    assert found.seconds == found.turns[-1].ends
    # The first is empty and can take over all others: nobody moves twice.
    assert [one.again for one in found.turns] == [0, 0, 0]
    assert sum(one.vms for one in found.turns) == 3


def test_memory_before_and_after_is_that_of_the_nodes_that_stay() -> None:
    (first, second) = _foresee([_node("a"), _node("b")], _vms(("a", 4), ("b", 8))).turns
    assert (first.name, first.before, first.after) == ("a", 24 * GIB, 20 * GIB)
    # By then the other VM is on b as well.
    assert (second.name, second.before, second.after) == ("b", 32 * GIB, 20 * GIB)
    assert second.vms == 2
    assert first.again == 1


def test_some_at_once_when_there_is_room_on_nodes_that_are_done() -> None:
    nodes = [_node(name, "64Gi") for name in "abcd"]
    found = _foresee(nodes, _vms(("b", 8), ("c", 8), ("d", 8)), at_once=3)
    assert found.turns[0].name == "a"
    assert [one.beside for one in found.turns[1:]] == [(), ("b",), ("b", "c")]


def test_the_time_that_nodes_are_away_when_they_are_empty_counts() -> None:
    short = _foresee([_node("a"), _node("b")], _vms(("a", 4)))
    long = _foresee([_node("a"), _node("b")], _vms(("a", 4)), each=600)
    assert short.seconds is not None
    assert long.seconds == short.seconds + 1200
    # Two nodes, of which one has a VM, and each has other pods.
    assert 60 < short.seconds < 120


def test_why_the_rest_would_not_be_begun() -> None:
    found = _foresee([_node("a", "10Gi"), _node("b", "10Gi")], _vms(("a", 9), ("b", 9)))
    assert not found.turns
    assert "have no room" in found.held
    assert found.further == 2
    shown = lines({**found.to_dict(), "quarantined": []})
    assert shown == [f"The rest would not be begun: {found.held}."]


def test_no_more_than_so_many_turns_are_played_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foresight, "FORESEEN", 2)
    found = _foresee([_node(name) for name in "abcd"], [])
    assert len(found.turns) == 2
    assert found.further == 2
    assert not found.held
    assert any("2 more nodes come after these" in line for line in lines({**found.to_dict(), "quarantined": []}))


def test_nodes_that_are_not_meant_take_vms_and_have_no_turn() -> None:
    nodes = [_node("a"), _node("other")]
    found = foresee(nodes, _vms(("a", 4)), Queue(["a"]), LIMITS, 1)
    assert [(one.name, one.again) for one in found.turns] == [("a", 0)]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 6)), max_size=12), st.integers(1, 3))
def test_never_more_at_once_and_never_more_than_there_is_room_for(sizes: list[tuple[str, int]], at_once: int) -> None:
    found = _foresee([_node(name) for name in "abcd"], _vms(*sizes), at_once)
    assert all(len(one.beside) < at_once for one in found.turns)
    assert all(one.after >= 0 for one in found.turns)
    assert len({one.name for one in found.turns}) == len(found.turns)
    assert found.further == 4 - len(found.turns)
    # Every VM moves at least once, and those once more that were sent to nodes still to come.
    if not found.further:
        assert sum(one.vms for one in found.turns) == len(sizes) + sum(one.again for one in found.turns)
