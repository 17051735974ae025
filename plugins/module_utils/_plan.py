# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every verb plans and returns. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

Json = dict[str, t.Any]


@dataclass(frozen=True)
class Change:
    """One write: C(verb) is create, patch, update, delete or approve. C(before) and C(after) hold what differs, None for absence."""

    verb: str
    kind: str
    namespace: str
    name: str
    reason: str
    before: Json | None = None
    after: Json | None = None

    @property
    def object_name(self) -> str:
        """Kind namespace/name, as people read it."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    def to_dict(self) -> Json:
        return {
            "verb": self.verb, "kind": self.kind, "namespace": self.namespace, "name": self.name, "reason": self.reason,
            "before": self.before, "after": self.after,
        }


@dataclass(frozen=True)
class Plan:
    """Everything that would be written, in order, and what was learnt on the way. An empty plan means that nothing changes."""

    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    facts: Json = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not self.changes

    def actions(self) -> list[Json]:
        return [change.to_dict() for change in self.changes]

    def diff(self) -> list[Json]:
        """One entry a change, as ansible shows them with --diff."""
        return [
            {
                "before_header": f"{change.object_name} (before)", "after_header": f"{change.object_name} (after)",
                "before": change.before if change.before is not None else {}, "after": change.after if change.after is not None else {},
            }
            for change in self.changes
        ]


@dataclass
class Outcome:
    """What a verb returns. C(result) holds the keys of its own; C(lines) are for people who watch, and not part of the result."""

    changed: bool
    msg: str
    actions: list[Json] = field(default_factory=list)
    summary: Json = field(default_factory=dict)
    result: Json = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    diff: list[Json] = field(default_factory=list)
    timeline: list[Json] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def to_result(self) -> Json:
        """The task's result; warnings and diff travel separately."""
        return {
            "changed": self.changed, "msg": self.msg, "actions": self.actions, "summary": self.summary, "timeline": self.timeline,
            **self.result,
        }


class Listener(t.Protocol):
    """Hears what happens while it happens."""

    def event(self, text: str, **data: t.Any) -> None:
        """Something changed: one line for people, data for the timeline."""

    def heartbeat(self, text: str) -> None:
        """Nothing changed, but the work goes on; shown now and then."""


class SilentListener:
    """Says nothing and keeps the timeline. C(clock) gives seconds."""

    def __init__(self, clock: t.Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self.timeline: list[Json] = []

    def event(self, text: str, **data: t.Any) -> None:
        self.timeline.append({"offset": round(self._clock() - self._began, 3), "event": text, **data})

    def heartbeat(self, text: str) -> None:
        """Not kept."""
