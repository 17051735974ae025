# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast links are: said, reported, or assumed."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import OptionError
from ansible_collections.okd.virt.plugins.module_utils._migrations.links import (
    NOT_KNOWN,
    given_link,
    reported_link,
)
from ansible_collections.okd.virt.plugins.module_utils._networks.attachment import link_of

Json = dict[str, t.Any]


def state(name: str, *interfaces: Json, route: str = "br-ex") -> Json:
    routes = {"running": [{"destination": "10.0.0.0/8", "next-hop-interface": "eno9"}, {"destination": "0.0.0.0/0", "next-hop-interface": route}]}
    return {"metadata": {"name": name}, "status": {"currentState": {"interfaces": list(interfaces), "routes": routes}}}


def card(name: str, speed: int | None, kind: str = "ethernet") -> Json:
    return {"name": name, "type": kind, "state": "up", "ethernet": {"auto-negotiation": True, "duplex": "full"} | ({"speed": speed} if speed else {})}


def ovn(*ports: str) -> list[Json]:
    """The bridge of OVN-Kubernetes, which bears the node's address."""
    bridge = {"port": [{"name": one} for one in ("br-ex", *ports)]}
    return [{"name": "br-ex", "type": "ovs-interface"}, {"name": "br-ex", "type": "ovs-bridge", "bridge": bridge}]


def test_the_slowest_node_over_whose_default_route_it_goes() -> None:
    found = reported_link([state("a", *ovn("eno1"), card("eno1", 25000), card("eno2", 1000)), state("b", *ovn("eno1"), card("eno1", 10000))])
    assert (found.rate, found.source) == (1250 * 10**6, "node_network_state")
    assert "eno1 of b" in found.sentence


@pytest.mark.parametrize("ports", ["port", "ports", "slaves"])
def test_through_bonds_and_vlans(ports: str) -> None:
    bond = {"name": "bond0", "type": "bond", "link-aggregation": {ports: ["eno1", "eno2"]}}
    vlan = {"name": "bond0.7", "type": "vlan", "vlan": {"base-iface": "bond0", "id": 7}}
    found = reported_link([state("a", bond, vlan, card("eno1", 25000), card("eno2", 25000), route="bond0.7")])
    assert found.rate == 3125 * 10**6


def test_the_link_of_a_network_of_its_own() -> None:
    states = [state("a", *ovn("eno1"), card("eno1", 1000), card("eno2", 100000))]
    definition = {"metadata": {"name": "fast"}, "spec": {"config": '{"cniVersion": "0.3.1", "type": "macvlan", "master": "eno2"}'}}
    assert reported_link(states, link_of(definition)).rate == 12500 * 10**6
    chained = {"metadata": {"name": "fast"}, "spec": {"config": '{"plugins": [{"type": "bridge", "bridge": "br1"}]}'}}
    assert link_of(chained) == "br1"
    assert link_of({"metadata": {"name": "fast"}, "spec": {"config": "nonsense"}}) == link_of(None) == ""


def test_what_the_nodes_do_not_say_is_assumed() -> None:
    assert reported_link([]) == NOT_KNOWN
    assert reported_link([state("a", *ovn("eno1"), card("eno1", None))]) == NOT_KNOWN
    assert reported_link([state("a", card("eno1", 1000))], "") == NOT_KNOWN
    assert "assumed" in NOT_KNOWN.sentence


def test_what_is_said() -> None:
    assert given_link(None) is None
    assert (given_link("25G") or NOT_KNOWN).rate == 3125 * 10**6
    for text in ("fast", "25", "-1G", "25Gbit"):
        with pytest.raises(OptionError, match="bits per second"):
            given_link(text)
