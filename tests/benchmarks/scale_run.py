"""One large cluster in a process of its own: loaded, listed, drained node after node at jumping time.

Usage: python -m tests.benchmarks.scale_run VMS NODES DRAINED
Prints one JSON object: what it took.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

import uvloop

from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options, spare_collection
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import StatusError
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import NODES, PODS, Ref

HYPERCONVERGEDS = Ref("hco.kubevirt.io", "v1beta1", "hyperconvergeds")
KUBEVIRTS = Ref("kubevirt.io", "v1", "kubevirts")
VMIS = Ref("kubevirt.io", "v1", "virtualmachineinstances")
MIGRATIONS = Ref("kubevirt.io", "v1", "virtualmachineinstancemigrations")
IN_PARALLEL, PER_NODE = 200, 5
"""Migrations at once in the cluster and out of a node; as many nodes are drained at once as that keeps busy."""
STILL_TO_COME = {"key": "tests.okd.virt/still-to-come", "effect": "PreferNoSchedule"}
LOOK, OFTEN = 5.0, 12
"""Engine seconds between two looks at a node, and looks after which it is asked whether a migration has failed."""


class RollingDrain:
    """Cordons nodes, migrates as many of their VMs as there are slots, and gives them back; nodes still to come are made unattractive."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._admin = engine, engine.admin
        self.moved = 0

    async def prepare(self) -> None:
        """Limits for a large cluster."""
        limits = {"parallelMigrationsPerCluster": IN_PARALLEL, "parallelOutboundMigrationsPerNode": PER_NODE}
        for ref, patch in (
            (HYPERCONVERGEDS, {"spec": {"liveMigrationConfig": limits}}), (KUBEVIRTS, {"spec": {"configuration": {"migrations": limits}}}),
        ):
            for one in (await self._admin.list(ref)).items:
                await self._admin.patch(ref, one["metadata"]["name"], patch, one["metadata"]["namespace"])

    async def run(self, names: Sequence[str]) -> None:
        for name in names:
            await self._admin.patch(NODES, name, {"spec": {"taints": [STILL_TO_COME]}})
        at_once = IN_PARALLEL // PER_NODE
        for start in range(0, len(names), at_once):
            # A wave at a time: nodes given back one by one would draw every VM of the others to themselves.
            wave = names[start:start + at_once]
            for name in wave:
                await self._admin.patch(NODES, name, {"spec": {"unschedulable": True, "taints": None}})
            await asyncio.gather(*(self._drain(name) for name in wave))
            for name in wave:
                await self._admin.patch(NODES, name, {"spec": {"unschedulable": None}})
            said = f"{start + len(wave)} nodes, {self.moved} moves, {time.process_time():.0f} s of processor, {_resident():.0f} MiB"
            print(said, file=sys.stderr, flush=True)

    async def _drain(self, node: str) -> None:
        moving: dict[str, tuple[str, str]] = {}
        looks = 0
        while True:
            looks += 1
            found = await self._admin.list(PODS, field_selector=f"spec.nodeName={node}", label_selector="kubevirt.io=virt-launcher")
            if not found.items:
                break
            for pod in found.items:
                uid, namespace = pod["metadata"]["uid"], pod["metadata"]["namespace"]
                if pod["status"]["phase"] == "Succeeded":
                    moving.pop(uid, None)
                    await self._remove(pod["metadata"])
                elif uid in moving:
                    # Few fail, so that it is enough to ask now and then.
                    if not looks % OFTEN and await self._has_failed(*moving[uid]):
                        del moving[uid]
                elif len(moving) < PER_NODE:
                    name = await self._migrate(namespace, pod["metadata"]["annotations"]["kubevirt.io/domain"])
                    if name:
                        moving[uid] = namespace, name
            await self._engine.clock.sleep(LOOK)

    async def _migrate(self, namespace: str, name: str) -> str:
        body = {
            "apiVersion": MIGRATIONS.api_version, "kind": "VirtualMachineInstanceMigration", "metadata": {"generateName": "scale-", "namespace": namespace},
            "spec": {"vmiName": name},
        }
        try:
            made = await self._admin.create(MIGRATIONS, body, namespace)
        except StatusError as error:
            # virt-api answers a few requests a second, and those that wait too long with 500: the next look asks again.
            if error.code != 500:
                raise
            return ""
        return str(made["metadata"]["name"])

    async def _has_failed(self, namespace: str, name: str) -> bool:
        return bool(((await self._admin.get(MIGRATIONS, name, namespace)).get("status") or {}).get("phase") == "Failed")

    async def _remove(self, metadata: dict[str, Any]) -> None:
        """What a VM has left behind: it has ended, so that nobody need be asked."""
        try:
            await self._admin.delete(PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
            self.moved += 1
        except StatusError as error:
            if error.code not in (404, 409):
                raise


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(vms: int, nodes: int, drained: int) -> dict[str, float]:
    """Seconds, MiB and milliseconds."""
    sizes = {"vms": vms, "nodes": nodes, "namespaces": 200, "bindings": 0, "rwo_percent": 0, "busy_percent": 0, "node_memory_gib": 192}
    engine = Engine(Options(cluster="generated", speed="max", parameters=sizes))
    began = time.perf_counter()
    await engine.start()
    spare_collection()
    found = {"load_seconds": time.perf_counter() - began, "loaded_mib": _resident()}
    drain = RollingDrain(engine)
    await drain.prepare()
    await asyncio.sleep(1.0)
    before = {one["metadata"]["uid"] for one in (await engine.admin.list(VMIS)).items}
    wall, processor, moment = time.perf_counter(), time.process_time(), engine.clock.monotonic()
    names = [node["metadata"]["name"] for node in (await engine.admin.list(NODES)).items if node["metadata"]["name"].startswith("node")]
    await drain.run(names[:drained])
    found |= {
        "wall_seconds": time.perf_counter() - wall, "engine_seconds": engine.clock.monotonic() - moment, "moved": drain.moved,
        "processor_ms_per_vm": (time.process_time() - processor) * 1000 / max(1, drain.moved), "drained_mib": _resident(),
    }
    vmis = (await engine.admin.list(VMIS)).items
    assert {one["metadata"]["uid"] for one in vmis} == before, "a VM was stopped"
    assert all(one["status"]["phase"] == "Running" for one in vmis)
    await engine.stop()
    return found


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(measure(*map(int, sys.argv[1:4])))), flush=True)
