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
    """`held` of `tried` cases held; each of the others has its line in `failures`."""

    name: str
    seed: int
    tried: int = 0
    held: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, case: str, problems: list[str]) -> None:
        """Count one case."""
        self.tried += 1
        self.held += not problems
        self.failures.extend(f"{case}: {problem}" for problem in problems)

    @property
    def passed(self) -> bool:
        """Something was tried and everything held."""
        return self.tried > 0 and self.held == self.tried and not self.failures

    def write(self, folder: Path) -> Path:
        """Write `NAME.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        return path
