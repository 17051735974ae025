# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An update of Virtualization as its clients see it: what OLM offers, its approval, and all that was written since."""
from __future__ import annotations

import dataclasses
import time
import typing as t
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from ..support.api import MERGE_PATCH, OPERATORS, RBAC, Api
from .waiting import eventually

Object = dict[str, t.Any]
CONDITIONS = "/apis/operators.coreos.com/v2"
GROUPS = "/apis/operators.coreos.com/v1"
TOLD = {
    "installplans": OPERATORS,
    "clusterserviceversions": OPERATORS,
    "subscriptions": OPERATORS,
    "operatorconditions": CONDITIONS,
    "hyperconvergeds": "/apis/hco.kubevirt.io/v1beta1",
    "kubevirts": "/apis/kubevirt.io/v1",
    "clusterroles": RBAC,
    "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1",
    "daemonsets": "/apis/apps/v1",
    "deployments": "/apis/apps/v1",
    "events": "/api/v1",
}
PATIENCE = 40.0


@dataclasses.dataclass(frozen=True)
class Told:
    """One event of a watch; versions order those of all resources."""

    version: int
    type: str
    resource: str
    object: Object

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def status(self) -> Object:
        found: Object = self.object.get("status") or {}
        return found


class Update:
    """The update that one engine offers in one namespace."""

    def __init__(self, api: Api, plans: int = 1) -> None:
        """Wait until the InstallPlan asks for approval."""
        self.api = api
        (found,) = eventually(lambda: self._asking(plans), PATIENCE)
        self.namespace: str = found["metadata"]["namespace"]
        self.plan: str = found["metadata"]["name"]
        self.names: list[str] = found["spec"]["clusterServiceVersionNames"]
        self.new = self.names[0]
        self.target = self.new.partition(".v")[2]
        (hyperconverged,) = api.items("/apis/hco.kubevirt.io/v1beta1/hyperconvergeds")
        self.before: str = hyperconverged["status"]["versions"][0]["version"]
        self.old = f"{self.new.partition('.v')[0]}.v{self.before}"
        self.start = int(api.get("/api/v1/namespaces")["metadata"]["resourceVersion"])

    def _asking(self, count: int) -> list[Object]:
        """The plans, once there are so many, and they and every Subscription say that they wait."""
        plans = self.api.items(f"{OPERATORS}/installplans")
        subscriptions = self.api.items(f"{OPERATORS}/subscriptions")
        said = all((plan.get("status") or {}).get("phase") == "RequiresApproval" for plan in plans)
        pending = all((one.get("status") or {}).get("state") == "UpgradePending" for one in subscriptions)
        return plans if len(plans) == count and said and pending else []

    def path(self, resource: str, name: str) -> str:
        return f"{TOLD[resource]}/namespaces/{self.namespace}/{resource}/{name}"

    def get(self, resource: str, name: str) -> Object:
        return self.api.get(self.path(resource, name))

    def patch(self, resource: str, name: str, patch: Object) -> None:
        self.api.expect(200, "PATCH", self.path(resource, name), patch, content_type=MERGE_PATCH)

    def approve(self) -> None:
        self.patch("installplans", self.plan, {"spec": {"approved": True}})

    def csvs(self) -> dict[str, str]:
        """Phases of the ClusterServiceVersions in the operators' namespace."""
        found = self.api.items(f"{OPERATORS}/namespaces/{self.namespace}/clusterserviceversions")
        return {csv["metadata"]["name"]: (csv.get("status") or {}).get("phase", "") for csv in found}

    def finished(self) -> None:
        """Wait until everything has arrived at the new version."""
        eventually(self._arrived, PATIENCE)

    def _arrived(self) -> bool:
        (hyperconverged,) = self.api.items("/apis/hco.kubevirt.io/v1beta1/hyperconvergeds")
        (kubevirt,) = self.api.items("/apis/kubevirt.io/v1/kubevirts")
        return (
            hyperconverged["status"]["versions"] == [{"name": "operator", "version": self.target}]
            and hyperconverged["status"]["systemHealthStatus"] == "healthy"
            and kubevirt["status"]["observedKubeVirtVersion"] == kubevirt["status"]["targetKubeVirtVersion"] == "v1.5.3"
            and self.csvs() == dict.fromkeys(self.names, "Succeeded")
        )

    def told(self) -> list[Told]:
        """Everything that was written since the start, in the order of writing: as watches from then tell it."""
        with ThreadPoolExecutor(len(TOLD)) as pool:
            found = pool.map(lambda resource: list(self._watch(resource)), TOLD)
        return sorted((one for events in found for one in events), key=lambda one: one.version)

    def _watch(self, resource: str) -> Iterator[Told]:
        query = f"watch=1&resourceVersion={self.start}&timeoutSeconds=1"
        for event in self.api.stream(f"{TOLD[resource]}/{resource}?{query}"):
            yield Told(int(event["object"]["metadata"]["resourceVersion"]), event["type"], resource, event["object"])


def condition(obj: Object, kind: str) -> Object:
    """A condition of an object's status; empty when it has none."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((entry for entry in conditions if entry["type"] == kind), {})


def changes(values: t.Iterable[t.Any]) -> list[t.Any]:
    """Values one after the other, without repetitions."""
    found: list[t.Any] = []
    for value in values:
        if not found or found[-1] != value:
            found.append(value)
    return found


def versions(api: Api) -> dict[tuple[str, str, str], str]:
    """The resource version of every object of the cluster, but for Events, by resource, namespace and name."""
    found: dict[tuple[str, str, str], str] = {}
    served = [("v1", "/api/v1")] + [
        (group["preferredVersion"]["groupVersion"], f"/apis/{group['preferredVersion']['groupVersion']}") for group in api.get("/apis")["groups"]
    ]
    for version, path in served:
        for resource in api.get(path)["resources"]:
            if "/" not in resource["name"] and "list" in resource["verbs"] and resource["kind"] != "Event":
                for obj in api.items(f"{path}/{resource['name']}"):
                    metadata = obj["metadata"]
                    found[f"{version}/{resource['name']}", metadata.get("namespace", ""), metadata["name"]] = metadata["resourceVersion"]
    return found


def written(api: Api, seconds: float) -> set[tuple[str, str, str]]:
    """What was written, made or deleted in so many real seconds."""
    before = versions(api)
    time.sleep(seconds)
    return {key for key, dummy in before.items() ^ versions(api).items()}
