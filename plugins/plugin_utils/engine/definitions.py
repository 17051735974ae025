# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a CustomResourceDefinition is written down here: a table row for what is plain, a schema for what is exact."""
from __future__ import annotations

import dataclasses
import typing as t

from .interface import Object

OPEN: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
"""A part whose fields are taken as they come."""
AGE = ("Age", "date", ".metadata.creationTimestamp", 0)
Column = tuple[str, str, str, int] | tuple[str, str, str, int, str]
"""Name, type, JSONPath, priority, and a description where the JSONPath does not say enough."""


@dataclasses.dataclass(frozen=True)
class Definition:
    """One CustomResourceDefinition. The first version is the storage version."""

    group: str
    versions: tuple[str, ...]
    kind: str
    plural: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    subresources: tuple[str, ...] = ("status",)
    columns: tuple[Column, ...] = ()
    spec: Object | None = None
    status: Object | None = None
    properties: Object | None = None
    """Top-level properties in place of spec and status."""
    categories: tuple[str, ...] = ()
    deprecated: tuple[str, ...] = ()
    spec_required: bool = True

    def to_object(self) -> Object:
        singular = self.kind.lower()
        names: Object = {"kind": self.kind, "listKind": f"{self.kind}List", "plural": self.plural, "singular": singular}
        if self.short_names:
            names["shortNames"] = list(self.short_names)
        if self.categories:
            names["categories"] = list(self.categories)
        return {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{self.plural}.{self.group}"},
            "spec": {
                "group": self.group, "names": names, "scope": "Namespaced" if self.namespaced else "Cluster",
                "versions": [self._version(version) for version in self.versions],
            },
        }

    def _version(self, version: str) -> Object:
        properties = self.properties
        if properties is None:
            properties = {"spec": self.spec if self.spec is not None else OPEN, "status": self.status if self.status is not None else OPEN}
        schema: Object = {
            "type": "object",
            "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}, **properties},
        }
        if self.spec_required and self.properties is None:
            schema["required"] = ["spec"]
        made: Object = {
            "name": version, "served": True, "storage": version == self.versions[0], "schema": {"openAPIV3Schema": schema},
        }
        if version in self.deprecated:
            made["deprecated"] = True
            made["deprecationWarning"] = f"{self.group}/{version} is now deprecated and will be removed in a future release."
        if self.columns:
            made["additionalPrinterColumns"] = [
                {"name": name, "type": kind, "jsonPath": path, **({"priority": priority} if priority else {}), **({"description": text[0]} if text else {})}
                for name, kind, path, priority, *text in self.columns
            ]
        if self.subresources:
            made["subresources"] = {name: self._subresource(name) for name in self.subresources}
        return made

    def _subresource(self, name: str) -> Object:
        if name != "scale":
            return {}
        return {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.labelSelector"}


def obj(properties: Object, required: t.Sequence[str] = ()) -> Object:
    """The schema of an object with known fields."""
    schema: Object = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    return schema


def text(**more: t.Any) -> Object:
    return {"type": "string", **more}


def texts() -> Object:
    return {"type": "array", "items": {"type": "string"}}


def integer(kind: str = "int64", **more: t.Any) -> Object:
    return {"type": "integer", "format": kind, **more}


def boolean(**more: t.Any) -> Object:
    return {"type": "boolean", **more}


def moment() -> Object:
    return {"type": "string", "format": "date-time"}


def mapping() -> Object:
    return {"type": "object", "additionalProperties": {"type": "string"}}


def conditions() -> Object:
    """A list of conditions with whatever fields its owner gives them."""
    return {"type": "array", "items": OPEN}
