# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the HyperConverged and its KubeVirt are healthy, and at which version. Private to this collection.

Source: HCO controllers/hyperconverged/hyperconverged_controller.go; KubeVirt pkg/virt-operator/util/client.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .conditions import Condition, Json, conditions_of, differing

HYPERCONVERGED_HEALTHY = {
    "ReconcileComplete": "True",
    "Available": "True",
    "Progressing": "False",
    "Degraded": "False",
    "Upgradeable": "True",
}
KUBEVIRT_HEALTHY = {"Available": "True", "Progressing": "False", "Degraded": "False"}
#: HCO's reasons for Degraded that a normal update passes through, since KubeVirt calls itself Degraded while it updates.
NORMAL_DEGRADED = ("KubeVirtDegraded", "HCOUpgrading")
#: KubeVirt's reason for all conditions of a normal update.
UPDATE_IN_PROGRESS = "UpdateInProgress"


@dataclass(frozen=True)
class HyperConverged:
    """What of the HyperConverged matters for an update."""

    namespace: str
    name: str
    version: str = ""
    system_health: str = ""
    conditions: dict[str, Condition] = field(default_factory=dict)

    def unhealthy(self) -> tuple[Condition, ...]:
        return differing(self.conditions, HYPERCONVERGED_HEALTHY)


@dataclass(frozen=True)
class KubeVirt:
    """What of the KubeVirt matters for an update."""

    namespace: str
    name: str
    phase: str = ""
    operator_version: str = ""
    target_version: str = ""
    observed_version: str = ""
    target_deployment: str = ""
    observed_deployment: str = ""
    outdated_workloads: int = 0
    conditions: dict[str, Condition] = field(default_factory=dict)

    @property
    def in_transition(self) -> bool:
        """Whether virt-operator is moving it from one version to another."""
        if self.target_version != self.observed_version or self.target_deployment != self.observed_deployment:
            return True
        return any(condition.reason == UPDATE_IN_PROGRESS for condition in self.conditions.values())

    def unhealthy(self) -> tuple[Condition, ...]:
        return differing(self.conditions, KUBEVIRT_HEALTHY)


def hyperconverged(obj: Json) -> HyperConverged:
    """A HyperConverged as the API serves it."""
    status = obj.get("status") or {}
    versions = {str(entry.get("name")): str(entry.get("version") or "") for entry in status.get("versions") or []}
    return HyperConverged(
        namespace=obj["metadata"].get("namespace", ""),
        name=obj["metadata"]["name"],
        version=versions.get("operator", ""),
        system_health=str(status.get("systemHealthStatus") or ""),
        conditions=conditions_of(obj),
    )


def kubevirt(obj: Json) -> KubeVirt:
    """A KubeVirt as the API serves it."""
    status = obj.get("status") or {}
    return KubeVirt(
        namespace=obj["metadata"].get("namespace", ""),
        name=obj["metadata"]["name"],
        phase=str(status.get("phase") or ""),
        operator_version=str(status.get("operatorVersion") or ""),
        target_version=str(status.get("targetKubeVirtVersion") or ""),
        observed_version=str(status.get("observedKubeVirtVersion") or ""),
        target_deployment=str(status.get("targetDeploymentID") or ""),
        observed_deployment=str(status.get("observedDeploymentID") or ""),
        outdated_workloads=int(status.get("outdatedVirtualMachineInstanceWorkloads") or 0),
        conditions=conditions_of(obj),
    )
