# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where VMs that leave their nodes fit, and what the plan says of it."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils._errors import PreconditionFailed
from ansible_collections.okd.virt.plugins.module_utils._migrations.guests import Guest
from ansible_collections.okd.virt.plugins.module_utils._migrations.limits import Limits
from ansible_collections.okd.virt.plugins.module_utils._migrations.precopy import Load
from ansible_collections.okd.virt.plugins.module_utils._placement import room
from ansible_collections.okd.virt.plugins.module_utils.drain.observed import Neighbours, Observed
from ansible_collections.okd.virt.plugins.module_utils.drain.outlook import Outlook, expected, outlook
from ansible_collections.okd.virt.plugins.module_utils.drain.plan import lines, make_plan
from ansible_collections.okd.virt.plugins.module_utils.drain.request import Request

from .objects import NODE, Json, launcher, vmi

GIB = 2**30
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def node(name: str, gib: int = 10, model: str = "Haswell", **spec: t.Any) -> Json:
    labels = {"kubevirt.io/schedulable": "true", f"host-model-cpu.node.kubevirt.io/{model}": "true", f"cpu-model-migration.node.kubevirt.io/{model}": "true"}
    return {
        "metadata": {"name": name, "labels": labels}, "spec": spec,
        "status": {"allocatable": {"memory": f"{gib}Gi", "cpu": "8", "pods": "100"}, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def vm(name: str, gib: int = 1, on: str = NODE) -> Json:
    found = launcher(name)
    found["spec"] |= {"nodeName": on, "containers": [{"resources": {"requests": {"memory": f"{gib}Gi", "cpu": "100m"}}}]}
    return found


def looks(nodes: list[Json], pods: list[Json], at_once: int = 1) -> Outlook:
    leaving = [pod for pod in pods if pod["spec"]["nodeName"] == NODE]
    return outlook(nodes, [kept for pod in pods if (kept := room.keep(pod))], leaving, [], [NODE], at_once)


def observed(nodes: list[Json], pods: list[Json]) -> Observed:
    found = Observed([nodes[0]], NOW, {NODE: [pod for pod in pods if pod["spec"]["nodeName"] == NODE]}, user="me")
    names = [pod["metadata"]["annotations"]["kubevirt.io/domain"] for pod in found.pods[NODE]]
    found.vmis = {("shop", name): vmi(name) for name in names}
    found.cluster = Neighbours(nodes, [kept for pod in pods if (kept := room.keep(pod))])
    return found


def test_each_vm_with_the_nodes_that_have_room_and_the_others_by_reason() -> None:
    nodes = [node(NODE), node("b"), node("c", model="Skylake"), node("d", 1), node("e", unschedulable=True)]
    fit = looks(nodes, [vm("big", 4)]).fits["shop", "virt-launcher-big-abcde"]
    assert fit.to_dict() == {
        "target": "b", "fits": 1, "nodes": ["b"],
        "why_not": [
            {"reason": "insufficient memory", "number": 1, "nodes": ["d"]}, {"reason": "it can't run CPU model Haswell", "number": 1, "nodes": ["c"]},
            {"reason": "the node is cordoned", "number": 1, "nodes": ["e"]},
        ],
    }
    assert fit.sentence() == (
        "it fits 1 of 4 other nodes; not: insufficient memory (d), it can't run CPU model Haswell (c), the node is cordoned (e)"
    )


@pytest.mark.parametrize(("others", "code"), [
    ([node("b", model="Skylake"), node("c", model="Skylake")], "target_cpu_missing"),
    ([node("b", model="Skylake"), node("c", model="Skylake", taints=[{"key": "control-plane", "effect": "NoSchedule"}])], "target_cpu_missing"),
    ([node("b", model="Skylake"), node("c", unschedulable=True)], "no_node_fits"),
    ([node("b", model="Skylake"), node("c", 2)], "no_node_fits"),
    ([], "no_node_fits"),
])
def test_a_vm_that_no_node_takes_refuses_the_drain_unless_it_is_to_be_tried(others: list[Json], code: str) -> None:
    found = observed([node(NODE), *others], [vm("big", 4)])
    with pytest.raises(PreconditionFailed) as caught:
        make_plan(found, Request())
    assert [one["code"] for one in caught.value.details["blocked"]] == [code]
    assert "no node takes VM shop/big: it fits 0 of" in caught.value.message or "there is no other node" in caught.value.message
    planned = make_plan(found, Request(require_room=False))
    assert [(one["way"], one["code"]) for one in planned.facts["nodes"][0]["pods"]] == [("migrate", code)]
    assert [change.kind for change in planned.changes] == ["Node", "VirtualMachineInstanceMigration"]


def test_a_vm_that_is_started_again_takes_the_cpu_that_it_finds() -> None:
    found = observed([node(NODE), node("b", model="Skylake")], [vm("stuck", 4)])
    found.vmis["shop", "stuck"] = vmi("stuck", migratable=False)
    (entry,) = make_plan(found, Request(on_unmigratable="stop_and_restart")).facts["nodes"][0]["pods"]
    assert (entry["way"], entry["fit"]["target"]) == ("restart", "b")


def test_vms_that_fit_one_by_one_but_not_together_are_a_warning() -> None:
    planned = make_plan(observed([node(NODE), node("b", 5)], [vm("one", 3), vm("two", 3)]), Request())
    assert [warning for warning in planned.warnings if "not all at the same time: shop/virt-launcher-two-abcde" in warning]


def test_spare_memory_before_and_after_and_what_the_rule_asks_for() -> None:
    nodes = [node(NODE), node("b"), node("c")]
    pods = [vm("one", 3), vm("two", 2), vm("other", 7, on="b")]
    found = looks(nodes, pods)
    assert found.spare_memory() == {"before_bytes": 13 * GIB, "after_bytes": 8 * GIB, "rule_bytes": 7 * GIB, "rule_holds": True}
    assert not found.warnings()
    tight = looks([node(NODE), node("b", 8)], [vm("one", 3), vm("other", 7, on="b")])
    assert not tight.spare_memory()["rule_holds"]
    assert "Spare memory: 1.0 GiB are free" in tight.warnings()[0]


def test_without_other_nodes_the_plan_says_nothing_of_room() -> None:
    found = observed([node(NODE)], [vm("one")])
    found.cluster, found.warnings = None, ["not allowed"]
    planned = make_plan(found, Request())
    assert planned.warnings == ("not allowed",)
    assert "fit" not in planned.facts["nodes"][0]["pods"][0]
    assert "spare_memory" not in planned.facts


def test_the_plan_in_lines() -> None:
    planned = make_plan(observed([node(NODE), node("b")], [vm("one")]), Request())
    said = lines(planned.facts["nodes"][0])
    assert said[:2] == [f"{NODE}:", "  migrate  shop/one: VM shop/one live-migrates (1 node has room, b for all together)"]
    assert said[2].startswith("  The migrations are expected to take 5 s, if all of the guest's memory")


def guest(number: int) -> Guest:
    return Guest("shop", f"vm{number}", Load(GIB, GIB))


def test_no_slot_means_no_end() -> None:
    assert expected([guest(0)], Limits(per_node=0), 1)["seconds"] is None
    assert expected([], Limits(), 1) == {"seconds": 0.0, "assumptions": []}


def test_nodes_drained_at_once_share_the_slots_of_the_cluster() -> None:
    alone, shared = (expected([guest(number) for number in range(8)], Limits(per_cluster=5, per_node=5), at_once)["seconds"] for at_once in (1, 5))
    assert shared > alone


@given(
    vms=st.lists(st.integers(1, 6), max_size=8), others=st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["Haswell", "Skylake"])), max_size=5),
)
def test_what_has_a_target_fits_it_and_every_other_node_is_accounted_for(vms: list[int], others: list[tuple[int, str]]) -> None:
    nodes = [node(NODE, 100), *(node(f"n{number}", gib, model) for number, (gib, model) in enumerate(others))]
    found = looks(nodes, [vm(f"vm{number}", gib) for number, gib in enumerate(vms)])
    taken: dict[str, int] = {}
    for number, gib in enumerate(vms):
        fit = found.fits["shop", f"virt-launcher-vm{number}-abcde"]
        assert sorted([*fit.nodes, *(name for names in fit.why_not.values() for name in names)]) == [f"n{number}" for number in range(len(others))]
        assert set(fit.nodes) == {f"n{number}" for number, (size, model) in enumerate(others) if size >= gib and model == "Haswell"}
        if fit.target:
            assert fit.target in fit.nodes
            taken[fit.target] = taken.get(fit.target, 0) + gib
    assert all(size <= others[int(name[1:])][0] for name, size in taken.items())
