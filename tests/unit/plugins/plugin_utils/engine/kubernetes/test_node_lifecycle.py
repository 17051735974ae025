# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that are cordoned, lost and found again, and what becomes of their pods, on the engine's own API at jumping time."""
from __future__ import annotations

import asyncio
import datetime
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine import engine as engine_module
from ansible_collections.okd.virt.plugins.plugin_utils.engine import faults
from ansible_collections.okd.virt.plugins.plugin_utils.engine.clock import JumpingClock
from ansible_collections.okd.virt.plugins.plugin_utils.engine.clusters.lab import WORKERS
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import StatusError
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import DEPLOYMENTS, NODES, PODS, Object, Ref
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes import node_conditions as conditions
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes import pod_garbage_collection

NOW = "2026-11-23T10:00:00Z"
UNREACHABLE = [{"key": "node.kubernetes.io/unreachable", "effect": effect, "timeAdded": NOW} for effect in ("NoSchedule", "NoExecute")]


def node(ready: str = "True", unschedulable: bool = False, taints: t.Sequence[Object] = (), **more: str) -> Object:
    said = [{"type": "Ready", "status": ready}, *({"type": kind, "status": status} for kind, status in more.items())]
    return {"metadata": {"name": "n"}, "spec": {"unschedulable": unschedulable, "taints": list(taints)}, "status": {"conditions": said}}


CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": NOW}
OWN = {"key": "gpu", "effect": "NoSchedule"}


