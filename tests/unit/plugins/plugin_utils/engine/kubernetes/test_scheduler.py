# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scheduler's decisions, over caches of nodes and pods made here."""
from __future__ import annotations

import itertools
import re
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import Object
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes.scheduler import fits
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes.scheduler.algorithm import Algorithm
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes.scheduler.cache import Cache
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes.scheduler.filters import Refusal
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes.scheduler.messages import unschedulable
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes.scheduler.nodes import NodeRecord, PodRecord
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes.scheduler.requests import pod_requests

_NUMBERS = itertools.count()
GIB = 1024**3
MASTER: Object = {"key": "node-role.kubernetes.io/master", "effect": "NoSchedule"}


def node(name: str, taints: t.Sequence[Object] = (), unschedulable: bool = False, labels: dict[str, str] | None = None, **allocatable: str) -> Object:
    has = {"cpu": "8", "memory": "16Gi", "pods": "10", "ephemeral-storage": "100Gi"}
    has.update({key.replace("_", "-"): value for key, value in allocatable.items()})
    spec: Object = {"taints": list(taints)} if taints else {}
    if unschedulable:
        spec["unschedulable"] = True
    return {
        "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}}, "spec": spec,
        "status": {"allocatable": has},
    }


def pod(labels: dict[str, str] | None = None, requests: dict[str, str] | None = None, namespace: str = "default", **spec: t.Any) -> Object:
    number = next(_NUMBERS)
    return {
        "kind": "Pod", "metadata": {"name": f"pod-{number}", "uid": f"uid-{number}", "namespace": namespace, "labels": labels or {}},
        "spec": {"containers": [{"name": "main", "resources": {"requests": requests or {}}}], **spec}, "status": {},
    }


class Bench:
    """A cache with an algorithm over it, and pods that stay where they were sent."""

    def __init__(self, *nodes: Object) -> None:
        self.cache = Cache()
        self.algorithm = Algorithm(self.cache, lambda name: {"kubernetes.io/metadata.name": name})
        for one in nodes:
            self.cache.put_node(one)

    def place(self, wanted: Object, on: str = "") -> str:
        """The node that takes the pod; with `on` it is there already."""
        chosen = on or self.algorithm.schedule(wanted).node
        if chosen:
            self.cache.put_pod(PodRecord.of(wanted, chosen))
        return chosen

    def why(self, wanted: Object) -> str:
        decision = self.algorithm.schedule(wanted)
        assert decision.node == ""
        return unschedulable(len(decision.refusals), decision.refusals)


def near(label: str, key: str, kind: str = "podAntiAffinity", **more: t.Any) -> Object:
    """Required affinity to, or anti-affinity from, pods with the label app=…."""
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [{
        "labelSelector": {"matchLabels": {"app": label}}, "topologyKey": key, **more}]}}


HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


