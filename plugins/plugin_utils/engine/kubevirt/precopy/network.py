# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several copies at once: each node's link is shared max-min fair among what goes out of it, and among what comes in.

Fluid and event-driven: shares change only when a copy begins, ends, or wants another speed.
"""
from __future__ import annotations

import math
import typing as t

from .copying import Copy
from .fixed import FixedCopy

Link = str
_SAME = 1e-9


class Flow(t.NamedTuple):
    """MiB/s that somebody wants of every one of these links."""

    demand: float
    links: tuple[Link, ...]


def max_min_shares(flows: t.Mapping[str, Flow], capacity: t.Callable[[Link], float]) -> dict[str, float]:
    """MiB/s for each: nobody gets more while another with less could have it; nobody gets more than wanted."""
    shares = {name: 0.0 for name, flow in flows.items() if flow.demand <= 0.0}
    open_flows = {name: flow for name, flow in flows.items() if flow.demand > 0.0}
    left = {link: capacity(link) for flow in open_flows.values() for link in flow.links}
    while open_flows:
        users: dict[Link, int] = {}
        for flow in open_flows.values():
            for link in flow.links:
                users[link] = users.get(link, 0) + 1
        level = min((left[link] / count for link, count in users.items()), default=math.inf)
        modest = [name for name, flow in open_flows.items() if flow.demand <= level + _SAME]
        if modest:
            fixed = {name: open_flows[name].demand for name in modest}
        else:
            tight = {link for link, count in users.items() if left[link] / count <= level + _SAME}
            fixed = {name: level for name, flow in open_flows.items() if tight.intersection(flow.links)}
        for name, share in fixed.items():
            for link in open_flows.pop(name).links:
                left[link] = max(0.0, left[link] - share)
        shares.update(fixed)
    return shares


class _Member(t.NamedTuple):
    copy: Copy | FixedCopy
    links: tuple[Link, ...]


class Network:
    """Copies under way, by name. All of them are at `now`."""

    def __init__(self, capacity: t.Callable[[Link], float], now: float = 0.0) -> None:
        self.now = now
        self._capacity = capacity
        self._members: dict[str, _Member] = {}
        self._on_link: dict[Link, set[str]] = {}
        self._forecast: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def get(self, name: str) -> Copy | FixedCopy | None:
        member = self._members.get(name)
        return member.copy if member is not None else None

    def add(self, name: str, copy: Copy | FixedCopy, links: t.Iterable[Link], now: float) -> None:
        """A copy begins."""
        self.advance(now)
        made = self._members[name] = _Member(copy, tuple(links))
        for link in made.links:
            self._on_link.setdefault(link, set()).add(name)
        self._share(now, (name,))

    def remove(self, name: str, now: float) -> None:
        """A copy has ended, or has lost its links."""
        self.advance(now)
        member = self._members.pop(name, None)
        if member is None:
            return
        self._forecast.pop(name, None)
        left: set[str] = set()
        for link in member.links:
            others = self._on_link[link]
            others.discard(name)
            if others:
                left |= others
            else:
                del self._on_link[link]
        self._share(now, left)

    def change(self, name: str, now: float, function: t.Callable[[Copy | FixedCopy], t.Any]) -> t.Any:
        """Do something to one copy at that moment: pause its guest, cancel it, switch it to post-copy. Returns what that returns."""
        self.advance(now)
        result = function(self._members[name].copy)
        self._forecast.pop(name, None)
        self._share(now, (name,))
        return result

    def capacities_changed(self, now: float) -> None:
        """A link carries another amount from now on."""
        self.advance(now)
        self._share(now, self._members)

    def advance(self, until: float) -> None:
        """Bring all copies to that moment."""
        while self._members:
            change = self.next_change(until)
            if change > until:
                break
            for member in self._members.values():
                member.copy.advance(change)
            changed = [name for name, entry in self._forecast.items() if entry[0] <= change]
            for name in changed:
                del self._forecast[name]
            self.now = max(self.now, change)
            self._share(change, changed)
        for member in self._members.values():
            member.copy.advance(until)
        self.now = max(self.now, until)

    def next_change(self, horizon: float) -> float:
        """When a copy ends or wants another speed next, if that is not after the horizon; else infinity."""
        earliest = math.inf
        for name, member in self._members.items():
            known = self._forecast.get(name)
            # A forecast holds until the share changes; one that saw nothing holds as far as it looked.
            if known is None or (known[0] == math.inf and known[1] < horizon):
                known = (member.copy.clone().advance_to_change(horizon), horizon)
                self._forecast[name] = known
            earliest = min(earliest, known[0])
        return earliest

    def _together(self, names: t.Collection[str]) -> list[str]:
        """These copies and all that share a link with one of them, or with one that does: nobody else's share hangs on theirs."""
        found, to_look_at = set(names), [*names]
        while to_look_at:
            for link in self._members[to_look_at.pop()].links:
                others = self._on_link[link] - found
                found |= others
                to_look_at += others
        # In the order in which they came: the same whatever a set makes of it.
        return [name for name in self._members if name in found]

    def _share(self, now: float, changed: t.Collection[str]) -> None:
        flows = {name: Flow(self._members[name].copy.demand, self._members[name].links) for name in self._together(changed)}
        for name, share in max_min_shares(flows, self._capacity).items():
            copy, flow = self._members[name].copy, flows[name]
            if flow.demand <= 0.0:
                # One that sends nothing now, such as while it looks at zeros, still reckons with the link that it has.
                share = min([copy.share, *(self._capacity(link) for link in flow.links)])
            if copy.set_share(share, now):
                self._forecast.pop(name, None)
