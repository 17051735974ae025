# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator of the HyperConverged: owns the KubeVirt object, puts back what others edit in it, and says how an update goes.

Source: HCO controllers/hyperconverged/hyperconverged_controller.go, controllers/operands, controllers/nodes, pkg/reqresolver.
"""
from __future__ import annotations

import collections

from ...controller import Controller, EventRecorder
from ...errors import StatusError
from ...interface import DEPLOYMENTS, KUBEVIRTS, NODES, Object
from ...kubernetes.workload_status import rolled_out
from ..olm.objects import OPERATOR_CONDITIONS, condition
from . import status as hyperconverged_status
from .json_patch import BrokenPatch
from .names import FINALIZER, HYPERCONVERGEDS, KUBEVIRT_NAME, NAME, OPERATOR, environment
from .operand import drifted, kubevirt
from .status import is_complete, is_ready, is_worker, operator_version, several

_SECONDARY = "hco-controlled-cr"
_LEADER, _RECONCILE = 3.0, 1.0


class HyperConverged(Controller):
    """Keys are the object's name when it changed itself, and _SECONDARY when something changed that is made from it."""

    name = "hyperconverged-operator"

    def __init__(self, namespace: str) -> None:
        super().__init__()
        self._namespace = namespace
        self._led = ""
        self._wanted: Object | None = None
        self._workers: set[str] = set()
        self.overwritten: collections.Counter[tuple[str, str]] = collections.Counter()
        """How often an object was put back, by kind and name."""

    def setup(self) -> None:
        self._events = EventRecorder(self.cluster, self.clock, self.name)
        self._hyperconvergeds = self.informer(HYPERCONVERGEDS)
        self._hyperconvergeds.add_handler(self._changed)
        self._deployments = self.informer(DEPLOYMENTS, field_selector=f"metadata.name={OPERATOR}")
        self._deployments.add_handler(self._changed)
        self._kubevirts = self.informer(KUBEVIRTS)
        self._kubevirts.add_handler(self._operand_changed)
        self.informer(NODES).add_handler(self._node_changed)

    def _changed(self, _event: str, obj: Object, _before: Object | None) -> None:
        if obj["metadata"].get("namespace") == self._namespace:
            self.queue.add(NAME)

    def _operand_changed(self, _event: str, obj: Object, _before: Object | None) -> None:
        if obj["metadata"].get("namespace") == self._namespace:
            self.queue.add(_SECONDARY)

    def _node_changed(self, event: str, node: Object, _before: Object | None) -> None:
        before = several(self._workers)
        if event != "DELETED" and is_worker(node):
            self._workers.add(node["metadata"]["name"])
        else:
            self._workers.discard(node["metadata"]["name"])
        if several(self._workers) != before:
            self.queue.add(_SECONDARY)

    def _running(self) -> tuple[str, str, str]:
        """The operator's version, the KubeVirt version that it wants, and its ClusterServiceVersion; empty while it isn't up."""
        deployment = self._deployments.get(OPERATOR, self._namespace)
        if deployment is None or not rolled_out(deployment) or not (deployment.get("status") or {}).get("availableReplicas"):
            return "", "", ""
        told = environment(deployment)
        owner = (deployment["metadata"].get("labels") or {}).get("olm.owner", "")
        return told.get("HCO_KV_IO_VERSION", ""), told.get("KUBEVIRT_VERSION", ""), owner

    async def reconcile(self, key: str) -> float | None:
        version, kubevirt_version, csv = self._running()
        hyperconverged = self._hyperconvergeds.get(NAME, self._namespace)
        if not version or hyperconverged is None:
            self._wanted = None
            return None
        if hyperconverged["metadata"].get("deletionTimestamp"):
            await self._delete(hyperconverged)
            return None
        if operator_version(hyperconverged) != version:
            # The cache may not have heard yet of the end of an update; told to OLM again it would be a second one.
            hyperconverged = await self.cluster.get(HYPERCONVERGEDS, NAME, self._namespace)
        before = operator_version(hyperconverged)
        upgrading = bool(before) and before != version
        # What a change of an operand is held against is what the HyperConverged asked for when it was last looked at.
        by_itself = key == NAME or self._wanted is None or self._led != version
        if by_itself:
            self._wanted = None
        if self._led != version:
            self._led = version
            await self.clock.sleep(_LEADER)
            if upgrading:
                await self._events.event(hyperconverged, "Normal", "UpgradeHCO", f"Upgrading the HyperConverged to version {version}")
        await self._tell_olm(csv, version, upgrading)
        try:
            wanted = self._wanted or kubevirt(hyperconverged, version, kubevirt_version)
        except BrokenPatch as error:
            await self._write_failed(str(error))
            return None
        component = await self._own_kubevirt(hyperconverged, wanted, by_itself, upgrading)
        self._wanted = wanted
        complete = is_complete(component, kubevirt_version)
        if upgrading and complete:
            await self.clock.sleep(_RECONCILE)
        await self._write(component, version, kubevirt_version)
        if upgrading and complete:
            await self._events.event(hyperconverged, "Normal", "UpgradeHCO", f"Successfully upgraded to version {version}")
            await self._tell_olm(csv, version, upgrading=False)
        await self._claim(hyperconverged)
        return None

    async def _write(self, component: Object | None, version: str, kubevirt_version: str) -> None:
        current = await self.cluster.get(HYPERCONVERGEDS, NAME, self._namespace)
        status = hyperconverged_status.status(current, component, version, kubevirt_version, several(self._workers), self.clock.timestamp())
        await self._put_status(current, status)
        was_ready, ready = is_ready(current), is_ready({"status": status})
        if ready and not was_ready:
            await self._events.event(current, "Normal", "ReconcileHCO", "HCO Reconcile completed successfully")
        elif was_ready and not ready and operator_version(current) == version:
            await self._events.event(current, "Warning", "ReconcileHCO", "Not all the operators are ready")

    async def _write_failed(self, problem: str) -> None:
        current = await self.cluster.get(HYPERCONVERGEDS, NAME, self._namespace)
        await self._put_status(current, hyperconverged_status.failed(current, problem, several(self._workers), self.clock.timestamp()))

    async def _put_status(self, current: Object, status: Object) -> None:
        if status != current.get("status"):
            await self.cluster.update(HYPERCONVERGEDS, {**current, "status": status}, "status")

    async def _claim(self, hyperconverged: Object) -> None:
        """Mark a new object as ours. Being written again, it gets the defaults that follow from its status."""
        metadata = hyperconverged["metadata"]
        if FINALIZER in (metadata.get("finalizers") or ()) and (metadata.get("labels") or {}).get("app"):
            return
        current = await self.cluster.get(HYPERCONVERGEDS, NAME, self._namespace)
        metadata = current["metadata"]
        finalizers = [*(one for one in metadata.get("finalizers") or () if one != FINALIZER), FINALIZER]
        labels = {**(metadata.get("labels") or {}), "app": (metadata.get("labels") or {}).get("app") or NAME}
        await self.cluster.update(HYPERCONVERGEDS, {**current, "metadata": {**metadata, "finalizers": finalizers, "labels": labels}})

    async def _delete(self, hyperconverged: Object) -> None:
        """Take away what was made, then let the object go."""
        metadata = hyperconverged["metadata"]
        if FINALIZER not in (metadata.get("finalizers") or ()):
            return
        self._wanted = None
        try:
            await self.cluster.delete(KUBEVIRTS, KUBEVIRT_NAME, self._namespace)
        except StatusError as error:
            if error.code != 404:
                await self._events.event(
                    hyperconverged, "Warning", "ErrVirtUninstall", f"The uninstall request failed on virt component: {error.message}",
                )
                raise
            left = [one for one in metadata["finalizers"] if one != FINALIZER]
            await self.cluster.update(HYPERCONVERGEDS, {**hyperconverged, "metadata": {**metadata, "finalizers": left}})
            return
        await self._events.event(hyperconverged, "Normal", "Killing", f"Removed KubeVirt {KUBEVIRT_NAME}")

    async def _own_kubevirt(self, hyperconverged: Object, wanted: Object, by_itself: bool, upgrading: bool) -> Object:
        """Create the KubeVirt object, bring it to what is asked for now, or put back what was edited in it."""
        try:
            current = await self.cluster.get(KUBEVIRTS, KUBEVIRT_NAME, self._namespace)
        except StatusError as error:
            if error.code != 404:
                raise
            made = await self.cluster.create(KUBEVIRTS, wanted)
            await self._events.event(hyperconverged, "Normal", "Created", f"Created KubeVirt {KUBEVIRT_NAME}")
            return made
        if not drifted(current, wanted):
            return current
        labels = {**(current["metadata"].get("labels") or {}), **wanted["metadata"]["labels"]}
        updated = await self.cluster.update(KUBEVIRTS, {**current, "spec": wanted["spec"], "metadata": {**current["metadata"], "labels": labels}})
        if by_itself:
            await self._events.event(hyperconverged, "Normal", "Updated", f"Updated KubeVirt {KUBEVIRT_NAME}")
        else:
            await self._events.event(hyperconverged, "Warning", "Overwritten", f"Overwritten KubeVirt {KUBEVIRT_NAME}")
            if not upgrading:
                self.overwritten["KubeVirt", KUBEVIRT_NAME] += 1
        return updated

    async def _tell_olm(self, csv: str, version: str, upgrading: bool) -> None:
        """Keep the OperatorCondition named after our ClusterServiceVersion."""
        if not csv:
            return
        try:
            current = await self.cluster.get(OPERATOR_CONDITIONS, csv, self._namespace)
        except StatusError as error:
            if error.code != 404:
                raise
            return
        wanted = hyperconverged_status.operator_condition(version, upgrading, self.clock.timestamp())
        spec = current.get("spec") or {}
        found = condition(spec.get("conditions"), "Upgradeable")
        if found is not None and found["status"] == wanted["status"] and found["reason"] == wanted["reason"]:
            return
        await self.cluster.update(OPERATOR_CONDITIONS, {**current, "spec": {**spec, "conditions": [wanted]}})
