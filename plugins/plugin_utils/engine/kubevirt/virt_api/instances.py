# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a VirtualMachineInstance nobody but KubeVirt may change.

Source: KubeVirt pkg/virt-api/webhooks/{mutating-webhook/mutators/vmi-mutator,validating-webhook/admitters/vmi-update-admitter}.go,
v1.4.1 and v1.5.3.
"""
from __future__ import annotations

from ...apiserver.admission import AdmissionRequest
from ...apiserver.chain import ApiServer
from ...errors import Cause
from .webhooks import VirtApi

RESOURCE = ("kubevirt.io", "virtualmachineinstances")
_RESERVED = (
    "kubevirt.io/created-by", "kubevirt.io/migrationJobUID", "kubevirt.io/nodeName", "kubevirt.io/migrationTargetNodeName",
    "kubevirt.io/schedulable", "kubevirt.io/install-strategy",
)


class InstanceGuard:
    """Asked on each update of an instance."""

    def __init__(self, virt_api: VirtApi) -> None:
        self._virt_api = virt_api
        self._mutator = virt_api.webhook("virtualmachineinstances-mutator.kubevirt.io", "virtualmachineinstances-mutate")
        self._validator = virt_api.webhook("virtualmachineinstances-update-validator.kubevirt.io", "virtualmachineinstances-validate-update")

    def status_stays(self, request: AdmissionRequest) -> None:
        """What others write into the status is dropped without a word."""
        self._mutator.reached()
        if self._virt_api.is_kubevirt(request.user.name) or request.object is None:
            return
        before = (request.old or {}).get("status")
        if before is None:
            request.object.pop("status", None)
        else:
            request.object["status"] = before

    def validate(self, request: AdmissionRequest) -> None:
        """Raises StatusError 422."""
        new, old = request.object or {}, request.old or {}
        if self._virt_api.is_kubevirt(request.user.name):
            return
        if new.get("spec") != old.get("spec"):
            raise self._validator.invalid([Cause("FieldValueNotSupported", "update of VMI object is restricted", "")])
        before, after = (one["metadata"].get("labels") or {} for one in (old, new))
        if any(before.get(label) != after.get(label) for label in _RESERVED):
            text = "modification of the following reserved kubevirt.io/ labels on a VMI object is prohibited"
            raise self._validator.invalid([Cause("FieldValueNotSupported", text, "")])


def register(api: ApiServer, virt_api: VirtApi) -> None:
    guard = InstanceGuard(virt_api)
    api.admission.register(RESOURCE, "UPDATE", guard.status_stays)
    api.admission.register(RESOURCE, "UPDATE", guard.validate)
