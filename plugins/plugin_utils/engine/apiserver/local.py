# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster as the engine's own controllers see it: the same chain as over HTTP, without the wire."""
from __future__ import annotations

import collections.abc
import typing as t

from .. import errors
from ..interface import Object, ObjectList, Patch, Ref, WatchEvent
from .chain import ApiServer
from .identity import AUTHENTICATED, UserInfo, service_account_user
from .negotiation import JSON
from .request import Query, RequestInfo
from .resources import Call, Result, object_in
from .watching import Seen, Watch


class LocalCluster:
    """The API as one identity; see interface.Cluster. Whoever holds this object is trusted to be that identity."""

    def __init__(self, server: ApiServer, user: UserInfo, user_agent: str = "kube-controller-manager") -> None:
        self._server, self.user, self._user_agent = server, user, user_agent

    def as_service_account(self, namespace: str, name: str) -> LocalCluster:
        return LocalCluster(self._server, service_account_user(namespace, name), self._user_agent)

    def as_user(self, name: str, groups: t.Sequence[str] = ()) -> LocalCluster:
        return LocalCluster(self._server, UserInfo(name, (*groups, AUTHENTICATED)), self._user_agent)

    def with_user_agent(self, user_agent: str) -> LocalCluster:
        """The same identity under another name in managedFields."""
        return LocalCluster(self._server, self.user, user_agent)

    def _call(
        self, verb: str, ref: Ref, namespace: str, name: str = "", subresource: str = "", query: dict[str, str] | None = None,
        body: t.Any = None, content_type: str = JSON,
    ) -> Call:
        path = "/".join(part for part in (ref.api_version, namespace, ref.plural, name, subresource) if part)
        info = RequestInfo(verb, path, True, ref.group, ref.version, ref.plural, subresource, namespace, name)
        if ref.plural == "namespaces" and not ref.group and name:
            info.namespace = name
        kind = self._server.kind_of(info)
        return Call(self.user, info, kind, Query.of(query or {}), {} if body is None else body, content_type, self._user_agent)

    async def _do(self, call: Call) -> Object:
        if self._server.faults is not None:
            await self._server.befall_controller(call)
        return _object(call, self._server.authorized(call))

    async def _write(self, call: Call) -> Object:
        if self._server.faults is not None:
            await self._server.befall_controller(call)
        return _object(call, await self._server.write(call))

    async def get(self, ref: Ref, name: str, namespace: str = "", subresource: str = "") -> Object:
        return await self._do(self._call("get", ref, namespace, name, subresource))

    async def list(self, ref: Ref, namespace: str = "", label_selector: str = "", field_selector: str = "") -> ObjectList:
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        call = self._call("list", ref, namespace, query=query)
        if self._server.faults is not None:
            await self._server.befall_controller(call)
        result = self._server.authorized(call)
        items = [object_in(call.kind, stored) for stored in result.items or ()]
        return ObjectList(items, result.list_metadata["resourceVersion"])

    async def watch(
        self,
        ref: Ref,
        namespace: str = "",
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> collections.abc.AsyncIterator[WatchEvent]:
        watch = await self._watch(ref, namespace, resource_version, label_selector, field_selector)
        events = watch.events()
        try:
            async for kind, value, _stored in events:
                yield WatchEvent(kind, value)
        finally:
            await events.aclose()
            watch.close()

    async def follow(self, ref: Ref, seen: Seen, resource_version: str, label_selector: str = "", field_selector: str = "") -> None:
        watch = await self._watch(ref, "", resource_version, label_selector, field_selector)
        await watch.hand_over(seen)

    async def _watch(self, ref: Ref, namespace: str, resource_version: str, label_selector: str, field_selector: str) -> Watch:
        query = {"labelSelector": label_selector, "fieldSelector": field_selector, "resourceVersion": resource_version, "watch": "1"}
        call = self._call("watch", ref, namespace, query=query)
        if self._server.faults is not None:
            await self._server.befall_controller(call)
        return self._server.watch(call)

    async def create(
        self, ref: Ref, obj: Object, namespace: str = "", subresource: str = "", name: str = "", dry_run: bool = False
    ) -> Object:
        metadata = obj.get("metadata") or {}
        namespace = namespace or metadata.get("namespace") or ""
        name = name or (metadata.get("name") or "" if subresource else "")
        query = {"dryRun": "All"} if dry_run else None
        return await self._write(self._call("create", ref, namespace, name, subresource, query, obj))

    async def update(self, ref: Ref, obj: Object, subresource: str = "") -> Object:
        metadata = obj["metadata"]
        return await self._write(self._call("update", ref, metadata.get("namespace") or "", metadata["name"], subresource, body=obj))

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
    ) -> Object:
        query = {"fieldManager": field_manager, "force": "true" if force else ""}
        return await self._write(self._call("patch", ref, namespace, name, subresource, query, patch, content_type))

    def adopt(self, ref: Ref, obj: Object) -> None:
        """Take an object over as it is, version aside: for loading what an API server has made before. Raises StatusError 409."""
        metadata = obj["metadata"]
        namespace = metadata.get("namespace") or ""
        self._server.adopt(self._call("create", ref, namespace), namespace, metadata["name"], obj)

    async def delete(
        self, ref: Ref, name: str, namespace: str = "", uid: str = "", propagation: str = "", grace_period: int | None = None
    ) -> Object:
        options: Object = {}
        if uid:
            options["preconditions"] = {"uid": uid}
        if propagation:
            options["propagationPolicy"] = propagation
        if grace_period is not None:
            options["gracePeriodSeconds"] = grace_period
        return await self._write(self._call("delete", ref, namespace, name, body=options))


def _object(call: Call, result: Result) -> Object:
    if result.stored is not None:
        return object_in(call.kind, result.stored)
    if result.object is None:
        raise errors.internal("the call has no object to answer with")
    return result.object
