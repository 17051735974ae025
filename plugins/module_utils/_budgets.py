# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a PodDisruptionBudget lets a pod be evicted. Private to this collection.

Source: Kubernetes pkg/registry/core/pod/storage/eviction.go, pkg/controller/disruption/disruption.go.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ._migrations.state import condition
from ._selectors import selects

Json = dict[str, t.Any]


@dataclass(frozen=True)
class BudgetVerdict:
    """C(never) says that waiting does not help; C(budgets) are the names of those that match."""

    allowed: bool
    never: bool = False
    code: str = ""
    sentence: str = ""
    budgets: tuple[str, ...] = ()


ALLOWED = BudgetVerdict(True)


def judge(pod: Json, budgets: t.Iterable[Json]) -> BudgetVerdict:
    """What the budgets of a pod's namespace say to its eviction, as far as their status tells."""
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    found = [one for one in budgets if one["metadata"]["namespace"] == metadata["namespace"] and selects((one.get("spec") or {}).get("selector"), labels)]
    names = tuple(one["metadata"]["name"] for one in found)
    if not found:
        return ALLOWED
    if len(found) > 1:
        return BudgetVerdict(
            False, True, "several_budgets",
            f"PodDisruptionBudgets {', '.join(names)} all match it, and the API server evicts no pod that more than one matches: narrow their selectors", names,
        )
    return _of_one(found[0], names)


def _of_one(budget: Json, names: tuple[str, ...]) -> BudgetVerdict:
    name, status = names[0], budget.get("status") or {}
    problem = condition(budget, "DisruptionAllowed") or {}
    if problem.get("reason") == "SyncFailed":
        return BudgetVerdict(
            False, True, "budget_cannot_be_computed",
            f"PodDisruptionBudget {name} can't be computed ({problem.get('message') or 'SyncFailed'}): "
            "for launcher pods only an integer minAvailable works, maxUnavailable and percentages do not", names,
        )
    if int(status.get("observedGeneration") or 0) < int(budget["metadata"].get("generation") or 0):
        return BudgetVerdict(False, False, "budget_not_observed", f"PodDisruptionBudget {name} was changed and has not been computed yet", names)
    if int(status.get("disruptionsAllowed") or 0) > 0:
        return BudgetVerdict(True, budgets=names)
    wanted, healthy = status.get("desiredHealthy", "?"), status.get("currentHealthy", "?")
    return BudgetVerdict(
        False, False, "budget_closed", f"PodDisruptionBudget {name} needs {wanted} healthy pods and has {healthy}: it allows no disruption now", names,
    )
