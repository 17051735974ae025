# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose turn it is, within the memory that is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils._placement.demand import memory_request
from ansible_collections.okd.virt.plugins.module_utils._placement.room import Room, keep, room_of, takes_pods
from ansible_collections.okd.virt.plugins.module_utils.drain.turns import (
    STILL_TO_COME,
    Queue,
    Turn,
    next_node,
    turn_of,
    with_turn,
)

from .objects import Json

GIB = 2**30


def node(name: str, memory: str = "10Gi", *, model: str = "Skylake", runs: tuple[str, ...] = ("Skylake",), **spec: object) -> Json:
    labels = {"kubevirt.io/schedulable": "true", f"host-model-cpu.node.kubevirt.io/{model}": "true"}
    labels |= {f"cpu-model-migration.node.kubevirt.io/{one}": "true" for one in runs}
    return {
        "metadata": {"name": name, "resourceVersion": "7", "labels": labels, "annotations": {}}, "spec": spec,
        "status": {"allocatable": {"memory": memory}, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def pod(on: str, memory: str, *, vm: bool = True, phase: str = "Running", **more: object) -> Json:
    return {
        "metadata": {"name": "p", "namespace": "shop", "uid": "u", "labels": {"kubevirt.io": "virt-launcher"} if vm else {}},
        "spec": {"nodeName": on, "containers": [{"resources": {"requests": {"memory": memory}}}], **more}, "status": {"phase": phase},
    }


def test_memory_of_a_pod_counts_as_the_scheduler_counts_it() -> None:
    assert memory_request(pod("a", "1Gi")) == GIB
    assert memory_request(pod("a", "1Gi", overhead={"memory": "1Gi"})) == 2 * GIB
    init = {"resources": {"requests": {"memory": "3Gi"}}}
    assert memory_request(pod("a", "1Gi", initContainers=[init])) == 3 * GIB
    assert memory_request(pod("a", "1Gi", initContainers=[{**init, "restartPolicy": "Always"}])) == 4 * GIB
    assert memory_request(pod("a", "nonsense")) == 0


def test_what_has_ended_takes_no_room() -> None:
    assert keep(pod("a", "1Gi", phase="Succeeded")) is None
    assert keep(pod("", "1Gi")) is None


@pytest.mark.parametrize(("spec", "takes"), [
    ({}, True), ({"unschedulable": True}, False), ({"taints": [{"key": "x", "effect": "NoSchedule"}]}, False),
    ({"taints": [{"key": "x", "effect": "PreferNoSchedule"}]}, True),
])
def test_which_nodes_take_vms(spec: Json, takes: bool) -> None:
    assert takes_pods(node("a", **spec)) is takes


def test_room_is_what_requests_leave() -> None:
    kept = [one for one in (keep(pod("a", "4Gi")), keep(pod("a", "1Gi", vm=False)), keep(pod("b", "2Gi"))) if one]
    room = room_of([node("a"), node("b", unschedulable=True)], kept)
    assert room.vms == {"a": 4 * GIB, "b": 2 * GIB}
    assert room.free == {"a": 5 * GIB}


def test_room_on_a_node_that_cannot_run_the_model_is_none() -> None:
    room = room_of([node("a", model="Haswell", runs=("Haswell",)), node("b")], [one for one in (keep(pod("b", "1Gi")),) if one])
    assert not room.fits(["b"], ["a"])
    assert room.fits(["a"], ["b"])


def test_the_emptiest_comes_first_and_alone_while_nobody_is_done() -> None:
    room = Room({"a": 3, "b": 1, "c": 2}, {"a": 7, "b": 9, "c": 8})
    assert next_node(Queue(["a", "b", "c"]), room, 3) == ("b", "")
    name, why = next_node(Queue(["a", "c"], active=["b"]), room, 3)
    assert name is None
    assert "would have to move again" in why


def test_several_when_those_that_are_done_have_room() -> None:
    room = Room({"a": 3, "c": 2}, {"a": 7, "b": 10, "c": 8})
    assert next_node(Queue(["a", "c"], done=["b"]), room, 3)[0] == "c"
    assert next_node(Queue(["a"], active=["c"], done=["b"]), room, 3)[0] == "a"
    assert next_node(Queue(["a"], active=["c"], done=["b"]), room, 1) == (None, "")


def test_nobody_when_the_rest_has_no_room() -> None:
    room = Room({"a": 9, "b": 9}, {"a": 1, "b": 1})
    assert next_node(Queue(["a", "b"]), room, 2) == (None, "the VMs of a have no room on the other nodes")


SIZES = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=2, max_size=6)


@given(SIZES, st.integers(1, 4))
def test_the_spare_memory_rule_holds_whatever_is_begun(sizes: list[tuple[int, int]], parallel: int) -> None:
    names = [f"n{number}" for number in range(len(sizes))]
    room = Room({name: used for name, (used, _free) in zip(names, sizes, strict=True)}, {name: free for name, (_used, free) in zip(names, sizes, strict=True)})
    queue = Queue(list(names))
    while (name := next_node(queue, room, parallel)[0]) is not None:
        queue.waiting.remove(name)
        queue.active.append(name)
        assert len(queue.active) <= parallel
        assert sum(room.vms[one] for one in queue.active) <= sum(free for one, free in room.free.items() if one not in queue.active)


def test_what_stands_on_a_node_of_its_turn() -> None:
    theirs = {"key": "theirs", "effect": "NoSchedule"}
    patch = with_turn(node("a", taints=[theirs]), Turn("run"), attractive=False)
    assert patch["spec"]["taints"] == [theirs, {"key": STILL_TO_COME, "effect": "PreferNoSchedule"}]
    assert patch["metadata"]["resourceVersion"] == "7"
    marked = node("a", taints=patch["spec"]["taints"])
    marked["metadata"]["annotations"] = patch["metadata"]["annotations"]
    assert turn_of(marked) == Turn("run")
    done = with_turn(marked, Turn("run", "done"), attractive=True, schedulable=True, release=True)
    assert done["spec"] == {"taints": [theirs], "unschedulable": None}
    assert done["metadata"]["annotations"]["okd.virt/drain"] is None
    assert with_turn(node("a"), None, attractive=True)["spec"]["taints"] is None


def test_all_that_is_said_of_a_turn_comes_back_and_older_words_are_understood() -> None:
    turn = Turn("run", "quarantined", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "site_failed", "no firmware", 12, 71.5, 600.0)
    assert turn_of(marked_with(turn.text())) == turn
    assert turn_of(marked_with('{"run": "r", "since": "", "state": "done"}')) == Turn("r", "done")
    # What is not said is not written: annotations are read by people too.
    assert Turn("r").text() == '{"run": "r", "since": "", "state": "to_come"}'


def marked_with(text: str) -> Json:
    found = node("a")
    found["metadata"]["annotations"] = {"okd.virt/rolling": text}
    return found


def test_the_site_holds_a_node_by_another_claim() -> None:
    patch = with_turn(node("a"), Turn("run", "empty"), attractive=True, claim="theirs")
    assert patch["metadata"]["annotations"]["okd.virt/drain"] == "theirs"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "[1]", "7", '{"run": "r", "state": "done", "since": "", "moved": "many"}'])
