# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drain playbook, killed at every one of its API calls and started again, must empty the node without moving any VM twice.

Two nodes take turns: what one round has moved to the other node is what the next one drains, so that one engine serves many deaths.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.okd.virt.plugins.module_utils.drain.claims import CLAIM
from ansible_collections.okd.virt.plugins.plugin_utils.engine import process

from ..support.api import MERGE_PATCH, Api
from ..support.history import Event, History
from .playbook import Playbook
from .proxy import Call, CountingProxy, Death, Moment
from .report import Report

NAME = "drain_kill"
PLAYBOOK = "okd.virt.drain"
AT_ONCE = 2
"""Engines, each with its own rounds."""
VMS, REPLICAS = 5, 2
_COPY_SECONDS = 20
_SPEED = "60"
_SETTLED = 60.0
"""Real seconds after which the cluster must have come to rest between two rounds."""
_SIZES = ("namespaces=2", "bindings=2", "cluster_bindings=0", "users=2", "groups=1", "nodes=2", "rwo_percent=0", "busy_percent=0", f"vms={VMS}")
_NODES, _PODS = "/api/v1/nodes", "/api/v1/pods"
_DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
_VMIS = "/apis/kubevirt.io/v1/virtualmachineinstances"
_VMIMS = "/apis/kubevirt.io/v1/virtualmachineinstancemigrations"
_WATCHED = {"virtualmachineinstances": _VMIS, "virtualmachineinstancemigrations": _VMIMS}
_FINAL = ("Succeeded", "Failed")


@contextlib.contextmanager
def _engine(directory: Path) -> Iterator[process.RunningEngine]:
    options = process.EngineOptions(directory=directory, cluster="generated", sizes=_SIZES, speed=_SPEED, watch_pid=os.getpid())
    try:
        yield process.start(options)
    finally:
        process.stop(directory)


def _name(value: dict[str, Any]) -> str:
    return f"{value['metadata']['namespace']}/{value['metadata']['name']}"


def _phase(value: dict[str, Any]) -> str:
    return str((value.get("status") or {}).get("phase") or "")


@dataclass
class Round:
    """What a run must leave: the node that was drained, the one that has everything now, and the VMs with their instances' uids."""

    node: str
    other: str
    vms: dict[str, str]


