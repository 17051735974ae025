# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rolling drain is asked to do. Private to this collection."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from .._errors import OptionError
from .._options import ArgumentSpec, drain_spec
from .._verb import Options
from . import verb
from .alerts import Alerts, alerts
from .health import Gate, gates
from .request import Request
from .turns import AFTER, BEFORE

_LEAST = {"deadline": 1, "node_deadline": 1, "max_quarantined": 0, "soak_time": 0, "max_parallel": 1, "hold_time": 1, "site_time": 0}


def spec() -> ArgumentSpec:
    """The options of the verb."""
    return ArgumentSpec(
        {
            "deadline": {"type": "int", "default": 14400},
            "node_deadline": {"type": "int", "default": 3600},
            "max_parallel": {"type": "int"},
            "max_quarantined": {"type": "int", "default": 0},
            "quarantine": {"type": "str", "choices": ["cordoned", "uncordoned"], "default": "cordoned"},
            "uncordon": {"type": "bool", "default": True},
            "soak_time": {"type": "int", "default": 0},
            "health": {
                "type": "list", "elements": "dict", "default": [],
                "options": {
                    "api_version": {"type": "str", "default": "v1"}, "kind": {"type": "str", "required": True}, "name": {"type": "str"},
                    "namespace": {"type": "str"}, "label_selector": {"type": "str"}, "query": {"type": "str", "required": True}, "sentence": {"type": "str"},
                },
            },
            "stop_on_alerts": {
                "type": "dict",
                "options": {
                    "path": {"type": "str", "required": True}, "names": {"type": "list", "elements": "str", "default": []},
                    "severities": {"type": "list", "elements": "str", "default": ["critical"]},
                    "ignore": {"type": "list", "elements": "str", "default": []},
                },
            },
            "end_by": {"type": "str"},
            "restart": {"type": "bool", "default": False},
            "hold_for": {"type": "list", "elements": "str", "choices": [BEFORE, AFTER], "default": []},
            "hold_time": {"type": "int", "default": 3600},
            "site_time": {"type": "int", "default": 0},
            "step": {"type": "dict", "options": {"run": {"type": "str", "required": True}, "began": {"type": "str", "required": True}}},
            "handed_back": {
                "type": "list", "elements": "dict", "default": [],
                "options": {"name": {"type": "str", "required": True}, "failed": {"type": "str"}},
            },
        },
    ).merge(drain_spec())


@dataclass(frozen=True)
class RollingRequest:
    """What belongs to turns; C(drain) is what holds for each node. C(end_by) None is never.

    C(run) and C(began) name the run of which this is a step, C(handed_back) the nodes that the site is done with, with what went wrong there.
    """

    drain: Request
    max_parallel: int
    node_deadline: float
    max_quarantined: int
    leave_quarantined_cordoned: bool
    uncordon: bool
    soak_time: float
    gates: tuple[Gate, ...]
    alerts: Alerts | None
    end_by: datetime.datetime | None
    restart: bool
    hold_for: frozenset[str]
    hold_time: float
    site_time: float
    run: str
    began: datetime.datetime | None
    handed_back: dict[str, str]


def checked(options: Options, pool_allows: int = 1) -> RollingRequest:
    """What the options ask for. Raises OptionError."""
    for name, least in _LEAST.items():
        if options.get(name) is not None and options[name] < least:
            raise OptionError(f"{name} is {options[name]}; it must be {least} at least.")
    step = options["step"] or {}
    if options["handed_back"] and not step:
        raise OptionError("handed_back says of which nodes the site is done; it needs the step that the task before has returned.")
    return RollingRequest(
        verb.checked({**options, "state": "drained", "wait": True, "clear_marks": False, "max_parallel": 1}),
        options["max_parallel"] or pool_allows, options["node_deadline"], options["max_quarantined"], options["quarantine"] == "cordoned",
        options["uncordon"], options["soak_time"], gates(options["health"]), alerts(options["stop_on_alerts"]),
        _moment("end_by", options["end_by"]), options["restart"], frozenset(options["hold_for"]), options["hold_time"], options["site_time"],
        step.get("run", ""), _moment("step.began", step.get("began")), {one["name"]: one.get("failed") or "" for one in options["handed_back"]},
    )


def _moment(option: str, text: str | None) -> datetime.datetime | None:
    if not text:
        return None
    try:
        found = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise OptionError(f"{option} is {text!r}, no time such as 2026-05-01T04:00:00+02:00.") from error
    if found.tzinfo is None:
        raise OptionError(f"{option} is {text!r}; add its offset from UTC, such as +02:00.")
    return found