def test_the_request_of_a_pod_is_the_larger_of_its_phases_and_its_overhead() -> None:
    spec: Object = {
        "containers": [{"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}}, {"resources": {"requests": {"cpu": "0.25"}}}],
        "initContainers": [
            {"resources": {"requests": {"cpu": "50m"}}, "restartPolicy": "Always"}, {"resources": {"requests": {"cpu": "1", "memory": "10Mi"}}},
        ],
        "overhead": {"memory": "64Mi"},
    }
    assert pod_requests(spec) == {"cpu": 1050, "memory": GIB + 64 * 1024**2}


@pytest.mark.parametrize(("wanted", "where", "why"), [
    (pod(requests={"cpu": "9"}), node("n"), ["Insufficient cpu"]),
    (pod(requests={"cpu": "9", "memory": "17Gi"}), node("n"), ["Insufficient cpu", "Insufficient memory"]),
    (pod(requests={"ephemeral-storage": "101Gi"}), node("n"), ["Insufficient ephemeral-storage"]),
    (pod(requests={"hugepages-2Mi": "2Mi"}), node("n"), ["Insufficient hugepages-2Mi"]),
    (pod(requests={"devices.kubevirt.io/kvm": "1"}), node("n"), ["Insufficient devices.kubevirt.io/kvm"]),
    (pod(), node("n", pods="0"), ["Too many pods"]),
    (pod(), node("n", unschedulable=True), ["node(s) were unschedulable"]),
    (pod(), node("n", [MASTER]), ["node(s) had untolerated taint {node-role.kubernetes.io/master: }"]),
    (pod(), node("n", [{"key": "gpu", "value": "yes", "effect": "NoExecute"}]), ["node(s) had untolerated taint {gpu: yes}"]),
    (pod(), node("n", [{"key": "gpu", "effect": "PreferNoSchedule"}]), []),
    (pod(tolerations=[{"operator": "Exists"}]), node("n", [MASTER], unschedulable=True), []),
    (pod(tolerations=[{"key": "gpu", "value": "no"}]), node("n", [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]),
     ["node(s) had untolerated taint {gpu: yes}"]),
    (pod(nodeSelector={"disk": "fast"}), node("n"), ["node(s) didn't match Pod's node affinity/selector"]),
    (pod(nodeSelector={"disk": "fast"}), node("n", labels={"disk": "fast"}), []),
])
def test_one_node(wanted: Object, where: Object, why: list[str]) -> None:
    assert fits(wanted, where) == why


def test_finished_pods_hold_nothing() -> None:
    large = pod(requests={"memory": "16Gi"})
    running, done = {**large, "status": {"phase": "Running"}}, {**large, "status": {"phase": "Succeeded"}}
    assert fits(pod(requests={"memory": "1Gi"}), node("n"), [done]) == []
    assert fits(pod(requests={"memory": "1Gi"}), node("n"), [running]) == ["Insufficient memory"]


@pytest.mark.parametrize(("operator", "values", "matches"), [
    ("In", ["3", "4"], True), ("NotIn", ["3"], False), ("Exists", [], True), ("DoesNotExist", [], False), ("Gt", ["2"], True), ("Lt", ["3"], False),
])
def test_node_affinity(operator: str, values: list[str], matches: bool) -> None:
    term = {"matchExpressions": [{"key": "generation", "operator": operator, "values": values}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    assert (fits(pod(affinity=affinity), node("n", labels={"generation": "3"})) == []) is matches


def test_the_message_counts_every_node_as_the_real_one_does() -> None:
    masters = [node(f"control-{number}", [MASTER]) for number in range(3)]
    bench = Bench(*masters, node("full"), node("small", memory="1Gi"), node("cordoned", unschedulable=True))
    bench.place(pod(requests={"memory": "15Gi"}), on="full")
    assert bench.why(pod(requests={"memory": "2Gi"})) == (
        "0/6 nodes are available: 1 node(s) were unschedulable, 2 Insufficient memory, "
        "3 node(s) had untolerated taint {node-role.kubernetes.io/master: }. "
        "preemption: 0/6 nodes are available: 1 No preemption victims found for incoming pod, 5 Preemption is not helpful for scheduling."
    )
    assert Bench().why(pod()) == "no nodes available to schedule pods"


def test_a_pod_for_one_node_is_asked_of_that_node() -> None:
    bench = Bench(*(node(f"n{number}") for number in range(4)))
    field = {"key": "metadata.name", "operator": "In", "values": ["n2"]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [field]}]}}}
    assert bench.place(pod(affinity=affinity)) == "n2"
    assert bench.why(pod(affinity=affinity, requests={"cpu": "8500m"})).startswith(
        "0/4 nodes are available: 1 Insufficient cpu, 3 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )


def test_pods_that_keep_apart_do_so_from_both_sides() -> None:
    bench = Bench(node("a"), node("b"))
    apart = near("vm", HOST)
    first, second = (bench.place(pod({"app": "vm"}, affinity=apart)) for number in range(2))
    assert {first, second} == {"a", "b"}
    assert "2 node(s) didn't match pod anti-affinity rules" in bench.why(pod({"app": "vm"}, affinity=apart))
    assert "2 node(s) didn't satisfy existing pods anti-affinity rules" in bench.why(pod({"app": "vm"}))
    # Elsewhere the label means nothing, unless the term looks there.
    assert bench.place(pod({"app": "vm"}, namespace="other")) != ""
    everywhere = near("vm", HOST, namespaceSelector={})
    assert "2 node(s) didn't match pod anti-affinity rules" in bench.why(pod(namespace="third", affinity=everywhere))


def test_a_pod_that_is_gone_keeps_nobody_away() -> None:
    bench = Bench(node("a"))
    first = pod({"app": "vm"}, affinity=near("vm", HOST))
    bench.place(first)
    assert bench.why(pod({"app": "vm"}))
    bench.cache.remove_pod(first["metadata"]["uid"])
    assert bench.place(pod({"app": "vm"})) == "a"


def test_pods_that_want_to_be_together_follow_the_first() -> None:
    zones = [node(f"n{number}", labels={ZONE: f"z{number // 2}"}) for number in range(4)]
    bench = Bench(*zones, node("nowhere"))
    together = near("web", ZONE, "podAffinity")
    first = bench.place(pod({"app": "web"}, affinity=together))
    assert first != "nowhere"
    second = bench.place(pod({"app": "web"}, affinity=together))
    assert bench.cache.nodes[second].labels[ZONE] == bench.cache.nodes[first].labels[ZONE]
    assert "5 node(s) didn't match pod affinity rules" in bench.why(pod({"app": "other"}, affinity=near("nobody", ZONE, "podAffinity")))


def test_preferences_decide_between_nodes_that_fit() -> None:
    bench = Bench(node("plain"), node("liked", labels={"disk": "fast"}), node("disliked", [{"key": "old", "effect": "PreferNoSchedule"}]))
    preference = {"weight": 50, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["fast"]}]}}
    liking = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preference]}}
    assert [bench.place(pod(affinity=liking)) for number in range(3)] == ["liked"] * 3
    apart = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "podAffinityTerm": {"labelSelector": {"matchLabels": {"app": "api"}}, "topologyKey": HOST}}]}}
    assert {bench.place(pod({"app": "api"}, affinity=apart)) for number in range(2)} == {"plain", "liked"}


