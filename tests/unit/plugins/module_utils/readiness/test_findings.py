# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each finding, from the smallest cluster that has it; and the rule of spare memory on clusters of any kind."""

from __future__ import annotations

import datetime
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils._networks.fitness import Surroundings as NetworkSurroundings
from ansible_collections.okd.virt.plugins.module_utils._networks.fitness import fitness
from ansible_collections.okd.virt.plugins.module_utils._networks.reading import MigrationNetwork
from ansible_collections.okd.virt.plugins.module_utils._networks.use import Use
from ansible_collections.okd.virt.plugins.module_utils._placement.demand import Demand
from ansible_collections.okd.virt.plugins.module_utils._pool import allowed_away
from ansible_collections.okd.virt.plugins.module_utils.access.holders import Holder
from ansible_collections.okd.virt.plugins.module_utils.readiness.facts import Facts
from ansible_collections.okd.virt.plugins.module_utils.readiness.finding import IDS, SEVERITIES, Finding, in_order
from ansible_collections.okd.virt.plugins.module_utils.readiness.info import findings as findings_in
from ansible_collections.okd.virt.plugins.module_utils.readiness.room import spare_memory
from ansible_collections.okd.virt.plugins.module_utils.readiness.surroundings import Surroundings
from ansible_collections.okd.virt.plugins.module_utils.tuning.fields import FIELDS
from ansible_collections.okd.virt.plugins.module_utils.update.path import Path as UpdatePath

Json = dict[str, t.Any]
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
GIB = 2**30
GUIDE = Path(__file__).parents[5] / "docs/docsite/rst/guide_readiness.rst"


def node(name: str, gib: int = 32, model: str = "Haswell", beat: str = "2026-01-01T00:00:00Z", ready: str = "True", **spec: t.Any) -> Json:
    labels = {"kubevirt.io/schedulable": "true", f"host-model-cpu.node.kubevirt.io/{model}": "true", f"cpu-model-migration.node.kubevirt.io/{model}": "true"}
    return {
        "metadata": {"name": name, "labels": labels, "annotations": {"kubevirt.io/heartbeat": beat}}, "spec": spec,
        "status": {"allocatable": {"memory": f"{gib}Gi", "cpu": "64", "pods": "100"}, "conditions": [{"type": "Ready", "status": ready}]},
    }


def vmi(name: str, strategy: str = "LiveMigrate", live: tuple[str, str] | None = ("True", ""), labels: t.Mapping[str, str] | None = None) -> Json:
    conditions = [] if live is None else [{"type": "LiveMigratable", "status": live[0], "reason": live[1], "message": "for a reason"}]
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": dict(labels or {})}, "spec": {"evictionStrategy": strategy},
        "status": {"phase": "Running", "nodeName": "a", "conditions": conditions},
    }


def writes(rate: str, name: str = "v", **labels: str) -> Json:
    """A VM of 4 GiB of which an annotation says how fast it writes."""
    found = vmi(name, labels=labels)
    found["metadata"]["annotations"] = {"okd.virt/dirty-rate": rate}
    found["spec"]["domain"] = {"memory": {"guest": "4Gi"}}
    return found


def launcher(name: str, gib: int, on: str) -> Json:
    metadata = {"name": f"virt-launcher-{name}", "namespace": "shop", "uid": f"{name}-pod"}
    demand = Demand("shop", metadata["name"], gib * GIB, 100)
    return {"metadata": metadata, "node": on, "demand": demand, "vm": True, "instance": ("shop", name), "stays": False}


def kubevirt(available: str = "True", target: str = "1", **migrations: t.Any) -> Json:
    quiet = {"bandwidthPerMigration": "64Mi", "network": "fast"}
    return {
        "metadata": {"name": "kubevirt", "namespace": "cnv"}, "spec": {"configuration": {"migrations": {**quiet, **migrations}}},
        "status": {"conditions": [{"type": "Available", "status": available}], "targetKubeVirtVersion": target, "observedKubeVirtVersion": "1"},
    }


def migration(vm: str, phase: str, number: int = 1) -> Json:
    return {
        "metadata": {"name": f"m{number}", "namespace": "shop", "uid": f"m{number}", "creationTimestamp": f"2026-01-01T00:00:0{number}Z"},
        "spec": {"vmiName": vm}, "status": {"phase": phase},
    }


def budget(expected: int, wanted: int, reason: str = "") -> Json:
    conditions = [{"type": "DisruptionAllowed", "status": "False", "reason": reason}] if reason else []
    status = {"expectedPods": expected, "desiredHealthy": wanted, "conditions": conditions}
    return {"metadata": {"name": "keep", "namespace": "shop"}, "spec": {}, "status": status}


