# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ClusterServiceVersions: one phase after the other, the old version giving way to the new.

Source: OLM pkg/controller/operators/olm/operator.go (transitionCSVState), operatorconditions.go, operatorgroup.go.
"""
from __future__ import annotations

import dataclasses
import datetime

from ...controller import Controller
from ...errors import StatusError
from ...interface import DEPLOYMENTS, NAMESPACES, Object
from ...kubernetes.workload_status import rolled_out
from .objects import (
    CLUSTER_SERVICE_VERSIONS,
    COPIED_FROM,
    OPERATOR_CONDITIONS,
    OPERATOR_GROUPS,
    condition,
    is_copy,
)

_STEP = 0.5
_POLL = 1.0
INSTALL_TIMEOUT = 300.0


@dataclasses.dataclass(frozen=True)
class Moment:
    """What decides a version's next phase."""

    csv: Object
    successor: Object | None
    predecessor_condition: Object | None
    """The OperatorCondition of the version that it replaces."""
    groups: int
    deployments_ready: bool
    waited: float = 0.0
    """Seconds in the present phase."""


@dataclasses.dataclass(frozen=True)
class Transition:
    phase: str
    reason: str
    message: str = ""


def refusal(operator_condition: Object | None) -> str:
    """Why a running version does not let itself be replaced; empty when it does.

    An override wins, then the status that OLM made of the operator's own word; silence is consent. Source: olm/operatorconditions.go.
    """
    if operator_condition is None:
        return ""
    override = condition((operator_condition.get("spec") or {}).get("overrides"), "Upgradeable")
    if override is not None:
        return "" if override["status"] == "True" else f"The operator is not upgradeable: {override.get('message', '')}"
    said = condition((operator_condition.get("status") or {}).get("conditions"), "Upgradeable")
    if said is None:
        return ""
    if said.get("observedGeneration") != operator_condition["metadata"].get("generation"):
        return f'The operatorcondition status "{said["type"]}"="{said["status"]}" is outdated'
    return f"The operator is not upgradeable: {said.get('message', '')}" if said["status"] == "False" else ""


def transition(moment: Moment) -> Transition | None:
    """The next phase, None when nothing changes."""
    status = moment.csv.get("status") or {}
    phase, reason = status.get("phase", ""), status.get("reason", "")
    if moment.groups != 1 and phase not in ("Deleting", "Replacing"):
        wrong = "NoOperatorGroup" if not moment.groups else "TooManyOperatorGroups"
        text = "csv in namespace with no operatorgroups"
        if moment.groups:
            text = "csv created in namespace with multiple operatorgroups, can't pick one automatically"
        return None if (phase, reason) == ("Failed", wrong) else Transition("Failed", wrong, text)
    if moment.successor is not None and phase in ("Succeeded", "Failed", "Installing", "Pending", "InstallReady"):
        return Transition("Replacing", "BeingReplaced", f"being replaced by csv: {moment.successor['metadata']['name']}")
    if phase == "Replacing":
        done = moment.successor is not None and (moment.successor.get("status") or {}).get("phase") == "Succeeded"
        return Transition("Deleting", "Replaced", "has been replaced by a newer ClusterServiceVersion that has successfully installed.") if done else None
    if not phase or (phase == "Failed" and reason in ("NoOperatorGroup", "TooManyOperatorGroups")):
        return Transition("Pending", "RequirementsUnknown", "requirements not yet checked")
    if phase == "Pending":
        refused = refusal(moment.predecessor_condition)
        if refused:
            blocked = Transition("Pending", "OperatorConditionNotUpgradeable", f"operator is not upgradeable: {refused}")
            return None if (reason, status.get("message")) == (blocked.reason, blocked.message) else blocked
        return Transition("InstallReady", "AllRequirementsMet", "all requirements found, attempting install")
    if phase == "InstallReady":
        return Transition("Installing", "InstallSucceeded", "waiting for install components to report healthy")
    if phase == "Installing":
        if moment.deployments_ready:
            return Transition("Succeeded", "InstallSucceeded", "install strategy completed with no errors")
        if moment.waited > INSTALL_TIMEOUT:
            return Transition("Failed", "InstallCheckFailed", "install timeout")
        return None
    if phase == "Failed" and reason == "InstallCheckFailed" and moment.deployments_ready:
        return Transition("Succeeded", "InstallSucceeded", "install strategy completed with no errors")
    return None


