# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""At no instant do more migrations run than the limits allow, and while work waits the slots are used.

Hundreds of virtual machines migrate at once, asked for by users or driven from tainted nodes, while the limits are changed. What the
watches showed is then replayed event by event. A slot that comes free is found by whoever waits at its next look, 5 s later at most:
that is how virt-controller works, and the bound that is checked. Time is the engine's without what this machine needs to compute.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import time

from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import StatusError
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import KUBEVIRTS, NODES, PODS, Ref

from .limits_history import Limits, Object, Replay, Seen
from .report import Report

NAME = "limits"
MACHINES, QUICK_MACHINES = 300, 24
LONGEST_IDLE = 5.0
"""Engine seconds that a slot may stand empty while a migration waits that could have it."""
_SLACK = 0.5
_CHANGES = ((0.0, Limits(5, 2)), (0.25, Limits(10, 3)), (0.5, Limits(3, 1)), (0.75, Limits(6, 2)))
"""From which part of all migrations on which limits hold."""
_LONGEST = 600.0
"""Real seconds for one run."""
_VMIMS = Ref("kubevirt.io", "v1", "virtualmachineinstancemigrations")
_VMIS = Ref("kubevirt.io", "v1", "virtualmachineinstances")
_HYPERCONVERGEDS = Ref("hco.kubevirt.io", "v1beta1", "hyperconvergeds")
_WATCHED = ((_VMIMS, ""), (_VMIS, ""), (PODS, "kubevirt.io=virt-launcher"), (KUBEVIRTS, ""))


@dataclasses.dataclass(frozen=True)
class Case:
    """One run: which release, and whether nodes are tainted or users migrate."""

    release: str
    evacuated: bool

    @property
    def name(self) -> str:
        return f"{self.release} {'evacuated' if self.evacuated else 'by users'}"


CASES = tuple(Case(release, evacuated) for release in ("4.18", "4.19") for evacuated in (False, True))


