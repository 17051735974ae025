# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what each task answered to the file named by OKD_VIRT_TASK_RESULTS, one JSON object a line."""

from __future__ import annotations

DOCUMENTATION = """
name: task_results
type: notification
short_description: Task results as JSON lines, for tests
version_added: 1.0.0
description: Writes one JSON object a line for each task that ended.
author: okd.virt contributors (@okd)
requirements: [the environment variable OKD_VIRT_TASK_RESULTS]
"""

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "task_results"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, status: str, result: Any) -> None:
        path = os.environ.get("OKD_VIRT_TASK_RESULTS")
        if path:
            line = {
                "status": status,
                "task": result._task.get_name(),
                "action": result._task.action,
                "result": result._result,
            }
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        self._write("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._write("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._write("skipped", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._write("failed", result)
