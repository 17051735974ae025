# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The further networks that a pod is attached to, and what is said of them on the pod: pure.

Source: k8snetworkplumbingwg/multus-cni pkg/k8sclient/k8sclient.go (parsePodNetworkAnnotation, getKubernetesDelegate, SetNetworkStatus);
multi-network de-facto standard 1.3 (network-status annotation).
"""
from __future__ import annotations

import hashlib
import ipaddress
import json
import typing as t

from ..interface import Object, Ref

NETWORK_ATTACHMENT_DEFINITIONS = Ref("k8s.cni.cncf.io", "v1", "network-attachment-definitions")
ANNOTATION = "k8s.v1.cni.cncf.io/networks"
STATUS = "k8s.v1.cni.cncf.io/network-status"


class Wanted(t.NamedTuple):
    """A network that a pod asks for, and as which interface."""

    namespace: str
    name: str
    interface: str


def networks(pod: Object) -> list[tuple[str, str]]:
    """Namespace and name of each; without a namespace it is the pod's own."""
    return [(one.namespace, one.name) for one in wanted(pod)]


def wanted(pod: Object) -> list[Wanted]:
    """Each of `[NAMESPACE/]NAME[@INTERFACE]`, by commas, or of a list in JSON. Interfaces without a name are numbered from net1."""
    return [Wanted(namespace, name, interface or f"net{number}") for number, (namespace, name, interface) in enumerate(_asked(pod), 1)]


def _asked(pod: Object) -> list[tuple[str, str, str]]:
    text, home = (pod["metadata"].get("annotations") or {}).get(ANNOTATION, ""), pod["metadata"]["namespace"]
    if text.lstrip()[:1] in ("[", "{", '"'):
        try:
            entries = json.loads(text)
        except ValueError:
            return []
        held = [one for one in entries if isinstance(one, dict) and one.get("name")] if isinstance(entries, list) else []
        return [(str(one.get("namespace") or home), str(one["name"]), str(one.get("interface") or "")) for one in held]
    found = []
    for part in text.split(","):
        path, dummy, interface = part.strip().partition("@")
        namespace, slash, name = path.rpartition("/")
        if name:
            found.append((namespace if slash else home, name, interface))
    return found


def not_found(namespace: str, name: str) -> str:
    """What is said of one that isn't there."""
    resource = f"{NETWORK_ATTACHMENT_DEFINITIONS.plural}.{NETWORK_ATTACHMENT_DEFINITIONS.group}"
    return f'cannot find a network-attachment-definition ({name}) in namespace ({namespace}): {resource} "{name}" not found'


def status(pod: Object, address: str, attached: t.Iterable[tuple[Wanted, t.Sequence[str]]]) -> str:
    """What multus writes on a pod: its own network first, then each further one with its addresses."""
    entries: list[Object] = [{"name": "ovn-kubernetes", "interface": "eth0", "ips": [address], "mac": _mac(address), "default": True, "dns": {}}]
    for one, addresses in attached:
        entry: Object = {"name": f"{one.namespace}/{one.name}", "interface": one.interface}
        if addresses:
            entry["ips"] = list(addresses)
        entries.append({**entry, "mac": _mac(pod["metadata"]["uid"] + one.interface), "dns": {}})
    return json.dumps(entries, indent=4)


def addresses_on(pod: Object, interface: str) -> list[str]:
    """The addresses that a pod has on an interface; none where nothing says so."""
    return [address for one in entries(pod) if one.get("interface") == interface for address in one.get("ips") or ()]


def entries(pod: Object) -> list[Object]:
    """What stands on the pod."""
    try:
        found = json.loads((pod["metadata"].get("annotations") or {}).get(STATUS) or "[]")
    except ValueError:
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def is_global(address: str) -> bool:
    """Whether others can be reached from it, as Go's net.IP.IsGlobalUnicast has it."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (found.is_unspecified or found.is_loopback or found.is_multicast or found.is_link_local)


def _mac(text: str) -> str:
    """A locally administered one, always the same for the same text."""
    digest = hashlib.sha256(text.encode()).digest()
    return ":".join(f"{part:02x}" for part in (0x0a, 0x58, *digest[:4]))
