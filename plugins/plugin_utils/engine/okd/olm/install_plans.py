# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""InstallPlans: they wait for approval, then apply what the bundles hold. Source: OLM pkg/controller/operators/catalog/operator.go."""
from __future__ import annotations

from ...controller import Controller
from ...errors import StatusError
from ...interface import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, Object, Ref
from .catalog import Bundle, parse
from .objects import CATALOG_ANNOTATION, CATALOG_SOURCES, CLUSTER_SERVICE_VERSIONS, INSTALL_PLANS, with_condition

_PLURALS = {
    "CustomResourceDefinition": CUSTOM_RESOURCE_DEFINITIONS,
    "ClusterRole": Ref("rbac.authorization.k8s.io", "v1", "clusterroles"),
    "ClusterRoleBinding": Ref("rbac.authorization.k8s.io", "v1", "clusterrolebindings"),
    "Role": Ref("rbac.authorization.k8s.io", "v1", "roles"),
    "RoleBinding": Ref("rbac.authorization.k8s.io", "v1", "rolebindings"),
    "ServiceAccount": Ref("", "v1", "serviceaccounts"),
    "Service": Ref("", "v1", "services"),
}
_PLAN, _INSTALL = 0.5, 1.0


def next_phase(plan: Object) -> str:
    """The phase that follows without work being done: Planning, RequiresApproval until approved, Installing."""
    phase = _phase(plan)
    if phase in ("Complete", "Failed"):
        return phase
    if not phase:
        return "Planning"
    if not plan["spec"]["approved"]:
        return "RequiresApproval"
    return "Installing"


def _phase(plan: Object) -> str:
    return str((plan.get("status") or {}).get("phase", ""))


class InstallPlans(Controller):
    name = "installplan-operator"

    def setup(self) -> None:
        self._plans = self.informer(INSTALL_PLANS)
        self._plans.add_handler(self.enqueue)
        self._sources = self.informer(CATALOG_SOURCES)

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        plan = self._plans.get(key[1], key[0])
        if plan is None:
            return None
        phase, wanted = _phase(plan), next_phase(plan)
        if wanted != phase:
            await self.clock.sleep(_PLAN)
        elif phase == "Installing":
            await self.clock.sleep(_INSTALL)
        else:
            return None
        plan = await self.cluster.get(INSTALL_PLANS, key[1], key[0])
        if _phase(plan) != phase or next_phase(plan) != wanted:
            # It has gone on since: what became of it is in the queue.
            return 0.0
        if wanted != phase:
            await self._status(plan, wanted)
        else:
            await self._install(plan)
        return None

    async def _bundles(self) -> dict[str, Bundle]:
        found: dict[str, Bundle] = {}
        for source in self._sources.list():
            metadata = source["metadata"]
            name = (metadata.get("annotations") or {}).get(CATALOG_ANNOTATION, "")
            if name:
                catalog = parse(await self.cluster.get(CONFIG_MAPS, name, metadata["namespace"]))
                found.update({bundle.name: bundle for bundles in catalog.channels.values() for bundle in bundles})
        return found

    async def _install(self, plan: Object) -> None:
        """Apply every bundle of the plan; the ClusterServiceVersion comes last. A refusal fails the plan with its words."""
        namespace, bundles = plan["metadata"]["namespace"], await self._bundles()
        try:
            for name in plan["spec"]["clusterServiceVersionNames"]:
                bundle = bundles[name]
                for obj in bundle.objects:
                    await self._apply(obj, namespace)
                csv = {**bundle.csv, "metadata": {**bundle.csv["metadata"], "namespace": namespace}}
                await self._create(CLUSTER_SERVICE_VERSIONS, csv)
        except (KeyError, StatusError) as error:
            message = error.message if isinstance(error, StatusError) else f"bundle {error} is not in any catalog"
            await self._status(plan, "Failed", message)
            return
        await self._status(plan, "Complete")

    async def _apply(self, obj: Object, namespace: str) -> None:
        """Create an object of a bundle, or bring the present one to it."""
        ref = _PLURALS[obj["kind"]]
        if ref.plural in ("roles", "rolebindings", "serviceaccounts", "services"):
            obj = {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
        if not await self._create(ref, obj):
            patch = {key: value for key, value in obj.items() if key in ("rules", "subjects", "spec")}
            await self.cluster.patch(ref, obj["metadata"]["name"], patch, obj["metadata"].get("namespace", ""))

    async def _create(self, ref: Ref, obj: Object) -> bool:
        try:
            await self.cluster.create(ref, obj)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
            return False
        return True

    async def _status(self, plan: Object, phase: str, message: str = "") -> None:
        current = await self.cluster.get(INSTALL_PLANS, plan["metadata"]["name"], plan["metadata"]["namespace"])
        status = {**(current.get("status") or {}), "phase": phase, "catalogSources": []}
        if phase in ("Complete", "Failed"):
            ended = "True" if phase == "Complete" else "False"
            more = {"reason": "InstallComponentFailed", "message": message} if message else {}
            status["conditions"] = with_condition(status.get("conditions"), "Installed", ended, self.clock.timestamp(), **more)
        if message:
            status["message"] = message
        await self.cluster.update(INSTALL_PLANS, {**current, "status": status}, "status")
