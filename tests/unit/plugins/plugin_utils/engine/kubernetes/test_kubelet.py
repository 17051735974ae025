# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of pods on a node, on the engine's own API at jumping time."""
from __future__ import annotations

import asyncio
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.clusters.lab import WORKERS
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import PODS, Object

NODE = WORKERS[0]


@pytest.fixture
async def engine() -> t.AsyncIterator[Engine]:
    made = Engine(Options(cluster="empty", speed="max"))
    await made.start()
    yield made
    await made.stop()


def _pod(name: str, labels: dict[str, str] | None = None, **spec: t.Any) -> Object:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
        "spec": {"nodeName": NODE, "containers": [{"name": "main", "image": "registry.example/app:1"}], **spec},
    }


async def _until(engine: Engine, name: str, holds: t.Callable[[Object], bool]) -> Object:
    async with asyncio.timeout(10):
        while True:
            pod = await engine.admin.get(PODS, name, "default")
            if holds(pod):
                return pod
            await asyncio.sleep(0.005)


async def _gone(engine: Engine, name: str) -> None:
    async with asyncio.timeout(10):
        while True:
            listed = await engine.admin.list(PODS, "default", field_selector=f"metadata.name={name}")
            if not listed.items:
                return
            await asyncio.sleep(0.005)


def _condition(pod: Object, kind: str) -> str:
    return next((entry["status"] for entry in pod["status"].get("conditions", ()) if entry["type"] == kind), "")


async def test_a_bound_pod_comes_up_in_the_steps_of_a_kubelet(engine: Engine) -> None:
    began = engine.clock.monotonic()
    states: list[tuple[str, str, str]] = []

    async def follow() -> None:
        async for event in engine.admin.watch(PODS, "default", field_selector="metadata.name=web"):
            waiting = [entry["state"] for entry in event.object["status"].get("containerStatuses", ())]
            states.append((event.object["status"]["phase"], next(iter(waiting[0])) if waiting else "", _condition(event.object, "Ready")))
            if states[-1][2] == "True":
                return

    watch = asyncio.create_task(follow())
    await engine.admin.create(PODS, _pod("web"))
    await asyncio.wait_for(watch, 10)
    assert states == [("Pending", "", ""), ("Pending", "waiting", "False"), ("Running", "running", "True")]
    assert engine.clock.monotonic() - began >= 2
    pod = await engine.admin.get(PODS, "web", "default")
    assert pod["status"]["podIP"].startswith("10.128.")
    assert pod["status"]["containerStatuses"][0]["containerID"].startswith("cri-o://")


async def test_a_gate_holds_ready_back_until_somebody_opens_it(engine: Engine) -> None:
    await engine.admin.create(PODS, _pod("gated", readinessGates=[{"conditionType": "example.com/open"}]))
    pod = await _until(engine, "gated", lambda pod: pod["status"]["phase"] == "Running")
    assert (_condition(pod, "ContainersReady"), _condition(pod, "Ready")) == ("True", "False")
    opened = [*pod["status"]["conditions"], {"type": "example.com/open", "status": "True"}]
    await engine.admin.patch(PODS, "gated", {"status": {"conditions": opened}}, "default", "status")
    await _until(engine, "gated", lambda pod: _condition(pod, "Ready") == "True")


async def test_a_deleted_pod_ends_by_itself_well_before_its_time_of_grace(engine: Engine) -> None:
    await engine.admin.create(PODS, _pod("brief", terminationGracePeriodSeconds=300))
    await _until(engine, "brief", lambda pod: pod["status"]["phase"] == "Running")
    began = engine.clock.monotonic()
    await engine.admin.delete(PODS, "brief", "default")
    await _gone(engine, "brief")
    assert 1 <= engine.clock.monotonic() - began < 20


