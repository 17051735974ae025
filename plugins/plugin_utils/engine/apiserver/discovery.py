# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server tells of itself: groups, versions and resources, legacy and aggregated, and the OpenAPI documents.

Source: Kubernetes apiserver pkg/endpoints/discovery and discovery/aggregated; apiextensions-apiserver customresource_discovery.
"""
from __future__ import annotations

import dataclasses
import hashlib
import typing as t
import weakref

from .. import errors
from ..kinds import Kind, Registry, Subresource
from . import openapi
from .negotiation import JSON, YAML, encode, negotiate, only_known

Object = dict[str, t.Any]
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_ADDRESSES = [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"}]
_OTHER_PATHS = ("/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/openid/v1/jwks", "/readyz", "/version")


class Query(t.Protocol):
    def get(self, name: str, default: str = "") -> str: ...


@dataclasses.dataclass(frozen=True)
class Document:
    body: bytes
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    content_type: str = JSON
    status: int = 200


_Documents = dict[tuple[str, str], Document]
_CACHE: weakref.WeakKeyDictionary[Registry, tuple[int, _Documents]] = weakref.WeakKeyDictionary()


def document(path: str, accept: str | None, registry: Registry, if_none_match: str = "", query: Query | None = None) -> Document:
    """The document of a path. Raises StatusError 404 and 406."""
    path = path.rstrip("/") or "/"
    if path == "/openapi/v2":
        return _openapi_v2(accept, registry, if_none_match)
    root = path in ("/api", "/apis")
    accepted = negotiate(accept, ("APIGroupDiscoveryList",) if root else ())
    if accepted is None:
        raise only_known()
    form = accepted.as_kind or accepted.media_type
    revision, documents = _CACHE.get(registry, (-1, {}))
    if revision != registry.revision:
        documents = {}
        _CACHE[registry] = (registry.revision, documents)
    found = documents.get((path, form))
    if found is None:
        found = documents[path, form] = _made(path, form, registry)
    if "Etag" in found.headers and if_none_match and if_none_match == found.headers["Etag"]:
        return Document(b"", found.headers, found.content_type, 304)
    return found


def _etag(body: bytes) -> str:
    return '"' + hashlib.sha512(body).hexdigest().upper() + '"'


def _made(path: str, form: str, registry: Registry) -> Document:
    if form == "APIGroupDiscoveryList":
        body = encode(_aggregated(registry, core=path == "/api"))
        return Document(body, {"Cache-Control": "public", "Etag": _etag(body), "Vary": "Accept"}, _AGGREGATED)
    if path.startswith("/openapi/v3"):
        return _openapi_v3(path, registry)
    body = encode(_legacy(path, registry), YAML if form == YAML else JSON)
    headers = {"Cache-Control": "no-cache, private"}
    if path in ("/api", "/apis"):
        headers.update({"Vary": "Accept", "Etag": _etag(body)})
    return Document(body, headers, YAML if form == YAML else JSON)


def _legacy(path: str, registry: Registry) -> Object:
    parts = path.strip("/").split("/")
    if path == "/":
        return {"paths": _paths(registry)}
    if parts == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": _ADDRESSES}
    if parts == ["apis"]:
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(registry, group) for group in registry.groups() if group]}
    if parts[0] == "apis" and len(parts) == 2 and parts[1] in registry.groups():
        return {"kind": "APIGroup", "apiVersion": "v1", **_group(registry, parts[1])}
    if parts == ["api", "v1"]:
        return _resources(registry, "", "v1")
    if parts[0] == "apis" and len(parts) == 3 and parts[1] in registry.groups():
        if parts[2] in registry.versions(parts[1]):
            return _resources(registry, parts[1], parts[2])
        raise errors.resource_not_found()
    raise errors.page_not_found()


def _paths(registry: Registry) -> list[str]:
    found = {"/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/", *_OTHER_PATHS}
    for group in filter(None, registry.groups()):
        found.update([f"/apis/{group}", *(f"/apis/{group}/{version}" for version in registry.versions(group))])
    return sorted(found)


def _group(registry: Registry, group: str) -> Object:
    versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in registry.versions(group)]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _resources(registry: Registry, group: str, version: str) -> Object:
    entries: list[Object] = []
    for kind in registry.kinds(group, version):
        entry: Object = {"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
                         "verbs": list(kind.verbs)}
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        if kind.stored:
            entry["storageVersionHash"] = kind.storage_version_hash
        entries.append(entry)
        for sub in _listed(kind):
            below: Object = {"name": f"{kind.plural}/{sub.name}", "singularName": "", "namespaced": kind.namespaced}
            if sub.group and sub.group != kind.group:
                below.update(group=sub.group, version=sub.version)
            entries.append({**below, "kind": sub.kind or kind.kind, "verbs": list(sub.verbs)})
    listing: Object = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{version}" if group else version}
    if not group:
        del listing["apiVersion"]
    return {**listing, "resources": entries}


def _listed(kind: Kind) -> t.Sequence[Subresource]:
    return kind.subresource_list if kind.custom else sorted(kind.subresource_list, key=lambda sub: sub.name)


def _aggregated(registry: Registry, core: bool) -> Object:
    items = [
        {
            "metadata": {"name": group} if group else {},
            "versions": [
                {"version": version, "resources": [_discovered(kind) for kind in registry.kinds(group, version)], "freshness": "Current"}
                for version in registry.versions(group)
            ],
        }
        for group in registry.groups() if (group == "") is core
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _discovered(kind: Kind) -> Object:
    # Built-in kinds leave group and version to the reader, custom ones name them.
    group, version = (kind.group, kind.version) if kind.custom else ("", "")
    entry: Object = {
        "resource": kind.plural, "responseKind": {"group": group, "version": version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster", "singularResource": kind.singular, "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.subresource_list:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {"group": sub.group or group, "version": sub.version or version, "kind": sub.kind or kind.kind},
                "verbs": list(sub.verbs),
            }
            for sub in _listed(kind)
        ]
    return entry


def _openapi_v3(path: str, registry: Registry) -> Document:
    parts = path.strip("/").split("/")[2:]
    if not parts:
        return Document(encode(openapi.index(registry, lambda group, version: _openapi_hash(registry, group, version))))
    if parts == ["api", "v1"]:
        group, version = "", "v1"
    elif len(parts) == 3 and parts[0] == "apis" and parts[2] in registry.versions(parts[1]):
        group, version = parts[1], parts[2]
    else:
        raise errors.page_not_found()
    body = encode(openapi.document(registry, group, version))
    return Document(body, {"Cache-Control": "no-cache, private", "Etag": _etag(body), "Vary": "Accept"})


def _openapi_hash(registry: Registry, group: str, version: str) -> str:
    """Names the content, so that clients may keep what they fetched."""
    return hashlib.sha512(repr([(kind, kind.schema) for kind in registry.kinds(group, version)]).encode()).hexdigest().upper()


_OPENAPI_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
# A Document with nothing but `swagger` and `info`: kubectl asks for it only to learn that version 3 knew everything there is.
_EMPTY_DOCUMENT = b"\x0a\x032.0\x12\x19\x0a\x0aKubernetes\x12\x0bunversioned"


def _openapi_v2(accept: str | None, registry: Registry, if_none_match: str) -> Document:
    if accept and accept.startswith("application/com.github.proto-openapi.spec.v2@"):
        return Document(_EMPTY_DOCUMENT, {"Etag": _etag(_EMPTY_DOCUMENT), "Vary": "Accept"}, _OPENAPI_V2_PROTOBUF.replace("@", "."))
    if negotiate(accept, ()) is None:
        raise errors.not_acceptable("406: Not Acceptable\n\nAvailable representations: application/json", {})
    body = encode(openapi.swagger(registry))
    etag = _etag(body)
    return Document(b"" if if_none_match == etag else body, {"Etag": etag, "Vary": "Accept"}, JSON, 304 if if_none_match == etag else 200)
