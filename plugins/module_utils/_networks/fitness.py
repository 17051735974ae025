# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a network can carry live migrations: what the API tells of it before it is set. Pure. Private to this collection.

Source: OKD documentation, modules/virt-configuring-secondary-network-vm-live-migration.adoc (namespace, one NIC on every node, no overlap with the main
network); KubeVirt pkg/virt-handler/migration.go v1.5 (FindMigrationIP: an interface migration0 without an address ends virt-handler);
kubernetes-nmstate NodeNetworkState (status.currentState.interfaces); containernetworking/plugins plugins/ipam/host-local (state on each node).
"""

from __future__ import annotations

import contextlib
import ipaddress
import typing as t
from dataclasses import dataclass, field

from .._quantity import quantity
from .addresses import Network
from .attachment import Attachment, Unusable, attachment

Json = dict[str, t.Any]
MISSING, INVALID, NO_ADDRESSES, TOO_SMALL, PER_NODE, OVERLAP, NO_LINK, NO_RESOURCE, NOT_THERE = (
    "network_missing", "network_config_invalid", "network_without_addresses", "network_range_too_small", "network_addresses_not_unique", "network_overlap",
    "network_link_missing", "network_resource_missing", "network_not_on_every_node",
)
CODES = (MISSING, INVALID, NO_ADDRESSES, TOO_SMALL, PER_NODE, OVERLAP, NO_LINK, NO_RESOURCE, NOT_THERE)
"""Every code. They stay the same from release to release."""
ACCEPTABLE = (TOO_SMALL, PER_NODE, OVERLAP, NO_LINK, NO_RESOURCE, NOT_THERE)
"""Those that may be known better than the API tells; with the others virt-handler starts on no node."""
_SHOWN = 5


@dataclass(frozen=True)
class Problem:
    """Why a network can't do. C(object) is the one to look at, kind and name."""

    code: str
    object: str
    sentence: str
    remedy: str
    data: Json = field(default_factory=dict)

    def text(self) -> str:
        return f"{self.object}: {self.sentence}. {self.remedy}"

    def to_dict(self) -> Json:
        return {"code": self.code, "object": self.object, "sentence": self.sentence, "remedy": self.remedy, "data": self.data}


@dataclass
class Surroundings:
    """What a network is judged by; None for what is not known, for want of a right or since the cluster does not serve it.

    C(nodes) are those on which virt-handler runs, C(definitions) all NetworkAttachmentDefinitions, C(states) the NodeNetworkStates, C(cluster_network)
    the Network C(cluster) of config.openshift.io.
    """

    namespace: str
    definitions: list[Json] | None = None
    nodes: list[Json] | None = None
    states: list[Json] | None = None
    cluster_network: Json | None = None


@dataclass
class Fitness:
    """C(attachment) is None where the network is not there, not readable or no configuration. C(unknown) are sentences on what was not looked at."""

    attachment: Attachment | None = None
    problems: list[Problem] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def ranges(self) -> tuple[str, ...]:
        """Of its addresses, where they are known."""
        return tuple(str(one) for one in self.attachment.networks) if self.attachment is not None else ()


def fitness(name: str, around: Surroundings) -> Fitness:
    """Of the network of that name in the namespace of KubeVirt."""
    if around.definitions is None:
        return Fitness(unknown=[f"Whether NetworkAttachmentDefinition {around.namespace}/{name} exists is not known, since it can't be read."])
    same_name = [one for one in around.definitions if one["metadata"]["name"] == name]
    definition = next((one for one in same_name if one["metadata"].get("namespace") == around.namespace), None)
    if definition is None:
        return Fitness(problems=[_missing(name, around.namespace, sorted(str(one["metadata"].get("namespace")) for one in same_name))])
    try:
        found = attachment(definition)
    except Unusable as error:
        what = f"NetworkAttachmentDefinition {around.namespace}/{name}"
        remedy = "Give it a configuration of CNI: with it virt-handler would start on no node any more."
        return Fitness(problems=[Problem(INVALID, what, str(error), remedy)])
    result = Fitness(found)
    if found.on_node:
        result.unknown.append(f"{found.object_name} has its configuration in a file on every node: whether it can work is not known.")
    _check_addresses(result, found, around)
    _check_overlaps(result, found, around)
    _check_links(result, found, around)
    _check_nodes(result, found, around)
    return result


