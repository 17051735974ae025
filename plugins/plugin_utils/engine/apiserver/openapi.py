# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenAPI documents made from the registry: what kubectl's explain, its server-side validation and generated clients read.

Source: Kubernetes kube-openapi pkg/builder3, apiserver pkg/endpoints/installer.go.
"""
from __future__ import annotations

import typing as t

from ..kinds import Kind, Registry
from .builtin_types import OBJECT_META, Field, type_named

Object = dict[str, t.Any]
_PACKAGES = {
    "meta": "io.k8s.apimachinery.pkg.apis.meta", "apiextensions": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
}
_SCALARS: dict[str, Object] = {
    "string": {"type": "string"}, "bool": {"type": "boolean"}, "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"}, "float64": {"type": "number", "format": "double"},
    "[]byte": {"type": "string", "format": "byte"}, "Time": {"type": "string", "format": "date-time"},
    "MicroTime": {"type": "string", "format": "date-time"}, "Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "IntOrString": {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"}, "any": {"type": "object"},
}
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")
_LIST_PARAMETERS = ("continue", "fieldSelector", "labelSelector", "resourceVersion", "resourceVersionMatch")
_PARAMETERS: dict[str, tuple[tuple[str, str], ...]] = {
    "list": (
        *((name, "string") for name in _LIST_PARAMETERS), ("allowWatchBookmarks", "boolean"), ("limit", "integer"),
        ("sendInitialEvents", "boolean"), ("timeoutSeconds", "integer"), ("watch", "boolean")),
    "get": (),
    "post": tuple((name, "string") for name in _WRITE_PARAMETERS),
    "put": tuple((name, "string") for name in _WRITE_PARAMETERS),
    "patch": (*((name, "string") for name in _WRITE_PARAMETERS), ("force", "boolean")),
    "delete": (("dryRun", "string"), ("gracePeriodSeconds", "integer"), ("orphanDependents", "boolean"), ("propagationPolicy", "string")),
}
_ACTIONS = {"create": "post", "update": "put", "patch": "patch", "delete": "delete", "get": "get", "list": "get", "deletecollection": "delete"}
_PATCH_TYPES = ("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json")
_V3 = "#/components/schemas/"
_V2 = "#/definitions/"


def definition_name(type_name: str) -> str:
    """core.v1.Pod → io.k8s.api.core.v1.Pod."""
    package, dummy, rest = type_name.partition(".")
    return f"{_PACKAGES.get(package, 'io.k8s.api.' + package)}.{rest}"


def kind_name(kind: Kind) -> str:
    """The name of a kind's definition; custom groups are reversed: io.kubevirt.v1.VirtualMachine."""
    if kind.type_name:
        return definition_name(kind.type_name)
    return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])


def index(registry: Registry, hash_of: t.Callable[[str, str], str]) -> Object:
    """Where the document of each group and version is; the hash names its content."""
    paths = {}
    for group in registry.groups():
        for version in registry.versions(group):
            path = f"apis/{group}/{version}" if group else "api/v1"
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={hash_of(group, version)}"}
    return {"paths": dict(sorted(paths.items()))}


def document(registry: Registry, group: str, version: str) -> Object:
    """OpenAPI 3 of one group and version."""
    kinds = registry.kinds(group, version)
    paths: Object = {}
    for kind in kinds:
        paths.update(_paths(kind, _V3))
    return {
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "unversioned"}, "paths": dict(sorted(paths.items())),
        "components": {"schemas": _definitions(kinds, _V3)},
    }


def swagger(registry: Registry) -> Object:
    """OpenAPI 2 of everything, for clients that know no other."""
    kinds = list(registry.all())
    paths: Object = {}
    for kind in kinds:
        paths.update(_paths(kind, _V2))
    return {"swagger": "2.0", "info": {"title": "Kubernetes", "version": "unversioned"}, "paths": dict(sorted(paths.items())),
            "definitions": _definitions(kinds, _V2)}


def _definitions(kinds: t.Iterable[Kind], prefix: str) -> Object:
    made: Object = {}
    wanted: list[str] = [OBJECT_META]
    for kind in kinds:
        schema = _schema_of(kind, prefix, wanted)
        schema["x-kubernetes-group-version-kind"] = [_gvk(kind)]
        made[kind_name(kind)] = schema
        if kind.stored:
            made[kind_name(kind) + "List"] = _list_schema(kind, prefix)
    while wanted:
        type_name = wanted.pop()
        name = definition_name(type_name)
        if name not in made:
            made[name] = _type_schema(type_name, prefix, wanted)
    return dict(sorted(made.items()))


def _gvk(kind: Kind) -> Object:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _schema_of(kind: Kind, prefix: str, wanted: list[str]) -> Object:
    if kind.type_name:
        return _type_schema(kind.type_name, prefix, wanted)
    schema: Object = dict(kind.schema or {"type": "object"})
    metadata = {"description": "Standard object's metadata.", "allOf": [{"$ref": prefix + definition_name(OBJECT_META)}]}
    schema["properties"] = {
        "apiVersion": {"type": "string", "description": _API_VERSION}, "kind": {"type": "string", "description": _KIND},
        **(schema.get("properties") or {}), "metadata": metadata,
    }
    return schema


