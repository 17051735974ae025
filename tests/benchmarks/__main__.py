# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a benchmark, or all of them; ours and the baseline in the same run.

Usage: python -m tests.benchmarks NAME|all
Leaves build/bench/NAME.json and prints a line for each comparison. The exit code is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass

from ..support.paths import BUILD
from . import audit, drain, engine, readiness, scale, verbs
from .measuring import Entry, write


@dataclass(frozen=True)
class Benchmark:
    """What measures, and what must come out."""

    measure: Callable[[], list[Entry]]
    missed: Callable[[Entry], str]


BENCHMARKS = {
    "verbs": Benchmark(verbs.measure, verbs.missed),
    "audit": Benchmark(audit.measure, audit.missed),
    "drain": Benchmark(drain.measure, drain.missed),
    "engine": Benchmark(engine.measure, engine.missed),
    "readiness": Benchmark(readiness.measure, readiness.missed),
    "scale": Benchmark(scale.measure, scale.missed),
}


def main(given: list[str] | None = None) -> int:
    """Exit code 0 when every target was met."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks", description="Ours beside the baseline.")
    parser.add_argument("name", nargs="?", default="all", choices=[*BENCHMARKS, "all"], help="which one (all)")
    arguments = parser.parse_args(given)
    print(f"Python {platform.python_version()} of {sys.base_prefix}, {platform.python_compiler()}", flush=True)
    met = True
    for name in BENCHMARKS if arguments.name == "all" else [arguments.name]:
        benchmark = BENCHMARKS[name]
        entries = benchmark.measure()
        write(name, entries, BUILD / "bench")
        for entry in entries:
            missed = benchmark.missed(entry)
            met = met and not missed
            print(f"{entry}{f' MISSED: {missed}' if missed else ''}", flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
