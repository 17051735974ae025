# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Prometheus text format, version 0.0.4: pure.

Source: Prometheus docs/instrumenting/exposition_formats.md.
"""
from __future__ import annotations

import dataclasses
import math
import typing as t

Labels = dict[str, str]


@dataclasses.dataclass
class Family:
    """One metric: its name, what it is, and its samples. `kind` is gauge, counter or histogram."""

    name: str
    description: str
    kind: str = "gauge"
    samples: list[tuple[str, Labels, float]] = dataclasses.field(default_factory=list)

    def add(self, value: float, **labels: str) -> None:
        self.samples.append((self.name, labels, value))

    def observe(self, values: t.Sequence[float], bounds: t.Sequence[float], **labels: str) -> None:
        """A histogram of the values, which are as many as are known now."""
        for bound in (*bounds, math.inf):
            self.samples.append((f"{self.name}_bucket", {**labels, "le": number(bound)}, sum(1 for value in values if value <= bound)))
        self.samples.append((f"{self.name}_sum", labels, math.fsum(values)))
        self.samples.append((f"{self.name}_count", labels, len(values)))


def number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def exposition(families: t.Iterable[Family]) -> bytes:
    """All of them as one text; a metric without a sample is left out."""
    lines = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {family.description}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for name, labels, value in family.samples:
            inside = ",".join(f'{key}="{_label(text)}"' for key, text in sorted(labels.items()))
            lines.append(f"{name}{{{inside}}} {number(value)}" if inside else f"{name} {number(value)}")
    return ("\n".join(lines) + "\n").encode() if lines else b""
