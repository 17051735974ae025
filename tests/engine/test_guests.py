# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests that start and end: what virt-handler makes of a pod that is asked to end, is killed, or is lost with its node."""
from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import NODES, PODS, Object
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_handler import VirtHandler

from ..support.node_agent import VMIS
from .migrating import Migrating
from .test_live_migration import MACHINES, engine_of, handler_events


async def pod_of(cluster: Migrating, vmi: Object) -> Object:
    found = (await cluster.engine.admin.list(PODS, cluster.namespace, f"kubevirt.io/created-by={vmi['metadata']['uid']}")).items
    return next(one for one in found if one["spec"]["nodeName"] == vmi["status"]["nodeName"])


def phases(cluster: Migrating, uid: str) -> list[str]:
    seen = [obj["status"].get("phase", "") for _when, resource, _kind, obj in cluster.seen
            if resource == VMIS.plural and obj["metadata"]["uid"] == uid]
    return list(dict.fromkeys(seen))


async def another(cluster: Migrating, uid: str) -> Object:
    """The instance of vm-1 that runs in the place of that one."""
    found: list[Object] = []

    async def runs() -> bool:
        found[:] = [one for one in (await cluster.engine.admin.list(VMIS, cluster.namespace)).items if one["metadata"]["name"] == "vm-1"]
        return bool(found) and found[0]["metadata"]["uid"] != uid and found[0]["status"].get("phase") == "Running"

    await cluster.until(runs)
    return found[0]


async def test_a_guest_shuts_down_when_its_pod_is_deleted_and_its_machine_starts_it_again() -> None:
    async with engine_of("4.19") as cluster:
        vmi = await cluster.instance("vm-1")
        pod = await pod_of(cluster, vmi)
        await cluster.engine.admin.delete(PODS, pod["metadata"]["name"], cluster.namespace)
        after = await another(cluster, vmi["metadata"]["uid"])
        assert phases(cluster, vmi["metadata"]["uid"])[-1] == "Succeeded"
        assert phases(cluster, after["metadata"]["uid"]) == ["Pending", "Scheduling", "Scheduled", "Running"]
        assert after["status"]["migrationMethod"] == vmi["status"]["migrationMethod"]
        assert [one["mac"] for one in after["status"]["interfaces"]]
        assert {one["type"]: one["status"] for one in after["status"]["conditions"]}["LiveMigratable"] == "True"
        assert [line for line in handler_events(cluster) if "Created:" in line or "Started:" in line or "S" in line.split()[1]] == [
            "Normal ShuttingDown: Signaled Graceful Shutdown", "Normal Stopped: The VirtualMachineInstance was shut down.",
            "Normal Created: VirtualMachineInstance defined.", "Normal Started: VirtualMachineInstance started.",
        ]  # fmt: skip


async def test_a_guest_whose_launcher_is_killed_has_failed() -> None:
    async with engine_of("4.19") as cluster:
        vmi = await cluster.instance("vm-1")
        cluster.engine.runtime.exited((await pod_of(cluster, vmi))["metadata"]["uid"], 137)
        await another(cluster, vmi["metadata"]["uid"])
        assert phases(cluster, vmi["metadata"]["uid"])[-1] == "Failed"
        assert "Warning Stopped: The VirtualMachineInstance crashed." in handler_events(cluster)


async def test_a_guest_that_starts_paused() -> None:
    async with engine_of("4.19") as cluster:
        vmi = await cluster.instance("vm-1")
        spec = {"spec": {"template": {"spec": {"startStrategy": "Paused"}}}}
        await cluster.engine.admin.patch(MACHINES, "vm-1", spec, cluster.namespace)
        await cluster.engine.admin.delete(VMIS, "vm-1", cluster.namespace)
        after = await another(cluster, vmi["metadata"]["uid"])
        assert next(one for one in after["status"]["conditions"] if one["type"] == "Paused")["reason"] == "PausedByUser"


async def test_nodes_beat_in_the_background_and_a_lost_one_falls_silent() -> None:
    async with engine_of("4.19") as cluster:
        beats = {node["metadata"]["name"]: node["metadata"]["annotations"].get("kubevirt.io/heartbeat")
                 for node in (await cluster.engine.admin.list(NODES)).items}
        cluster.engine.runtime.power_off("node02")
        await cluster.passes(140.0)
        now = {node["metadata"]["name"]: node["metadata"]["annotations"].get("kubevirt.io/heartbeat")
               for node in (await cluster.engine.admin.list(NODES)).items}
        still = {name for name, beat in beats.items() if beat is not None and now[name] == beat}
        assert still == {"node02"}