class ClusterServiceVersions(Controller):
    name = "olm-operator"

    def setup(self) -> None:
        self._csvs = self.informer(CLUSTER_SERVICE_VERSIONS)
        self._csvs.add_handler(self._changed)
        self._groups = self.informer(OPERATOR_GROUPS)
        self._operator_conditions = self.informer(OPERATOR_CONDITIONS)
        self._deployments = self.informer(DEPLOYMENTS)
        self._namespaces = self.informer(NAMESPACES)
        for informer in (self._groups, self._operator_conditions, self._deployments):
            informer.add_handler(self._beside)
        self._namespaces.add_handler(self._namespace)

    def _changed(self, _event: str, obj: Object, _before: Object | None) -> None:
        if not is_copy(obj):
            self._wake(obj["metadata"]["namespace"])

    def _beside(self, _event: str, obj: Object, _before: Object | None) -> None:
        self._wake(obj["metadata"].get("namespace", ""))

    def _namespace(self, event: str, _obj: Object, _before: Object | None) -> None:
        if event == "ADDED":
            for csv in self._csvs.list():
                self._changed(event, csv, None)

    def _wake(self, namespace: str) -> None:
        for csv in self._csvs.list(namespace):
            if not is_copy(csv):
                self.queue.add((namespace, csv["metadata"]["name"]))

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        namespace, name = key
        csv = self._csvs.get(name, namespace)
        if csv is None or is_copy(csv):
            return None
        moment = self._moment(csv)
        found = transition(moment)
        phase = (csv.get("status") or {}).get("phase", "")
        if phase == "Deleting":
            await self._remove(csv)
            return None
        if found is None:
            await self._settled(csv, phase)
            return _POLL if phase == "Installing" else None
        await self.clock.sleep(_STEP)
        if found.phase == "Installing":
            await self._install(csv)
        await self._write(csv, found)
        return None

    def _moment(self, csv: Object) -> Moment:
        namespace, name = csv["metadata"]["namespace"], csv["metadata"]["name"]
        successor = next((one for one in self._csvs.list(namespace) if one["spec"].get("replaces") == name and not is_copy(one)), None)
        wanted = [entry["name"] for entry in _deployments(csv)]
        found = [self._deployments.get(one, namespace) for one in wanted]
        ready = all(one is not None and _owner(one) == name and rolled_out(one) for one in found)
        since = (csv.get("status") or {}).get("lastTransitionTime")
        waited = (self.clock.now() - datetime.datetime.fromisoformat(since)).total_seconds() if since else 0.0
        return Moment(
            csv, successor, self._operator_conditions.get(csv["spec"].get("replaces") or "", namespace), len(self._groups.list(namespace)),
            ready, waited,
        )

    async def _write(self, csv: Object, found: Transition) -> None:
        """Write the next phase of the version as it was looked at: when it has changed since, that is refused and it is looked at again."""
        now = self.clock.timestamp()
        entry = {"phase": found.phase, "reason": found.reason, "message": found.message, "lastUpdateTime": now, "lastTransitionTime": now}
        before = csv.get("status") or {}
        status = {**before, **entry, "conditions": [*(before.get("conditions") or ()), entry][-20:]}
        await self.cluster.update(CLUSTER_SERVICE_VERSIONS, {**csv, "status": status}, "status")

    async def _install(self, csv: Object) -> None:
        """Write the OperatorCondition and the Deployments."""
        namespace, name = csv["metadata"]["namespace"], csv["metadata"]["name"]
        owner = {"apiVersion": CLUSTER_SERVICE_VERSIONS.api_version, "kind": "ClusterServiceVersion", "name": name, "uid": csv["metadata"]["uid"]}
        spec = {"deployments": [entry["name"] for entry in _deployments(csv)]}
        await self._ensure_condition(name, namespace, owner, spec)
        for entry in _deployments(csv):
            labels = {"olm.owner": name, "olm.owner.kind": "ClusterServiceVersion", "olm.owner.namespace": namespace}
            wanted: Object = {
                "apiVersion": "apps/v1", "kind": "Deployment", "spec": entry["spec"],
                "metadata": {"name": entry["name"], "namespace": namespace, "labels": labels, "ownerReferences": [owner]},
            }
            try:
                current = await self.cluster.get(DEPLOYMENTS, entry["name"], namespace)
            except StatusError as error:
                if error.code != 404:
                    raise
                await self.cluster.create(DEPLOYMENTS, wanted)
                continue
            metadata = {**current["metadata"], "labels": {**(current["metadata"].get("labels") or {}), **labels}, "ownerReferences": [owner]}
            await self.cluster.update(DEPLOYMENTS, {**current, "spec": {**current["spec"], **entry["spec"]}, "metadata": metadata})

    async def _ensure_condition(self, name: str, namespace: str, owner: Object, spec: Object) -> None:
        body = {
            "apiVersion": OPERATOR_CONDITIONS.api_version, "kind": "OperatorCondition", "spec": spec,
            "metadata": {"name": name, "namespace": namespace, "ownerReferences": [{**owner, "controller": False, "blockOwnerDeletion": True}]},
        }
        try:
            await self.cluster.create(OPERATOR_CONDITIONS, body)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise

    async def _settled(self, csv: Object, phase: str) -> None:
        """A version that runs for all namespaces is shown in all of them."""
        group = next(iter(self._groups.list(csv["metadata"]["namespace"])), None)
        everywhere = group is not None and not (group.get("spec") or {}).get("targetNamespaces")
        if phase != "Succeeded" or not everywhere:
            return
        metadata = csv["metadata"]
        for namespace in [one["metadata"]["name"] for one in self._namespaces.list() if not one["metadata"].get("deletionTimestamp")]:
            if namespace == metadata["namespace"] or self._csvs.get(metadata["name"], namespace) is not None:
                continue
            status = {"phase": "Succeeded", "reason": "Copied", "message": f"The operator is running in {metadata['namespace']} but is managing this namespace"}
            copy = {
                "apiVersion": csv["apiVersion"], "kind": csv["kind"], "spec": csv["spec"],
                "metadata": {"name": metadata["name"], "namespace": namespace, "labels": {COPIED_FROM: metadata["namespace"]}},
            }
            try:
                made = await self.cluster.create(CLUSTER_SERVICE_VERSIONS, copy)
                await self.cluster.update(CLUSTER_SERVICE_VERSIONS, {**made, "status": status}, "status")
            except StatusError as error:
                # A namespace that goes away, or a copy that is there already.
                if error.code not in (403, 404, 409):
                    raise

    async def _remove(self, csv: Object) -> None:
        """Delete the version and its copies; itself last, so that what was cut short is begun again."""
        name = csv["metadata"]["name"]
        await self.clock.sleep(_STEP)
        for namespace in [one["metadata"]["namespace"] for one in self._csvs.list() if one["metadata"]["name"] == name and is_copy(one)]:
            await self._delete(name, namespace)
        await self._delete(name, csv["metadata"]["namespace"])

    async def _delete(self, name: str, namespace: str) -> None:
        try:
            await self.cluster.delete(CLUSTER_SERVICE_VERSIONS, name, namespace, propagation="Background")
        except StatusError as error:
            if error.code != 404:
                raise


def _deployments(csv: Object) -> list[Object]:
    install = csv["spec"].get("install") or {}
    return list((install.get("spec") or {}).get("deployments") or ())


def _owner(deployment: Object) -> str:
    return str((deployment["metadata"].get("labels") or {}).get("olm.owner", ""))
