# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the engine everything that was asked of a real API server, and say where its answers differ.

The recorder and the comparison are data of this folder (`recorder/*.txt`), kept as they were when the recordings were made.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.okd.virt.tests.support.paths import clean_environment
from ansible_collections.okd.virt.tests.support.processes import run

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "recorded" / "kubernetes-1.36"
RECORDER = HERE / "recorder"

# The recorder as it is, but for one thing: its longest wait is for a quota, which is never counted here.
RUNNER = """
import runpy
import rec
patient = rec.wait
rec.wait = lambda fn, timeout=30, every=0.1: patient(fn, min(timeout, {patience}), min(every, 0.1))
runpy.run_path("rec_kube.py", run_name="__main__")
"""
PATIENCE = 8

_RANDOM = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UID"),
    (re.compile(r"\b[a-z0-9]{5}\b(?=\"|$| )"), "RND"),
    (re.compile(r"-[a-z0-9]{5,10}(-[a-z0-9]{5})?\b"), "-RND"),
    (re.compile(r"\b\d{3,}\b"), "N"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "T"),
)


@dataclass(frozen=True)
class Difference:
    """A case that the engine answers otherwise; `engine` is None where it gave no answer to compare."""

    case: str
    real: tuple[Any, ...]
    engine: tuple[Any, ...] | None

    def __str__(self) -> str:
        return f"{self.case}\n   real   {self.real}\n   engine {self.engine}"


def record(kubeconfig: Path, directory: Path, timeout: float = 240) -> Path:
    """Run the recorder's requests; the folder with the answers."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("rec", "rec_kube"):
        shutil.copyfile(RECORDER / f"{name}.py.txt", directory / f"{name}.py")
    (directory / "run.py").write_text(RUNNER.format(patience=PATIENCE), encoding="utf-8")
    answers = directory / "answers"
    environment = clean_environment(KUBECONFIG=str(kubeconfig), REC_OUT=str(answers), TMPDIR=str(directory))
    finished = run([sys.executable, "run.py"], environment=environment, cwd=directory, timeout=timeout)
    (directory / "recorder.txt").write_text(finished.stdout + finished.stderr, encoding="utf-8")
    if finished.returncode != 0:
        raise AssertionError(f"The recorder ended with {finished.returncode}: {finished.stderr[-2000:]}")
    return answers


def compare(answers: Path, recorded: Path = RECORDED) -> tuple[int, list[Difference]]:
    """Number of recorded cases, and those that differ, by the rules of `recorder/compare.py.txt`."""
    real, engine = _load(recorded), _load(answers)
    cases = {name: case for name, case in sorted(real.items()) if "response" in case}
    shapes = {name: (shape(case), shape(engine[name]) if name in engine else None) for name, case in cases.items()}
    return len(cases), [Difference(name, one, other) for name, (one, other) in shapes.items() if one != other]


def counted_by_the_original(answers: Path) -> int:
    """Number of equal cases as counted by the comparison that came with the recordings."""
    script = answers.parent / "compare.py"
    shutil.copyfile(RECORDER / "compare.py.txt", script)
    command = [sys.executable, str(script), str(RECORDED), str(answers)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=dict(os.environ))
    counted = re.search(r"equal (\d+)/", finished.stdout)
    if counted is None:
        raise AssertionError(f"Not understood: {finished.stdout}")
    return int(counted[1])


def shape(case: dict[str, Any]) -> tuple[Any, ...]:
    """What of an answer is compared."""
    response = case.get("response", {})
    if "events" in response:
        types = dict.fromkeys((event or {}).get("type") for event in response["events"])
        return ("watch", response.get("status"), tuple(types))
    body = response.get("body")
    if isinstance(body, dict) and body.get("kind") == "Status":
        details = body.get("details") or {}
        causes = tuple(sorted((each.get("reason", ""), each.get("field", "")) for each in details.get("causes", [])))
        return (
            "status", response.get("status"), body.get("status"), body.get("reason"), _normal(str(body.get("message"))),
            details.get("kind"), details.get("group"), details.get("retryAfterSeconds"), causes,
        )  # fmt: skip
    if isinstance(body, dict):
        return ("object", response.get("status"), body.get("kind"), body.get("apiVersion"), tuple(sorted(body)))
    return ("text", response.get("status"))


def _normal(text: str) -> str:
    for pattern, name in _RANDOM:
        text = pattern.sub(name, text)
    return text


def _load(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        f"{file.parent.name}/{re.sub(r'^[0-9]{3}-', '', file.stem)}": json.loads(file.read_text(encoding="utf-8"))
        for file in folder.glob("*/*.json")
    }
