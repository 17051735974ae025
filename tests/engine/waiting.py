# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for what the controllers do."""
from __future__ import annotations

import time
import typing as t
from collections.abc import Callable


def eventually(condition: Callable[[], t.Any], timeout: float = 10.0) -> t.Any:
    """The first true value of a condition; fails when there is none in time."""
    ends = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > ends:
            raise AssertionError("the expected state was not reached in time")
        time.sleep(0.02)
    return value


def config_map(name: str, data: dict[str, str] | None = None, **metadata: t.Any) -> dict[str, t.Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {"k": "v"}}
