# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said to fit fits whatever the scheduler does, and what is said not to fit does not: tried in every way there is."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils._placement.company import Company
from ansible_collections.okd.virt.plugins.module_utils._placement.demand import Demand
from ansible_collections.okd.virt.plugins.module_utils._placement.in_turn import in_turn
from ansible_collections.okd.virt.plugins.module_utils._placement.node_info import NodeInfo, why_never, why_not_now
from ansible_collections.okd.virt.plugins.module_utils._placement.placing import place
from ansible_collections.okd.virt.plugins.module_utils._placement.searching import exists
from ansible_collections.okd.virt.plugins.module_utils._placement.terms import Namespaces, Term
from ansible_collections.okd.virt.plugins.module_utils._placement.verdict import (
    DOES_NOT_FIT,
    FITS,
    TIGHT,
    WINDOW,
    Looks,
)

HOST = "kubernetes.io/hostname"


def node(name: str, memory: int, **more: t.Any) -> NodeInfo:
    labels = {HOST: name, **more.pop("labels", {})}
    return NodeInfo(name, labels, **{"memory": memory, "cpu": 100_000, "pods": 100, **more})


def demand(name: str, memory: int = 1, **more: t.Any) -> Demand:
    return Demand("shop", name, **{"memory": memory, "cpu": 1, **more})


def apart(group: str, key: str = HOST) -> Term:
    return Term({"matchLabels": {"group": group}}, frozenset({"shop"}), None, key)


def looks(nodes: t.Sequence[NodeInfo], pods: t.Sequence[tuple[str, Demand]] = ()) -> Looks:
    return Looks(nodes, Company(pods, {one.name: one.labels for one in nodes}))


def takes(one: Demand, on: NodeInfo, there: t.Sequence[Demand]) -> bool:
    """Whether a node takes a pod beside those that have come to it."""
    left = dataclasses.replace(on)
    for other in there:
        left.takes(other)
    groups = {other.labels.get("group") for other in there if other.apart} if one.apart else set()
    return not why_never(one, on) and not why_not_now(one, left) and one.labels.get("group") not in groups


def always(leaving: t.Sequence[Demand], nodes: t.Sequence[NodeInfo]) -> bool:
    """Whether each finds a node in every order, whichever of those that take it the scheduler chooses."""
    def so_far(rest: tuple[Demand, ...], placed: dict[str, tuple[Demand, ...]]) -> bool:
        for one in rest:
            able = [on.name for on in nodes if takes(one, on, placed[on.name])]
            others = tuple(other for other in rest if other is not one)
            if not able or not all(so_far(others, {**placed, name: (*placed[name], one)}) for name in able):
                return False
        return True

    return so_far(tuple(leaving), {one.name: () for one in nodes})


def ever(leaving: t.Sequence[Demand], nodes: t.Sequence[NodeInfo]) -> bool:
    """Whether there are places for all."""
    for where in itertools.product(nodes, repeat=len(leaving)):
        placed: dict[str, tuple[Demand, ...]] = {one.name: () for one in nodes}
        for one, on in zip(leaving, where, strict=True):
            if not takes(one, on, placed[on.name]):
                break
            placed[on.name] = (*placed[on.name], one)
        else:
            return True
    return False


VMS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2), st.sampled_from(["", "", "a", "b"]), st.sampled_from(["", "", "g"])), max_size=4)
ROOMS = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 3), st.sampled_from("ab")), max_size=3)


def _made(vms: t.Sequence[tuple[int, int, str, str]], rooms: t.Sequence[tuple[int, int, str]]) -> tuple[list[Demand], list[NodeInfo]]:
    leaving = [
        demand(f"vm{number}", size, extended={"nic": nics} if nics else {}, selector={"pool": pool} if pool else {},
               labels={"group": group} if group else {}, apart=(apart(group),) if group else ())
        for number, (size, nics, pool, group) in enumerate(vms)
    ]
    return leaving, [node(f"n{number}", size, extended={"nic": nics}, labels={"pool": pool}) for number, (size, nics, pool) in enumerate(rooms)]


@given(VMS, ROOMS, st.booleans())
def test_the_verdict_holds_whatever_the_scheduler_does(
    vms: list[tuple[int, int, str, str]], rooms: list[tuple[int, int, str]], in_order: bool,
) -> None:
    leaving, nodes = _made(vms, rooms)
    leaving.sort(key=lambda one: -one.memory)
    verdict = looks(nodes).judge(leaving, (), (), WINDOW if in_order else None)
    if verdict.code == FITS:
        assert always(leaving, nodes)
    if verdict.code == DOES_NOT_FIT:
        assert not ever(leaving, nodes)


