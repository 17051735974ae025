# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is predicted of a live migration beforehand against what becomes of it.

Virtual machines of all sizes and loads are made from a seed, each with a MigrationPolicy of its own, and migrate one after the other, so that no
link is shared by accident. The prediction is made by the library from what the API shows: the instance with its annotations, the policies, the
KubeVirt. It knows neither the pattern of a guest's writes nor whether a guest that is slowed down catches up, and both are drawn too. The
outcome is KubeVirt's, the time is the engine's from the creation of the migration to its last phase.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import random
import statistics
import typing as t

from ansible_collections.okd.virt.plugins.module_utils._migrations.guests import Said, guest_of
from ansible_collections.okd.virt.plugins.module_utils._migrations.limits import limits
from ansible_collections.okd.virt.plugins.module_utils._migrations.prediction import Prediction, of_guest
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import KUBEVIRTS, NAMESPACES, NODES, Ref

from ..engine.machines import machine
from .report import Report

NAME = "prediction"
MACHINES, QUICK_MACHINES = 200, 12
RIGHT, MEDIAN_ERROR = 0.95, 0.20
"""The share of predictions whether a migration converges that has to be right, and the error of its time in the median."""
_CLUSTERS = 4
_LONGEST = 120.0
"""Real seconds for one migration."""
_NAMESPACE = "soak"
_MIB, _GIB = 2**20, 2**30
_LINKS = (1250, 125, 3125, 12500)
"""Megabytes per second of every node's link: 10, 1, 25 and 100 Gbit/s."""
_PROGRESS = (150, 60, 300, 150)
_FASTEST = 650
"""MiB per second that one migration sends without a limit."""
_VMIMS = Ref("kubevirt.io", "v1", "virtualmachineinstancemigrations")
_VMIS = Ref("kubevirt.io", "v1", "virtualmachineinstances")
_VMS = Ref("kubevirt.io", "v1", "virtualmachines")
_POLICIES = Ref("migrations.kubevirt.io", "v1alpha1", "migrationpolicies")
_HYPERCONVERGEDS = Ref("hco.kubevirt.io", "v1beta1", "hyperconvergeds")
Object = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """One virtual machine: bytes, bytes per second, and the settings of its MigrationPolicy."""

    number: int
    memory: int
    non_zero: int
    working_set: int
    dirty_rate: int
    pattern: str
    writer: str
    limited: bool
    policy: Object

    @property
    def name(self) -> str:
        return f"vm{self.number:03}"

    def body(self) -> Object:
        resources: Object = {"requests": {"memory": str(self.memory)}} | ({"limits": {"cpu": "2"}} if self.limited else {})
        made = machine(self.name, memory=str(self.memory))
        made["spec"]["template"]["spec"]["domain"] |= {"resources": resources, "memory": {"guest": str(self.memory)}}
        load = {"non-zero": self.non_zero, "working-set": self.working_set, "dirty-rate": self.dirty_rate}
        annotations = {f"okd.virt/{key}": str(value) for key, value in load.items()}
        annotations |= {f"engine.okd.virt/{key.replace('non-zero', 'nonzero')}": str(value) for key, value in load.items()}
        annotations |= {"engine.okd.virt/pattern": self.pattern, "engine.okd.virt/writer": self.writer}
        made["spec"]["template"]["metadata"] |= {"annotations": annotations}
        return made

    def policy_body(self) -> Object:
        spec = {"selectors": {"virtualMachineInstanceSelector": {"kubevirt.io/vm": self.name}}, **self.policy}
        return {"apiVersion": _POLICIES.api_version, "kind": "MigrationPolicy", "metadata": {"name": self.name}, "spec": spec}

    def told(self) -> str:
        sizes = f"{self.memory / _GIB:g} GiB, {self.non_zero / _GIB:.2f} GiB in use, {self.dirty_rate / _MIB:.0f} MiB/s in {self.working_set / _MIB:.0f} MiB"
        return f"{self.name} ({sizes}, {self.pattern}, {self.writer}, {'CPU limit, ' if self.limited else ''}{self.policy})"


