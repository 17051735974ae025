# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations are listed with where they stand and why."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import OptionError
from ansible_collections.okd.virt.plugins.module_utils.migration.moving import MigrationFailed

from ..conftest import EngineFactory
from ..support.api import Api
from .moving_lab import KUBEVIRT_API, MovingLab, eventually
from .verbs import Verbs


@pytest.fixture(scope="module", params=["4.18", "4.19"])
def lab(request: pytest.FixtureRequest, fresh_engine: EngineFactory) -> MovingLab:
    running = fresh_engine(speed="60", release=request.param)
    return MovingLab(Api(running.kubeconfig), Verbs(running.kubeconfig))


def listed(lab: MovingLab, **options: t.Any) -> t.Any:
    return lab.verbs("migration_info", **options)


def names(outcome: t.Any) -> list[str]:
    return [one["name"] for one in outcome.result["migrations"]]


def test_history_attempts_and_filters(lab: MovingLab) -> None:
    """One VM fails once and then moves; another one moves by somebody else's hand."""
    lab.behaves("vm-2", copy_seconds="5", fail_migration="1")
    lab.behaves("vm-3", copy_seconds="5")
    source = lab.node("vm-2")
    with pytest.raises(MigrationFailed) as caught:
        lab.verbs("vm_migration", namespace="shop", names=["vm-2"], run="first")
    failed = caught.value.details["vms"][0]
    moved = lab.verbs("vm_migration", namespace="shop", names=["vm-2"], run="second").result["vms"][0]
    lab.ask("vm-3", "theirs")
    eventually(lambda: not lab.unfinished("vm-3"))
    everything = listed(lab)
    assert not everything.changed
    by_name = {one["name"]: one for one in everything.result["migrations"]}
    first, second, theirs = by_name[failed["migration"]], by_name[moved["migration"]], by_name["theirs"]
    assert (first["phase"], first["code"], first["attempt"], first["run"], first["made_by"]) == ("Failed", "source_failed", 1, "first", "vm_migration")
    assert first["raw_reason"]
    assert first["raw_reason"] in first["reason"]
    assert (second["phase"], second["code"], second["attempt"], second["run"]) == ("Succeeded", "succeeded", 2, "second")
    assert (second["source_node"], second["target_node"]) == (source, lab.node("vm-2"))
    assert second["migrations_of_vm"] == 2
    assert 5 <= second["copy_seconds"] <= second["seconds"]
    assert [one["phase"] for one in second["phases"]] == [
        "Unset", "Pending", "Scheduling", "Scheduled", "PreparingTarget", "TargetReady", "Running", "Succeeded",
    ]
    assert sum(one["seconds"] for one in second["phases"][:-1]) == second["seconds"]
    assert (theirs["made_by"], theirs["run"]) == ("user", "")
    assert everything.summary["failures"] == {"source_failed": 1}
    assert (everything.summary["succeeded"], everything.summary["failed"]) == (2, 1)
    assert names(listed(lab, run="first")) == [first["name"]]
    assert names(listed(lab, names=["vm-3"])) == ["theirs"]
    assert set(names(listed(lab, phases=["Failed"]))) == {first["name"]}
    assert second["name"] in names(listed(lab, node=second["target_node"]))
    assert names(listed(lab, node="control-0")) == []
    assert names(listed(lab, namespace="legacy")) == []


def test_what_is_under_way_comes_first_with_slots_and_data(lab: MovingLab) -> None:
    """One copies for long, and what waits behind it says for which limit."""
    node = "node02"
    there = [one["metadata"] for one in lab.api.items(f"{KUBEVIRT_API}/virtualmachineinstances") if one["status"]["nodeName"] == node][:3]
    for number, metadata in enumerate(there):
        lab.behaves(metadata["name"], metadata["namespace"], copy_seconds="6000")
        lab.ask(metadata["name"], f"long-{number}", metadata["namespace"])

    def phases() -> list[str]:
        return [one["phase"] for one in listed(lab).result["migrations"][:3]]

    eventually(lambda: sorted(phases()) == ["Pending", "Running", "Running"])
    found = listed(lab, metrics_path="/metrics")
    shown = {one["name"]: one for one in found.result["migrations"][:3]}
    assert set(shown) == {"long-0", "long-1", "long-2"}
    running = [one for one in shown.values() if one["phase"] == "Running"]
    waiting = [one for one in shown.values() if one["phase"] == "Pending"]
    assert (len(running), len(waiting)) == (2, 1)
    assert all(one["active"] and one["code"] == "copying" and one["may_be_cancelled"] and one["target_node"] for one in running)
    assert all(0 <= one["data"]["percent"] <= 100 and one["data"]["total_bytes"] > 0 for one in running)
    assert all(one["expected_seconds"] > 0 for one in shown.values())
    assert waiting[0]["code"] == "no_slot"
    assert f"2 migrations out of {node} are under way and parallelOutboundMigrationsPerNode is 2" in waiting[0]["reason"]
    assert found.result["slots"] == {
        "parallel_migrations_per_cluster": 5, "used": 2, "free": 3, "parallel_outbound_migrations_per_node": 2,
        "nodes": [{"name": node, "used": 2, "free": 0}],
    }
    assert (found.summary["active"], found.summary["waiting"]) == (2, 1)
    assert "2 under way, 1 waiting" in found.msg
    for one in shown.values():
        assert lab.verbs("vm_migration", namespace=one["namespace"], names=[one["vm"]], state="cancelled").changed


def test_one_that_nothing_can_host_says_so(lab: MovingLab) -> None:
    """No node but those that are closed: the target pod has nowhere to go, and the events tell."""
    nodes = [one["metadata"]["name"] for one in lab.api.items("/api/v1/nodes")]
    source = lab.node("vm-4")
    for node in nodes:
        lab.api.expect(200, "PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}}, content_type="application/merge-patch+json")
    try:
        with pytest.raises(MigrationFailed) as caught:
            lab.verbs("vm_migration", namespace="shop", names=["vm-4"], deadline=60)
    finally:
        for node in nodes:
            lab.api.expect(200, "PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": False}}, content_type="application/merge-patch+json")
    assert caught.value.details["code"] == "target_unschedulable"
    assert lab.node("vm-4") == source
    shown = listed(lab, names=["vm-4"], phases=["Failed"]).result["migrations"][0]
    assert (shown["code"], shown["attempt"]) == ("target_unschedulable", 1)
    assert "unschedulable pod shop/virt-launcher-vm-4" in shown["raw_reason"]


def test_paths_that_are_none_are_refused(lab: MovingLab) -> None:
    with pytest.raises(OptionError, match="metrics_path: metrics is no path"):
        listed(lab, metrics_path="metrics")
    with pytest.raises(OptionError, match="metrics_path: /nowhere can't be read"):
        listed(lab, metrics_path="/nowhere")
