# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long each thing that is not normal has lasted. Private to this collection."""

from __future__ import annotations

import typing as t

from .assessment import Problem


class Patience:
    """Remembers since when each problem is there; a problem that goes away is forgotten.

    C(limit): seconds for which a problem may last.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._since: dict[str, float] = {}

    def exhausted(self, problems: t.Iterable[Problem], now: float) -> Problem | None:
        """Take note of the problems of this moment; the first one that has lasted too long, if any."""
        problems = list(problems)
        self._since = {problem.key: self._since.get(problem.key, now) for problem in problems}
        for problem in problems:
            if now - self._since[problem.key] >= self.limit:
                return problem
        return None
