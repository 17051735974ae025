# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller of VirtualMachines: starts, stops and restarts their instances by run strategy and request, and says how they are.

Source: KubeVirt pkg/virt-controller/watch/vm/vm.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import typing as t

from ...controller import OwnWrites, object_key
from ...errors import StatusError
from ...interface import Object, Ref
from . import machine_status, machine_template, phases, pods
from .cluster_config import VirtControllerPart
from .instance_status import SyncError
from .instances import BY_CLAIM
from .launcher import owner_reference
from .launcher_volumes import claim_name
from .machine_status import Around, run_strategy, start_requested, stop_requested
from .machine_template import CONTROLLER_REVISIONS
from .phases import CLAIMS, CONTROLLER_FINALIZER, GENERATION, VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES

DATA_VOLUMES = Ref("cdi.kubevirt.io", "v1beta1", "datavolumes")
_BY_OWNER = "owner"
_HOPELESS = 10
"""Failures in a row after which nothing new is to be expected of a machine."""
_LIVE_UPDATED = ("nodeSelector", "affinity", "tolerations")
Key = tuple[str, str]


def _owner_uid(obj: Object) -> list[str]:
    owner = pods.controller_of(obj)
    return [owner["uid"]] if owner is not None else []


def _claims_of(vm: Object) -> list[str]:
    namespace = vm["metadata"]["namespace"]
    volumes = (vm["spec"].get("template") or {}).get("spec", {}).get("volumes") or ()
    return [f"{namespace}/{name}" for volume in volumes if (name := claim_name(volume))]