class Watched:
    """Everything that the watches of an engine show."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.seen: list[Seen] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Watched:
        for ref, selector in _WATCHED:
            listed = await self._engine.admin.list(ref, "", selector)
            for obj in listed.items:
                self._note(ref, "LISTED", obj)
            self._tasks.append(asyncio.create_task(self._follow(ref, selector, listed.resource_version)))
        return self

    async def __aexit__(self, *_exception: object) -> None:
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _follow(self, ref: Ref, selector: str, version: str) -> None:
        async for event in self._engine.admin.watch(ref, "", version, selector):
            if event.type != "BOOKMARK":
                self._note(ref, event.type, event.object)

    def _note(self, ref: Ref, kind: str, obj: Object) -> None:
        version = int(obj["metadata"]["resourceVersion"])
        self.seen.append(Seen(version, self._engine.clock.monotonic(), time.monotonic(), ref.plural, kind, obj))

    def replayed(self) -> Replay:
        replay = Replay()
        listed = sorted((one for one in self.seen if one.kind == "LISTED"), key=lambda one: one.plural == _VMIMS.plural)
        for one in (*listed, *sorted((one for one in self.seen if one.kind != "LISTED"), key=lambda one: one.version)):
            replay.feed(one)
        return replay


def run(machines: int, seed: int) -> Report:
    """Every case once; a case is tried as often as it has something to hold."""
    report = Report(NAME, seed)
    for case in CASES:
        problems, measured = asyncio.run(_case(case, machines, seed))
        for what, wrong in problems.items():
            report.add(f"{case.name}, {what}", wrong)
        print(f"{case.name}: {measured}", flush=True)
    return report


async def _case(case: Case, machines: int, seed: int) -> tuple[dict[str, list[str]], str]:
    sizes = {
        "vms": machines, "nodes": max(6, machines // 8), "namespaces": 5, "bindings": 0, "cluster_bindings": 0, "users": 1, "groups": 1,
        "rwo_percent": 0, "busy_percent": 0, "seed": seed,
    }
    engine = Engine(Options(cluster="generated", release=case.release, speed="max", parameters=sizes))
    await engine.start()
    try:
        async with Watched(engine) as watched:
            moved = await _moved(engine, watched, case, seed)
            await asyncio.sleep(0.05)
        return _judged(watched.replayed(), moved, case)
    finally:
        await engine.stop()


def _judged(replay: Replay, expected: int, case: Case) -> tuple[dict[str, list[str]], str]:
    idle = f"a slot stood empty for {replay.longest_idle:.2f} s" if replay.longest_idle > LONGEST_IDLE + _SLACK else ""
    lacking = f"{replay.succeeded} of {expected} migrations succeeded, {replay.failed} failed" if replay.succeeded < expected else ""
    contended = max(limits.cluster for _since, limits in _CHANGES)
    unused = "" if replay.most_active >= min(contended, expected) - 1 else f"only {replay.most_active} migrations were ever active at once"
    widest = Limits(contended, max(limits.node for _since, limits in _CHANGES))
    over = [f"{replay.most_active} were active at once"] if replay.most_active > widest.cluster else []
    over += [f"{replay.most_outbound} left one node at once"] if replay.most_outbound > widest.node else []
    problems = {
        "limits": [*replay.problems, *over], "slots": [text for text in (idle,) if text], "all moved": [text for text in (lacking,) if text],
        "contended": [text for text in (unused,) if text and not case.evacuated],
    }
    use = replay.used / replay.usable if replay.usable else 1.0
    measured = (
        f"{replay.succeeded} migrations, at most {replay.most_active} at once and {replay.most_outbound} out of a node; while work waited "
        f"{use:.0%} of the slots were used, the longest that one stood empty was {replay.longest_idle:.2f} s"
    )
    return problems, measured


async def _moved(engine: Engine, watched: Watched, case: Case, seed: int) -> int:
    """Have the machines migrate, change the limits on the way; how many had to."""
    vmis = (await engine.admin.list(_VMIS)).items
    random.Random(seed).shuffle(vmis)
    work: list[asyncio.Task[None]] = []
    if case.evacuated:
        nodes = sorted({vmi["status"]["nodeName"] for vmi in vmis})
        leaving = set(nodes[: len(nodes) // 2])
        for node in sorted(leaving):
            await engine.admin.patch(NODES, node, {"spec": {"taints": [{"key": "kubevirt.io/drain", "effect": "NoSchedule"}]}})
        expected = sum(vmi["status"]["nodeName"] in leaving for vmi in vmis)
    else:
        expected = len(vmis)
        work.append(asyncio.create_task(_asked(engine, vmis)))
    try:
        async with asyncio.timeout(_LONGEST):
            for part, limits in _CHANGES:
                await _until(watched, int(part * expected))
                await _set(engine, limits)
            await _until(watched, expected)
    except TimeoutError:
        pass
    finally:
        for task in work:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    return expected


async def _asked(engine: Engine, vmis: list[Object]) -> None:
    for vmi in vmis:
        metadata = {"generateName": "soak-", "namespace": vmi["metadata"]["namespace"]}
        body = {
            "apiVersion": _VMIMS.api_version, "kind": "VirtualMachineInstanceMigration", "metadata": metadata,
            "spec": {"vmiName": vmi["metadata"]["name"]},
        }
        while True:
            try:
                await engine.admin.create(_VMIMS, body, metadata["namespace"])
                break
            except StatusError as error:
                if error.code != 500:
                    raise
                await engine.clock.sleep(1)


async def _until(watched: Watched, number: int) -> None:
    """Wait until so many migrations have ended."""
    done: set[str] = set()
    position = 0
    while True:
        for one in watched.seen[position:]:
            if one.plural == _VMIMS.plural and (one.obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                done.add(one.obj["metadata"]["uid"])
        position = len(watched.seen)
        if len(done) >= number:
            return
        await asyncio.sleep(0.005)


async def _set(engine: Engine, limits: Limits) -> None:
    found = (await engine.admin.list(_HYPERCONVERGEDS)).items[0]["metadata"]
    wanted = {"parallelMigrationsPerCluster": limits.cluster, "parallelOutboundMigrationsPerNode": limits.node}
    patch = {"spec": {"liveMigrationConfig": wanted}}
    await engine.admin.patch(_HYPERCONVERGEDS, found["name"], patch, found["namespace"])
