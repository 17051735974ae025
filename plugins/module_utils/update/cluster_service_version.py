# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a ClusterServiceVersion is. Private to this collection.

Source: operator-framework/api pkg/operators/v1alpha1/clusterserviceversion_types.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from .conditions import Json

SUCCEEDED = "Succeeded"
FAILED = "Failed"
#: Phases of the version that is being replaced.
LEAVING = ("Replacing", "Deleting")
#: The old version's OperatorCondition holds the new one back.
NOT_UPGRADEABLE = "OperatorConditionNotUpgradeable"
#: Reasons of phase Failed after which OLM tries again by itself.
RETRIED = (
    "InstallCheckFailed",
    "ComponentUnhealthy",
    "NeedsReinstall",
    "InstallWaiting",
    "ComponentFailed",
    "APIServicesUnhealthy",
    "RequirementsNotMet",
)


@dataclass(frozen=True)
class ClusterServiceVersion:
    """What of a ClusterServiceVersion matters for an update."""

    namespace: str
    name: str
    version: str = ""
    replaces: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""

    def sentence(self) -> str:
        detail = ": ".join(part for part in (self.reason, self.message) if part)
        return f"{self.name} is {self.phase or 'not processed yet'}" + (f" ({detail})" if detail else "")


def is_copy(obj: Json) -> bool:
    """Whether this is one of the copies that OLM puts into every other namespace."""
    labels = obj["metadata"].get("labels") or {}
    return "olm.copiedFrom" in labels or (obj.get("status") or {}).get("reason") == "Copied"


def from_object(obj: Json) -> ClusterServiceVersion:
    """A ClusterServiceVersion as the API serves it."""
    spec = obj.get("spec") or {}
    status = obj.get("status") or {}
    return ClusterServiceVersion(
        namespace=obj["metadata"].get("namespace", ""),
        name=obj["metadata"]["name"],
        version=str(spec.get("version") or ""),
        replaces=str(spec.get("replaces") or ""),
        phase=str(status.get("phase") or ""),
        reason=str(status.get("reason") or ""),
        message=str(status.get("message") or ""),
    )
