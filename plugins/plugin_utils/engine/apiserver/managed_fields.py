# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns which field, and what an update makes of metadata.managedFields.

Source: structured-merge-diff merge; Kubernetes apimachinery pkg/util/managedfields/internal.
"""
from __future__ import annotations

import dataclasses
import json
import typing as t

from ..kinds import Kind
from .field_changes import Object, compare
from .field_trees import Paths, Tree, decode_fields, with_fields, without_fields
from .shapes import shape_of


class Manager(t.NamedTuple):
    """Who writes. An applier is the same manager in every version of the API."""

    name: str
    operation: str
    api_version: str
    subresource: str

    def __str__(self) -> str:
        text = json.dumps(self.name)
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@dataclasses.dataclass(slots=True)
class Owned:
    """What one manager owns and since when (RFC 3339)."""

    tree: Tree
    time: str = ""
    api_version: str = ""

    @property
    def paths(self) -> Paths:
        return decode_fields(self.tree)

    def lose(self, fields: Tree) -> None:
        self.tree = without_fields(self.tree, fields)


Managers = dict[Manager, Owned]


def _identity(entry: Object) -> Manager:
    operation = entry.get("operation", "Update")
    version = entry.get("apiVersion", "") if operation == "Update" else ""
    return Manager(entry.get("manager", ""), operation, version, entry.get("subresource", ""))


def read_managers(entries: t.Iterable[Object]) -> Managers:
    """metadata.managedFields by manager."""
    return {_identity(entry): Owned(entry.get("fieldsV1") or {}, entry.get("time") or "", entry.get("apiVersion", "")) for entry in entries}


def write_managers(managers: Managers) -> list[Object]:
    """metadata.managedFields, in the real server's order; managers that own nothing are left out."""
    entries = []
    for manager, owned in sorted(managers.items(), key=_order):
        if not owned.tree:
            continue
        entry: Object = {"manager": manager.name, "operation": manager.operation, "apiVersion": owned.api_version}
        if owned.time:
            entry["time"] = owned.time
        entry["fieldsType"], entry["fieldsV1"] = "FieldsV1", owned.tree
        if manager.subresource:
            entry["subresource"] = manager.subresource
        entries.append(entry)
    return entries


def _order(held: tuple[Manager, Owned]) -> tuple[str, ...]:
    manager, owned = held
    return manager.operation, owned.time, manager.name, owned.api_version, manager.subresource


def out_of_scope(kind: Kind, subresource: str, elements: t.AbstractSet[str]) -> t.AbstractSet[str]:
    """Those fields of the object in which a request on this subresource cannot change anything."""
    if subresource == "status":
        outside = elements - ({"f:status"} if kind.custom else {"f:status", "f:metadata"})
    else:
        outside = set() if subresource else elements & {"f:status"}
    return outside if outside and "status" in kind.subresources else set()


def track_update(kind: Kind, before: Object | None, after: Object, manager: str, subresource: str, timestamp: str) -> list[Object]:
    """metadata.managedFields of an object that was created or updated by other means than server-side apply."""
    metadata = after.get("metadata") or {}
    entries = metadata.get("managedFields") or ((before or {}).get("metadata") or {}).get("managedFields") or []
    if entries == [{}]:
        # How a client says that ownership is to be forgotten.
        return []
    difference = compare(shape_of(kind), before or {}, after)
    unclaimed = out_of_scope(kind, subresource, difference.written.keys())
    if before is None and kind.type_name == "core.v1.Event":
        # Filled in, not written: what a recorder leaves unset is owned by nobody.
        unclaimed |= {"f:" + key for key, value in after.items() if value in (None, "")}
    written, removed = difference.written, difference.removed
    for element in unclaimed:
        written.pop(element, None)
    if not written and not removed:
        return t.cast("list[Object]", entries)
    managers = read_managers(entries)
    own = Manager(manager, "Update", kind.api_version, subresource)
    for other, owned in managers.items():
        if removed:
            owned.lose(removed)
        if other != own:
            owned.lose(written)
    held = managers.setdefault(own, Owned({}, "", kind.api_version))
    owning = with_fields(held.tree, written)
    if owning is not held.tree or difference.modified - unclaimed:
        held.tree = owning
        # Scaling goes through another type, which loses the time.
        held.time = "" if subresource == "scale" else timestamp
    return write_managers(managers)
