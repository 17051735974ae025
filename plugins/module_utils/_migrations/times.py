# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a migration did what. Private to this collection.

Source: KubeVirt api/core/v1/types.go (VirtualMachineInstanceMigrationPhaseTransitionTimestamp).
"""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass

from .state import is_final

Json = dict[str, t.Any]


@dataclass(frozen=True)
class PhaseTime:
    """One phase: since when, and for how many seconds; None while it lasts, and for a final one."""

    phase: str
    since: str
    seconds: float | None


def moment(text: t.Any) -> datetime.datetime | None:
    """A timestamp of the API; None for none, and for what is none."""
    try:
        return datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00")) if text else None
    except ValueError:
        return None


def seconds_between(begin: t.Any, end: t.Any) -> float | None:
    """Between two timestamps, never below 0."""
    first, last = moment(begin), moment(end)
    return None if first is None or last is None else max(0.0, (last - first).total_seconds())


def phase_times(migration: Json) -> list[PhaseTime]:
    """The phases that it has been through, oldest first. Unset is the time before the controller saw it."""
    told = (migration.get("status") or {}).get("phaseTransitionTimestamps") or ()
    entries = [("Unset", str(migration["metadata"].get("creationTimestamp") or ""))]
    entries += [(str(one.get("phase") or "Unset"), str(one.get("phaseTransitionTimestamp") or "")) for one in told]
    ends: list[str | None] = [since for _phase, since in entries[1:]]
    return [PhaseTime(phase, since, seconds_between(since, end)) for (phase, since), end in zip(entries, [*ends, None], strict=True)]


def ended_at(migration: Json) -> str:
    """When it became final; "" while it has not."""
    return phase_times(migration)[-1].since if is_final(migration) else ""
