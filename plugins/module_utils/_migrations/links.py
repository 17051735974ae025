# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the links are over which VMs migrate: as said, else as the nodes report it, else an assumption. Pure.

Private to this collection. Source: kubernetes-nmstate NodeNetworkState (status.currentState); nmstate interfaces (ethernet.speed in Mbit/s,
bridge.port, link-aggregation.port, vlan.base-iface) and routes.running.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._errors import OptionError
from .._quantity import PLAIN, quantity
from .prediction import LINK

Json = dict[str, t.Any]
GIVEN, REPORTED, ASSUMED = "option", "node_network_state", "assumption"
_LEAST = 10**6
_DEFAULT_ROUTES = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True)
class Link:
    """C(rate) in bytes per second in each direction; C(source) is option, node_network_state or assumption, and C(sentence) says more."""

    rate: float
    source: str
    sentence: str

    def to_dict(self) -> Json:
        return {"bits_per_second": round(self.rate * 8), "source": self.source, "sentence": self.sentence}


NOT_KNOWN = Link(LINK, ASSUMED, "the nodes' links are assumed to carry 10 Gbit/s, since nothing says how fast they are (link_speed)")


def given_link(text: str | None) -> Link | None:
    """The option C(link_speed). Raises OptionError for what is no speed."""
    if text is None:
        return None
    if not PLAIN.match(text) or quantity(text) < _LEAST:
        raise OptionError(f"link_speed is {text!r}, no quantity of bits per second such as 10G or 25G.")
    return Link(quantity(text) / 8, GIVEN, f"the nodes' links carry {quantity(text) / 10**9:g} Gbit/s, as link_speed says")


def reported_link(states: t.Iterable[Json], interface: str | None = None) -> Link:
    """The slowest port behind that interface of any node; None for the one of its default route, over which the network of pods goes."""
    found: list[tuple[float, str, str]] = []
    for state in states:
        current = (state.get("status") or {}).get("currentState") or {}
        begin = _default_interface(current) if interface is None else interface
        found += [(speed, state["metadata"]["name"], port) for port, speed in _ports(current, begin).items()]
    if not found:
        return NOT_KNOWN
    speed, node, port = min(found)
    return Link(speed * 125_000, REPORTED, f"the nodes' links carry {speed / 1000:g} Gbit/s at least, which is {port} of {node} (NodeNetworkState)")


def _default_interface(current: Json) -> str:
    routes = ((current.get("routes") or {}).get("running")) or ()
    return next((str(one.get("next-hop-interface") or "") for one in routes if one.get("destination") in _DEFAULT_ROUTES), "")


def _ports(current: Json, begin: str) -> dict[str, float]:
    """The network cards behind an interface with their Mbit/s: through bridges, bonds and VLANs."""
    interfaces = {(str(one.get("type")), str(one.get("name"))): one for one in current.get("interfaces") or () if isinstance(one, dict)}
    by_name: dict[str, list[Json]] = {}
    for (_kind, name), one in interfaces.items():
        by_name.setdefault(name, []).append(one)
    above = {port: one["name"] for one in interfaces.values() if one.get("type") == "ovs-bridge" for port in _below(one)}
    found: dict[str, float] = {}
    seen, left = set(), [begin]
    while left:
        name = left.pop()
        if not name or name in seen:
            continue
        seen.add(name)
        for one in by_name.get(name, ()):
            speed = (one.get("ethernet") or {}).get("speed")
            if one.get("type") == "ethernet" and isinstance(speed, int) and speed > 0:
                found[name] = float(speed)
            left += _below(one)
            if one.get("type") == "ovs-interface":
                left += _below(next((item for item in by_name.get(above.get(name, ""), ()) if item.get("type") == "ovs-bridge"), {}))
    return found


def _below(interface: Json) -> list[str]:
    ports = (interface.get("bridge") or {}).get("port") or ()
    bond = interface.get("link-aggregation") or {}
    names = [str(one.get("name") or "") if isinstance(one, dict) else str(one) for one in ports]
    names += [str(one) for one in bond.get("port") or bond.get("ports") or bond.get("slaves") or ()]
    return [*names, str((interface.get("vlan") or {}).get("base-iface") or "")]
