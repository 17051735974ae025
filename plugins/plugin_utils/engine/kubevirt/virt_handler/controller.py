# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-handler on all nodes at once, and the virt-launchers that it speaks to: guests start, stop, stand still and move.

Source: KubeVirt pkg/virt-handler/{vm,migration-source,migration-target}.go, pkg/virt-launcher/virtwrap, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import math
import typing as t

from ...controller import Controller, EventRecorder, object_key
from ...errors import StatusError
from ...interface import NODES, PODS, Cluster, Object
from ...kubernetes.runtime import Runtime
from ..virt_controller import conditions, phases, pods
from ..virt_controller.phases import VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from . import instance_writes as writes
from . import loads
from .alarm import Alarm
from .launchers import Waiting, has_guest, is_left
from .migratable import migratable
from .monitor import Mode, limits
from .transfers import ABORTED, BROKEN, Key, Outcome, Transfer, Transfers

SECONDS_TO_BOOT = 1.0
SECONDS_TO_SHUT_DOWN = 2.0
SECONDS_TO_PREPARE = 0.3
SECONDS_TO_BEGIN = 0.5
SECONDS_TO_HAND_OVER = 0.2
SECONDS_TO_FAIL = 1.0
"""Engine seconds: a guest's start and its shutdown, a migration's target getting ready, its source beginning, the source hearing that
it is over, and how long a migration that is to fail copies before it does."""
TIMES_IN_VAIN = 2
"""A guest that was given up so many times for taking too long no longer drives a jumping clock: it would be tried for ever."""
_TICK, _BEGUN = ("", ""), ("", "begun")
_LAUNCHER = ("kubevirt.io", "virt-launcher")


