# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of virt-handler, played by a script: what it reports of each migration, after times of the script's choosing.

For tests of virt-controller, which is watched from both sides: everything else is the engine's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import typing as t

from ansible_collections.okd.virt.plugins.plugin_utils.engine.controller import EventRecorder
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import StatusError
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import NODES, PODS, Object, Ref

VMIS = Ref("kubevirt.io", "v1", "virtualmachineinstances")
VMIMS = Ref("kubevirt.io", "v1", "virtualmachineinstancemigrations")
ABORTED = "Live migration has been aborted"
PORTS = {"34761": 0, "39517": 49152, "40341": 49153}


@dataclasses.dataclass
class Script:
    """Engine seconds of each step, and how the copy of an instance's memory fails, if it does."""

    prepare: float = 0.3
    start: float = 0.95
    copy: float = 5.2
    hand_over: float = 0.3
    failure: str = ""
    stuck: bool = False
    """A target whose copy failed does not end."""
    touches: bool = False
    """Write to the source node a second after a failure, as anything may: it wakes the evacuation controller."""


class NodeAgent:
    """Plays every node. `scripts` by the instance's name; others follow `default`."""

    def __init__(self, engine: Engine, default: Script | None = None) -> None:
        self._engine, self._clock = engine, engine.clock
        self._cluster = engine.admin.as_service_account(engine.sample.namespace, "kubevirt-handler")
        self._events = EventRecorder(self._cluster, self._clock, "virt-handler")
        self.default = default or Script()
        self.scripts: dict[str, Script] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None
        engine.runtime.on_terminate(("kubevirt.io", "virt-launcher"), self._terminated)

    def _terminated(self, pod: Object) -> None:
        """A guest shuts down; a pod that only waits for one ends a little sooner."""
        waits = "kubevirt.io/migrationJobUID" in pod["metadata"]["labels"]
        uid = pod["metadata"]["uid"]
        self._tasks[uid] = asyncio.create_task(self._shut_down(uid, 1.0 if waits else 1.5))

    async def _shut_down(self, uid: str, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._engine.runtime.exited(uid)

    async def __aenter__(self) -> NodeAgent:
        self._watch = asyncio.create_task(self._follow())
        self._tasks["heartbeats"] = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_exception: object) -> None:
        for task in (self._watch, *self._tasks.values()):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _beat(self) -> None:
        nodes = [node["metadata"] for node in (await self._engine.admin.list(NODES)).items]
        workers = [node["name"] for node in nodes if "kubevirt.io/schedulable" in node["labels"]]
        while True:
            await self._clock.sleep(60, background=True)
            for name in workers:
                annotations = {"kubevirt.io/heartbeat": self._clock.timestamp()}
                await self._cluster.patch(NODES, name, {"metadata": {"annotations": annotations}})

    async def _follow(self) -> None:
        listed = await self._engine.admin.list(VMIMS)
        async for event in self._engine.admin.watch(VMIMS, resource_version=listed.resource_version):
            uid = event.object["metadata"]["uid"]
            handed_off = (event.object.get("status") or {}).get("phase") == "PreparingTarget"
            if handed_off and uid not in self._tasks:
                self._tasks[uid] = asyncio.create_task(self._play(event.object))

    async def _play(self, migration: Object) -> None:
        namespace, name = migration["metadata"]["namespace"], migration["spec"]["vmiName"]
        script = self.scripts.get(name, self.default)
        uid = migration["metadata"]["uid"]
        await self._clock.sleep(script.prepare)
        vmi = await self._report(namespace, name, uid, targetNodeAddress="192.0.2.1", targetDirectMigrationNodePorts=PORTS)
        if vmi is None:
            return
        await self._events.event(vmi, "Normal", "PreparingTarget", f"Migration Target is listening at 192.0.2.1, on ports: {','.join(PORTS)}")
        await self._clock.sleep(script.start)
        vmi = await self._report(namespace, name, uid, startTimestamp=self._clock.timestamp(), mode="PreCopy")
        if vmi is None:
            return
        await self._events.event(vmi, "Normal", "Migrating", "VirtualMachineInstance is migrating.")
        aborted = await self._copied(namespace, name, script.copy)
        if aborted or script.failure:
            await self._failed(namespace, name, uid, script.failure or ABORTED, aborted=aborted)
        else:
            await self._succeeded(namespace, name, uid, script)

    async def _copied(self, namespace: str, name: str, seconds: float) -> bool:
        """Let the copy take its time; whether it was to be aborted."""
        left = seconds
        while left > 0:
            await self._clock.sleep(min(left, 0.1))
            left -= 0.1
            try:
                vmi = await self._engine.admin.get(VMIS, name, namespace)
            except StatusError:
                return False
            if vmi["status"]["migrationState"].get("abortRequested"):
                return True
        return False

    async def _failed(self, namespace: str, name: str, uid: str, reason: str, *, aborted: bool) -> None:
        ended: dict[str, t.Any] = {"abortStatus": "Succeeded"} if aborted else {}
        vmi = await self._report(
            namespace, name, uid, completed=True, failed=True, failureReason=reason, endTimestamp=self._clock.timestamp(), **ended
        )
        if vmi is None:
            return
        text = f"VirtualMachineInstance migration uid {uid} failed. reason:{reason}"
        await self._events.event(vmi, "Warning", "Migrated", text)
        if self.scripts.get(name, self.default).stuck:
            return
        await self._clock.sleep(0.3)
        await self._exit(vmi["status"]["migrationState"]["targetPod"], namespace)
        if self.scripts.get(name, self.default).touches:
            await self._clock.sleep(0.7)
            touched = {"metadata": {"annotations": {"example.com/touched": self._clock.timestamp()}}}
            await self._engine.admin.patch(NODES, vmi["status"]["nodeName"], touched)

    async def _succeeded(self, namespace: str, name: str, uid: str, script: Script) -> None:
        now = self._clock.timestamp()
        await self._report(namespace, name, uid, targetNodeDomainDetected=True, targetNodeDomainReadyTimestamp=now)
        await self._clock.sleep(script.hand_over)
        vmi = await self._report(namespace, name, uid, moved=True, completed=True, endTimestamp=self._clock.timestamp())
        if vmi is None:
            return
        await self._events.event(vmi, "Normal", "Migrated", f"The VirtualMachineInstance migrated to node {vmi['status']['nodeName']}.")
        await self._clock.sleep(0.3)
        await self._exit(vmi["status"]["migrationState"]["sourcePod"], namespace)

    async def _report(self, namespace: str, name: str, uid: str, *, moved: bool = False, **fields: t.Any) -> Object | None:
        """Write the fields into the migrationState; None when there is nothing left to report to."""
        while True:
            try:
                # virt-handler knows instances by its watch: it may not get them one by one.
                vmi = await self._engine.admin.get(VMIS, name, namespace)
                state = vmi["status"].get("migrationState") or {}
                if state.get("migrationUid") != uid:
                    return None
                status = {**vmi["status"], "migrationState": {**state, **fields}}
                metadata = vmi["metadata"]
                if moved:
                    status |= {"nodeName": state["targetNode"], "launcherContainerImageVersion": ""}
                    status.pop("evacuationNodeName", None)
                    metadata = {**metadata, "labels": {**metadata["labels"], "kubevirt.io/nodeName": state["targetNode"]}}
                return await self._cluster.update(VMIS, {**vmi, "metadata": metadata, "status": status})
            except StatusError as error:
                if error.code == 404:
                    return None
                if error.code != 409:
                    raise

    async def _exit(self, pod: str, namespace: str) -> None:
        with contextlib.suppress(StatusError):
            found = await self._engine.admin.get(PODS, pod, namespace)
            self._engine.runtime.exited(found["metadata"]["uid"])
