# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A request and an answer, free of any HTTP library, and what a request is about.

Source: Kubernetes apiserver pkg/endpoints/request/requestinfo.go.
"""
from __future__ import annotations

import dataclasses
import typing as t
from urllib.parse import parse_qs, unquote

if t.TYPE_CHECKING:
    from multidict import CIMultiDict, CIMultiDictProxy

    Headers = CIMultiDict[str] | CIMultiDictProxy[str]

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NO_QUERY: dict[str, list[str]] = {}


class Query:
    """The query parameters: the first value counts, as in the real server."""

    __slots__ = ("values",)

    def __init__(self, text: str = "") -> None:
        self.values: dict[str, list[str]] = parse_qs(text, keep_blank_values=True) if text else _NO_QUERY

    @classmethod
    def of(cls, given: t.Mapping[str, str]) -> Query:
        """One whose parameters are known; those that are empty are left out."""
        made = cls()
        made.values = {name: [value] for name, value in given.items() if value}
        return made

    def get(self, name: str, default: str = "") -> str:
        found = self.values.get(name)
        return found[0] if found else default

    def all(self, name: str) -> list[str]:
        return self.values.get(name, [])

    def flag(self, name: str) -> bool:
        """True unless absent, "false" or "0". Source: apimachinery pkg/runtime/conversion.go."""
        found = self.values.get(name)
        return found is not None and found[0].lower() not in ("false", "0")

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __bool__(self) -> bool:
        return bool(self.values)


@dataclasses.dataclass
class Request:
    """One request. `target` is the undecoded request target; `peer_certificate` is DER, verified by TLS against our CA."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""
    peer_certificate: bytes | None = None
    peer: str = "127.0.0.1"
    path: str = ""
    query: Query = dataclasses.field(default_factory=Query)

    def __post_init__(self) -> None:
        path, dummy, query = self.target.partition("?")
        self.path = unquote(path) if "%" in path else path
        if query:
            self.query = Query(query)


@dataclasses.dataclass
class RequestInfo:
    """What a request wants. For a path that is no resource only verb and path count."""

    verb: str
    path: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclasses.dataclass
class Response:
    status: int
    body: bytes = b""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    content_type: str = "application/json"
    version: int = 0
    """The store's version of a write; the server answers when it is on disk. 0 for reads."""


@dataclasses.dataclass
class WatchResponse:
    """An answer that goes on: frames end with the iterator, which the server closes when the client leaves."""

    frames: t.AsyncGenerator[bytes, None]
    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    content_type: str = "application/json"


def request_info(request: Request) -> RequestInfo:
    """Find verb, resource, namespace and name in method and path."""
    verb = _VERBS.get(request.method, request.method.lower())
    parts = request.path.strip("/").split("/")
    info = RequestInfo(request.method.lower(), request.path)
    if parts[0] == "api" and len(parts) >= 3:
        info.version, rest = parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        info.group, info.version, rest = parts[1], parts[2], parts[3:]
    else:
        return info
    info.is_resource, info.verb = True, verb
    watched = rest[0] == "watch" and len(rest) > 1
    if watched:
        rest = rest[1:]
    if rest[0] == "namespaces" and len(rest) > 1:
        info.namespace = rest[1]
        if len(rest) > 2 and rest[2] not in ("status", "finalize"):
            rest = rest[2:]
    info.resource = rest[0]
    if len(rest) > 1:
        info.name = rest[1]
    if len(rest) > 2:
        info.subresource = "/".join(rest[2:])
    if watched:
        info.verb = "watch"
    elif not info.name:
        _collection_verb(request, info)
    return info


def _collection_verb(request: Request, info: RequestInfo) -> None:
    if info.verb == "get":
        info.verb = "watch" if request.query.flag("watch") else "list"
        # A list of one name by field selector is authorised for that name, so that resourceNames rules apply.
        selector = request.query.get("fieldSelector")
        if selector.startswith("metadata.name=") and "," not in selector:
            info.name = selector.removeprefix("metadata.name=").lstrip("=")
    elif info.verb == "delete":
        info.verb = "deletecollection"
