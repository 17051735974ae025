# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long work speaks while it works. Private to this collection."""

from __future__ import annotations

import time
import typing as t

from ansible.utils.display import Display

from ansible_collections.okd.virt.plugins.module_utils._plan import SilentListener

#: Variable that sets the level for a play, a host or a task.
LEVEL_VARIABLE = "okd_virt_progress"
QUIET, NORMAL, VERBOSE = "quiet", "normal", "verbose"
LEVELS = (QUIET, NORMAL, VERBOSE)
#: Seconds between two signs of life at least.
HEARTBEAT_INTERVALS = {QUIET: 300.0, NORMAL: 15.0, VERBOSE: 2.0}


class DisplayListener(SilentListener):
    """Prints a line for each event at once, and a heartbeat now and then; keeps the timeline.

    Lines reach a terminal when they are printed, and ansible-runner and AWX as events of the running task.
    Quiet: a heartbeat every five minutes only, so that nobody takes the job for dead. Verbose: the data of events too.
    """

    def __init__(self, name: str, display: Display, level: str = NORMAL, clock: t.Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._name, self._display, self._level, self._seconds = name, display, level, clock
        self._start = clock()
        self._spoke = self._start

    def event(self, text: str, **data: t.Any) -> None:
        """One line: seconds since the start, the verb, how much is done where C(done) and C(total) are given, what changed."""
        super().event(text, **data)
        if self._level == QUIET:
            return
        others = {key: value for key, value in data.items() if key not in ("done", "total")}
        details = "".join(f" {key}={value}" for key, value in others.items()) if self._level == VERBOSE else ""
        self._print(text + details, data.get("done"), data.get("total"))

    def heartbeat(self, text: str) -> None:
        """A line when nothing was printed for a while."""
        if self._seconds() - self._spoke >= HEARTBEAT_INTERVALS[self._level]:
            self._print(text)

    def introduce(self, identity: str) -> None:
        """The first line, whatever the level: which server, as whom, and by which credentials. Not part of the timeline."""
        self._print(identity)

    def show(self, lines: t.Iterable[str]) -> None:
        """A text that was asked for, as it is."""
        for line in lines:
            self._display.display(line)

    def _print(self, text: str, done: int | None = None, total: int | None = None) -> None:
        self._spoke = self._seconds()
        count = f" {done}/{total}" if done is not None and total is not None else ""
        self._display.display(f"[{self._spoke - self._start:7.1f}s] {self._name}{count}: {text}")
