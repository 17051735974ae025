# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a network before it is set: each problem from the smallest cluster that has it, and what is not known."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._networks.attachment import (
    NODE_SELECTOR,
    RESOURCE_NAME,
    Unusable,
    attachment,
)
from ansible_collections.okd.virt.plugins.module_utils._networks.fitness import CODES, Fitness, Surroundings, fitness

Json = dict[str, t.Any]
IPAM = {"type": "whereabouts", "range": "192.0.2.0/24"}
MACVLAN = {"cniVersion": "0.3.1", "name": "fast", "type": "macvlan", "master": "eth1", "ipam": IPAM}
CLUSTER = {"spec": {"clusterNetwork": [{"cidr": "10.128.0.0/14"}], "serviceNetwork": ["172.30.0.0/16"]}}


def nad(config: t.Any = MACVLAN, name: str = "fast", namespace: str = "cnv", **annotations: str) -> Json:
    text = config if isinstance(config, str) else json.dumps(config)
    return {"metadata": {"name": name, "namespace": namespace, "annotations": annotations}, "spec": {"config": text}}


def node(name: str, address: str = "198.51.100.1", **allocatable: str) -> Json:
    addresses = [{"type": "InternalIP", "address": address}]
    return {"metadata": {"name": name, "labels": {}}, "spec": {}, "status": {"addresses": addresses, "allocatable": allocatable}}


def state(name: str, *interfaces: tuple[str, str], **more: t.Any) -> Json:
    return {"metadata": {"name": name}, "status": {"currentState": {"interfaces": [{"name": one, "state": how} for one, how in interfaces], **more}}}


def around(*definitions: Json, **more: t.Any) -> Surroundings:
    known = {"nodes": [node("a"), node("b")], "states": [state("a", ("eth1", "up")), state("b", ("eth1", "up"))], "cluster_network": CLUSTER}
    return Surroundings("cnv", list(definitions or [nad()]), **{**known, **more})


def look(*definitions: Json, **more: t.Any) -> Fitness:
    return fitness("fast", around(*definitions, **more))


def ipam(**more: t.Any) -> Json:
    return {**MACVLAN, "ipam": more}


CASES: dict[str, tuple[Surroundings, str, str]] = {
    "network_missing": (around(nad(namespace="default")), "NetworkAttachmentDefinition cnv/fast", "default/fast"),
    "network_config_invalid": (around(nad("{")), "NetworkAttachmentDefinition cnv/fast", "no JSON"),
    "network_without_addresses": (around(nad({**MACVLAN, "ipam": {}})), "NetworkAttachmentDefinition cnv/fast", "no address"),
    "network_range_too_small": (around(nad(ipam(type="whereabouts", range="192.0.2.1/32"))), "NetworkAttachmentDefinition cnv/fast", "1 addresses for 2 nodes"),
    "network_addresses_not_unique": (around(nad(ipam(type="host-local", subnet="192.0.2.0/24"))), "NetworkAttachmentDefinition cnv/fast", "same addresses"),
    "network_overlap": (around(nad(ipam(type="whereabouts", range="10.129.0.0/16"))), "NetworkAttachmentDefinition cnv/fast", "10.128.0.0/14"),
    "network_link_missing": (around(states=[state("a", ("eth1", "up")), state("b", ("eth0", "up"))]), "Node b", "eth1"),
    "network_resource_missing": (
        around(nad(**{RESOURCE_NAME: "example.com/nic"}), nodes=[node("a", **{"example.com/nic": "1"}), node("b")]), "Node b", "example.com/nic",
    ),
    "network_not_on_every_node": (around(nad(**{NODE_SELECTOR: "fast=yes"})), "Node a, b", "fast=yes"),
}


def test_a_network_without_problems() -> None:
    found = look()
    assert (found.problems, found.unknown) == ([], [])
    assert found.ranges == ("192.0.2.0/24",)


@pytest.mark.parametrize("code", CODES)
def test_each_problem(code: str) -> None:
    surroundings, object_name, part = CASES[code]
    (found,) = fitness("fast", surroundings).problems
    assert (found.code, found.object) == (code, object_name)
    assert part in found.sentence
    assert found.remedy.endswith(".")
    assert found.text().startswith(f"{object_name}: ")


@pytest.mark.parametrize(("other", "sentence"), [
    ({"nodes": [node("a", "192.0.2.9"), node("b")]}, "192.0.2.9 of Node a"),
    ({"cluster_network": {"spec": {"serviceNetwork": ["192.0.2.128/25"]}}}, "network of services"),
    ({"cluster_network": {"status": {"clusterNetwork": [{"cidr": "192.0.0.0/16"}]}}}, "network of pods"),
    ({"cluster_network": None, "nodes": [{**node("a"), "spec": {"podCIDR": "192.0.2.0/25"}}, node("b")]}, "192.0.2.0/25 of Node a"),
])
def test_what_a_range_may_not_overlap(other: Json, sentence: str) -> None:
    (found,) = look(**other).problems
    assert found.code == "network_overlap"
    assert sentence in found.sentence


