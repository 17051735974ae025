# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of an operator's namespace, as OLM, HCO and virt-operator write them."""

from __future__ import annotations

import typing as t

from ansible_collections.okd.virt.plugins.module_utils.update import subscription
from ansible_collections.okd.virt.plugins.module_utils.update.observed import Observed

NAMESPACE = "kubevirt-hyperconverged"
OLD = "kubevirt-hyperconverged-operator.v1.14.0"
NEW = "kubevirt-hyperconverged-operator.v1.15.0"
Json = dict[str, t.Any]

HEALTHY = {
    "ReconcileComplete": "True",
    "Available": "True",
    "Progressing": "False",
    "Degraded": "False",
    "Upgradeable": "True",
}


def conditions(statuses: t.Mapping[str, str | tuple[str, str] | tuple[str, str, str]]) -> list[Json]:
    result = []
    for name, value in statuses.items():
        status, reason, message = (value, "ReconcileCompleted", "")[:3] if isinstance(value, str) else (*value, "")[:3]
        result.append({"type": name, "status": status, "reason": reason, "message": message})
    return result


def subscription_object(
    installed: str = OLD,
    current: str = NEW,
    state: str = "UpgradePending",
    plan: str = "install-abcde",
    approval: str = "Manual",
    namespace: str = NAMESPACE,
    name: str = "hco-operatorhub",
    package: str = "community-kubevirt-hyperconverged",
    trouble: t.Mapping[str, t.Any] | None = None,
    **status: t.Any,
) -> Json:
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "name": package,
            "channel": "stable",
            "source": "community-operators",
            "sourceNamespace": "openshift-marketplace",
            "installPlanApproval": approval,
        },
        "status": {
            "installedCSV": installed,
            "currentCSV": current,
            "state": state,
            "installPlanRef": {"name": plan},
            "conditions": conditions(trouble or {}),
            **status,
        },
    }


def install_plan_object(
    name: str = "install-abcde",
    csvs: t.Sequence[str] = (NEW,),
    phase: str = "RequiresApproval",
    approved: bool = False,
    generation: int = 2,
    trouble: t.Mapping[str, t.Any] | None = None,
) -> Json:
    return {
        "metadata": {
            "namespace": NAMESPACE,
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-11-23T10:00:00Z",
        },
        "spec": {
            "clusterServiceVersionNames": list(csvs),
            "approval": "Manual",
            "approved": approved,
            "generation": generation,
        },
        "status": {"phase": phase, "conditions": conditions(trouble or {})},
    }


def csv_object(
    name: str = OLD, phase: str = "Succeeded", reason: str = "InstallSucceeded", message: str = "", replaces: str = ""
) -> Json:
    return {
        "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": {"version": name.partition(".v")[2], "replaces": replaces},
        "status": {"phase": phase, "reason": reason, "message": message},
    }


def hyperconverged_object(version: str = "1.14.0", **statuses: t.Any) -> Json:
    return {
        "metadata": {"namespace": NAMESPACE, "name": "kubevirt-hyperconverged"},
        "status": {
            "versions": [{"name": "operator", "version": version}],
            "conditions": conditions({**HEALTHY, **statuses}),
        },
    }


def kubevirt_object(
    observed: str = "v1.4.1", target: str | None = None, phase: str = "Deployed", **statuses: t.Any
) -> Json:
    healthy = {"Available": "True", "Progressing": "False", "Degraded": "False"}
    return {
        "metadata": {"namespace": NAMESPACE, "name": "kubevirt-kubevirt-hyperconverged"},
        "status": {
            "phase": phase,
            "observedKubeVirtVersion": observed,
            "targetKubeVirtVersion": target or observed,
            "operatorVersion": target or observed,
            "conditions": conditions({**healthy, **statuses}),
        },
    }


def observed(
    sub: Json | None = None,
    plans: t.Sequence[Json] = (),
    csvs: t.Sequence[Json] | None = None,
    hco: Json | None = None,
    kubevirts: t.Sequence[Json] | None = None,
    others: t.Sequence[Json] = (),
) -> Observed:
    """An Observed by way of the events that a watch would have sent."""
    result = Observed(subscription=subscription.from_object(sub or subscription_object()))
    events = [("Subscription", entry) for entry in (sub or subscription_object(), *others)]
    events += [("InstallPlan", entry) for entry in plans]
    events += [("ClusterServiceVersion", entry) for entry in (csvs if csvs is not None else [csv_object()])]
    events += [("HyperConverged", hco or hyperconverged_object())]
    events += [("KubeVirt", entry) for entry in (kubevirts if kubevirts is not None else [kubevirt_object()])]
    for kind, entry in events:
        result = result.with_event(kind, "ADDED", entry)
    return result
