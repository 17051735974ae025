# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a VM's memory has been copied, where KubeVirt's metrics can be read. Private to this collection.

Source: KubeVirt docs/observability/metrics.md (kubevirt_vmi_migration_*).
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

Json = dict[str, t.Any]
Key = tuple[str, str]
_PREFIX = "kubevirt_vmi_migration_"
_NAMES = {
    "data_total_bytes": "total", "data_processed_bytes": "processed", "data_remaining_bytes": "remaining", "dirty_memory_rate_bytes": "dirty_rate",
    "disk_transfer_rate_bytes": "rate", "memory_transfer_rate_bytes": "rate",
}
_LINE = re.compile(rf"^{_PREFIX}(?P<name>\w+)\{{(?P<labels>.*)\}} (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass
class Transfer:
    """Bytes, and bytes per second; -1 for what is not shown."""

    total: float = -1
    processed: float = -1
    remaining: float = -1
    rate: float = -1
    dirty_rate: float = -1

    def to_dict(self) -> Json:
        """C(percent) is the share of the total that need not be sent any more; C(remaining_seconds) is an estimate by the present rate."""
        shown: Json = {f"{name}_bytes": int(value) for name, value in vars(self).items() if value >= 0}
        if self.total > 0 and self.remaining >= 0:
            shown["percent"] = max(0, min(100, int(100 * (1 - self.remaining / self.total))))
        if self.rate > max(0.0, self.dirty_rate) and self.remaining >= 0:
            shown["remaining_seconds"] = round(self.remaining / (self.rate - max(0.0, self.dirty_rate)), 1)
        return shown


def transfers(metrics: str) -> dict[Key, Transfer]:
    """By namespace and name of the instance, out of metrics in Prometheus' text format."""
    found: dict[Key, Transfer] = {}
    for line in metrics.splitlines():
        matched = _LINE.match(line)
        field = _NAMES.get(matched["name"]) if matched else None
        if matched is None or field is None:
            continue
        labels = dict(_LABEL.findall(matched["labels"]))
        try:
            value = float(matched["value"])
        except ValueError:
            continue
        setattr(found.setdefault((labels.get("namespace", ""), labels.get("name", "")), Transfer()), field, value)
    return found
