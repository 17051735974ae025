# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller of VirtualMachineInstances: gives each its virt-launcher pod, hands it over to virt-handler and sees it to its end.

Source: KubeVirt pkg/virt-controller/watch/vmi/{vmi,lifecycle}.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import typing as t

from ...controller import Informer, object_key
from ...errors import StatusError
from ...interface import PODS, Object
from . import instance_status, phases, pods
from .cluster_config import VirtControllerPart
from .instance_status import PVC_NOT_FOUND, Seen, SyncError
from .launcher import launcher_pod
from .launcher_volumes import claim_name
from .phases import CLAIMS, VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES

BY_CLAIM = "claim"
"""Index of instances, and of machines, by NAMESPACE/NAME of the claims that they use."""
_SYNCED_LABELS = (phases.NODE_NAME, phases.OUTDATED)
"""Labels of the instance that its pod follows."""
_PATCHED = (("status", "volumeStatus"), ("status", "conditions"), ("status", "activePods"), ("status", "phase"),
            ("status", "launcherContainerImageVersion"), ("metadata", "labels"))
"""Fields that virt-controller writes while virt-handler owns the instance."""


def claims_of(vmi: Object) -> list[str]:
    """Index function: NAMESPACE/NAME of the claims that the instance uses."""
    namespace = vmi["metadata"].get("namespace", "")
    return [f"{namespace}/{name}" for volume in vmi["spec"].get("volumes") or () if (name := claim_name(volume))]


