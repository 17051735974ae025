# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the handlers of every kind share: the call, its outcome, and bytes for objects that are stored.

A stored object begins, in its bytes, with its kind and apiVersion, so that another version of it, or an item of a list (which has
neither), is a matter of another beginning and not of encoding it again.
"""
from __future__ import annotations

import contextlib
import dataclasses
import typing as t

with contextlib.suppress(ImportError):
    import orjson

from ..kinds import Kind
from ..store.store import Stored
from .identity import UserInfo
from .request import Query, RequestInfo

Object = dict[str, t.Any]


@dataclasses.dataclass
class Call:
    """One authorised request on one kind. The body is raw over HTTP and an object (which is copied) from within."""

    user: UserInfo
    info: RequestInfo
    kind: Kind
    query: Query = dataclasses.field(default_factory=Query)
    body: bytes | Object | list[t.Any] = b""
    content_type: str = ""
    user_agent: str = ""
    accept: str = ""
    warnings: list[str] = dataclasses.field(default_factory=list)

    @property
    def namespace(self) -> str:
        return self.info.namespace if self.kind.namespaced else ""

    @property
    def name(self) -> str:
        return self.info.name


@dataclasses.dataclass
class Result:
    """stored, when the answer is what the store holds; else object; items for a list; body when it is none of these. version is set by writes."""

    code: int = 200
    stored: Stored | None = None
    object: Object | None = None
    items: list[Stored] | None = None
    list_metadata: Object = dataclasses.field(default_factory=dict)
    body: bytes | None = None
    version: int = 0


def dumps(value: t.Any) -> bytes:
    return orjson.dumps(value)


def canonical(kind: Kind, obj: Object) -> Object:
    """The object with its type first, in the stored version."""
    metadata = obj.get("metadata")
    if kind.custom:
        ordered: Object = {"apiVersion": obj.get("apiVersion"), "kind": kind.kind, "metadata": metadata}
    else:
        ordered = {"kind": kind.kind, "apiVersion": obj.get("apiVersion"), "metadata": metadata}
    for key, value in obj.items():
        if key not in ordered:
            ordered[key] = value
    return ordered


def _type_bytes(kind: Kind, api_version: str) -> bytes:
    if kind.custom:
        return b'{"apiVersion":"%b","kind":"%b",' % (api_version.encode(), kind.kind.encode())
    return b'{"kind":"%b","apiVersion":"%b",' % (kind.kind.encode(), api_version.encode())


def object_in(kind: Kind, stored: Stored) -> Object:
    """The stored object in the kind's version; shared, read only."""
    value = stored.value
    if value.get("apiVersion") == kind.api_version:
        return value
    return {**value, "apiVersion": kind.api_version}


def object_bytes(kind: Kind, stored: Stored) -> bytes:
    """JSON of the stored object in the kind's version."""
    held = stored.value.get("apiVersion", "")
    if held == kind.api_version:
        return stored.raw
    beginning = _type_bytes(kind, held)
    if stored.raw.startswith(beginning):
        return _type_bytes(kind, kind.api_version) + stored.raw[len(beginning):]
    return dumps(object_in(kind, stored))


def list_bytes(kind: Kind, items: t.Sequence[Stored], metadata: Object) -> bytes:
    """JSON of a list. Items of built-in kinds carry no type, those of custom kinds do."""
    if kind.custom:
        bodies = [object_bytes(kind, stored) for stored in items]
        return b'{"apiVersion":"%b","items":[%b],"kind":"%b","metadata":%b}\n' % (
            kind.api_version.encode(), b",".join(bodies), kind.list_kind.encode(), dumps({"continue": "", **metadata}),
        )
    beginnings: dict[str, bytes] = {}
    bodies = []
    for stored in items:
        held = stored.value["apiVersion"]
        beginning = beginnings.get(held)
        if beginning is None:
            beginning = beginnings[held] = _type_bytes(kind, held)
        raw = stored.raw
        bodies.append(b"{" + raw[len(beginning):] if raw.startswith(beginning) else _without_type(stored))
    return b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[%b]}\n' % (
        kind.list_kind.encode(), kind.api_version.encode(), dumps(metadata), b",".join(bodies),
    )


def _without_type(stored: Stored) -> bytes:
    return dumps({key: value for key, value in stored.value.items() if key not in ("kind", "apiVersion")})


def list_object(kind: Kind, items: t.Sequence[Stored], metadata: Object) -> Object:
    """The same list as an object; the items are shared, read only."""
    values = [object_in(kind, stored) for stored in items]
    return {"kind": kind.list_kind, "apiVersion": kind.api_version, "metadata": metadata, "items": values}
