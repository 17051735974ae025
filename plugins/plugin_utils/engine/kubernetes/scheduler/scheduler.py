# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue of pods that wait for a node, and what makes those that found none be looked at again.

Source: Kubernetes pkg/scheduler/{schedule_one,eventhandlers}.go, pkg/scheduler/backend/queue/scheduling_queue.go.
"""
from __future__ import annotations

import dataclasses
import typing as t

from ...apiserver.selectors import LabelSelector, from_label_selector_object
from ...controller import Controller
from ...errors import StatusError
from ...interface import NAMESPACES, NODES, PODS, REPLICA_SETS, STATEFUL_SETS, Object
from .. import pods as pod_status
from .algorithm import Algorithm, Decision
from .cache import Cache
from .events import Events
from .filters import lasting_key
from .messages import unschedulable
from .nodes import PodRecord

NAME = "default-scheduler"
_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 1.0, 10.0
_WAKE = ("", "")
# A pod refused for these may fit as soon as some pod comes or goes, wherever that is.
_ELSEWHERE = frozenset(("InterPodAffinity", "PodTopologySpread"))
_STRATEGIC = "application/strategic-merge-patch+json"


@dataclasses.dataclass
class _Waiting:
    """A pod that found no node: since when, and why."""

    attempts: int
    since: float
    plugins: frozenset[str]
    queued: bool = False


class Scheduler(Controller):
    """Keys are (namespace, name) of pods; one more stands for the pods that found no node."""

    name = NAME

    def setup(self) -> None:
        self._cache = Cache()
        self._algorithm = Algorithm(self._cache, self._namespace_labels)
        self._waiting: dict[tuple[str, str], _Waiting] = {}
        self._attempts: dict[tuple[str, str], int] = {}
        self._nodes_changed: set[str] = set()
        self._pods_changed = False
        self._events = Events(self.cluster, self.clock, NAME)
        self._nodes = self.informer(NODES)
        self._namespaces = self.informer(NAMESPACES)
        self._owners = {"ReplicaSet": self.informer(REPLICA_SETS), "StatefulSet": self.informer(STATEFUL_SETS)}
        self._pods = self.informer(PODS)
        self._nodes.add_handler(self._node_changed)
        self._pods.add_handler(self._pod_changed)

    def _node_changed(self, event: str, node: Object, _before: Object | None) -> None:
        name = node["metadata"]["name"]
        if event == "DELETED":
            self._cache.remove_node(name)
            self._algorithm.node_changed(name)
        elif self._cache.put_node(node):
            self._algorithm.node_changed(name)
            self._wake(name)

    def _pod_changed(self, event: str, pod: Object, before: Object | None) -> None:
        uid, key = pod["metadata"]["uid"], (pod["metadata"]["namespace"], pod["metadata"]["name"])
        if event == "DELETED" or pod_status.is_final(pod):
            self._forget(key)
            gone = self._cache.remove_pod(uid)
            if gone is not None:
                self._pods_changed = True
                self._wake(gone.node)
        elif pod_status.node_of(pod):
            self._forget(key)
            known = self._cache.pod(uid)
            if known is None or not known.same(pod):
                self._cache.put_pod(PodRecord.of(pod))
                self._pods_changed = True
                self._wake("")
        elif self._is_mine(pod) and (key not in self._waiting or _asks_for_another(before, pod)):
            self.queue.add(key)

    @staticmethod
    def _is_mine(pod: Object) -> bool:
        spec = pod["spec"]
        return spec.get("schedulerName", NAME) == NAME and not spec.get("schedulingGates") and not pod_status.is_going(pod)

    def _forget(self, key: tuple[str, str]) -> None:
        self._waiting.pop(key, None)
        self._attempts.pop(key, None)

    def _wake(self, node: str) -> None:
        if self._waiting:
            if node:
                self._nodes_changed.add(node)
            self.queue.add(_WAKE)

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        if key == _WAKE:
            self._look_again()
            return None
        pod = self._pods.get(key[1], key[0])
        if pod is None or pod_status.node_of(pod) or not self._is_mine(pod) or self._cache.pod(pod["metadata"]["uid"]) is not None:
            return None
        self._waiting.pop(key, None)
        decision = self._algorithm.schedule(pod, self._workload(pod))
        if decision.node:
            await self._bind(pod, decision.node)
        else:
            await self._refuse(key, pod, decision)
        return None

    async def _bind(self, pod: Object, node: str) -> None:
        metadata = pod["metadata"]
        name, namespace, uid = metadata["name"], metadata["namespace"], metadata["uid"]
        # It counts from now on, so that the next pod sees it.
        self._cache.put_pod(PodRecord.of(pod, node))
        binding = {
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "target": {"kind": "Node", "name": node},
        }
        try:
            await self.cluster.create(PODS, binding, namespace, "binding", name)
        except StatusError:
            self._cache.remove_pod(uid)
            raise
        await self._events.event(pod, "Normal", "Scheduled", "Binding", f"Successfully assigned {namespace}/{name} to {node}")

    async def _refuse(self, key: tuple[str, str], pod: Object, decision: Decision) -> None:
        self._attempts[key] = self._attempts.get(key, 0) + 1
        plugins = frozenset(refusal.plugin for refusal in decision.refusals)
        self._waiting[key] = _Waiting(self._attempts[key], self.clock.monotonic(), plugins)
        message = unschedulable(len(decision.refusals), decision.refusals, pod["spec"].get("preemptionPolicy") != "Never")
        await self._events.event(pod, "Warning", "FailedScheduling", "Scheduling", message)
        known = pod_status.condition(pod, "PodScheduled")
        if known is not None and known.get("message") == message and known["status"] == "False":
            return
        since = known["lastTransitionTime"] if known is not None and known["status"] == "False" else self.clock.timestamp()
        condition = {
            "type": "PodScheduled", "status": "False", "lastProbeTime": None, "lastTransitionTime": since, "reason": "Unschedulable", "message": message,
        }
        try:
            await self.cluster.patch(PODS, key[1], {"status": {"conditions": [condition]}}, key[0], "status", _STRATEGIC)
        except StatusError as error:
            if error.code != 404:
                raise

    def _look_again(self) -> None:
        """Queue the pods that the nodes that changed could take by now."""
        names, moved = self._nodes_changed, self._pods_changed
        self._nodes_changed, self._pods_changed = set(), False
        could: dict[str, bool] = {}
        for key, waiting in self._waiting.items():
            if waiting.queued:
                continue
            pod = self._pods.get(key[1], key[0])
            if pod is None:
                continue
            if moved and waiting.plugins & _ELSEWHERE:
                again = True
            else:
                shape = f"{PodRecord.of(pod).requests}{lasting_key(pod['spec'])}{sorted((pod['metadata'].get('labels') or {}).items())}"
                if shape not in could:
                    could[shape] = self._algorithm.could_take(pod, names, self._workload(pod))
                again = could[shape]
            if again:
                waiting.queued = True
                back_off = min(_FIRST_BACK_OFF * 2.0 ** (waiting.attempts - 1), _LONGEST_BACK_OFF)
                self.queue.add_after(key, max(0.0, waiting.since + back_off - self.clock.monotonic()))

    def _workload(self, pod: Object) -> LabelSelector | None:
        """What selects the pods of the pod's workload."""
        for owner in pod["metadata"].get("ownerReferences") or ():
            informer = self._owners.get(owner["kind"]) if owner.get("controller") else None
            workload = informer.get(owner["name"], pod["metadata"]["namespace"]) if informer is not None else None
            if workload is not None:
                return from_label_selector_object(workload["spec"].get("selector"))
        return None

    def _namespace_labels(self, name: str) -> t.Mapping[str, str]:
        namespace = self._namespaces.get(name)
        return (namespace or {}).get("metadata", {}).get("labels") or {}


def _asks_for_another(before: Object | None, pod: Object) -> bool:
    """Whether a pod that waits asks for something else than it did."""
    was, now = (before or pod)["metadata"], pod["metadata"]
    return bool(was.get("generation") != now.get("generation") or was.get("labels") != now.get("labels"))
