# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances on an older virt-launcher: told, counted, and migrated or evicted as the KubeVirt object allows."""

from __future__ import annotations

import asyncio
import datetime
import typing as t
from collections.abc import AsyncIterator, Callable

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.local import LocalCluster
from ansible_collections.okd.virt.plugins.plugin_utils.engine.clock import Clock
from ansible_collections.okd.virt.plugins.plugin_utils.engine.clusters.installed import namespace
from ansible_collections.okd.virt.plugins.plugin_utils.engine.clusters.lab import WORKERS, Empty
from ansible_collections.okd.virt.plugins.plugin_utils.engine.clusters.workloads import (
    Machine,
    add_machine,
    kubevirt_settings,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import KUBEVIRTS, Ref
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt import virt_controller
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller import workload_updates
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller.phases import MIGRATIONS
from ansible_collections.okd.virt.plugins.plugin_utils.engine.okd.bundles import FLAVOURS

Object = dict[str, t.Any]
HYPERCONVERGEDS = Ref("hco.kubevirt.io", "v1beta1", "hyperconvergeds")
INSTANCES = ("kubevirt.io", "virtualmachineinstances")
HOME = "kubevirt-hyperconverged"
OLD, NEW = "v1.4.1", "v1.5.3"


class OldMachines(Empty):
    """A cluster of release 4.19 with machines that an older virt-controller has made."""

    def __init__(self, machines: t.Sequence[Machine], strategy: Object) -> None:
        super().__init__("4.19", FLAVOURS["okd"])
        self._machines, self._strategy = machines, strategy

    async def build(self, cluster: LocalCluster, clock: Clock) -> None:
        await super().build(cluster, clock)
        for ref in (HYPERCONVERGEDS, KUBEVIRTS):
            (found,) = (await cluster.list(ref)).items
            await cluster.update(ref, {**found, "spec": {**found["spec"], "workloadUpdateStrategy": self._strategy}})
        await namespace(cluster, "team")
        config = await kubevirt_settings(cluster, HOME, NEW)
        own = cluster.as_service_account(HOME, virt_controller.ACCOUNT)
        for machine in self._machines:
            await add_machine(cluster, own, clock, machine, OLD, config)


class Outdated:
    """What becomes of them."""

    def __init__(self, machines: t.Sequence[Machine], strategy: Object) -> None:
        self.engine = Engine(Options(cluster="empty", release="4.19", speed="max"))
        self.engine.sample = OldMachines(machines, strategy)

    async def until(self, holds: Callable[[], t.Any]) -> None:
        for _turn in range(500):
            if holds():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the expected state was not reached in time")

    @property
    def counted(self) -> int:
        (kubevirt,) = self.engine.store.list((KUBEVIRTS.group, KUBEVIRTS.plural))
        return int(kubevirt.value["status"]["outdatedVirtualMachineInstanceWorkloads"])

    @property
    def migrations(self) -> list[Object]:
        return [one.value for one in self.engine.store.list((MIGRATIONS.group, MIGRATIONS.plural))]

    def said(self, reason: str) -> list[str]:
        return [one.value["message"] for one in self.engine.store.list(("", "events")) if one.value["reason"] == reason]


@pytest.fixture
async def outdated() -> AsyncIterator[Callable[..., t.Awaitable[Outdated]]]:
    """Start a cluster with these machines and this workloadUpdateStrategy."""
    started: list[Outdated] = []

    async def begin(machines: t.Sequence[Machine], strategy: Object) -> Outdated:
        made = Outdated(machines, strategy)
        started.append(made)
        await made.engine.start()
        return made

    yield begin
    for one in started:
        await one.engine.stop()


def fleet(count: int, **more: t.Any) -> list[Machine]:
    return [Machine("team", f"vm-{number}", WORKERS[number % len(WORKERS)], memory_mib=256, **more) for number in range(count)]


async def test_nothing_happens_where_no_method_is_allowed(outdated: Callable[..., t.Awaitable[Outdated]]) -> None:
    cluster = await outdated(fleet(3), {"workloadUpdateMethods": []})
    await cluster.until(lambda: cluster.counted == 3)
    labels = [one.value["metadata"]["labels"] for one in cluster.engine.store.list(INSTANCES)]
    assert all(found["kubevirt.io/outdatedLauncherImage"] == "" for found in labels)
    pods = [one.value for one in cluster.engine.store.list(("", "pods")) if one.namespace == "team"]
    assert all(pod["metadata"]["labels"]["kubevirt.io/outdatedLauncherImage"] == "" for pod in pods)
    await asyncio.sleep(0.2)
    assert cluster.migrations == []


async def test_as_many_migrate_as_the_cluster_allows(outdated: Callable[..., t.Awaitable[Outdated]]) -> None:
    stuck = Machine("team", "stuck", WORKERS[0], memory_mib=256, claim="ReadWriteOnce")
    cluster = await outdated([stuck, *fleet(9)], {"workloadUpdateMethods": ["LiveMigrate"]})
    await cluster.until(lambda: len(cluster.migrations) >= 5)
    first = cluster.migrations[0]
    assert first["metadata"]["generateName"] == "kubevirt-workload-update-"
    assert first["metadata"]["annotations"][workload_updates.ANNOTATION] == ""
    assert first["spec"] == {"vmiName": first["spec"]["vmiName"]}
    assert "stuck" not in {one["spec"]["vmiName"] for one in cluster.migrations}
    names = [one["spec"]["vmiName"] for one in cluster.migrations if (one.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
    assert len(names) == len(set(names)) <= 5
    assert any(text.startswith("Created Migration kubevirt-workload-update-") for text in cluster.said("SuccessfulCreate"))


async def test_evictions_come_in_batches(outdated: Callable[..., t.Awaitable[Outdated]]) -> None:
    strategy = {"workloadUpdateMethods": ["Evict"], "batchEvictionSize": 2, "batchEvictionInterval": "1m0s"}
    cluster = await outdated(fleet(5, eviction_strategy="None"), strategy)
    await cluster.until(lambda: len(cluster.said("SuccessfulEvict")) == 5 and cluster.counted == 0)
    events = [one.value for one in cluster.engine.store.list(("", "events")) if one.value["reason"] == "SuccessfulEvict"]
    times = sorted(datetime.datetime.fromisoformat(event["firstTimestamp"]) for event in events)
    batches = [(moment - times[0]).total_seconds() for moment in times]
    assert [round(seconds / 60) for seconds in batches] == [0, 0, 1, 1, 2]
    assert len({event["involvedObject"]["name"] for event in events}) == 5
    assert cluster.migrations == []


@pytest.mark.parametrize(("image", "outdated_is"), [("", False), ("a:v1", False), ("a:v0", True)])
def test_what_is_outdated(image: str, outdated_is: bool) -> None:
    assert workload_updates.is_outdated({"status": {"launcherContainerImageVersion": image}}, "a:v1") is outdated_is
    assert workload_updates.is_outdated({}, "a:v1") is False
