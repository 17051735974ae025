# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Cluster Version Operator: the platform is updated to a release that is on offer, operators first, then the nodes of the control plane.

The pools of workers go on by themselves. Virtualization is none of its business: that is OLM's.
Source: openshift/cluster-version-operator pkg/cvo/{status.go,sync_worker.go}, lib/validation/validation.go, pkg/clusterconditions.
"""
from __future__ import annotations

import typing as t

from ..controller import Controller, EventRecorder
from ..errors import StatusError
from ..interface import CONFIG_MAPS, Object, Ref
from .machine_config.names import MACHINE_CONFIGS, POOLS, ROLES, operating_system

CLUSTER_VERSIONS = Ref("config.openshift.io", "v1", "clusterversions")
NAMESPACE, ACCOUNT = "openshift-cluster-version", "default"
NAME = "version"
STEP, STEPS, MANIFESTS = 60.0, 10, 900
"""Engine seconds of a step, how many there are, and the number of manifests that they bring."""
ACKS, GATES = ("admin-acks", "openshift-config"), ("admin-gates", "openshift-config-managed")
OFFERED = {"4.18.0": ("4.18.13", "4.19.0"), "4.18.13": ("4.19.0",), "4.19.0": ("4.19.6",)}
"""What the update service offers to whom."""
_INVALID = "when image is empty the update must be a previous version or an available update"


def image(version: str) -> str:
    return f"registry.invalid/okd/release:{version}"


def release(version: str) -> Object:
    return {"version": version, "image": image(version)}


def offered(version: str) -> list[Object] | None:
    """status.availableUpdates; None when there are none."""
    return [release(one) for one in OFFERED.get(version, ())] or None


def minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def missing_acknowledgements(version: str, gates: t.Mapping[str, str], acks: t.Mapping[str, str]) -> list[str]:
    """What an administrator has to acknowledge before the next minor version, in words. Keys of gates begin with `ack-MINOR-`."""
    wanted = {key: text for key, text in gates.items() if key.startswith(f"ack-{minor(version)}-")}
    return [text for key, text in sorted(wanted.items()) if acks.get(key) != "true"]


def with_conditions(status: Object, now: str, **wanted: tuple[str, str, str]) -> Object:
    """The status with these conditions: status, reason and message by type. An empty status removes one."""
    held = {entry["type"]: entry for entry in status.get("conditions") or ()}
    for kind, (value, reason, message) in wanted.items():
        known = held.get(kind) or {}
        if not value:
            held.pop(kind, None)
            continue
        since = known["lastTransitionTime"] if known.get("status") == value else now
        held[kind] = {"type": kind, "status": value, "lastTransitionTime": since, "message": message} | ({"reason": reason} if reason else {})
    return {**status, "conditions": list(held.values())}


class ClusterVersions(Controller):
    """One key: the one ClusterVersion."""

    name = "cluster-version-operator"

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0
        self._next = 0.0

    def setup(self) -> None:
        self._events = EventRecorder(self.cluster, self.clock, self.name)
        self._versions = self.informer(CLUSTER_VERSIONS)
        self._pools = self.informer(POOLS)
        self._maps = self.informer(CONFIG_MAPS)
        self._versions.add_handler(lambda event, obj, before: self._wake(before is None or before.get("spec") != obj.get("spec")))
        self._pools.add_handler(lambda event, obj, before: self._wake(before is not None))
        self._maps.add_handler(lambda event, obj, before: self._wake(obj["metadata"]["name"] in (ACKS[0], GATES[0])))

    def _wake(self, relevant: bool) -> None:
        if relevant:
            self.queue.add(NAME)

    async def reconcile(self, key: str) -> float | None:
        version = self._versions.get(key)
        if version is None:
            return None
        status = version.get("status") or {}
        running = str((status.get("desired") or {}).get("version") or "")
        status = self._judged(status, running)
        history = status.get("history") or []
        if history and history[0].get("state") == "Partial":
            return await self._go_on(version, status, running)
        wanted = (version.get("spec") or {}).get("desiredUpdate") or {}
        if not wanted or wanted.get("version") in ("", None, running):
            await self._write(version, status)
            return None
        refusal = self._refusal(status, running, wanted)
        if refusal:
            await self._write(version, with_conditions(status, self.clock.timestamp(), **refusal))
            return None
        return await self._begin(version, status, str(wanted["version"]))

    def _data(self, where: tuple[str, str]) -> dict[str, str]:
        found = self._maps.get(*where)
        return (found or {}).get("data") or {}

    def _judged(self, status: Object, running: str) -> Object:
        missing = missing_acknowledgements(running, self._data(GATES), self._data(ACKS))
        upgradeable = ("False", "AdminAckRequired", " ".join(missing)) if missing else ("True", "", "")
        return with_conditions(status, self.clock.timestamp(), Upgradeable=upgradeable)

    def _refusal(self, status: Object, running: str, wanted: Object) -> dict[str, tuple[str, str, str]]:
        """Why the update is not begun, as conditions."""
        target = str(wanted.get("version") or "")
        known = {one["version"] for one in [*(status.get("availableUpdates") or ()), *(status.get("history") or ())]}
        if target not in known and not wanted.get("image"):
            text = f'The cluster version is invalid: spec.desiredUpdate.version: Invalid value: "{target}": {_INVALID}'
            return {"Invalid": ("True", "InvalidClusterVersion", text)}
        entry = next(one for one in status["conditions"] if one["type"] == "Upgradeable")
        if minor(target) != minor(running) and entry["status"] == "False" and not wanted.get("force"):
            text = (
                f'Preconditions failed for payload loaded version="{target}" image="{image(target)}": Precondition "ClusterVersionUpgradeable" failed '
                f'because of "{entry["reason"]}": {entry["message"]}'
            )
            return {"ReleaseAccepted": ("False", "PreconditionChecks", text), "Invalid": ("", "", "")}
        return {}

    async def _begin(self, version: Object, status: Object, target: str) -> float:
        now = self.clock.timestamp()
        entry = {"state": "Partial", "version": target, "image": image(target), "startedTime": now, "completionTime": None, "verified": True}
        status = {**status, "desired": release(target), "history": [entry, *(status.get("history") or ())]}
        status = with_conditions(
            status, now, Invalid=("", "", ""), ReleaseAccepted=("True", "PayloadLoaded", f'Payload loaded version="{target}" image="{image(target)}"'),
            Progressing=("True", "", f"Working towards {target}: 0 of {MANIFESTS} done (0% complete)"),
        )
        await self._write(version, status)
        self._steps, self._next = 0, self.clock.monotonic() + STEP
        return STEP

    async def _go_on(self, version: Object, status: Object, target: str) -> float | None:
        now = self.clock.monotonic()
        if now < self._next:
            return self._next - now
        if self._steps < STEPS:
            self._steps += 1
            self._next = now + STEP
            done = MANIFESTS * self._steps // STEPS
            text = f"Working towards {target}: {done} of {MANIFESTS} done ({100 * self._steps // STEPS}% complete)"
            if self._steps == STEPS:
                await self._new_operating_system(target)
                text += ", waiting on machine-config"
            await self._write(version, with_conditions(status, self.clock.timestamp(), Progressing=("True", "", text)))
            return STEP
        if not self._control_plane_done():
            return None
        stamp = self.clock.timestamp()
        history = [{**status["history"][0], "state": "Completed", "completionTime": stamp}, *status["history"][1:]]
        status = {**status, "history": history, "availableUpdates": offered(target)}
        await self._write(version, with_conditions(
            status, stamp, Available=("True", "", f"Done applying {target}"), Progressing=("False", "", f"Cluster version is {target}"),
        ))
        await self._events.event(version, "Normal", "UpdateComplete", f'cluster reached version="{target}"')
        return None

    async def _new_operating_system(self, target: str) -> None:
        for role in ROLES:
            wanted = operating_system(role, target)
            name = wanted["metadata"]["name"]
            try:
                await self.cluster.patch(MACHINE_CONFIGS, name, {"spec": wanted["spec"]})
            except StatusError as error:
                if error.code != 404:
                    raise
                await self.cluster.create(MACHINE_CONFIGS, wanted)

    def _control_plane_done(self) -> bool:
        """The machine-config operator waits for the pool of the control plane, and for no other."""
        pool = self._pools.get("master")
        if pool is None:
            return True
        status = pool.get("status") or {}
        wanted = ((pool.get("spec") or {}).get("configuration") or {}).get("name")
        updated = any(entry["type"] == "Updated" and entry["status"] == "True" for entry in status.get("conditions") or ())
        return updated and (status.get("configuration") or {}).get("name") == wanted

    async def _write(self, version: Object, status: Object) -> None:
        status = {**status, "observedGeneration": version["metadata"].get("generation", 1)}
        if status != version.get("status"):
            await self.cluster.update(CLUSTER_VERSIONS, {**version, "status": status}, "status")
