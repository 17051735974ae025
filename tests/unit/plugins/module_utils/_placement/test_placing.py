# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where pods fit, and why not elsewhere."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils._placement.demand import (
    RUNS_MODEL,
    Demand,
    as_target,
    demand_of,
    on_restart,
)
from ansible_collections.okd.virt.plugins.module_utils._placement.node_info import (
    NodeInfo,
    node_infos,
    why_never,
    why_not_now,
)
from ansible_collections.okd.virt.plugins.module_utils._placement.placing import place

GIB = 2**30
TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


def node(name: str = "a", **more: t.Any) -> NodeInfo:
    return NodeInfo(name, **{"memory": 10 * GIB, "cpu": 4000, "pods": 100, **more})


def why_not(wants: Demand, has: NodeInfo) -> str:
    return why_never(wants, has) or why_not_now(wants, has)


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
    ({}, {"taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}, TAINT]}, "untolerated taint gpu"),
    ({"selector": {"zone": "b"}}, {"labels": {"zone": "a"}}, "didn't match the pod's node selector"),
    ({"selector": {"zone": "a"}}, {"labels": {"zone": "a"}}, ""),
    ({"extended": {"hugepages-1Gi": 4 * GIB}}, {"extended": {"hugepages-1Gi": 3 * GIB}}, "insufficient hugepages-1Gi"),
    ({"extended": {"hugepages-1Gi": 4 * GIB}}, {"extended": {"hugepages-1Gi": 4 * GIB}}, ""),
    ({"extended": {"openshift.io/fast": 1}}, {}, "insufficient openshift.io/fast"),
    ({"ports": (("TCP", 80, "0.0.0.0"),)}, {"ports": (("TCP", 80, "10.0.0.1"),)}, "a port of the node is taken"),
    ({"ports": (("TCP", 80, "0.0.0.0"),)}, {"ports": (("UDP", 80, "0.0.0.0"), ("TCP", 81, "0.0.0.0"))}, ""),
    ({"spread": ("zone",)}, {}, "it has no label zone, over which the pod must be spread"),
    ({"spread": ("zone",)}, {"labels": {"zone": "a"}}, ""),
    ({"model": "Haswell"}, {}, "it can't run CPU model Haswell"),
    ({"model": "Haswell"}, {"labels": {RUNS_MODEL + "Haswell": "true"}}, ""),
])
def test_why_a_pod_does_not_fit(wants: dict[str, t.Any], has: dict[str, t.Any], why: str) -> None:
    assert why_not(demand(**wants), node(**has)) == why


@pytest.mark.parametrize(("operator", "values", "fits"), [
    ("In", ["a", "b"], True), ("In", ["b"], False), ("NotIn", ["a"], False), ("NotIn", ["b"], True), ("Exists", [], True), ("DoesNotExist", [], False),
    ("Gt", ["3"], False), ("Nonsense", ["a"], False),
])
def test_node_affinity(operator: str, values: list[str], fits: bool) -> None:
    wants = demand(terms=[{"matchExpressions": [{"key": "zone", "operator": operator, "values": values}]}])
    assert (why_not(wants, node(labels={"zone": "a"})) == "") is fits
    generation = demand(terms=[{"matchExpressions": [{"key": "generation", "operator": "Gt", "values": ["3"]}]}])
    assert not why_not(generation, node(labels={"generation": "4"}))
    assert why_not(demand(terms=[{}]), node())
    assert not why_not(demand(terms=[{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}]), node("a"))


def pod(selector: dict[str, str] | None = None, **spec: t.Any) -> dict[str, t.Any]:
    containers = [{"resources": {"requests": {"memory": "1Gi", "cpu": "100m"}}}]
    return {"metadata": {"name": "vm", "namespace": "shop"}, "spec": {"nodeSelector": selector or {}, "containers": containers, **spec}}


def test_a_vm_needs_the_cpu_of_the_node_that_it_is_on_unless_it_names_its_own() -> None:
    here = {
        "host-model-cpu.node.kubevirt.io/Skylake": "true", "host-model-required-features.node.kubevirt.io/vmx": "true", "other": "label",
    }
    found = as_target(demand_of(pod({"kubevirt.io/schedulable": "true"})), "a", here)
    assert (found.memory, found.cpu, found.model, found.source) == (GIB, 100, "Skylake", "a")
    assert found.selector == {"kubevirt.io/schedulable": "true", "cpu-feature.node.kubevirt.io/vmx": "true"}
    skylake = {f"{RUNS_MODEL}Skylake": "true", "kubevirt.io/schedulable": "true"}
    assert why_never(found, node(labels=skylake)) == "its CPU has no vmx"
    assert why_never(found, node(labels={**skylake, "cpu-feature.node.kubevirt.io/vmx": "true"})) == ""
    assert why_not_now(found, node("a")) == "the VM leaves it"
    assert as_target(demand_of(pod({"cpu-model.node.kubevirt.io/Penryn": "true"})), "a", here).model == ""


def test_what_the_first_node_had_a_vm_needs_for_life() -> None:
    """KubeVirt copies it from launcher to launcher, so that the VM can go back to older machines."""
    first = {"kubevirt.io/schedulable": "true", f"{RUNS_MODEL}Haswell": "true", "cpu-feature.node.kubevirt.io/vmx": "true"}
    found = as_target(demand_of(pod(first)), "a", {"host-model-cpu.node.kubevirt.io/Skylake": "true"})
    assert (found.model, found.selector) == ("Haswell", {"kubevirt.io/schedulable": "true", "cpu-feature.node.kubevirt.io/vmx": "true"})
    again = on_restart(demand_of(pod(first)))
    assert (again.model, again.selector) == ("", {"kubevirt.io/schedulable": "true"})
    asked = {"cpu-feature.node.kubevirt.io/avx": "true"}
    assert on_restart(demand_of(pod(asked))).selector == asked


def test_what_is_on_a_node_is_taken_from_it() -> None:
    had = {"metadata": {"name": "a"}, "status": {
        "allocatable": {"memory": "10Gi", "cpu": "4.57", "pods": "250"}, "conditions": [{"type": "Ready", "status": "True"}],
    }}
    (found,) = node_infos([had], [("a", demand()), ("elsewhere", demand())])
    assert (found.memory, found.cpu, found.pods) == (9 * GIB, 4470, 249)


SIZES = st.lists(st.integers(1, 20), max_size=12)


@given(SIZES, st.lists(st.integers(0, 40), max_size=5))
def test_no_node_is_given_more_than_it_has_and_nobody_is_forgotten(sizes: list[int], rooms: list[int]) -> None:
    demands = [demand(f"vm{number}", memory=size) for number, size in enumerate(sizes)]
    nodes = [node(f"n{number}", memory=size) for number, size in enumerate(rooms)]
    found = place(demands, nodes)
    assert len(found.places) + len(found.left) == len(demands)
    by_name = {one.name: one for one in demands}
    rest = {one.name: one.memory for one in nodes}
    for (_namespace, name), where in found.places.items():
        rest[where] -= by_name[name].memory
    assert all(size >= 0 for size in rest.values())
    assert all(one.memory > size for one in found.left for size in rest.values())
    assert [one.memory for one in nodes] == rooms
