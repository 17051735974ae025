# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kubelets of all nodes: pods that are bound to a node come up on it, end when they are told to, and their statuses say so.

Source: Kubernetes pkg/kubelet/{kubelet,pod_workers}.go, pkg/kubelet/status/status_manager.go.
"""
from __future__ import annotations

import asyncio
import typing as t

from ..controller import Controller, EventRecorder, Informer
from ..errors import StatusError
from ..interface import NODES, PODS, Cluster, Object
from . import pod_networks, pods
from .address_management import Addresses, Exhausted
from .runtime import Runtime

SECONDS_TO_START = 2.0
"""Engine seconds from the binding of a pod to its running containers: sandbox, network and volumes, the image being there."""
SECONDS_TO_STOP = 1.0
"""Engine seconds that containers take to end after SIGTERM when nobody else answers for them."""
_KILLED = 137
_NO_ADDRESS = "Failed to create pod sandbox: plugin type=\"multus-shim\" failed (add): error at storage engine: Could not allocate IP in range"
"""As far as it does not name ranges. Source: whereabouts pkg/allocate/allocate.go (AssignmentError)."""
HANG_START = "engine.okd.virt/hang-start"
"""Annotation of pods: with `true` their containers are being created for ever."""


class Kubelet(Controller):
    """Acts as each pod's own node. Keys are (namespace, name) of pods."""

    name = "kubelet"

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self._runtime = runtime
        self._as_node: dict[str, Cluster] = {}
        self._addresses = 0
        self._starting: dict[str, float] = {}
        self._stopping: dict[str, float] = {}
        self._detached: set[tuple[str, str]] = set()
        self._given = Addresses()
        self._assigned: dict[str, str] = {}
        self._networks: Informer | None = None
        self._timers: dict[str, tuple[float, asyncio.Task[None] | None]] = {}

    def setup(self) -> None:
        self._multus, self._events = EventRecorder(self.cluster, self.clock, "multus"), EventRecorder(self.cluster, self.clock, "kubelet")
        self._nodes = self.informer(NODES)
        self._pods = self.informer(PODS)
        self._pods.add_index("node", _node)
        self._pods.add_handler(self._changed)
        self._nodes.add_handler(self._node_changed)
        self._runtime.on_exit(self._ended)
        self._runtime.on_node(self._power)

    def _changed(self, event: str, pod: Object, _before: Object | None) -> None:
        if event == "DELETED":
            uid = pod["metadata"]["uid"]
            self._detached.discard((pod["metadata"]["namespace"], pod["metadata"]["name"]))
            self._assigned.pop(uid, None)
            if self._given.free(uid):
                # Somebody may wait for its addresses.
                self._attach_again()
            self._starting.pop(uid, None)
            self._stopping.pop(uid, None)
            self._stop_timer(uid)
            self._runtime.forget(uid)
        elif pods.node_of(pod) and (not pods.is_final(pod) or pods.is_going(pod)):
            self._note_address(pod)
            if event == "ADDED":
                self._note_networks(pod)
            if event == "ADDED" and pods.phase(pod) == "Running" and not self._runtime.known(pod["metadata"]["uid"]):
                # An engine that starts finds what ran before: it still runs.
                self._runtime.started(pod)
            self.enqueue(event, pod, None)

    def _node_changed(self, event: str, node: Object, _before: Object | None) -> None:
        if event == "ADDED":
            self._power(node["metadata"]["name"], up=True)

    def _power(self, node: str, up: bool) -> None:
        if up:
            for pod in self._pods.by_index("node", node):
                self.queue.add((pod["metadata"]["namespace"], pod["metadata"]["name"]))

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        pod = self._pods.get(key[1], key[0])
        if pod is None:
            return None
        node = self._nodes.get(pods.node_of(pod))
        if node is None or self._runtime.is_down(node["metadata"]["name"]):
            return None
        if pods.is_going(pod):
            return await self._end(pod)
        if pods.is_final(pod):
            return None
        uid = pod["metadata"]["uid"]
        code = self._runtime.exit_code(uid)
        if code is not None:
            return await self._exited(pod, code)
        if pods.phase(pod) == "Running":
            opened = pods.gated(pod, self._now(pod))
            if opened is not None:
                await self._write(pod, opened)
            return None
        return await self._start(pod, node)

    async def _start(self, pod: Object, node: Object) -> float | None:
        uid, now = pod["metadata"]["uid"], self.clock.monotonic()
        if uid not in self._starting:
            await self._write(pod, pods.creating(pod, _internal_address(node), self._now(pod)))
            self._starting[uid] = now + SECONDS_TO_START
        if (pod["metadata"].get("annotations") or {}).get(HANG_START) == "true":
            return None
        left = self._starting[uid] - now
        if left > 0:
            return left
        if not await self._attached(pod):
            return None
        if not (pod.get("status") or {}).get("containerStatuses"):
            # What was written has not been seen yet.
            return None
        await self._write(pod, pods.running(pod, self._assigned.pop(uid, "") or self._address(), self._now(pod)))
        del self._starting[uid]
        self._runtime.started(pod)
        return None

    async def _attached(self, pod: Object) -> bool:
        """Whether the pod's further networks are there and say so on it; its containers are not made before."""
        key, wanted = (pod["metadata"]["namespace"], pod["metadata"]["name"]), pod_networks.wanted(pod)
        if not wanted or pod_networks.STATUS in pod["metadata"]["annotations"]:
            self._detached.discard(key)
            return True
        if self._networks is None:
            self._networks = self.informer(pod_networks.NETWORK_ATTACHMENT_DEFINITIONS)
            self._networks.add_handler(self._network_changed)
            self._networks.start()
        self._detached.add(key)
        definitions = []
        for namespace, name, _interface in wanted:
            try:
                definitions.append(await self.cluster.get(pod_networks.NETWORK_ATTACHMENT_DEFINITIONS, name, namespace))
            except StatusError as error:
                if error.code != 404:
                    raise
                await self._multus.event(pod, "Warning", "NoNetworkFound", pod_networks.not_found(namespace, name))
                return False
        uid, node = pod["metadata"]["uid"], pods.node_of(pod)
        self._given.free(uid)
        try:
            given = [self._given.take(uid, node, f"{one.namespace}/{one.name}", held) for one, held in zip(wanted, definitions, strict=True)]
        except Exhausted:
            self._given.free(uid)
            await self._events.event(pod, "Warning", "FailedCreatePodSandBox", _NO_ADDRESS)
            return False
        address = self._assigned.setdefault(uid, self._address())
        said = {pod_networks.STATUS: pod_networks.status(pod, address, zip(wanted, given, strict=True))}
        await self.cluster.patch(PODS, key[1], {"metadata": {"uid": uid, "annotations": said}}, key[0])
        # The change of the pod brings it here again.
        return False

    def _network_changed(self, event: str, _network: Object, _before: Object | None) -> None:
        """A network that is missed may have come, or have more addresses now."""
        if event != "DELETED":
            self._attach_again()

    def _attach_again(self) -> None:
        for key in self._detached:
            self.queue.add(key)

    def _note_networks(self, pod: Object) -> None:
        """An engine that starts finds which addresses were given before."""
        held = [(str(one.get("name")), str(address)) for one in pod_networks.entries(pod) if not one.get("default") for address in one.get("ips") or ()]
        if held:
            self._given.note(pod["metadata"]["uid"], pods.node_of(pod), held)

    async def _exited(self, pod: Object, code: int) -> float | None:
        """Containers ended by themselves: they run again where the pod says so."""
        restart = pod["spec"].get("restartPolicy", "Always")
        if restart == "Never" or (restart == "OnFailure" and not code):
            await self._write(pod, pods.ended(pod, code, self._now(pod)))
            return None
        statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
        restarts = int(statuses[0].get("restartCount", 0)) + 1
        address = pod["status"].get("podIP") or self._address()
        await self._write(pod, pods.running(pod, address, self._now(pod), restarts))
        self._runtime.started(pod)
        return None

    async def _end(self, pod: Object) -> float | None:
        """SIGTERM, SIGKILL when the time of grace is over, then the object goes."""
        metadata = pod["metadata"]
        uid = metadata["uid"]
        if not pods.is_final(pod) and self._runtime.known(uid):
            answered = self._runtime.terminate(pod)
            if self._runtime.exit_code(uid) is None:
                left = self._left(pod, answered)
                if left > 0:
                    self._look_in(pod, left)
                    return None
                self._runtime.exited(uid, _KILLED if answered else 0)
            await self._write(pod, pods.ended(pod, self._runtime.exit_code(uid) or 0, self._now(pod)))
            # The object goes with the next look: whoever follows the pod sees how it ended.
            return None
        if not metadata.get("finalizers"):
            await self._node_cluster(pod).delete(PODS, metadata["name"], metadata["namespace"], uid=uid, grace_period=0)
        return None

    def _ended(self, namespace: str, name: str) -> None:
        pod = self._pods.get(name, namespace)
        if pod is not None:
            self._stop_timer(pod["metadata"]["uid"])
        self.queue.add((namespace, name))

    def _look_in(self, pod: Object, seconds: float) -> None:
        """Look at a pod again when its time is over, unless it ends before: time then has nothing to hurry to."""
        metadata, due = pod["metadata"], self.clock.monotonic() + seconds
        uid = metadata["uid"]
        known, timer = self._timers.get(uid, (0.0, None))
        if timer is not None and not timer.done() and known <= due:
            return
        self._stop_timer(uid)
        self._timers[uid] = due, self.queue.add_after((metadata["namespace"], metadata["name"]), seconds)

    def _stop_timer(self, uid: str) -> None:
        timer = self._timers.pop(uid, (0.0, None))[1]
        if timer is not None:
            timer.cancel()

    def _left(self, pod: Object, answered: bool) -> float:
        """Engine seconds until the containers have ended by themselves, or are killed."""
        uid, now = pod["metadata"]["uid"], self.clock.monotonic()
        grace = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        if uid not in self._stopping:
            self._stopping[uid] = now + (grace if answered else min(grace, SECONDS_TO_STOP))
        # The time of grace may have been cut short since.
        return min(self._stopping[uid] - now, grace)

    async def _write(self, pod: Object, status: Object) -> None:
        if status != pod.get("status"):
            await self._node_cluster(pod).update(PODS, {**pod, "status": status}, "status")

    def _now(self, pod: Object) -> str:
        return self._runtime.timestamp(self.clock, pods.node_of(pod))

    def _node_cluster(self, pod: Object) -> Cluster:
        node = pods.node_of(pod)
        if node not in self._as_node:
            self._as_node[node] = self.cluster.as_user(f"system:node:{node}", ("system:nodes",))
        return self._as_node[node]

    def _address(self) -> str:
        self._addresses += 1
        number = self._addresses
        return f"10.{128 + (number >> 16)}.{(number >> 8) & 255}.{number & 255}"

    def _note_address(self, pod: Object) -> None:
        parts = str((pod.get("status") or {}).get("podIP") or "").split(".")
        if len(parts) == 4 and parts[0] == "10" and int(parts[1]) >= 128:
            number = (int(parts[1]) - 128 << 16) + (int(parts[2]) << 8) + int(parts[3])
            self._addresses = max(self._addresses, number)


def _node(pod: Object) -> t.Iterable[str]:
    node = pods.node_of(pod)
    return (node,) if node else ()


def _internal_address(node: Object) -> str:
    for address in (node.get("status") or {}).get("addresses") or ():
        if address["type"] == "InternalIP":
            return str(address["address"])
    return ""
