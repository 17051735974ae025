# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What virt-controller decides of migrations: limits, time-outs, back-off, policies, evacuations, what is kept."""
from __future__ import annotations

import asyncio
import itertools
import time
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import NODES, Ref

from ..support.node_agent import VMIMS, Script
from .migrating import FINAL, Migrating

Begin = t.Callable[..., t.AsyncContextManager[Migrating]]
POLICIES = Ref("migrations.kubevirt.io", "v1alpha1", "migrationpolicies")
UNSCHEDULABLE = "kubevirt.io/migrationUnschedulablePodTimeoutSeconds"
PENDING = "kubevirt.io/migrationPendingPodTimeoutSeconds"
BOTH = pytest.mark.parametrize("release", ["4.18", "4.19"])


async def others(cluster: Migrating, vmi: str) -> list[str]:
    """The nodes that the instance is not on."""
    own = (await cluster.instance(vmi))["status"]["nodeName"]
    return [node["metadata"]["name"] for node in (await cluster.engine.admin.list(NODES)).items if node["metadata"]["name"] != own]


@pytest.mark.parametrize(("release", "annotations", "seconds"), [("4.18", {}, 300), ("4.19", {UNSCHEDULABLE: "8"}, 8)])
async def test_a_target_that_finds_no_node_is_given_up(migrating: Begin, release: str, annotations: dict[str, str], seconds: int) -> None:
    async with migrating(release=release) as cluster:
        await cluster.cordon(*await others(cluster, "vm-1"))
        name = await cluster.migrate("vm-1", annotations=annotations)
        await cluster.over(name)
        moments = cluster.moments(name)
        assert moments["Failed"] - moments["Scheduling"] == pytest.approx(seconds, abs=1.1)
        assert [entry["phase"] for entry in (await cluster.get(name))["status"]["phaseTransitionTimestamps"]] == ["Pending", "Scheduling", "Failed"]
        assert (await cluster.get(name))["status"]["migrationState"].keys() == {"sourcePod"}
        events = cluster.history(name)["events"]
        assert events[-4:-1] == [
            "VirtualMachineInstanceMigration virtualmachine-controller Warning migrationTargetPodUnschedulable: "
            "Migration target pod for VMI [shop/vm-1] is currently unschedulable.",
            "VirtualMachineInstanceMigration virtualmachine-controller Normal SuccessfulDelete: "
            "unschedulable pod NAMESPACE/POD timeout period exceeded",
            "VirtualMachineInstanceMigration virtualmachine-controller Warning FailedMigration: "
            "Migration target pod was removed during active migration.",
        ]
        assert (await cluster.instance("vm-1"))["status"]["phase"] == "Running"
        assert "migrationState" not in (await cluster.instance("vm-1"))["status"]


async def test_a_target_that_does_not_start_is_given_up(migrating: Begin) -> None:
    async with migrating() as cluster:
        for node in await others(cluster, "vm-1"):
            cluster.engine.runtime.power_off(node)
        name = await cluster.migrate("vm-1", annotations={PENDING: "20"})
        await cluster.phase(name, "Scheduling")
        await cluster.until(lambda: _told(cluster, "SuccessfulDelete"))
        (when, text), *_more = cluster.events("SuccessfulDelete")
        assert text.startswith("pending pod shop/virt-launcher-vm-1-")
        assert text.endswith(" timeout period exceeded")
        assert when - cluster.moments(name)["Scheduling"] == pytest.approx(20, abs=1.1)


async def _told(cluster: Migrating, reason: str) -> bool:
    return bool(cluster.events(reason))


async def test_a_guest_with_its_host_s_cpu_hears_that_no_node_has_it(migrating: Begin) -> None:
    async with migrating() as cluster:
        source = (await cluster.instance("vm-1"))["status"]["nodeName"]
        labels = (await cluster.engine.admin.get(NODES, source))["metadata"]["labels"]
        model = next(label.rpartition("/")[2] for label in labels if label.startswith("host-model-cpu."))
        for node in await others(cluster, "vm-1"):
            await cluster.engine.admin.patch(NODES, node, {"metadata": {"labels": {f"cpu-model-migration.node.kubevirt.io/{model}": None}}})
        name = await cluster.migrate("vm-1", annotations={UNSCHEDULABLE: "5"})
        await cluster.over(name)
        texts = {text for _when, text in cluster.events("NoSuitableNodesForHostModelMigration", "VirtualMachineInstance")}
        assert texts == {
            "Migration cannot proceed since no node is suitable to run the required CPU model / required features: "
            f"map[cpu-feature.node.kubevirt.io/vmx:true cpu-model-migration.node.kubevirt.io/{model}:true]",
        }