_API_VERSION = "APIVersion defines the versioned schema of this representation of an object."
_KIND = "Kind is a string value representing the REST resource this object represents."


def _list_schema(kind: Kind, prefix: str) -> Object:
    return {
        "type": "object", "required": ["items"], "x-kubernetes-group-version-kind": [{**_gvk(kind), "kind": kind.list_kind}],
        "properties": {
            "apiVersion": {"type": "string", "description": _API_VERSION}, "kind": {"type": "string", "description": _KIND},
            "metadata": {"type": "object", "properties": {name: {"type": "string"} for name in ("continue", "resourceVersion")}},
            "items": {"type": "array", "items": {"$ref": prefix + kind_name(kind)}},
        },
    }


def _type_schema(type_name: str, prefix: str, wanted: list[str]) -> Object:
    found = type_named(type_name)
    if found is None:
        return {"type": "object"}
    schema: Object = {"description": found.description, "type": "object"}
    if found.fields is not None:
        schema["properties"] = {
            name: {"description": found.descriptions.get(name, ""), **_field_schema(field, prefix, wanted)} for name, field in found.fields.items()
        }
        required = [name for name, field in found.fields.items() if field.required]
        if required:
            schema["required"] = required
    return schema


def _field_schema(field: Field, prefix: str, wanted: list[str]) -> Object:
    schema = _expression(field.type, prefix, wanted)
    if "$ref" in schema:
        schema = {"allOf": [schema]}
    if field.keys:
        schema.update({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(field.keys)})
    elif field.set:
        schema["x-kubernetes-list-type"] = "set"
    elif schema.get("type") == "array":
        schema["x-kubernetes-list-type"] = "atomic"
    if field.atomic:
        schema["x-kubernetes-map-type"] = "atomic"
    if field.merge is not None:
        schema["x-kubernetes-patch-strategy"] = "merge,retainKeys" if field.retain else "merge"
        if field.merge:
            schema["x-kubernetes-patch-merge-key"] = field.merge
    return schema


def _expression(name: str, prefix: str, wanted: list[str]) -> Object:
    if name in _SCALARS:
        return dict(_SCALARS[name])
    if name.startswith("[]"):
        return {"type": "array", "items": _expression(name[2:], prefix, wanted)}
    if name.startswith("map[string]"):
        return {"type": "object", "additionalProperties": _expression(name[len("map[string]"):], prefix, wanted)}
    wanted.append(name)
    return {"$ref": prefix + definition_name(name)}


def _paths(kind: Kind, prefix: str) -> Object:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    collection = f"{root}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"
    paths: Object = {collection: _operations(kind, ("list", "create", "deletecollection"), prefix)}
    if kind.stored:
        paths[collection + "/{name}"] = _operations(kind, ("get", "update", "patch", "delete"), prefix)
        if kind.namespaced:
            paths[f"{root}/{kind.plural}"] = _operations(kind, ("list",), prefix)
    for sub in kind.subresource_list:
        if sub.name in ("status", "scale"):
            paths[f"{collection}/{{name}}/{sub.name}"] = _operations(kind, sub.verbs, prefix, only_kind=sub.name == "status")
    return paths


def _operations(kind: Kind, verbs: t.Iterable[str], prefix: str, only_kind: bool = True) -> Object:
    made: Object = {}
    for verb in verbs:
        if verb not in kind.verbs:
            continue
        method = _ACTIONS[verb]
        names = _PARAMETERS["list" if verb in ("list", "deletecollection") else method]
        operation: Object = {
            "tags": [f"{kind.group.partition('.')[0] or 'core'}_{kind.version}"], "operationId": f"{verb}{kind.kind}",
            "parameters": [_parameter(name, sort, prefix) for name, sort in names],
            "responses": {"200": {"description": "OK"}}, "x-kubernetes-action": {"create": "post", "update": "put"}.get(verb, verb),
        }
        if only_kind:
            operation["x-kubernetes-group-version-kind"] = _gvk(kind)
        if method in ("post", "put", "patch"):
            _add_body(operation, kind, method, prefix)
        made[method] = operation
    return made


def _parameter(name: str, sort: str, prefix: str) -> Object:
    if prefix == _V2:
        return {"name": name, "in": "query", "type": sort, "uniqueItems": True}
    return {"name": name, "in": "query", "schema": {"type": sort, "uniqueItems": True}}


def _add_body(operation: Object, kind: Kind, method: str, prefix: str) -> None:
    schema = {"$ref": prefix + kind_name(kind)} if method != "patch" else {"type": "object"}
    if prefix == _V2:
        operation["parameters"].append({"name": "body", "in": "body", "required": True, "schema": schema})
        return
    types = [one for one in _PATCH_TYPES if not (kind.custom and "strategic" in one)] if method == "patch" else ["*/*"]
    operation["requestBody"] = {"content": {one: {"schema": schema} for one in types}, "required": True}
