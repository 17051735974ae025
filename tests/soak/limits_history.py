# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The limits of parallel migrations, checked from what watches have shown: pure.

Events of several watches are put into the one order that the API server's versions give them, and replayed.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

Object = dict[str, t.Any]
_FINAL = ("Succeeded", "Failed")
JOB = "kubevirt.io/migrationJobUID"
HEARD = 1.0
"""Engine seconds within which virt-controller has heard of other limits."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """One event of a watch. `engine` and `real` are seconds of the engine's clock and of this machine's when it came."""

    version: int
    engine: float
    real: float
    plural: str
    kind: str
    obj: Object


@dataclasses.dataclass(frozen=True)
class Limits:
    """Migrations at a time, in the cluster and out of a node."""

    cluster: int = 5
    node: int = 2


def limits_of(kubevirt: Object) -> Limits:
    """What the KubeVirt object asks for."""
    asked = kubevirt["spec"].get("configuration", {}).get("migrations", {})
    return Limits(asked.get("parallelMigrationsPerCluster", 5), asked.get("parallelOutboundMigrationsPerNode", 2))


class Replay:
    """The cluster as it was after each event, and what was wrong with it."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.allowed: list[tuple[float, Limits]] = []
        self.instances: dict[tuple[str, str], Object] = {}
        self.migrations: dict[str, Object] = {}
        self.targets: dict[str, set[str]] = {}
        self.pods: dict[str, Object] = {}
        self.active: dict[str, str] = {}
        self.outbound: collections.Counter[str] = collections.Counter()
        self.sources: dict[str, str] = {}
        self.leaving: dict[str, str] = {}
        self.leaving_from: collections.Counter[str] = collections.Counter()
        self.waiting: dict[str, str] = {}
        self.waiting_on: collections.Counter[str] = collections.Counter()
        self._running_pods: collections.Counter[str] = collections.Counter()
        self._of_instance: dict[tuple[str, str], set[str]] = {}
        self.problems: list[str] = []
        self.most_active = self.most_outbound = self.succeeded = self.failed = 0
        self.used = self.usable = self.longest_idle = 0.0
        self._idle_since: float | None = None
        self._last = 0.0

    def feed(self, seen: Seen) -> None:
        """Take the next event, in the order of versions."""
        # Real time passes while this machine computes; what waits for a slot waits for the clock's jumps.
        jumped = seen.engine - seen.real
        self._account(jumped)
        getattr(self, f"_{seen.plural}")(seen)
        idle = self._idle()
        if not idle:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = jumped

    def _account(self, jumped: float) -> None:
        if self._idle_since is not None:
            self.longest_idle = max(self.longest_idle, jumped - self._idle_since)
        if self.waiting:
            passed = jumped - self._last
            room = sum(min(self.waiting_on[node], max(0, self.limits.node - self.outbound[node])) for node in self.waiting_on)
            self.used += passed * len(self.active)
            self.usable += passed * min(self.limits.cluster, len(self.active) + room)
        self._last = jumped

    def _idle(self) -> bool:
        """Whether a slot is free that a waiting migration could have."""
        if len(self.active) >= self.limits.cluster:
            return False
        return any(number and self.outbound[node] < self.limits.node for node, number in self.waiting_on.items())

    def _kubevirts(self, seen: Seen) -> None:
        self.limits = limits_of(seen.obj)
        self.allowed.append((seen.engine, self.limits))

    def _most_allowed(self, when: float) -> Limits:
        """The widest limits that virt-controller may have gone by at the moment."""
        known = [limits for since, limits in self.allowed if since > when - HEARD]
        before = [limits for since, limits in self.allowed if since <= when - HEARD]
        known += before[-1:]
        return Limits(max(one.cluster for one in known), max(one.node for one in known)) if known else self.limits

    def _virtualmachineinstances(self, seen: Seen) -> None:
        key = (seen.obj["metadata"]["namespace"], seen.obj["metadata"]["name"])
        if seen.kind == "DELETED":
            self.instances.pop(key, None)
        else:
            self.instances[key] = seen.obj
        for uid in self._of_instance.get(key, ()):
            self._place(uid)

    def _pods(self, seen: Seen) -> None:
        metadata = seen.obj["metadata"]
        job, owner = metadata["labels"].get(JOB), metadata["labels"].get("kubevirt.io/created-by", "")
        before = self.pods.pop(metadata["uid"], None)
        self._running_pods[owner] -= before is not None and before["status"].get("phase") not in _FINAL
        if seen.kind != "DELETED":
            self.pods[metadata["uid"]] = seen.obj
            self._running_pods[owner] += seen.obj["status"].get("phase") not in _FINAL
        if job:
            known = self.targets.setdefault(job, set())
            (known.discard if seen.kind == "DELETED" else known.add)(metadata["uid"])
            if before is None and seen.kind == "ADDED":
                self._judge(job, seen)
        for uid in self._of_instance.get((metadata["namespace"], (metadata.get("ownerReferences") or [{"name": ""}])[0]["name"]), ()):
            self._place(uid)

    def _judge(self, job: str, seen: Seen) -> None:
        """A target pod is made only while there is room for one more."""
        migration = self.migrations.get(job)
        node = self._node(migration) if migration is not None else ""
        allowed, active, outbound = self._most_allowed(seen.engine), len(self.active), self.outbound[node]
        if job in self.active:
            self.problems.append(f"{seen.obj['metadata']['name']} is a second target of one migration")
        elif active >= allowed.cluster:
            self.problems.append(f"{active} migrations were active, {allowed.cluster} allowed, when {seen.obj['metadata']['name']} was made")
        elif outbound >= allowed.node:
            self.problems.append(f"{outbound} migrations left {node}, {allowed.node} allowed, when {seen.obj['metadata']['name']} was made")

    def _virtualmachineinstancemigrations(self, seen: Seen) -> None:
        uid = seen.obj["metadata"]["uid"]
        key = (seen.obj["metadata"]["namespace"], seen.obj["spec"]["vmiName"])
        phase, before = _phase(seen.obj), _phase(self.migrations.get(uid, {}))
        if seen.kind == "DELETED":
            self.migrations.pop(uid, None)
            self._of_instance.get(key, set()).discard(uid)
        else:
            self.migrations[uid] = seen.obj
            self._of_instance.setdefault(key, set()).add(uid)
        if phase != before:
            self.succeeded += phase == "Succeeded"
            self.failed += phase == "Failed"
        self._place(uid)

    def _place(self, uid: str) -> None:
        """Whether the migration is active or waits, and on which node its instance is."""
        migration = self.migrations.get(uid)
        phase = _phase(migration or {})
        node = self._node(migration) if migration is not None else ""
        active = migration is not None and (phase not in ("", "Pending", *_FINAL) or (phase == "Pending" and bool(self.targets.get(uid))))
        waits = phase == "Pending" and not active and migration is not None and self._may_start(migration)
        _set(self.active, self.outbound, uid, node if active else None)
        _set(self.waiting, self.waiting_on, uid, node if waits else None)
        # virt-controller counts by where the instance is, which changes with the hand-over, a moment before the migration is over.
        source = self.sources.setdefault(uid, node) if active else node
        _set(self.leaving, self.leaving_from, uid, node if active and node == source else None)
        self.most_active = max(self.most_active, len(self.active))
        self.most_outbound = max(self.most_outbound, self.leaving_from[node])

    def _may_start(self, migration: Object) -> bool:
        vmi = self.instances.get((migration["metadata"]["namespace"], migration["spec"]["vmiName"]))
        return vmi is not None and vmi["status"].get("phase") == "Running" and self._running_pods[vmi["metadata"]["uid"]] == 1

    def _node(self, migration: Object) -> str:
        vmi = self.instances.get((migration["metadata"]["namespace"], migration["spec"]["vmiName"]))
        return str((vmi or {}).get("status", {}).get("nodeName") or "")


def _phase(migration: Object) -> str:
    return str((migration.get("status") or {}).get("phase") or "")


def _set(known: dict[str, str], count: collections.Counter[str], uid: str, node: str | None) -> None:
    before = known.pop(uid, None)
    if before is not None:
        count[before] -= 1
    if node is not None:
        known[uid] = node
        count[node] += 1
