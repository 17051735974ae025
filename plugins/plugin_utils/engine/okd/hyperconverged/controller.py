# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator of the HyperConverged: owns the KubeVirt object and says how an update goes.

Source: HCO controllers/hyperconverged/hyperconverged_controller.go, controllers/operands.
"""
from __future__ import annotations

from ...controller import Controller, EventRecorder
from ...errors import StatusError
from ...interface import DEPLOYMENTS, KUBEVIRTS, Object
from ...kubernetes.workload_status import rolled_out
from ..olm.objects import OPERATOR_CONDITIONS, condition
from . import status as hyperconverged_status
from .names import HYPERCONVERGEDS, KUBEVIRT_NAME, NAME
from .status import drifted, is_complete, kubevirt, operator_version

_LEADER, _RECONCILE = 3.0, 1.0


class HyperConverged(Controller):
    name = "hyperconverged-operator"

    def __init__(self, namespace: str) -> None:
        super().__init__()
        self._namespace = namespace
        self._led = ""

    def setup(self) -> None:
        self._events = EventRecorder(self.cluster, self.clock, self.name)
        self._hyperconvergeds = self.informer(HYPERCONVERGEDS)
        self._kubevirts = self.informer(KUBEVIRTS)
        self._deployments = self.informer(DEPLOYMENTS)
        for informer in (self._hyperconvergeds, self._kubevirts, self._deployments):
            informer.add_handler(self._wake)

    def _wake(self, _event: str, obj: Object, _before: Object | None) -> None:
        if obj["metadata"].get("namespace") == self._namespace:
            self.queue.add(NAME)

    def _running(self) -> tuple[str, str, str]:
        """The operator's version, the KubeVirt version that it wants, and its ClusterServiceVersion; empty while it isn't up."""
        deployment = self._deployments.get("hco-operator", self._namespace)
        if deployment is None or not rolled_out(deployment):
            return "", "", ""
        environment = {entry["name"]: str(entry.get("value", "")) for entry in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
        owner = (deployment["metadata"].get("labels") or {}).get("olm.owner", "")
        return environment.get("HCO_KV_IO_VERSION", ""), environment.get("KUBEVIRT_VERSION", ""), owner

    async def reconcile(self, key: str) -> float | None:
        version, kubevirt_version, csv = self._running()
        hyperconverged = self._hyperconvergeds.get(NAME, self._namespace)
        if not version or hyperconverged is None:
            return None
        if operator_version(hyperconverged) != version:
            # The cache may not have heard yet of the end of an update; told to OLM again it would be a second one.
            hyperconverged = await self.cluster.get(HYPERCONVERGEDS, NAME, self._namespace)
        before = operator_version(hyperconverged)
        upgrading = bool(before) and before != version
        if self._led != version:
            self._led = version
            await self.clock.sleep(_LEADER)
            if upgrading:
                await self._events.event(hyperconverged, "Normal", "UpgradeHCO", f"Upgrading the HyperConverged to version {version}")
        await self._tell_olm(csv, version, upgrading)
        component = await self._own_kubevirt(hyperconverged, version)
        complete = is_complete(component, kubevirt_version)
        if upgrading and complete:
            await self.clock.sleep(_RECONCILE)
        await self._write(component, version, kubevirt_version)
        if upgrading and complete:
            await self._events.event(hyperconverged, "Normal", "UpgradeHCO", f"Successfully upgraded to version {version}")
            await self._tell_olm(csv, version, upgrading=False)
        return None

    async def _write(self, component: Object | None, version: str, kubevirt_version: str) -> None:
        current = await self.cluster.get(HYPERCONVERGEDS, NAME, self._namespace)
        status = hyperconverged_status.status(current, component, version, kubevirt_version, self.clock.timestamp())
        if status != current.get("status"):
            await self.cluster.update(HYPERCONVERGEDS, {**current, "status": status}, "status")

    async def _own_kubevirt(self, hyperconverged: Object, version: str) -> Object:
        """Create the KubeVirt object, or put back what was edited in it."""
        wanted = kubevirt(hyperconverged, version)
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
        changed = {**current, "spec": wanted["spec"], "metadata": {**current["metadata"], "labels": labels}}
        by_itself = current["metadata"].get("labels", {}).get("app.kubernetes.io/version") != version
        updated = await self.cluster.update(KUBEVIRTS, changed)
        reason, text = ("Updated", "Updated") if by_itself else ("Overwritten", "Overwritten")
        await self._events.event(hyperconverged, "Normal" if by_itself else "Warning", reason, f"{text} KubeVirt {KUBEVIRT_NAME}")
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
