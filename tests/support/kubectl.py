# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real kubectl, against one cluster."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

from .paths import clean_environment, program
from .processes import Finished, run


class Kubectl:
    """Runs kubectl with a home of its own, so that caches and settings of the machine play no part."""

    def __init__(self, kubeconfig: Path | str, home: Path, executable: str = "") -> None:
        self._executable = executable or program("kubectl")
        self.environment = clean_environment(KUBECONFIG=str(kubeconfig), HOME=str(home), KUBECTL_COMMAND_HEADERS="false")
        home.mkdir(parents=True, exist_ok=True)
        self._home = home

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> Finished:
        """Run a command to its end, however it ends."""
        command = [self._executable, *arguments]
        return run(command, environment=self.environment, stdin=stdin, cwd=self._home, timeout=timeout)

    def line(self, text: str, stdin: str | None = None) -> Finished:
        """Run a command written as in a shell, with or without the leading `kubectl`."""
        words = shlex.split(text)
        return self(*(words[1:] if words[0] == "kubectl" else words), stdin=stdin)

    def ok(self, *arguments: str, stdin: str | None = None) -> str:
        """Standard output of a command that must succeed (AssertionError with both outputs otherwise)."""
        finished = self(*arguments, stdin=stdin)
        if finished.returncode != 0:
            raise AssertionError(f"kubectl {shlex.join(arguments)}: {finished}")
        return finished.stdout

    def object(self, *arguments: str) -> dict[str, Any]:
        """What `get … -o json` shows."""
        found: dict[str, Any] = json.loads(self.ok("get", *arguments, "-o", "json"))
        return found

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that goes on until it is killed, with its standard output to read from."""
        return subprocess.Popen(
            [self._executable, *arguments],
            env=self.environment,
            cwd=self._home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