class Cluster:
    """Two nodes of an engine, one with all VMs and other pods, and one that is empty."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig, self.api = kubeconfig, Api(kubeconfig)
        self.nodes = sorted({one["status"]["nodeName"] for one in self.api.items(_VMIS)})
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "quay.io/soak/web:1"}]}}
        spec = {"replicas": REPLICAS, "selector": {"matchLabels": {"app": "web"}}, "template": template}
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}, "spec": spec}
        self.api.expect(201, "POST", _DEPLOYMENTS, deployment)
        for vmi in self.api.items(_VMIS):
            metadata = vmi["metadata"]
            path = f"/apis/kubevirt.io/v1/namespaces/{metadata['namespace']}/virtualmachineinstances/{metadata['name']}"
            patch = {"metadata": {"annotations": {"engine.okd.virt/copy-seconds": str(_COPY_SECONDS)}}}
            self.api.expect(200, "PATCH", path, patch, content_type=MERGE_PATCH)

    def vms(self) -> dict[str, str]:
        """Instances' uids by namespace/name."""
        return {_name(one): one["metadata"]["uid"] for one in self.api.items(_VMIS)}

    def node(self, name: str) -> dict[str, Any]:
        return self.api.get(f"{_NODES}/{name}")

    def left(self, node: str) -> list[str]:
        """The pods of a node that a drain has to remove."""
        pods = self.api.items(f"{_PODS}?fieldSelector=spec.nodeName%3D{node}")
        return sorted(_name(pod) for pod in pods if all(owner["kind"] != "DaemonSet" for owner in pod["metadata"].get("ownerReferences", ())))

    async def begin(self, node: str) -> Round:
        """Open the other node, and wait until nothing of an earlier round is under way."""
        (other,) = [name for name in self.nodes if name != node]
        patch = {"spec": {"unschedulable": None}, "metadata": {"annotations": {CLAIM: None}}}
        for name in self.nodes:
            await asyncio.to_thread(self.api.expect, 200, "PATCH", f"{_NODES}/{name}", patch, content_type=MERGE_PATCH)
        deadline = asyncio.get_running_loop().time() + _SETTLED
        while not await asyncio.to_thread(self._is_settled):
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError("the cluster has not come to rest since the last round")
            await asyncio.sleep(0.05)
        return Round(node, other, await asyncio.to_thread(self.vms))

    def _is_settled(self) -> bool:
        moving = [one for one in self.api.items(_VMIMS) if _phase(one) not in _FINAL]
        pods = [pod for pod in self.api.items(f"{_PODS}?labelSelector=app%3Dweb") if not pod["metadata"].get("deletionTimestamp") and _phase(pod) == "Running"]
        return not moving and len(pods) == REPLICAS and all(_phase(one) == "Running" for one in self.api.items(_VMIS))

    def problems(self, expected: Round, events: Sequence[Event]) -> list[str]:
        """What does not hold after a round, as sentences."""
        node, vmis = self.node(expected.node), self.api.items(_VMIS)
        where = Counter(one["status"]["nodeName"] for one in vmis)
        found = [] if where == {expected.other: len(expected.vms)} else [f"the VMs are on {dict(where)} instead of all on {expected.other}"]
        found += [f"{name} was left on the node" for name in self.left(expected.node)]
        if not node["spec"].get("unschedulable"):
            found.append("the node takes new pods")
        if self.node(expected.other)["spec"].get("unschedulable"):
            found.append("the other node was cordoned")
        if CLAIM in node["metadata"].get("annotations", {}):
            found.append(f"a claim was left: {node['metadata']['annotations'][CLAIM]}")
        if self.vms() != expected.vms:
            found.append(f"the instances {expected.vms} became {self.vms()}")
        found += [f"migration {_name(one)} is unfinished: {_phase(one)}" for one in self.api.items(_VMIMS) if _phase(one) not in _FINAL]
        return found + stopped(events) + moved_again(events, expected.vms)


def stopped(events: Sequence[Event]) -> list[str]:
    """Each moment at which a VM was not running."""
    of_vms = [event for event in events if event.resource == "virtualmachineinstances"]
    return [f"VM {_name(one.value)} was {one.type} {_phase(one.value)}" for one in of_vms if one.type == "DELETED" or _phase(one.value) != "Running"]


def moved_again(events: Sequence[Event], vms: Sequence[str] | dict[str, str]) -> list[str]:
    """VMs that were not moved by one migration exactly."""
    last: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.resource == "virtualmachineinstancemigrations" and event.type != "DELETED":
            last[event.value["metadata"]["uid"]] = event.value
    made: dict[str, list[str]] = {vm: [] for vm in vms}
    for one in last.values():
        made.setdefault(f"{one['metadata']['namespace']}/{one['spec']['vmiName']}", []).append(_phase(one))
    return [f"VM {vm} had migrations {phases} instead of one that succeeded" for vm, phases in made.items() if phases != ["Succeeded"]]


