# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings for a while, and the playbook that set them killed at every one of its API calls: whatever runs next puts the old ones back.

The playbook tune sets them, puts them back, or drain does both around a drain. What runs next is the restoring, or the same playbook once more.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.okd.virt.plugins.module_utils.tuning.temporary import RECORD
from ansible_collections.okd.virt.plugins.plugin_utils.engine import process

from ..support.api import MERGE_PATCH, Api
from .drain_kill import Cluster, deaths
from .playbook import Playbook
from .proxy import Call, CountingProxy, Death
from .report import Report

NAME = "settings_kill"
HOME = "kubevirt-hyperconverged"
_HCO = f"/apis/hco.kubevirt.io/v1beta1/namespaces/{HOME}/hyperconvergeds/kubevirt-hyperconverged"
_KUBEVIRT = f"/apis/kubevirt.io/v1/namespaces/{HOME}/kubevirts/kubevirt-kubevirt-hyperconverged"
_SIZES = ("namespaces=1", "bindings=0", "cluster_bindings=0", "users=1", "groups=1", "nodes=2", "rwo_percent=0", "busy_percent=0", "vms=2")
_SETTINGS = {"parallel_outbound_migrations_per_node": 4, "progress_timeout": 300, "bandwidth_per_migration": "1Gi"}
_OWN = {"completionTimeoutPerGiB": 200, "progressTimeout": 222}
"""What the site has set for good."""
_TUNE, _DRAIN = "okd.virt.tune", "okd.virt.drain"
_SETTLED = 30.0
_SPEED = "120"


@dataclass(frozen=True)
class Story:
    """A playbook that is killed; `prepared` is whether the settings are set before, `next_runs` are those of which one runs afterwards."""

    name: str
    playbook: str
    variables: Mapping[str, Any]
    next_runs: tuple[str, ...]
    prepared: bool = False


RESTORE: Mapping[str, Any] = {"tune_state": "restored"}
STORIES = (
    Story("set", _TUNE, {"tune_state": "temporary", "tune_settings": _SETTINGS}, ("restore",)),
    Story("restore", _TUNE, RESTORE, ("restore",), prepared=True),
    Story("drain", _DRAIN, {"drain_temporary_settings": _SETTINGS}, ("restore", "again")),
)


@dataclass(frozen=True)
class Case:
    """One death of one story, and what runs next."""

    story: Story
    death: Death
    next_run: str


def cases(calls: Mapping[str, Sequence[Call]], quick: int = 0) -> list[Case]:
    """Every death of every story with every next run, or `quick` of them evenly spread over the stories."""
    found: list[Case] = []
    for number, story in enumerate(STORIES):
        share = (quick + number) // len(STORIES) if quick else 0
        if quick and not share:
            continue
        of_story = deaths(calls[story.name], share)
        found += [Case(story, death, story.next_runs[index % len(story.next_runs)]) for index, death in enumerate(of_story)]
    return found


def problems_of(before: Mapping[str, Any], hyperconverged: Mapping[str, Any], kubevirt: Mapping[str, Any]) -> list[str]:
    """What does not hold in the end, as sentences."""
    found = []
    configured = hyperconverged["spec"]["liveMigrationConfig"]
    if configured != before:
        found.append(f"HyperConverged has {configured} instead of {dict(before)}")
    if RECORD in (hyperconverged["metadata"].get("annotations") or {}):
        found.append(f"the record was left: {hyperconverged['metadata']['annotations'][RECORD]}")
    migrations = kubevirt["spec"]["configuration"]["migrations"]
    if migrations != before:
        found.append(f"KubeVirt has {migrations} instead of {dict(before)}")
    return found


