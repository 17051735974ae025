# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several copies at once: each node's link is shared max-min fair among what goes out of it, and among what comes in.

Fluid and event-driven: shares change only when a copy begins, ends, or wants another speed.
"""
from __future__ import annotations

import dataclasses
import itertools
import math
import typing as t

from ...agenda import Agenda
from .copying import Copy
from .fixed import FixedCopy

Link = str
Name = t.TypeVar("Name", bound=t.Hashable)
_SAME = 1e-9


class Flow(t.NamedTuple):
    """MiB/s that somebody wants of every one of these links."""

    demand: float
    links: tuple[Link, ...]


def max_min_shares(flows: t.Mapping[Name, Flow], capacity: t.Callable[[Link], float]) -> dict[Name, float]:
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


Observer = t.Callable[[float], None]
"""Told of the moment that a copy is brought to, before it is: what it went through until then can't be seen later."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Member:
    number: int
    """In the order in which they came."""
    copy: Copy | FixedCopy
    links: tuple[Link, ...]
    observer: Observer | None


class Network(t.Generic[Name]):
    """Copies under way, by name. It is at `now`; a copy is brought there only when its speed changes or somebody asks for it."""

    def __init__(self, capacity: t.Callable[[Link], float], now: float = 0.0) -> None:
        self.now = now
        self._capacity = capacity
        self._members: dict[Name, _Member] = {}
        self._on_link: dict[Link, set[Name]] = {}
        self._numbers = itertools.count()
        self._forecasts: Agenda[Name] = Agenda()
        """When each ends or wants another speed, or from when on that has to be looked at again."""
        self._not_after: set[Name] = set()
        """Those of which no more is known than that it does so not before."""
        self._unforeseen: dict[Name, None] = {}
        self._ended: list[Name] = []

    def __len__(self) -> int:
        return len(self._members)

    def get(self, name: Name) -> Copy | FixedCopy | None:
        """The copy as it is now."""
        member = self._members.get(name)
        if member is None:
            return None
        self._bring(member, self.now)
        return member.copy

    def add(self, name: Name, copy: Copy | FixedCopy, links: t.Iterable[Link], now: float, observer: Observer | None = None) -> None:
        """A copy begins."""
        self.advance(now)
        made = self._members[name] = _Member(next(self._numbers), copy, tuple(links), observer)
        for link in made.links:
            self._on_link.setdefault(link, set()).add(name)
        self._unforeseen[name] = None
        self._share(now, (name,), made.links)

    def remove(self, name: Name, now: float) -> None:
        """A copy has ended, or has lost its links."""
        self.advance(now)
        member = self._members.pop(name, None)
        if member is None:
            return
        self._bring(member, now)
        self._unforeseen.pop(name, None)
        self._not_after.discard(name)
        self._forecasts.drop(name)
        for link in member.links:
            self._on_link[link].discard(name)
            if not self._on_link[link]:
                del self._on_link[link]
        self._share(now, (), member.links)

    def change(self, name: Name, now: float, function: t.Callable[[Copy | FixedCopy], t.Any]) -> t.Any:
        """Do something to one copy at that moment: pause its guest, cancel it, switch it to post-copy. Returns what that returns."""
        self.advance(now)
        member = self._members[name]
        self._bring(member, now)
        result = function(member.copy)
        self._unforeseen[name] = None
        self._share(now, (name,), member.links)
        return result

    def capacities_changed(self, now: float) -> None:
        """A link carries another amount from now on."""
        self.advance(now)
        self._share(now, self._members, ())

    def advance(self, until: float) -> None:
        """Go on to that moment."""
        while (change := self.next_change(until)) <= until:
            due = self._forecasts.take(change)
            changed = [name for name in due if name not in self._not_after]
            self._unforeseen.update(dict.fromkeys(due))
            self._not_after.difference_update(due)
            for name in changed:
                self._bring(self._members[name], change)
            self.now = max(self.now, change)
            self._ended += [name for name in changed if self._members[name].copy.phase.final]
            self._share(change, changed, [link for name in changed for link in self._members[name].links])
        self.now = max(self.now, until)

    def ended(self) -> list[Name]:
        """Those of which all memory is over since this was asked last, in that order; each is to be removed."""
        ended, self._ended = self._ended, []
        return [name for name in ended if name in self._members]

    def any_ended(self) -> bool:
        """Whether ended() has something to tell."""
        return bool(self._ended)

    def next_change(self, horizon: float) -> float:
        """When a copy ends or wants another speed next, if that is not after the horizon; else infinity."""
        for name in self._unforeseen:
            self._foresee(name, horizon)
        self._unforeseen.clear()
        while True:
            moment, first = self._forecasts.first()
            if first is None or moment > horizon:
                return math.inf
            if first not in self._not_after:
                return moment
            self._foresee(first, horizon)

    def _foresee(self, name: Name, horizon: float) -> None:
        change = self._members[name].copy.clone().advance_to_change(horizon)
        if change < math.inf:
            self._not_after.discard(name)
            self._forecasts.set(name, change)
        else:
            self._not_after.add(name)
            self._forecasts.set(name, math.nextafter(horizon, math.inf))

    @staticmethod
    def _bring(member: _Member, moment: float) -> None:
        if member.observer is not None:
            member.observer(moment)
        member.copy.advance(moment)

    def _together(self, names: t.Iterable[Name], links: t.Iterable[Link]) -> list[Name]:
        """These copies, all on these links, and all whose share hangs on one of theirs.

        A link that can carry all that is asked of it makes no share hang on another.
        """
        found, seen = set(names), set(links)
        to_look_at = [*found]
        for link in seen:
            others = self._on_link.get(link, set()) - found
            found |= others
            to_look_at += others
        while to_look_at:
            for link in self._members[to_look_at.pop()].links:
                if link not in seen:
                    seen.add(link)
                    others = self._on_link[link] - found
                    if others and self._is_crowded(link):
                        found |= others
                        to_look_at += others
        # In the order in which they came: the same whatever a set makes of it.
        return sorted(found, key=lambda name: self._members[name].number)

    def _is_crowded(self, link: Link) -> bool:
        wanted = sum(self._members[name].copy.demand for name in self._on_link[link])
        return wanted > self._capacity(link) * (1.0 - _SAME)

    def _share(self, now: float, changed: t.Iterable[Name], links: t.Iterable[Link]) -> None:
        """Give everybody what is theirs after copies changed that use, or used, these links."""
        flows = {name: Flow(self._members[name].copy.demand, self._members[name].links) for name in self._together(changed, links)}
        for name, share in max_min_shares(flows, self._capacity).items():
            member, flow = self._members[name], flows[name]
            if flow.demand <= 0.0:
                # One that sends nothing now, such as while it looks at zeros, still reckons with the link that it has.
                share = min([member.copy.share, *(self._capacity(link) for link in flow.links)])
            if share != member.copy.share:
                self._bring(member, now)
                if member.copy.set_share(share, now):
                    self._unforeseen[name] = None