@pytest.mark.parametrize(("where", "expected"), [
    (node(), None), (node(unschedulable=True), [CORDON]), (node(unschedulable=True, taints=[CORDON]), None), (node(taints=[CORDON, OWN]), [OWN]),
    (node("Unknown"), UNREACHABLE), (node("Unknown", taints=UNREACHABLE), None), (node("True", taints=[OWN, *UNREACHABLE]), [OWN]),
    (node("False"), [{**taint, "key": "node.kubernetes.io/not-ready"} for taint in UNREACHABLE]),
    (node(DiskPressure="True"), [{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule", "timeAdded": NOW}]),
])
def test_taints_follow_cordon_and_conditions(where: Object, expected: list[Object] | None) -> None:
    assert conditions.taints_of(where, NOW) == expected


@pytest.mark.parametrize(("tolerations", "stays"), [
    ([], 0.0), ([{"operator": "Exists"}], None), ([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 300}], 290.0),
    ([{"operator": "Exists", "tolerationSeconds": 5}], 0.0),
    ([{"operator": "Exists", "tolerationSeconds": 60}, {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 30}], 20.0),
])
def test_how_long_a_pod_stays(tolerations: list[Object], stays: float | None) -> None:
    later = datetime.datetime.fromisoformat(NOW) + datetime.timedelta(seconds=10)
    assert conditions.seconds_to_stay({"spec": {"tolerations": tolerations}}, node("Unknown", taints=UNREACHABLE), later) == stays


def test_what_a_silent_node_says() -> None:
    said = {one["type"]: one for one in conditions.silent(node(MemoryPressure="False") | {"metadata": {"creationTimestamp": NOW}}, NOW)}
    assert {one["status"] for one in said.values()} == {"Unknown"}
    assert said["Ready"]["message"] == "Kubelet stopped posting node status."
    assert said["PIDPressure"]["message"] == "Kubelet never posted node status."
    again = {one["type"]: one for one in conditions.reported({"status": {"conditions": list(said.values())}}, NOW)}
    assert {kind: one["status"] for kind, one in again.items()} == {
        "Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
    assert again["Ready"]["reason"] == "KubeletReady"


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> t.AsyncIterator[Engine]:
    """Whose time only jumps: how long this machine takes is no part of it."""
    monkeypatch.setattr(engine_module, "make_clock", lambda _speed, not_before: JumpingClock(not_before, real=lambda: 0.0))
    made = Engine(Options(cluster="empty", speed="max"))
    await made.start()
    yield made
    await made.stop()


async def _until(engine: Engine, ref: Ref, name: str, holds: t.Callable[[Object], t.Any]) -> Object:
    async with asyncio.timeout(10):
        while True:
            try:
                found = await engine.admin.get(ref, name, "" if ref == NODES else "default")
                if holds(found):
                    return found
            except StatusError as error:
                if error.code != 404:
                    raise
            await asyncio.sleep(0.002)


def _taints(found: Object) -> list[tuple[str, str]]:
    return [(taint["key"].rpartition("/")[2], taint["effect"]) for taint in found["spec"].get("taints") or ()]


def _ready(found: Object) -> str:
    return next((one["status"] for one in (found.get("status") or {}).get("conditions") or () if one["type"] == "Ready"), "")


async def test_a_cordon_is_a_taint(engine: Engine) -> None:
    await engine.admin.patch(NODES, WORKERS[0], {"spec": {"unschedulable": True}})
    found = await _until(engine, NODES, WORKERS[0], _taints)
    assert _taints(found) == [("unschedulable", "NoSchedule")]
    assert found["spec"]["taints"][0]["timeAdded"]
    await engine.admin.patch(NODES, WORKERS[0], {"spec": {"unschedulable": False}})
    await _until(engine, NODES, WORKERS[0], lambda one: not _taints(one))


async def test_a_lost_node_its_pods_elsewhere_and_its_return(engine: Engine) -> None:
    name = WORKERS[2]
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {
        "containers": [{"name": "main", "image": "app:1"}], "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "preference": {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [name]}]}}]}}}}
    await engine.admin.create(DEPLOYMENTS, {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}})
    await _until(engine, DEPLOYMENTS, "web", lambda one: one.get("status", {}).get("availableReplicas") == 1)
    first = (await engine.admin.list(PODS, "default", "app=web")).items[0]
    assert first["spec"]["nodeName"] == name
    pod = first["metadata"]["name"]

    moments: dict[str, float] = {}
    heard = asyncio.Event()

    async def follow() -> None:
        async for event in engine.admin.watch(PODS, "default", field_selector=f"metadata.name={pod}"):
            if _ready(event.object) == "False":
                moments.setdefault("unready", engine.clock.monotonic())
            if event.object["metadata"].get("deletionTimestamp"):
                moments.setdefault("evicted", engine.clock.monotonic())
                heard.set()
            if event.type == "DELETED":
                moments["gone"] = engine.clock.monotonic()
                return

    watch = asyncio.create_task(follow())
    await asyncio.sleep(0)
    lost = engine.clock.monotonic()
    engine.runtime.power_off(name)
    found = await _until(engine, NODES, name, lambda one: _ready(one) == "Unknown" and len(_taints(one)) == 2)
    assert _taints(found) == [("unreachable", "NoSchedule"), ("unreachable", "NoExecute")]
    await _until(engine, PODS, pod, lambda one: one["metadata"].get("deletionTimestamp"))
    # The other watch may hear of it a little later.
    await asyncio.wait_for(heard.wait(), 10)
    assert 40 <= moments["unready"] - lost < 41
    assert 339 <= moments["evicted"] - lost < 342
    evicted = await engine.admin.get(PODS, pod, "default")
    target = next(one for one in evicted["status"]["conditions"] if one["type"] == "DisruptionTarget")
    assert (target["reason"], evicted["status"]["phase"]) == ("DeletionByTaintManager", "Running")
    # Another one runs elsewhere while nobody knows what became of the first.
    await _until(engine, DEPLOYMENTS, "web", lambda one: one["status"].get("availableReplicas") == 1)
    nodes = {one["spec"]["nodeName"] for one in (await engine.admin.list(PODS, "default", "app=web")).items}
    assert len(nodes) == 2
    assert "gone" not in moments
    # Daemons stay: they tolerate it.
    daemons = (await engine.admin.list(PODS, "", "kubevirt.io=virt-handler", f"spec.nodeName={name}")).items
    assert len(daemons) == 1
    assert not daemons[0]["metadata"].get("deletionTimestamp")

    engine.runtime.power_on(name)
    await asyncio.wait_for(watch, 10)
    await _until(engine, NODES, name, lambda one: _ready(one) == "True" and not _taints(one))


async def test_a_node_that_is_back_in_time_keeps_its_pods(engine: Engine) -> None:
    name = WORKERS[1]
    await engine.admin.create(PODS, {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "brief", "namespace": "default"},
        "spec": {"nodeName": name, "containers": [{"name": "main", "image": "app:1"}]}})
    await _until(engine, PODS, "brief", lambda one: _ready(one) == "True")
    engine.runtime.power_off(name)
    await _until(engine, NODES, name, lambda one: _ready(one) == "Unknown")
    engine.runtime.power_on(name)
    await _until(engine, NODES, name, lambda one: _ready(one) == "True" and not _taints(one))
    found = await _until(engine, PODS, "brief", lambda one: _ready(one) == "True")
    assert not found["metadata"].get("deletionTimestamp")
    assert found["status"]["containerStatuses"][0]["restartCount"] == 1


async def test_pods_of_a_node_that_is_deleted_are_collected(engine: Engine) -> None:
    await engine.admin.create(PODS, {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "orphan", "namespace": "default"},
        "spec": {"nodeName": WORKERS[4], "containers": [{"name": "main", "image": "app:1"}]}})
    await _until(engine, PODS, "orphan", lambda one: _ready(one) == "True")
    began = engine.clock.monotonic()
    await engine.admin.delete(NODES, WORKERS[4])
    async with asyncio.timeout(10):
        while True:
            if not (await engine.admin.list(PODS, "", field_selector=f"spec.nodeName={WORKERS[4]}")).items:
                break
            await asyncio.sleep(0.002)
    assert engine.clock.monotonic() - began >= 40


async def test_pods_of_a_node_that_is_deleted_are_collected_although_deletions_fail(engine: Engine) -> None:
    name = WORKERS[4]
    assert (await engine.admin.list(PODS, "", field_selector=f"spec.nodeName={name}")).items
    await engine.admin.delete(NODES, name)
    engine.api.faults_for_controllers = True
    engine.api.faults = faults.Chance(faults.Faults((faults.Rule("500", 0.7, ("delete",), ("pods",)),), controllers=True), seed=7)
    async with asyncio.timeout(30):
        while (await engine.admin.list(PODS, "", field_selector=f"spec.nodeName={name}")).items:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_oldest_of_too_many_finished_pods_go(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_garbage_collection, "MOST_FINISHED", 3)
    for number in range(5):
        name = f"done-{number}"
        await engine.admin.create(PODS, {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "app:1"}]}})
        pod = await _until(engine, PODS, name, lambda one: one["status"]["phase"] == "Running")
        engine.runtime.exited(pod["metadata"]["uid"])
        await _until(engine, PODS, name, lambda one: one["status"]["phase"] == "Succeeded")
    async with asyncio.timeout(10):
        while True:
            names = [one["metadata"]["name"] for one in (await engine.admin.list(PODS, "default")).items]
            if len(names) == 3:
                break
            await asyncio.sleep(0.002)
    assert names == ["done-2", "done-3", "done-4"]
