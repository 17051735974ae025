# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rehearsal has shown: who had access at the beginning and at the end, who lost it, and whether that was announced. Private to this collection."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .access import EVERYWHERE, Moment, Pair

Json = dict[str, t.Any]


@dataclass(frozen=True)
class Stage:
    """One stage as it went. C(duration) in seconds; C(actions) as the verbs return them; C(after) is None when it failed."""

    name: str
    duration: float
    actions: Sequence[Mapping[str, t.Any]]
    after: Moment | None
    error: str = ""

    def to_dict(self) -> Json:
        """As it stands in the report."""
        return {
            "name": self.name,
            "result": "failed" if self.error else "passed",
            "error": self.error,
            "duration": round(self.duration, 2),
            "changed": bool(self.actions),
            "actions": [_short(action) for action in self.actions],
            "access": None if self.after is None else self.after.to_dict(),
        }


def report(
    before: Moment | None,
    stages: Sequence[Stage],
    trusted: t.Callable[[Pair], bool],
    durations: Mapping[str, float],
    error: str = "",
) -> Json:
    """The whole report.

    C(passed) means: every stage ended well, nobody trusted lost access, and nobody lost it unannounced.
    C(error) is what went wrong outside of a stage, such as a cluster that could not be started.
    """
    moments = [moment for moment in (before, *(stage.after for stage in stages)) if moment is not None]
    after = moments[-1] if moments else None
    lost = [] if before is None or after is None else _lost(before, stages, after, trusted)
    findings = [_loss(entry) for entry in lost]
    findings += _interruptions(moments, trusted)
    findings += [_error(stage.name, stage.error) for stage in stages if stage.error]
    if error:
        findings.append(_error("rehearsal", error))
    passed = not any(finding["severity"] == "error" for finding in findings)
    return {
        "result": "passed" if passed else "failed",
        "stages": [stage.to_dict() for stage in stages],
        "access": {
            "before": [] if before is None else before.to_dict(),
            "after": [] if after is None else after.to_dict(),
            "lost": lost,
        },
        "findings": findings,
        "durations": {name: round(seconds, 2) for name, seconds in durations.items()},
    }


def _lost(before: Moment, stages: Sequence[Stage], after: Moment, trusted: t.Callable[[Pair], bool]) -> list[Json]:
    return [
        {
            **pair.to_dict(),
            "stage": _lost_in(pair, stages),
            "announced": before.holders[pair].loses,
            "trusted": trusted(pair),
            "reason": before.holders[pair].reason,
        }
        for pair in sorted(before.holders)
        if after.outlook(pair) is None
    ]


def _lost_in(pair: Pair, stages: Sequence[Stage]) -> str:
    """The stage after which the pair had no access any more, for good."""
    name = ""
    for stage in reversed(stages):
        if stage.after is None:
            continue
        if stage.after.outlook(pair) is not None:
            break
        name = stage.name
    return name


def _interruptions(moments: Sequence[Moment], trusted: t.Callable[[Pair], bool]) -> list[Json]:
    """Trusted pairs with access at the beginning and at the end, and without it in between."""
    if not moments:
        return []
    findings = []
    for pair in sorted({pair for moment in moments for pair in moment.holders if trusted(pair)}):
        without = [moment.label for moment in moments if moment.outlook(pair) is None]
        if without and not {moments[0].label, moments[-1].label} & set(without):
            sentence = f"{pair.subject} is trusted and could not live-migrate in {_place(pair.namespace)} at: {', '.join(without)}"
            findings.append({"id": "trusted-interrupted", "severity": "warning", "object": pair.subject, "sentence": sentence})
    return findings


def _place(namespace: str) -> str:
    return "the whole cluster" if namespace == EVERYWHERE else namespace


def _loss(entry: Json) -> Json:
    sentence = f"{entry['subject']} lost live migration in {_place(entry['namespace'])} by {entry['stage']}"
    if entry["trusted"]:
        return {"id": "trusted-lost", "severity": "error", "object": entry["subject"], "sentence": f"{sentence}, and is trusted"}
    if not entry["announced"]:
        return {"id": "lost-unannounced", "severity": "error", "object": entry["subject"], "sentence": f"{sentence}, which the audit did not announce"}
    return {"id": "lost-as-announced", "severity": "info", "object": entry["subject"], "sentence": f"{sentence}, as the audit announced"}


def _error(name: str, text: str) -> Json:
    return {"id": "failed", "severity": "error", "object": name, "sentence": f"{name}: {text}"}


def _short(action: Mapping[str, t.Any]) -> Json:
    """An action without the whole objects before and after."""
    return {key: action.get(key, "") for key in ("verb", "kind", "namespace", "name", "reason")}