def test_the_emptier_node_is_taken() -> None:
    bench = Bench(node("a"), node("b"), node("c"))
    bench.place(pod(requests={"cpu": "4", "memory": "8Gi"}), on="a")
    bench.place(pod(requests={"cpu": "2", "memory": "4Gi"}), on="b")
    assert bench.place(pod(requests={"cpu": "1", "memory": "2Gi"})) == "c"


AMOUNTS = st.dictionaries(st.sampled_from(["cpu", "memory", "example.org/device"]), st.integers(1, 6).map(str), max_size=3)


@given(AMOUNTS, AMOUNTS, st.lists(AMOUNTS, max_size=6), AMOUNTS)
def test_what_is_free_is_what_is_not_used(first: t.Any, then: t.Any, held: list[dict[str, str]], wanted: dict[str, str]) -> None:
    """Pods come before the node and after it, and go again; the node changes what it has."""
    record, records = NodeRecord("a"), [PodRecord.of(pod(requests=requests), "a") for requests in held]
    for one in records[:2]:
        record.add(one)
    record.describe(node("a", pods="5", **first))
    for one in records[2:]:
        record.add(one)
    for one in records[1:3]:
        record.remove(one)
    record.describe(node("a", pods="4", **then))
    requests = pod_requests(pod(requests=wanted)["spec"])
    left = {name: record.allocatable.get(name, 0) - sum(one.requests.get(name, 0) for one in record.pods.values()) for name in requests}
    lacking = (["pods"] if len(record.pods) == 4 else []) + [name for name, value in requests.items() if value > left[name]]
    assert record.lacking(requests) == lacking
    assert record.lacks(requests) == bool(lacking)


