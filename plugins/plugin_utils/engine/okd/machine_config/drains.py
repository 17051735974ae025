# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine-config-controller's drains: cordon, evict, try again in its rhythm, uncordon.

Source: openshift/machine-config-operator pkg/controller/drain/drain_controller.go; kubectl pkg/drain.
"""
from __future__ import annotations

import dataclasses
import typing as t

from ...controller import Controller, EventRecorder
from ...errors import StatusError
from ...interface import NODES, PODS, Cluster, Object
from .names import CONTROLLER, DESIRED_DRAIN, LAST_APPLIED_DRAIN, annotations_of

TRY, LOOK = 90.0, 5.0
"""Seconds that one try takes at most, and between two evictions of the same pod."""
RETRY, LATER, RARELY = 60.0, 600.0, 300.0
"""Seconds until the next try; after so many seconds of failures it comes more rarely."""
FAILED = 3600.0
"""Seconds of failures after which the pool is degraded."""
_BY_NODE = "node"
_MIRROR = "kubernetes.io/config.mirror"


@dataclasses.dataclass
class Drain:
    """One node that is being drained. Times are monotonic engine seconds."""

    wanted: str
    began: float
    try_ends: float
    left: int = -1
    problem: str = ""
    told: bool = False


class Drains(Controller):
    """Keys are the names of nodes."""

    name = "machine-config-controller drain"

    def __init__(self, pods: Cluster) -> None:
        """`pods` is the cluster as whoever may see all pods."""
        super().__init__()
        self._all = pods
        self._drains: dict[str, Drain] = {}
        self._failing: dict[str, str] = {}
        self._on_failure: list[t.Callable[[str], None]] = []

    def on_failure(self, function: t.Callable[[str], None]) -> None:
        """Called with a node whose drain counts as failed, or does no longer."""
        self._on_failure.append(function)

    def failing(self, node: str) -> str:
        """Why the drain of a node has failed for an hour; "" if it has not."""
        return self._failing.get(node, "")

    def setup(self) -> None:
        self._events = EventRecorder(self.cluster, self.clock, CONTROLLER)
        self._nodes = self.informer(NODES)
        self._pods = self.informer(PODS)
        self._pods.add_index(_BY_NODE, lambda pod: [node] if (node := (pod.get("spec") or {}).get("nodeName")) else [])
        self._nodes.add_handler(self._changed)

    def _changed(self, event: str, node: Object, before: Object | None) -> None:
        found, known = annotations_of(node), annotations_of(before) if before is not None else {}
        if event != "DELETED" and found.get(DESIRED_DRAIN) not in (found.get(LAST_APPLIED_DRAIN), known.get(DESIRED_DRAIN)):
            self.queue.add(node["metadata"]["name"])

    async def reconcile(self, key: str) -> float | None:
        node = self._nodes.get(key)
        if node is None:
            return None
        found = annotations_of(node)
        wanted = found.get(DESIRED_DRAIN, "")
        if not wanted or wanted == found.get(LAST_APPLIED_DRAIN):
            return None
        if wanted.startswith("uncordon-"):
            await self._cordon(node, False)
            await self._applied(key, wanted)
            return None
        await self._cordon(node, True)
        return await self._drain(node, wanted)

    async def _cordon(self, node: Object, unschedulable: bool) -> None:
        name = node["metadata"]["name"]
        if bool((node.get("spec") or {}).get("unschedulable")) is unschedulable:
            return
        await self.cluster.patch(NODES, name, {"spec": {"unschedulable": unschedulable or None}})
        reason, text = "Cordon", "Cordoned node to apply update"
        if not unschedulable:
            reason, text = "Uncordon", f"Update completed for config and node {name} has been uncordoned"
        await self._events.event(node, "Normal", reason, text)

    async def _applied(self, name: str, wanted: str) -> None:
        await self.cluster.patch(NODES, name, {"metadata": {"annotations": {LAST_APPLIED_DRAIN: wanted}}})
        self._drains.pop(name, None)
        if self._failing.pop(name, None) is not None:
            self._tell(name)

    def _tell(self, name: str) -> None:
        for function in self._on_failure:
            function(name)

    async def _drain(self, node: Object, wanted: str) -> float | None:
        name, now = node["metadata"]["name"], self.clock.monotonic()
        drain = self._drains.get(name)
        if drain is None or drain.wanted != wanted:
            drain = self._drains[name] = Drain(wanted, now, now + TRY)
            await self._events.event(node, "Normal", "Drain", "Draining node to update config.")
        elif now >= drain.try_ends + RETRY - LOOK / 2 or (drain.left < 0):
            drain.try_ends = now + TRY
        leaving = [pod for pod in self._pods.by_index(_BY_NODE, name) if _leaves(pod)]
        if not leaving:
            await self._applied(name, wanted)
            return None
        # Only what moves lets time jump: a drain that is blocked for good would race through the years.
        moved, drain.left = len(leaving) != drain.left, len(leaving)
        for pod in leaving:
            moved |= await self._evict(pod, drain)
        if now < drain.try_ends:
            self._again(name, LOOK, moved)
            return None
        await self._failed(node, drain, now)
        self._again(name, RARELY if now - drain.began > LATER else RETRY, moved=False)
        drain.left = -1
        return None

    def _again(self, name: str, seconds: float, moved: bool) -> None:
        self.queue.add_after(name, seconds, background=not moved)

    async def _evict(self, pod: Object, drain: Drain) -> bool:
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp"):
            return True
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]}}
        try:
            await self.cluster.create(PODS, body, metadata["namespace"], "eviction", metadata["name"])
        except StatusError as error:
            drain.problem = f"error when evicting pods/\"{metadata['name']}\" -n \"{metadata['namespace']}\": {error.message}"
            # That a VM is on its way is progress; a budget or a VM that cannot move is none.
            return error.code == 404 or "Eviction triggered evacuation" in error.message
        return True

    async def _failed(self, node: Object, drain: Drain, now: float) -> None:
        name, lasted = node["metadata"]["name"], now - drain.began
        if lasted > LATER and not drain.told:
            drain.told = True
            await self._events.event(node, "Warning", "DrainThresholdExceeded", f"Drain of node {name} has failed for more than 10 minutes: {drain.problem}")
        if lasted > FAILED and name not in self._failing:
            problem = f"failed to drain node: {name} after 1 hour. Please see machine-config-controller logs for more information"
            self._failing[name] = problem
            await self._events.event(node, "Warning", "FailedToDrain", problem)
            self._tell(name)


def _leaves(pod: Object) -> bool:
    """Everything but static pods and those of DaemonSets that still run."""
    metadata = pod["metadata"]
    if _MIRROR in (metadata.get("annotations") or {}):
        return False
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return True
    return not any(owner.get("controller") and owner.get("kind") == "DaemonSet" for owner in metadata.get("ownerReferences") or ())
