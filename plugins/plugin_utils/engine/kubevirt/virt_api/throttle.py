# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-api's own client is throttled: whatever it asks the API server for while it answers has to wait its turn.

Source: KubeVirt pkg/virt-api/api.go (client set-up with client-go's default rate limits), client-go rest/config.go, util/flowcontrol.
"""
from __future__ import annotations

from ...clock import Clock
from ..versions import ComponentVersion

REQUESTS_PER_SECOND, BURST = 5.0, 10.0
"""Of each replica."""


class Throttle:
    """A bucket of tokens on engine time, first come first served, shared by all replicas as if load were spread evenly."""

    def __init__(self, clock: Clock, component: ComponentVersion) -> None:
        self._clock, self._component = clock, component
        self._tokens, self._since = BURST, clock.monotonic()

    def reserve(self, requests: int = 1) -> float:
        """Take tokens; returns the engine seconds until the last of them is there."""
        replicas = max(1, self._component.replicas)
        now, rate = self._clock.monotonic(), REQUESTS_PER_SECOND * replicas
        self._tokens = min(BURST * replicas, self._tokens + (now - self._since) * rate) - requests
        self._since = now
        return max(0.0, -self._tokens / rate)

    async def take(self, within: float) -> bool:
        """Wait for one request's turn. False when it has not come within so many engine seconds, which have then passed; the turn is lost."""
        wait = self.reserve()
        await self._clock.sleep(min(wait, within)) if wait > 0 else None
        return wait <= within