class VirtualMachines(VirtControllerPart):
    """Reconciles VirtualMachines."""

    name = "virt-controller vm"

    def setup(self) -> None:
        self._machines = self.informer(VIRTUAL_MACHINES)
        self._machines.add_index(BY_CLAIM, _claims_of)
        self._machines.add_handler(self._machine_changed)
        self._instances = self.informer(VIRTUAL_MACHINE_INSTANCES)
        self._instances.add_handler(self._instance_changed)
        self._claims = self.informer(CLAIMS)
        self._claims.add_handler(self._claim_changed)
        self._revisions = self.informer(CONTROLLER_REVISIONS)
        self._revisions.add_index(_BY_OWNER, _owner_uid)
        self._starting: set[Key] = set()
        self._stopping: dict[Key, str] = {}
        self._written = OwnWrites()

    def _machine_changed(self, event: str, vm: Object, before: Object | None) -> None:
        if not self._written.heard(event, vm, before):
            self.queue.add(object_key(vm))

    def _instance_changed(self, event: str, vmi: Object, before: Object | None) -> None:
        key = object_key(vmi)
        awaited = key in self._starting or key in self._stopping
        self._starting.discard(key)
        if event == "DELETED" or vmi["metadata"].get("deletionTimestamp"):
            self._stopping.pop(key, None)
        if awaited or event != "MODIFIED" or before is None or machine_status.heeded(before) != machine_status.heeded(vmi):
            self.queue.add(key)

    def _claim_changed(self, _event: str, claim: Object, _before: Object | None) -> None:
        namespace, name = object_key(claim)
        for vm in self._machines.by_index(BY_CLAIM, f"{namespace}/{name}"):
            self.queue.add(object_key(vm))

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        self._written.forget(key)
        vm = self._machines.get(name, namespace)
        if vm is None:
            self._starting.discard(key)
            self._stopping.pop(key, None)
            return None
        annotations = vm["metadata"].get("annotations") or {}
        if not phases.OBSERVED_VERSIONS.items() <= annotations.items():
            metadata = {**vm["metadata"], "annotations": {**annotations, **phases.OBSERVED_VERSIONS}}
            await self.cluster.update(VIRTUAL_MACHINES, {**vm, "metadata": metadata})
            return None
        vmi = await self._own_instance(vm)
        error, failure, again = None, None, None
        try:
            vm, again = await self._sync(key, vm, vmi)
        except StatusError as refused:
            failure = refused
            error = SyncError("FailedCreate", f"Failure while starting VMI: {refused.message}")
        await self._write_status(key, vm, vmi, error)
        if failure is not None:
            raise failure
        return again

    async def _own_instance(self, vm: Object) -> Object | None:
        """The machine's instance; one of the same name that belongs to nobody is taken on."""
        namespace, name = vm["metadata"]["namespace"], vm["metadata"]["name"]
        vmi = self._instances.get(name, namespace)
        if vmi is None:
            return None
        owner = pods.controller_of(vmi)
        if owner is not None:
            return vmi if owner["uid"] == vm["metadata"]["uid"] else None
        if vmi["metadata"].get("deletionTimestamp") or vm["metadata"].get("deletionTimestamp"):
            return None
        references = [*(vmi["metadata"].get("ownerReferences") or ()), owner_reference(vm)]
        patch = {"metadata": {"ownerReferences": references, "uid": vmi["metadata"]["uid"]}}
        return await self.cluster.patch(VIRTUAL_MACHINE_INSTANCES, name, patch, namespace)

    async def _sync(self, key: Key, vm: Object, vmi: Object | None) -> tuple[Object, float | None]:
        """Bring the instance to what the machine asks for; returns the machine as written, and after how many seconds to look again."""
        if key in self._starting or key in self._stopping:
            return vm, None
        if vm["metadata"].get("deletionTimestamp"):
            finalizers = vm["metadata"].get("finalizers") or ()
            if vmi is None or "orphan" in finalizers:
                await self._finalizers(vm, [one for one in finalizers if one != CONTROLLER_FINALIZER])
            else:
                await self._stop(key, vm, vmi)
            return vm, None
        if CONTROLLER_FINALIZER not in (vm["metadata"].get("finalizers") or ()):
            vm = await self._finalizers(vm, [*(vm["metadata"].get("finalizers") or ()), CONTROLLER_FINALIZER])
        if vmi is not None:
            await self._bump_generation(vm, vmi)
        elif not await self._data_volumes(vm) and run_strategy(vm) != "Halted":
            return vm, None
        act = {
            "Always": self._always, "RerunOnFailure": self._rerun_on_failure, "Manual": self._manual, "Halted": self._halted, "Once": self._once,
        }.get(run_strategy(vm))
        return vm, await act(key, vm, vmi) if act is not None else None

    async def _data_volumes(self, vm: Object) -> bool:
        """Ask for the DataVolumes of the machine's templates that nobody has made yet; returns whether each has its claim."""
        ready, namespace = True, vm["metadata"]["namespace"]
        for template in vm["spec"].get("dataVolumeTemplates") or ():
            name = template["metadata"]["name"]
            if self._claims.get(name, namespace) is not None:
                continue
            ready = False
            metadata = {**template["metadata"], "namespace": namespace, "ownerReferences": [owner_reference(vm)]}
            metadata["labels"] = {**(metadata.get("labels") or {}), "kubevirt.io/created-by": vm["metadata"]["uid"]}
            volume = {"apiVersion": DATA_VOLUMES.api_version, "kind": "DataVolume", "metadata": metadata, "spec": template.get("spec") or {}}
            try:
                await self.cluster.create(DATA_VOLUMES, volume, namespace)
            except StatusError as error:
                if error.reason == "AlreadyExists":
                    continue
                await self.events.event(vm, "Warning", "FailedDataVolumeCreate", f"Error creating DataVolume {name}: {error.message}")
                raise
            await self.events.event(vm, "Normal", "SuccessfulDataVolumeCreate", f"Created DataVolume {name}")
        return ready

    async def _always(self, key: Key, vm: Object, vmi: Object | None) -> float | None:
        if vmi is None:
            return await self._start_later(key, vm)
        if stop_requested(vm, vmi) or phases.is_final(vmi):
            await self._stop(key, vm, vmi)
        return None

    async def _rerun_on_failure(self, key: Key, vm: Object, vmi: Object | None) -> float | None:
        if vmi is None:
            # Coming from another strategy the machine is started, too.
            if not start_requested(vm) and (vm.get("status") or {}).get("runStrategy") == "RerunOnFailure":
                return None
            return await self._start_later(key, vm)
        failed = phases.phase(vmi) == "Failed"
        if not vmi["metadata"].get("deletionTimestamp") and (stop_requested(vm, vmi) or phases.is_final(vmi)):
            await self._stop(key, vm, vmi)
            if failed:
                await self._request_start(vm)
        return None

    async def _manual(self, key: Key, vm: Object, vmi: Object | None) -> float | None:
        if vmi is None:
            if start_requested(vm):
                await self._start(key, vm)
        elif stop_requested(vm, vmi):
            await self._stop(key, vm, vmi)
        return None

    async def _halted(self, key: Key, vm: Object, vmi: Object | None) -> float | None:
        if vmi is not None:
            await self._stop(key, vm, vmi)
        elif start_requested(vm):
            change = {"runStrategy": "Always"} if vm["spec"].get("runStrategy") else {"running": True}
            await self.cluster.update(VIRTUAL_MACHINES, {**vm, "spec": {**vm["spec"], **change}})
        return None

    async def _once(self, key: Key, vm: Object, vmi: Object | None) -> float | None:
        if vmi is None:
            await self._start(key, vm)
        return None

    async def _start_later(self, key: Key, vm: Object) -> float | None:
        """Start at once, or as soon as the machine's failures allow."""
        left = machine_status.back_off_left(vm, self.clock.now())
        if left > 0:
            failures = vm["status"]["startFailure"]["consecutiveFailCount"]
            # Whoever has failed that often fails again: a jumping clock need not run after it.
            self.queue.add_after(key, float(left), background=failures > _HOPELESS)
            return None
        await self._start(key, vm)
        return None

    async def _start(self, key: Key, vm: Object) -> None:
        await self._remember(vm)
        vmi = machine_template.instance(vm, self.config.configuration.default_network_interface)
        # Until the cache has the instance nothing else is done about it.
        self._starting.add(key)
        try:
            await self.cluster.create(VIRTUAL_MACHINE_INSTANCES, vmi, key[0])
        except StatusError as error:
            self._starting.discard(key)
            await self.events.event(vm, "Warning", "FailedCreate", f"Error creating virtual machine instance: {error.message}")
            raise
        message = f"Started the virtual machine by creating the new virtual machine instance {key[1]}"
        await self.events.event(vm, "Normal", "SuccessfulCreate", message)

    async def _stop(self, key: Key, vm: Object, vmi: Object) -> None:
        if vmi["metadata"].get("deletionTimestamp"):
            return
        uid = vmi["metadata"]["uid"]
        self._stopping[key] = uid
        try:
            await self.cluster.delete(VIRTUAL_MACHINE_INSTANCES, key[1], key[0], uid)
        except StatusError as error:
            self._stopping.pop(key, None)
            if error.code == 404:
                return
            await self.events.event(vm, "Warning", "FailedDelete", f"Error deleting virtual machine instance {key[1]}: {error.message}")
            raise
        message = f"Stopped the virtual machine by deleting the virtual machine instance {uid}"
        await self.events.event(vm, "Normal", "SuccessfulDelete", message)

    async def _request_start(self, vm: Object) -> None:
        name, namespace = vm["metadata"]["name"], vm["metadata"]["namespace"]
        requests = [*((vm.get("status") or {}).get("stateChangeRequests") or ()), {"action": "Start"}]
        await self.cluster.patch(VIRTUAL_MACHINES, name, {"status": {"stateChangeRequests": requests}}, namespace, "status")

    async def _finalizers(self, vm: Object, finalizers: list[str]) -> Object:
        before = vm["metadata"].get("finalizers")
        if list(before or ()) == finalizers:
            return vm
        path = "/metadata/finalizers"
        patch: list[Object] = [{"op": "add", "path": path, "value": finalizers}] if before is None else [
            {"op": "test", "path": path, "value": before}, {"op": "replace", "path": path, "value": finalizers},
        ]
        name, namespace = vm["metadata"]["name"], vm["metadata"]["namespace"]
        return await self.cluster.patch(VIRTUAL_MACHINES, name, patch, namespace, content_type="application/json-patch+json")

    async def _remember(self, vm: Object) -> None:
        """Write down what the machine is now, and forget what it was."""
        wanted = machine_template.revision_name(vm)
        names = [one["metadata"]["name"] for one in self._revisions.by_index(_BY_OWNER, vm["metadata"]["uid"])]
        for name in names:
            if name != wanted and name.startswith("revision-start-vm-"):
                await self._forget(name, vm["metadata"]["namespace"])
        if wanted in names:
            return
        try:
            await self.cluster.create(CONTROLLER_REVISIONS, machine_template.revision(vm), vm["metadata"]["namespace"])
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise

    async def _forget(self, name: str, namespace: str) -> None:
        try:
            await self.cluster.delete(CONTROLLER_REVISIONS, name, namespace)
        except StatusError as error:
            if error.code != 404:
                raise

    def _started_as(self, vm: Object, vmi: Object) -> Object | None:
        """The machine's spec when the instance was made of it, if that is known."""
        name = (vmi.get("status") or {}).get("virtualMachineRevisionName") or ""
        found = self._revisions.get(name, vm["metadata"]["namespace"])
        return ((found or {}).get("data") or {}).get("spec")

    async def _bump_generation(self, vm: Object, vmi: Object) -> None:
        """An instance whose template is still the machine's is as new as the machine."""
        annotations = vmi["metadata"].get("annotations") or {}
        generation = str(vm["metadata"].get("generation", 1))
        before = self._started_as(vm, vmi)
        if annotations.get(GENERATION) == generation or before is None or before.get("template") != vm["spec"].get("template"):
            return
        patch = {"metadata": {"annotations": {GENERATION: generation}, "uid": vmi["metadata"]["uid"]}}
        await self.cluster.patch(VIRTUAL_MACHINE_INSTANCES, vmi["metadata"]["name"], patch, vmi["metadata"]["namespace"])

    def _restart_required(self, vm: Object, vmi: Object | None) -> bool | None:
        if vmi is None or vmi["metadata"].get("deletionTimestamp") or vm["metadata"].get("deletionTimestamp"):
            return None if vmi is not None else False
        before = self._started_as(vm, vmi)
        if before is None:
            return None
        live = self.config.configuration.vm_rollout_strategy == "LiveUpdate"

        def fixed(spec: Object) -> t.Any:
            template = (spec.get("template") or {}).get("spec") or {}
            return {key: value for key, value in template.items() if not (live and key in _LIVE_UPDATED)}

        return bool(fixed(before) != fixed(vm["spec"]))

    async def _write_status(self, key: Key, vm: Object, vmi: Object | None, error: SyncError | None) -> None:
        namespace, _name = key
        around = Around(
            self.clock.now(), self.clock.timestamp(), lambda claim: self._claims.get(claim, namespace), key in self._starting,
            key in self._stopping, error, self._restart_required(vm, vmi),
        )
        status = machine_status.next_status(vm, vmi, around)
        try:
            if status != (vm.get("status") or {}):
                written = await self.cluster.update(VIRTUAL_MACHINES, {**vm, "status": status}, "status")
                if error is None and phases.phase(vmi) == "Running" and not status.get("stateChangeRequests"):
                    self._written.note(vm, written)
            if vmi is not None and phases.is_final(vmi) and CONTROLLER_FINALIZER in (vmi["metadata"].get("finalizers") or ()):
                await self._release(vmi)
        except StatusError as failure:
            if failure.code != 404:
                raise

    async def _release(self, vmi: Object) -> None:
        """An ended instance may go now that the machine says how it ended."""
        before = vmi["metadata"]["finalizers"]
        left = [one for one in before if one != CONTROLLER_FINALIZER]
        patch: list[Object] = [
            {"op": "test", "path": "/metadata/finalizers", "value": before}, {"op": "replace", "path": "/metadata/finalizers", "value": left},
        ]
        name, namespace = vmi["metadata"]["name"], vmi["metadata"]["namespace"]
        await self.cluster.patch(VIRTUAL_MACHINE_INSTANCES, name, patch, namespace, content_type="application/json-patch+json")
