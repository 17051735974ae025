# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a soak, or all of them: the exhaustive versions of tests whose quick sample is part of every test run.

Usage: python -m tests.soak NAME|all [--quick] [--seed N] [--times N]
Leaves build/soak/NAME.json; the exit code is 0 when every case held, or as many as have to.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable

from ..support.paths import BUILD
from . import drain_kill, faults, fuzz, limits, placement, prediction, procedure_kill, settings_kill
from .engine_kill import run as kill_engine
from .report import Report

DEFAULT_SEED = 4_19
QUICK_DEATHS = 3
ENGINE_KILLS = 200
QUICK_ENGINE_KILLS = 5


@dataclasses.dataclass(frozen=True)
class Soak:
    """`run` takes how often, or how much, and the seed, and whether it is a sample."""

    run: Callable[[int, int, bool], Report]
    times: int
    quick: int


SOAKS: dict[str, Soak] = {
    procedure_kill.NAME: Soak(lambda times, seed, _quick: procedure_kill.run(seed, times), 0, QUICK_DEATHS),
    drain_kill.NAME: Soak(lambda times, seed, _quick: drain_kill.run(seed, times), 0, QUICK_DEATHS),
    settings_kill.NAME: Soak(lambda times, seed, _quick: settings_kill.run(seed, times), 0, QUICK_DEATHS),
    "engine_kill": Soak(lambda times, seed, _quick: kill_engine(times, seed), ENGINE_KILLS, QUICK_ENGINE_KILLS),
    fuzz.NAME: Soak(lambda times, seed, _quick: fuzz.run(times, seed), fuzz.REQUESTS, fuzz.QUICK),
    limits.NAME: Soak(lambda times, seed, _quick: limits.run(times, seed), limits.MACHINES, limits.QUICK_MACHINES),
    prediction.NAME: Soak(lambda times, seed, _quick: prediction.run(times, seed), prediction.MACHINES, prediction.QUICK_MACHINES),
    placement.NAME: Soak(placement.run, placement.CLUSTERS, placement.QUICK_CLUSTERS),
    faults.NAME: Soak(faults.run, faults.ROUNDS, faults.QUICK_ROUNDS),
}


def main(given: list[str] | None = None) -> int:
    """Exit code 0: held; 1: did not."""
    parser = argparse.ArgumentParser(prog="tests.soak", description="Exhaustive versions of the fault tests.")
    parser.add_argument("name", nargs="?", default="all", choices=[*SOAKS, "all"], help="which one (all)")
    parser.add_argument("--quick", action="store_true", help="a sample, as in the test run")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="repeats a run")
    parser.add_argument("--times", type=int, default=None, help="how many deaths, requests, machines, clusters or storms, instead of the usual number")
    arguments = parser.parse_args(given)
    passed = True
    for name in SOAKS if arguments.name == "all" else [arguments.name]:
        began = time.monotonic()
        soak = SOAKS[name]
        usual = soak.quick if arguments.quick else soak.times
        report = soak.run(usual if arguments.times is None else arguments.times, arguments.seed, arguments.quick)
        path = report.write(BUILD / "soak")
        passed = passed and report.passed
        seconds = time.monotonic() - began
        print(f"{name}: {report.held} of {report.tried} held, seed {report.seed}, {seconds:.0f} s, {path}", flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