class Rounds:
    """The rounds of one engine, one after the other."""

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        self._kubeconfig, self._directory = kubeconfig, directory
        self._api = Api(kubeconfig)
        self._api.expect(200, "PATCH", _HCO, {"spec": {"liveMigrationConfig": _OWN}}, content_type=MERGE_PATCH)
        self._before = dict(self._hyperconverged()["spec"]["liveMigrationConfig"])
        self._cluster = Cluster(kubeconfig)

    def _hyperconverged(self) -> dict[str, Any]:
        return self._api.get(_HCO)

    async def calls(self, story: Story) -> list[Call]:
        """Those of an undisturbed run. Raises AssertionError when it fails, or does not write the settings."""
        problems, calls, _at = await self._one(story, None, "restore")
        written = [call for call in calls if call.writes and "/hyperconvergeds/" in call.path]
        expected = 2 if story.playbook == _DRAIN else 1
        if len(written) != expected:
            problems.append(f"the settings were written {len(written)} times instead of {expected}")
        if problems:
            raise AssertionError(f"The undisturbed run of {story.name} failed: {problems}")
        return calls

    async def one(self, case: Case) -> tuple[list[str], Call | None]:
        """What does not hold after a death and what runs next, and the call at which it died."""
        problems, _calls, at = await self._one(case.story, case.death, case.next_run)
        return problems, at

    async def _one(self, story: Story, death: Death | None, next_run: str) -> tuple[list[str], list[Call], Call | None]:
        variables = dict(story.variables)
        if story.playbook == _DRAIN:
            variables["node"] = await self._fullest()
            await self._cluster.begin(variables["node"])
        if story.prepared:
            first = self._playbook(STORIES[0], STORIES[0].variables, "first", self._kubeconfig)
            if (code := await first.run()) != 0:
                return [f"the settings could not be set: {code}: {first.last_words}"], [], None
        doomed: Playbook | None = None
        async with CountingProxy(self._kubeconfig, death, lambda: doomed.kill() if doomed else None) as proxy:
            doomed = self._playbook(story, variables, "killed", proxy.write_kubeconfig(self._directory / "kubeconfig"))
            code = await doomed.run()
        problems = [f"exit code {code} before it could be killed: {doomed.last_words}"] if not proxy.killed and code != 0 else []
        if death is None and story.name != "set":
            # It has put them back itself.
            return problems + await self._settled(), proxy.calls, None
        again = story if next_run == "again" else STORIES[1]
        follower = self._playbook(again, variables if next_run == "again" else again.variables, "next", self._kubeconfig)
        code = await follower.run()
        problems += [] if code == 0 else [f"exit code {code} of what ran next ({next_run}): {follower.last_words}"]
        problems += await self._settled()
        return problems, proxy.calls, proxy.killed_at

    def _playbook(self, story: Story, variables: Mapping[str, Any], name: str, kubeconfig: Path) -> Playbook:
        return Playbook(story.playbook, kubeconfig, self._directory / name, variables)

    async def _fullest(self) -> str:
        vmis = await asyncio.to_thread(self._api.items, "/apis/kubevirt.io/v1/virtualmachineinstances")
        return Counter(str(one["status"]["nodeName"]) for one in vmis).most_common(1)[0][0]

    async def _settled(self) -> list[str]:
        """What does not hold although the operator had its time."""
        deadline = asyncio.get_running_loop().time() + _SETTLED
        while True:
            found = problems_of(self._before, await asyncio.to_thread(self._hyperconverged), await asyncio.to_thread(self._api.get, _KUBEVIRT))
            if not found or asyncio.get_running_loop().time() > deadline:
                return found
            await asyncio.sleep(0.05)


async def _run(quick: int, seed: int, directory: Path, report: Report) -> None:
    options = process.EngineOptions(directory=directory / "engine", cluster="generated", sizes=_SIZES, speed=_SPEED, watch_pid=os.getpid())
    engine = process.start(options)
    try:
        rounds = Rounds(engine.kubeconfig, directory)
        calls = {story.name: await rounds.calls(story) for story in STORIES}
        todo = cases(calls, quick)
        print(f"{NAME}: {', '.join(f'{len(found)} calls of {name}' for name, found in calls.items())}, {len(todo)} deaths", flush=True)
        # In any order, so that a failure that needs a neighbour shows; the seed gives the same order again.
        random.Random(seed).shuffle(todo)
        for case in todo:
            problems, at = await rounds.one(case)
            which = "write" if case.death.writes else "call"
            where = f"{at.method} {at.path}" if at else "not reached"
            text = f"{case.story.name}: {which} {case.death.call} ({where}), {case.death.moment.value}, then {case.next_run}"
            report.add(text, problems)
            for problem in problems:
                print(f"FAILED {text}: {problem}", flush=True)
            if report.tried % 20 == 0:
                print(f"{NAME}: {report.tried} of {len(todo)} tried, {report.held} held", flush=True)
    finally:
        process.stop(directory / "engine")


def run(seed: int, quick: int = 0) -> Report:
    """Try every death, or `quick` of them."""
    directory, report = Path(tempfile.mkdtemp(prefix="okd-virt-settings-kill-")), Report(NAME, seed)
    try:
        asyncio.run(_run(quick, seed, directory, report))
    finally:
        if report.passed:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f"{NAME}: what the last runs left is in {directory}", flush=True)
    return report
