# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When evacuations begin: how long slots stand empty and how long failures are waited for, as recorded and on the engine."""
from __future__ import annotations

import asyncio
import itertools
import json
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import DEPLOYMENTS, PODS

from ..support.node_agent import Script
from .migrating import FINAL, Migrating

RECORDED = Path(__file__).parents[1] / "conformance" / "recorded"
Begin = t.Callable[..., t.AsyncContextManager[Migrating]]
Times = list[dict[str, t.Any]]
"""Migrations: `instance`, and `seconds` by phase."""
LOOK = 5.0
LATE = 0.6
"""Seconds by which the answers to requests that are sent at once may differ: some wait for migrations that are made meanwhile."""


def recorded(version: str, what: str) -> Times:
    found: Times = json.loads((RECORDED / f"kubevirt-{version}" / "migrations" / f"{what}-times.json").read_text(encoding="utf-8"))["migrations"]
    return found


def played(cluster: Migrating) -> Times:
    names = {obj["metadata"]["name"]: obj["spec"]["vmiName"] for _when, plural, _kind, obj in cluster.seen if plural.endswith("instancemigrations")}
    return [{"instance": vmi, "seconds": cluster.moments(name)} for name, vmi in names.items()]


def ended(seconds: dict[str, float]) -> float:
    return next(seconds[phase] for phase in FINAL if phase in seconds)


def waits(times: Times, slots: int) -> list[float]:
    """For how long a slot stood empty before each migration that had to wait for one began."""
    begun = sorted((one["seconds"] for one in times), key=lambda seconds: float(seconds["Scheduling"]))
    ends = sorted(ended(seconds) for seconds in begun)
    return [later["Scheduling"] - ends[number] for number, later in enumerate(begun[slots:])]


def back_offs(times: Times, vmi: str) -> list[float]:
    """From each failure to the target pod of the next migration of the instance."""
    of_vmi = [one["seconds"] for one in times if one["instance"] == vmi and "Scheduling" in one["seconds"]]
    of_vmi.sort(key=lambda seconds: float(seconds["Scheduling"]))
    return [later["Scheduling"] - before["Failed"] for before, later in itertools.pairwise(of_vmi)]


async def drained(cluster: Migrating, number: int) -> Times:
    """Mark so many instances of one node a moment apart, as evictions do, and wait until all have left."""
    on: dict[str, list[str]] = {}
    for _when, plural, _kind, obj in cluster.seen:
        if plural == "virtualmachineinstances":
            on.setdefault(obj["status"]["nodeName"], []).append(obj["metadata"]["name"])
    node, names = max(on.items(), key=lambda entry: len(entry[1]))
    for name in names[:number]:
        await cluster.mark(name)
        await cluster.engine.clock.sleep(0.3)

    async def left() -> bool:
        return node not in [(await cluster.instance(name))["status"]["nodeName"] for name in names[:number]]

    await cluster.until(left)
    await cluster.passes(1)
    return played(cluster)


@pytest.mark.parametrize("release", ["4.18", "4.19"])
async def test_six_machines_leave_a_node_two_at_a_time_with_slots_empty_in_between(migrating: Begin, release: str) -> None:
    began = time.monotonic()
    sizes = {"vms": 24, "nodes": 4, "namespaces": 1, "bindings": 0, "cluster_bindings": 0, "rwo_percent": 0}
    async with migrating(release=release, namespace="tenant-00000", cluster="generated", parameters=sizes) as cluster:
        cluster.agent.default = Script(copy=3)
        times = await drained(cluster, 6)
    slack = time.monotonic() - began
    real = waits(recorded("1.4.1", "drain6"), 2)
    assert len(times) == 6
    assert len(waits(times, 2)) == len(real) == 4
    assert all(0 <= wait < LOOK for wait in real)
    assert all(0 <= wait < LOOK + slack for wait in waits(times, 2)), waits(times, 2)
    # Two at a time, and who was made first need not go first.
    first = min(one["seconds"]["Scheduling"] for one in times)
    last = max(ended(one["seconds"]) for one in times)
    one = min(ended(one["seconds"]) - one["seconds"]["Scheduling"] for one in times)
    assert 3 * one <= last - first < 3 * one + 2 * LOOK + slack


