# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check of a cluster finds. Pure. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

Json = dict[str, t.Any]
BLOCKER, WARNING, NOTE = "blocker", "warning", "note"
SEVERITIES = (BLOCKER, WARNING, NOTE)
IDS = {
    "bandwidth_unlimited": NOTE,
    "budget_never_opens": BLOCKER,
    "eviction_strategy_external": NOTE,
    "eviction_strategy_none": WARNING,
    "heartbeat_stale": WARNING,
    "kubevirt_not_available": BLOCKER,
    "launcher_outdated": WARNING,
    "load_unreadable": NOTE,
    "migratability_unknown": WARNING,
    "migrate_rights_held": NOTE,
    "migrate_rights_unknown": NOTE,
    "migration_failing": WARNING,
    "migration_network_missing": BLOCKER,
    "migration_network_not_used": WARNING,
    "migration_network_shared": NOTE,
    "migration_network_unfit": WARNING,
    "migration_running": NOTE,
    "migration_stuck": WARNING,
    "no_node_fits": BLOCKER,
    "no_parallel_migrations": BLOCKER,
    "node_cannot_be_emptied": WARNING,
    "node_cordoned": WARNING,
    "node_not_ready": WARNING,
    "node_not_schedulable_for_vms": WARNING,
    "not_migratable": BLOCKER,
    "not_upgradeable": WARNING,
    "policies_tie": WARNING,
    "policy_selects_nothing": NOTE,
    "room_is_tight": NOTE,
    "spare_memory": WARNING,
    "storage_not_shared": BLOCKER,
    "target_cpu_missing": BLOCKER,
    "tls_disabled": WARNING,
    "unsafe_migration_override": WARNING,
    "update_blocked": WARNING,
    "update_in_progress": WARNING,
    "update_state_unknown": NOTE,
    "update_waiting": NOTE,
    "will_not_converge": WARNING,
}
"""Every id with its severity. They stay the same from release to release."""


@dataclass(frozen=True)
class Finding:
    """C(namespace) is empty for what has none. C(sentence) says what is found, C(remedy) what helps; C(data) has what both rest on."""

    id: str
    kind: str
    namespace: str
    name: str
    sentence: str
    remedy: str
    data: Json = field(default_factory=dict)
    severity: str = ""

    @property
    def level(self) -> str:
        """Its own severity where it has one, else that of its id."""
        return self.severity or IDS[self.id]

    @property
    def object_name(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def is_accepted(self, accepted: t.Container[str]) -> bool:
        """By its id, or by its id and the name of its object."""
        return self.id in accepted or f"{self.id}:{self.object_name}" in accepted

    def to_dict(self, accepted: t.Container[str]) -> Json:
        return {
            "id": self.id, "severity": self.level, "kind": self.kind, "namespace": self.namespace, "name": self.name, "sentence": self.sentence,
            "remedy": self.remedy, "text": f"{self.kind} {self.object_name}: {self.sentence}. {self.remedy}", "accepted": self.is_accepted(accepted),
            "data": self.data,
        }


def in_order(findings: t.Iterable[Finding]) -> list[Finding]:
    """The gravest first."""
    return sorted(findings, key=lambda one: (SEVERITIES.index(one.level), one.id, one.namespace, one.name))