async def test_of_two_migrations_of_an_instance_one_runs_at_a_time(migrating: Begin) -> None:
    async with migrating() as cluster:
        cluster.agent.default = Script(copy=8)
        first = await cluster.migrate("vm-1")
        # The webhook would refuse it: this one was let in at the same moment.
        body = await cluster.get(first)
        twin = {**body, "metadata": {**body["metadata"], "name": "twin", "uid": "00000000-0000-4000-8000-000000000001"}, "status": {}}
        cluster.engine.admin.adopt(VMIMS, twin)
        await cluster.over("twin")
        await cluster.over(first)
        moments, later = cluster.moments(first), cluster.moments("twin")
        assert moments["Succeeded"] <= later["Scheduling"]
        assert "Succeeded" in later
        pods = [obj for _when, resource, kind, obj in cluster.seen if resource == "pods" and kind == "ADDED"]
        assert len(pods) == 2


async def test_a_migration_that_comes_while_another_has_the_state_fails(migrating: Begin) -> None:
    async with migrating() as cluster:
        cluster.agent.default = Script(copy=600)
        first = await cluster.migrate("vm-1")
        await cluster.phase(first, "Running")
        body = await cluster.get(first)
        late = {**body, "metadata": {**body["metadata"], "name": "late", "uid": "00000000-0000-4000-8000-000000000002"}, "status": {}}
        cluster.engine.admin.adopt(VMIMS, late)
        await cluster.phase("late", "Failed")
        assert ("VMI is not eligible for migration because another migration job is in progress.") in {
            text for _when, text in cluster.events("FailedMigration")
        }
        assert (await cluster.get(first))["status"]["phase"] == "Running"
        await cluster.delete(first)
        await cluster.gone(first)


@BOTH
async def test_failed_evacuations_are_repeated_after_longer_and_longer_waits(migrating: Begin, release: str) -> None:
    async with migrating(release=release) as cluster:
        began = time.monotonic()
        cluster.agent.default = Script(copy=1.5, failure="operation failed", touches=True)
        await cluster.mark("vm-1")
        seen: list[str] = []
        for dummy in range(3):
            name = await cluster.until(lambda: _new(cluster, "vm-1", seen))
            seen.append(name)
            await cluster.phase(name, "Failed")
        moments = [cluster.moments(name) for name in seen]
        gaps = [later["Scheduling"] - earlier["Failed"] for earlier, later in itertools.pairwise(moments)]
        # Real time counts too: a busy machine makes it later, never sooner.
        slack = 1.1 + time.monotonic() - began
        assert [-1.1 < gap - wait < slack for gap, wait in zip(gaps, (20, 40), strict=True)] == [True, True], gaps
        assert {text for _when, text in cluster.events("MigrationBackoff", "VirtualMachineInstance")} == {"backoff migrating vmi shop/vm-1"}
        assert (await cluster.instance("vm-1"))["status"]["evacuationNodeName"]


async def _new(cluster: Migrating, vmi: str, known: list[str]) -> str:
    return next((one["metadata"]["name"] for one in await cluster.migrations(vmi) if one["metadata"]["name"] not in known), "")


@BOTH
async def test_what_is_marked_leaves_its_node(migrating: Begin, release: str) -> None:
    async with migrating(release=release) as cluster:
        source = (await cluster.instance("vm-1"))["status"]["nodeName"]
        await cluster.mark("vm-1")
        name = await cluster.until(lambda: _new(cluster, "vm-1", []))
        await cluster.over(name)
        made = await cluster.get(name)
        assert name.startswith("kubevirt-evacuation-")
        assert made["metadata"]["annotations"]["kubevirt.io/evacuationMigration"] == source
        assert cluster.events("SuccessfulCreate", "VirtualMachineInstance")[0][1] == f"Created Migration {name}"
        vmi = await cluster.instance("vm-1")
        assert vmi["status"]["nodeName"] != source
        assert "evacuationNodeName" not in vmi["status"]
        assert "annotation descheduler.alpha.kubernetes.io/eviction-in-progress" in cluster.history(name)["source"]