@pytest.mark.parametrize("release", ["4.18", "4.19"])
async def test_evictions_mark_their_instances_as_fast_as_virt_api_may_ask(migrating: Begin, release: str) -> None:
    marks = [mark["seconds"] for mark in json.loads((RECORDED / "kubevirt-1.4.1" / "migrations" / "drain6-times.json").read_text(encoding="utf-8"))["marks"]]
    sizes = {"vms": 24, "nodes": 4, "namespaces": 1, "bindings": 0, "cluster_bindings": 0, "rwo_percent": 0}
    async with migrating(release=release, namespace="tenant-00000", cluster="generated", parameters=sizes) as cluster:
        cluster.agent.default = Script(copy=3)
        deployment = await cluster.engine.admin.get(DEPLOYMENTS, "virt-api", cluster.engine.sample.namespace)
        # Recorded with one replica; each one more may ask as much again.
        number = len(marks) * deployment["status"]["availableReplicas"]
        pods = [pod["metadata"]["name"] for pod in (await cluster.engine.admin.list(PODS, cluster.namespace, "kubevirt.io=virt-launcher")).items]
        began = cluster.now
        answers = await asyncio.gather(*(cluster.evict(pod) for pod in pods[:number]))
        ended = cluster.now - began
    assert [answer.code for answer in answers if answer is not None] == [429] * number
    # kubectl had sent them by the first mark, and not before it was started.
    assert marks[-1] - marks[0] - LATE < ended < marks[-1] + LATE, ended


@pytest.mark.parametrize(("version", "release", "number"), [("1.4.1", "4.18", 1), ("1.5.3", "4.19", 2)])
async def test_a_machine_that_keeps_failing_is_waited_for_as_recorded(migrating: Begin, version: str, release: str, number: int) -> None:
    began = time.monotonic()
    real = back_offs(recorded(version, "fail"), "bad")
    async with migrating(release=release) as cluster:
        cluster.agent.default = Script(copy=1.6, failure="operation failed", touches=True)
        await cluster.mark("vm-1")

        async def failed() -> bool:
            return len(cluster.events("FailedMigration")) > number

        await cluster.until(failed)
        ours = back_offs(played(cluster), "vm-1")
    slack = time.monotonic() - began
    assert real == [pytest.approx(20 * 2**power, abs=1.1) for power in range(number)]
    assert all(abs(one - other) < 1.1 + slack for one, other in zip(ours, real, strict=True)), ours


async def test_a_cancelled_evacuation_is_followed_by_another_without_a_wait(migrating: Begin) -> None:
    (first, second) = [one["seconds"] for one in recorded("1.5.3", "cancel") if one["instance"] == "c0"]
    assert "gone" in first
    assert second["Scheduling"] - second["created"] < 0.2
    async with migrating() as cluster:
        cluster.agent.default = Script(copy=600, touches=True)
        await cluster.mark("vm-1")
        running = await cluster.until(lambda: _made(cluster, 1))
        await cluster.phase(running, "Running")
        await cluster.delete(running)
        again = await cluster.until(lambda: _made(cluster, 2))
        await cluster.phase(again, "Running")
        moments = cluster.moments(again)
        assert moments["Scheduling"] - moments[""] < 2
        assert cluster.events("MigrationBackoff", "VirtualMachineInstance") == []


async def _made(cluster: Migrating, number: int) -> str:
    """The name of the migration of that number in order of appearance."""
    names = list(dict.fromkeys(obj["metadata"]["name"] for _when, plural, _kind, obj in cluster.seen if plural.endswith("instancemigrations")))
    return names[number - 1] if len(names) >= number else ""
