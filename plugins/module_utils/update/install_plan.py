# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an InstallPlan would install, and how exactly that is approved. Private to this collection.

Source: operator-framework/api pkg/operators/v1alpha1/installplan_types.go.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .conditions import Condition, Json, conditions_of
from .versions import operator_of

REQUIRES_APPROVAL = "RequiresApproval"
COMPLETE = "Complete"
FAILED = "Failed"


@dataclass(frozen=True)
class InstallPlan:
    """What of an InstallPlan matters for an approval."""

    namespace: str
    name: str
    uid: str = ""
    csvs: tuple[str, ...] = ()
    approval: str = ""
    approved: bool = False
    phase: str = ""
    generation: int = 0
    created: str = ""
    conditions: dict[str, Condition] = field(default_factory=dict)
    steps: tuple[str, ...] = ()

    @property
    def waits_for_approval(self) -> bool:
        return self.phase == REQUIRES_APPROVAL and not self.approved

    def trouble(self) -> str:
        """Why it failed, in its own words."""
        said = [
            condition.sentence()
            for condition in self.conditions.values()
            if not condition.true and (condition.reason or condition.message)
        ]
        return "; ".join(said) or "it gives no reason"

    def summary(self) -> Json:
        """The plan as a person must see it before it is approved."""
        return {
            "name": self.name,
            "namespace": self.namespace,
            "phase": self.phase,
            "approval": self.approval,
            "approved": self.approved,
            "cluster_service_versions": list(self.csvs),
            "steps": list(self.steps),
        }


def from_object(obj: Json) -> InstallPlan:
    """An InstallPlan as the API serves it."""
    spec = obj.get("spec") or {}
    status = obj.get("status") or {}
    steps = []
    for step in status.get("plan") or []:
        resource = step.get("resource") or {}
        steps.append(f"{resource.get('kind', '?')} {resource.get('name', '?')} (for {step.get('resolving', '?')})")
    return InstallPlan(
        namespace=obj["metadata"].get("namespace", ""),
        name=obj["metadata"]["name"],
        uid=str(obj["metadata"].get("uid") or ""),
        csvs=tuple(str(name) for name in spec.get("clusterServiceVersionNames") or []),
        approval=str(spec.get("approval") or ""),
        approved=bool(spec.get("approved")),
        phase=str(status.get("phase") or ""),
        generation=int(spec.get("generation") or 0),
        created=str(obj["metadata"].get("creationTimestamp") or ""),
        conditions=conditions_of(obj),
        steps=tuple(steps),
    )


def current(plans: t.Iterable[InstallPlan], csv: str, preferred: str = "") -> InstallPlan | None:
    """The newest InstallPlan with this ClusterServiceVersion; the one the Subscription names wins."""
    fitting = [plan for plan in plans if csv in plan.csvs]
    for plan in fitting:
        if plan.name == preferred:
            return plan
    return max(fitting, key=lambda plan: (plan.generation, plan.created, plan.name), default=None)


def others(plan: InstallPlan, own: str) -> tuple[str, ...]:
    """The ClusterServiceVersions of other operators in the plan; C(own) is one of ours."""
    return tuple(name for name in plan.csvs if operator_of(name) != operator_of(own))


def not_allowed(names: t.Iterable[str], allowed: t.Iterable[str], packages: t.Mapping[str, str]) -> tuple[str, ...]:
    """Those that nobody allowed, by ClusterServiceVersion, by operator, or by package (C(packages): CSV name to package)."""
    permitted = set(allowed)
    return tuple(name for name in names if not {name, operator_of(name), packages.get(name, name)} & permitted)


def approval_patch(plan: InstallPlan) -> list[Json]:
    """A JSON patch that approves this plan only as it was judged: same object, same content, still waiting."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": plan.uid},
        {"op": "test", "path": "/spec/clusterServiceVersionNames", "value": list(plan.csvs)},
        {"op": "test", "path": "/spec/approved", "value": False},
        {"op": "test", "path": "/status/phase", "value": REQUIRES_APPROVAL},
        {"op": "replace", "path": "/spec/approved", "value": True},
    ]
