# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subscriptions: what is installed, what comes next, and the InstallPlan for it.

Source: OLM pkg/controller/operators/catalog/{operator,subscriptions}.go. An InstallPlan is for a whole namespace: it holds the next
step of every Subscription there, and one Manual Subscription makes it Manual.
"""
from __future__ import annotations

import dataclasses
import secrets
import string

from ...controller import Controller
from ...errors import StatusError
from ...interface import CONFIG_MAPS, Object
from .catalog import Bundle, Catalog, parse
from .objects import (
    CATALOG_ANNOTATION,
    CATALOG_SOURCES,
    CLUSTER_SERVICE_VERSIONS,
    INSTALL_PLANS,
    SUBSCRIPTIONS,
    is_copy,
    with_condition,
)

_KEPT = 5
_RESOLVE = 1.0
_ALPHABET = string.ascii_lowercase + string.digits


@dataclasses.dataclass(frozen=True)
class Step:
    """Where one Subscription stands: the version installed, and the bundle that comes next."""

    subscription: Object
    installed: str
    next: Bundle | None
    problem: str = ""


def installed_version(subscription: Object, csvs: list[Object], catalog: Catalog) -> str:
    """The newest ClusterServiceVersion object of the Subscription's package: it counts once it exists, whatever its phase."""
    package = subscription["spec"]["name"]
    names = {csv["metadata"]["name"]: csv for csv in csvs if catalog.package_of(csv["metadata"]["name"]) == package}
    replaced = {csv["spec"].get("replaces") for csv in names.values()}
    return next((name for name in sorted(names) if name not in replaced), "")


def resolve(subscription: Object, csvs: list[Object], catalog: Catalog) -> Step:
    spec = subscription["spec"]
    installed = installed_version(subscription, csvs, catalog)
    try:
        found = catalog.next(spec["name"], spec.get("channel", ""), installed, spec.get("startingCSV", ""))
    except LookupError as error:
        return Step(subscription, installed, None, f"constraints not satisfiable: {error}")
    return Step(subscription, installed, found)


def approval(subscriptions: list[Object]) -> str:
    """Manual as soon as one Subscription of the namespace is."""
    return "Manual" if any(one["spec"].get("installPlanApproval") == "Manual" for one in subscriptions) else "Automatic"


def status_of(step: Step, plan: Object | None, now: str) -> Object:
    """The Subscription's status but for lastUpdated; `plan` is the InstallPlan for its next version."""
    status = {key: value for key, value in (step.subscription.get("status") or {}).items() if key != "lastUpdated"}
    conditions = with_condition(
        status.get("conditions"), "CatalogSourcesUnhealthy", "False", now, reason="AllCatalogSourcesHealthy",
        message="all available catalogsources are healthy",
    )
    if step.problem:
        conditions = with_condition(conditions, "ResolutionFailed", "True", now, reason="ConstraintsNotSatisfiable", message=step.problem)
    else:
        conditions = [entry for entry in conditions if entry["type"] != "ResolutionFailed"]
    conditions = [entry for entry in conditions if entry["type"] not in ("InstallPlanPending", "InstallPlanFailed")]
    if step.installed:
        status["installedCSV"] = step.installed
    if step.next is not None and plan is not None:
        phase = (plan.get("status") or {}).get("phase", "Planning")
        if phase == "Failed":
            conditions = with_condition(conditions, "InstallPlanFailed", "True", now, reason="InstallComponentFailed")
        elif phase != "Complete":
            conditions = with_condition(conditions, "InstallPlanPending", "True", now, reason=phase)
        reference = {
            "apiVersion": INSTALL_PLANS.api_version, "kind": "InstallPlan", "name": plan["metadata"]["name"],
            "namespace": plan["metadata"]["namespace"], "uid": plan["metadata"]["uid"],
            "resourceVersion": (status.get("installPlanRef") or {}).get("resourceVersion", plan["metadata"]["resourceVersion"]),
        }
        status.update({
            "currentCSV": step.next.name, "installPlanRef": reference, "installPlanGeneration": plan["spec"].get("generation", 1),
            "installplan": {"apiVersion": INSTALL_PLANS.api_version, "kind": "InstallPlan", "name": reference["name"], "uuid": reference["uid"]},
            "state": "UpgradePending",
        })
    elif step.installed:
        status.update({"currentCSV": step.installed, "state": "AtLatestKnown"})
    status["conditions"] = sorted(conditions, key=lambda entry: str(entry["type"]))
    return status


