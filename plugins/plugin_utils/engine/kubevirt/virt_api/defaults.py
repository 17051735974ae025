# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What virt-api fills in when a VirtualMachine or a VirtualMachineInstance is created.

Source: KubeVirt pkg/defaults/defaults.go, pkg/virt-api/webhooks/mutating-webhook/mutators/{vm,vmi}-mutator.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import uuid

from ...apiserver.admission import AdmissionRequest
from ...apiserver.chain import ApiServer
from ...interface import Object
from ..virt_controller.configuration import DEFAULTS, Configuration, Version, bytes_of, configuration
from ..virt_controller.launcher_resources import hugepages, memory_request
from ..virt_controller.phases import INSTANCE_FINALIZER
from .webhooks import VirtApi

_MACHINES, _INSTANCES = ("kubevirt.io", "virtualmachines"), ("kubevirt.io", "virtualmachineinstances")
_ARCHITECTURE, _MACHINE_TYPE, _CPU_MODEL = "amd64", "q35", "host-model"
_USER = 107


def machine_defaults(vm: Object, version: Version, create: bool) -> None:
    """Fill in the template of a machine, in place. A firmware serial number comes with its creation, from KubeVirt 1.5 on."""
    template = vm.get("spec", {}).get("template")
    if not isinstance(template, dict):
        return
    metadata = template.setdefault("metadata", {})
    if isinstance(metadata, dict):
        for name in ("labels", "annotations"):
            if metadata.get(name) == {}:
                del metadata[name]
    spec = template.setdefault("spec", {})
    spec.setdefault("architecture", _ARCHITECTURE)
    domain = spec.setdefault("domain", {})
    _setdefault(domain.setdefault("machine", {}), "type", _MACHINE_TYPE)
    if create and version >= (1, 5, 0):
        domain.setdefault("firmware", {}).setdefault("serial", str(uuid.uuid4()))


def instance_defaults(vmi: Object, config: Configuration, now: str) -> None:
    """Fill in an instance before it is stored, in place: its spec, its finalizer and the beginning of its status."""
    spec = vmi.setdefault("spec", {})
    domain = spec.setdefault("domain", {})
    spec.setdefault("architecture", _ARCHITECTURE)
    _setdefault(domain.setdefault("machine", {}), "type", _MACHINE_TYPE)
    _resources(vmi, config)
    _topology(domain)
    domain.setdefault("devices", {})
    domain.setdefault("features", {}).setdefault("acpi", {}).setdefault("enabled", True)
    for volume in spec.get("volumes") or ():
        if "containerDisk" in volume:
            image = str(volume["containerDisk"].get("image", ""))
            always = image.endswith(":latest") or not any(mark in image for mark in ":@")
            _setdefault(volume["containerDisk"], "imagePullPolicy", "Always" if always else "IfNotPresent")
    if not spec.get("evictionStrategy") and config.eviction_strategy != "None":
        spec["evictionStrategy"] = config.eviction_strategy
    finalizers = vmi["metadata"].setdefault("finalizers", [])
    if INSTANCE_FINALIZER not in finalizers:
        finalizers.append(INSTANCE_FINALIZER)
    _status(vmi, now)


def _setdefault(where: Object, name: str, value: str) -> None:
    """An empty text is as good as none."""
    where[name] = where.get(name) or value


def _resources(vmi: Object, config: Configuration) -> None:
    domain = vmi["spec"]["domain"]
    resources = domain.setdefault("resources", {})
    requests, limits = dict(resources.get("requests") or {}), resources.get("limits") or {}
    for name in ("cpu", "memory"):
        if name in limits:
            requests.setdefault(name, limits[name])
    if "memory" not in requests and (asked := memory_request(vmi, config)) != "0":
        requests["memory"] = asked
    if requests:
        resources["requests"] = requests
    memory = domain.setdefault("memory", {})
    guest = requests.get("memory") or limits.get("memory") or hugepages(vmi)
    if not memory.get("guest") and guest:
        memory["guest"] = guest


def _topology(domain: Object) -> None:
    """Without a topology the CPUs that are limited or requested are sockets."""
    cpu = domain.setdefault("cpu", {})
    if not any(cpu.get(part) for part in ("cores", "sockets", "threads")):
        resources = domain.get("resources") or {}
        asked = (resources.get("limits") or {}).get("cpu") or (resources.get("requests") or {}).get("cpu")
        cpu["sockets"] = max(1, bytes_of(asked)) if asked is not None else 1
    for part in ("cores", "sockets", "threads"):
        cpu[part] = cpu.get(part) or 1
    _setdefault(cpu, "model", _CPU_MODEL)


def _status(vmi: Object, now: str) -> None:
    domain = vmi["spec"]["domain"]
    status = vmi.setdefault("status", {})
    if not status.get("phase"):
        status["phase"] = "Pending"
        status["phaseTransitionTimestamps"] = [{"phase": "Pending", "phaseTransitionTimestamp": now}]
    status.setdefault("currentCPUTopology", {part: domain["cpu"][part] for part in ("cores", "sockets", "threads")})
    guest = domain["memory"].get("guest")
    if guest:
        status.setdefault("memory", dict.fromkeys(("guestAtBoot", "guestCurrent", "guestRequested"), guest))
    status.setdefault("runtimeUser", _USER)


class Defaults:
    """Asked on each creation of a machine or an instance, and on each update of a machine."""

    def __init__(self, virt_api: VirtApi) -> None:
        self._virt_api = virt_api
        self._of_machines = virt_api.webhook("virtualmachines-mutator.kubevirt.io", "virtualmachines-mutate")
        self._of_instances = virt_api.webhook("virtualmachineinstances-mutator.kubevirt.io", "virtualmachineinstances-mutate")
        self._read: tuple[int, Version, Configuration] = (-1, (0, 0, 0), DEFAULTS)

    def _configuration(self) -> Configuration:
        stored = next((one for one in self._virt_api.store.list(("kubevirt.io", "kubevirts"), self._virt_api.namespace)), None)
        if stored is None:
            return DEFAULTS
        version = self._virt_api.component.version
        if self._read[:2] != (stored.version, version):
            self._read = (stored.version, version, configuration(stored.value, version))
        return self._read[2]

    def machine(self, request: AdmissionRequest) -> None:
        self._of_machines.reached()
        if request.object is not None:
            machine_defaults(request.object, self._virt_api.component.version, request.operation == "CREATE")

    def instance(self, request: AdmissionRequest) -> None:
        self._of_instances.reached()
        if request.object is None:
            return
        if not self._virt_api.is_kubevirt(request.user.name):
            request.object.pop("status", None)
        instance_defaults(request.object, self._configuration(), self._virt_api.clock.timestamp())


def register(api: ApiServer, virt_api: VirtApi) -> None:
    defaults = Defaults(virt_api)
    for operation in ("CREATE", "UPDATE"):
        api.admission.register(_MACHINES, operation, defaults.machine)
    api.admission.register(_INSTANCES, "CREATE", defaults.instance)
