# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disruption controller: keeps the status of every PodDisruptionBudget.

Source: Kubernetes pkg/controller/disruption/disruption.go.
"""
from __future__ import annotations

import dataclasses
import typing as t

from ..apiserver.selectors import from_label_selector_object
from ..controller import Controller, EventRecorder, OwnWrites, object_key
from ..errors import StatusError
from ..interface import POD_DISRUPTION_BUDGETS, PODS, REPLICA_SETS, Object
from . import disruption_status as status_of
from . import pods as pod_status
from .label_index import LabelIndex, SelectorIndex, fixed_label
from .resources import Discover, controller_of, find

_UNMANAGED = (
    "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of the PDB cannot be calculated "
    'correctly, which may result in undefined behavior. To account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.'
)


class _Unknown(Exception):
    """How many pods there should be can't be found out."""


@dataclasses.dataclass
class _Namespace:
    """Pods by label and budgets by what they select."""

    pods: LabelIndex[str] = dataclasses.field(default_factory=LabelIndex)
    budgets: SelectorIndex[str] = dataclasses.field(default_factory=SelectorIndex)


class DisruptionController(Controller):
    """Keys are (namespace, name) of budgets."""

    name = "disruption-controller"

    def __init__(self, discover: Discover) -> None:
        super().__init__()
        self._discover = discover
        self._namespaces: dict[str, _Namespace] = {}
        self._written = OwnWrites()

    def setup(self) -> None:
        self._events = EventRecorder(self.cluster, self.clock, "controllermanager")
        self._budgets = self.informer(POD_DISRUPTION_BUDGETS)
        self._replica_sets = self.informer(REPLICA_SETS)
        self._pods = self.informer(PODS)
        self._budgets.add_handler(self._budget_changed)
        self._pods.add_handler(self._pod_changed)

    def _in(self, namespace: str) -> _Namespace:
        return self._namespaces.setdefault(namespace, _Namespace())

    def _budget_changed(self, event: str, budget: Object, before: Object | None) -> None:
        namespace, name = object_key(budget)
        known = self._written.heard(event, budget, before)
        if event == "DELETED":
            self._in(namespace).budgets.remove(name)
            return
        if before is None or before["spec"] != budget["spec"]:
            self._in(namespace).budgets.put(name, from_label_selector_object(budget["spec"].get("selector")), name)
        if not known:
            self.queue.add((namespace, name))

    def _pod_changed(self, event: str, pod: Object, before: Object | None) -> None:
        namespace, name = object_key(pod)
        place, labels = self._in(namespace), pod["metadata"].get("labels") or {}
        if event == "DELETED":
            place.pods.remove(name)
        elif before is None or (before["metadata"].get("labels") or {}) != labels:
            place.pods.put(name, labels, name)
        elif _counts_as(before) == _counts_as(pod):
            return
        self._queue_budgets(place, namespace, labels)
        if before is not None and (before["metadata"].get("labels") or {}) != labels:
            self._queue_budgets(place, namespace, before["metadata"].get("labels") or {})

    def _queue_budgets(self, place: _Namespace, namespace: str, labels: t.Mapping[str, str]) -> None:
        for name in place.budgets.candidates(labels):
            budget = self._budgets.get(name, namespace)
            if budget is not None and from_label_selector_object(budget["spec"].get("selector")).matches(labels):
                self.queue.add((namespace, name))

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        self._written.forget(key)
        budget = self._budgets.get(key[1], key[0])
        if budget is None:
            return None
        pods = self._selected(budget)
        told: list[tuple[str, str, str]] = [] if pods else [("Normal", "NoPods", "No matching pods found")]
        try:
            expected, unmanaged = await self._expected(budget, pods)
        except _Unknown as error:
            told.append(("Warning", "CalculateExpectedPodCountFailed", f"Failed to calculate the number of expected pods: {error}"))
            await self._write(budget, status_of.failed(budget, str(error), self.clock.timestamp()), told)
            return None
        if unmanaged:
            told.append(("Warning", "UnmanagedPods", _UNMANAGED.format(from_label_selector_object(budget["spec"].get("selector")))))
        disrupted, overdue, next_look = status_of.still_disrupted(budget, pods, self.clock.now())
        for pod in overdue:
            text = f"Pod was expected by PDB {key[0]}/{key[1]} to be deleted but it wasn't"
            await self._events.event(pod, "Warning", "NotDeleted", text)
        current = status_of.healthy(pods, disrupted)
        desired = status_of.desired_healthy(budget, expected)
        await self._write(budget, status_of.counted(budget, current, desired, expected, disrupted, self.clock.timestamp()), told)
        if next_look is not None:
            # Nothing follows from it by itself: time need not hurry there.
            self.queue.add_after(key, next_look, background=True)
        return None

    async def _write(self, budget: Object, status: Object, told: t.Sequence[tuple[str, str, str]]) -> None:
        """What is as it was is not told of again."""
        if status != budget.get("status"):
            for kind, reason, text in told:
                await self._events.event(budget, kind, reason, text)
            self._written.note(budget, await self.cluster.update(POD_DISRUPTION_BUDGETS, {**budget, "status": status}, "status"))

    def _selected(self, budget: Object) -> list[Object]:
        namespace = budget["metadata"]["namespace"]
        selector = from_label_selector_object(budget["spec"].get("selector"))
        found = (self._pods.get(name, namespace) for name in self._in(namespace).pods.candidates(fixed_label(selector)))
        return [pod for pod in found if pod is not None and selector.matches(pod["metadata"].get("labels") or {})]

    async def _expected(self, budget: Object, pods: t.Sequence[Object]) -> tuple[int, bool]:
        """How many pods there should be, and whether there are pods that no controller wants. Raises _Unknown, StatusError."""
        if not status_of.needs_scale(budget):
            return len(pods), False
        replicas: dict[str, int] = {}
        seen: set[str] = set()
        unmanaged = False
        for pod in pods:
            owner = controller_of(pod)
            if owner is None:
                unmanaged = True
            elif owner["uid"] not in seen:
                seen.add(owner["uid"])
                uid, count = await self._scale(pod, owner)
                replicas[uid] = count
        return sum(replicas.values()), unmanaged

    async def _scale(self, pod: Object, owner: Object) -> tuple[str, int]:
        """The uid and the wanted replicas of what the pod belongs to in the end. Raises _Unknown, StatusError."""
        namespace = pod["metadata"]["namespace"]
        if owner["kind"] == "ReplicaSet" and owner["apiVersion"].startswith("apps/"):
            held = self._replica_sets.get(owner["name"], namespace)
            above = controller_of(held) if held is not None and held["metadata"]["uid"] == owner["uid"] else None
            owner = above if above is not None and above["kind"] == "Deployment" else owner
        served = find(self._discover, owner["apiVersion"], owner["kind"])
        if served is None:
            raise _Unknown(f'no matches for kind "{owner["kind"]}" in version "{owner["apiVersion"]}"')
        try:
            scale = await self.cluster.get(served.ref, owner["name"], namespace, subresource="scale")
        except StatusError as error:
            if error.code != 404:
                raise
            if not served.scales:
                resource = f"{served.ref.plural}.{served.ref.group}" if served.ref.group else served.ref.plural
                raise _Unknown(f"{resource} does not implement the scale subresource") from error
            scale = {}
        if (scale.get("metadata") or {}).get("uid") != owner["uid"]:
            raise _Unknown(f'found no controllers for pod "{pod["metadata"]["name"]}"')
        return owner["uid"], int((scale.get("spec") or {}).get("replicas") or 0)


def _counts_as(pod: Object) -> tuple[bool, bool]:
    return pod_status.is_ready(pod), pod_status.is_going(pod)