class Subscriptions(Controller):
    """Reconciles namespaces, since an InstallPlan belongs to one."""

    name = "subscription-operator"

    def setup(self) -> None:
        self._subscriptions = self.informer(SUBSCRIPTIONS)
        self._csvs = self.informer(CLUSTER_SERVICE_VERSIONS)
        self._plans = self.informer(INSTALL_PLANS)
        self._sources = self.informer(CATALOG_SOURCES)
        for informer in (self._subscriptions, self._csvs, self._plans):
            informer.add_handler(self._namespace)
        self._sources.add_handler(self._all)

    def _namespace(self, _event: str, obj: Object, _before: Object | None) -> None:
        self.queue.add(obj["metadata"]["namespace"])

    def _all(self, _event: str, _obj: Object, _before: Object | None) -> None:
        for subscription in self._subscriptions.list():
            self.queue.add(subscription["metadata"]["namespace"])

    async def reconcile(self, key: str) -> float | None:
        subscriptions = sorted(self._subscriptions.list(key), key=lambda one: str(one["metadata"]["name"]))
        if not subscriptions:
            return None
        csvs = [csv for csv in self._csvs.list(key) if not is_copy(csv)]
        steps = []
        for subscription in subscriptions:
            catalog = await self._catalog(subscription)
            if catalog is None:
                return None
            steps.append(resolve(subscription, csvs, catalog))
        waiting = [step for step in steps if step.next is not None]
        plan = await self._plan(key, waiting, subscriptions) if waiting else None
        for step in steps:
            status = status_of(step, plan, self.clock.timestamp())
            if status != {key: value for key, value in (step.subscription.get("status") or {}).items() if key != "lastUpdated"}:
                metadata = step.subscription["metadata"]
                current = await self.cluster.get(SUBSCRIPTIONS, metadata["name"], key)
                status["lastUpdated"] = self.clock.timestamp()
                await self.cluster.update(SUBSCRIPTIONS, {**current, "status": status}, "status")
        return None

    async def _catalog(self, subscription: Object) -> Catalog | None:
        """None while the catalogue is not ready."""
        spec = subscription["spec"]
        source = self._sources.get(spec["source"], spec["sourceNamespace"])
        if source is None or ((source.get("status") or {}).get("connectionState") or {}).get("lastObservedState") != "READY":
            return None
        name = (source["metadata"].get("annotations") or {}).get(CATALOG_ANNOTATION, "")
        if not name:
            return parse(None)
        try:
            return parse(await self.cluster.get(CONFIG_MAPS, name, spec["sourceNamespace"]))
        except StatusError as error:
            if error.code != 404:
                raise
            return parse(None)

    async def _plan(self, namespace: str, waiting: list[Step], subscriptions: list[Object]) -> Object:
        """The newest InstallPlan that brings these versions, made when there is none yet; one under way may have brought others already."""
        names = [step.next.name for step in waiting if step.next is not None]
        plans = (await self.cluster.list(INSTALL_PLANS, namespace)).items
        plans.sort(key=lambda plan: int(plan["spec"].get("generation", 0)))
        found = next((plan for plan in reversed(plans) if set(names) <= set(plan["spec"]["clusterServiceVersionNames"])), None)
        if found is not None:
            return found
        await self.clock.sleep(_RESOLVE)
        generation = (plans[-1]["spec"].get("generation", 0) if plans else 0) + 1
        way = approval(subscriptions)
        owners = [
            {
                "apiVersion": SUBSCRIPTIONS.api_version, "kind": "Subscription", "name": step.subscription["metadata"]["name"],
                "uid": step.subscription["metadata"]["uid"], "controller": False, "blockOwnerDeletion": False,
            }
            for step in waiting
        ]
        made = await self.cluster.create(INSTALL_PLANS, {
            "apiVersion": INSTALL_PLANS.api_version, "kind": "InstallPlan",
            "metadata": {
                "name": "install-" + "".join(secrets.choice(_ALPHABET) for dummy in range(5)), "namespace": namespace, "ownerReferences": owners,
            },
            "spec": {
                "approval": way, "approved": way == "Automatic", "clusterServiceVersionNames": names, "generation": generation,
                "source": "", "sourceNamespace": "",
            },
        })
        for old in plans[: 1 - _KEPT]:
            await self.cluster.delete(INSTALL_PLANS, old["metadata"]["name"], namespace)
        return made
