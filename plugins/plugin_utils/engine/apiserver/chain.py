# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server: one chain for every request.

authenticate → authorise → admit → validate → store → answer (or watch). From authorisation to store nothing else runs, so each
write is atomic and judged by what all earlier ones left.
"""
from __future__ import annotations

import collections.abc
import contextlib
import logging
import typing as t
import uuid

with contextlib.suppress(ImportError):
    from cryptography.hazmat.primitives.asymmetric import ec

from .. import errors
from ..clock import Clock
from ..errors import PlainError, StatusError
from ..faults import Chance, ConnectionReset
from ..kinds import Kind, Registry
from ..store.store import AlreadyExists, Store
from . import discovery, reading
from .admission import Admission, Preparation
from .authentication import Authenticator, ServiceAccountTokens
from .authorization import RESOURCES, Attributes, Authorizer, refusal
from .custom_resources import CustomResources
from .deleting import Deleter
from .identity import UserInfo
from .impersonation import forbidden_request, impersonate
from .negotiation import JSON, PLAIN, Negotiated, accept_for, encode, wants_pretty
from .nonresource import NonResources
from .request import Request, RequestInfo, Response, WatchResponse, request_info
from .resources import Call, Object, Result, canonical, list_bytes, list_object, object_bytes, object_in
from .reviews import Reviews
from .service_proxy import service_proxy
from .subresources import Subresources
from .tables import partial_list, partial_object, table
from .watching import Watch, frames
from .writing import Writer

_LOG = logging.getLogger(__name__)
_HEADERS = {"Cache-Control": "no-cache, private"}
_COLLECTION = frozenset(("list", "watch", "create", "deletecollection"))
_INCLUDE = ("Metadata", "None", "Object")
BODY_LIMIT = 3 * 1024 * 1024
"""Bytes. Source: apiserver pkg/server/config.go (MaxRequestBodyBytes)."""


class _Waiting(t.NamedTuple):
    """A request that waits for something before it is done."""

    call: Call
    accepted: Negotiated
    preparation: Preparation


class ApiServer:
    """One API server over one store. Its parts are open for the engine's own admission, subresources and controllers."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        service_account_key: ec.EllipticCurvePrivateKey,
        static_tokens: t.Mapping[str, UserInfo] | None = None,
        version: str = "v1.32.8",
    ) -> None:
        self.store, self.registry, self.clock = store, registry, clock
        tokens = ServiceAccountTokens(store, clock, service_account_key)
        self.authenticator = Authenticator(tokens, static_tokens)
        self.authorizer = Authorizer()
        self.admission = Admission()
        self.writer = Writer(store, self.authorizer, self.admission, clock)
        self.deleter = Deleter(store, self.writer, clock)
        self.subresources = Subresources(store, self.writer)
        self.reviews = Reviews(store, self.authorizer, self.authenticator, clock)
        self.subresources.register(("", "serviceaccounts"), "token", self.reviews.token_request)
        self.subresources.register(("", "services"), "proxy", service_proxy(store))
        self.custom_resources = CustomResources(store, registry, clock)
        self.writer.observers.append(self.custom_resources.observe)
        self.nonresources = NonResources(tokens, version)
        self.endpoints: dict[str, t.Callable[[Request], Response]] = {}
        self.faults: Chance | None = None
        self.faults_for_controllers = False
        for resource in RESOURCES:
            for stored in store.list(resource):
                self.authorizer.observe(resource, stored.namespace, stored.name, stored.value)

    async def handle(self, request: Request) -> Response | WatchResponse:
        """Answer any request; no exception leaves but cancellation and, where a fault is set, ConnectionReset."""
        try:
            if self.faults is not None:
                await self._befall(self.faults, request)
            answer = self._handle(request)
            if isinstance(answer, _Waiting):
                await answer.preparation(answer.call)
                answer = self._answer(request, answer.call, self.execute(answer.call), answer.accepted)
            return answer
        except StatusError as error:
            return _failure(error, request)
        except ConnectionReset:
            raise
        except Exception:
            incident = str(uuid.uuid4())
            _LOG.exception("request %s %s failed (%s)", request.method, request.path, incident)
            return _failure(errors.internal(f"unexpected failure {incident}"), request)

    def _handle(self, request: Request) -> Response | WatchResponse | _Waiting:
        info = request_info(request)
        user = self.authenticator.authenticate(request)
        asked = Attributes.of(info)
        headers = request.headers
        if "Impersonate-User" in headers or "Impersonate-Group" in headers or "Impersonate-Uid" in headers:
            user = impersonate(self.authorizer, user, headers, asked)
        self._authorize(user, asked)
        if len(request.body) > BODY_LIMIT:
            raise errors.too_large(BODY_LIMIT)
        if not info.is_resource or request.path in self.endpoints:
            return self._document(request)
        kind = self.kind_of(info)
        accepted = _accepted(request, kind, info)
        call = Call(user, info, kind, request.query, request.body, headers.get("Content-Type", ""), headers.get("User-Agent", ""), headers.get("Accept", ""))
        if info.verb == "watch":
            return self._watch(call, accepted)
        if info.verb == "get" and not info.subresource and accepted is PLAIN and not request.query and not kind.deprecation_warning:
            # The commonest request: what is stored goes out as it is.
            stored = reading.find(self.store, call)
            if not _wants_pretty(request):
                return Response(200, object_bytes(kind, stored), dict(_HEADERS))
        preparation = self.admission.preparation(call)
        if preparation is not None:
            return _Waiting(call, accepted, preparation)
        return self._answer(request, call, self.execute(call), accepted)

    async def _befall(self, faults: Chance, request: Request) -> None:
        info = request_info(request)
        if info.is_resource:
            user = self.user_of(request)
            name = request.headers.get("Impersonate-User") or (user.name if user is not None else "")
            await faults.befall(info.verb, info.group, info.full_resource, name)

    async def befall_controller(self, call: Call) -> None:
        """What a set fault does to a call of the engine's own, when it is set for these too. Raises StatusError."""
        if self.faults is not None and self.faults_for_controllers:
            info = call.info
            try:
                await self.faults.befall(info.verb, info.group, info.full_resource, call.user.name)
            except ConnectionReset as error:
                raise errors.internal("connection reset by peer") from error

    def user_of(self, request: Request) -> UserInfo | None:
        """Who made a request, for the audit log; None when nobody could be found out."""
        try:
            return self.authenticator.authenticate(request)
        except StatusError:
            return None

    def _authorize(self, user: UserInfo, asked: Attributes) -> None:
        allowed, reason = self.authorizer.authorize(user, asked)
        if not allowed:
            raise forbidden_request(asked, refusal(user, asked, reason))

    def authorized(self, call: Call) -> Result:
        """A reading call from within the process, by an identity that is known: the same chain without HTTP. Raises StatusError."""
        self._authorize(call.user, Attributes.of(call.info))
        return self.execute(call)

    async def write(self, call: Call) -> Result:
        """A writing call from within the process; see authorized."""
        self._authorize(call.user, Attributes.of(call.info))
        preparation = self.admission.preparation(call)
        if preparation is not None:
            await preparation(call)
        return self.execute(call)

    def adopt(self, call: Call, namespace: str, name: str, obj: Object) -> None:
        """Store an object that was an API server's before, without a word on it. Raises StatusError 403, 409."""
        self._authorize(call.user, Attributes.of(call.info))
        try:
            stored = self.store.create(call.kind.resource, namespace, name, canonical(call.kind, obj))
        except AlreadyExists as error:
            raise errors.already_exists(call.kind, name) from error
        self.writer.changed(stored, deleted=False)

    def watch(self, call: Call) -> Watch:
        """A watch from within the process. Raises StatusError."""
        self._authorize(call.user, Attributes.of(call.info))
        return Watch(self.store, call)

    def kind_of(self, info: RequestInfo) -> Kind:
        """The kind that a path names. Raises StatusError 404 or 405."""
        kind = self.registry.lookup(info.group, info.version, info.resource)
        if kind is None:
            raise self._unknown(info)
        in_namespace = bool(info.namespace) and info.resource != "namespaces"
        if in_namespace and not kind.namespaced:
            raise errors.page_not_found() if kind.custom else errors.resource_not_found()
        if kind.namespaced and not in_namespace and info.verb not in ("list", "watch"):
            raise errors.resource_not_found() if info.name else errors.method_not_allowed()
        if info.subresource:
            return kind
        named = info.verb not in _COLLECTION
        if not kind.stored:
            if info.verb == "create" and not info.name and "create" in kind.verbs:
                return kind
            raise errors.resource_not_found() if info.name else errors.method_not_allowed()
        if (info.verb == "create" and info.name) or (named and not info.name):
            raise errors.method_not_allowed()
        if info.verb not in kind.verbs:
            raise errors.definition_terminating(info.verb) if kind.custom else errors.method_not_allowed()
        return kind

    def _unknown(self, info: RequestInfo) -> StatusError:
        served = [kind for version in self.registry.versions(info.group) for kind in self.registry.kinds(info.group, version)]
        if not served or served[0].custom:
            return errors.page_not_found()
        return errors.resource_not_found()

    def execute(self, call: Call) -> Result:
        """Do what an authorised call asks. Raises StatusError."""
        info = call.info
        if info.subresource:
            return self.subresources.handle(call)
        if not call.kind.stored:
            return self.reviews.create(call)
        if info.verb == "get":
            return reading.get(self.store, call)
        if info.verb == "list":
            return reading.list_(self.store, call)
        self.clock.activity()
        if info.verb == "create":
            return self.writer.create(call)
        if info.verb == "update":
            return self.writer.update(call)
        if info.verb == "patch":
            return self.writer.patch(call)
        if info.verb == "delete":
            return self.deleter.delete(call)
        if info.verb == "deletecollection":
            return self.deleter.delete_collection(call)
        raise errors.method_not_allowed()

    def _document(self, request: Request) -> Response:
        endpoint = self.endpoints.get(request.path)
        if endpoint is not None:
            return endpoint(request)
        if request.method not in ("GET", "HEAD"):
            raise errors.method_not_allowed() if request.path.startswith(("/api", "/openapi")) else errors.page_not_found()
        answer = self.nonresources.handle(request)
        if answer is None:
            found = discovery.document(
                request.path, request.headers.get("Accept"), self.registry, request.headers.get("If-None-Match", ""), request.query
            )
            answer = Response(found.status, found.body, dict(found.headers), found.content_type)
        answer.headers = {**_HEADERS, **answer.headers}
        return answer

    def _watch(self, call: Call, accepted: Negotiated) -> WatchResponse:
        watch = Watch(self.store, call)
        shown = _shown(self, call, accepted)
        content_type = accepted.media_type + (";stream=watch" if accepted.as_kind else "")
        return WatchResponse(_started(frames(call.kind, watch, shown)), 200, dict(_HEADERS), content_type)

    def _answer(self, request: Request, call: Call, result: Result, accepted: Negotiated) -> Response:
        headers = dict(_HEADERS)
        if call.warnings:
            headers["Warning"] = ", ".join(f"299 - {errors.quote(text)}" for text in call.warnings)
        if call.kind.deprecation_warning:
            headers["Warning"] = f"299 - {errors.quote(call.kind.deprecation_warning)}"
        if result.body is not None:
            return Response(result.code, result.body, headers, "", result.version)
        kind, plain = call.kind, accepted.media_type == JSON and not accepted.as_kind and not _wants_pretty(request)
        if plain and result.stored is not None:
            return Response(result.code, object_bytes(kind, result.stored), headers, version=result.version)
        if plain and result.items is not None:
            return Response(result.code, list_bytes(kind, result.items, result.list_metadata), headers)
        body = self._object(call, result, accepted)
        return Response(
            result.code, encode(body, accepted.media_type, _wants_pretty(request)), headers, accepted.content_type, result.version
        )

    def _object(self, call: Call, result: Result, accepted: Negotiated) -> Object:
        kind = call.kind
        if result.items is not None:
            values = [object_in(kind, stored) for stored in result.items]
            if accepted.as_kind == "Table":
                return table(kind, values, _include(call), result.list_metadata, accepted.as_api_version, self.clock.now())
            if accepted.as_kind:
                return partial_list(kind, values, result.list_metadata, accepted.as_api_version)
            return list_object(kind, result.items, result.list_metadata)
        value = object_in(kind, result.stored) if result.stored is not None else result.object or {}
        if not accepted.as_kind or value.get("kind") != kind.kind:
            return value
        if accepted.as_kind == "Table":
            metadata = {"resourceVersion": value["metadata"].get("resourceVersion", "")}
            return table(kind, [value], _include(call), metadata, accepted.as_api_version, self.clock.now())
        return partial_object(value, accepted.as_api_version)