def _missing(name: str, namespace: str, elsewhere: list[str]) -> Problem:
    sentence = "it is not there"
    remedy = "Make it there first: with a network that is missing virt-handler would start on no node any more."
    if elsewhere:
        places = _some([f"{one}/{name}" for one in elsewhere])
        sentence += f"; one of that name is in another namespace: {places}"
        remedy = f"Make it in {namespace}, the namespace of the HyperConverged: virt-handler runs there, and takes no network of another."
    return Problem(MISSING, f"NetworkAttachmentDefinition {namespace}/{name}", sentence, remedy, {"elsewhere": elsewhere})


def _check_addresses(result: Fitness, found: Attachment, around: Surroundings) -> None:
    what, have = found.object_name, found.addresses.pods
    if not found.gives_addresses:
        remedy = "Give it an ipam, such as whereabouts with a range: virt-handler does not start without an address on migration0."
        result.problems.append(Problem(NO_ADDRESSES, what, "its pods get no address", remedy))
        return
    if around.nodes is None:
        result.unknown.append("Whether the addresses of the network suffice is not known, since nodes can't be listed.")
        return
    needed = len(around.nodes)
    if have is None:
        if not found.on_node:
            result.unknown.append(f"{what}: how many addresses {found.manager} has for {needed} nodes is not known.")
    elif have < needed:
        same = "gives every pod the same address" if found.manager == "static" else f"has {have} addresses"
        remedy = "Give it a larger range: every virt-handler needs an address of its own."
        result.problems.append(Problem(TOO_SMALL, what, f"{found.manager} {same} for {needed} nodes", remedy, {"addresses": have, "nodes": needed}))
    elif found.addresses.per_node and needed > 1:
        sentence = f"host-local knows on each node only what it has given there, so that {needed} nodes get the same addresses"
        result.problems.append(Problem(PER_NODE, what, sentence, "Take whereabouts, which knows the whole cluster.", {"nodes": needed}))


def _check_overlaps(result: Fitness, found: Attachment, around: Surroundings) -> None:
    """Against the main network, the addresses of nodes, and other networks."""
    if not found.networks:
        return
    for mine in found.networks:
        for what, other in _others(found, around):
            if _overlap(mine, other):
                result.problems.append(_overlapping(found, mine, f"overlaps {what}", [str(other)]))
        for nodes, how in (
            ([(str(one), node) for node in around.nodes or () for one in _addresses_of(node) if one in mine], "has addresses of nodes in it"),
            ([(str(one), node) for node in around.nodes or () for one in _pods_of(node, around) if _overlap(mine, one)], "overlaps addresses of pods"),
        ):
            if nodes:
                shown = _some([f"{one} of Node {node['metadata']['name']}" for one, node in nodes])
                result.problems.append(_overlapping(found, mine, f"{how}: {shown}", [one for one, _node in nodes]))
    if around.cluster_network is None and not any((node.get("spec") or {}).get("podCIDR") for node in around.nodes or ()):
        result.unknown.append("Whether the range overlaps the network of pods is not known: neither nodes nor networks.config.openshift.io say which that is.")


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _overlapping(found: Attachment, mine: Network, how: str, others: list[str]) -> Problem:
    remedy = "Give the network for migrations a range of its own."
    return Problem(OVERLAP, found.object_name, f"its range {mine} {how}", remedy, {"range": str(mine), "others": others})


def _others(found: Attachment, around: Surroundings) -> t.Iterator[tuple[str, Network]]:
    """What a range may not overlap, the parts of nodes apart: what it is, and the network."""
    spec = {**((around.cluster_network or {}).get("spec") or {}), **((around.cluster_network or {}).get("status") or {})}
    for what, texts in (
        ("services", spec.get("serviceNetwork") or ()), ("pods", [one.get("cidr") for one in spec.get("clusterNetwork") or ()]),
    ):
        for other in _parsed(texts):
            yield f"the network of {what} {other} (Network cluster)", other
    for definition in around.definitions or ():
        metadata = definition["metadata"]
        if (metadata.get("namespace"), metadata["name"]) == (found.namespace, found.name):
            continue
        try:
            another = attachment(definition)
        except Unusable:
            continue
        # Addresses of whereabouts are given once in the cluster, however many networks have them in their ranges.
        if not (found.addresses.shared and another.addresses.shared):
            for of in another.networks:
                yield f"{of} of another network ({another.object_name})", of


