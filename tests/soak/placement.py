# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the placement says of a drain is what happens: where it says that everything fits, a real drain succeeds; where it says that it does not, it does not.

Each round is a small cluster of its own, drawn from its seed: how full it is, its CPU generations, pools, taints, huge pages, devices and VMs that keep apart.
One node is drained, or all in turn. Rounds of which the verdict is that room is tight hold whatever becomes of them, and are counted.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import math
import multiprocessing
import os
import random
import tempfile
import time
import typing as t
from concurrent import futures
from pathlib import Path

from ansible_collections.okd.virt.plugins.module_utils._errors import VirtError
from ansible_collections.okd.virt.plugins.module_utils._placement.verdict import DOES_NOT_FIT, FITS, TIGHT
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options

from ..services.verbs import Verbs
from .report import Report

NAME = "placement"
CLUSTERS, QUICK_CLUSTERS = 200, 3
_ROLLING = 3
"""Every third round drains all nodes in turn."""
_MEAN_VM = 6.1
"""GiB that a generated machine's pod asks for on average."""
LONGEST: t.Mapping[str, int] = {FITS: 300, TIGHT: 30, DOES_NOT_FIT: 60}
QUICK_LONGEST: t.Mapping[str, int] = {FITS: 300, TIGHT: 15, DOES_NOT_FIT: 15}
"""Real seconds for a drain, by what is expected of it; one that fits takes a few, and all nodes in turn a minute at most."""
_AT_ONCE = 2 * (os.cpu_count() or 1)
"""Clusters: a drain that does not come to its end is mostly waited for."""
_PERCENTS = ("older", "named_cpu", "hugepages", "pool", "dedicated", "apart", "device", "filled")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The verdict and what came of it."""

    verdict: str
    succeeded: bool
    message: str

    @property
    def problems(self) -> list[str]:
        """What the verdict promised and did not keep."""
        if self.verdict == FITS and not self.succeeded:
            return [f"it fits, and the drain failed: {self.message}"]
        if self.verdict == DOES_NOT_FIT and self.succeeded:
            return ["it does not fit, and the drain succeeded"]
        return [] if self.verdict in (FITS, TIGHT, DOES_NOT_FIT) else [f"there is no verdict but {self.verdict!r}"]


class Round:
    """One cluster and its drain."""

    def __init__(self, seed: int, folder: Path, longest: t.Mapping[str, int] = LONGEST) -> None:
        self.seed, self._folder, self._longest = seed, folder, longest
        self._draw = random.Random(seed)
        self.rolling = seed % _ROLLING == 0
        self.sizes = self._sizes()

    def _sizes(self) -> dict[str, int]:
        draw = self._draw
        nodes = draw.randint(3, 8)
        vms = draw.randint(12, 40)
        memory = max(26, math.ceil(vms * _MEAN_VM / nodes / draw.uniform(0.35, 0.9))) + 4
        chosen = {f"{name}_percent": draw.choice((0, 0, draw.randint(5, 40))) for name in _PERCENTS}
        return {
            "vms": vms, "nodes": nodes, "node_memory_gib": memory, "namespaces": 3, "bindings": 0, "cluster_bindings": 0, "users": 1, "groups": 1,
            "rwo_percent": 0, "busy_percent": 0, "seed": self.seed, **chosen, "filled_percent": max(1, chosen["filled_percent"]),
        }

    async def run(self) -> Outcome:
        """Raises AssertionError for a plan that contradicts itself."""
        engine = await self._started()
        try:
            return await asyncio.to_thread(self._drained, Verbs(self._folder / "kubeconfig"))
        finally:
            await engine.stop()

    async def _started(self) -> Engine:
        """With as much memory as the VMs need at least."""
        while True:
            engine = Engine(Options(
                cluster="generated", release=self._draw.choice(("4.18", "4.19")), speed="max", parameters=self.sizes, kubeconfig=self._folder / "kubeconfig",
            ))
            try:
                await engine.start()
            except ValueError:
                self.sizes["node_memory_gib"] += 6
            else:
                return engine

    def _drained(self, verbs: Verbs) -> Outcome:
        names = [f"node{number:04}" for number in range(1, self.sizes["nodes"] + 1)]
        options: dict[str, t.Any] = {"delete_emptydir_data": True, "evict_uncontrolled": True, "migration_attempts": 1}
        if self.rolling:
            verb = "rolling_drain"
            options |= {"names": names, "max_parallel": self._draw.choice((1, 1, 2))}
        else:
            verb = "node_drain"
            options |= {"names": [self._draw.choice(names)], "require_room": False}
        planned = verbs(verb, check=True, **options)
        verdict = str(planned.result.get("placement"))
        try:
            verbs(verb, **options, deadline=self._longest.get(verdict, 30))
        except VirtError as error:
            return Outcome(verdict, False, error.message)
        return Outcome(verdict, True, "")


@dataclasses.dataclass(frozen=True)
class Played:
    """A round that is over: what was drawn for it, what came of it, and the real seconds that it took."""

    seed: int
    sizes: t.Mapping[str, int]
    what: str
    outcome: Outcome
    seconds: float

    @property
    def became(self) -> str:
        return "succeeded" if self.outcome.succeeded else "failed"

    def line(self) -> str:
        failures = "".join(f"; FAILED: {text}" for text in self.outcome.problems)
        return (
            f"seed {self.seed}: {self.sizes['vms']} VMs on {self.sizes['nodes']} nodes of {self.sizes['node_memory_gib']} GiB, {self.what}: "
            f"{self.outcome.verdict}, {self.became} in {self.seconds:.0f} s{failures}"
        )


def play(seed: int, longest: t.Mapping[str, int] = LONGEST) -> Played:
    """One round from its beginning to its end, in this process."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="okd-virt-placement-") as folder:
        one = Round(seed, Path(folder), longest)
        outcome = asyncio.run(one.run())
    return Played(seed, one.sizes, "all nodes in turn" if one.rolling else "one node", outcome, time.monotonic() - began)


def run(clusters: int, seed: int, quick: bool = False) -> Report:
    """So many clusters, with this seed and those that follow it, several at once but for a sample."""
    report = Report(NAME, seed)
    counted: collections.Counter[str] = collections.Counter()
    seeds = range(seed, seed + clusters)
    with contextlib.ExitStack() as stack:
        if quick:
            played: t.Iterable[Played] = (play(one, QUICK_LONGEST) for one in seeds)
        else:
            played = stack.enter_context(futures.ProcessPoolExecutor(_AT_ONCE, mp_context=multiprocessing.get_context("spawn"))).map(play, seeds)
        for one in played:
            report.add(f"seed {one.seed} (again: python -m tests.soak {NAME} --seed {one.seed} --times 1)", one.outcome.problems)
            counted[f"{one.what}, {one.outcome.verdict}, {one.became}"] += 1
            if not quick or one.outcome.problems:
                print(one.line(), flush=True)
    for text, times in sorted(counted.items()):
        print(f"{NAME}: {times} times {text}", flush=True)
    return report