async def _started(lines: collections.abc.AsyncGenerator[bytes, None]) -> collections.abc.AsyncGenerator[bytes, None]:
    """The lines, closing what they come from even when nobody reads the first one."""
    try:
        async for line in lines:
            yield line
    finally:
        await lines.aclose()


def _accepted(request: Request, kind: Kind, info: RequestInfo) -> Negotiated:
    accept = request.headers.get("Accept")
    if not accept or accept == JSON:
        return PLAIN
    return accept_for(accept, kind, info.verb)


def _wants_pretty(request: Request) -> bool:
    return wants_pretty(request.query.get("pretty") or ("true" if "pretty" in request.query else ""), request.headers.get("User-Agent", ""))


def _shown(server: ApiServer, call: Call, accepted: Negotiated) -> t.Callable[[Object], Object] | None:
    """How a watch shows its objects when they are not asked for as they are."""
    if accepted.as_kind == "Table":
        headers, include = iter((True,)), _include(call)

        def as_table(value: Object) -> Object:
            metadata = {"resourceVersion": value["metadata"].get("resourceVersion", "")}
            # The columns come with the first event only.
            return table(call.kind, [value], include, metadata, accepted.as_api_version, server.clock.now(), next(headers, False))

        return as_table
    if accepted.as_kind:
        return lambda value: partial_object(value, accepted.as_api_version)
    return None


def _include(call: Call) -> str:
    """Raises StatusError 400. Source: apimachinery pkg/apis/meta/v1/validation (ValidateTableOptions)."""
    wanted = call.query.get("includeObject") or "Metadata"
    if wanted not in _INCLUDE:
        cause = errors.unsupported_value("includeObject", wanted, (*_INCLUDE, ""))
        raise errors.bad_request(f"Unable to convert to Table as requested: {cause.field}: {cause.message}")
    return wanted


def _failure(error: StatusError, request: Request) -> Response:
    headers = {**_HEADERS, **error.headers}
    if isinstance(error, PlainError):
        return Response(error.code, error.message.encode(), {**headers, "X-Content-Type-Options": "nosniff"}, "text/plain; charset=utf-8")
    return Response(error.code, encode(error.to_status(), JSON, _wants_pretty(request)), headers)