def policy(name: str, **labels: str) -> Json:
    return {"metadata": {"name": name}, "spec": {"selectors": {"virtualMachineInstanceSelector": labels}}}


def around(**more: t.Any) -> Surroundings:
    return Surroundings(path=UpdatePath("cnv", "hco-operatorhub", "hco.v1", "Manual", "hco", "1", "v1", **more))
def network(text: str | None = '{"type": "macvlan", "ipam": {"type": "whereabouts", "range": "192.0.2.0/24"}}', **use: t.Any) -> MigrationNetwork:
    definitions = [] if text is None else [{"metadata": {"name": "fast", "namespace": "cnv"}, "spec": {"config": text}}]
    around_it = NetworkSurroundings("cnv", definitions, [node("a"), node("b")], None, {"spec": {"clusterNetwork": [{"cidr": "10.128.0.0/14"}]}})
    return MigrationNetwork("cnv", "fast", fitness("fast", around_it), Use("fast", (), **use))


def cluster(**more: t.Any) -> Facts:
    """Nothing is wrong with it."""
    return Facts(NOW, **{"nodes": [node("a"), node("b")], "kubevirt": kubevirt(), **more})


def findings(facts: Facts, at_once: int) -> list[Finding]:
    return findings_in(facts, facts.room(), at_once)


CASES: dict[str, tuple[Json, str]] = {
    "bandwidth_unlimited": ({"kubevirt": kubevirt(bandwidthPerMigration="0")}, "note"),
    "budget_never_opens": ({"budgets": [budget(2, 2)]}, "blocker"),
    "eviction_strategy_external": ({"instances": [vmi("v", "External")]}, "note"),
    "eviction_strategy_none": ({"instances": [vmi("v", "None")]}, "warning"),
    "heartbeat_stale": ({"nodes": [node("a"), node("b", beat="2025-12-31T23:54:00Z")]}, "warning"),
    "kubevirt_not_available": ({"kubevirt": kubevirt("False")}, "blocker"),
    "launcher_outdated": ({"instances": [vmi("v", labels={"kubevirt.io/outdatedLauncherImage": ""})]}, "warning"),
    "load_unreadable": ({"instances": [writes("a lot")]}, "note"),
    "migratability_unknown": ({"instances": [vmi("v", live=None)]}, "warning"),
    "migration_failing": ({"instances": [vmi("v")], "migrations": [migration("v", "Failed"), migration("v", "Failed", 2)]}, "warning"),
    "migration_network_missing": ({"network": network(None)}, "blocker"),
    "migration_network_not_used": ({"network": network(without=["a"])}, "warning"),
    "migration_network_unfit": ({"network": network('{"type": "macvlan", "ipam": {"type": "static", "addresses": [{"address": "192.0.2.7/24"}]}}')}, "warning"),
    "migration_network_shared": ({"kubevirt": kubevirt(network=None)}, "note"),
    "migrate_rights_held": ({"surroundings": Surroundings([Holder("user:alice", True, 0)])}, "note"),
    "migrate_rights_unknown": ({"surroundings": Surroundings(no_holders="No roles.")}, "note"),
    "migration_stuck": (
        {
            "instances": [vmi("v")], "migrations": [migration("v", "Scheduling")],
            "nodes": [node("a", beat="2026-01-01T00:16:00Z"), node("b", beat="2026-01-01T00:16:00Z")],
        }, "warning",
    ),
    "not_upgradeable": ({"surroundings": around(not_upgradeable="Upgradeable False (Reason: because)")}, "warning"),
    "room_is_tight": (
        {
            "nodes": [node("a"), node("b", 12), node("c", 10)], "instances": [vmi("v"), vmi("w")], "pods": [launcher("v", 8, "a"), launcher("w", 8, "a")],
        }, "note",
    ),
    "update_blocked": ({"surroundings": around(blocked=("ResolutionFailed True",))}, "warning"),
    "update_state_unknown": ({"surroundings": Surroundings(no_path="No subscriptions.")}, "note"),
    "update_waiting": ({"surroundings": around(offered="hco.v2", install_plan="install-x")}, "note"),
    "migration_running": ({"instances": [vmi("v")], "migrations": [migration("v", "Running")]}, "note"),
    "no_node_fits": ({"nodes": [node("a"), node("b", 4)], "instances": [vmi("v")], "pods": [launcher("v", 8, "a")]}, "blocker"),
    "no_parallel_migrations": ({"kubevirt": kubevirt(parallelMigrationsPerCluster=0)}, "blocker"),
    "node_cannot_be_emptied": (
        {"nodes": [node("a"), node("b", 12)], "instances": [vmi("v"), vmi("w")], "pods": [launcher("v", 8, "a"), launcher("w", 8, "a")]}, "warning",
    ),
    "node_cordoned": ({"nodes": [node("a"), node("b", unschedulable=True)]}, "warning"),
    "node_not_ready": ({"nodes": [node("a"), node("b", ready="Unknown")]}, "warning"),
    "node_not_schedulable_for_vms": (
        {"nodes": [node("a"), {**node("b"), "metadata": {"name": "b", "labels": {"kubevirt.io/schedulable": "false"}}}]}, "warning",
    ),
    "not_migratable": ({"instances": [vmi("v", live=("False", "HostDeviceNotLiveMigratable"))]}, "blocker"),
    "policies_tie": ({"instances": [vmi("v", labels={"a": "b"})], "policies": [policy("p", a="b"), policy("q", a="b")]}, "warning"),
    "policy_selects_nothing": ({"instances": [vmi("v")], "policies": [policy("p", a="b")]}, "note"),
    "spare_memory": ({"nodes": [node("a", 60), node("b", 16), node("c", 16)], "pods": [launcher("v", 50, "a")]}, "warning"),
    "storage_not_shared": ({"instances": [vmi("v", live=("False", "DisksNotLiveMigratable"))]}, "blocker"),
    "target_cpu_missing": ({"nodes": [node("a"), node("b", model="Skylake")], "instances": [vmi("v")], "pods": [launcher("v", 1, "a")]}, "blocker"),
    "tls_disabled": ({"kubevirt": kubevirt(disableTLS=True)}, "warning"),
    "unsafe_migration_override": ({"kubevirt": kubevirt(unsafeMigrationOverride=True)}, "warning"),
    "update_in_progress": ({"kubevirt": kubevirt(target="2")}, "warning"),
    "will_not_converge": ({"instances": [writes("300Mi")]}, "warning"),
}


