# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses that a network has to give, of either family. Pure. Private to this collection.

Source: k8snetworkplumbingwg/whereabouts pkg/iphelpers (first and last of a range), pkg/types (range, ipRanges, enable_overlapping_ranges);
containernetworking/plugins plugins/ipam/host-local/backend/allocator/{config,range}.go; plugins/ipam/static.
"""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import dataclass

Json = dict[str, t.Any]
Network: t.TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: t.TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Span:
    """The addresses from C(first) to C(last), both included, in C(network), without those of C(excluded)."""

    network: Network
    first: Address
    last: Address
    excluded: tuple[Network, ...] = ()

    @property
    def size(self) -> int:
        """How many there are."""
        total = max(0, int(self.last) - int(self.first) + 1)
        for other in ipaddress.collapse_addresses([one for one in self.excluded if one.version == self.network.version]):  # type: ignore[type-var]
            low, high = max(int(self.first), int(other[0])), min(int(self.last), int(other[-1]))
            total -= max(0, high - low + 1)
        return max(0, total)

    def __contains__(self, address: Address) -> bool:
        return address.version == self.network.version and self.first <= address <= self.last and not any(  # type: ignore[operator]
            address in other for other in self.excluded
        )

    def __str__(self) -> str:
        return str(self.network)


@dataclass(frozen=True)
class Addresses:
    """Each of C(sets) gives a pod one address, from any of its spans.

    C(per_node) says that every node gives from the start, C(shared) that no address is given twice in the whole cluster, whatever other networks
    overlap. C(unknown) is for ranges that are not said here.
    """

    sets: tuple[tuple[Span, ...], ...] = ()
    per_node: bool = False
    shared: bool = False
    unknown: bool = False

    @property
    def empty(self) -> bool:
        return not any(self.sets)

    @property
    def spans(self) -> tuple[Span, ...]:
        return tuple(span for spans in self.sets for span in spans)

    @property
    def networks(self) -> tuple[Network, ...]:
        return tuple(dict.fromkeys(span.network for span in self.spans))

    @property
    def pods(self) -> int | None:
        """For how many pods they suffice; None where that is not known."""
        if self.unknown or self.empty:
            return None
        return min(sum(span.size for span in spans) for spans in self.sets)

    def __contains__(self, text: object) -> bool:
        """Whether an address, as text, is one of them."""
        try:
            address = ipaddress.ip_address(str(text))
        except ValueError:
            return False
        return any(address in span for span in self.spans)


def network(text: t.Any) -> Network:
    """Of C(10.0.0.0/24), or C(10.0.0.7/24) for the same. Raises ValueError."""
    if not isinstance(text, str) or "/" not in text:
        raise ValueError(f"{text!r} is no range such as 192.0.2.0/24")
    return ipaddress.ip_network(text.strip(), strict=False)


def _span(of: Network, first: t.Any = None, last: t.Any = None, excluded: t.Iterable[t.Any] = (), gateway: t.Any = None) -> Span:
    """The addresses of hosts, or those between the given ends. Raises ValueError."""
    low, high = int(of[0]), int(of[-1])
    if of.num_addresses > 2:
        # The network's own address, and for IPv4 the one for all.
        low, high = low + 1, high - (1 if of.version == 4 else 0)
    kind = type(of[0])
    begin = ipaddress.ip_address(first) if first else kind(low)
    end = ipaddress.ip_address(last) if last else kind(high)
    for one in (begin, end):
        if one not in of:
            raise ValueError(f"{one} is not in {of}")
    if int(begin) > int(end):
        raise ValueError(f"{begin} is behind {end}")
    without = [_excluded(one) for one in excluded]
    if gateway:
        without.append(_excluded(str(gateway)))
    return Span(of, begin, end, tuple(without))


def _excluded(text: t.Any) -> Network:
    return ipaddress.ip_network(str(text).strip(), strict=False)


def _between(text: t.Any, given: Json) -> Span:
    """A range of whereabouts, which may have its ends before the slash."""
    first, last = given.get("range_start"), given.get("range_end")
    if isinstance(text, str) and "-" in text:
        begin, dummy, rest = text.partition("-")
        first, last, text = begin.strip(), rest.partition("/")[0].strip(), rest
    return _span(network(text), first, last, given.get("exclude") or ())


def whereabouts(ipam: Json) -> Addresses:
    """The range, and further ones of which each gives another address to the same pod. Raises ValueError."""
    found = [_between(ipam["range"], ipam)] if ipam.get("range") else []
    found += [_between(one.get("range"), one) for one in ipam.get("ipRanges") or ()]
    if not found:
        raise ValueError("whereabouts has no range")
    return Addresses(tuple((one,) for one in found), shared=bool(ipam.get("enable_overlapping_ranges", True)))


def host_local(ipam: Json) -> Addresses:
    """Its ranges, or the one subnet. Raises ValueError."""
    given = ipam.get("ranges") or ([[ipam]] if ipam.get("subnet") else [])
    found = [tuple(_of_host_local(span) for span in one) for one in given]
    if not found:
        raise ValueError("host-local has no ranges")
    return Addresses(tuple(found), per_node=True)


def _of_host_local(span: Json) -> Span:
    subnet = network(span.get("subnet"))
    # The gateway is given to nobody; it is the first address unless said.
    gateway = span.get("gateway") or (subnet[1] if subnet.num_addresses > 2 else None)
    return _span(subnet, span.get("rangeStart"), span.get("rangeEnd"), gateway=gateway)


def static(ipam: Json) -> Addresses:
    """The same addresses for every pod. Raises ValueError."""
    found = []
    for one in ipam.get("addresses") or ():
        address = ipaddress.ip_interface(one.get("address"))
        found.append((Span(address.network, address.ip, address.ip),))
    if not found:
        raise ValueError("static has no addresses")
    return Addresses(tuple(found))


def subnets(text: t.Any, excluded: t.Any = None) -> Addresses:
    """Those of OVN-Kubernetes: networks by commas, each of which gives a pod an address. Raises ValueError."""
    without = [one for one in str(excluded or "").split(",") if one.strip()]
    found = []
    for one in str(text).split(","):
        # A layer-3 network says the size of each node's part after a second slash.
        of = network("/".join(one.strip().split("/")[:2]))
        found.append((_span(of, excluded=[other for other in without if _excluded(other).version == of.version]),))
    return Addresses(tuple(found))
