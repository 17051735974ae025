# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests that move: the target gets ready, the source copies, and the one hands over to the other.

Source: KubeVirt pkg/virt-handler/{migration-source,migration-target}.go, pkg/virt-launcher/virtwrap, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import math
import typing as t

from ...interface import Cluster, Object
from ...kubernetes.runtime import Runtime
from ..virt_controller import conditions
from . import instance_writes as writes
from . import loads
from .alarm import Alarm
from .guests import Guests
from .monitor import Mode, limits
from .transfers import ABORTED, BROKEN, Key, Outcome, Transfer, Transfers

SECONDS_TO_PREPARE = 0.3
SECONDS_TO_BEGIN = 0.5
SECONDS_TO_HAND_OVER = 0.2
SECONDS_TO_FAIL = 1.0
"""Engine seconds: a migration's target getting ready, its source beginning, the source hearing that it is over, and how long a migration
that is to fail copies before it does."""
TIMES_IN_VAIN = 2
"""A guest that was given up so many times for taking too long no longer drives a jumping clock: it would be tried for ever."""
TICK = ("", "")
"""The key for the copies under way."""


class MovingGuests(Guests):
    """The virt-handlers of all nodes as far as migrations go."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.transfers = Transfers(self._capacity)
        self._failed: dict[Key, int] = {}
        self._hopeless: dict[Key, int] = {}
        self.migration_address: t.Callable[[str], str] = lambda _node: ""
        """Where the virt-handler of a node listens on the network of migrations, "" without one."""

    def start(self, cluster: Cluster, clock: t.Any, workers: int = 1, informers: t.Any = None) -> None:
        self._alarm = Alarm(clock, lambda: self.queue.add(TICK))
        super().start(cluster, clock, workers, informers)

    async def stop(self) -> None:
        self._alarm.stop()
        await super().stop()

    def proxies_end(self, node: str) -> None:
        """The virt-handler of the node ends, and with it the connections of the migrations that leave it or come to it."""
        now = self.clock.monotonic()
        for key in self.transfers.on(node):
            self.transfers.end(key, Outcome(BROKEN), now)
            self.queue.add(key)
        self._arm()

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
            source = self._pod_of(vmi)
            pod = self._pods.get(state.get("targetPod") or "", vmi["metadata"]["namespace"])
            address = ((pod or {}).get("status") or {}).get("podIP", "")
            made = writes.handed_over(vmi, address, now, transfer.mode.value)
            if pod is not None and self.runtime.exit_code(pod["metadata"]["uid"]) is not None:
                # It ended there before anybody knew that it was there.
                made = writes.ended(made, "Failed", now)
            await self._write(made)
            self._hopeless.pop(key, None)
            self._done(key)
            if source is not None:
                self._exit(source["metadata"]["uid"])
            await self.events.event(vmi, "Normal", "Migrated", f"The VirtualMachineInstance migrated to node {state['targetNode']}.")

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
