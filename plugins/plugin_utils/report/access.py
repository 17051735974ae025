# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may live-migrate at several moments, side by side. Private to this collection."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

EVERYWHERE = "*"


class Pair(t.NamedTuple):
    """A subject, written C(user:alice), C(group:devs) or C(serviceaccount:ci:deployer), and a namespace; C(*) is the whole cluster."""

    subject: str
    namespace: str

    def to_dict(self) -> dict[str, str]:
        """As it stands in a report."""
        return {"subject": self.subject, "namespace": self.namespace}


class Outlook(t.NamedTuple):
    """What the audit says about a pair: whether 4.19 takes the access, and why it does or does not."""

    loses: bool
    reason: str


@dataclass(frozen=True)
class Moment:
    """Everybody who may live-migrate at one moment."""

    label: str
    holders: Mapping[Pair, Outlook]

    @classmethod
    def of(cls, label: str, audit: Mapping[str, t.Any]) -> Moment:
        """From a result of migrate_access_info. Raises KeyError when it is none."""
        holders = {
            Pair(entry["subject"], namespace): Outlook(entry["loses"], entry["reason"])
            for entry in audit["access"]
            if entry["may_migrate"]
            for namespace in (entry["namespaces"] if entry["scope"] == "namespaces" else [EVERYWHERE])
        }
        return cls(label, holders)

    def outlook(self, pair: Pair) -> Outlook | None:
        """What the audit says about a pair, None without access. Access to the whole cluster is access to each namespace."""
        return self.holders.get(pair) or self.holders.get(Pair(pair.subject, EVERYWHERE))

    def to_dict(self) -> list[dict[str, t.Any]]:
        """One entry a pair, sorted."""
        return [{**pair.to_dict(), "loses": outlook.loses, "reason": outlook.reason} for pair, outlook in sorted(self.holders.items())]


def subject_text(subject: Mapping[str, t.Any]) -> str:
    """A subject with kind, name and namespace in one word."""
    middle = f"{subject['namespace']}:" if subject["kind"] == "ServiceAccount" else ""
    return f"{subject['kind'].lower()}:{middle}{subject['name']}"


def table(moments: Sequence[Moment]) -> list[str]:
    """Lines of a table: a row for each subject and the namespaces in which it fares alike, a column for each moment.

    The last column says what the first moment's audit announced.
    """
    header = ("subject", "namespaces", *(moment.label for moment in moments), "announced")
    rows = [
        (subject, _namespaces(namespaces), *("yes" if held else "-" for held in pattern), announced)
        for (subject, pattern, announced), namespaces in _alike(moments).items()
    ]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (header, *rows)]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _alike(moments: Sequence[Moment]) -> dict[tuple[str, tuple[bool, ...], str], list[str]]:
    """Namespaces by subject, access at each moment, and what was announced."""
    found: dict[tuple[str, tuple[bool, ...], str], list[str]] = {}
    for pair in sorted({pair for moment in moments for pair in moment.holders}):
        pattern = tuple(moment.outlook(pair) is not None for moment in moments)
        outlook = moments[0].outlook(pair)
        announced = "" if outlook is None else ("loses it" if outlook.loses else "keeps it")
        found.setdefault((pair.subject, pattern, announced), []).append(pair.namespace)
    return found


def _namespaces(names: Sequence[str], most: int = 4) -> str:
    if EVERYWHERE in names:
        return "(all)"
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