def test_a_cluster_without_problems() -> None:
    assert findings(cluster(instances=[vmi("v")], pods=[launcher("v", 8, "a")], migrations=[migration("v", "Succeeded")], budgets=[budget(2, 1)]), 1) == []


def test_a_network_without_problems_and_one_with_which_virt_handler_does_not_start() -> None:
    assert findings(cluster(network=network(addresses={"a": ["192.0.2.1"], "b": ["192.0.2.2"]})), 1) == []
    assert [one.level for one in findings(cluster(network=network("{}")), 1)] == ["blocker"]
def test_what_a_vm_writes_is_known_from_the_caller_then_from_it_then_from_its_machine() -> None:
    calm, busy, key = "1Mi", "300Mi", ("shop", "v")
    by_machine = cluster(instances=[{**writes(busy), "metadata": {**writes(busy)["metadata"], "annotations": {}}}])
    assert findings(by_machine, 1) == []
    by_machine.machines[key] = {"okd.virt/dirty-rate": busy}
    assert [one.id for one in findings(by_machine, 1)] == ["will_not_converge"]
    by_instance = cluster(instances=[writes(calm)], machines={key: {"okd.virt/dirty-rate": busy}})
    assert findings(by_instance, 1) == []
    by_caller = cluster(instances=[writes(calm)], loads={key: {"dirty_rate": 300.0 * 2**20}})
    assert [one.id for one in findings(by_caller, 1)] == ["will_not_converge"]


def test_a_policy_decides_for_the_vms_that_it_holds_for() -> None:
    slow = policy("slow", busy="yes")
    slow["spec"]["bandwidthPerMigration"] = "8Mi"
    facts = cluster(instances=[writes("20Mi", busy="yes"), writes("20Mi", "w")], policies=[slow])
    (found,) = findings(facts, 1)
    assert (found.id, found.name, found.data["policy"]) == ("will_not_converge", "v", "slow")
    assert "in MigrationPolicy slow" in found.remedy


@pytest.mark.parametrize("kind", ["bandwidth", "auto_converge", "post_copy"])
def test_each_remedy_of_a_vm_that_does_not_converge_takes_the_finding_away(kind: str) -> None:
    busy = writes("150Mi")
    busy["metadata"]["annotations"]["okd.virt/working-set"] = "512Mi"
    (found,) = findings(cluster(instances=[busy]), 1)
    settings = {one["kind"]: one["settings"] for one in found.data["remedies"]}[kind]
    keys = {field.option: field.key for field in FIELDS}
    healed = cluster(instances=[busy], kubevirt=kubevirt(**{keys[option]: value for option, value in settings.items()}))
    assert findings(healed, 1) == []


@pytest.mark.parametrize("name", sorted(IDS))
def test_each_finding(name: str) -> None:
    more, level = CASES[name]
    found = [one for one in findings(cluster(**more), 1) if one.id == name]
    assert [one.level for one in found] == [level]
    assert found[0].sentence
    assert found[0].remedy.endswith(".")
    others = {one.id for one in findings(cluster(**more), 1)} - {name}
    # Where there is no room for one VM there is less than the rule asks for; what has no heartbeat at all is also silent.
    assert others <= {"spare_memory", "heartbeat_stale"}


