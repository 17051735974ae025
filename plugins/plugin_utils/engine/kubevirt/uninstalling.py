# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-operator's webhook on the KubeVirt object: it is not deleted under workloads unless it says that it may be.

Source: KubeVirt pkg/virt-operator/webhooks/kubevirt-validator.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

from ..apiserver.admission import AdmissionRequest
from ..apiserver.chain import ApiServer
from ..errors import StatusError

_GROUP = "kubevirt.io"
_WEBHOOK = "kubevirt-validator.kubevirt.io"
_WORKLOADS = (
    ("virtualmachineinstances", "Virtual Machine Instances"), ("virtualmachines", "Virtual Machines"),
    ("virtualmachineinstancereplicasets", "Virtual Machine Instance Replica Sets"),
)
_REFUSAL = (
    "Rejecting the uninstall request, since there are still {} present. Either delete all KubeVirt related workloads or change the uninstall strategy "
    "before uninstalling KubeVirt."
)


def register(api: ApiServer) -> None:
    api.admission.register((_GROUP, "kubevirts"), "DELETE", _deleted)


def _deleted(request: AdmissionRequest) -> None:
    spec = (request.old or {}).get("spec") or {}
    if spec.get("uninstallStrategy") != "BlockUninstallIfWorkloadsExist":
        return
    for plural, called in _WORKLOADS:
        if request.store.count((_GROUP, plural)):
            raise StatusError(400, "", f'admission webhook "{_WEBHOOK}" denied the request: {_REFUSAL.format(called)}')