async def hanging(cluster: Migrating) -> str:
    """A migration of vm-1 that never ends, of a machine that nobody starts again."""
    annotations = {"engine.okd.virt/hang-migration": "true"}
    await cluster.engine.admin.patch(MACHINES, "vm-1", {"metadata": {"annotations": annotations}, "spec": {"runStrategy": "Manual"}}, cluster.namespace)
    name = await cluster.migrate("vm-1")
    await cluster.phase(name, "Running")
    return name


async def launchers_run(cluster: Migrating) -> list[str]:
    found = (await cluster.engine.admin.list(PODS, cluster.namespace, "vm.kubevirt.io/name=vm-1")).items
    return [pod["metadata"]["name"] for pod in found if pod["status"].get("phase") not in ("Succeeded", "Failed")]


@pytest.mark.parametrize("ends", ["crashes", "is shut down"])
async def test_the_target_of_a_guest_that_ends_while_it_moves_ends_too(ends: str) -> None:
    async with engine_of("4.19") as cluster:
        name = await hanging(cluster)
        pod = await pod_of(cluster, await cluster.instance("vm-1"))
        if ends == "crashes":
            cluster.engine.runtime.exited(pod["metadata"]["uid"], 1)
        else:
            await cluster.engine.admin.delete(PODS, pod["metadata"]["name"], cluster.namespace)
        await cluster.phase(name, "Failed")

        async def over() -> bool:
            return not await launchers_run(cluster)

        await cluster.until(over)
        assert (await cluster.instance("vm-1"))["status"]["phase"] in ("Succeeded", "Failed")


async def test_a_launcher_that_its_guest_left_just_before_the_engine_ended_ends_with_the_next(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(cluster="lab", release="4.19", speed="max", data_dir=tmp_path)
    engine = Engine(options)
    await engine.start()
    monkeypatch.setattr(engine.runtime, "exited", lambda _uid, _code=0: None)
    async with Migrating(engine, t.cast("t.Any", None)) as cluster:
        await cluster.phase(await cluster.migrate("vm-1"), "Succeeded")
        assert len(await launchers_run(cluster)) == 2
    await engine.stop()
    engine = Engine(options)
    await engine.start()
    try:
        async with Migrating(engine, t.cast("t.Any", None)) as cluster:

            async def one() -> bool:
                return len(await launchers_run(cluster)) == 1

            await cluster.until(one)
            vmi = await cluster.instance("vm-1")
            assert await launchers_run(cluster) == [vmi["status"]["migrationState"]["targetPod"]]
    finally:
        await engine.stop()


async def test_a_launcher_that_gets_no_guest_ends_by_itself() -> None:
    """As the target of a migration that was cancelled while nobody could delete the pod."""
    async with engine_of("4.19") as cluster:
        vmi = await cluster.instance("vm-1")
        home = await pod_of(cluster, vmi)
        kept = {field: home["metadata"][field] for field in ("labels", "annotations", "ownerReferences")}
        spec = {**home["spec"], "nodeName": next(f"node0{number}" for number in (1, 2) if home["spec"]["nodeName"] != f"node0{number}")}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "virt-launcher-vm-1-left", "namespace": cluster.namespace, **kept}, "spec": spec}
        await cluster.engine.admin.create(PODS, body, cluster.namespace)
        began = cluster.now

        async def over() -> bool:
            return bool((await cluster.engine.admin.get(PODS, "virt-launcher-vm-1-left", cluster.namespace))["status"]["phase"] == "Succeeded")

        await cluster.until(over)
        assert 240 <= cluster.now - began <= 365
        assert await launchers_run(cluster) == [home["metadata"]["name"]]
        assert (await cluster.instance("vm-1"))["status"]["phase"] == "Running"


async def test_an_instance_that_is_deleted_while_its_guest_shuts_down(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async with engine_of("4.19") as cluster:
        vmi = await cluster.instance("vm-1")
        pod = await pod_of(cluster, vmi)
        handler = next(one for one in cluster.engine.controllers if isinstance(one, VirtHandler))
        write = handler._write

        async def write_and_hear_of_the_deletion(made: Object) -> Object:
            written = await write(made)
            handler._instance("DELETED", written, None)
            return written

        monkeypatch.setattr(handler, "_write", write_and_hear_of_the_deletion)
        await cluster.engine.admin.delete(PODS, pod["metadata"]["name"], cluster.namespace)
        await another(cluster, vmi["metadata"]["uid"])
        cluster.engine.runtime.exited((await pod_of(cluster, await cluster.instance("vm-1")))["metadata"]["uid"], 1)
        await another(cluster, (await cluster.instance("vm-1"))["metadata"]["uid"])
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