async def test_a_node_with_the_drain_taint_is_left_by_all_that_can(migrating: Begin) -> None:
    async with migrating() as cluster:
        on: dict[str, list[str]] = {}
        for vmi in (await cluster.engine.admin.list(Ref("kubevirt.io", "v1", "virtualmachineinstances"), "shop")).items:
            on.setdefault(vmi["status"]["nodeName"], []).append(vmi["metadata"]["name"])
        node, names = max(on.items(), key=lambda entry: len(entry[1]))
        taint = {"key": "kubevirt.io/drain", "effect": "NoSchedule"}
        await cluster.engine.admin.patch(NODES, node, {"spec": {"taints": [taint]}})

        async def left() -> bool:
            return node not in [(await cluster.instance(name))["status"]["nodeName"] for name in names]

        await cluster.until(left)
        assert len(names) > 1


async def test_five_finished_migrations_of_an_instance_are_kept(migrating: Begin) -> None:
    async with migrating() as cluster:
        made = []
        for dummy in range(7):
            made.append(await cluster.migrate("vm-1"))
            await cluster.over(made[-1])

        async def kept() -> bool:
            return [one["metadata"]["name"] for one in await cluster.migrations("vm-1")] == made[2:]

        await cluster.until(kept)


async def test_a_policy_holds_from_hand_off_on(migrating: Begin) -> None:
    async with migrating() as cluster:
        cluster.agent.default = Script(copy=600)
        spec = {"selectors": {"virtualMachineInstanceSelector": {"kubevirt.io/vm": "vm-1"}}, "allowPostCopy": True, "bandwidthPerMigration": "64Mi"}
        await cluster.engine.admin.create(POLICIES, {"apiVersion": "migrations.kubevirt.io/v1alpha1", "kind": "MigrationPolicy",
                                                     "metadata": {"name": "gentle"}, "spec": spec})
        await asyncio.sleep(0.05)
        name = await cluster.migrate("vm-1")
        await cluster.phase(name, "Running")
        state = (await cluster.instance("vm-1"))["status"]["migrationState"]
        assert state["migrationPolicyName"] == "gentle"
        settings = state["migrationConfiguration"]
        assert (settings["allowPostCopy"], settings["allowWorkloadDisruption"], settings["bandwidthPerMigration"]) == (True, True, "64Mi")
        assert settings["completionTimeoutPerGiB"] == 150
        await cluster.delete(name)
        await cluster.gone(name)


async def test_whoever_waits_for_ever_does_not_drive_the_clock(migrating: Begin) -> None:
    async with migrating() as cluster:
        await cluster.settings(parallelMigrationsPerCluster=0)
        name = await cluster.migrate("vm-1")
        await cluster.phase(name, "Pending")
        began = cluster.now
        await asyncio.sleep(0.5)
        assert cluster.now - began < 60
        assert (await cluster.get(name))["status"]["phase"] == "Pending"
        # A slot that comes free is found within the time of a look.
        await cluster.settings(parallelMigrationsPerCluster=1)
        freed = cluster.now
        await cluster.phase(name, *FINAL)
        assert cluster.moments(name)["Scheduling"] - freed < 5.5


async def test_a_pod_that_does_not_end_holds_the_next_evacuation_up_but_not_the_clock(migrating: Begin) -> None:
    async with migrating() as cluster:
        cluster.agent.default = Script(copy=1.5, failure="operation failed", stuck=True)
        await cluster.mark("vm-1")
        first = await cluster.until(lambda: _new(cluster, "vm-1", []))
        await cluster.phase(first, "Failed")
        began = cluster.now
        await asyncio.sleep(0.5)
        assert cluster.now - began < 60
        assert await _new(cluster, "vm-1", [first]) == ""
        cluster.agent.default = Script()
        cluster.engine.runtime.exited((await cluster.target_pod(first))["metadata"]["uid"])
        second = await cluster.until(lambda: _new(cluster, "vm-1", [first]))
        await cluster.phase(second, "Succeeded")