@dataclasses.dataclass(frozen=True)
class Met:
    """A case with what was predicted of it and what came; C(seconds) from the creation of its migration on."""

    case: Case
    predicted: Prediction
    outcome: str
    seconds: float
    reason: str = ""

    @property
    def error(self) -> float:
        return abs(self.predicted.seconds - self.seconds) / self.seconds

    def told(self) -> str:
        predicted = f"predicted {self.predicted.outcome} after {self.predicted.seconds:.1f} s"
        return f"{self.case.told()}: {predicted}, was {self.outcome} after {self.seconds:.1f} s {self.reason}".rstrip()


def drawn(number: int, seed: int) -> Case:
    """The case of that number. Sizes and rates are spread evenly over their orders of magnitude.

    Half of the guests write between a quarter and four times of what can be sent at most, where the answer is not plain.
    """
    chance = random.Random(f"{seed}/{number}")

    def spread(low: float, high: float) -> int:
        return int(math.exp(chance.uniform(math.log(low), math.log(high))))

    memory = chance.choice((1, 2, 4, 8, 16, 32, 64)) * _GIB
    non_zero = int(memory * chance.uniform(0.1, 1.0))
    working_set = min(non_zero, spread(16 * _MIB, memory / 2))
    policy: Object = {"completionTimeoutPerGiB": chance.choice((150, 150, 150, 20, 60, 300)), "allowAutoConverge": chance.random() < 0.35}
    bandwidth = spread(32, 1024) if chance.random() < 0.75 else 0
    if bandwidth:
        policy["bandwidthPerMigration"] = f"{bandwidth}Mi"
    fastest = min(bandwidth or _FASTEST, _FASTEST) * _MIB
    dirty_rate = spread(fastest / 4, fastest * 4) if chance.random() < 0.5 else spread(_MIB, 1500 * _MIB)
    if chance.random() < 0.25:
        policy["allowPostCopy"] = True
    elif chance.random() < 0.1:
        policy["allowWorkloadDisruption"] = True
    return Case(
        number, memory, non_zero, working_set, dirty_rate, chance.choice(("uniform", "sequential", "hot")),
        chance.choice(("open", "closed")), chance.random() < 0.1, policy,
    )


def run(machines: int, seed: int) -> Report:
    """Every machine once, on clusters whose links and progress time-outs differ."""
    cases = [drawn(number, seed) for number in range(machines)]
    met = [one for cluster in range(_CLUSTERS) for one in asyncio.run(_on_cluster(cluster, cases[cluster::_CLUSTERS]))]
    report = judged(met, seed)
    print(report.figures, flush=True)
    return report


def judged(met: t.Sequence[Met], seed: int) -> Report:
    """Whether each prediction is right in whether it converges, and all of them together in time."""
    report = Report(NAME, seed, enough=RIGHT)
    for one in met:
        report.add("converges or not", [] if one.predicted.converges == (one.outcome == "converges") else [one.told()])
    report.figures = figures(met)
    if report.figures["time_error_median"] > MEDIAN_ERROR:
        report.missed.append(f"the error of the time is {report.figures['time_error_median']:.1%} in the median, {MEDIAN_ERROR:.0%} is the target")
    return report


def figures(met: t.Sequence[Met]) -> dict[str, float]:
    """Shares. How many converged is what a prediction that says so of every guest would have right."""
    errors = sorted(one.error for one in met)
    over = sorted(one.error for one in met if one.outcome == "converges") or [0.0]
    others = [one for one in met if one.outcome != "converges"]
    found = {
        "right": _share(one.predicted.converges == (one.outcome == "converges") for one in met),
        "converged": _share(one.outcome == "converges" for one in met),
        "right_of_those_that_did_not": _share(not one.predicted.converges for one in others),
        "same_outcome": _share(one.predicted.outcome == one.outcome for one in met),
        "time_error_median": statistics.median(errors), "time_error_90th_percentile": _tenth(errors),
        "time_error_median_of_those_that_converged": statistics.median(over), "time_error_90th_percentile_of_those_that_converged": _tenth(over),
    }
    return {name: round(value, 4) for name, value in found.items()}


def _share(found: t.Iterable[bool]) -> float:
    values = list(found)
    return sum(values) / len(values) if values else 1.0


def _tenth(errors: t.Sequence[float]) -> float:
    return errors[min(len(errors) - 1, int(0.9 * len(errors)))]