def test_hard_spreading_holds_the_skew() -> None:
    zones = [node(f"n{number}", labels={ZONE: f"z{number % 3}"}, pods="100") for number in range(6)]
    bench = Bench(*zones, node("bare"))
    constraint = {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "x"}}}
    taken = [bench.place(pod({"app": "x"}, topologySpreadConstraints=[constraint])) for number in range(9)]
    by_zone = [bench.cache.nodes[name].labels[ZONE] for name in taken]
    assert sorted(by_zone) == ["z0"] * 3 + ["z1"] * 3 + ["z2"] * 3
    only_first = {HOST: "n0"}
    assert bench.place(pod({"app": "x"}, topologySpreadConstraints=[constraint], nodeSelector=only_first)) == "n0"
    everywhere = {**constraint, "nodeAffinityPolicy": "Ignore"}
    why = bench.why(pod({"app": "x"}, topologySpreadConstraints=[everywhere], nodeSelector=only_first))
    assert "1 node(s) didn't match pod topology spread constraints," in why


def test_host_ports_are_taken_once() -> None:
    bench = Bench(node("a"))
    holding = pod()
    holding["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": 80}]
    bench.place(holding)
    other = pod()
    other["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": 80, "hostIP": "127.0.0.1"}]
    assert "1 node(s) didn't have free ports for the requested pod ports" in bench.why(other)


_SIZES = st.sampled_from(["100m", "500m", "1", "2", "3"])
_MEMORIES = st.sampled_from(["128Mi", "1Gi", "3Gi", "7Gi"])


@given(
    st.lists(st.tuples(_SIZES, _MEMORIES, st.sampled_from(["", "x", "y"]), st.booleans()), max_size=40),
    st.lists(st.tuples(st.sampled_from(["2", "4"]), st.sampled_from(["4Gi", "16Gi"]), st.booleans(), st.sampled_from("abc")), min_size=1, max_size=6),
    st.lists(st.integers(0, 39), max_size=10),
)
def test_nodes_never_hold_more_than_they_have(
    wanted: list[tuple[str, str, str, bool]], nodes: list[tuple[str, str, bool, str]], gone: list[int]
) -> None:
    bench = Bench(*(
        node(f"n{number}", unschedulable=cordoned, labels={ZONE: zone}, cpu=cpu, memory=memory, pods="6")
        for number, (cpu, memory, cordoned, zone) in enumerate(nodes)
    ))
    placed: list[Object] = []
    for number, (cpu, memory, app, apart) in enumerate(wanted):
        one = pod({"app": app}, {"cpu": cpu, "memory": memory}, affinity=near(app, HOST) if apart else {})
        decision = bench.algorithm.schedule(one)
        if decision.node:
            bench.cache.put_pod(PodRecord.of(one, decision.node))
            placed.append(one)
        else:
            _check_message(decision.refusals, len(nodes))
        if number in gone and placed:
            bench.cache.remove_pod(placed.pop(0)["metadata"]["uid"])
    for record in bench.cache.nodes.values():
        assert len(record.pods) <= record.allocatable["pods"]
        for resource in ("cpu", "memory"):
            held = sum(one.requests[resource] for one in record.pods.values())
            assert held == record.used.get(resource, 0)
            assert held <= record.allocatable[resource]
        assert not (record.unschedulable and record.pods)
        apps = [one.labels["app"] for one in record.pods.values()]
        assert all(apps.count(one.labels["app"]) == 1 for one in record.pods.values() if one.terms.anti_affinity)


def _check_message(refusals: t.Sequence[Refusal], nodes: int) -> None:
    assert len(refusals) == nodes
    text = unschedulable(nodes, refusals)
    first, dummy, second = text.partition(" preemption: ")
    counts = [int(found) for found in re.findall(r"(?<=[:,] )\d+(?= )", first)]
    # A node that lacks two resources is counted for both.
    assert sum(counts) == sum(len(refusal.reasons) for refusal in refusals)
    assert sum(int(found) for found in re.findall(r"(?<=[:,] )\d+(?= )", second)) == nodes
