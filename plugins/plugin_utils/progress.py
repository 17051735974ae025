# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long work speaks while it works. Private to this collection."""

from __future__ import annotations

import time
import typing as t

from ansible.utils.display import Display

from ansible_collections.okd.virt.plugins.module_utils._plan import SilentListener

#: Seconds between two signs of life at least.
HEARTBEAT_INTERVAL = 15.0


class DisplayListener(SilentListener):
    """Prints a line for each event at once, and a heartbeat now and then; keeps the timeline.

    Lines reach a terminal when they are printed, and ansible-runner and AWX as events of the running task.
    """

    def __init__(self, name: str, display: Display, clock: t.Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._name, self._display, self._seconds = name, display, clock
        self._start = clock()
        self._spoke = self._start

    def event(self, text: str, **data: t.Any) -> None:
        """One line: seconds since the start, the verb, what changed."""
        super().event(text, **data)
        self._print(text)

    def heartbeat(self, text: str) -> None:
        """A line when nothing was printed for a while."""
        if self._seconds() - self._spoke >= HEARTBEAT_INTERVAL:
            self._print(text)

    def introduce(self, identity: str) -> None:
        """The first line: which server, as whom, and by which credentials. Not part of the timeline."""
        self._print(identity)

    def _print(self, text: str) -> None:
        self._spoke = self._seconds()
        self._display.display(f"[{self._spoke - self._start:7.1f}s] {self._name}: {text}")
