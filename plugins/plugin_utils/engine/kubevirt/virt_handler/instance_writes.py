# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What virt-handler writes into a VirtualMachineInstance: pure.

Source: KubeVirt pkg/virt-handler/vm.go, migration-source and migration-target parts, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import hashlib
import typing as t

from ...interface import Object
from ..virt_controller import conditions, phases

_DEVICES = {"virtio": "vd", "sata": "sd", "scsi": "sd", "usb": "sd"}
_MACHINES = {"q35": "pc-q35-rhel9.6.0"}
_CHANNELS = (0, 49152, 49153)


def state(vmi: Object | None) -> Object:
    """status.migrationState; empty when there is none."""
    found: Object = ((vmi or {}).get("status") or {}).get("migrationState") or {}
    return found


def with_status(vmi: Object, **fields: t.Any) -> Object:
    """The instance with these fields of its status; None takes a field away."""
    status = {key: value for key, value in {**(vmi.get("status") or {}), **fields}.items() if value is not None}
    return {**vmi, "status": status}


def with_state(vmi: Object, **fields: t.Any) -> Object:
    """The instance with these fields of its migrationState."""
    return with_status(vmi, migrationState={**state(vmi), **fields})


def with_conditions(vmi: Object, *made: Object) -> Object:
    found = list((vmi.get("status") or {}).get("conditions") or ())
    for one in made:
        found = conditions.updated(found, one)
    return with_status(vmi, conditions=found)


def with_phase(vmi: Object, phase: str, now: str) -> Object:
    transitions = (vmi.get("status") or {}).get("phaseTransitionTimestamps") or ()
    return with_status(vmi, phase=phase, phaseTransitionTimestamps=[*transitions, {"phase": phase, "phaseTransitionTimestamp": now}])


def interfaces(vmi: Object, address: str) -> list[Object]:
    """status.interfaces of a running guest whose pod has that address."""
    pods = {network["name"] for network in vmi["spec"].get("networks") or () if "pod" in network}
    digits = vmi["metadata"]["uid"].replace("-", "")
    made = []
    asked = (vmi["spec"].get("domain", {}).get("devices") or {}).get("interfaces") or ()
    for number, one in enumerate(asked):
        mac = one.get("macAddress") or f"02:00:{number:02x}:{digits[0:2]}:{digits[2:4]}:{digits[4:6]}"
        entry: Object = {"infoSource": "domain", "mac": mac, "name": one["name"], "queueCount": 1}
        if one["name"] in pods:
            entry["podInterfaceName"] = "eth0"
            if address:
                entry |= {"ipAddress": address, "ipAddresses": [address]}
        made.append(entry)
    return made


def _targets(vmi: Object) -> list[Object] | None:
    """status.volumeStatus with the devices that the guest sees."""
    found = (vmi.get("status") or {}).get("volumeStatus")
    if not found:
        return None
    used: dict[str, int] = {}
    names = {}
    for disk in (vmi["spec"].get("domain", {}).get("devices") or {}).get("disks") or ():
        bus = next((disk[kind].get("bus") for kind in ("disk", "cdrom", "lun") if kind in disk), None) or "sata"
        prefix = _DEVICES.get(bus, "sd")
        names[disk["name"]] = prefix + chr(ord("a") + used.get(prefix, 0) % 26)
        used[prefix] = used.get(prefix, 0) + 1
    return [{**entry, "target": names.get(entry["name"], entry.get("target", ""))} for entry in found]


def started(vmi: Object, live: Object, storage: Object, method: str, address: str, now: str) -> Object:
    """The guest runs."""
    machine = ((vmi["spec"].get("domain") or {}).get("machine") or {}).get("type") or "q35"
    made = with_status(
        vmi, interfaces=interfaces(vmi, address) or None, machine={"type": _MACHINES.get(machine, machine)}, migrationMethod=method,
        guestOSInfo=(vmi.get("status") or {}).get("guestOSInfo") or {}, selinuxContext="none", volumeStatus=_targets(vmi),
    )
    return with_phase(with_conditions(made, live, storage), "Running", now)


def ended(vmi: Object, phase: str, now: str) -> Object:
    """The guest has shut down (Succeeded) or is lost (Failed)."""
    return with_phase(vmi, phase, now)


def ports(vmi: Object) -> Object:
    """The ports that virt-handler listens on for a migration, each with the one that it stands for on the other side."""
    digest = hashlib.sha256(state(vmi)["migrationUid"].encode()).digest()
    made: Object = {}
    for number, channel in enumerate(_CHANNELS):
        port = 32768 + int.from_bytes(digest[4 * number:4 * number + 4], "big") % 28000
        while str(port) in made:
            port += 1
        made[str(port)] = channel
    return made


def handed_over(vmi: Object, address: str, now: str, mode: str) -> Object:
    """The guest runs on its target, and belongs to it."""
    node = state(vmi)["targetNode"]
    labels = {**(vmi["metadata"].get("labels") or {}), phases.NODE_NAME: node}
    labels.pop(phases.OUTDATED, None)
    made = with_state(vmi, endTimestamp=now, completed=True, mode=mode)
    made = with_status(
        made, nodeName=node, evacuationNodeName=None, launcherContainerImageVersion=None, migrationTransport="Unix",
        interfaces=interfaces(vmi, address) or None,
    )
    return {**made, "metadata": {**vmi["metadata"], "labels": labels}}


def failed(vmi: Object, reason: str, aborted: bool, now: str, mode: str) -> Object:
    """The migration has failed; the guest stays where it is."""
    extra: Object = {"abortStatus": "Succeeded"} if aborted else {}
    return with_state(vmi, endTimestamp=now, completed=True, failed=True, failureReason=reason, mode=mode, **extra)


def paused(vmi: Object, now: str, reason: str = "PausedByUser", message: str = "VMI was paused by user") -> Object:
    return with_conditions(vmi, conditions.new("Paused", "True", now, reason, message, now))


def unpaused(vmi: Object) -> Object:
    return with_status(vmi, conditions=conditions.without((vmi.get("status") or {}).get("conditions") or (), "Paused"))


def address(node: Object | None) -> str:
    """The address on which a node's virt-handler listens."""
    addresses = ((node or {}).get("status") or {}).get("addresses") or ()
    found = next((entry["address"] for entry in addresses if entry.get("type") == "InternalIP"), None)
    if found:
        return str(found)
    number = sum(ord(letter) * (31 ** (place % 4)) for place, letter in enumerate((node or {}).get("metadata", {}).get("name", "")))
    return f"192.168.{66 + number // 254 % 64}.{1 + number % 254}"
