# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations by the engine's own virt-handler, step by step, beside those recorded of KubeVirt 1.4.1 and 1.5.3."""
from __future__ import annotations

import contextlib
import json
import pathlib

import pytest

from ..support.migration_history import general
from .test_live_migration import describe, engine_of

RECORDED = pathlib.Path(__file__).parents[1] / "conformance" / "recorded"
PLAYED = {"success": ("3", "", ""), "copy-fails": ("3", "1", ""), "deleted-while-running": ("600", "", "Running"),
          "deleted-before-hand-off": ("600", "", "Scheduling")}
"""Seconds of copying, how many fail, and in which phase it is cancelled. What the recorder's script did else no virt-handler does."""
CASES = sorted((path for path in RECORDED.glob("kubevirt-*/migrations/*.json") if path.stem in PLAYED), key=str)


# The recordings' virt-handler was a script: it did not announce that a target is prepared nor that it aborts, and gave shorter reasons.
UNSAID = (
    "VirtualMachineInstance virt-handler Normal PreparingTarget: VirtualMachineInstance Migration Target Prepared.",
    "VirtualMachineInstance virt-handler Normal Migrating: VirtualMachineInstance is aborting migration.", "state abortStatus",
)
SHORTER = {"reason:Live migration has been aborted": "reason:Live migration aborted ", "reason:error": "reason:Live migration failed error"}


def longer(line: str) -> str:
    for short, said in SHORTER.items():
        line = line.replace(short, said)
    return line


def recorded_streams(path: pathlib.Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))["history"]
    return {stream: [longer(general(line)) for line in lines] for stream, lines in found.items()}


def test_there_are_recordings_of_both_versions() -> None:
    assert {path.parts[-3] for path in CASES} == {"kubevirt-1.4.1", "kubevirt-1.5.3"}


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
async def test_histories_are_those_recorded(path: pathlib.Path) -> None:
    seconds, failures, cancelled = PLAYED[path.stem]
    async with engine_of("4.18" if "1.4.1" in str(path) else "4.19") as cluster:
        await describe(cluster, {"copy-seconds": seconds, "fail-migration": failures})
        with cluster.engine.clock.busy() if cancelled else contextlib.nullcontext():
            name = await cluster.migrate("vm-1")
            if cancelled:
                await cluster.phase(name, cancelled)
                await cluster.delete(name)
        if cancelled:
            await cluster.gone(name)
            await cluster.passes(1.5)
        else:
            await cluster.over(name)
        found = cluster.history(name)
    for stream, lines in recorded_streams(path).items():
        assert [line for line in found[stream] if line not in UNSAID] == lines
