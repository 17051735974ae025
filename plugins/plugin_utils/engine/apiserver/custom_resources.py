# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CustomResourceDefinitions: the kinds they declare, the conditions they get, and what becomes of their instances.

Source: Kubernetes apiextensions-apiserver pkg/controller/{status,establish,finalizer}, pkg/registry/customresourcedefinition.
"""
from __future__ import annotations

import typing as t

from ..clock import Clock
from ..kinds import CUSTOM_VERBS, Column, Kind, Registry, ResourceKey, ScalePaths, Subresource
from ..store.store import Store, Stored, copy_json
from .builtin_tables import AGE_TEXT
from .managed_fields import track_update

Object = dict[str, t.Any]
DEFINITIONS: ResourceKey = ("apiextensions.k8s.io", "customresourcedefinitions")
FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_NAME_FIELDS = ("plural", "singular", "shortNames", "kind", "listKind", "categories")
_DEFAULT_COLUMNS = (Column("Age", "date", "", AGE_TEXT, 0, ".metadata.creationTimestamp"),)


def kinds_of(definition: Object) -> t.Iterator[Kind]:
    """One kind for each served version."""
    spec = definition["spec"]
    names = spec["names"]
    verbs: tuple[str, ...] = CUSTOM_VERBS
    if definition["metadata"].get("deletionTimestamp"):
        verbs = tuple(verb for verb in CUSTOM_VERBS if verb != "create")
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        subresources, scale = _subresources(version.get("subresources") or {}, spec["group"], version["name"], names["kind"])
        yield Kind(
            group=spec["group"], version=version["name"], kind=names["kind"], plural=names["plural"],
            singular=names.get("singular") or names["kind"].lower(), namespaced=spec["scope"] == "Namespaced",
            short_names=tuple(names.get("shortNames") or ()), categories=tuple(names.get("categories") or ()), verbs=verbs,
            subresource_list=subresources, columns=_columns(version), schema=(version.get("schema") or {}).get("openAPIV3Schema"),
            custom=True, storage_version=bool(version.get("storage")), list_kind_name=names.get("listKind") or "",
            selectable_fields=tuple(field["jsonPath"].lstrip(".") for field in version.get("selectableFields") or ()), scale=scale,
            generation=True, unconditional_update=False, deprecated=bool(version.get("deprecated")),
            deprecation_warning=_deprecation(version, spec["group"], names["kind"]),
        )


def _deprecation(version: Object, group: str, kind: str) -> str:
    if not version.get("deprecated"):
        return ""
    return t.cast(str, version.get("deprecationWarning") or f"{group}/{version['name']} {kind} is deprecated")


def _columns(version: Object) -> tuple[Column, ...]:
    declared = version.get("additionalPrinterColumns")
    if not declared:
        return _DEFAULT_COLUMNS
    return tuple(
        Column(one["name"], one["type"], one.get("format", ""), one.get("description", ""), one.get("priority", 0), one["jsonPath"])
        for one in declared
    )


def _subresources(declared: Object, group: str, version: str, kind: str) -> tuple[tuple[Subresource, ...], ScalePaths | None]:
    found: list[Subresource] = []
    scale = None
    if declared.get("status") is not None:
        found.append(Subresource("status", kind=kind, group=group, version=version))
    if declared.get("scale") is not None:
        found.append(Subresource("scale", kind="Scale", group="autoscaling", version="v1"))
        paths = declared["scale"]
        scale = ScalePaths(paths["specReplicasPath"], paths["statusReplicasPath"], paths.get("labelSelectorPath", ""))
    return tuple(found), scale


def condition(definition: Object, name: str) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == name and one.get("status") == "True" for one in conditions)


class CustomResources:
    """Keeps the registry in step with the definitions in the store. `observe` hears of every write, as it happens."""

    def __init__(self, store: Store, registry: Registry, clock: Clock) -> None:
        self._store, self._registry, self._clock = store, registry, clock
        self._leaving: dict[ResourceKey, str] = {}
        """Resources whose definition waits for the last instance to go, and its name."""
        for stored in store.list(DEFINITIONS):
            self._take_over(stored)

    def observe(self, stored: Stored, deleted: bool) -> None:
        """A definition or an instance was written or deleted."""
        if stored.resource == DEFINITIONS:
            if deleted:
                self._registry.remove_custom(stored.value)
            else:
                self._take_over(stored)
        elif deleted and stored.resource in self._leaving:
            self._finish(stored.resource)

    def _take_over(self, stored: Stored) -> None:
        if stored.value["metadata"].get("deletionTimestamp"):
            # Until the last instance has gone they are served, so that whoever holds one can let it go.
            if condition(stored.value, "Established"):
                self._registry.add_custom(stored.value)
            self._delete_instances(stored)
            return
        definition = self._with_status(stored)
        if condition(definition, "Established"):
            self._registry.add_custom(definition)
        else:
            self._registry.remove_custom(definition)

    def _with_status(self, stored: Stored) -> Object:
        """The definition with the conditions it should have, stored if they changed."""
        status = self._status(stored.value)
        if status == stored.value.get("status"):
            return stored.value
        return self._write_status(stored, status).value

    def _write_status(self, stored: Stored, status: Object) -> Stored:
        made: Object = {**stored.value, "metadata": dict(stored.value["metadata"]), "status": status}
        kind = self._registry.lookup(DEFINITIONS[0], "v1", DEFINITIONS[1])
        if kind is not None:
            timestamp = self._clock.timestamp()
            made["metadata"]["managedFields"] = track_update(kind, stored.value, made, "kube-apiserver", "status", timestamp)
        return self._store.update(DEFINITIONS, "", stored.name, made, expected=stored.version)

    def _status(self, definition: Object) -> Object:
        spec, held = definition["spec"], definition.get("status") or {}
        names, stored_versions = spec["names"], list(held.get("storedVersions") or ())
        stored_versions += [one["name"] for one in spec["versions"] if one.get("storage") and one["name"] not in stored_versions]
        taken = self._taken(definition)
        if taken:
            accepted = held.get("acceptedNames") or {"plural": "", "kind": ""}
            wanted = [
                ("NamesAccepted", "False", taken[0], f'"{taken[1]}" is already in use'),
                ("Established", "False", "NotAccepted", "not all names are accepted"),
            ]
        else:
            accepted = {name: names[name] for name in _NAME_FIELDS if names.get(name)}
            wanted = [
                ("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
                ("Established", "True", "InitialNamesAccepted", "the initial names have been accepted"),
            ]
        before = {one["type"]: one for one in held.get("conditions") or ()}
        conditions = [self._condition(before.pop(name, {}), name, *rest) for name, *rest in wanted]
        return {"conditions": conditions + list(before.values()), "acceptedNames": accepted, "storedVersions": stored_versions}

    def _condition(self, before: Object, name: str, status: str, reason: str, message: str) -> Object:
        since = before.get("lastTransitionTime") if before.get("status") == status else None
        return {"type": name, "status": status, "lastTransitionTime": since or self._clock.timestamp(), "reason": reason, "message": message}

    def _taken(self, definition: Object) -> tuple[str, str] | None:
        """The first name that another resource of the group has, with the reason to give."""
        spec = definition["spec"]
        names = spec["names"]
        others = [
            kind for version in self._registry.versions(spec["group"]) for kind in self._registry.kinds(spec["group"], version)
            if kind.plural != names["plural"]
        ]
        in_use = {name for kind in others for name in (kind.plural, kind.singular, *kind.short_names)}
        kinds = {name for kind in others for name in (kind.kind, kind.list_kind)}
        checks = [("SingularConflict", [names.get("singular") or ""], in_use), ("ShortNamesConflict", names.get("shortNames") or [], in_use),
                  ("KindConflict", [names["kind"]], kinds), ("ListKindConflict", [names.get("listKind") or ""], kinds)]
        return next(((reason, name) for reason, wanted, used in checks for name in wanted if name in used), None)

    def _delete_instances(self, stored: Stored) -> None:
        names, group = stored.value["spec"]["names"], stored.value["spec"]["group"]
        resource: ResourceKey = (group, names["plural"])
        if not condition(stored.value, "Terminating"):
            status: Object = copy_json(stored.value.get("status") or {})
            text = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
            status.setdefault("conditions", []).append(self._condition({}, "Terminating", "True", "InstanceDeletionPending", text))
            self._write_status(stored, status)
        self._leaving[resource] = stored.name
        for instance in self._store.list(resource):
            metadata = instance.value["metadata"]
            if not metadata.get("finalizers"):
                self._store.delete(resource, instance.namespace, instance.name)
            elif not metadata.get("deletionTimestamp"):
                going = {**metadata, "deletionTimestamp": self._clock.timestamp(), "deletionGracePeriodSeconds": 0}
                self._store.update(resource, instance.namespace, instance.name, {**instance.value, "metadata": going})
        self._finish(resource)

    def _finish(self, resource: ResourceKey) -> None:
        """Let the definition go when its last instance has gone and nothing else holds it."""
        if self._store.count(resource):
            return
        name = self._leaving.pop(resource)
        # A write of the status may have made it newer than what the caller saw.
        stored = self._store.get(DEFINITIONS, "", name)
        if stored is None:
            return
        self._registry.remove_custom(stored.value)
        finalizers = [one for one in stored.value["metadata"].get("finalizers") or () if one != FINALIZER]
        if finalizers:
            metadata = {**stored.value["metadata"], "finalizers": finalizers}
            self._store.update(DEFINITIONS, "", name, {**stored.value, "metadata": metadata})
        else:
            self._store.delete(DEFINITIONS, "", name)
