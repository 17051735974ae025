# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring two things beside each other, and what is left of it."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """Seconds of several rounds of one thing."""

    rounds: tuple[float, ...]

    @property
    def best(self) -> float:
        """The round least disturbed by the machine."""
        return min(self.rounds)

    @property
    def median(self) -> float:
        """The middle round."""
        return statistics.median(self.rounds)


@dataclass(frozen=True)
class Entry:
    """One comparison: `ratio` is ours divided by the baseline, both in `unit` and both best of their rounds."""

    name: str
    unit: str
    ours: float
    baseline: float
    ratio: float
    what: str

    @classmethod
    def of(cls, name: str, ours: Measured, baseline: Measured, what: str) -> Entry:
        """From two measurements in seconds; the medians go into the text."""
        detail = f"best of {len(ours.rounds)} interleaved rounds; medians {ours.median:.3f} s and {baseline.median:.3f} s"
        return cls(
            name, "s", round(ours.best, 4), round(baseline.best, 4), round(ours.best / baseline.best, 4), f"{what} ({detail})"
        )

    def __str__(self) -> str:
        return f"{self.name}: {self.ours:g} {self.unit}, baseline {self.baseline:g} {self.unit}, ratio {self.ratio:g}: {self.what}"


def interleaved(functions: Sequence[Callable[[], object]], rounds: int) -> list[Measured]:
    """Seconds of each function, taken in turns so that a busy machine is busy for all of them."""
    seconds: list[list[float]] = [[] for dummy in functions]
    for dummy in range(rounds):
        for taken, function in zip(seconds, functions, strict=True):
            began = time.perf_counter()
            function()
            taken.append(time.perf_counter() - began)
    return [Measured(tuple(taken)) for taken in seconds]


def write(name: str, entries: Sequence[Entry], folder: Path) -> Path:
    """Write `NAME.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps([asdict(entry) for entry in entries], indent=2) + "\n", encoding="utf-8")
    return path
