# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses that the IPAM plugins of further networks give to pods: pure.

Source: k8snetworkplumbingwg/whereabouts pkg/allocate/allocate.go (the lowest free one); containernetworking/plugins plugins/ipam/host-local
(each node by itself), plugins/ipam/static.
"""
from __future__ import annotations

import ipaddress
import itertools
import json
import typing as t

from ..interface import Object

_MOST = 2**16
"""How many addresses of a range are looked at."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Exhausted(Exception):
    """No address is left."""


class Addresses:
    """What was given, by pod."""

    def __init__(self) -> None:
        self._given: dict[str, list[tuple[str, str, str]]] = {}

    def note(self, uid: str, node: str, addresses: t.Iterable[tuple[str, str]]) -> None:
        """A pod on the node has these, each of the network of that name."""
        self._given[uid] = [(network, node, address) for network, address in addresses]

    def free(self, uid: str) -> bool:
        """The pod is gone; whether it had any."""
        return bool(self._given.pop(uid, None))

    def take(self, uid: str, node: str, network: str, definition: Object) -> list[str]:
        """Addresses for a pod, with the length of their prefix left out. Raises Exhausted."""
        ipam = _ipam(definition)
        kind = ipam.get("type")
        if kind == "static":
            found = [str(one.get("address")).partition("/")[0] for one in ipam.get("addresses") or ()]
        else:
            others = {
                address for given in self._given.values() for other, on, address in given if other == network and (kind != "host-local" or on == node)
            }
            found = [str(_first_free(one, others)) for one in _ranges(ipam)]
        self._given.setdefault(uid, []).extend((network, node, address) for address in found)
        return found


def _first_free(candidates: t.Iterable[Address], taken: t.Container[str]) -> Address:
    for address in itertools.islice(candidates, _MOST):
        if str(address) not in taken:
            return address
    raise Exhausted


def _ipam(definition: Object) -> Object:
    try:
        config = json.loads((definition.get("spec") or {}).get("config") or "{}")
    except ValueError:
        return {}
    if not isinstance(config, dict):
        return {}
    plugins = config.get("plugins") or [config]
    return next((one["ipam"] for one in plugins if isinstance(one, dict) and isinstance(one.get("ipam"), dict)), {})


def _ranges(ipam: Object) -> list[t.Iterable[Address]]:
    """The addresses of each range from which a pod gets one; none for what can't be read."""
    kind = ipam.get("type")
    try:
        if kind == "whereabouts":
            texts = ([ipam] if ipam.get("range") else []) + list(ipam.get("ipRanges") or ())
            return [_hosts(one["range"], one.get("range_start"), one.get("range_end"), one.get("exclude") or ()) for one in texts]
        if kind == "host-local":
            sets = ipam.get("ranges") or ([[ipam]] if ipam.get("subnet") else [])
            return [
                itertools.chain.from_iterable(
                    _hosts(one["subnet"], one.get("rangeStart"), one.get("rangeEnd"), [one.get("gateway") or _first(one["subnet"])]) for one in ranges
                )
                for ranges in sets
            ]
    except (KeyError, ValueError, TypeError):
        return []
    return []


def _first(subnet: str) -> str:
    """The gateway unless another one is said."""
    return str(ipaddress.ip_network(subnet, strict=False)[1])


def _hosts(text: str, start: str | None, end: str | None, excluded: t.Iterable[str]) -> t.Iterable[Address]:
    if "-" in text:
        start, dummy, rest = text.partition("-")
        end, text = rest.partition("/")[0], rest
    network = ipaddress.ip_network(text.strip(), strict=False)
    without = [ipaddress.ip_network(one, strict=False) for one in excluded]
    first = int(ipaddress.ip_address(start.strip())) if start else int(network[0]) + (1 if network.num_addresses > 2 else 0)
    last = int(ipaddress.ip_address(end.strip())) if end else int(network[-1]) - (1 if network.num_addresses > 2 and network.version == 4 else 0)
    base = int(network[0])
    return (
        address for address in (network[0] + offset for offset in range(first - base, last - base + 1)) if not any(address in other for other in without)
    )
