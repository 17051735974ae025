"""What a write costs one of the engine's own controllers, which goes through the whole chain but the wire."""

from __future__ import annotations

import asyncio
import time

from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import Ref

VMIS = Ref("kubevirt.io", "v1", "virtualmachineinstances")
WRITES, ROUNDS = 500, 5


async def _measure() -> float:
    # Not started: no controller answers to what is written.
    engine = Engine(Options(cluster="generated", speed="max", parameters={"vms": 50, "bindings": 10, "namespaces": 5}))
    await engine.load()
    own = engine.admin.as_service_account(engine.sample.namespace, "kubevirt-controller")
    first = (await own.list(VMIS)).items[0]["metadata"]
    rounds = []
    for number in range(ROUNDS):
        began = time.process_time()
        for write in range(WRITES):
            vmi = await own.get(VMIS, first["name"], first["namespace"])
            await own.update(VMIS, {**vmi, "status": {**vmi["status"], "evacuationNodeName": f"node-{number}-{write}"}})
        rounds.append((time.process_time() - began) / WRITES)
    await engine.stop()
    return min(rounds) * 1e6


def microseconds_per_write() -> float:
    """Microseconds of processor time, the best round."""
    return asyncio.run(_measure())