def _pods_of(node: Json, around: Surroundings) -> t.Iterator[Network]:
    """The part of the network of pods that a node has, where nothing says what the whole is."""
    if around.cluster_network is None:
        part = node.get("spec") or {}
        yield from _parsed(part.get("podCIDRs") or [part.get("podCIDR")])


def _parsed(texts: t.Iterable[t.Any]) -> t.Iterator[Network]:
    for text in texts:
        with contextlib.suppress(ValueError):
            yield ipaddress.ip_network(str(text), strict=False)


def _addresses_of(node: Json) -> t.Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    for one in (node.get("status") or {}).get("addresses") or ():
        if one.get("type") == "InternalIP":
            with contextlib.suppress(ValueError):
                yield ipaddress.ip_address(one["address"])


def _check_links(result: Fitness, found: Attachment, around: Surroundings) -> None:
    """The interface or bridge on every node, as kubernetes-nmstate tells."""
    wanted = found.link or found.localnet
    if not wanted or around.nodes is None:
        return
    what = f"{'localnet' if found.localnet else 'interface'} {wanted}"
    if around.states is None:
        result.unknown.append(f"Whether {what} is on every node is not known: there are no NodeNetworkStates (kubernetes-nmstate), or they can't be read.")
        return
    states = {one["metadata"]["name"]: (one.get("status") or {}).get("currentState") or {} for one in around.states}
    silent, missing, down = [], [], []
    for node in around.nodes:
        name = node["metadata"]["name"]
        state = states.get(name)
        if not state:
            silent.append(name)
        elif found.localnet:
            mappings = (state.get("ovn") or {}).get("bridge-mappings")
            if mappings is None:
                silent.append(name)
            elif all(one.get("localnet") != wanted for one in mappings):
                missing.append(name)
        else:
            interface = next((one for one in state.get("interfaces") or () if one.get("name") == wanted), None)
            if interface is None:
                missing.append(name)
            elif interface.get("state") == "down":
                down.append(name)
    for nodes, how in ((missing, "does not exist"), (down, "is down")):
        if nodes:
            remedy = "Make it there, for instance by a NodeNetworkConfigurationPolicy: virt-handler would not start on the node, or reach no other."
            result.problems.append(Problem(NO_LINK, f"Node {_some(nodes)}", f"{what} of {found.object_name} {how}", remedy, {"nodes": nodes, "link": wanted}))
    if silent:
        result.unknown.append(f"Whether {what} is there is not known for {_some(silent)}: no NodeNetworkState says so.")


def _check_nodes(result: Fitness, found: Attachment, around: Surroundings) -> None:
    """The device that the network takes of each node, and the nodes that it is limited to."""
    if around.nodes is None:
        return
    if found.resource:
        without = [
            node["metadata"]["name"] for node in around.nodes
            if quantity(str(((node.get("status") or {}).get("allocatable") or {}).get(found.resource) or "0")) < 1
        ]
        if without:
            sentence = f"{found.resource}, which {found.object_name} takes, is not allocatable"
            remedy = "Make its devices available there, for instance by a SriovNetworkNodePolicy: virt-handler would stay Pending."
            result.problems.append(Problem(NO_RESOURCE, f"Node {_some(without)}", sentence, remedy, {"nodes": without, "resource": found.resource}))
    if found.selector:
        label, value = found.selector
        other = [node["metadata"]["name"] for node in around.nodes if ((node["metadata"].get("labels") or {}).get(label)) != value]
        if other:
            sentence = f"{found.object_name} is only for nodes with the label {label}={value}"
            result.problems.append(Problem(NOT_THERE, f"Node {_some(other)}", sentence, "Take a network that is on every node.", {"nodes": other}))


def _some(names: t.Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