@given(VMS, ROOMS)
def test_the_search_finds_places_exactly_when_there_are_some(vms: list[tuple[int, int, str, str]], rooms: list[tuple[int, int, str]]) -> None:
    leaving, nodes = _made([(size, nics, pool, "") for size, nics, pool, _group in vms], rooms)
    assert exists(leaving, nodes, looks(nodes).possible, {}) is ever(leaving, nodes)


def json_node(name: str, memory: int) -> dict[str, t.Any]:
    status = {"allocatable": {"memory": str(memory), "cpu": "100", "pods": "100"}, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": name, "labels": {HOST: name}}, "spec": {}, "status": status}


@given(
    vms=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2)), min_size=1, max_size=4), rooms=st.lists(st.integers(1, 12), min_size=2, max_size=3),
)
def test_all_nodes_in_turn_wherever_the_vms_are_by_then(vms: list[tuple[int, int]], rooms: list[int]) -> None:
    nodes = [json_node(f"n{number}", size) for number, size in enumerate(rooms)]
    infos = [node(f"n{number}", size) for number, size in enumerate(rooms)]
    pods: list[dict[str, t.Any]] = [
        {"node": f"n{on % len(rooms)}", "demand": demand(f"vm{number}", size), "vm": True, "stays": False} for number, (size, on) in enumerate(vms)
    ]
    names = [one.name for one in infos]
    verdict, stuck = in_turn(nodes, pods, names, 1, {one["demand"].key for one in pods})
    if verdict.code == FITS:
        for one, away in itertools.product(pods, names):
            others = [other["demand"] for other in pods if other is not one]
            left = [info for info in infos if info.name != away]
            # However all others are spread over the nodes that stay, there is a place for this one.
            for where in itertools.product(left, repeat=len(others)):
                placed = {info.name: [other for other, on in zip(others, where, strict=True) if on is info] for info in left}
                if all(sum(other.memory for other in there) <= info.memory for info in left for there in [placed[info.name]]):
                    assert any(takes(one["demand"], info, placed[info.name]) for info in left)
    if verdict.code == DOES_NOT_FIT:
        assert not ever([one["demand"] for one in pods], [info for info in infos if info.name != stuck])


def test_the_order_in_which_they_leave_is_counted_on() -> None:
    """The large one goes first: then the many small ones are no danger to it. In any order they are."""
    leaving = [demand("large", 10), *(demand(f"small{number}", 1) for number in range(20))]
    nodes = [node("a", 16), node("b", 16)]
    assert looks(nodes).judge(leaving, ()).code == FITS
    assert looks(nodes).judge(leaving, (), window=None).code == TIGHT
    # What comes back elsewhere too comes whenever it likes.
    assert looks(nodes).judge(leaving[:1], (), leaving[1:]).code == TIGHT


def test_room_that_is_tight_and_room_that_is_not_there() -> None:
    nodes = [node("a", 12), node("b", 10)]
    assert looks(nodes).judge([demand("v", 8), demand("w", 8)], ()).code == TIGHT
    verdict = looks(nodes).judge([demand("v", 8), demand("w", 8), demand("x", 8)], ())
    assert (verdict.code, [one.name for one in verdict.crowded]) == (DOES_NOT_FIT, ["x"])
    verdict = looks(nodes).judge([demand("v", 8), demand("huge", 13)], ())
    assert (verdict.code, [one.name for one in verdict.lone]) == (DOES_NOT_FIT, ["huge"])
    assert looks(nodes).judge([demand("v", 8)], ("a",)).code == FITS
    assert looks(nodes).judge([], ("a", "b")).code == FITS


def test_vms_that_keep_apart_need_a_node_each() -> None:
    group = [demand(name, labels={"group": "g"}, apart=(apart("g"),)) for name in ("v", "w", "x")]
    nodes = [node(name, 100) for name in "abc"]
    assert looks(nodes).judge(group, ()).code == FITS
    assert looks(nodes[:2]).judge(group, ()).code != FITS
    assert len(place(group, nodes[:2], company=looks(nodes[:2]).company).left) == 1
    # Another one of them is on a node already.
    there = looks(nodes, [("a", demand("y", labels={"group": "g"}))])
    assert there.judge(group[:2], ()).code == FITS
    assert there.judge(group, ()).code != FITS


