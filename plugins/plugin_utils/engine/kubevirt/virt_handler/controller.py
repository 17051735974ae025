# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-handler on all nodes at once, and the virt-launchers that it speaks to: what there is to do, and guests that start, stop and stand still.

Source: KubeVirt pkg/virt-handler/vm.go, pkg/virt-launcher/virtwrap, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import typing as t

from ...controller import object_key
from ...interface import Object
from ...kubernetes.runtime import Runtime
from ..virt_controller import conditions, phases, pods
from . import instance_writes as writes
from .launchers import has_guest, is_left
from .migratable import migratable
from .moving import TICK, MovingGuests
from .transfers import BROKEN, Key, Outcome

SECONDS_TO_BOOT = 1.0
SECONDS_TO_SHUT_DOWN = 2.0
"""Engine seconds: a guest's start and its shutdown."""
_BEGUN = ("", "begun")
_LAUNCHER = ("kubevirt.io", "virt-launcher")


class VirtHandler(MovingGuests):
    """Keys are (namespace, name) of instances, TICK for the copies under way, _BEGUN for launchers that have come up, and ("", uid) for one
    that has waited for its guest long enough.
    """

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self._begun: list[Object] = []
        self._terminating: dict[Key, set[str]] = {}
        self._lost: dict[Key, set[str]] = {}
        self._pausing: dict[Key, bool] = {}

    def setup(self) -> None:
        super().setup()
        self.instances.add_handler(self._instance)
        self._pods.add_handler(self._pod)
        self.runtime.on_terminate(_LAUNCHER, self._terminate)
        self.runtime.on_start(_LAUNCHER, self._started)
        self.runtime.on_exit(self._exited)
        self.runtime.on_node(self._powered)

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

    def _pod(self, event: str, pod: Object, before: Object | None) -> None:
        if event == "DELETED":
            self._waiting.over(pod["metadata"]["uid"])
        elif pods.is_final(pod) and (before is None or not pods.is_final(before)):
            # It may have ended before this engine came up, or knew of the pod: then nobody has said yet what that means for its guest.
            vmi = self.instances.get(_key_of(pod)[1], _key_of(pod)[0])
            if vmi is None or self._is_home(vmi, pod["metadata"]["uid"]):
                self._lose(pod)

    def _lose(self, pod: Object) -> None:
        key = _key_of(pod)
        self._lost.setdefault(key, set()).add(pod["metadata"]["uid"])
        self.queue.add(key)

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
        self._lose(pod)

    def _powered(self, node: str, up: bool) -> None:
        now = self.clock.monotonic()
        if not up:
            self.transfers.cut_off(node, now)
        self.transfers.links_changed(now)
        self.queue.add(TICK)

    async def reconcile(self, key: Key) -> float | None:
        if key == TICK:
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

    def _look_at_launchers(self, key: Key) -> None:
        """Those that have come up, or one that has waited for its guest long enough."""
        begun = self._begun if key == _BEGUN else []
        self._begun = [] if begun else self._begun
        for pod in begun:
            vmi = self.instances.get(_key_of(pod)[1], _key_of(pod)[0])
            if vmi is not None and is_left(vmi, pod, self._pod_of(vmi)):
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

    # Guests that start and end

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
                crashed = self._crashed(vmi, uid)
                vmi = await self._write(writes.ended(vmi, "Failed" if crashed else "Succeeded", self._now(vmi)))
                how = ("Warning", "crashed") if crashed else ("Normal", "was shut down")
                await self.events.event(vmi, how[0], "Stopped", f"The VirtualMachineInstance {how[1]}.")
            elif vmi is not None and uid == self._uid_of(vmi, "targetPod"):
                self.transfers.end(key, Outcome(BROKEN), self.clock.monotonic())
            lost.discard(uid)
        if not lost:
            self._lost.pop(key, None)

    def _crashed(self, vmi: Object, uid: str) -> bool:
        """Whether the guest's launcher ended otherwise than well; of one that an earlier engine ran, its pod says so."""
        code, pod = self.runtime.exit_code(uid), self._pod_of(vmi)
        return code != 0 if code is not None or pod is None else (pod.get("status") or {}).get("phase") == "Failed"

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
            self._end_left(vmi)
        live, storage, method = migratable(vmi, self._nodes.get(vmi["status"].get("nodeName", "")))
        made = writes.with_status(writes.with_conditions(vmi, live, storage), migrationMethod=method)
        if made["status"] != vmi["status"]:
            await self._write(made)
            await self._say_not_migratable(vmi, live)

    def _end_left(self, vmi: Object) -> None:
        """A hand-over may have been written, and its answer lost: the launcher that was left has yet to end then."""
        home = self._pod_of(vmi)
        for pod in self._pods.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"]):
            if self.runtime.alive(pod["metadata"]["uid"]) and is_left(vmi, pod, home):
                self._exit(pod["metadata"]["uid"])

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

def _volumes(vmi: Object) -> t.Any:
    return (vmi.get("status") or {}).get("volumeStatus")


def _key_of(pod: Object) -> Key:
    """The instance that a launcher belongs to."""
    metadata = pod["metadata"]
    return metadata["namespace"], (metadata.get("annotations") or {}).get("kubevirt.io/domain") or ""
