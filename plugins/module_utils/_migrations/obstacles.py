# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a VM can't live-migrate: KubeVirt's own reason, and what to do about it. Private to this collection.

Source: KubeVirt pkg/virt-handler/vm.go (calculateLiveMigrationCondition).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .state import condition

Json = dict[str, t.Any]
_REMEDIES = {
    "DisksNotLiveMigratable": "Put its disks on storage that several nodes can write (PersistentVolumeClaims with ReadWriteMany).",
    "InterfaceNotLiveMigratable": "Use masquerade for the pod network, or a binding that can move.",
    "CPUModeLiveMigratable": "Give it a named CPU model in place of host-model.",
    "HostDeviceNotLiveMigratable": "Take the host devices out of it, or shut it down for the maintenance.",
    "SEVNotLiveMigratable": "Memory encrypted by SEV can't be moved: shut it down for the maintenance.",
    "PersistentReservationNotLiveMigratable": "Take the SCSI persistent reservation from its disks, or shut it down for the maintenance.",
    "NoTSCFrequencyNotLiveMigratable": "Let its timer frequency be known: give it a CPU model or take the features away that need it.",
    "HypervPassthroughNotLiveMigratable": "Name the Hyper-V features that it needs in place of passthrough.",
}
_OTHERWISE = "Remove the cause, or shut it down for the maintenance."


@dataclass(frozen=True)
class Obstacle:
    """KubeVirt's reason and message, and a sentence that says what helps."""

    reason: str
    message: str
    remedy: str


def obstacle(vmi: Json) -> Obstacle | None:
    """What stands in the way of a migration; None when nothing does, or when KubeVirt has not said yet."""
    found = condition(vmi, "LiveMigratable")
    if found is None or found.get("status") != "False":
        return None
    reason = str(found.get("reason") or "NotMigratable")
    return Obstacle(reason, str(found.get("message") or "no message"), _REMEDIES.get(reason, _OTHERWISE))
