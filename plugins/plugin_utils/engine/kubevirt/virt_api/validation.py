# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What virt-api refuses in a VirtualMachine or VirtualMachineInstance, beyond what their schemas do.

Source: KubeVirt pkg/virt-api/webhooks/validating-webhook/admitters/{vms-admitter,vmi-create-admitter}.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import typing as t

from ...apiserver.admission import AdmissionRequest
from ...apiserver.chain import ApiServer
from ...apiserver.quantities import QuantityError, quantity
from ...errors import Cause
from ...interface import Object
from .webhooks import VirtApi, Webhook

_MACHINES, _INSTANCES = ("kubevirt.io", "virtualmachines"), ("kubevirt.io", "virtualmachineinstances")
_STRATEGIES = ("Halted", "Manual", "Always", "RerunOnFailure", "Once")
_INVALID, _REQUIRED = "FieldValueInvalid", "FieldValueRequired"
_EXCLUSIVE = "Running and RunStrategy are mutually exclusive. Note that Running is deprecated, please use RunStrategy instead"


def machine_causes(vm: Object) -> t.Iterator[Cause]:
    """Why a machine can't be."""
    spec = vm.get("spec") or {}
    template = spec.get("template")
    if not isinstance(template, dict):
        yield Cause(_REQUIRED, "missing virtual machine template.", "spec.template")
        return
    yield from instance_causes(template.get("spec") or {}, "spec.template.spec")
    used = {(volume.get("dataVolume") or {}).get("name") or (volume.get("persistentVolumeClaim") or {}).get("claimName") for volume in _volumes(template)}
    for index, one in enumerate(spec.get("dataVolumeTemplates") or ()):
        if (one.get("metadata") or {}).get("name") not in used:
            field = f"spec.dataVolumeTemplate[{index}]"
            yield Cause(_REQUIRED, f"DataVolumeTemplate entry {field} must be referenced in the VMI template's 'volumes' list", field)
    running, strategy = spec.get("running"), spec.get("runStrategy")
    if running is not None and strategy is not None:
        yield Cause(_INVALID, _EXCLUSIVE, "spec.running")
    if running is None and strategy is None:
        yield Cause(_INVALID, "RunStrategy must be specified", "spec.running")
    if strategy is not None and strategy not in _STRATEGIES:
        yield Cause(_INVALID, f"Invalid RunStrategy ({strategy})", "spec.runStrategy")


def _volumes(template: Object) -> list[Object]:
    found: list[Object] = (template.get("spec") or {}).get("volumes") or []
    return found


def instance_causes(spec: Object, field: str) -> t.Iterator[Cause]:
    """Why the spec of an instance, found at that field, can't be."""
    domain = spec.get("domain") or {}
    devices, volumes = domain.get("devices") or {}, spec.get("volumes") or []
    names = {volume.get("name") for volume in volumes}
    for kind in ("disks", "filesystems"):
        for index, one in enumerate(devices.get(kind) or ()):
            if one.get("name") not in names:
                at = f"{field}.domain.devices.{kind}[{index}]"
                yield Cause(_INVALID, f"{at}.Name '{one.get('name')}' not found.", f"{at}.name")
    yield from _volume_causes(volumes, f"{field}.volumes")
    networks = {network.get("name") for network in spec.get("networks") or ()}
    for index, interface in enumerate(devices.get("interfaces") or ()):
        if interface.get("name") not in networks:
            at = f"{field}.domain.devices.interfaces[{index}].name"
            yield Cause(_INVALID, f"{at} '{interface.get('name')}' not found.", at)
    yield from _resource_causes(domain.get("resources") or {}, f"{field}.domain.resources")


def _volume_causes(volumes: list[Object], field: str) -> t.Iterator[Cause]:
    first: dict[t.Any, int] = {}
    for index, volume in enumerate(volumes):
        at, name = f"{field}[{index}]", volume.get("name")
        if name in first:
            yield Cause(_INVALID, f"{at} and {field}[{first[name]}] must not have the same Name.", f"{at}.name")
        first.setdefault(name, index)
        if len([key for key, value in volume.items() if key != "name" and value is not None]) != 1:
            yield Cause(_INVALID, f"{at} must have exactly one source type set", at)


def _resource_causes(resources: Object, field: str) -> t.Iterator[Cause]:
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name in ("memory", "cpu"):
        try:
            over = name in requests and name in limits and quantity(str(requests[name])) > quantity(str(limits[name])) > 0
        except QuantityError:
            continue
        if over:
            text = f"{field}.requests.{name} '{requests[name]}' is greater than {field}.limits.{name} '{limits[name]}'"
            yield Cause(_INVALID, text, f"{field}.requests.{name}")


def _refuse(webhook: Webhook, causes: t.Iterable[Cause]) -> None:
    webhook.reached()
    found = list(causes)
    if found:
        raise webhook.invalid(found)


def register(api: ApiServer, virt_api: VirtApi) -> None:
    machines = virt_api.webhook("virtualmachine-validator.kubevirt.io", "virtualmachines-validate")
    instances = virt_api.webhook("virtualmachineinstances-create-validator.kubevirt.io", "virtualmachineinstances-validate-create")

    def machine(request: AdmissionRequest) -> None:
        # What is going is not asked any more: its finalizers must be able to go.
        if request.object is not None and not request.object["metadata"].get("deletionTimestamp"):
            _refuse(machines, machine_causes(request.object))

    def instance(request: AdmissionRequest) -> None:
        if request.object is not None:
            _refuse(instances, instance_causes(request.object.get("spec") or {}, "spec"))

    for operation in ("CREATE", "UPDATE"):
        api.admission.register(_MACHINES, operation, machine)
    api.admission.register(_INSTANCES, "CREATE", instance)
