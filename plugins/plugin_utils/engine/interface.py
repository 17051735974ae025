# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a controller sees of the cluster, and nothing else.

Controllers are written against `Cluster` alone, so they run against the embedded API server or any other.
"""
from __future__ import annotations

import dataclasses
import typing as t

Object = dict[str, t.Any]
Patch = dict[str, t.Any] | list[t.Any]


class Ref(t.NamedTuple):
    """One served resource: API group ("" is core), version and plural."""

    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


NAMESPACES = Ref("", "v1", "namespaces")
SERVICE_ACCOUNTS = Ref("", "v1", "serviceaccounts")
CONFIG_MAPS = Ref("", "v1", "configmaps")
EVENTS = Ref("", "v1", "events")
PODS = Ref("", "v1", "pods")
NODES = Ref("", "v1", "nodes")
PERSISTENT_VOLUME_CLAIMS = Ref("", "v1", "persistentvolumeclaims")
DEPLOYMENTS = Ref("apps", "v1", "deployments")
REPLICA_SETS = Ref("apps", "v1", "replicasets")
DAEMON_SETS = Ref("apps", "v1", "daemonsets")
STATEFUL_SETS = Ref("apps", "v1", "statefulsets")
CONTROLLER_REVISIONS = Ref("apps", "v1", "controllerrevisions")
POD_DISRUPTION_BUDGETS = Ref("policy", "v1", "poddisruptionbudgets")
CLUSTER_ROLES = Ref("rbac.authorization.k8s.io", "v1", "clusterroles")
CLUSTER_ROLE_BINDINGS = Ref("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
ROLES = Ref("rbac.authorization.k8s.io", "v1", "roles")
ROLE_BINDINGS = Ref("rbac.authorization.k8s.io", "v1", "rolebindings")
KUBEVIRTS = Ref("kubevirt.io", "v1", "kubevirts")
CUSTOM_RESOURCE_DEFINITIONS = Ref("apiextensions.k8s.io", "v1", "customresourcedefinitions")


class WatchEvent(t.NamedTuple):
    """type is ADDED, MODIFIED, DELETED or BOOKMARK. An ERROR event is raised as StatusError instead."""

    type: str
    object: Object


@dataclasses.dataclass(frozen=True)
class ObjectList:
    items: list[Object]
    resource_version: str


class Cluster(t.Protocol):
    """The API as one authenticated identity. Every call may raise StatusError. Returned objects may be shared: read only."""

    async def get(self, ref: Ref, name: str, namespace: str = "", subresource: str = "") -> Object: ...

    async def list(self, ref: Ref, namespace: str = "", label_selector: str = "", field_selector: str = "") -> ObjectList: ...

    def watch(
        self,
        ref: Ref,
        namespace: str = "",
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> t.AsyncIterator[WatchEvent]: ...

    async def follow(
        self, ref: Ref, seen: t.Callable[[str, Object], None], resource_version: str, label_selector: str = "", field_selector: str = ""
    ) -> None:
        """As watch() of all namespaces, but `seen` is called with type and object of each event; returns when the watch ends.

        For who follows for long and need not wait between events, as informers: much less work for each. Without bookmarks.
        """

    async def create(
        self, ref: Ref, obj: Object, namespace: str = "", subresource: str = "", name: str = "", dry_run: bool = False
    ) -> Object: ...

    async def update(self, ref: Ref, obj: Object, subresource: str = "") -> Object: ...

    async def patch(
        self,
        ref: Ref,
        name: str,
        patch: Patch,
        namespace: str = "",
        subresource: str = "",
        content_type: str = "application/merge-patch+json",
        field_manager: str = "",
        force: bool = False,
    ) -> Object: ...

    async def delete(
        self, ref: Ref, name: str, namespace: str = "", uid: str = "", propagation: str = "", grace_period: int | None = None
    ) -> Object: ...

    def as_service_account(self, namespace: str, name: str) -> Cluster: ...

    def as_user(self, name: str, groups: t.Sequence[str] = ()) -> Cluster: ...

    def with_user_agent(self, user_agent: str) -> Cluster: ...
