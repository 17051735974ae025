# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a soak, or all of them: the exhaustive versions of tests whose quick sample is part of every test run.

Usage: python -m tests.soak NAME|all [--quick] [--seed N]
Leaves build/soak/NAME.json; the exit code is 0 when every case held.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from ..support.paths import BUILD
from . import fuzz, limits, procedure_kill
from .engine_kill import run as kill_engine
from .report import Report

DEFAULT_SEED = 4_19
QUICK_DEATHS = 5
ENGINE_KILLS = 200
QUICK_ENGINE_KILLS = 5


def _procedure_kill(seed: int, quick: bool) -> Report:
    return procedure_kill.run(seed, QUICK_DEATHS if quick else 0)


def _engine_kill(seed: int, quick: bool) -> Report:
    return kill_engine(QUICK_ENGINE_KILLS if quick else ENGINE_KILLS, seed)


def _fuzz(seed: int, quick: bool) -> Report:
    return fuzz.run(fuzz.QUICK if quick else fuzz.REQUESTS, seed)


def _limits(seed: int, quick: bool) -> Report:
    return limits.run(limits.QUICK_MACHINES if quick else limits.MACHINES, seed)


SOAKS: dict[str, Callable[[int, bool], Report]] = {
    procedure_kill.NAME: _procedure_kill,
    "engine_kill": _engine_kill,
    fuzz.NAME: _fuzz,
    limits.NAME: _limits,
}


def main(given: list[str] | None = None) -> int:
    """Exit code 0: held; 1: did not."""
    parser = argparse.ArgumentParser(prog="tests.soak", description="Exhaustive versions of the fault tests.")
    parser.add_argument("name", nargs="?", default="all", choices=[*SOAKS, "all"], help="which one (all)")
    parser.add_argument("--quick", action="store_true", help="a sample, as in the test run")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="repeats a run")
    arguments = parser.parse_args(given)
    passed = True
    for name in SOAKS if arguments.name == "all" else [arguments.name]:
        began = time.monotonic()
        report = SOAKS[name](arguments.seed, arguments.quick)
        path = report.write(BUILD / "soak")
        passed = passed and report.passed
        seconds = time.monotonic() - began
        print(f"{name}: {report.held} of {report.tried} held, seed {report.seed}, {seconds:.0f} s, {path}", flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