def deaths(calls: Sequence[Call], quick: int = 0) -> list[Death]:
    """Every moment to die at, or `quick` of them evenly spread.

    Before each call, and after each that writes. Requests are sent from several threads, so that their order differs from run to run:
    those that write are counted by themselves.
    """
    found = [Death(number, Moment.BEFORE) for number in range(1, len(calls) + 1)]
    found += [Death(number, Moment.AFTER, writes=True) for number in range(1, sum(1 for call in calls if call.writes) + 1)]
    if quick and len(found) > quick:
        found = [found[(2 * index + 1) * len(found) // (2 * quick)] for index in range(quick)]
    return found


class Rounds:
    """The rounds of one engine, one after the other."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self._cluster, self._directory = cluster, directory
        self._full = ""

    async def prepare(self) -> list[Call]:
        """Bring everything to one node, then drain that undisturbed; the calls of it. Raises AssertionError when that fails."""
        first, second = self._cluster.nodes
        await self._cluster.begin(first)
        run = self._playbook(first, self._cluster.kubeconfig, "first")
        code = await run.run()
        if code != 0:
            raise AssertionError(f"The first drain failed: {code}: {run.last_words}")
        self._full = second
        problems, calls, _at = await self.one(None)
        if problems:
            raise AssertionError(f"The undisturbed drain failed: {problems}")
        return calls

    def _playbook(self, node: str, kubeconfig: Path, name: str) -> Playbook:
        return Playbook(PLAYBOOK, kubeconfig, self._directory / name, {"node": node})

    async def one(self, death: Death | None) -> tuple[list[str], list[Call], Call | None]:
        """A drain that is killed and started again, or just runs; what does not hold then, its calls, and at which it was killed."""
        cluster = self._cluster
        expected = await cluster.begin(self._full)
        with History(cluster.api, _WATCHED) as history:
            doomed: Playbook | None = None
            async with CountingProxy(cluster.kubeconfig, death, lambda: doomed.kill() if doomed else None) as proxy:
                doomed = self._playbook(expected.node, proxy.write_kubeconfig(self._directory / "kubeconfig"), "killed")
                code = await doomed.run()
            problems = []
            if not proxy.killed and code != 0:
                problems.append(f"exit code {code} before it could be killed: {doomed.last_words}")
            if death is not None:
                again = self._playbook(expected.node, cluster.kubeconfig, "again")
                code = await again.run()
                problems += [] if code == 0 else [f"exit code {code}: {again.last_words}"]
            events = await asyncio.to_thread(history.finish)
        problems += await asyncio.to_thread(cluster.problems, expected, events)
        where = Counter(one["status"]["nodeName"] for one in await asyncio.to_thread(cluster.api.items, _VMIS))
        self._full = where.most_common(1)[0][0]
        return problems, proxy.calls, proxy.killed_at


class Attempt:
    """One run of the soak, of whatever size."""

    def __init__(self, seed: int, quick: int) -> None:
        self._quick, self._random = quick, random.Random(seed)
        self.report = Report(NAME, seed)
        self._cases: list[Death] = []
        self._number = 0

    async def run(self, directory: Path) -> None:
        """Each engine takes the next death until none is left."""
        lanes = 1 if self._quick else AT_ONCE
        ready = [asyncio.Event() for _lane in range(lanes)]
        async with asyncio.TaskGroup() as group:
            for lane in range(lanes):
                group.create_task(self._lane(directory / str(lane), ready, lane))

    async def _lane(self, directory: Path, ready: list[asyncio.Event], lane: int) -> None:
        with _engine(directory / "engine") as engine:
            rounds = Rounds(Cluster(engine.kubeconfig), directory)
            calls = await rounds.prepare()
            if lane == 0:
                self._cases = deaths(calls, self._quick)
                self._number = len(self._cases)
                kinds = Counter("writes" if call.writes else "reads" for call in calls)
                print(f"{NAME}: {len(calls)} calls ({dict(kinds)}), {self._number} deaths", flush=True)
                # In any order, so that a failure that needs a neighbour shows; the seed gives the same order again.
                self._random.shuffle(self._cases)
                for each in ready:
                    each.set()
            await ready[lane].wait()
            while self._cases:
                await self._one(rounds, self._cases.pop())

    async def _one(self, rounds: Rounds, death: Death) -> None:
        problems, _calls, call = await rounds.one(death)
        which = "write" if death.writes else "call"
        case = f"{which} {death.call} ({f'{call.method} {call.path}' if call else 'not reached'}), {death.moment.value}"
        self.report.add(case, problems)
        for problem in problems:
            print(f"FAILED {case}: {problem}", flush=True)
        if self.report.tried % 20 == 0:
            print(f"{NAME}: {self.report.tried} of {self._number} tried, {self.report.held} held", flush=True)


def run(seed: int, quick: int = 0) -> Report:
    """Try every death, or `quick` of them."""
    directory = Path(tempfile.mkdtemp(prefix="okd-virt-drain-kill-"))
    attempt = Attempt(seed, quick)
    try:
        asyncio.run(attempt.run(directory))
    finally:
        if attempt.report.passed:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f"{NAME}: what the last runs left is in {directory}", flush=True)
    return attempt.report
