# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A playbook that runs while the test does something else, such as to kill it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..support.playbook import command, environment
from ..support.processes import kill_tree

TIMEOUT = 120.0


class Playbook:
    """One ansible-playbook process, which may be killed at any time."""

    def __init__(self, name: str, kubeconfig: Path, directory: Path, variables: Mapping[str, Any]) -> None:
        self._name, self._kubeconfig = name, kubeconfig
        self._variables = variables
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> int:
        """Its exit code; -9 when it was killed, by us or for taking too long."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "output.txt").open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                *command(self._name, self._variables),
                env=environment(self._kubeconfig, self._directory),
                cwd=self._directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                return await asyncio.wait_for(self._process.wait(), TIMEOUT)
            except TimeoutError:
                self.kill()
                return await self._process.wait()
            except BaseException:
                self.kill()
                raise

    def kill(self) -> None:
        """SIGKILL to it and to everything that it started."""
        if self._process is not None and self._process.returncode is None:
            kill_tree(self._process.pid)

    @property
    def last_words(self) -> str:
        """The end of what it printed."""
        return (self._directory / "output.txt").read_text(encoding="utf-8", errors="replace")[-1500:]
