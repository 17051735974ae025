# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The StatefulSet controller: pods with names that last, one after the other, each with its claims.

Claims are never deleted and pods without a controller are not adopted. Source: Kubernetes pkg/controller/statefulset.
"""
from __future__ import annotations

import datetime
import typing as t

from ..controller import Controller, object_key
from ..errors import StatusError
from ..interface import CONTROLLER_REVISIONS, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS, Object
from . import pods as pod_status
from .pod_control import CONTROLLER, Moments, PodControl, index_by_controller, pod_of
from .resources import controller_of
from .revisions import Revisions
from .workload_status import REVISION_HASH_LABEL, availability, available_in, is_active, matters

_POD_NAME, _POD_INDEX = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"


def ordinal(pod: Object) -> int:
    """-1 for a name without one."""
    text = pod["metadata"]["name"].rpartition("-")[2]
    return int(text) if text.isdigit() else -1


def ordinals(stateful_set: Object) -> range:
    """The numbers that the wanted pods have."""
    spec = stateful_set["spec"]
    first = (spec.get("ordinals") or {}).get("start", 0)
    return range(first, first + spec.get("replicas", 1))


def pod_number(stateful_set: Object, number: int, digest: str) -> Object:
    """The pod of this ordinal, with the claims that are its own."""
    spec, name = stateful_set["spec"], f"{stateful_set['metadata']['name']}-{number}"
    template = spec["template"]
    own = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates") or ()}
    volumes = [volume for volume in template["spec"].get("volumes") or () if volume["name"] not in own]
    volumes += [
        {"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": f"{claim['metadata']['name']}-{name}"}}
        for claim in spec.get("volumeClaimTemplates") or ()
    ]
    pod = {**template["spec"], "hostname": name, **({"volumes": volumes} if volumes else {})}
    if spec.get("serviceName"):
        pod["subdomain"] = spec["serviceName"]
    labels = {REVISION_HASH_LABEL: f"{stateful_set['metadata']['name']}-{digest}", _POD_NAME: name, _POD_INDEX: str(number)}
    return pod_of(stateful_set, {**template, "spec": pod}, labels, name)


def next_steps(stateful_set: Object, pods: t.Mapping[int, Object], revision: str, now: datetime.datetime) -> tuple[list[int], list[Object]]:
    """The ordinals that get a pod now, and the pods that go. In order, unless podManagementPolicy says Parallel."""
    spec, wanted = stateful_set["spec"], ordinals(stateful_set)
    parallel, min_ready = spec.get("podManagementPolicy") == "Parallel", spec.get("minReadySeconds", 0)
    create: list[int] = []
    for number in wanted:
        pod = pods.get(number)
        if pod is None:
            create.append(number)
        elif pod_status.is_final(pod) and not pod_status.is_going(pod):
            return create, [pod]
        elif not parallel and (not is_active(pod) or available_in(pod, min_ready, now) != 0.0):
            return create, []
        if create and not parallel:
            return create, []
    if create:
        return create, []
    spare = [pods[number] for number in sorted(pods, reverse=True) if number not in wanted]
    if spare:
        going = [pod for pod in spare if pod_status.is_going(pod)]
        return [], [] if going and not parallel else [pod for pod in (spare if parallel else spare[:1]) if not pod_status.is_going(pod)]
    return [], _outdated(spec, [pods[number] for number in reversed(wanted)], revision, min_ready, now)


def _outdated(spec: Object, pods: t.Sequence[Object], revision: str, min_ready: int, now: datetime.datetime) -> list[Object]:
    """The pod of an older template that gives way now, from the last to the first."""
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    for pod in pods:
        if ordinal(pod) < partition:
            return []
        if pod["metadata"]["labels"].get(REVISION_HASH_LABEL) != revision:
            return [pod] if is_active(pod) else []
        if not is_active(pod) or available_in(pod, min_ready, now) != 0.0:
            return []
    return []


def stateful_set_status(stateful_set: Object, pods: t.Collection[Object], revision: str, now: datetime.datetime) -> tuple[Object, float | None]:
    before = stateful_set.get("status") or {}
    ready, available, next_look = availability([pod for pod in pods if is_active(pod)], stateful_set["spec"].get("minReadySeconds", 0), now)
    updated = sum(1 for pod in pods if pod["metadata"]["labels"].get(REVISION_HASH_LABEL) == revision and is_active(pod))
    replicas = sum(1 for pod in pods if not pod_status.is_final(pod))
    wanted = stateful_set["spec"].get("replicas", 1)
    done = updated == replicas == wanted and ready == wanted
    current = revision if done or not before.get("currentRevision") else before["currentRevision"]
    status: Object = {"observedGeneration": stateful_set["metadata"]["generation"], "replicas": replicas}
    counted = updated if current == revision else sum(1 for pod in pods if pod["metadata"]["labels"].get(REVISION_HASH_LABEL) == current)
    for key, value in (("readyReplicas", ready), ("currentReplicas", counted), ("updatedReplicas", updated)):
        if value:
            status[key] = value
    return {**status, "currentRevision": current, "updateRevision": revision, "collisionCount": 0, "availableReplicas": available}, next_look


class StatefulSets(Controller):
    """Keys are (namespace, name) of StatefulSets."""

    name = "stateful-set-controller"

    def setup(self) -> None:
        self._moments = Moments(self.queue)
        self._control = PodControl(self.cluster, self.clock, "statefulset-controller")
        self._stateful_sets = self.informer(STATEFUL_SETS)
        self._pods = self.informer(PODS)
        revisions = self.informer(CONTROLLER_REVISIONS)
        index_by_controller(self._pods)
        index_by_controller(revisions)
        self._revisions = Revisions(self.cluster, revisions)
        self._stateful_sets.add_handler(self._changed)
        self._pods.add_handler(self._pod_changed)

    def _changed(self, event: str, stateful_set: Object, _before: Object | None) -> None:
        if event == "DELETED":
            self._control.forget(stateful_set)
        else:
            self.queue.add(object_key(stateful_set))

    def _pod_changed(self, event: str, pod: Object, before: Object | None) -> None:
        owner = controller_of(pod)
        if owner is not None and owner["kind"] == "StatefulSet":
            self._control.observe(event, pod)
            if event == "DELETED" or matters(before, pod):
                self._moments.add((pod["metadata"]["namespace"], owner["name"]))

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        self._moments.over(key)
        stateful_set = self._stateful_sets.get(key[1], key[0])
        if stateful_set is None or stateful_set["metadata"].get("deletionTimestamp"):
            return None
        digest = await self._revisions.ensure(stateful_set)
        revision = f"{stateful_set['metadata']['name']}-{digest}"
        pods = {ordinal(pod): pod for pod in self._pods.by_index(CONTROLLER, stateful_set["metadata"]["uid"])}
        try:
            if self._control.settled(stateful_set):
                create, delete = next_steps(stateful_set, pods, revision, self.clock.now())
                for number in create:
                    await self._claims(stateful_set, number)
                    await self._control.create(stateful_set, pod_number(stateful_set, number, digest))
                for pod in delete:
                    await self._control.delete(stateful_set, pod)
        finally:
            status, next_look = stateful_set_status(stateful_set, pods.values(), revision, self.clock.now())
            if status != stateful_set.get("status"):
                await self.cluster.update(STATEFUL_SETS, {**stateful_set, "status": status}, "status")
        return next_look

    async def _claims(self, stateful_set: Object, number: int) -> None:
        for claim in stateful_set["spec"].get("volumeClaimTemplates") or ():
            name = f"{claim['metadata']['name']}-{stateful_set['metadata']['name']}-{number}"
            metadata = {"name": name, "namespace": stateful_set["metadata"]["namespace"], "labels": stateful_set["spec"]["selector"].get("matchLabels") or {}}
            try:
                await self.cluster.create(
                    PERSISTENT_VOLUME_CLAIMS, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim["spec"]}
                )
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