class Instances(VirtControllerPart):
    """Reconciles VirtualMachineInstances."""

    name = "virt-controller vmi"

    def setup(self) -> None:
        self._instances = self.informer(VIRTUAL_MACHINE_INSTANCES)
        self._instances.add_index(BY_CLAIM, claims_of)
        self._instances.add_handler(self._instance_changed)
        self._machines = self.informer(VIRTUAL_MACHINES)
        self._pods = self.informer(PODS, pods.LAUNCHERS)
        self._pods.add_index(pods.BY_INSTANCE, pods.instance_uid)
        self._pods.add_handler(self._pod_changed)
        self._claims: Informer = self.informer(CLAIMS)
        self._claims.add_handler(self._claim_changed)
        self._creating: dict[str, str] = {}
        self.config.on_change(self._settings_changed)

    def _instance_changed(self, event: str, vmi: Object, before: Object | None) -> None:
        if event != "MODIFIED" or before is None or instance_status.heeded(before) != instance_status.heeded(vmi):
            self.queue.add(object_key(vmi))

    def _pod_changed(self, event: str, pod: Object, before: Object | None) -> None:
        owner = pods.controller_of(pod)
        if owner is None or owner["kind"] != "VirtualMachineInstance":
            return
        self._creating.pop(owner["uid"], None)
        key = pod["metadata"]["namespace"], owner["name"]
        if event != "MODIFIED" or before is None or not self._is_beside(key, owner["uid"], pod, before):
            self.queue.add(key)

    def _is_beside(self, key: tuple[str, str], uid: str, pod: Object, before: Object) -> bool:
        """Whether the pod is one that a running guest is not in, and is still where it was: nothing more is asked of it."""
        vmi = self._instances.get(key[1], key[0])
        if vmi is None or phases.phase(vmi) != "Running" or vmi["metadata"].get("deletionTimestamp") or vmi["metadata"]["uid"] != uid:
            return False
        home = pods.current_pod(vmi, self._pods.by_index(pods.BY_INSTANCE, uid))
        return home is not None and home["metadata"]["uid"] != pod["metadata"]["uid"] and pods.node_of(before) == pods.node_of(pod)

    def _claim_changed(self, _event: str, claim: Object, _before: Object | None) -> None:
        namespace, name = object_key(claim)
        for vmi in self._instances.by_index(BY_CLAIM, f"{namespace}/{name}"):
            self.queue.add(object_key(vmi))

    def _settings_changed(self) -> None:
        """Another virt-controller has come up: it looks at everything once."""
        for vmi in self._instances.list():
            self.queue.add(object_key(vmi))

    def _has_owner(self, vmi: Object) -> bool:
        owner = pods.controller_of(vmi)
        if owner is None or owner["kind"] != "VirtualMachine":
            return False
        machine = self._machines.get(owner["name"], vmi["metadata"]["namespace"])
        return machine is not None and machine["metadata"]["uid"] == owner["uid"]

    def _seen(self, vmi: Object, error: SyncError | None = None) -> Seen:
        namespace = vmi["metadata"]["namespace"]
        return Seen(
            self._pods.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"]), lambda name: self._claims.get(name, namespace),
            self.config.launcher_image, self._has_owner(vmi), self.clock.timestamp(), error,
        )

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        namespace, name = key
        vmi = self._instances.get(name, namespace)
        if vmi is None:
            return None
        annotations = vmi["metadata"].get("annotations") or {}
        if not phases.OBSERVED_VERSIONS.items() <= annotations.items():
            metadata = {**vmi["metadata"], "annotations": {**annotations, **phases.OBSERVED_VERSIONS}}
            await self.cluster.update(VIRTUAL_MACHINE_INSTANCES, {**vmi, "metadata": metadata})
            return None
        failure: StatusError | None = None
        try:
            error = await self._sync(vmi)
        except StatusError as refused:
            failure, error = refused, SyncError("FailedCreate", f"failed to create virtual machine pod: {refused.message}")
        seen = self._seen(vmi, error)
        made = instance_status.next_instance(vmi, seen)
        pod = pods.current_pod(vmi, seen.pods)
        if pod is not None:
            await self._follow(made, pod)
        await self._write(vmi, made)
        if failure is not None:
            raise failure
        return None

    async def _sync(self, vmi: Object) -> SyncError | None:
        """Create or delete the instance's pod. Raises StatusError when a pod can't be created or deleted."""
        controlled = self._pods.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"])
        if vmi["metadata"].get("deletionTimestamp"):
            await self._delete_pods(vmi, controlled)
            return None
        if phases.phase(vmi) not in phases.UNPROCESSED or controlled or vmi["metadata"]["uid"] in self._creating:
            return None
        missing, waiting = self._volumes_missing(vmi)
        if missing:
            message = f"PVC {vmi['metadata']['namespace']}/{missing} does not exist, waiting for it to appear"
            await self.events.event(vmi, "Normal", PVC_NOT_FOUND, message)
            return SyncError(PVC_NOT_FOUND, message)
        if waiting:
            return None
        await self._create_pod(vmi)
        return None

    def _volumes_missing(self, vmi: Object) -> tuple[str, bool]:
        """The first claim that does not exist, and whether one is still being filled."""
        namespace, waiting = vmi["metadata"]["namespace"], False
        for volume in vmi["spec"].get("volumes") or ():
            name = claim_name(volume)
            if not name:
                continue
            claim = self._claims.get(name, namespace)
            if claim is None:
                return name, False
            waiting = waiting or ("dataVolume" in volume and (claim.get("status") or {}).get("phase") != "Bound")
        return "", waiting

    async def _create_pod(self, vmi: Object) -> None:
        namespace, uid = vmi["metadata"]["namespace"], vmi["metadata"]["uid"]
        claims = {name: claim for volume in vmi["spec"].get("volumes") or ()
                  if (name := claim_name(volume)) and (claim := self._claims.get(name, namespace)) is not None}
        pod = launcher_pod(vmi, self.config.version, self.config.configuration, claims=claims)
        # Until the cache has the pod it would be created again.
        self._creating[uid] = vmi["metadata"]["name"]
        try:
            made = await self.cluster.create(PODS, pod, namespace)
        except StatusError as error:
            self._creating.pop(uid, None)
            await self.events.event(vmi, "Warning", "FailedCreate", f"Error creating pod: {error.message}")
            raise
        await self.events.event(vmi, "Normal", "SuccessfulCreate", f"Created virtual machine pod {made['metadata']['name']}")

    async def _delete_pods(self, vmi: Object, controlled: t.Iterable[Object]) -> None:
        for pod in controlled:
            metadata = pod["metadata"]
            if metadata.get("deletionTimestamp") and not pods.is_final(pod):
                continue
            try:
                await self.cluster.delete(PODS, metadata["name"], metadata["namespace"], metadata["uid"])
            except StatusError as error:
                if error.code in (404, 409):
                    continue
                await self.events.event(vmi, "Warning", "FailedDelete", f"Failed to delete virtual machine pod {metadata['name']}")
                raise
            await self.events.event(vmi, "Normal", "SuccessfulDelete", f"Deleted virtual machine pod {metadata['name']}")

    async def _follow(self, vmi: Object, pod: Object) -> None:
        """Have the pod's readiness gate and labels say what the instance says."""
        metadata = pod["metadata"]
        wanted = instance_status.unpaused_condition(vmi, pod, self.clock.timestamp())
        if wanted is not None:
            await self._patch_pod(pod, {"status": {"conditions": [wanted]}}, "status")
        of_instance, of_pod = vmi["metadata"].get("labels") or {}, metadata.get("labels") or {}
        changed = {label: of_instance.get(label) for label in _SYNCED_LABELS if of_instance.get(label) != of_pod.get(label)}
        if changed:
            await self._patch_pod(pod, {"metadata": {"labels": changed}}, "")

    async def _patch_pod(self, pod: Object, patch: Object, subresource: str) -> None:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        try:
            await self.cluster.patch(PODS, name, patch, namespace, subresource, "application/strategic-merge-patch+json")
        except StatusError as error:
            if error.code != 404:
                raise

    async def _write(self, vmi: Object, made: Object) -> None:
        """Write what has changed: the whole object while it is ours, else a patch that holds only as long as nobody else has written."""
        name, namespace = vmi["metadata"]["name"], vmi["metadata"]["namespace"]
        try:
            if phases.phase(vmi) in ("Running", "Scheduled"):
                if patch := guarded_patch(vmi, made):
                    await self.cluster.patch(VIRTUAL_MACHINE_INSTANCES, name, patch, namespace, content_type="application/json-patch+json")
            elif made["status"] != (vmi.get("status") or {}) or _metadata(made) != _metadata(vmi):
                await self.cluster.update(VIRTUAL_MACHINE_INSTANCES, made)
        except StatusError as error:
            if error.code != 404:
                raise


def _metadata(vmi: Object) -> tuple[t.Any, t.Any]:
    return vmi["metadata"].get("labels") or {}, vmi["metadata"].get("finalizers") or []


def guarded_patch(before: Object, after: Object) -> list[Object]:
    """A JSON patch of the fields that virt-controller writes, which fails when one of them is no longer what it was."""
    patch: list[Object] = []
    for part, field in _PATCHED:
        old, new = (before.get(part) or {}).get(field), (after.get(part) or {}).get(field)
        if old == new:
            continue
        path = f"/{part}/{field}"
        if old is None:
            patch.append({"op": "add", "path": path, "value": new})
        elif new is None:
            patch += [{"op": "test", "path": path, "value": old}, {"op": "remove", "path": path}]
        else:
            patch += [{"op": "test", "path": path, "value": old}, {"op": "replace", "path": path, "value": new}]
    return patch
