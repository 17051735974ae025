# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one registry of the kinds that the cluster serves.

Built-in kinds are data (builtin_kinds.py); custom ones come from CustomResourceDefinitions as they are created.
"""
from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import re
import typing as t

ResourceKey = tuple[str, str]
"""API group and plural: what identifies a resource in the store, whatever the version."""

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of `kubectl get`. json_path is set for columns that a CustomResourceDefinition declares."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0
    json_path: str = ""


@dataclasses.dataclass(frozen=True)
class Subresource:
    """A subresource as discovery shows it; group, version and kind are those of its body when they differ from its parent's."""

    name: str
    verbs: tuple[str, ...] = ("get", "patch", "update")
    kind: str = ""
    group: str = ""
    version: str = ""


@dataclasses.dataclass(frozen=True)
class ScalePaths:
    """Where a scalable object keeps its replicas, as dotted paths (`.spec.replicas`)."""

    spec_replicas: str = ".spec.replicas"
    status_replicas: str = ".status.replicas"
    label_selector: str = ".status.selector"


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind in one version."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresource_list: tuple[Subresource, ...] = ()
    columns: tuple[Column, ...] = ()
    schema: dict[str, t.Any] | None = dataclasses.field(default=None, hash=False)
    """openAPIV3Schema of a custom kind."""
    type_name: str = ""
    """Name in the table of built-in types, "" for custom kinds."""
    custom: bool = False
    stored: bool = True
    """False for kinds that are answered and not kept, such as reviews."""
    storage_version: bool = True
    list_kind_name: str = ""
    selectable_fields: tuple[str, ...] = ()
    """Dotted paths that a field selector may name besides metadata.name and metadata.namespace."""
    scale: ScalePaths | None = None
    generation: bool = False
    """metadata.generation counts changes of anything but metadata and status."""
    create_on_update: bool = False
    """PUT of a missing object creates it."""
    unconditional_update: bool = True
    """PUT without resourceVersion is allowed."""
    deprecated: bool = False
    deprecation_warning: str = ""

    @functools.cached_property
    def resource(self) -> ResourceKey:
        return (self.group, self.plural)

    @functools.cached_property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        return self.list_kind_name or self.kind + "List"

    @functools.cached_property
    def subresources(self) -> frozenset[str]:
        return frozenset(entry.name for entry in self.subresource_list)

    def subresource(self, name: str) -> Subresource | None:
        return next((entry for entry in self.subresource_list if entry.name == name), None)

    @property
    def storage_version_hash(self) -> str:
        """Source: Kubernetes apiserver pkg/endpoints/discovery/storageversionhash.go."""
        text = f"{self.group}/{self.version}/{self.kind}"
        return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


_VERSION = re.compile(r"v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?$")


def version_priority(version: str) -> tuple[int, int, int, str]:
    """Sort key that puts v1 before v1beta1 before v1alpha1 before anything else.

    Source: Kubernetes apimachinery pkg/version/helpers.go (CompareKubeAwareVersionStrings).
    """
    found = _VERSION.match(version)
    if not found:
        return (3, 0, 0, version)
    major, stage, minor = int(found[1]), found[2], int(found[3] or 0)
    return ({None: 0, "beta": 1, "alpha": 2}[stage], -major, -minor, "")


class Registry:
    """Every served kind. `revision` grows with each change, so that documents made from it can be cached."""

    def __init__(self, kinds: t.Iterable[Kind] | None = None) -> None:
        self.revision = 0
        self._groups: dict[str, dict[str, dict[str, Kind]]] = {}
        self._custom: dict[str, tuple[Kind, ...]] = {}
        if kinds is None:
            from .builtin_kinds import builtin_kinds

            kinds = builtin_kinds()
        for kind in kinds:
            self.add(kind)
        self._builtin_groups = tuple(self._groups)

    def add(self, kind: Kind) -> None:
        """Serve a kind; one of the same group, version and plural is replaced."""
        self._groups.setdefault(kind.group, {}).setdefault(kind.version, {})[kind.plural] = kind
        self.revision += 1

    def remove(self, kind: Kind) -> None:
        versions = self._groups.get(kind.group, {})
        plurals = versions.get(kind.version, {})
        if plurals.pop(kind.plural, None) is not None:
            self.revision += 1
        if not plurals:
            versions.pop(kind.version, None)
        if not versions:
            self._groups.pop(kind.group, None)

    def lookup(self, group: str, version: str, plural: str) -> Kind | None:
        return self._groups.get(group, {}).get(version, {}).get(plural)

    def lookup_kind(self, group: str, version: str, kind: str) -> Kind | None:
        return next((found for found in self._groups.get(group, {}).get(version, {}).values() if found.kind == kind), None)

    def preferred(self, group: str, plural: str) -> Kind | None:
        """The kind of a resource in the first version that serves it."""
        return next((found for version in self.versions(group) if (found := self.lookup(group, version, plural))), None)

    def storage_kind(self, group: str, plural: str) -> Kind | None:
        """The kind of a resource in the version that is stored."""
        served = [found for version in self.versions(group) if (found := self.lookup(group, version, plural))]
        return next((found for found in served if found.storage_version), served[0] if served else None)

    def groups(self) -> list[str]:
        """Built-in groups in the real server's order, then custom ones by name."""
        custom = sorted(set(self._groups).difference(self._builtin_groups))
        return [group for group in self._builtin_groups if group in self._groups] + custom

    def versions(self, group: str) -> list[str]:
        return sorted(self._groups.get(group, {}), key=version_priority)

    def kinds(self, group: str, version: str) -> list[Kind]:
        """Kinds of one group and version by plural."""
        served = self._groups.get(group, {}).get(version, {})
        return [served[plural] for plural in sorted(served)]

    def all(self) -> t.Iterator[Kind]:
        for group in self.groups():
            for version in self.versions(group):
                yield from self.kinds(group, version)

    def add_custom(self, definition: dict[str, t.Any]) -> None:
        """Serve the kinds of an established CustomResourceDefinition, in place of what it declared before."""
        from .apiserver.custom_resources import kinds_of

        kinds = tuple(kinds_of(definition))
        name = definition["metadata"]["name"]
        if self._custom.get(name) == kinds:
            return
        self.remove_custom(definition)
        for kind in kinds:
            self.add(kind)
        self._custom[name] = kinds

    def remove_custom(self, definition: dict[str, t.Any]) -> None:
        for kind in self._custom.pop(definition["metadata"]["name"], ()):
            self.remove(kind)
