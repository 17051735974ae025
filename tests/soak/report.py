# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a soak leaves behind."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Report:
    """`held` of `tried` cases held; each of the others has its line in `failures`.

    `enough` is the share that has to hold; `figures` were measured beside, and `missed` says which of them are not good enough.
    """

    name: str
    seed: int
    tried: int = 0
    held: int = 0
    failures: list[str] = field(default_factory=list)
    enough: float = 1.0
    figures: dict[str, float] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)

    def add(self, case: str, problems: list[str]) -> None:
        """Count one case."""
        self.tried += 1
        self.held += not problems
        self.failures.extend(f"{case}: {problem}" for problem in problems)

    @property
    def passed(self) -> bool:
        """Something was tried, and everything held, or as much as has to."""
        return self.tried > 0 and self.held >= self.enough * self.tried and not self.missed and (self.enough < 1 or not self.failures)

    def write(self, folder: Path) -> Path:
        """Write `NAME.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        told = asdict(self)
        if self.enough == 1:
            # What is the same for all of them is left out.
            told = {name: told[name] for name in ("name", "seed", "tried", "held", "failures")}
        path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        return path
