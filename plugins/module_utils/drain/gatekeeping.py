# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether another node may be begun: health of the cluster, alerts, and the end of the window. Private to this collection."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from .._cluster.client import Cluster
from .._migrations.limits import Limits
from .._placement.room import Room
from .._plan import Listener
from . import claims
from .alerts import firing
from .health import unhealthy
from .outlook import guest_behind, turn_seconds
from .rolling_request import RollingRequest

_EVERY = 10.0


@dataclass
class Gatekeeper:
    """Keeps in mind what was expected of nodes and what they took."""

    cluster: Cluster
    request: RollingRequest
    listener: Listener
    site_seconds: float = 0.0
    """The longest that the site has had a node so far."""
    problem: str = ""
    """Why no node is begun now, by health and alerts."""
    _looked: float = float("-inf")
    _slower: float = 1.0
    """How many times as long as expected a node has taken at most."""
    _expected: dict[str, float] = field(default_factory=dict)

    def open(self) -> bool:
        """Whether health and alerts let a node begin; asked of the cluster now and then."""
        now = time.monotonic()
        if (self.request.gates or self.request.alerts) and now - self._looked >= _EVERY:
            self._looked = now
            problems = [unhealthy(self.cluster, self.request.gates), firing(self.cluster, self.request.alerts) if self.request.alerts else ""]
            problem = "; ".join(filter(None, problems))
            if problem and problem != self.problem:
                self.listener.event(f"no further node is begun: {problem}", health=problem)
            self.problem = problem
        return not self.problem

    def too_late(self, name: str, room: Room, limits: Limits, at_once: int) -> str:
        """Why a node would not be done by the end of the window, "" when it would. Nodes that took longer than expected make all others expected longer."""
        if self.request.end_by is None:
            return ""
        seconds = turn_seconds([guest_behind(demand) for demand in room.demands.get(name, ())], limits, at_once)
        left, by = (self.request.end_by - claims.now()).total_seconds(), self.request.end_by.isoformat()
        if seconds is None:
            return f"{name} would not be done by {by}: its migrations are not expected to end"
        self._expected[name] = seconds
        needed = seconds * self._slower + max(self.site_seconds, self.request.site_time) + self.request.soak_time
        if needed < left:
            return ""
        return f"{name} would not be done by {by}: it is expected to take {needed:.0f} s, and {max(0.0, left):.0f} s are left"

    def took(self, name: str, seconds: float) -> None:
        """A node is empty."""
        if self._expected.get(name):
            self._slower = max(self._slower, seconds / self._expected[name])
