# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that an update is judged by, at one moment. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from . import cluster_service_version, health, install_plan, subscription
from .cluster_service_version import ClusterServiceVersion
from .conditions import Condition, Json
from .health import HyperConverged, KubeVirt
from .install_plan import InstallPlan
from .subscription import Subscription


@dataclass(frozen=True)
class Observed:
    """The operator's namespace as it was read, or as the last watch event left it."""

    subscription: Subscription
    install_plans: dict[str, InstallPlan] = field(default_factory=dict)
    csvs: dict[str, ClusterServiceVersion] = field(default_factory=dict)
    hyperconverged: HyperConverged | None = None
    kubevirts: dict[str, KubeVirt] = field(default_factory=dict)
    #: Which package each current ClusterServiceVersion of the namespace's Subscriptions belongs to.
    packages: dict[str, str] = field(default_factory=dict)
    #: Whether the ClusterRole kubevirt.io:migrate exists, that is, whether the roles of 4.19 are active. None: not looked at.
    migrate_role: bool | None = None

    def with_event(self, kind: str, event: str, obj: Json) -> Observed:
        """The same after one watch event (ADDED, MODIFIED or DELETED) of an object of that kind."""
        name = obj["metadata"]["name"]
        gone = event == "DELETED"
        if kind == "Subscription":
            entry = subscription.from_object(obj)
            packages = {
                **self.packages,
                **{csv: entry.package for csv in (entry.current_csv, entry.installed_csv) if csv},
            }
            if gone or (entry.namespace, name) != (self.subscription.namespace, self.subscription.name):
                return replace(self, packages=packages)
            return replace(self, subscription=entry, packages=packages)
        if kind == "InstallPlan":
            return replace(
                self, install_plans=_changed(self.install_plans, name, None if gone else install_plan.from_object(obj))
            )
        if kind == "ClusterServiceVersion":
            if cluster_service_version.is_copy(obj):
                return self
            return replace(
                self, csvs=_changed(self.csvs, name, None if gone else cluster_service_version.from_object(obj))
            )
        if kind == "HyperConverged":
            return replace(self, hyperconverged=None if gone else health.hyperconverged(obj))
        if kind == "KubeVirt":
            return replace(self, kubevirts=_changed(self.kubevirts, name, None if gone else health.kubevirt(obj)))
        return self

    @property
    def install_plan_list(self) -> tuple[InstallPlan, ...]:
        return tuple(self.install_plans.values())


Entry = t.TypeVar("Entry")


def _changed(entries: dict[str, Entry], name: str, entry: Entry | None) -> dict[str, Entry]:
    result = {key: value for key, value in entries.items() if key != name}
    if entry is not None:
        result[name] = entry
    return result


def _moves(kind: str, before: str, after: str) -> list[str]:
    return [f"{kind}: {before or 'none'} -> {after or 'none'}"] if before != after else []


def _condition_moves(kind: str, before: dict[str, Condition], after: dict[str, Condition]) -> list[str]:
    lines = []
    for name, condition in after.items():
        earlier = before.get(name)
        if earlier is None or (earlier.status, earlier.reason) != (condition.status, condition.reason):
            lines.append(f"{kind}: {condition.sentence()}")
    return lines


def transitions(before: Observed, after: Observed) -> list[str]:
    """One line for every state change between two moments, in the order of the update."""
    lines = _moves("Subscription " + after.subscription.name, before.subscription.state, after.subscription.state)
    for name, plan in after.install_plans.items():
        earlier = before.install_plans.get(name)
        if earlier is None:
            lines.append(f"InstallPlan {name}: {plan.phase or 'made'} ({', '.join(plan.csvs)})")
        else:
            lines += _moves(f"InstallPlan {name}", earlier.phase, plan.phase)
    for name in [*after.csvs, *(name for name in before.csvs if name not in after.csvs)]:
        old, new = before.csvs.get(name), after.csvs.get(name)
        if new is None:
            lines.append(f"ClusterServiceVersion {name}: removed")
        elif old is None or (old.phase, old.reason) != (new.phase, new.reason):
            lines.append(f"ClusterServiceVersion {new.sentence()}")
    if after.hyperconverged is not None:
        earlier_version = before.hyperconverged.version if before.hyperconverged else ""
        lines += _moves("HyperConverged version", earlier_version, after.hyperconverged.version)
        earlier_conditions = before.hyperconverged.conditions if before.hyperconverged else {}
        lines += _condition_moves("HyperConverged", earlier_conditions, after.hyperconverged.conditions)
    for name, kubevirt in after.kubevirts.items():
        previous = before.kubevirts.get(name) or KubeVirt(kubevirt.namespace, name)
        lines += _moves("KubeVirt target version", previous.target_version, kubevirt.target_version)
        lines += _moves("KubeVirt observed version", previous.observed_version, kubevirt.observed_version)
        lines += _condition_moves("KubeVirt", previous.conditions, kubevirt.conditions)
    return lines
