# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns which field: sets of field paths, and what an update makes of metadata.managedFields.

A path is a tuple of elements as FieldsV1 writes them: `f:spec`, `k:{"name":"c"}`, `v:"x"`.
Source: structured-merge-diff fieldpath, typed and merge; Kubernetes apimachinery pkg/util/managedfields/internal.
"""
from __future__ import annotations

import collections
import dataclasses
import json
import typing as t

from ..kinds import Kind
from .shapes import Shape, shape_of

Object = dict[str, t.Any]
Path = tuple[str, ...]
Paths = set[Path]

_UNTRACKED = {("f:apiVersion",), ("f:kind",), ("f:metadata",)} | {
    ("f:metadata", "f:" + name)
    for name in ("name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion")
}
# Keys of list items that are filled in when a client leaves them out.
_KEY_DEFAULTS = {"protocol": "TCP"}


def item_element(shape: Shape, item: t.Any) -> str:
    """How a path names an item of a list that is a set or has keys."""
    if shape.keys and isinstance(item, dict):
        found = {key: item.get(key, _KEY_DEFAULTS.get(key)) for key in sorted(shape.keys)}
        return "k:" + _dumps({key: value for key, value in found.items() if value is not None})
    return "v:" + _dumps(item)


def _dumps(value: t.Any) -> str:
    if isinstance(value, str) and value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return f'"{value}"'
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def by_element(shape: Shape, items: list[t.Any]) -> dict[str, t.Any]:
    return {item_element(shape, item): item for item in items}


def fields_of(shape: Shape, value: t.Any) -> Paths:
    """The set of an applied configuration: its leaves, and the items of lists with keys."""
    found: Paths = set()
    _fields(shape, value, (), found)
    return found - _UNTRACKED


def _fields(shape: Shape, value: t.Any, path: Path, found: Paths) -> None:
    if isinstance(value, dict) and not shape.atomic:
        for key, item in value.items():
            below = (*path, "f:" + key)
            _fields(shape.child(key), item, below, found)
            if not shape.declares(key) or item is None or item == {}:
                found.add(below)
    elif isinstance(value, list) and shape.granular_list and not shape.atomic:
        for item in value:
            below = (*path, item_element(shape, item))
            found.add(below)
            if isinstance(item, dict):
                _fields(shape.item(), item, below, found)
    else:
        found.add(path)


@dataclasses.dataclass
class Difference:
    added: Paths = dataclasses.field(default_factory=set)
    modified: Paths = dataclasses.field(default_factory=set)
    removed: Paths = dataclasses.field(default_factory=set)

    @property
    def written(self) -> Paths:
        return self.added | self.modified


def compare(shape: Shape, old: t.Any, new: t.Any) -> Difference:
    """What has to be added, modified and removed to get from one object to the other."""
    difference = Difference()
    _compare(shape, old, new, (), difference)
    for paths in (difference.added, difference.modified, difference.removed):
        paths -= _UNTRACKED
    return difference


_MISSING = object()


def _compare(shape: Shape, old: t.Any, new: t.Any, path: Path, difference: Difference) -> None:
    if old == new and type(old) is type(new):
        return
    if not shape.atomic and isinstance(old, dict) and isinstance(new, dict):
        for key, item in new.items():
            before = old.get(key, _MISSING)
            if before is item:
                # Most of an object is the very same after a write.
                continue
            below = (*path, "f:" + key)
            if (path == () and key == "metadata") or below not in _UNTRACKED:
                if before is not _MISSING:
                    _compare(shape.child(key), before, item, below, difference)
                else:
                    _collect(shape.child(key), item, below, difference.added, True)
        for key in old:
            if key not in new:
                _collect(shape.child(key), old[key], (*path, "f:" + key), difference.removed, True)
    elif not shape.atomic and shape.granular_list and isinstance(old, list) and isinstance(new, list):
        there, after = by_element(shape, old), by_element(shape, new)
        for element, item in after.items():
            if element in there:
                _compare(shape.item(), there[element], item, (*path, element), difference)
            else:
                _collect(shape.item(), item, (*path, element), difference.added, False)
        for element, item in there.items():
            if element not in after:
                _collect(shape.item(), item, (*path, element), difference.removed, False)
    else:
        difference.modified.add(path)


def _collect(shape: Shape, value: t.Any, path: Path, found: Paths, parent_there: bool) -> None:
    """Everything in a value that is new or gone as a whole, itself included unless it is a struct that every object has."""
    there = parent_there and shape.always_there
    if not there:
        found.add(path)
    if shape.atomic:
        found.add(path)
    elif isinstance(value, dict):
        for key, item in value.items():
            _collect(shape.child(key), item, (*path, "f:" + key), found, there)
    elif isinstance(value, list) and shape.granular_list:
        for item in value:
            _collect(shape.item(), item, (*path, item_element(shape, item)), found, False)
    else:
        found.add(path)


_DECODED_LIMIT = 2000
_decoded: collections.OrderedDict[int, tuple[Object, frozenset[Path]]] = collections.OrderedDict()
"""The sets of trees that were looked at lately, by identity: a tree is never changed, and stays as long as its manager owns the same."""


def decode_fields(tree: Object) -> frozenset[Path]:
    """FieldsV1 as a set of paths."""
    known = _decoded.get(id(tree))
    if known is not None and known[0] is tree:
        return known[1]
    found: Paths = set()
    _decode(tree, (), found)
    _remember(tree, frozenset(found))
    return _decoded[id(tree)][1]


def _remember(tree: Object, paths: frozenset[Path]) -> None:
    _decoded[id(tree)] = (tree, paths)
    if len(_decoded) > _DECODED_LIMIT:
        _decoded.popitem(last=False)


def _decode(tree: Object, path: Path, found: Paths) -> None:
    for element, below in tree.items():
        if element == ".":
            found.add(path)
        elif not below:
            found.add((*path, element))
        else:
            _decode(below, (*path, element), found)


def encode_fields(paths: t.Iterable[Path]) -> Object:
    """A set of paths as FieldsV1, sorted as the real server does."""
    return with_paths({}, frozenset(paths))


def with_paths(tree: Object, paths: frozenset[Path]) -> Object:
    """FieldsV1 with these paths added. The same object for the same tree and paths, and never to be changed."""
    return _edited(tree, paths, _added)


def without_paths(tree: Object, paths: frozenset[Path]) -> Object:
    """FieldsV1 without these paths; see with_paths."""
    return _edited(tree, paths, _removed)


_Edit = t.Callable[[Object, t.Collection[Path], int], Object | None]
_EDITED_LIMIT = 4000
_EMPTY: Object = {}
_edits: collections.OrderedDict[tuple[int, frozenset[Path], _Edit], tuple[Object, Object]] = collections.OrderedDict()
"""What edits of trees came to, by identity: thousands of objects of one kind are changed in the same way, and share what comes of it."""


def _edited(tree: Object, paths: frozenset[Path], edit: _Edit) -> Object:
    tree = tree or _EMPTY
    key = id(tree), paths, edit
    known = _edits.get(key)
    if known is not None and known[0] is tree:
        return known[1]
    made = edit(tree, paths, 0) or {}
    _edits[key] = tree, made
    if len(_edits) > _EDITED_LIMIT:
        _edits.popitem(last=False)
    return made


def _below(paths: t.Iterable[Path], depth: int) -> tuple[bool, dict[str, list[Path]]]:
    """Whether a path ends here, and the others by their next element."""
    ends, further = False, dict[str, list[Path]]()
    for path in paths:
        if len(path) == depth:
            ends = True
        else:
            further.setdefault(path[depth], []).append(path)
    return ends, further


def _added(node: Object, paths: t.Collection[Path], depth: int) -> Object:
    ends, further = _below(paths, depth)
    children = {element: below for element, below in node.items() if element != "."}
    # "." first, as it sorts before "f:"; what has no children is a member without saying so.
    member = ends or "." in node
    for element, some in further.items():
        before = children.get(element)
        if before is None:
            children[element] = _made(some, depth + 1)
        else:
            children[element] = _added(before if before else {".": {}}, some, depth + 1)
    if not children:
        return {}
    ordered = dict(sorted(children.items())) if further else children
    return {".": {}, **ordered} if member else ordered


def _made(paths: t.Collection[Path], depth: int) -> Object:
    ends, further = _below(paths, depth)
    children = {element: _made(further[element], depth + 1) for element in sorted(further)}
    return {".": {}, **children} if ends and children else children


def _removed(node: Object, paths: t.Collection[Path], depth: int) -> Object | None:
    """None when nothing of it is left."""
    ends, further = _below(paths, depth)
    member = not ends and (not node or "." in node) and depth > 0
    children = {element: below for element, below in node.items() if element != "."}
    for element, some in further.items():
        if element in children:
            left = _removed(children[element], some, depth + 1)
            if left is None:
                del children[element]
            else:
                children[element] = left
    if not children:
        return {} if member else None
    return {".": {}, **children} if member else children


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


@dataclasses.dataclass
class Owned:
    """What one manager owns and since when (RFC 3339)."""

    paths: t.AbstractSet[Path]
    time: str = ""
    api_version: str = ""
    tree: Object | None = None
    """FieldsV1 of these very paths, when it is known."""

    def lose(self, paths: t.AbstractSet[Path]) -> None:
        if not self.paths.isdisjoint(paths):
            self._become(self.paths - paths, without_paths, frozenset(self.paths & paths))

    def gain(self, paths: t.AbstractSet[Path]) -> None:
        if not paths <= self.paths:
            self._become(self.paths | paths, with_paths, frozenset(paths - self.paths))

    def _become(self, paths: t.AbstractSet[Path], edit: t.Callable[[Object, frozenset[Path]], Object], changed: frozenset[Path]) -> None:
        if self.tree is not None or not self.paths:
            self.tree = edit(self.tree or {}, changed)
            _remember(self.tree, frozenset(paths))
        self.paths = paths


Managers = dict[Manager, Owned]


def _identity(entry: Object) -> Manager:
    operation = entry.get("operation", "Update")
    version = entry.get("apiVersion", "") if operation == "Update" else ""
    return Manager(entry.get("manager", ""), operation, version, entry.get("subresource", ""))


def read_managers(entries: t.Iterable[Object]) -> Managers:
    """metadata.managedFields by manager."""
    return {
        _identity(entry): Owned(decode_fields(tree), entry.get("time") or "", entry.get("apiVersion", ""), tree)
        for entry in entries
        for tree in (entry.get("fieldsV1") or {},)
    }


def write_managers(managers: Managers) -> list[Object]:
    """metadata.managedFields, in the real server's order; managers that own nothing are left out."""
    entries = []
    for manager, owned in managers.items():
        if not owned.paths:
            continue
        entry: Object = {"manager": manager.name, "operation": manager.operation, "apiVersion": owned.api_version}
        if owned.time:
            entry["time"] = owned.time
        entry.update(fieldsType="FieldsV1", fieldsV1=owned.tree if owned.tree is not None else encode_fields(owned.paths))
        if manager.subresource:
            entry["subresource"] = manager.subresource
        entries.append(entry)
    keys = ("operation", "time", "manager", "apiVersion", "subresource")
    return sorted(entries, key=lambda entry: tuple(entry.get(key, "") for key in keys))


