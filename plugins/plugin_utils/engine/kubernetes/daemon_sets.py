# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The DaemonSet controller: a pod on every node that should have one, renewed node after node when the template changes.

Source: Kubernetes pkg/controller/daemon.
"""
from __future__ import annotations

import typing as t

from ..controller import Controller, object_key
from ..interface import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS, Object
from . import daemon_set_status as daemons
from . import pods as pod_status
from .pod_control import CONTROLLER, Moments, PodControl, index_by_controller
from .resources import controller_of
from .revisions import Revisions
from .workload_status import REVISION_HASH_LABEL, matters

_BURST = 250


class _Places:
    """Where one generation of a DaemonSet runs, found out once for each node as it is."""

    def __init__(self, daemon_set: Object) -> None:
        self.generation = daemon_set["metadata"]["generation"]
        self.spec = daemons.pod_spec(daemon_set)
        self.nodes: dict[str, tuple[bool, bool]] = {}


class DaemonSets(Controller):
    """Keys are (namespace, name) of DaemonSets."""

    name = "daemon-set-controller"

    def setup(self) -> None:
        self._moments = Moments(self.queue)
        self._control = PodControl(self.cluster, self.clock, "daemonset-controller")
        self._places: dict[str, _Places] = {}
        self._daemon_sets = self.informer(DAEMON_SETS)
        self._nodes = self.informer(NODES)
        self._pods = self.informer(PODS)
        revisions = self.informer(CONTROLLER_REVISIONS)
        index_by_controller(self._pods)
        index_by_controller(revisions)
        self._revisions = Revisions(self.cluster, revisions)
        self._daemon_sets.add_handler(self._changed)
        self._nodes.add_handler(self._node_changed)
        self._pods.add_handler(self._pod_changed)

    def _changed(self, event: str, daemon_set: Object, _before: Object | None) -> None:
        if event == "DELETED":
            self._control.forget(daemon_set)
            self._places.pop(daemon_set["metadata"]["uid"], None)
        else:
            self.queue.add(object_key(daemon_set))

    def _node_changed(self, event: str, node: Object, before: Object | None) -> None:
        if event == "MODIFIED" and before is not None and _matters(before) == _matters(node):
            return
        name = node["metadata"]["name"]
        for daemon_set in self._daemon_sets.list():
            places = self._places.get(daemon_set["metadata"]["uid"])
            if places is None:
                self.queue.add(object_key(daemon_set))
                continue
            known = places.nodes.pop(name, None)
            if event == "DELETED" or daemons.should_run(places.spec, node) != known:
                self.queue.add(object_key(daemon_set))

    def _pod_changed(self, event: str, pod: Object, before: Object | None) -> None:
        owner = controller_of(pod)
        if owner is not None and owner["kind"] == "DaemonSet":
            self._control.observe(event, pod)
            if event == "DELETED" or matters(before, pod):
                self._moments.add((pod["metadata"]["namespace"], owner["name"]))

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        self._moments.over(key)
        daemon_set = self._daemon_sets.get(key[1], key[0])
        if daemon_set is None or daemon_set["metadata"].get("deletionTimestamp"):
            return None
        pods = self._pods.by_index(CONTROLLER, daemon_set["metadata"]["uid"])
        used = {(pod["metadata"].get("labels") or {}).get(REVISION_HASH_LABEL, "") for pod in pods}
        digest = await self._revisions.ensure(daemon_set, used)
        nodes = self._where(daemon_set)
        by_node: dict[str, list[Object]] = {}
        for pod in pods:
            by_node.setdefault(daemons.target_node(pod), []).append(pod)
        try:
            if self._control.settled(daemon_set):
                await self._manage(daemon_set, by_node, nodes, digest)
        finally:
            status, next_look = daemons.status_of(daemon_set, by_node, nodes, digest, self.clock.now())
            if status != daemon_set.get("status"):
                await self.cluster.update(DAEMON_SETS, {**daemon_set, "status": status}, "status")
        return next_look

    async def _manage(self, daemon_set: Object, by_node: dict[str, list[Object]], nodes: dict[str, tuple[bool, bool]], digest: str) -> None:
        plan = daemons.manage(by_node, nodes)
        for pod in plan.failed:
            text = f"Found failed daemon pod {pod['metadata']['namespace']}/{pod['metadata']['name']} on node {pod_status.node_of(pod)}, will try to kill it"
            await self._control.events.event(daemon_set, "Warning", "FailedDaemonPod", text)
        for pod in plan.delete:
            await self._control.delete(daemon_set, pod)
        spec = self._places[daemon_set["metadata"]["uid"]].spec
        for name in plan.create[:_BURST]:
            await self._control.create(daemon_set, daemons.pod_for(daemon_set, spec, name, digest))
        if not plan.create and not plan.delete:
            wanted = [name for name, (run, dummy) in nodes.items() if run]
            for pod in daemons.outdated(daemon_set, by_node, wanted, digest, self.clock.now()):
                await self._control.delete(daemon_set, pod)

    def _where(self, daemon_set: Object) -> dict[str, tuple[bool, bool]]:
        uid = daemon_set["metadata"]["uid"]
        places = self._places.get(uid)
        if places is None or places.generation != daemon_set["metadata"]["generation"]:
            places = self._places[uid] = _Places(daemon_set)
        for node in self._nodes.list():
            name = node["metadata"]["name"]
            if name not in places.nodes:
                places.nodes[name] = daemons.should_run(places.spec, node)
        return places.nodes


def _matters(node: Object) -> tuple[t.Any, t.Any]:
    return node["metadata"].get("labels"), (node.get("spec") or {}).get("taints")
