# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storms over generated clusters: whatever goes wrong, no guest runs twice, none is lost, none stops without a reason, no node is asked
for more than it has; and once the faults have ended everything comes to rest.

Each round has a seed of its own, from which its cluster and its actions are drawn; what the engine's tasks do in which order also depends
on this machine, so a seed repeats a storm but not every step of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import tempfile
from pathlib import Path

from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.store.history import StoreEvent

from ..support.api import Api
from .faults_actions import ODDS, Actions
from .faults_history import History
from .faults_settled import unsettled
from .report import Report

NAME = "faults"
ROUNDS, QUICK_ROUNDS = 60, 2
LONGEST_REST = 5400.0
"""Engine seconds after the end of all faults in which everything has come to rest: six times the time that a target pod may be pending."""
_LOOK = 30.0
_LONGEST = 300.0
"""Real seconds for one round."""
_MEAN_VM = 6.1
"""GiB that a generated machine's pod asks for on average."""
_WATCHED = ("nodes", "kubevirts", "virtualmachines", "pods", "virtualmachineinstances", "virtualmachineinstancemigrations", "poddisruptionbudgets")


class Storm:
    """One round."""

    def __init__(self, seed: int, folder: Path, quick: bool) -> None:
        self.seed, self._folder, self._quick = seed, folder, quick
        self._draw = random.Random(seed)
        self._before = 0.0
        self.history = History(self._exited, lambda: self._before + self._engine.clock.monotonic())
        self._errors = _Errors()

    def _exited(self, uid: str) -> bool:
        return self._engine.runtime.exit_code(uid) is not None

    def _options(self) -> Options:
        draw = self._draw
        nodes, vms = draw.randint(4, 6) if self._quick else draw.randint(6, 12), draw.randint(12, 20) if self._quick else draw.randint(30, 80)
        # From half empty to so full that not everybody finds another node.
        memory = max(26, math.ceil(vms * _MEAN_VM / nodes / draw.uniform(0.45, 0.9))) + 4
        sizes = {
            "nodes": nodes, "vms": vms, "node_memory_gib": memory, "namespaces": 4, "bindings": 0, "cluster_bindings": 0, "users": 1, "groups": 1,
            "rwo_percent": draw.choice((0, 10, 30)), "busy_percent": draw.choice((0, 20, 60)), "unguarded_percent": draw.choice((0, 20)), "seed": self.seed,
        }
        durable = draw.random() < 0.4
        return Options(
            cluster="generated", release=draw.choice(("4.18", "4.19")), speed="max", kubeconfig=self._folder / "kubeconfig",
            data_dir=self._folder / "data" if durable else None, parameters=sizes,
        )

    async def run(self) -> None:
        with self._errors:
            try:
                async with asyncio.timeout(_LONGEST):
                    await self._run()
            except TimeoutError:
                self.history.problems.append(f"the round was not over after {_LONGEST:.0f} s")
            except Exception as error:
                self.history.problems.append(f"the round was broken off: {error!r}")
        self.history.problems += self._errors.texts[:5]

    async def _run(self) -> None:
        options = self._options()
        while True:
            # Whether all fit depends on what was drawn.
            self._engine = Engine(options)
            try:
                await self._engine.start()
                break
            except ValueError:
                options.parameters["node_memory_gib"] += 8
        for plural in _WATCHED:
            for resource in self._engine.store.resources():
                if resource[1] == plural:
                    for stored in self._engine.store.list(resource):
                        self.history.feed(stored.version, "ADDED", plural, stored.value)
        for key, vmi in self.history.instances.items():
            self.history.note(key, f"begins on {vmi['status'].get('nodeName')}")
        try:
            self._follow()
            await self._strategies()
            actions = Actions(self._engine, Api(self._folder / "kubeconfig"), self.history, self._draw)
            actions = await self._storm(options, actions)
            await actions.end()
            await self._settle()
        finally:
            await self._engine.stop()

    def _follow(self) -> None:
        self.history.down.clear()
        self._engine.store.observers.append(self._observe)
        self._engine.runtime.on_node(self.history.node_power)

    def _observe(self, event: StoreEvent) -> None:
        resource = event.stored.resource
        if resource[1] in _WATCHED:
            self.history.feed(event.version, event.type, resource[1], event.stored.value)

    async def _strategies(self) -> None:
        """Not every owner wants the same."""
        for namespace, name in sorted(self.history.machines):
            strategy = self._draw.choice(("Always", "Always", "Always", "RerunOnFailure", "Manual"))
            if strategy != "Always":
                path = f"/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachines/{name}"
                api = Api(self._folder / "kubeconfig")
                await asyncio.to_thread(api.request, "PATCH", path, {"spec": {"runStrategy": strategy}}, content_type="application/merge-patch+json")

    async def _storm(self, options: Options, actions: Actions) -> Actions:
        number = self._draw.randint(12, 20) if self._quick else self._draw.randint(30, 70)
        restart_at = self._draw.randrange(number) if options.data_dir is not None else -1
        for turn in range(number):
            await self._engine.clock.sleep(self._draw.expovariate(1 / 8))
            if turn == restart_at:
                actions = await self._restart(options, actions)
            await getattr(actions, self._draw.choices([*ODDS], [*ODDS.values()])[0])()
        await self._engine.clock.sleep(self._draw.uniform(0, 120))
        return actions

    async def _restart(self, options: Options, actions: Actions) -> Actions:
        """Everything is ended where it stands, and begun again on what was written down."""
        await actions.stop()
        self.history.refuses(False)
        await self._engine.stop()
        self._before += self._engine.clock.monotonic()
        self._engine = Engine(options)
        self._follow()
        await self._engine.start()
        return Actions(self._engine, Api(self._folder / "kubeconfig"), self.history, self._draw)

    async def _settle(self) -> None:
        ends = self._engine.clock.monotonic() + LONGEST_REST
        while self._engine.clock.monotonic() < ends:
            await self._engine.clock.sleep(_LOOK)
            if not unsettled(self.history):
                return
        for key, text in unsettled(self.history):
            self.history.fail(key, f"not at rest: {'/'.join(key) + ': ' if key is not None else ''}{text}")


class _Errors(logging.Handler):
    """What the engine says that should never have happened."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    def __enter__(self) -> _Errors:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_exception: object) -> None:
        logging.getLogger().removeHandler(self)


def run(rounds: int, seed: int, quick: bool = False) -> Report:
    """So many storms, with this seed and those that follow it."""
    report = Report(NAME, seed)
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix="okd-virt-storm-") as folder:
            storm = Storm(seed + number, Path(folder), quick)
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.run(storm.run())
        history = storm.history
        again = f"python -m tests.soak {NAME} --seed {storm.seed} --times 1{' --quick' if quick else ''}"
        report.add(f"seed {storm.seed} (again: {again})", history.problems)
        print(
            f"seed {storm.seed}: {len(history.machines)} machines on {len(history.nodes)} nodes, {history.writes} writes, {history.moves} moved, "
            f"{history.stops} stopped, {len(history.problems)} problems", flush=True,
        )
    return report
