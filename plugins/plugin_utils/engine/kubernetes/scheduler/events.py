# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events of components that write them by events.k8s.io: with an action and a moment, and as a series when they come again.

Source: client-go tools/events/event_recorder.go, event_broadcaster.go.
"""
from __future__ import annotations

import hashlib

from ...clock import Clock
from ...errors import StatusError
from ...interface import EVENTS, Cluster, Object

_KNOWN = 4096
_HOST = "control-0"
"""The machine that the component's leader would run on."""


class Events:
    """Never raises: an event that is lost is lost."""

    def __init__(self, cluster: Cluster, clock: Clock, component: str) -> None:
        self._cluster, self._clock, self._component = cluster, clock, component
        self._instance = f"{component}-{_HOST}"
        self._known: dict[tuple[str, str], tuple[str, str, int]] = {}

    async def event(self, obj: Object, kind: str, reason: str, action: str, message: str) -> None:
        """kind is Normal or Warning. The same event of the same object again is counted in its series."""
        metadata = obj["metadata"]
        namespace, identity = metadata.get("namespace") or "default", (metadata["uid"], reason)
        try:
            if kind == "Warning" and identity in self._known and self._known[identity][1] == message:
                await self._again(identity, namespace)
                return
            now = self._clock.micro_timestamp()
            digest = hashlib.sha256(f"{metadata['uid']}\0{reason}\0{message}\0{now}".encode()).hexdigest()[:16]
            name = f"{metadata['name']}.{digest}"
            await self._cluster.create(EVENTS, {
                "kind": "Event", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace},
                "involvedObject": {
                    "kind": obj["kind"], "namespace": namespace, "name": metadata["name"], "uid": metadata["uid"], "apiVersion": obj["apiVersion"],
                    "resourceVersion": metadata.get("resourceVersion", ""),
                },
                "reason": reason, "message": message, "source": {}, "firstTimestamp": None, "lastTimestamp": None, "type": kind, "eventTime": now,
                "action": action, "reportingComponent": self._component, "reportingInstance": self._instance,
            }, namespace)
            if kind == "Warning":
                if len(self._known) >= _KNOWN:
                    del self._known[next(iter(self._known))]
                self._known[identity] = (name, message, 1)
        except StatusError:
            self._known.pop(identity, None)

    async def _again(self, identity: tuple[str, str], namespace: str) -> None:
        name, message, count = self._known[identity]
        series = {"series": {"count": count + 1, "lastObservedTime": self._clock.micro_timestamp()}}
        await self._cluster.patch(EVENTS, name, series, namespace)
        self._known[identity] = (name, message, count + 1)