@pytest.mark.parametrize(
    ("strategy", "level"), [("LiveMigrate", "blocker"), ("External", "blocker"), ("LiveMigrateIfPossible", "warning"), ("None", "warning")]
)
def test_what_a_drain_does_to_a_vm_that_cannot_move(strategy: str, level: str) -> None:
    (found,) = findings(cluster(instances=[vmi("v", strategy, ("False", "HostDeviceNotLiveMigratable"))]), 1)
    assert found.level == level
    assert ("never ends" if level == "blocker" else "shuts it down") in found.sentence


def test_vms_that_do_not_run_and_nodes_without_vms_are_nobodys_business() -> None:
    stopped = vmi("v", live=("False", "HostDeviceNotLiveMigratable"))
    stopped["status"]["phase"] = "Succeeded"
    control_plane = {"metadata": {"name": "c", "labels": {}, "annotations": {}}, "spec": {"unschedulable": True}, "status": {}}
    assert findings(cluster(instances=[stopped], nodes=[node("a"), node("b"), control_plane]), 1) == []


def test_a_migration_that_waits_for_its_turn_or_is_copied_in_time_is_not_stuck() -> None:
    nodes = [node("a", beat="2026-01-01T01:00:00Z"), node("b", beat="2026-01-01T01:00:00Z")]
    waiting = [migration("v", "Running", 1), migration("w", "Running", 2), migration("x", "Pending", 3)]
    for one in waiting[:2]:
        one["status"]["phaseTransitionTimestamps"] = [{"phase": "Running", "phaseTransitionTimestamp": "2026-01-01T00:50:00Z"}]
    found = findings(cluster(nodes=nodes, instances=[vmi(name) for name in "vwx"], migrations=waiting), 1)
    assert {one.id for one in found} == {"migration_running"}
    (alone,) = findings(cluster(nodes=nodes, instances=[vmi("x")], migrations=waiting[2:]), 1)
    assert (alone.id, alone.sentence) == ("migration_stuck", "its migration m3 does not get on: it has been Pending for 3597 s")
    large = {**vmi("v"), "memory": 40 * GIB}
    waiting[0]["status"]["phaseTransitionTimestamps"][0]["phaseTransitionTimestamp"] = "2026-01-01T00:10:00Z"
    assert [one.id for one in findings(cluster(nodes=nodes, instances=[large], migrations=waiting[:1]), 1)] == ["migration_running"]
    assert [one.id for one in findings(cluster(nodes=nodes, instances=[vmi("v")], migrations=waiting[:1]), 1)] == ["migration_stuck"]


def test_accepted_by_id_or_by_object() -> None:
    one = Finding("no_node_fits", "VirtualMachineInstance", "shop", "v", "x", "y")
    assert one.is_accepted({"no_node_fits"})
    assert one.is_accepted({"no_node_fits:shop/v"})
    assert not one.is_accepted({"no_node_fits:shop/w", "not_migratable"})
    assert [found.id for found in in_order([Finding("tls_disabled", "", "", "", "", ""), one])] == ["no_node_fits", "tls_disabled"]


def test_every_id_has_a_severity_and_a_line_in_the_guide() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert set(IDS.values()) <= set(SEVERITIES)
    assert [name for name in IDS if f"``{name}``" not in text] == []


@pytest.mark.parametrize(("value", "nodes", "away"), [(None, 9, 1), (2, 9, 2), ("3", 9, 3), ("10%", 25, 2), ("10%", 5, 1), ("50%", 9, 4)])
def test_how_many_nodes_a_pool_lets_be_away(value: t.Any, nodes: int, away: int) -> None:
    assert allowed_away({"spec": {"maxUnavailable": value}}, nodes) == away
    assert allowed_away(None, nodes) == 1


@given(
    placed=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 20)), max_size=20), sizes=st.lists(st.integers(200, 500), min_size=5, max_size=5),
    at_once=st.integers(1, 6),
)
def test_spare_memory_is_the_documented_product(placed: list[tuple[int, int]], sizes: list[int], at_once: int) -> None:
    nodes = [node(f"n{number}", size) for number, size in enumerate(sizes)]
    pods = [launcher(f"v{number}", gib, f"n{on}") for number, (on, gib) in enumerate(placed)]
    found = spare_memory(cluster(nodes=nodes, pods=pods).room(), at_once)
    totals = [sum(gib for on, gib in placed if on == number) for number in range(5)]
    assert found.needed == at_once * max(totals) * GIB
    left = sorted(size - total for size, total in zip(sizes, totals, strict=True))
    assert found.free == sum(left[: max(0, 5 - at_once)]) * GIB
