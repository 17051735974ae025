# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings for a while: what was there before stands on the HyperConverged itself, so that any later run can put it back. Pure.

Private to this collection.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import asdict, dataclass, field

from .fields import Value, same

Json = dict[str, t.Any]
RECORD = "okd.virt/temporary-live-migration-config"
"""Annotation of the HyperConverged: the record as JSON."""


@dataclass(frozen=True)
class Record:
    """Who has changed what for a while, and since when (RFC 3339). C(before) and C(set) by key, None for a key that was not, or is not, there."""

    holder: str
    since: str
    before: t.Mapping[str, Value] = field(default_factory=dict)
    set: t.Mapping[str, Value] = field(default_factory=dict)

    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    def to_dict(self) -> Json:
        return asdict(self)

    def with_more(self, current: t.Mapping[str, Value], wanted: t.Mapping[str, Value]) -> Record:
        """Further settings; of one that is changed a second time the first value is kept."""
        before = {key: self.before[key] if key in self.before else current.get(key) for key in {**self.before, **wanted}}
        return Record(self.holder, self.since, before, {**self.set, **wanted})

    def to_restore(self, current: t.Mapping[str, Value]) -> tuple[dict[str, Value], dict[str, Value]]:
        """What is put back, and what is left as it is since somebody has changed it meanwhile (with the value that it has)."""
        mine = {key for key, value in self.set.items() if same(key, current.get(key), value)}
        back = {key: value for key, value in self.before.items() if key in mine}
        return back, {key: current.get(key) for key in self.before if key not in mine and not same(key, current.get(key), self.before[key])}


def record_of(hyperconverged: Json) -> Record | None:
    """The record, None when there is none. Raises ValueError for one that can't be read."""
    text = (hyperconverged["metadata"].get("annotations") or {}).get(RECORD)
    if not text:
        return None
    found = json.loads(text)
    if not isinstance(found, dict) or not all(isinstance(found.get(name), dict) for name in ("before", "set")):
        raise ValueError(text)
    return Record(str(found.get("holder") or "somebody unknown"), str(found.get("since") or "?"), found["before"], found["set"])
