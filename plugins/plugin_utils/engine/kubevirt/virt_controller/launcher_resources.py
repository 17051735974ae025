# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the compute container of a virt-launcher pod asks for: pure.

Source: KubeVirt pkg/virt-controller/services/{renderresources,template}.go (GetMemoryOverhead and the resource rules), v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import decimal

from ...apiserver.quantities import canonical_quantity, quantity
from ...interface import Object
from .configuration import Configuration, Version, bytes_of

MIB = 1024 * 1024
_COMPONENTS = {(1, 4, 0): 210, (1, 4, 1): 215, (1, 5, 0): 220}
"""MiB for virt-launcher-monitor, virt-launcher, virtlogd, virtqemud and qemu, from the version on."""
_PER_VCPU, _IO_THREAD, _GRAPHICS, _ARM64, _VFIO, _SEV, _TPM, _DEDICATED = 8, 8, 16, 128, 1024, 256, 53, 100
_EXEC_PROBE, _EXEC_PROBES = 10, 100
_EPHEMERAL_STORAGE = 50_000_000
_DEVICES = "devices.kubevirt.io/"


def vcpus(vmi: Object) -> int:
    """Guest CPUs: the topology, else what the resources say, at least 1."""
    domain = vmi["spec"]["domain"]
    cpu = domain.get("cpu")
    if cpu:
        count = 1
        for part in ("sockets", "cores", "threads"):
            count *= int(cpu.get(part) or 1)
        return count
    resources = domain.get("resources") or {}
    for kind in ("limits", "requests"):
        if (said := (resources.get(kind) or {}).get("cpu")) is not None:
            return max(1, bytes_of(said))
    return 1


def is_dedicated(vmi: Object) -> bool:
    """Whether the guest's CPUs are pinned to host CPUs of its own."""
    return bool((vmi["spec"]["domain"].get("cpu") or {}).get("dedicatedCpuPlacement"))


def is_guaranteed(vmi: Object) -> bool:
    """Whether memory and CPU of the guest are limited to what is requested."""
    resources = vmi["spec"]["domain"].get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    return all(name in requests and name in limits and quantity(str(requests[name])) == quantity(str(limits[name])) for name in ("cpu", "memory"))


def hugepages(vmi: Object) -> str:
    """The page size, or nothing."""
    return str(((vmi["spec"]["domain"].get("memory") or {}).get("hugepages") or {}).get("pageSize") or "")


def guest_memory(vmi: Object) -> str:
    """The guest's memory as a quantity."""
    domain = vmi["spec"]["domain"]
    guest = (domain.get("memory") or {}).get("guest")
    resources = domain.get("resources") or {}
    return str(guest or (resources.get("requests") or {}).get("memory") or (resources.get("limits") or {}).get("memory") or hugepages(vmi) or "0")


