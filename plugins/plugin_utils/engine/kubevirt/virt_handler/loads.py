# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the annotations of a virtual machine say of its load and of what is to go wrong: pure.

They are read from the instance (the machine's template hands them down) and else from the machine itself.
"""
from __future__ import annotations

import dataclasses
import typing as t

from ...apiserver.quantities import QuantityError, quantity
from ...interface import Object
from ..precopy import Copy, FixedCopy, Guest, Pattern, Settings, Writer
from ..precopy.settings import TLS
from ..virt_controller.configuration import bytes_of
from .monitor import guest_memory

PREFIX = "engine.okd.virt/"
LINK = PREFIX + "link-mib-s"
LINK_DEFAULT = 1192.0
"""MiB/s each way: 10 Gbit/s."""
NONZERO, DIRTY_RATE, WORKING_SET = 0.5, 10.0, 128.0
"""A guest that says nothing: half of its memory is in use, 10 MiB/s are written, all over 128 MiB or an eighth of its memory."""
CHANNELS = 8
_MIB = 1048576


@dataclasses.dataclass(frozen=True)
class Trouble:
    """What is to go wrong. `failures` is how many migrations fail (None: none, -1: all), in the phase `at`."""

    failures: int = 0
    at: str = "Running"
    hangs: bool = False


def said_of(*objects: Object | None) -> dict[str, str]:
    """The engine's annotations; the first object that has one is right."""
    found: dict[str, str] = {}
    for obj in objects:
        for name, value in ((obj or {}).get("metadata", {}).get("annotations") or {}).items():
            if name.startswith(PREFIX):
                found.setdefault(name.removeprefix(PREFIX), value)
    return found


def _mib(text: str | None, default: float, whole: float = 0.0) -> float:
    """A quantity of bytes, or a percentage of the whole, in MiB; the default for what is neither."""
    if text is None:
        return default
    try:
        if text.endswith("%"):
            return max(0.0, min(100.0, float(text[:-1]))) / 100 * whole
        return max(0.0, float(quantity(text)) / _MIB)
    except (QuantityError, ValueError):
        return default


T = t.TypeVar("T", Pattern, Writer)


def _word(kind: type[T], text: str | None, default: T) -> T:
    try:
        return kind(text) if text is not None else default
    except ValueError:
        return default


def guest(vmi: Object, said: t.Mapping[str, str]) -> Guest:
    memory = max(1.0, guest_memory(vmi) / _MIB)
    nonzero = min(memory, _mib(said.get("nonzero"), NONZERO * memory, memory))
    working = min(memory, _mib(said.get("working-set"), min(WORKING_SET, memory / 8), memory))
    return Guest(
        memory, max(nonzero, working), working, _mib(said.get("dirty-rate"), DIRTY_RATE), _word(Pattern, said.get("pattern"), Pattern.UNIFORM),
        _word(Writer, said.get("writer"), Writer.OPEN),
    )


def settings(vmi: Object) -> Settings:
    """As virt-launcher tells QEMU: eight channels unless post-copy may come or the guest's CPU is limited, TLS between virt-handlers."""
    asked = ((vmi.get("status") or {}).get("migrationState") or {}).get("migrationConfiguration") or {}
    limited = "cpu" in (((vmi["spec"].get("domain") or {}).get("resources") or {}).get("limits") or {})
    channels = 0 if limited or asked.get("allowPostCopy") else CHANNELS
    return Settings(
        bandwidth=float(round(bytes_of(asked.get("bandwidthPerMigration") or "0") / _MIB)), auto_converge=bool(asked.get("allowAutoConverge")),
        tls=not asked.get("disableTLS"), tls_speed=TLS * max(1, channels), multifd=channels,
    )


def copy(vmi: Object, said: t.Mapping[str, str], began: float) -> Copy | FixedCopy:
    """The copy of the instance's memory that begins now."""
    load = guest(vmi, said)
    try:
        return FixedCopy(load.memory, max(0.0, float(said["copy-seconds"])), began)
    except (KeyError, ValueError):
        return Copy(load, settings(vmi), began)


def trouble(said: t.Mapping[str, str]) -> Trouble:
    text, dummy, at = said.get("fail-migration", "").partition("@")
    failures = -1 if text == "true" else int(text) if text.isdigit() else 0
    return Trouble(failures, at or "Running", said.get("hang-migration") == "true")


def link_speed(node: Object | None) -> float:
    """MiB/s of the node's link, each way."""
    text = ((node or {}).get("metadata", {}).get("annotations") or {}).get(LINK)
    try:
        return max(0.0, float(text)) if text is not None else LINK_DEFAULT
    except ValueError:
        return LINK_DEFAULT