@pytest.mark.parametrize(("group", "key", "reason"), [
    ("a", HOST, ("n1", "didn't match the pod's anti-affinity rules")), ("b", HOST, ("", "")),
    ("a", "zone", ("n1 n2", "didn't match the pod's anti-affinity rules")),
])
def test_anti_affinity_by_node_and_by_zone(group: str, key: str, reason: tuple[str, str]) -> None:
    nodes = [node("n1", 9, labels={"zone": "x"}), node("n2", 9, labels={"zone": "x"}), node("n3", 9, labels={"zone": "y"})]
    company = looks(nodes, [("n1", demand("there", labels={"group": "a"}))]).company
    question = company.question(demand("v", apart=(apart(group, key),)))
    refused = {one.name: question.why_not(one.labels) for one in nodes if question and question.why_not(one.labels)}
    assert (" ".join(refused), "".join(set(refused.values()))) == reason


def test_those_that_are_there_may_want_to_be_alone() -> None:
    nodes = [node("n1", 9), node("n2", 9)]
    company = looks(nodes, [("n1", demand("there", apart=(apart("a"),)))]).company
    question = company.question(demand("v", labels={"group": "a"}))
    assert question is not None
    assert question.why_not(nodes[0].labels) == "anti-affinity rules of pods on it"
    assert company.question(demand("v", labels={"group": "b"})) is None
    # Who leaves too minds nobody where it was.
    assert company.question(demand("v", labels={"group": "a"}), {("shop", "there")}) is None


def test_affinity_to_what_stays_and_to_what_leaves_too() -> None:
    nodes = [node("n1", 9), node("n2", 9)]
    near = demand("v", near=(apart("a"),))
    company = looks(nodes, [("n1", demand("partner", labels={"group": "a"}))]).company
    question = company.question(near)
    assert question is not None
    assert [question.why_not(one.labels) for one in nodes] == ["", "didn't match the pod's affinity rules"]
    moving = company.question(near, {("shop", "partner")})
    assert moving is not None
    assert [moving.why_not(one.labels) for one in nodes] == ["", ""]
    nobody = looks(nodes).company.question(near)
    assert nobody is not None
    assert nobody.why_not(nodes[0].labels)
    both = looks(nodes, [("n1", demand("partner", labels={"group": "a"}))])
    assert both.judge([near, demand("partner", labels={"group": "a"})], ()).code == TIGHT


def test_a_launcher_counts_for_its_own_vm_until_it_has_moved() -> None:
    """A VM that keeps away from its own kind by zone can't move within the zone that it is in."""
    nodes = [node("n1", 9, labels={"zone": "x"}), node("n2", 9, labels={"zone": "x"}), node("n3", 9, labels={"zone": "y"})]
    own = demand("v", labels={"group": "a"}, apart=(apart("a", "zone"),))
    company = looks(nodes, [("n1", own)]).company
    leaving = dataclasses.replace(own, source="n1")
    question = company.question(leaving, {own.key})
    assert question is not None
    assert [bool(question.why_not(one.labels)) for one in nodes] == [True, True, False]
    assert company.question(own, {own.key}) is None


def test_terms_reach_over_namespaces_by_name_and_by_label() -> None:
    known = Namespaces({"shop": {"team": "blue"}})
    named = Term({"matchLabels": {"a": "b"}}, frozenset({"shop"}), None, HOST)
    assert named.selects("shop", {"a": "b"}, known)
    assert not named.selects("other", {"a": "b"}, known)
    by_label = Term({"matchLabels": {"a": "b"}}, frozenset(), {"matchLabels": {"team": "blue"}}, HOST)
    assert by_label.selects("shop", {"a": "b"}, known)
    assert not by_label.selects("other", {"a": "b"}, known)
    assert Term({}, frozenset(), {}, HOST).selects("anywhere", {}, known)
    assert not Term(None, frozenset({"shop"}), None, HOST).selects("shop", {}, known)


def test_spread_and_ports_are_no_promise() -> None:
    nodes = [node("a", 9, labels={"zone": "x"}), node("b", 9)]
    assert looks(nodes).judge([demand("v", spread=("zone",))], ()).code == TIGHT
    ports = (("TCP", 80, "0.0.0.0"),)
    pair = [demand("v", ports=ports), demand("w", ports=ports)]
    assert looks(nodes).judge(pair, ()).code == FITS
    assert looks(nodes[:1]).judge(pair, ()).code != FITS
