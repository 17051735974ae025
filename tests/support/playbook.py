# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a playbook as a user does, and see what each of its tasks answered."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .paths import clean_environment, program
from .processes import Finished, run

CALLBACKS = Path(__file__).resolve().parent / "callback"


@dataclass(frozen=True)
class Run:
    """A playbook's end: exit code, output and, in order, the tasks with what they answered."""

    returncode: int
    output: str
    tasks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def changed(self) -> list[str]:
        """Names of the tasks that changed something."""
        return [task["task"] for task in self.tasks if task["result"].get("changed")]

    @property
    def failures(self) -> list[str]:
        """Messages of the tasks that failed and were not meant to."""
        return [str(task["result"].get("msg")) for task in self.tasks if task["status"] == "failed"]

    def results(self, action: str) -> list[dict[str, Any]]:
        """What the tasks of this action answered."""
        return [task["result"] for task in self.tasks if task["action"] == action and task["status"] != "skipped"]

    def passed(self) -> Run:
        """Itself; an AssertionError with the whole output unless it ended well."""
        if self.returncode != 0:
            raise AssertionError(f"exit code {self.returncode}\n{self.output}")
        return self


def environment(kubeconfig: Path | str, directory: Path, **added: str) -> dict[str, str]:
    """Environment of a playbook run whose temporary files and results are kept in `directory`."""
    return clean_environment(
        K8S_AUTH_KUBECONFIG=str(kubeconfig),
        ANSIBLE_CALLBACK_PLUGINS=str(CALLBACKS),
        ANSIBLE_CALLBACKS_ENABLED="task_results",
        OKD_VIRT_TASK_RESULTS=str(directory / "tasks.jsonl"),
        ANSIBLE_LOCAL_TEMP=str(directory / "ansible"),
        ANSIBLE_NOCOLOR="1",
        **added,
    )


def command(playbook: str, variables: Mapping[str, Any], *options: str, executable: str = "") -> list[str]:
    """The command line of one run."""
    extra = ["-e", json.dumps(dict(variables))] if variables else []
    return [executable or program("ansible-playbook"), playbook, *extra, *options]


def read_tasks(directory: Path) -> list[dict[str, Any]]:
    """What the tasks of a run answered so far; a line that a killed run left half-written is dropped."""
    tasks = []
    file = directory / "tasks.jsonl"
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            tasks.append(json.loads(line))
        except ValueError:
            break
    return tasks


def run_playbook(
    playbook: str,
    kubeconfig: Path | str,
    directory: Path,
    variables: Mapping[str, Any],
    *options: str,
    timeout: float = 120,
    executable: str = "",
    added: Mapping[str, str] | None = None,
) -> Run:
    """Run it to its end; a run that hangs is killed after `timeout` seconds and reported with what it said."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tasks.jsonl").unlink(missing_ok=True)
    # Another environment's ansible-playbook does not know where this one has its collections.
    elsewhere = {"ANSIBLE_COLLECTIONS_PATH": str(Path(sys.prefix) / "collections")} if executable else {}
    try:
        finished = run(
            command(playbook, variables, *options, executable=executable),
            environment=environment(kubeconfig, directory, **elsewhere, **(added or {})),
            cwd=directory,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        finished = Finished(-9, f"{error.stdout!r}", f"killed after {timeout} s: {error.stderr!r}")
    return Run(finished.returncode, finished.stdout + finished.stderr, read_tasks(directory))
