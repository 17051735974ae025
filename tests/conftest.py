# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines for tests: one that a whole run shares, and fresh ones for tests that change the cluster for good."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process
from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import EngineOptions, RunningEngine

EngineFactory = Callable[..., RunningEngine]
_NUMBERS = itertools.count()

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("okd.virt", deadline=None)
hypothesis.settings.load_profile("okd.virt")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Playbooks can be run with another ansible-core than that of this environment."""
    parser.addoption("--ansible-playbook", default="", metavar="PROGRAM", help="run playbooks with this program")


@pytest.fixture(scope="session")
def ansible_playbook(pytestconfig: pytest.Config) -> str:
    """The program that runs playbooks; empty for that of this environment."""
    given = str(pytestconfig.getoption("--ansible-playbook"))
    return str(Path(given).absolute()) if given else ""


@contextlib.contextmanager
def _engines(factory: pytest.TempPathFactory) -> Iterator[EngineFactory]:
    directories: list[Path] = []

    def start(**options: Any) -> RunningEngine:
        directory = factory.mktemp(f"engine-{next(_NUMBERS)}-", numbered=False)
        directories.append(directory)
        settings: dict[str, Any] = {"speed": "max", "watch_pid": os.getpid(), **options}
        return process.start(EngineOptions(directory=directory, **settings))

    try:
        yield start
    finally:
        for directory in directories:
            process.stop(directory)


@pytest.fixture(scope="module")
def fresh_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineFactory]:
    """Starts an engine for whoever asks: `fresh_engine(release="4.19", …)` takes what EngineOptions has; all stop with the module, if not before."""
    with _engines(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    """The engine that the tests of one worker share: the lab at 4.18. Tests leave its people and its release alone."""
    with _engines(tmp_path_factory) as start:
        yield start()