def memory_request(vmi: Object, config: Configuration) -> str:
    """The memory that the guest requests, as a quantity: what the user asks for, else its memory by the overcommitment."""
    resources = vmi["spec"]["domain"].get("resources") or {}
    said = (resources.get("requests") or {}).get("memory") or (resources.get("limits") or {}).get("memory")
    if said:
        return str(said)
    guest = guest_memory(vmi)
    if config.memory_overcommit == 100 or hugepages(vmi) or is_dedicated(vmi):
        return guest
    return _like(guest, bytes_of(guest) * 100 // config.memory_overcommit)


def memory_overhead(vmi: Object, version: Version, config: Configuration) -> int:
    """Bytes that a guest costs on top of its memory."""
    domain = vmi["spec"]["domain"]
    devices = domain.get("devices") or {}
    thousands = -(-bytes_of(memory_request(vmi, config)) // 1000)
    components = next(_COMPONENTS[known] for known in sorted(_COMPONENTS, reverse=True) if known <= version or known == (1, 4, 0))
    mib = components + _PER_VCPU * vcpus(vmi) + _IO_THREAD
    if devices.get("autoattachGraphicsDevice") is not False:
        mib += _GRAPHICS
    if vmi["spec"].get("architecture") == "arm64":
        mib += _ARM64
    if has_vfio(vmi):
        mib += _VFIO
    if any("downwardMetrics" in volume for volume in vmi["spec"].get("volumes") or ()):
        mib += 1
    probes = sum(bool((vmi["spec"].get(probe) or {}).get("exec")) for probe in ("livenessProbe", "readinessProbe"))
    mib += probes * _EXEC_PROBE + bool(probes) * _EXEC_PROBES
    if "sev" in (domain.get("launchSecurity") or {}):
        mib += _SEV
    if devices.get("tpm") is not None:
        mib += _TPM
    overhead = thousands * 1000 // 512 + mib * MIB
    pinned = _DEDICATED * MIB if is_dedicated(vmi) or is_guaranteed(vmi) else 0
    if version >= (1, 5, 3):
        return _multiplied(overhead + pinned, config.additional_guest_memory_overhead_ratio)
    return _multiplied(overhead, config.additional_guest_memory_overhead_ratio) + pinned


def _multiplied(overhead: int, ratio: float | None) -> int:
    if ratio is None:
        return overhead
    return overhead + int(-(-overhead // 1000) * (ratio - 1.0)) * 1000


def has_vfio(vmi: Object) -> bool:
    """Whether host devices, GPUs or SR-IOV interfaces are passed through."""
    devices = vmi["spec"]["domain"].get("devices") or {}
    return bool(devices.get("hostDevices") or devices.get("gpus") or any("sriov" in one for one in devices.get("interfaces") or ()))


def launcher_memory(vmi: Object, version: Version, config: Configuration) -> int:
    """Bytes of memory that the compute container requests."""
    return bytes_of(compute_resources(vmi, version, config)["requests"]["memory"])


def _like(quantity_text: str, value: int) -> str:
    """The value in the family, binary or decimal, in which the quantity is written."""
    if quantity_text.endswith("i"):
        return canonical_quantity(f"{value // 1024}Ki") if value % 1024 == 0 and value else str(value)
    return canonical_quantity(str(value))


def _sum(text: str, value: int) -> str:
    return _like(text, bytes_of(text) + value)


def compute_resources(vmi: Object, version: Version, config: Configuration) -> Object:
    """`resources` of the compute container."""
    spec = vmi["spec"]["domain"]
    asked = spec.get("resources") or {}
    requests = {name: str(value) for name, value in (asked.get("requests") or {}).items()}
    limits = {name: str(value) for name, value in (asked.get("limits") or {}).items()}
    overhead = memory_overhead(vmi, version, config)
    requests["memory"] = memory_request(vmi, config)
    for amounts in (requests, limits):
        if "ephemeral-storage" in amounts or amounts is requests:
            amounts["ephemeral-storage"] = _sum(amounts.get("ephemeral-storage", "0"), _EPHEMERAL_STORAGE)
    _cpu(vmi, config, requests, limits)
    if hugepages(vmi):
        _hugepages(vmi, requests, limits, overhead)
    else:
        if not asked.get("overcommitGuestOverhead"):
            requests["memory"] = _sum(requests["memory"], overhead)
        if "memory" in limits:
            limits["memory"] = _sum(limits["memory"], overhead)
    for device, count in _extended(vmi).items():
        limits[device] = str(count)
    # The API server takes a missing request for the limit.
    made = {"requests": {**limits, **requests}, "limits": limits}
    return {kind: {name: canonical_quantity(amount) for name, amount in amounts.items()} for kind, amounts in made.items()}


def _cpu(vmi: Object, config: Configuration, requests: dict[str, str], limits: dict[str, str]) -> None:
    cpu = vmi["spec"]["domain"].get("cpu") or {}
    if is_dedicated(vmi):
        count = vcpus(vmi)
        if cpu.get("isolateEmulatorThread"):
            count += 2 if "alpha.kubevirt.io/EmulatorThreadCompleteToEvenParity" in (vmi["metadata"].get("annotations") or {}) and count % 2 == 0 else 1
        requests["cpu"] = limits["cpu"] = str(count)
        limits["memory"] = requests["memory"]
    elif config.cpu_allocation_ratio > 0:
        milli = decimal.Decimal(vcpus(vmi) * 1000) / config.cpu_allocation_ratio
        requests.setdefault("cpu", canonical_quantity(f"{milli:f}m"))


def _hugepages(vmi: Object, requests: dict[str, str], limits: dict[str, str], overhead: int) -> None:
    """Guest memory comes from huge pages; of other memory only the rest is wanted."""
    asked, guest = bytes_of(requests["memory"]), bytes_of(guest_memory(vmi))
    pages = guest_memory(vmi) if asked > guest else requests["memory"]
    requests["memory"] = canonical_quantity(str(max(0, asked - guest) + overhead))
    if "memory" in limits:
        limits["memory"] = canonical_quantity(str(max(0, bytes_of(limits["memory"]) - guest) + overhead))
    requests[f"hugepages-{hugepages(vmi)}"] = limits[f"hugepages-{hugepages(vmi)}"] = canonical_quantity(pages)


def _extended(vmi: Object) -> dict[str, int]:
    """Device plug-in resources by name."""
    devices = vmi["spec"]["domain"].get("devices") or {}
    wanted = {f"{_DEVICES}kvm": 1}
    interfaces = devices.get("interfaces") or ()
    if devices.get("autoattachPodInterface") is not False or interfaces:
        wanted[f"{_DEVICES}tun"] = 1
    if any(interface.get("model", "virtio") == "virtio" for interface in interfaces):
        wanted[f"{_DEVICES}vhost-net"] = 1
    if devices.get("autoattachVSOCK"):
        wanted[f"{_DEVICES}vhost-vsock"] = 1
    if "sev" in (vmi["spec"]["domain"].get("launchSecurity") or {}):
        wanted[f"{_DEVICES}sev"] = 1
    if any(((disk.get("lun") or {}).get("reservation")) for disk in devices.get("disks") or ()):
        wanted[f"{_DEVICES}pr-helper"] = 1
    for device in (*(devices.get("gpus") or ()), *(devices.get("hostDevices") or ())):
        if name := device.get("deviceName"):
            wanted[name] = wanted.get(name, 0) + 1
    return wanted
