# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The physics by hand: a JSON object a line in, one a line out.

In: memory_mib, nonzero_mib, working_set_mib, dirty_mib_s, pattern (sequential, uniform, hot), writer (open, closed), bandwidth_mib_s (0 is
no limit), raw_mib_s, downtime_limit_ms, auto_converge, post_copy_after_s (null is never), post_copy_mib_s, cancel_after_s (null is never),
tls, tls_mib_s, multifd (channels, 0 is off). Out: status, total_ms, stop_ms, throttle_percent, iterations, sent_mib; or error.
"""
from __future__ import annotations

import dataclasses
import difflib
import enum
import json
import math
import typing as t

from .copying import Copy, Phase
from .guest import Guest, Pattern, Writer
from .settings import RAW, TLS, Settings

LONGEST = 86400.0
MOST_ROUNDS = 10000
"""Seconds, or rounds, after which a copy that never ends is cancelled when nothing else was asked for."""

Object = dict[str, t.Any]
_REQUIRED = object()


class BadLine(ValueError):
    """A sentence that names the field."""


@dataclasses.dataclass(frozen=True)
class Request:
    guest: Guest
    settings: Settings
    post_copy_after: float | None
    cancel_after: float | None


def _number(name: str, value: t.Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise BadLine(f"{name} is {json.dumps(value)}: it has to be a number that is not negative")
    return float(value)


def _switch(name: str, value: t.Any) -> bool:
    if value not in (True, False) or isinstance(value, float):
        raise BadLine(f"{name} is {json.dumps(value)}: it has to be true or false")
    return bool(value)


def _channels(name: str, value: t.Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadLine(f"{name} is {json.dumps(value)}: it has to be a number of channels, 0 for off")
    return value


def _moment(name: str, value: t.Any) -> float | None:
    return None if value is None else _number(name, value)


def _word(kind: type[enum.Enum]) -> t.Callable[[str, t.Any], t.Any]:
    words = [member.value for member in kind]

    def read(name: str, value: t.Any) -> t.Any:
        if value not in words:
            raise BadLine(f"{name} is {json.dumps(value)}: it has to be one of {', '.join(words)}")
        return kind(value)

    return read


_FIELDS: dict[str, tuple[t.Callable[[str, t.Any], t.Any], t.Any]] = {
    "memory_mib": (_number, _REQUIRED), "nonzero_mib": (_number, _REQUIRED), "working_set_mib": (_number, 0.0), "dirty_mib_s": (_number, 0.0),
    "pattern": (_word(Pattern), Pattern.SEQUENTIAL), "writer": (_word(Writer), Writer.OPEN), "bandwidth_mib_s": (_number, 0.0),
    "raw_mib_s": (_number, RAW), "downtime_limit_ms": (_number, 300.0), "auto_converge": (_switch, False),
    "post_copy_after_s": (_moment, None), "post_copy_mib_s": (_number, 0.0), "cancel_after_s": (_moment, None), "tls": (_switch, False),
    "tls_mib_s": (_number, TLS), "multifd": (_channels, 0),
}  # fmt: skip


def read(line: str) -> Request:
    """One line. Raises BadLine."""
    try:
        given = json.loads(line)
    except ValueError as error:
        raise BadLine(f"the line is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise BadLine("the line is not a JSON object")
    for name in given:
        meant = [] if name in _FIELDS else difflib.get_close_matches(name, _FIELDS, 1, 0.8)
        if meant:
            raise BadLine(f"{name} is no field: is {meant[0]} meant?")
    fields: Object = {}
    for name, (parse, default) in _FIELDS.items():
        value = given.get(name)
        if value is None and default is _REQUIRED:
            raise BadLine(f"{name} is missing")
        fields[name] = default if value is None else parse(name, value)
    return _request(fields)


def _request(fields: Object) -> Request:
    if fields["memory_mib"] <= 0:
        raise BadLine("memory_mib is 0: a guest has memory")
    for name in ("nonzero_mib", "working_set_mib"):
        if fields[name] > fields["memory_mib"]:
            raise BadLine(f"{name} is {fields[name]:g}: that is more than memory_mib ({fields['memory_mib']:g})")
    for name in ("raw_mib_s", "tls_mib_s"):
        if fields[name] <= 0:
            raise BadLine(f"{name} is 0: nothing would ever be sent")
    guest = Guest(
        fields["memory_mib"], fields["nonzero_mib"], fields["working_set_mib"], fields["dirty_mib_s"], fields["pattern"], fields["writer"]
    )
    settings = Settings(
        bandwidth=fields["bandwidth_mib_s"], raw=fields["raw_mib_s"], downtime_limit=fields["downtime_limit_ms"] / 1000,
        auto_converge=fields["auto_converge"], post_copy_bandwidth=fields["post_copy_mib_s"], tls=fields["tls"],
        tls_speed=fields["tls_mib_s"], multifd=fields["multifd"],
    )
    return Request(guest, settings, fields["post_copy_after_s"], fields["cancel_after_s"])


def migrate(request: Request) -> Copy:
    """The whole of one migration, alone on its link."""
    copy = Copy(request.guest, request.settings)
    cancel, post_copy = request.cancel_after, request.post_copy_after
    if post_copy is not None and (cancel is None or post_copy < cancel):
        copy.start_post_copy(max(post_copy, request.settings.set_up))
    if cancel is None:
        cancel = _patience(copy)
    copy.advance(cancel)
    if not copy.phase.final and not copy.cancel(cancel):
        copy.advance(math.inf)
    return copy


def _patience(copy: Copy) -> float:
    """Advance a copy that nobody cancels; returns when to cancel it after all."""
    moment = 0.0
    while not copy.phase.final and moment < LONGEST and copy.iterations < MOST_ROUNDS:
        moment += 60.0
        copy.advance(moment)
    return moment


def answer(line: str) -> Object:
    """What one line gives. Raises BadLine."""
    copy = migrate(read(line))
    completed = copy.phase is Phase.COMPLETED
    return {
        "status": copy.phase.value, "total_ms": round(copy.ended * 1000, 3), "stop_ms": round(copy.stop * 1000, 3) if completed else None,
        "throttle_percent": round(copy.throttle * 100), "iterations": copy.iterations, "sent_mib": round(copy.on_the_wire, 3),
    }


def run(lines: t.Iterable[str], out: t.TextIO) -> int:
    """Answer each line as it comes; exit status 1 when one was bad."""
    status = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            result = answer(line)
        except BadLine as error:
            status, result = 1, {"error": f"line {number}: {error}"}
        print(json.dumps(result), file=out, flush=True)
    return status
