# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of an object as patches and field ownership see it: what is one value and what is merged by which key.

Source: structured-merge-diff schema; x-kubernetes-list-type, -list-map-keys, -map-type and -patch-merge-key of OpenAPI.
"""
from __future__ import annotations

import functools
import typing as t

from ..kinds import Kind
from .builtin_types import OBJECT_META, Field, type_named

# Structs that are no pointers: they are there, empty, in an object that was just made, so nobody comes to own them as a whole.
_ALWAYS_THERE = {"metadata", "spec", "status", "template"}
_ALSO_THERE = {
    ("apps.v1.DeploymentSpec", "strategy"), ("apps.v1.DaemonSetSpec", "updateStrategy"), ("apps.v1.StatefulSetSpec", "updateStrategy"),
    ("apiextensions.v1.CustomResourceDefinitionSpec", "names"), ("apiextensions.v1.CustomResourceDefinitionStatus", "acceptedNames"),
    ("apiextensions.v1.CustomResourceDefinitionStatus", "conditions"), ("apiextensions.v1.CustomResourceDefinitionStatus", "storedVersions"),
    ("core.v1.NodeStatus", "nodeInfo"), ("core.v1.NodeStatus", "daemonEndpoints"), ("core.v1.NodeDaemonEndpoints", "kubeletEndpoint"),
    ("core.v1.Event", "involvedObject"), ("core.v1.Event", "source"), ("core.v1.ServiceStatus", "loadBalancer"),
    ("core.v1.PersistentVolumeClaimSpec", "resources"),
}


class Shape:
    """One node of the shape. `form` is struct, map, list or scalar."""

    form = "scalar"
    atomic = False
    """Owned and replaced as a whole."""
    keys: tuple[str, ...] = ()
    """Fields that identify an item of a list, sorted."""
    is_set = False
    always_there = False
    merge_key: str | None = None
    retain_keys = False
    closed = True
    """A struct takes no other fields than it declares."""
    scalar = ""
    """string, numeric or boolean when only that will do."""

    def declares(self, name: str) -> bool:
        """Whether a struct has a field of this name, rather than a map a key."""
        return False

    def child(self, name: str) -> Shape:
        return UNTYPED

    def item(self) -> Shape:
        return UNTYPED

    @property
    def granular_list(self) -> bool:
        return bool(self.keys) or self.is_set


_SCALARS = {"string": "string", "[]byte": "string", "int32": "numeric", "int64": "numeric", "integer": "numeric", "float64": "numeric",
            "number": "numeric", "bool": "boolean", "boolean": "boolean"}


class _Untyped(Shape):
    """Anything: maps are merged by key, lists are one value."""

    form = "untyped"


UNTYPED = _Untyped()
_ATOMIC = Shape()
_ATOMIC.atomic = True


class _Builtin(Shape):
    def __init__(self, field: Field, always_there: bool = False) -> None:
        name = field.type
        self._type = type_named(name)
        self._element = ""
        if name.startswith("[]") and name != "[]byte":
            self.form, self._element = "list", name[2:]
        elif name.startswith("map[string]"):
            self.form, self._element = "map", name[len("map[string]"):]
        elif self._type is not None:
            self.form = "struct"
        self.atomic = field.atomic or (self._type is not None and self._type.atomic) or name == "any"
        self.keys, self.is_set = tuple(sorted(field.keys)), field.set
        self.always_there = always_there and self.form in ("struct", "list", "map")
        self.merge_key, self.retain_keys = field.merge, field.retain
        self.scalar = _SCALARS.get(name, "")
        self._children: dict[str, Shape] = {}

    def declares(self, name: str) -> bool:
        return self._type is not None and name in (self._type.fields or {})

    def child(self, name: str) -> Shape:
        found = self._children.get(name)
        if found is None:
            found = self._children[name] = self._make_child(name)
        return found

    def _make_child(self, name: str) -> Shape:
        if self.form == "map":
            return self.item()
        field = (self._type.fields or {}).get(name) if self._type is not None else None
        if self._type is None or field is None:
            return UNTYPED
        there = name in _ALWAYS_THERE or (self._type.name, name) in _ALSO_THERE or (field.required and field.type.startswith("[]"))
        return _Builtin(field, there)

    def item(self) -> Shape:
        found = self._children.get("")
        if found is None:
            found = self._children[""] = _Builtin(Field(self._element))
        return found


class _Schema(Shape):
    """From a structural schema."""

    def __init__(self, schema: dict[str, t.Any], root: bool = False) -> None:
        self._schema, self._root = schema, root
        self.always_there = root
        self._properties: dict[str, t.Any] = schema.get("properties") or {}
        self.closed = not schema.get("x-kubernetes-preserve-unknown-fields")
        self._additional = schema.get("additionalProperties")
        self.form = {"array": "list", "object": "struct"}.get(schema.get("type", ""), "scalar")
        if isinstance(self._additional, dict):
            self.form = "map"
        elif self.form == "scalar" and schema.get("x-kubernetes-preserve-unknown-fields"):
            self.form = "untyped"
        self.atomic = schema.get("x-kubernetes-map-type") == "atomic"
        self.keys = tuple(sorted(schema.get("x-kubernetes-list-map-keys") or ()))
        self.is_set = schema.get("x-kubernetes-list-type") == "set"
        self.scalar = _SCALARS.get(schema.get("type", ""), "")
        self._children: dict[str, Shape] = {}

    def declares(self, name: str) -> bool:
        return name in self._properties or (self._root and name == "metadata")

    def child(self, name: str) -> Shape:
        found = self._children.get(name)
        if found is None:
            if self._root and name == "metadata":
                found = metadata_shape()
            elif name in self._properties:
                found = _Schema(self._properties[name])
            else:
                found = _Schema(self._additional) if isinstance(self._additional, dict) else UNTYPED
            self._children[name] = found
        return found

    def item(self) -> Shape:
        found = self._children.get("")
        if found is None:
            items = self._schema.get("items")
            found = self._children[""] = _Schema(items) if isinstance(items, dict) else UNTYPED
        return found


@functools.lru_cache(maxsize=1)
def metadata_shape() -> Shape:
    return _Builtin(Field(OBJECT_META), True)


@functools.cache
def builtin_shape(type_name: str) -> Shape:
    return _Builtin(Field(type_name), True) if type_named(type_name) is not None else UNTYPED


_SCHEMAS: dict[int, tuple[dict[str, t.Any], Shape]] = {}


def shape_of(kind: Kind) -> Shape:
    """The shape of a kind's objects."""
    if kind.type_name:
        return builtin_shape(kind.type_name)
    schema = kind.schema if kind.schema is not None else {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    held = _SCHEMAS.get(id(kind.schema))
    if held is None or held[0] is not kind.schema:
        if len(_SCHEMAS) >= 1000:
            _SCHEMAS.clear()
        # The schema is kept beside its shape, so its id stays its own.
        held = _SCHEMAS[id(kind.schema)] = (t.cast("dict[str, t.Any]", kind.schema), _Schema(schema, root=True))
    return held[1]
