# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The update playbook, killed at every one of its API calls and started again, must end where an undisturbed run ends."""

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

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process

from ..support.api import Api
from ..support.history import RBAC_PATHS, UPDATE_PATHS, Event, History, transitions
from ..support.lab import Lab, Target
from ..support.rbac import Person
from ..support.state import differences, snapshot
from .playbook import Playbook
from .proxy import Call, CountingProxy, Death, Moment
from .report import Report

NAME = "procedure_kill"
PLAYBOOK = "okd.virt.update_4_19"
AT_ONCE = 2


@dataclass(frozen=True)
class People:
    """The playbook's variables, who must never lose access, and everybody whose access is compared."""

    variables: dict[str, Any]
    trusted: list[tuple[Person, str]]
    all: list[tuple[Person, str]]

    @classmethod
    def of(cls, api: Api, kubeconfig: Path) -> People:
        """From the sample cluster."""
        lab = Lab(api, kubeconfig)
        trusted = lab.trusted()
        variables = {
            "update_4_19_target_version": Target.of(api).version,
            "update_4_19_trusted": trusted.option,
            "update_4_19_aggregate_to": ["admin", "edit"],
        }
        return cls(variables, trusted.pairs, lab.pairs())


@dataclass(frozen=True)
class Undisturbed:
    """What a run that nobody killed did and left."""

    people: People
    calls: list[Call]
    state: dict[str, Any]


@contextlib.contextmanager
def _engine(directory: Path) -> Iterator[process.RunningEngine]:
    options = process.EngineOptions(directory=directory, speed="max", watch_pid=os.getpid())
    try:
        yield process.start(options)
    finally:
        process.stop(directory)


async def undisturbed(directory: Path) -> Undisturbed:
    """Run the playbook through a proxy that only counts. Raises AssertionError when the run itself fails."""
    with _engine(directory / "engine") as engine:
        api = Api(engine.kubeconfig)
        people = People.of(api, engine.kubeconfig)
        with History(api, RBAC_PATHS | UPDATE_PATHS) as history:
            async with CountingProxy(engine.kubeconfig) as proxy:
                run = Playbook(PLAYBOOK, proxy.write_kubeconfig(directory / "kubeconfig"), directory / "run", people.variables)
                code = await run.run()
            problems = _problems(code, run, history, people)
        if problems:
            raise AssertionError(f"The undisturbed run failed: {problems}")
        return Undisturbed(people, proxy.calls, snapshot(api, people.all))


async def killed(directory: Path, death: Death, expected: Undisturbed) -> list[str]:
    """Kill one run, start it again without the proxy; what does not hold then, as sentences."""
    people = expected.people
    with _engine(directory / "engine") as engine:
        api = Api(engine.kubeconfig)
        with History(api, RBAC_PATHS | UPDATE_PATHS) as history:
            doomed: Playbook | None = None
            async with CountingProxy(engine.kubeconfig, death, lambda: doomed.kill() if doomed else None) as proxy:
                doomed = Playbook(PLAYBOOK, proxy.write_kubeconfig(directory / "kubeconfig"), directory / "killed", people.variables)
                code = await doomed.run()
            if not proxy.killed and code != 0:
                return [f"exit code {code} before it could be killed: {doomed.last_words}"]
            again = Playbook(PLAYBOOK, engine.kubeconfig, directory / "again", people.variables)
            problems = _problems(await again.run(), again, history, people)
        return problems + differences(expected.state, snapshot(api, people.all))


def _problems(code: int, run: Playbook, history: History, people: People) -> list[str]:
    problems = [] if code == 0 else [f"exit code {code}: {run.last_words}"]
    events = history.finish()
    problems += history.losses(events, people.trusted)
    return problems + _approvals(events, history)


def _approvals(events: list[Event], history: History) -> list[str]:
    count = transitions(
        events, "installplans", lambda plan: plan["spec"].get("approved") is True, history.initial["installplans"]
    )
    return [] if count == 1 else [f"InstallPlans approved: {count} instead of 1"]


def deaths(calls: Sequence[Call], quick: int = 0) -> list[Death]:
    """Every moment to die at, or `quick` of them evenly spread.

    A call that only reads leaves the same cluster behind whether the client dies before or after it, so there one death is enough.
    """
    found = []
    for number, call in enumerate(calls, start=1):
        found.append(Death(number, Moment.BEFORE))
        if call.writes:
            found.append(Death(number, Moment.AFTER))
    if quick and len(found) > quick:
        found = [found[(2 * index + 1) * len(found) // (2 * quick)] for index in range(quick)]
    return found


async def _run(quick: int, seed: int) -> Report:
    report = Report(NAME, seed)
    directory = Path(tempfile.mkdtemp(prefix="okd-virt-procedure-kill-"))
    try:
        expected = await undisturbed(directory / "undisturbed")
        kinds = Counter("writes" if call.writes else "reads" for call in expected.calls)
        cases = deaths(expected.calls, quick)
        print(f"{NAME}: {len(expected.calls)} calls ({dict(kinds)}), {len(cases)} deaths", flush=True)
        # In any order, so that a failure that needs a neighbour shows; the seed gives the same order again.
        random.Random(seed).shuffle(cases)
        free = asyncio.Semaphore(AT_ONCE)

        async def one(death: Death) -> None:
            call = expected.calls[death.call - 1]
            where = directory / f"{death.call}-{death.moment.name.lower()}"
            async with free:
                try:
                    problems = await killed(where, death, expected)
                except Exception as error:
                    problems = [f"{type(error).__name__}: {error}"]
            case = f"call {death.call} ({call.method} {call.path}), {death.moment.value}"
            report.add(case, problems)
            for problem in problems:
                print(f"FAILED {case}: {problem}", flush=True)
            if report.tried % 20 == 0:
                print(f"{NAME}: {report.tried} of {len(cases)} tried, {report.held} held", flush=True)
            if not problems:
                shutil.rmtree(where, ignore_errors=True)

        await asyncio.gather(*(one(death) for death in cases))
    finally:
        if report.passed:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f"{NAME}: what the failed runs left is in {directory}", flush=True)
    return report


def run(seed: int, quick: int = 0) -> Report:
    """Try every death, or `quick` of them."""
    return asyncio.run(_run(quick, seed))