@pytest.mark.parametrize("answers", [True, False])
async def test_who_answers_for_a_pod_ends_it_or_it_is_killed_when_grace_is_over(engine: Engine, answers: bool) -> None:
    told: list[str] = []
    engine.runtime.on_terminate(("role", "answered"), lambda pod: told.append(pod["metadata"]["uid"]))
    await engine.admin.create(PODS, _pod("slow", {"role": "answered"}, terminationGracePeriodSeconds=60, restartPolicy="Never"))
    await _until(engine, "slow", lambda pod: pod["status"]["phase"] == "Running")
    began = engine.clock.monotonic()
    ends: list[tuple[str, int]] = []

    async def follow() -> None:
        async for event in engine.admin.watch(PODS, "default", field_selector="metadata.name=slow"):
            state = event.object["status"]["containerStatuses"][0]["state"]
            if "terminated" in state:
                ends.append((event.object["status"]["phase"], state["terminated"]["exitCode"]))
                return

    watch = asyncio.create_task(follow())
    await asyncio.sleep(0.05)
    await engine.admin.delete(PODS, "slow", "default")
    if answers:
        async with asyncio.timeout(10):
            while not told:  # noqa: ASYNC110
                await asyncio.sleep(0)
        engine.runtime.exited(told[0])
    await asyncio.wait_for(watch, 10)
    await _gone(engine, "slow")
    assert len(told) == 1
    assert ends == [("Succeeded", 0)] if answers else [("Failed", 137)]
    assert engine.clock.monotonic() - began < 59 if answers else engine.clock.monotonic() - began >= 59


async def test_time_does_not_hurry_to_the_end_of_a_grace_that_nobody_needs(engine: Engine) -> None:
    told: list[str] = []
    engine.runtime.on_terminate(("role", "quick"), lambda pod: told.append(pod["metadata"]["uid"]))
    await engine.admin.create(PODS, _pod("quick", {"role": "quick"}, terminationGracePeriodSeconds=3600, restartPolicy="Never"))
    await _until(engine, "quick", lambda pod: pod["status"]["phase"] == "Running")
    await engine.admin.delete(PODS, "quick", "default")
    async with asyncio.timeout(10):
        while not told:  # noqa: ASYNC110
            await asyncio.sleep(0)
    engine.runtime.exited(told[0])
    await _gone(engine, "quick")
    await asyncio.sleep(0.1)
    assert engine.clock.monotonic() < 600


async def test_what_exits_runs_again_or_stays_ended_as_the_pod_says(engine: Engine) -> None:
    await engine.admin.create(PODS, _pod("again"))
    await engine.admin.create(PODS, _pod("once", restartPolicy="Never"))
    for name in ("again", "once"):
        pod = await _until(engine, name, lambda pod: pod["status"]["phase"] == "Running")
        engine.runtime.exited(pod["metadata"]["uid"], 1)
    again = await _until(engine, "again", lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert again["status"]["phase"] == "Running"
    once = await _until(engine, "once", lambda pod: pod["status"]["phase"] == "Failed")
    assert _condition(once, "Ready") == "False"
    await engine.admin.delete(PODS, "once", "default")
    await _gone(engine, "once")


async def test_nothing_moves_on_a_node_that_is_off_and_processes_are_lost(engine: Engine) -> None:
    # Without the toleration it would leave the node after five minutes, which at jumping time is soon.
    await engine.admin.create(PODS, _pod("kept", tolerations=[{"operator": "Exists"}]))
    await engine.admin.create(PODS, _pod("going", restartPolicy="Never"))
    for name in ("kept", "going"):
        await _until(engine, name, lambda pod: pod["status"]["phase"] == "Running")
    engine.runtime.power_off(NODE)
    await engine.admin.delete(PODS, "going", "default")
    await asyncio.sleep(0.1)
    assert (await engine.admin.get(PODS, "going", "default"))["metadata"]["deletionTimestamp"]
    engine.runtime.power_on(NODE)
    await _gone(engine, "going")
    await _until(engine, "kept", lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1)