class VirtHandler(Controller):
    """Keys are (namespace, name) of instances, _TICK for the copies under way, _BEGUN for launchers that have come up, and ("", uid) for one
    that has waited for its guest long enough.
    """

    name = "virt-handler"

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self.runtime = runtime
        self.transfers = Transfers(self._capacity)
        self._due: dict[Key, dict[str, float]] = {}
        self._begun: list[Object] = []
        self._terminating: dict[Key, set[str]] = {}
        self._lost: dict[Key, set[str]] = {}
        self._ended: set[str] = set()
        self._failed: dict[Key, int] = {}
        self._hopeless: dict[Key, int] = {}
        self._pausing: dict[Key, bool] = {}
        self.migration_address: t.Callable[[str], str] = lambda _node: ""

    def start(self, cluster: Cluster, clock: t.Any, workers: int = 1, informers: t.Any = None) -> None:
        self.events = EventRecorder(cluster, clock, "virt-handler")
        self._alarm = Alarm(clock, lambda: self.queue.add(_TICK))
        super().start(cluster, clock, workers, informers)

    def setup(self) -> None:
        self.instances = self.informer(VIRTUAL_MACHINE_INSTANCES)
        self.instances.add_handler(self._instance)
        self._nodes = self.informer(NODES)
        # What a virt-handler sees on its node: the launchers and their sockets.
        self._pods = self.informer(PODS, pods.LAUNCHERS, cluster=self.observer)
        self._pods.add_index(pods.BY_INSTANCE, pods.instance_uid)
        self._pods.add_handler(self._pod)
        self._waiting = Waiting(self.queue)
        self.runtime.on_terminate(_LAUNCHER, self._terminate)
        self.runtime.on_start(_LAUNCHER, self._started)
        self.runtime.on_exit(self._exited)
        self.runtime.on_node(self._powered)

    async def stop(self) -> None:
        self._alarm.stop()
        await super().stop()

    # What there is to do

    def _instance(self, event: str, vmi: Object, before: Object | None) -> None:
        key = object_key(vmi)
        if event == "DELETED":
            self._forget(key)
        elif self._concerns(key, vmi, before):
            self.queue.add(key)

    def _concerns(self, key: Key, vmi: Object, before: Object | None) -> bool:
        """Whether anything is to be done for it: an idle guest costs nothing."""
        phase = phases.phase(vmi)
        if phases.is_final(vmi):
            return not phases.is_final(before)
        if phase == "Scheduled" or key in self._due or self.transfers.get(key) is not None:
            return True
        if phase != "Running":
            return False
        state = writes.state(vmi)
        if state.get("targetNode") and not state.get("completed"):
            return True
        if conditions.condition(vmi, "LiveMigratable") is None:
            return True
        return before is not None and _volumes(before) != _volumes(vmi)

    def _forget(self, key: Key) -> None:
        self.transfers.drop(key, self.clock.monotonic())
        for known in (self._due, self._terminating, self._lost, self._failed, self._hopeless, self._pausing):
            known.pop(key, None)

    def _pod(self, event: str, pod: Object, _before: Object | None) -> None:
        if event == "DELETED":
            self._waiting.over(pod["metadata"]["uid"])

    def _started(self, pod: Object) -> None:
        """A launcher has come up, perhaps before this engine did: then nobody may need it any more."""
        if not self._begun:
            self.queue.add(_BEGUN)
        self._begun.append(pod)

    def _terminate(self, pod: Object) -> None:
        """SIGTERM of a launcher."""
        key = _key_of(pod)
        self._terminating.setdefault(key, set()).add(pod["metadata"]["uid"])
        self.queue.add(key)

    def _exited(self, namespace: str, name: str) -> None:
        pod = self._pods.get(name, namespace)
        if pod is None:
            return
        self._waiting.over(pod["metadata"]["uid"])
        if pod["metadata"]["uid"] in self._ended:
            return
        key = _key_of(pod)
        self._lost.setdefault(key, set()).add(pod["metadata"]["uid"])
        self.queue.add(key)

    def _powered(self, node: str, up: bool) -> None:
        now = self.clock.monotonic()
        if not up:
            self.transfers.cut_off(node, now)
        self.transfers.links_changed(now)
        self.queue.add(_TICK)

    def proxies_end(self, node: str) -> None:
        """The virt-handler of the node ends, and with it the connections of the migrations that leave it or come to it."""
        now = self.clock.monotonic()
        for key in self.transfers.on(node):
            self.transfers.end(key, Outcome(BROKEN), now)
            self.queue.add(key)
        self._arm()

    def _elapsed(self, key: Key, step: str, seconds: float) -> bool:
        """Whether so much engine time has passed since the first time that this was asked; it is asked again then."""
        due = self._due.setdefault(key, {})
        now = self.clock.monotonic()
        if step not in due:
            due[step] = now + seconds
            self.queue.add_after(key, seconds)
            return seconds <= 0
        return now >= due[step] - 1e-6

    async def reconcile(self, key: Key) -> float | None:
        if key == _TICK:
            for told in self.transfers.run(self.clock.monotonic()):
                self.queue.add(told)
            self._arm()
            return None
        if not key[0]:
            self._look_at_launchers(key)
            return None
        vmi = self.instances.get(key[1], key[0])
        if key in self._lost:
            await self._after_exit(key, vmi)
        if key in self._terminating:
            await self._shut_down(key, vmi)
        elif vmi is not None and phases.phase(vmi) == "Scheduled":
            await self._boot(key, vmi)
        elif vmi is not None and phases.phase(vmi) == "Running":
            if key in self._pausing:
                await self._say_paused(key, vmi)
                self.queue.add(key)
            else:
                await self._running(key, vmi)
        elif vmi is None or phases.is_final(vmi):
            self._forget(key)
            for pod in self._pods.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"]) if vmi is not None else ():
                self._exit(pod["metadata"]["uid"])
        return None

    def _now(self, vmi: Object) -> str:
        """By the clock of the instance's node."""
        return self.runtime.timestamp(self.clock, vmi["status"].get("nodeName") or "")

    def _look_at_launchers(self, key: Key) -> None:
        """Those that have come up, or one that has waited for its guest long enough."""
        begun = self._begun if key == _BEGUN else []
        self._begun = [] if begun else self._begun
        for pod in begun:
            vmi = self.instances.get(_key_of(pod)[1], _key_of(pod)[0])
            if vmi is not None and is_left(vmi, pod):
                self._exit(pod["metadata"]["uid"])
            elif vmi is not None and not has_guest(vmi, pod):
                self._waiting.begin(pod)
        waited = self._waiting.over(key[1])
        if waited is None or not self.runtime.alive(key[1]):
            return
        vmi = self.instances.get(_key_of(waited)[1], _key_of(waited)[0])
        if self._is_home(vmi, key[1]):
            self.runtime.exited(key[1], 1)
        elif vmi is None or not has_guest(vmi, waited):
            self._exit(key[1])

    async def _write(self, made: Object) -> Object:
        return await self.cluster.update(VIRTUAL_MACHINE_INSTANCES, made)

    # Guests that start and end

    def _pod_of(self, vmi: Object) -> Object | None:
        return pods.current_pod(vmi, self._pods.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"]))

    async def _boot(self, key: Key, vmi: Object) -> None:
        pod = self._pod_of(vmi)
        if pod is None or not self.runtime.alive(pod["metadata"]["uid"]):
            if not self.runtime.is_down(vmi["status"].get("nodeName", "")):
                self.queue.add_after(key, 1.0, background=True)
            return
        if not self._elapsed(key, f"boot {vmi['metadata']['uid']}", SECONDS_TO_BOOT):
            return
        live, storage, method = migratable(vmi, self._nodes.get(vmi["status"]["nodeName"]))
        now = self._now(vmi)
        made = writes.started(vmi, live, storage, method, (pod.get("status") or {}).get("podIP", ""), now)
        if vmi["spec"].get("startStrategy") == "Paused":
            made = writes.paused(made, now)
        await self._write(made)
        self._due.pop(key, None)
        self._waiting.over(pod["metadata"]["uid"])
        await self.events.event(vmi, "Normal", "Created", "VirtualMachineInstance defined.")
        await self.events.event(vmi, "Normal", "Started", "VirtualMachineInstance started.")
        await self._say_not_migratable(vmi, live)

    async def _say_not_migratable(self, vmi: Object, live: Object) -> None:
        if live["status"] == "False" and vmi["spec"].get("evictionStrategy") == "LiveMigrate":
            text = f"EvictionStrategy is set but vmi is not migratable; {live['message']}"
            await self.events.event(vmi, "Warning", "Migrated", text)

    def _exit(self, uid: str, code: int = 0) -> None:
        """A launcher ends; the kubelet hears of it."""
        self._ended.add(uid)
        self.runtime.exited(uid, code)
        self._ended.discard(uid)

    def _is_home(self, vmi: Object | None, uid: str) -> bool:
        """Whether the guest runs in the pod with that uid."""
        if vmi is None or phases.phase(vmi) not in ("Scheduled", "Running"):
            return False
        pod = self._pod_of(vmi)
        return pod is not None and pod["metadata"]["uid"] == uid

    async def _shut_down(self, key: Key, vmi: Object | None) -> None:
        # The instance may be deleted, and all of this be forgotten, in the meantime.
        terminating = self._terminating[key]
        for uid in sorted(terminating):
            if not self.runtime.alive(uid):
                terminating.discard(uid)
            elif vmi is None or not self._is_home(vmi, uid):
                self.transfers.end(key, Outcome(BROKEN), self.clock.monotonic())
                terminating.discard(uid)
                self._exit(uid)
            elif await self._shut_guest_down(key, vmi, uid):
                terminating.discard(uid)
        if not terminating and self._terminating.pop(key, None) is not None:
            self.queue.add(key)

    async def _shut_guest_down(self, key: Key, vmi: Object, uid: str) -> bool:
        """Whether it has shut down."""
        step = f"down {uid}"
        if step not in self._due.get(key, {}):
            await self.events.event(vmi, "Normal", "ShuttingDown", "Signaled Graceful Shutdown")
        grace = float(vmi["spec"].get("terminationGracePeriodSeconds", 30))
        if not self._elapsed(key, step, min(grace, SECONDS_TO_SHUT_DOWN)):
            return False
        self.transfers.end(key, Outcome(BROKEN), self.clock.monotonic())
        await self._write(writes.ended(vmi, "Succeeded", self._now(vmi)))
        self._due.pop(key, None)
        self._exit(uid)
        await self.events.event(vmi, "Normal", "Stopped", "The VirtualMachineInstance was shut down.")
        return True

    async def _after_exit(self, key: Key, vmi: Object | None) -> None:
        """A launcher ended without being asked by its virt-handler: shut down from within the guest, killed, or its node switched off and on."""
        lost = self._lost[key]
        for uid in sorted(lost):
            if vmi is not None and self._is_home(vmi, uid):
                crashed = self.runtime.exit_code(uid) != 0
                vmi = await self._write(writes.ended(vmi, "Failed" if crashed else "Succeeded", self._now(vmi)))
                how = ("Warning", "crashed") if crashed else ("Normal", "was shut down")
                await self.events.event(vmi, how[0], "Stopped", f"The VirtualMachineInstance {how[1]}.")
            elif vmi is not None and uid == self._uid_of(vmi, "targetPod"):
                self.transfers.end(key, Outcome(BROKEN), self.clock.monotonic())
            lost.discard(uid)
        if not lost:
            self._lost.pop(key, None)

    def _uid_of(self, vmi: Object, which: str) -> str:
        """The uid of the pod that the migrationState names."""
        pod = self._pods.get(writes.state(vmi).get(which) or "", vmi["metadata"]["namespace"])
        return str(pod["metadata"]["uid"]) if pod is not None else ""

    # Guests that run

    async def _running(self, key: Key, vmi: Object) -> None:
        state = writes.state(vmi)
        transfer = self.transfers.get(key)
        if transfer is not None and transfer.uid != state.get("migrationUid"):
            self.transfers.drop(key, self.clock.monotonic())
        if state.get("targetNode") and not state.get("completed"):
            await self._migrate(key, vmi, state)
            return
        if state.get("completed"):
            self.transfers.drop(key, self.clock.monotonic())
            self._due.pop(key, None)
        live, storage, method = migratable(vmi, self._nodes.get(vmi["status"].get("nodeName", "")))
        made = writes.with_status(writes.with_conditions(vmi, live, storage), migrationMethod=method)
        if made["status"] != vmi["status"]:
            await self._write(made)
            await self._say_not_migratable(vmi, live)

    async def pause(self, namespace: str, name: str, paused: bool) -> None:
        """What the subresources pause and unpause ask for: the guest stands still at once, its condition follows."""
        key = namespace, name
        self.transfers.pause(key, paused, self.clock.monotonic())
        self._arm()
        self._pausing[key] = paused
        self.queue.add(key)

    async def _say_paused(self, key: Key, vmi: Object) -> None:
        paused = self._pausing[key]
        if conditions.is_true(vmi, "Paused") != paused:
            await self._write(writes.paused(vmi, self._now(vmi)) if paused else writes.unpaused(vmi))
        self._pausing.pop(key, None)

    # Guests that move

    async def _migrate(self, key: Key, vmi: Object, state: Object) -> None:
        uid = state["migrationUid"]
        if not state.get("targetNodeAddress"):
            if not self.runtime.is_down(state["targetNode"]):
                await self._prepare(key, vmi, state)
        elif self.runtime.is_down(state["sourceNode"]):
            return
        elif not state.get("startTimestamp"):
            if self.runtime.alive(self._uid_of(vmi, "targetPod")) and self._elapsed(key, f"begin {uid}", SECONDS_TO_BEGIN):
                made = writes.with_state(vmi, startTimestamp=self._now(vmi), mode=Mode.PRE_COPY.value)
                await self._write(made)
                await self._begin(key, made)
                await self.events.event(vmi, "Normal", "Migrating", "VirtualMachineInstance is migrating.")
        elif (transfer := self.transfers.get(key)) is None:
            await self._begin(key, vmi)
        elif transfer.outcome is not None:
            await self._end(key, vmi, transfer, transfer.outcome)
        else:
            await self._under_way(key, vmi, state, transfer)

    async def _prepare(self, key: Key, vmi: Object, state: Object) -> None:
        target = self._uid_of(vmi, "targetPod")
        if not self.runtime.alive(target):
            return
        if not self._elapsed(key, f"prepare {state['migrationUid']}", SECONDS_TO_PREPARE):
            return
        wanted = loads.trouble(loads.said_of(vmi, await self._machine(vmi)))
        if wanted.at != "Running" and self._fails(key, wanted):
            self._exit(target, 1)
            return
        node = self._nodes.get(state["targetNode"])
        address, ports = self.migration_address(state["targetNode"]) or writes.address(node), writes.ports(vmi)
        await self._write(writes.with_state(vmi, targetNodeAddress=address, targetDirectMigrationNodePorts=ports))
        self._waiting.over(target)
        await self.events.event(vmi, "Normal", "PreparingTarget", "VirtualMachineInstance Migration Target Prepared.")
        text = f"Migration Target is listening at {address}, on ports: {','.join(ports)}"
        await self.events.event(vmi, "Normal", "PreparingTarget", text)

    async def _machine(self, vmi: Object) -> Object | None:
        """The machine of the instance, for what its annotations say of its load."""
        owner = pods.controller_of(vmi)
        if self.observer is None or owner is None or owner["kind"] != "VirtualMachine":
            return None
        try:
            return await self.observer.get(VIRTUAL_MACHINES, owner["name"], vmi["metadata"]["namespace"])
        except StatusError:
            return None

    def _fails(self, key: Key, wanted: loads.Trouble) -> bool:
        """Whether this migration is one of those that are to fail."""
        if wanted.failures < 0:
            return True
        if self._failed.get(key, 0) >= wanted.failures:
            return False
        self._failed[key] = self._failed.get(key, 0) + 1
        return True

    async def _begin(self, key: Key, vmi: Object) -> None:
        state = writes.state(vmi)
        said = loads.said_of(vmi, await self._machine(vmi))
        wanted = loads.trouble(said)
        fails = wanted.at == "Running" and self._fails(key, wanted)
        now = self.clock.monotonic()
        self.transfers.begin(
            key, state["migrationUid"], (state["sourceNode"], state["targetNode"]), loads.copy(vmi, said, now), limits(vmi), now,
            wanted.hangs, SECONDS_TO_FAIL if fails else math.inf,
        )
        if conditions.is_true(vmi, "Paused"):
            self.transfers.pause(key, True, now)
        self._arm()

    async def _under_way(self, key: Key, vmi: Object, state: Object, transfer: Transfer) -> None:
        if state.get("abortRequested") and not state.get("abortStatus") and transfer.mode is not Mode.POST_COPY:
            await self._write(writes.with_state(vmi, abortStatus="Aborting"))
            await self.events.event(vmi, "Normal", "Migrating", "VirtualMachineInstance is aborting migration.")
            if self.transfers.end(key, Outcome(ABORTED, aborted=True), self.clock.monotonic()):
                self._arm()
                self._elapsed(key, f"abort {transfer.uid}", 0.1)
            return
        made = vmi
        if state.get("mode") != transfer.mode.value:
            made = writes.with_state(made, mode=transfer.mode.value)
            if transfer.mode is Mode.PAUSED:
                made = writes.paused(made, self._now(vmi), "PausedByMigrationMonitor", "VMI was paused by the migration monitor")
        if made is not vmi:
            await self._write(made)

    async def _end(self, key: Key, vmi: Object, transfer: Transfer, outcome: Outcome) -> None:
        state, now = writes.state(vmi), self._now(vmi)
        found = conditions.condition(vmi, "Paused")
        if found is not None and found.get("reason") == "PausedByMigrationMonitor":
            vmi = writes.unpaused(vmi)
        if outcome.reason:
            if state.get("abortStatus") == "Aborting" and not self._elapsed(key, f"abort {transfer.uid}", 0.1):
                return
            target = self._uid_of(vmi, "targetPod")
            made = writes.failed(vmi, outcome.reason, outcome.aborted, now, transfer.mode.value)
            # In post-copy part of the guest's memory is on either side: neither can go on.
            await self._write(writes.ended(made, "Failed", now) if transfer.mode is Mode.POST_COPY else made)
            self._hopeless[key] = self._hopeless.get(key, 0) + 1 if "not completed after" in outcome.reason else 0
            self._done(key)
            text = f"VirtualMachineInstance migration uid {transfer.uid} failed. reason:{outcome.reason}"
            await self.events.event(vmi, "Warning", "Migrated", text)
            if self.runtime.alive(target):
                self._exit(target)
        elif not state.get("targetNodeDomainReadyTimestamp"):
            ready = self.runtime.timestamp(self.clock, state["targetNode"])
            await self._write(writes.with_state(vmi, targetNodeDomainDetected=True, targetNodeDomainReadyTimestamp=ready))
        elif self._elapsed(key, f"over {transfer.uid}", SECONDS_TO_HAND_OVER):
            source = self._uid_of(vmi, "sourcePod")
            pod = self._pods.get(state.get("targetPod") or "", vmi["metadata"]["namespace"])
            address = ((pod or {}).get("status") or {}).get("podIP", "")
            made = writes.handed_over(vmi, address, now, transfer.mode.value)
            if pod is not None and self.runtime.exit_code(pod["metadata"]["uid"]) is not None:
                # It ended there before anybody knew that it was there.
                made = writes.ended(made, "Failed", now)
            await self._write(made)
            self._hopeless.pop(key, None)
            self._done(key)
            await self.events.event(vmi, "Normal", "Migrated", f"The VirtualMachineInstance migrated to node {state['targetNode']}.")
            self._exit(source)

    def _done(self, key: Key) -> None:
        self.transfers.drop(key, self.clock.monotonic())
        self._due.pop(key, None)
        self._arm()

    # Copies under way

    def _capacity(self, link: str) -> float:
        dummy, dummy_slash, node = link.partition("/")
        if not node or self.runtime.is_down(node):
            return 0.0
        return loads.link_speed(self._nodes.get(node))

    def _arm(self) -> None:
        """Be woken when a copy has something to tell, and not before."""
        hopeless = {key for key, times in self._hopeless.items() if times >= TIMES_IN_VAIN}
        self._alarm.set(*self.transfers.next_event(self.clock.monotonic(), hopeless))


def _volumes(vmi: Object) -> t.Any:
    return (vmi.get("status") or {}).get("volumeStatus")


def _key_of(pod: Object) -> Key:
    """The instance that a launcher belongs to."""
    metadata = pod["metadata"]
    return metadata["namespace"], (metadata.get("annotations") or {}).get("kubevirt.io/domain") or ""
