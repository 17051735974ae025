# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options of vm_migration ask for. Private to this collection."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from .._errors import OptionError
from .._options import ArgumentSpec

Options = t.Mapping[str, t.Any]
MIGRATED, CANCELLED = STATES = ("migrated", "cancelled")
REFUSE, SKIP = ON_UNMIGRATABLE = ("refuse", "skip")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Request:
    """Seconds for C(deadline). C(run) is empty unless the caller names the run."""

    state: str = MIGRATED
    namespace: str = ""
    names: tuple[str, ...] = ()
    label_selector: str = ""
    from_nodes: tuple[str, ...] = ()
    target_node_selector: t.Mapping[str, str] = field(default_factory=dict)
    run: str = ""
    on_unmigratable: str = REFUSE
    wait: bool = True
    deadline: float = 3600.0


def spec() -> ArgumentSpec:
    """The options of the verb."""
    return ArgumentSpec(
        {
            "state": {"type": "str", "choices": list(STATES), "default": MIGRATED},
            "namespace": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "default": [], "aliases": ["name", "vm"]},
            "label_selector": {"type": "str"},
            "from_nodes": {"type": "list", "elements": "str", "default": []},
            "target_node_selector": {"type": "dict", "default": {}},
            "run": {"type": "str"},
            "on_unmigratable": {"type": "str", "choices": list(ON_UNMIGRATABLE), "default": REFUSE},
            "wait": {"type": "bool", "default": True},
            "deadline": {"type": "int", "default": 3600},
        },
        required_one_of=(("names", "label_selector"),),
        mutually_exclusive=(("names", "label_selector"),),
    )


def request_of(options: Options) -> Request:
    """The options, checked. Raises OptionError."""
    if options["deadline"] < 1:
        raise OptionError(f"deadline is {options['deadline']}; it must be 1 at least.")
    if not options["names"] and not options["label_selector"]:
        raise OptionError("names is empty: name the VMs, or give label_selector.")
    run = options["run"] or ""
    if run and not _LABEL_VALUE.fullmatch(run):
        raise OptionError(f"run: {run!r} can't be the value of a label: up to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends.")
    return Request(
        options["state"], options["namespace"], tuple(dict.fromkeys(options["names"])), options["label_selector"] or "", tuple(options["from_nodes"]),
        {key: str(value) for key, value in options["target_node_selector"].items()}, run, options["on_unmigratable"], options["wait"],
        float(options["deadline"]),
    )
