# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where pods fit, and why not elsewhere."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils._placement.demand import RUNS_MODEL, Demand, demand_of, on_model
from ansible_collections.okd.virt.plugins.module_utils._placement.machine import Machine, machines_of, why_not
from ansible_collections.okd.virt.plugins.module_utils._placement.placing import place, targets

GIB = 2**30
TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


def machine(name: str = "a", **more: t.Any) -> Machine:
    return Machine(name, **{"memory": 10 * GIB, "cpu": 4000, "pods": 10, **more})


def demand(name: str = "vm", **more: t.Any) -> Demand:
    return Demand("shop", name, **{"memory": GIB, "cpu": 100, **more})


@pytest.mark.parametrize(("wants", "has", "why"), [
    ({}, {}, ""),
    ({"memory": 11 * GIB}, {}, "insufficient memory"),
    ({"cpu": 5000}, {}, "insufficient cpu"),
    ({}, {"pods": 0}, "too many pods"),
    ({}, {"unschedulable": True}, "the node is cordoned"),
    ({}, {"ready": False}, "the node is not ready"),
    ({}, {"taints": [TAINT]}, "untolerated taint gpu"),
    ({}, {"taints": [{**TAINT, "effect": "PreferNoSchedule"}]}, ""),
    ({"tolerations": [{"key": "gpu", "operator": "Exists"}]}, {"taints": [TAINT]}, ""),
    ({"tolerations": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}, {"taints": [TAINT]}, ""),
    ({"tolerations": [{"key": "gpu", "value": "no"}]}, {"taints": [TAINT]}, "untolerated taint gpu"),
    ({"tolerations": [{"operator": "Exists"}]}, {"taints": [TAINT], "unschedulable": True}, ""),
    ({"selector": {"zone": "b"}}, {"labels": {"zone": "a"}}, "didn't match the pod's node selector"),
    ({"selector": {"zone": "a"}}, {"labels": {"zone": "a"}}, ""),
    ({"model": "Haswell"}, {}, "it can't run CPU model Haswell"),
    ({"model": "Haswell"}, {"labels": {RUNS_MODEL + "Haswell": "true"}}, ""),
])
def test_why_a_pod_does_not_fit(wants: dict[str, t.Any], has: dict[str, t.Any], why: str) -> None:
    assert why_not(demand(**wants), machine(**has)) == why


@pytest.mark.parametrize(("operator", "values", "fits"), [
    ("In", ["a", "b"], True), ("In", ["b"], False), ("NotIn", ["a"], False), ("NotIn", ["b"], True), ("Exists", [], True), ("DoesNotExist", [], False),
    ("Gt", ["3"], False), ("Nonsense", ["a"], False),
])
def test_node_affinity(operator: str, values: list[str], fits: bool) -> None:
    wants = demand(terms=[{"matchExpressions": [{"key": "zone", "operator": operator, "values": values}]}])
    assert (why_not(wants, machine(labels={"zone": "a"})) == "") is fits
    generation = demand(terms=[{"matchExpressions": [{"key": "generation", "operator": "Gt", "values": ["3"]}]}])
    assert not why_not(generation, machine(labels={"generation": "4"}))
    assert why_not(demand(terms=[{}]), machine())
    assert not why_not(demand(terms=[{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}]), machine("a"))


def test_a_vm_needs_the_cpu_model_of_the_node_that_it_is_on_unless_it_names_its_own() -> None:
    pod = {"metadata": {"name": "vm", "namespace": "shop"}, "spec": {
        "nodeSelector": {"kubevirt.io/schedulable": "true", f"{RUNS_MODEL}Haswell": "true"},
        "containers": [{"resources": {"requests": {"memory": "1Gi", "cpu": "100m"}}}],
    }}
    here = {"host-model-cpu.node.kubevirt.io/Skylake": "true"}
    found = on_model(demand_of(pod), here)
    assert (found.memory, found.cpu, found.model, found.selector) == (GIB, 100, "Skylake", {"kubevirt.io/schedulable": "true"})
    pod["spec"] = {"nodeSelector": {"cpu-model.node.kubevirt.io/Penryn": "true"}}
    assert on_model(demand_of(pod), here).model == ""


def test_the_reasons_are_counted() -> None:
    found = targets(demand(memory=9 * GIB), [machine("a"), machine("b", memory=GIB), machine("c", memory=0), machine("d", unschedulable=True)])
    assert found.fits == ("a",)
    assert found.sentence() == "2 nodes: insufficient memory; 1 node: the node is cordoned"
    assert targets(demand(), []).sentence() == "there is no other node"


def test_what_is_on_a_node_is_taken_from_it() -> None:
    node = {"metadata": {"name": "a"}, "status": {
        "allocatable": {"memory": "10Gi", "cpu": "4", "pods": "250"}, "conditions": [{"type": "Ready", "status": "True"}],
    }}
    (found,) = machines_of([node], [("a", demand()), ("elsewhere", demand())])
    assert (found.memory, found.cpu, found.pods) == (9 * GIB, 3900, 249)


SIZES = st.lists(st.integers(1, 20), max_size=12)


@given(SIZES, st.lists(st.integers(0, 40), max_size=5))
def test_no_machine_is_given_more_than_it_has_and_nobody_is_forgotten(sizes: list[int], rooms: list[int]) -> None:
    demands = [demand(f"vm{number}", memory=size) for number, size in enumerate(sizes)]
    machines = [machine(f"n{number}", memory=size) for number, size in enumerate(rooms)]
    found = place(demands, machines)
    assert len(found.places) + len(found.left) == len(demands)
    by_name = {one.name: one for one in demands}
    for one in machines:
        assert sum(by_name[name].memory for (_namespace, name), where in found.places.items() if where == one.name) <= one.memory
    assert [one.memory for one in machines] == rooms
    # Whoever is left over had no room even when the largest of the others were placed.
    assert all(one.memory > max((m.memory for m in machines), default=0) or found.places for one in found.left)
