# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an instance's eviction strategy means for its migrations and its disruption budget: pure.

Source: KubeVirt pkg/util/migrations/migrations.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

from ...interface import Object
from .conditions import is_true

LIVE_MIGRATE, LIVE_MIGRATE_IF_POSSIBLE, EXTERNAL, NONE = "LiveMigrate", "LiveMigrateIfPossible", "External", "None"


def strategy(vmi: Object, cluster_wide: str) -> str:
    """The instance's own strategy, else the cluster's."""
    return str(vmi["spec"].get("evictionStrategy") or cluster_wide or NONE)


def is_migratable(vmi: Object) -> bool:
    return is_true(vmi, "LiveMigratable")


def migrates_on_eviction(vmi: Object, cluster_wide: str) -> bool:
    """Whether an eviction of the instance's pod is answered by a migration."""
    asked = strategy(vmi, cluster_wide)
    return asked == LIVE_MIGRATE or (asked == LIVE_MIGRATE_IF_POSSIBLE and is_migratable(vmi))


def is_guarded(vmi: Object, cluster_wide: str) -> bool:
    """Whether evictions of the instance's pods are refused: by virt-api, and by a PodDisruptionBudget."""
    return strategy(vmi, cluster_wide) == EXTERNAL or migrates_on_eviction(vmi, cluster_wide)