def test_an_overlap_with_many_nodes_is_one_problem() -> None:
    nodes = [{**node(f"n{number}", f"192.0.2.{number}"), "spec": {"podCIDR": f"192.0.2.{8 * number}/29"}} for number in range(1, 10)]
    found = look(nodes=nodes, states=None, cluster_network=None).problems
    assert [one.code for one in found] == ["network_overlap"] * 2
    assert all("and 4 more" in one.sentence and len(one.data["others"]) == 9 for one in found)


@pytest.mark.parametrize(("others", "overlaps"), [
    (ipam(type="whereabouts", range="192.0.2.64/26"), False),
    (ipam(type="whereabouts", range="192.0.2.64/26", enable_overlapping_ranges=False), True),
    (ipam(type="host-local", subnet="192.0.2.64/26"), True),
    (ipam(type="host-local", subnet="203.0.113.0/24"), False),
    (ipam(type="dhcp"), False), ("{", False), (ipam(type="whereabouts", range="2001:db8::/64"), False),
])
def test_other_networks(others: t.Any, overlaps: bool) -> None:
    """Whereabouts gives no address twice in the cluster, so that its own networks may share a range."""
    found = look(nad(), nad(others, "other", "shop"))
    assert [one.code for one in found.problems] == ["network_overlap"] * overlaps
    assert all("shop/other" in one.sentence for one in found.problems)


@pytest.mark.parametrize(("states", "config", "problems", "unknown"), [
    ([state("a", ("eth1", "up")), state("b", ("eth1", "down"))], MACVLAN, ["Node b"], 0),
    ([state("a", ("eth1", "up"))], MACVLAN, [], 1),
    (None, MACVLAN, [], 1),
    (None, {**MACVLAN, "master": None}, [], 0),
    ([state("a"), state("b")], {"type": "bridge", "ipam": IPAM}, ["Node a, b"], 0),
    ([state("a", ("br1", "up")), state("b", ("br1", "up"))], {"plugins": [{"type": "cnv-bridge", "bridge": "br1", "ipam": IPAM}, {"type": "tuning"}]}, [], 0),
    (
        [state("a", ovn={"bridge-mappings": [{"localnet": "fast", "bridge": "br1"}]}), state("b", ovn={"bridge-mappings": []})],
        {"type": "ovn-k8s-cni-overlay", "topology": "localnet", "name": "fast", "subnets": "192.0.2.0/24"}, ["Node b"], 0,
    ),
    ([state("a"), state("b")], {"type": "ovn-k8s-cni-overlay", "topology": "localnet", "name": "fast", "subnets": "192.0.2.0/24"}, [], 1),
])
def test_links_on_nodes(states: list[Json] | None, config: Json, problems: list[str], unknown: int) -> None:
    found = look(nad(config), states=states)
    assert [one.object for one in found.problems] == problems
    assert len(found.unknown) == unknown


def test_what_is_not_known_is_said() -> None:
    assert "can't be read" in fitness("fast", Surroundings("cnv")).unknown[0]
    found = fitness("fast", Surroundings("cnv", [nad()]))
    assert not found.problems
    assert [part for part in ("addresses of the network suffice", "network of pods") if any(part in one for one in found.unknown)]
    assert any("in a file on every node" in one for one in look(nad("")).unknown)
    assert not look(nad("")).problems
    assert any("how many addresses dhcp has" in one for one in look(nad(ipam(type="dhcp"))).unknown)


@pytest.mark.parametrize("config", [
    "{", "[]", "{}", '"text"', '{"type": ""}', '{"plugins": []}', '{"plugins": {}}', '{"plugins": ["a"]}', '{"type": "macvlan", "ipam": []}x',
    '{"type": "macvlan", "ipam": [1]}', '{"type": "macvlan", "ipam": {"type": "whereabouts"}}',
    '{"type": "macvlan", "ipam": {"type": "whereabouts", "range": 7}}',
    '{"type": "macvlan", "ipam": {"type": "host-local", "ranges": [{"subnet": "192.0.2.0/24"}]}}', '{"type": "macvlan", "ipam": {"type": "static"}}',
    '{"type": "ovn-k8s-cni-overlay", "subnets": "nonsense"}',
])
def test_what_is_no_configuration(config: str) -> None:
    with pytest.raises(Unusable):
        attachment(nad(config))


def test_many_nodes_are_shown_in_short() -> None:
    nodes = [node(f"n{number}") for number in range(9)]
    (found,) = look(nad(**{RESOURCE_NAME: "example.com/nic"}), nodes=nodes, states=None).problems
    assert found.object == "Node n0, n1, n2, n3, n4 and 4 more"
    assert len(found.data["nodes"]) == 9
