# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a NetworkAttachmentDefinition says: which plugins, on which link of a node, with which addresses. Pure. Private to this collection.

Source: CNI specification 1.0.0 (configuration format); containernetworking/plugins plugins/main and plugins/ipam (host-local, static);
k8snetworkplumbingwg/whereabouts doc/extended-configuration.md; ovn-kubernetes go-controller/pkg/cni/types (subnets, physicalNetworkName).
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

from .addresses import Addresses, Network, host_local, static, subnets, whereabouts

Json = dict[str, t.Any]
RESOURCE_NAME = "k8s.v1.cni.cncf.io/resourceName"
NODE_SELECTOR = "k8s.v1.cni.cncf.io/nodeSelector"
_LINKS = {
    "macvlan": "master", "ipvlan": "master", "vlan": "master", "host-device": "device", "bridge": "bridge", "cnv-bridge": "bridge", "ovs": "bridge",
}
_DEFAULT_BRIDGE = "cni0"
_OVN = "ovn-k8s-cni-overlay"


class Unusable(ValueError):
    """The configuration is none; the text says why."""


@dataclass(frozen=True)
class Attachment:
    """C(type) is that of the first plugin, C(link) the interface or bridge that it takes on every node, empty where it names none.

    C(localnet) is the physical network of OVN-Kubernetes. C(manager) is the IPAM type, empty without one. C(on_node) says that the configuration is not
    in the object but in a file on every node.
    """

    namespace: str
    name: str
    type: str = ""
    link: str = ""
    localnet: str = ""
    manager: str = ""
    addresses: Addresses = field(default_factory=Addresses)
    resource: str = ""
    selector: tuple[str, str] | None = None
    on_node: bool = False

    @property
    def object_name(self) -> str:
        return f"NetworkAttachmentDefinition {self.namespace}/{self.name}"

    @property
    def gives_addresses(self) -> bool:
        """Whether a pod gets an address at all."""
        return self.on_node or not self.addresses.empty or self.addresses.unknown

    @property
    def networks(self) -> tuple[Network, ...]:
        return self.addresses.networks


def attachment(definition: Json) -> Attachment:
    """Of a NetworkAttachmentDefinition. Raises Unusable."""
    metadata = definition["metadata"]
    annotations = metadata.get("annotations") or {}
    label, dummy, value = str(annotations.get(NODE_SELECTOR) or "").partition("=")
    common: Json = {
        "namespace": str(metadata.get("namespace") or ""), "name": str(metadata["name"]), "resource": str(annotations.get(RESOURCE_NAME) or ""),
        "selector": (label.strip(), value.strip()) if label.strip() else None,
    }
    text = (definition.get("spec") or {}).get("config") or ""
    if not text.strip():
        return Attachment(**common, on_node=True)
    config = _read(text)
    plugins = _plugins(config)
    first = plugins[0]
    kind = str(first["type"])
    link = str(first.get(_LINKS.get(kind, "")) or "")
    if kind in ("bridge", "cnv-bridge") and not link:
        link = _DEFAULT_BRIDGE
    if kind == "vlan" and not link:
        raise Unusable("its vlan has no master")
    localnet = str(first.get("physicalNetworkName") or config.get("name") or "") if kind == _OVN and first.get("topology") == "localnet" else ""
    manager, found = _addresses(kind, first, plugins)
    return Attachment(**common, type=kind, link=link, localnet=localnet, manager=manager, addresses=found)


def link_of(definition: Json | None) -> str:
    """The interface or bridge of the nodes on which a network lies; empty without one, and where its configuration does not say so."""
    try:
        return attachment(definition).link if definition is not None else ""
    except Unusable:
        return ""


def _read(text: str) -> Json:
    try:
        config = json.loads(text)
    except ValueError as error:
        raise Unusable(f"its spec.config is no JSON ({error})") from error
    if not isinstance(config, dict):
        raise Unusable("its spec.config is no JSON object")
    return config


def _plugins(config: Json) -> list[Json]:
    if "plugins" in config:
        plugins = config["plugins"]
        if not isinstance(plugins, list) or not plugins or not all(isinstance(one, dict) for one in plugins):
            raise Unusable("its spec.config has plugins that are no list of plugins")
    else:
        plugins = [config]
    for one in plugins:
        if not isinstance(one.get("type"), str) or not one["type"]:
            raise Unusable("its spec.config names no plugin (type)")
        if not isinstance(one.get("ipam") or {}, dict):
            raise Unusable("its spec.config has an ipam that is no object")
    return plugins


def _addresses(kind: str, first: Json, plugins: t.Iterable[Json]) -> tuple[str, Addresses]:
    """The address manager and what it has to give. Raises Unusable."""
    try:
        if kind == _OVN:
            return ("ovn", subnets(first.get("subnets"), first.get("excludeSubnets"))) if first.get("subnets") else ("", Addresses())
        ipam = next((one["ipam"] for one in plugins if one.get("ipam")), None)
        if ipam is None:
            return "", Addresses()
        manager = str(ipam.get("type") or "")
        readers = {"whereabouts": whereabouts, "host-local": host_local, "static": static}
        # What another manager has to give is its own matter.
        return manager, readers[manager](ipam) if manager in readers else Addresses(unknown=bool(manager))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise Unusable(f"its ipam can't be read: {error}") from error