def test_a_turn_that_cannot_be_read_is_none(text: str) -> None:
    assert turn_of(marked_with(text)) is None


def _two_models() -> Room:
    """Skylake runs Haswell's VMs, not the other way round; the Haswell node is the emptiest."""
    nodes = [
        node("old1", model="Haswell", runs=("Haswell",)), node("old2", model="Haswell", runs=("Haswell",)),
        node("new1", model="Skylake", runs=("Skylake", "Haswell")), node("new2", model="Skylake", runs=("Skylake", "Haswell")),
    ]
    for one in nodes:
        one["status"]["allocatable"] |= {"cpu": "8", "pods": "100"}
    pods = [("old1", "1Gi"), ("old2", "2Gi"), ("new1", "2Gi"), ("new2", "3Gi")]
    return room_of(nodes, [kept for on, memory in pods if (kept := keep(pod(on, memory)))])


def test_first_comes_a_node_that_can_take_over_everybody() -> None:
    names = ["old1", "old2", "new1", "new2"]
    assert next_node(Queue(names), _two_models(), 1) == ("new1", "")


def test_then_come_those_for_whom_nodes_that_are_done_have_a_place() -> None:
    assert next_node(Queue(["new2", "old1", "old2"], done=["new1"]), _two_models(), 1) == ("old1", "")
    assert next_node(Queue(["new2", "old2"], done=["old1"]), _two_models(), 1) == ("old2", "")
