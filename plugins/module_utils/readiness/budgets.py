# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Budgets of the site that let nothing go however long one waits. Pure. Private to this collection.

Source: Kubernetes pkg/controller/disruption/disruption.go.
"""

from __future__ import annotations

import typing as t

from .._migrations.state import condition
from .facts import Facts
from .finding import Finding


def check(facts: Facts) -> t.Iterator[Finding]:
    """Those that can't be computed, and those that want every pod that they count."""
    for budget in facts.budgets:
        metadata, status = budget["metadata"], budget.get("status") or {}
        problem = condition(budget, "DisruptionAllowed") or {}
        expected, wanted = int(status.get("expectedPods") or 0), int(status.get("desiredHealthy") or 0)
        if problem.get("reason") == "SyncFailed":
            why = f"it can't be computed, so that it allows no eviction ({problem.get('message') or 'SyncFailed'})"
            remedy = "Give it an integer minAvailable: for launcher pods maxUnavailable and percentages can't be computed."
        elif expected > 0 and wanted >= expected:
            why = f"it wants {wanted} healthy pods of the {expected} that there are, so that it never allows an eviction"
            remedy = "Run one more of these pods, or let the budget spare one."
        else:
            continue
        yield Finding(
            "budget_never_opens", "PodDisruptionBudget", metadata["namespace"], metadata["name"], why, remedy,
            {"expected_pods": expected, "desired_healthy": wanted},
        )