async def _on_cluster(cluster: int, cases: t.Sequence[Case]) -> list[Met]:
    sizes = {
        "vms": 0, "nodes": 3, "node_memory_gib": 512, "namespaces": 1, "bindings": 0, "cluster_bindings": 0, "users": 1, "groups": 1,
        "rwo_percent": 0, "busy_percent": 0, "seed": cluster,
    }
    engine = Engine(Options(cluster="generated", release="4.19", speed="max", parameters=sizes))
    await engine.start()
    try:
        admin, link = engine.admin, _LINKS[cluster] * 10.0**6
        await admin.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}})
        for node in (await admin.list(NODES)).items:
            await admin.patch(NODES, node["metadata"]["name"], {"metadata": {"annotations": {"engine.okd.virt/link-mib-s": str(link / _MIB)}}})
        found = (await admin.list(_HYPERCONVERGEDS)).items[0]["metadata"]
        patch = {"spec": {"liveMigrationConfig": {"progressTimeout": _PROGRESS[cluster]}}}
        await admin.patch(_HYPERCONVERGEDS, found["name"], patch, found["namespace"])
        await _until(engine, KUBEVIRTS, "", lambda one: one["spec"]["configuration"]["migrations"].get("progressTimeout") == _PROGRESS[cluster])
        return [await _migrated(engine, case, link) for case in cases]
    finally:
        await engine.stop()


async def _migrated(engine: Engine, case: Case, link: float) -> Met:
    admin = engine.admin
    await admin.create(_POLICIES, case.policy_body())
    await admin.create(_VMS, case.body(), _NAMESPACE)
    vmi = await _until(engine, _VMIS, _NAMESPACE, lambda one: one["metadata"]["name"] == case.name and _is_ready(one))
    policies = (await admin.list(_POLICIES)).items
    kubevirt = (await admin.list(KUBEVIRTS)).items[0]
    predicted = of_guest(guest_of(vmi, Said(policies=policies)), limits(kubevirt), link)
    body = {
        "apiVersion": _VMIMS.api_version, "kind": "VirtualMachineInstanceMigration", "metadata": {"name": case.name, "namespace": _NAMESPACE},
        "spec": {"vmiName": case.name},
    }
    began = engine.clock.monotonic()
    await admin.create(_VMIMS, body, _NAMESPACE)
    done = await _until(engine, _VMIMS, _NAMESPACE, lambda one: one["metadata"]["name"] == case.name and _is_over(one))
    seconds = engine.clock.monotonic() - began
    state = (await admin.get(_VMIS, case.name, _NAMESPACE))["status"]["migrationState"]
    await admin.delete(_VMS, case.name, _NAMESPACE)
    await admin.delete(_POLICIES, case.name)
    await _gone(engine, case.name)
    return Met(case, predicted, _outcome(done, state), seconds, str(state.get("failureReason") or ""))


def _is_ready(vmi: Object) -> bool:
    conditions = {one["type"]: one["status"] for one in (vmi.get("status") or {}).get("conditions") or ()}
    return conditions.get("LiveMigratable") == "True" and conditions.get("Ready") == "True"


def _is_over(migration: Object) -> bool:
    return (migration.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _outcome(migration: Object, state: Object) -> str:
    if migration["status"]["phase"] == "Failed":
        return "given_up"
    return {"PostCopy": "post_copy", "Paused": "paused"}.get(str(state.get("mode")), "converges")


async def _until(engine: Engine, ref: Ref, namespace: str, holds: t.Callable[[Object], bool]) -> Object:
    """The first object for which it holds, as soon as it does."""
    async with asyncio.timeout(_LONGEST):
        listed = await engine.admin.list(ref, namespace)
        for obj in listed.items:
            if holds(obj):
                return obj
        async for event in engine.admin.watch(ref, namespace, listed.resource_version):
            if event.type != "BOOKMARK" and holds(event.object):
                return event.object
    raise AssertionError("the watch has ended")


async def _gone(engine: Engine, name: str) -> None:
    async with asyncio.timeout(_LONGEST):
        while any(one["metadata"]["name"] == name for one in (await engine.admin.list(_VMIS, _NAMESPACE)).items):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
