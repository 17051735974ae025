# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drain is asked to do. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

DRAINED, CORDONED, UNCORDONED, CANCELLED = "drained", "cordoned", "uncordoned", "evacuation_cancelled"
STATES = (DRAINED, CORDONED, UNCORDONED, CANCELLED)
REFUSE, SKIP, RESTART = "refuse", "skip", "stop_and_restart"
BY_MIGRATION, BY_EVICTION = "migration", "eviction"


@dataclass(frozen=True)
class Request:
    """The options of node_drain. C(deadline) in seconds, C(grace_period) None for each pod's own."""

    state: str = DRAINED
    deadline: float = 3600.0
    wait: bool = True
    pod_selector: str = ""
    vms_first: bool = True
    grace_period: int | None = None
    delete_emptydir_data: bool = False
    ignore_daemonsets: bool = True
    evict_uncontrolled: bool = False
    on_unmigratable: str = REFUSE
    move_by: str = BY_MIGRATION
    marked_ahead: int = 0
    migration_attempts: int = 5
    max_parallel: int = 1
    take_over: bool = False
    clear_marks: bool = False
    require_room: bool = True
    metrics_path: str = ""


def request_of(options: t.Mapping[str, t.Any]) -> Request:
    """The options as a request."""
    given = {name: options[name] for name in Request.__dataclass_fields__ if options.get(name) is not None}
    return Request(**given)
