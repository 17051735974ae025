# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions there are and whether the next can come, in short: what other services may ask this one. Private to this collection."""

from __future__ import annotations

from dataclasses import dataclass

from .._cluster.client import Cluster
from .._errors import PreconditionFailed
from . import cluster_service_version as csvs
from . import install_plan as plans
from . import reading
from .observed import Observed
from .versions import operator_of


@dataclass(frozen=True)
class Path:
    """Versions, and what the operator's update waits for. Sentences are without a full stop; what is empty is not the case."""

    namespace: str
    subscription: str
    installed: str
    approval: str
    hyperconverged: str
    hyperconverged_version: str
    kubevirt_version: str
    offered: str = ""
    """The ClusterServiceVersion that an InstallPlan would bring."""
    install_plan: str = ""
    """The InstallPlan that waits for approval."""
    under_way: str = ""
    blocked: tuple[str, ...] = ()
    not_upgradeable: str = ""


def path(cluster: Cluster, namespace: str) -> Path | None:
    """None where no Subscription keeps OKD Virtualization in this namespace up to date, or more than one. Raises Forbidden with what can't be read."""
    try:
        return path_of(reading.observe(cluster, namespace, None))
    except PreconditionFailed:
        return None


def path_of(observed: Observed) -> Path:
    """Pure."""
    subscription, hyperconverged = observed.subscription, observed.hyperconverged
    own = operator_of(subscription.installed_csv or subscription.current_csv)
    waiting = [plan for plan in observed.install_plan_list if plan.waits_for_approval and any(operator_of(name) == own for name in plan.csvs)]
    plan = max(waiting, key=lambda one: (one.name == subscription.install_plan, one.generation, one.created), default=None)
    upgradeable = hyperconverged.conditions.get("Upgradeable") if hyperconverged else None
    return Path(
        subscription.namespace, subscription.name, subscription.installed_csv, subscription.approval,
        hyperconverged.name if hyperconverged else "", hyperconverged.version if hyperconverged else "",
        next((one.observed_version for one in observed.kubevirts.values()), ""),
        next((name for name in plan.csvs if operator_of(name) == own), "") if plan else "", plan.name if plan else "",
        _under_way(observed, own), _blocked(observed, own),
        upgradeable.sentence() if upgradeable is not None and upgradeable.status == "False" else "",
    )


def _under_way(observed: Observed, own: str) -> str:
    """A ClusterServiceVersion of the operator that is being installed."""
    for csv in observed.csvs.values():
        if operator_of(csv.name) == own and csv.phase not in (csvs.SUCCEEDED, csvs.FAILED, *csvs.LEAVING) and csv.reason != csvs.NOT_UPGRADEABLE:
            return csv.sentence()
    return ""


def _blocked(observed: Observed, own: str) -> tuple[str, ...]:
    found = [condition.sentence() for condition in observed.subscription.troubles()]
    found += [
        f"InstallPlan {plan.name} failed: {plan.trouble()}" for plan in observed.install_plan_list
        if plan.phase == plans.FAILED and any(operator_of(name) == own for name in plan.csvs)
    ]
    found += [
        csv.sentence() for csv in observed.csvs.values()
        if operator_of(csv.name) == own and (csv.phase == csvs.FAILED or csv.reason == csvs.NOT_UPGRADEABLE)
    ]
    return tuple(found)
