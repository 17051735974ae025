# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many addresses a network has to give, and which: against counting them, and against what the embedded cluster gives out."""

from __future__ import annotations

import ipaddress
import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils._networks.addresses import (
    Addresses,
    host_local,
    static,
    subnets,
    whereabouts,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes import address_management

Json = dict[str, t.Any]


@pytest.mark.parametrize(("ipam", "pods"), [
    ({"range": "192.0.2.0/24"}, 254),
    ({"range": "192.0.2.225/28"}, 14),
    ({"range": "192.0.2.0/30"}, 2),
    ({"range": "192.0.2.0/31"}, 2),
    ({"range": "192.0.2.7/32"}, 1),
    ({"range": "192.0.2.10-192.0.2.19/24"}, 10),
    ({"range": "192.0.2.0/24", "range_start": "192.0.2.100", "range_end": "192.0.2.109"}, 10),
    ({"range": "192.0.2.0/24", "exclude": ["192.0.2.0/25", "192.0.2.0/26", "192.0.2.200/32"]}, 126),
    ({"range": "2001:db8::/64", "exclude": ["192.0.2.0/24"]}, 2**64 - 1),
    ({"ipRanges": [{"range": "192.0.2.0/28"}, {"range": "2001:db8::/64"}]}, 14),
])
def test_whereabouts(ipam: Json, pods: int) -> None:
    assert whereabouts(ipam).pods == pods


@pytest.mark.parametrize(("ipam", "pods"), [
    ({"ranges": [[{"subnet": "192.0.2.0/24"}]]}, 253),
    ({"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.10", "rangeEnd": "192.0.2.19"}, 10),
    ({"ranges": [[{"subnet": "192.0.2.0/28", "gateway": "192.0.2.14"}, {"subnet": "198.51.100.0/28"}], [{"subnet": "2001:db8::/64"}]]}, 26),
])
def test_host_local(ipam: Json, pods: int) -> None:
    found = host_local(ipam)
    assert found.pods == pods
    assert found.per_node


def test_static_has_one_for_everybody_and_ovn_what_it_says() -> None:
    assert static({"addresses": [{"address": "192.0.2.7/24"}, {"address": "2001:db8::7/64"}]}).pods == 1
    assert subnets("192.0.2.0/24,2001:db8::/64", "192.0.2.0/25").pods == 127
    assert subnets("10.100.0.0/16/24").networks == (ipaddress.ip_network("10.100.0.0/16"),)
    assert Addresses().pods is None
    assert Addresses(unknown=True).pods is None


@pytest.mark.parametrize("ipam", [
    {}, {"range": "192.0.2.0"}, {"range": "nonsense/24"}, {"range": 5}, {"range": "192.0.2.0/24", "range_start": "198.51.100.1"},
    {"range": "192.0.2.20-192.0.2.10/24"}, {"range": "192.0.2.0/24", "exclude": ["nonsense"]},
])
def test_what_is_no_range(ipam: Json) -> None:
    with pytest.raises(ValueError, match=r".+"):
        whereabouts(ipam)


def test_which_addresses_are_of_it() -> None:
    found = whereabouts({"range": "192.0.2.0/24", "range_end": "192.0.2.99", "exclude": ["192.0.2.8/29"]})
    assert ["192.0.2.1" in found, "192.0.2.99" in found] == [True, True]
    assert ["192.0.2.0" in found, "192.0.2.9" in found, "192.0.2.100" in found, "2001:db8::1" in found, "nonsense" in found] == [False] * 5


def _parts(prefix: int) -> st.SearchStrategy[Json]:
    size = 2 ** (32 - prefix)
    offsets = st.integers(0, size - 1)
    excluded = st.lists(st.tuples(offsets, st.integers(max(prefix, 28), 32)), max_size=3)
    return st.builds(_ipam, st.just(prefix), st.lists(offsets, min_size=2, max_size=2), excluded, st.booleans())


def _ipam(prefix: int, ends: list[int], excluded: list[tuple[int, int]], ranged: bool) -> Json:
    base = ipaddress.ip_address("192.0.2.0")
    made: Json = {"type": "whereabouts", "range": f"{base}/{prefix}", "exclude": [f"{base + offset}/{length}" for offset, length in excluded]}
    if ranged:
        made |= {"range_start": str(base + min(ends)), "range_end": str(base + max(ends))}
    return made


@given(st.integers(26, 31).flatmap(_parts))
def test_as_many_as_the_embedded_cluster_gives_and_the_same_ones(ipam: Json) -> None:
    found, definition, given_out = whereabouts(ipam), {"spec": {"config": json.dumps({"type": "macvlan", "ipam": ipam})}}, address_management.Addresses()
    got: list[str] = []
    try:
        while len(got) <= 64:
            got += given_out.take(f"pod-{len(got)}", f"node-{len(got)}", "home/fast", definition)
    except address_management.Exhausted:
        pass
    assert len(set(got)) == len(got) == (found.pods or 0)
    assert all(one in found for one in got)


def test_host_local_gives_the_same_on_every_node_and_frees_what_pods_leave() -> None:
    definition = {"spec": {"config": json.dumps({"type": "macvlan", "ipam": {"type": "host-local", "subnet": "192.0.2.0/24"}})}}
    given_out = address_management.Addresses()
    assert [given_out.take(f"pod-{node}", node, "home/fast", definition) for node in ("a", "b")] == [["192.0.2.2"]] * 2
    assert given_out.take("other", "a", "home/fast", definition) == ["192.0.2.3"]
    assert given_out.free("pod-a")
    assert not given_out.free("pod-a")
    assert given_out.take("new", "a", "home/fast", definition) == ["192.0.2.2"]
    assert given_out.take("plain", "a", "home/plain", {"spec": {"config": "{"}}) == []