def in_scope(kind: Kind, subresource: str, paths: Paths) -> Paths:
    """Without the fields that a request on this subresource cannot change."""
    if "status" not in kind.subresources:
        return paths
    if subresource == "status":
        keep = {"f:status"} if kind.custom else {"f:status", "f:metadata"}
        return {path for path in paths if path[0] in keep}
    return paths if subresource else {path for path in paths if path[0] != "f:status"}


def track_update(kind: Kind, before: Object | None, after: Object, manager: str, subresource: str, timestamp: str) -> list[Object]:
    """metadata.managedFields of an object that was created or updated by other means than server-side apply."""
    metadata = after.get("metadata") or {}
    entries = metadata.get("managedFields") or ((before or {}).get("metadata") or {}).get("managedFields") or []
    if entries == [{}]:
        # How a client says that ownership is to be forgotten.
        return []
    difference = compare(shape_of(kind), before or {}, after)
    written = in_scope(kind, subresource, difference.written)
    if before is None and kind.type_name == "core.v1.Event":
        # Filled in, not written: what a recorder leaves unset is owned by nobody.
        written = {path for path in written if len(path) > 1 or after.get(path[0].removeprefix("f:")) not in (None, "")}
    if not written and not difference.removed:
        return t.cast("list[Object]", entries)
    managers = read_managers(entries)
    own = Manager(manager, "Update", kind.api_version, subresource)
    for other, owned in managers.items():
        owned.lose(difference.removed)
        if other != own:
            owned.lose(written)
    held = managers.setdefault(own, Owned(set(), "", kind.api_version))
    if written - held.paths or written & difference.modified:
        held.gain(written)
        # Scaling goes through another type, which loses the time.
        held.time = "" if subresource == "scale" else timestamp
    return write_managers(managers)
