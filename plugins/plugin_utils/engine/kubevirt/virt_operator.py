# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-operator: brings the cluster to what one KubeVirt version ships, and keeps it there.

Order, pace and merging are those of KubeVirt v1.5.3 updating v1.4.1: pkg/virt-operator/resource/apply/{reconcile,rbac,core}.go,
pkg/virt-operator/util/client.go.
"""
from __future__ import annotations

import json
import typing as t

from ..controller import Controller, EventRecorder
from ..errors import StatusError
from ..interface import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    KUBEVIRTS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    Object,
    Ref,
)
from ..kubernetes.workload_status import rolled_out
from . import install_strategy
from .install_strategy import InstallStrategy
from .kubevirt_status import deploying, failing, is_current, is_failing, ready, updating

SERVICES = Ref("", "v1", "services")
JOBS = Ref("batch", "v1", "jobs")
_WEBHOOKS = {
    "ValidatingWebhookConfiguration": Ref("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
    "MutatingWebhookConfiguration": Ref("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"),
    "APIService": Ref("apiregistration.k8s.io", "v1", "apiservices"),
}
_MANAGED = f"{install_strategy.MANAGED_BY} in (virt-operator,kubevirt-operator)"
_COUNT = "outdatedVirtualMachineInstanceWorkloads"
_AFTER_DELETE, _AFTER_CHANGE = 2.0, 4.0
_LEADER, _STRATEGY_JOB, _STRATEGY_DUMPED = 4.7, 4.8, 3.9
_BEFORE_DEFINITIONS, _BEFORE_ROLL_OUT, _POLL = 1.9, 0.8, 0.5
_PACE = {"ClusterRole": 0.1, "CustomResourceDefinition": 0.1, "Role": 0.2, "RoleBinding": 0.2}


def merged(current: Object, wanted: Object) -> Object | None:
    """What the object becomes: required labels and annotations set, foreign ones kept, the rest replaced; None when that is so already.

    Source: apply/rbac.go, library-go resourcemerge.EnsureObjectMeta.
    """
    metadata = current["metadata"]
    becomes = {**current, **{key: value for key, value in wanted.items() if key not in ("metadata", "status")}}
    becomes["metadata"] = {
        **metadata,
        "labels": {**(metadata.get("labels") or {}), **wanted["metadata"].get("labels", {})},
        "annotations": {**(metadata.get("annotations") or {}), **wanted["metadata"].get("annotations", {})},
    }
    same_metadata = (metadata.get("labels") or {}) == becomes["metadata"]["labels"] and (
        metadata.get("annotations") or {}
    ) == becomes["metadata"]["annotations"]
    unchanged = all(_covers(current.get(key), value) for key, value in wanted.items() if key not in ("metadata", "status"))
    return None if same_metadata and unchanged else becomes


def _covers(current: t.Any, wanted: t.Any) -> bool:
    """Whether what is there is what is wanted, apart from fields that the API server filled in."""
    if isinstance(wanted, dict):
        return isinstance(current, dict) and all(_covers(current.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(current, list) and len(current) == len(wanted) and all(
            _covers(one, other) for one, other in zip(current, wanted, strict=True)
        )
    return bool(current == wanted) or (current is None and wanted in ("", [], {}))


class VirtOperator(Controller):
    """One virt-operator; its version is that of its Deployment's image."""

    name = "virt-operator"

    def __init__(self, namespace: str) -> None:
        super().__init__()
        self._namespace = namespace
        self._led = ""

    def setup(self) -> None:
        self._events = EventRecorder(self.cluster, self.clock, self.name)
        self._kubevirts = self.informer(KUBEVIRTS)
        self._kubevirts.add_handler(self._wake)
        self._deployments = self.informer(DEPLOYMENTS)
        self._deployments.add_handler(self._workload)
        self._daemon_sets = self.informer(DAEMON_SETS)
        self._daemon_sets.add_handler(self._workload)
        for ref in (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, ROLES, ROLE_BINDINGS):
            self.informer(ref, _MANAGED).add_handler(self._drift)

    def _wake(self, _event: str, _obj: Object, _before: Object | None) -> None:
        self.queue.add("kubevirt")

    def _workload(self, event: str, obj: Object, before: Object | None) -> None:
        if obj["metadata"].get("namespace") != self._namespace:
            return
        # Each pod of a roll-out changes a status; only what is wanted and whether it is there calls for anything.
        same = before is not None and before["metadata"].get("generation") == obj["metadata"].get("generation")
        if event == "DELETED" or not same or (before is not None and rolled_out(before) != rolled_out(obj)):
            self.queue.add("kubevirt")

    def _drift(self, event: str, obj: Object, _before: Object | None) -> None:
        if event == "DELETED":
            self.queue.add_after("kubevirt", _AFTER_DELETE)
        elif event == "MODIFIED" and not self._is_shipped(obj):
            self.queue.add_after("kubevirt", _AFTER_CHANGE)

    def _is_shipped(self, obj: Object) -> bool:
        """Whether the object is what the running version ships, so that a change of it calls for nothing."""
        version = self._version()
        if not install_strategy.known(version):
            return True
        wanted = self._plan(version, self._kubevirt() or {}).find(obj)
        return wanted is not None and merged(obj, wanted) is None

    def _version(self) -> str:
        """The version of the virt-operator that is up."""
        deployment = self._deployments.get("virt-operator", self._namespace)
        if deployment is None or not rolled_out(deployment):
            return ""
        for entry in deployment["spec"]["template"]["spec"]["containers"][0].get("env") or ():
            if entry["name"] == "KUBEVIRT_VERSION":
                return str(entry.get("value") or "")
        return ""

    def _kubevirt(self) -> Object | None:
        return next((one for one in self._kubevirts.list() if one["metadata"].get("namespace") == self._namespace), None)

    def _plan(self, version: str, kubevirt: Object) -> InstallStrategy:
        return install_strategy.strategy(version, self._namespace, install_strategy.migration_network(kubevirt))

    async def reconcile(self, key: str) -> float | None:
        version, kubevirt = self._version(), self._kubevirt()
        if kubevirt is None or not install_strategy.known(version):
            return None
        if not is_current(kubevirt, version):
            # The cache may not have heard yet of the update that has just been finished; begun again it would never end.
            kubevirt = await self.cluster.get(KUBEVIRTS, kubevirt["metadata"]["name"], self._namespace)
        plan = self._plan(version, kubevirt)
        if is_current(kubevirt, version):
            await self._apply_rbac(plan, 0.0)
            await self._delete_leftovers(plan)
            return None
        return await self._update(kubevirt, plan)

    async def _update(self, kubevirt: Object, plan: InstallStrategy) -> float | None:
        """One pass over all steps; each is skipped when it holds, so that a pass that was cut short is simply begun again."""
        version, fresh = plan.version, not (kubevirt.get("status") or {}).get("observedKubeVirtVersion")
        if self._led != version:
            self._led = version
            await self.clock.sleep(_LEADER)
        status = deploying if fresh else updating
        if not is_failing(kubevirt):
            kubevirt = await self._status(kubevirt, status(kubevirt, version, self.clock.timestamp()))
        await self._dump_strategy(plan)
        try:
            await self._apply_before_workloads(plan)
        except StatusError as error:
            if error.reason != "Conflict":
                await self._status(kubevirt, failing(kubevirt, version, error.message, self.clock.timestamp()))
            raise
        kubevirt = await self._status(kubevirt, status(kubevirt, version, self.clock.timestamp()))
        workloads = [(DAEMON_SETS, one) for one in plan.daemon_sets] + [(DEPLOYMENTS, one) for one in plan.deployments]
        # A new installation needs its webhooks first; an update rolls virt-api last. Source: apply/reconcile.go.
        for ref, workload in reversed(workloads) if fresh else workloads:
            if not await self._roll_out(ref, workload):
                # Whoever brings its pods up moves time on; where nobody can, this waits for ever without haste.
                self.queue.add_after("kubevirt", _POLL, background=True)
                return None
        await self._status(kubevirt, ready(kubevirt, version, self.clock.timestamp()))
        await self._delete_leftovers(plan)
        return None

    async def _apply_before_workloads(self, plan: InstallStrategy) -> None:
        await self._apply_all(CUSTOM_RESOURCE_DEFINITIONS, plan.custom_resource_definitions)
        await self._apply_all(SERVICE_ACCOUNTS, plan.service_accounts)
        await self._apply_rbac(plan)
        await self._apply_all(SERVICES, plan.services)
        for webhook in plan.webhooks:
            await self._apply(_WEBHOOKS[webhook["kind"]], webhook)

    async def _status(self, kubevirt: Object, status: Object) -> Object:
        """The object that the pass is for, with its new status: what is asked for meanwhile is the next pass's."""
        current = await self.cluster.get(KUBEVIRTS, kubevirt["metadata"]["name"], self._namespace)
        counted = (current.get("status") or {}).get(_COUNT)
        if counted is not None:
            # virt-controller's own field, counted anew since the pass began.
            status = {**status, _COUNT: counted}
        if current.get("status") != status:
            await self.cluster.update(KUBEVIRTS, {**current, "status": status}, "status")
        return {**kubevirt, "status": status}

    async def _dump_strategy(self, plan: InstallStrategy) -> None:
        """The job that has the new version write down what it installs."""
        identifier = plan.identifier
        name = f"kubevirt-install-strategy-{identifier[:5]}"
        labels, annotations = install_strategy.required_metadata(plan.version, identifier)
        labels = {install_strategy.MANAGED_BY: labels[install_strategy.MANAGED_BY], "kubevirt.io/install-strategy": ""}
        if await self._exists(CONFIG_MAPS, name):
            return
        await self.clock.sleep(_STRATEGY_JOB)
        container = {"name": "install-strategy-upload", "image": f"{install_strategy.REGISTRY}/virt-operator:{plan.version}"}
        job: Object = {
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"generateName": f"kubevirt-{identifier}-job", "namespace": self._namespace, "labels": labels, "annotations": annotations},
            "spec": {"template": {"metadata": {"labels": {"kubevirt.io": "virt-operator-strategy-dumper"}}, "spec": {
                "serviceAccountName": "kubevirt-operator", "restartPolicy": "Never", "containers": [container],
            }}},
        }
        await self.cluster.create(JOBS, job, self._namespace)
        await self.clock.sleep(_STRATEGY_DUMPED)
        content = {"manifests": json.dumps([role["metadata"]["name"] for role in plan.cluster_roles])}
        config_map = {
            "apiVersion": "v1", "kind": "ConfigMap", "data": content,
            "metadata": {"name": name, "namespace": self._namespace, "labels": labels, "annotations": annotations},
        }
        await self.cluster.create(CONFIG_MAPS, config_map, self._namespace)
        await self.clock.sleep(_BEFORE_DEFINITIONS)

    async def _exists(self, ref: Ref, name: str) -> bool:
        try:
            await self.cluster.get(ref, name, self._namespace)
        except StatusError as error:
            if error.code != 404:
                raise
            return False
        return True

    async def _apply_rbac(self, plan: InstallStrategy, pace: float = 1.0) -> None:
        await self._apply_all(CLUSTER_ROLES, plan.cluster_roles, pace)
        await self._apply_all(CLUSTER_ROLE_BINDINGS, plan.cluster_role_bindings, pace)
        await self._apply_all(ROLES, plan.roles, pace)
        await self._apply_all(ROLE_BINDINGS, plan.role_bindings, pace)

    async def _apply_all(self, ref: Ref, wanted: t.Iterable[Object], pace: float = 1.0) -> None:
        for one in wanted:
            if await self._apply(ref, one) and pace:
                await self.clock.sleep(pace * _PACE.get(one["kind"], 0.01))

    async def _apply(self, ref: Ref, wanted: Object) -> bool:
        """Create the object or bring it to what is shipped; whether anything was written."""
        metadata = wanted["metadata"]
        try:
            current = await self.cluster.get(ref, metadata["name"], metadata.get("namespace", ""))
        except StatusError as error:
            if error.code != 404:
                raise
            await self.cluster.create(ref, wanted)
            return True
        becomes = merged(current, wanted)
        if becomes is None:
            return False
        if ref in (DEPLOYMENTS, DAEMON_SETS):
            # What the template no longer has goes.
            operations: list[Object] = [{"op": "add", "path": "/spec", "value": becomes["spec"]}]
            operations += [{"op": "add", "path": f"/metadata/{key}", "value": becomes["metadata"][key]} for key in ("labels", "annotations")]
            await self.cluster.patch(
                ref, metadata["name"], operations, metadata.get("namespace", ""), content_type="application/json-patch+json",
            )
        elif ref in (CUSTOM_RESOURCE_DEFINITIONS, SERVICES):
            # virt-operator may patch these, not update them.
            patch = {key: becomes[key] for key in ("spec",) if key in becomes}
            patch["metadata"] = {key: becomes["metadata"][key] for key in ("labels", "annotations")}
            await self.cluster.patch(ref, metadata["name"], patch, metadata.get("namespace", ""))
        else:
            await self.cluster.update(ref, becomes)
        return True

    async def _roll_out(self, ref: Ref, workload: Object) -> bool:
        """Write the workload and return whether it is up."""
        name = workload["metadata"]["name"]
        if await self._apply(ref, workload):
            await self.clock.sleep(_BEFORE_ROLL_OUT)
            return False
        return rolled_out(await self.cluster.get(ref, name, self._namespace))

    async def _delete_leftovers(self, plan: InstallStrategy) -> None:
        """Delete what carries our label and is no longer shipped. Source: apply/delete.go; nobody else's objects are looked at."""
        for ref, shipped in ((CLUSTER_ROLE_BINDINGS, plan.cluster_role_bindings), (CLUSTER_ROLES, plan.cluster_roles)):
            names = {one["metadata"]["name"] for one in shipped}
            for found in (await self.cluster.list(ref, label_selector=_MANAGED)).items:
                if found["metadata"]["name"] not in names:
                    await self.cluster.delete(ref, found["metadata"]["name"])
