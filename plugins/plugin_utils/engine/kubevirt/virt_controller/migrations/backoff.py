# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a migration that the system made waits after others of the same instance have failed: pure.

Source: KubeVirt pkg/virt-controller/watch/migration/migration.go (handleMigrationBackoff), v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import datetime
import typing as t

from ....interface import Object
from . import phases

FIRST = 20.0
"""Seconds after one failure, twice as long after each further one."""
IGNORED = "kubevirt.io/func-test-ignore-migration-backoff"


def failed_at(migration: Object) -> datetime.datetime | None:
    """When the migration came to be Failed."""
    for entry in (migration.get("status") or {}).get("phaseTransitionTimestamps") or ():
        if entry.get("phase") == phases.FAILED:
            return datetime.datetime.fromisoformat(entry["phaseTransitionTimestamp"])
    return None


def counts(migration: Object) -> bool:
    """Whether the migration was made by an evacuation or a workload update: only those wait, and only their failures count."""
    return phases.annotated(migration, phases.EVACUATION, phases.WORKLOAD_UPDATE)


def backoff(migration: Object, others: t.Sequence[Object], now: datetime.datetime) -> float:
    """Seconds that the migration still has to wait, 0 for none. `others` are all migrations of the instance, oldest first."""
    if not counts(migration) or phases.annotated(migration, IGNORED):
        return 0.0
    eligible = [one for one in others if counts(one)]
    if len(eligible) < 2 or eligible[-1]["metadata"]["uid"] != migration["metadata"]["uid"]:
        return 0.0
    wait = 0.0
    for one in reversed(eligible[:-1]):
        if phases.phase(one) == phases.SUCCEEDED:
            break
        if phases.phase(one) == phases.FAILED and not phases.is_deleting(one):
            wait = wait * 2 or FIRST
    # The wait begins with the migration before this one, whether or not it is one of those that are counted.
    began = failed_at(eligible[-2])
    if not wait or began is None:
        return 0.0
    return max(0.0, wait - (now - began).total_seconds())
