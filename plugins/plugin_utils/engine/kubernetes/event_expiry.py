# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events are forgotten an hour after they were last written, or a cluster that lives long would hold nothing else.

Source: Kubernetes kube-apiserver --event-ttl.
"""
from __future__ import annotations

import collections

from ..controller import Controller, object_key
from ..errors import StatusError
from ..interface import EVENTS, Object

LIFETIME = 3600.0
"""Engine seconds."""
_EVERY = 60.0
_LOOK = "look"


class EventExpiry(Controller):
    """One key: a look at what is due, every minute of engine time."""

    name = "event expiry"

    def setup(self) -> None:
        self._due: collections.OrderedDict[tuple[str, str], float] = collections.OrderedDict()
        self._events = self.informer(EVENTS)
        self._events.add_handler(self._changed)
        self.queue.add_after(_LOOK, _EVERY, background=True)

    def _changed(self, event: str, obj: Object, _before: Object | None) -> None:
        key = object_key(obj)
        self._due.pop(key, None)
        if event != "DELETED":
            # The last written stands last.
            self._due[key] = self.clock.monotonic() + LIFETIME

    async def reconcile(self, key: str) -> float | None:
        now = self.clock.monotonic()
        while self._due and next(iter(self._due.values())) <= now:
            (namespace, name), dummy = self._due.popitem(last=False)
            try:
                await self.cluster.delete(EVENTS, name, namespace)
            except StatusError as error:
                if error.code != 404:
                    self._due[namespace, name] = now + _EVERY
        self.queue.add_after(_LOOK, _EVERY, background=True)
        return None
