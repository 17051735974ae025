# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server-side apply.

Source: Kubernetes apimachinery pkg/util/managedfields; structured-merge-diff merge/update.go and typed.
"""
from __future__ import annotations

import json
import typing as t

from ..errors import Cause, StatusError, apply_conflict, bad_request, internal
from ..kinds import Kind
from .field_changes import Object, by_element, compare, fields_of, item_element
from .field_trees import Path, Paths, Tree, decode_fields, encode_fields
from .managed_fields import Manager, Managers, Owned, out_of_scope, read_managers, write_managers
from .shapes import Shape, shape_of


def apply(
    kind: Kind,
    current: Object | None,
    body: Object,
    manager: str,
    force: bool = False,
    subresource: str = "",
    timestamp: str = "",
) -> Object:
    """The object after a manager applied its configuration, managedFields included.

    Raises StatusError 400 (managedFields sent), 409 (fields of other managers) and 500 (not of the kind's types, as the real server).
    """
    metadata = body.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    shape = shape_of(kind)
    _check_types(kind, shape, body)
    live = _without_managers(current) if current is not None else {}
    managers = read_managers(((current or {}).get("metadata") or {}).get("managedFields") or [])
    own = Manager(manager, "Apply", "", subresource)
    before = managers.pop(own, None)
    applied = fields_of(shape, body)
    outside = out_of_scope(kind, subresource, {path[0] for path in applied})
    mine = {path for path in applied if path[0] not in outside}
    merged = t.cast(Object, _merge(shape, live, body))
    if before is not None:
        kept = mine.union(*(owned.paths for owned in managers.values()))
        _prune(shape, merged, before.paths - kept, kept)
    difference = compare(shape, live, merged)
    _settle_conflicts(managers, difference.written, force)
    for owned in managers.values():
        owned.lose(difference.removed)
    managers[own] = _mine(before, mine, kind.api_version, timestamp, live != merged)
    merged.setdefault("metadata", {})["managedFields"] = write_managers(managers)
    return merged


def _mine(before: Owned | None, paths: Paths, api_version: str, timestamp: str, changed: bool) -> Owned:
    tree = encode_fields(paths)
    if changed:
        return Owned(tree, timestamp, api_version)
    if before is not None and before.paths == paths:
        return Owned(tree, before.time, api_version)
    # Ownership that changes without the object changing has no time.
    return Owned(tree, "", api_version)


def _without_managers(obj: Object) -> Object:
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def _settle_conflicts(managers: Managers, written: Tree, force: bool) -> None:
    paths = decode_fields(written)
    conflicts = [(manager, path) for manager, owned in managers.items() for path in sorted(owned.paths & paths)]
    if conflicts and not force:
        raise _conflict(conflicts)
    for owned in managers.values():
        owned.lose(written)


def path_text(path: Path) -> str:
    """A path as people read it: `.spec.containers[name="c"].image`."""
    return "".join(_element_text(element) for element in path)


def _element_text(element: str) -> str:
    sort, dummy, rest = element.partition(":")
    if sort == "f":
        return "." + rest
    if sort == "k":
        # {"name":"c","port":80} is shown as name="c",port=80.
        return "[" + rest[1:-1].replace('":', "=").replace(',"', ",").removeprefix('"') + "]"
    return f"[={rest}]" if sort == "v" else f"[{rest}]"


def _conflict(conflicts: list[tuple[Manager, Path]]) -> StatusError:
    causes = [Cause("FieldManagerConflict", f"conflict with {manager}", path_text(path)) for manager, path in conflicts]
    if len(conflicts) == 1:
        manager, path = conflicts[0]
        return apply_conflict(f"Apply failed with 1 conflict: conflict with {manager}: {path_text(path)}", causes)
    lines = []
    for manager in sorted({manager for manager, path in conflicts}):
        lines.append(f"conflicts with {manager}:")
        lines += [f"- {path_text(path)}" for owner, path in conflicts if owner == manager]
    return apply_conflict(f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines), causes)


def _merge(shape: Shape, live: t.Any, applied: t.Any) -> t.Any:
    if shape.atomic:
        return applied
    if isinstance(applied, dict) and isinstance(live, dict):
        merged = dict(live)
        for key, value in applied.items():
            merged[key] = _merge(shape.child(key), live.get(key), value)
        return merged
    if isinstance(applied, list) and isinstance(live, list) and shape.granular_list:
        wanted = by_element(shape, applied)
        held = by_element(shape, live)
        merged_items = [_merge(shape.item(), item, wanted.pop(element)) if element in wanted else item
                        for element, item in held.items()]
        return merged_items + [_merge(shape.item(), None, item) for item in wanted.values()]
    if isinstance(applied, dict):
        return {key: _merge(shape.child(key), None, value) for key, value in applied.items()}
    return list(applied) if isinstance(applied, list) else applied


def _prune(shape: Shape, merged: Object, gone: t.AbstractSet[Path], kept: Paths) -> None:
    """Take away what the manager no longer sends and nobody else owns; a parent stays while somebody owns something below it."""
    needed = {path[:length] for path in kept for length in range(1, len(path))}
    for path in sorted(gone):
        if path not in needed and not (path[:-1] in needed and _names_item(path)):
            _remove(shape, merged, path)


def _names_item(path: Path) -> bool:
    """Whether a field is one of those by which its item is found; an item that stays keeps them."""
    item = path[-2] if len(path) > 1 else ""
    return item.startswith("k:") and path[-1][2:] in json.loads(item[2:])


def _remove(shape: Shape, holder: t.Any, path: Path) -> None:
    """The containers on the way are copied: the live object, with which they may be shared, stays as it is."""
    element, rest = path[0], path[1:]
    if element.startswith("f:") and isinstance(holder, dict):
        key = element[2:]
        if key not in holder:
            return
        if not rest:
            del holder[key]
            return
        child = holder[key]
        if isinstance(child, (dict, list)):
            holder[key] = child = child.copy()
            _remove(shape.child(key), child, rest)
    elif isinstance(holder, list):
        for index, item in enumerate(holder):
            if item_element(shape, item) == element:
                if not rest:
                    del holder[index]
                elif isinstance(item, dict):
                    holder[index] = item = dict(item)
                    _remove(shape.item(), item, rest)
                return


_EXPECTED: dict[str, tuple[tuple[type, ...], str]] = {"struct": ((dict,), "map"), "map": ((dict,), "map"), "list": ((list,), "list")}
_SCALARS: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "string"), "numeric": ((int, float), "numeric (int or float)"), "boolean": ((bool,), "boolean"),
}


def _check_types(kind: Kind, shape: Shape, body: Object) -> None:
    wrong = list(_type_errors(shape, {key: value for key, value in body.items() if key not in ("apiVersion", "kind")}, ()))
    if wrong:
        metadata = body.get("metadata")
        named: Object = metadata if isinstance(metadata, dict) else {}
        where = f"{named.get('namespace', '')}/{named.get('name', '')}; {kind.group}/{kind.version}, Kind={kind.kind}"
        text = wrong[0] if len(wrong) == 1 else "errors:" + "".join(f"\n  {line}" for line in wrong)
        # The real server answers 500 without a reason.
        raise internal(f"failed to create typed patch object ({where}): {text}", reason="")


def _type_errors(shape: Shape, value: t.Any, path: Path) -> t.Iterator[str]:
    if value is None:
        return
    if shape.form in _EXPECTED:
        types, name = _EXPECTED[shape.form]
        if not isinstance(value, types):
            yield f"{path_text(path)}: expected {name}, got &{{{_go_text(value)}}}"
        elif isinstance(value, dict):
            for key, item in value.items():
                if shape.form == "struct" and shape.closed and not shape.declares(key):
                    yield f"{path_text((*path, 'f:' + key))}: field not declared in schema"
                else:
                    yield from _type_errors(shape.child(key), item, (*path, "f:" + key))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                element = item_element(shape, item) if shape.granular_list else f"i:{index}"
                yield from _type_errors(shape.item(), item, (*path, element))
    elif shape.scalar:
        types, name = _SCALARS[shape.scalar]
        if not isinstance(value, types) or (shape.scalar == "numeric" and isinstance(value, bool)):
            yield f"{path_text(path)}: expected {name}, got &{{{_go_text(value)}}}"


def _go_text(value: t.Any) -> str:
    """A value as Go's %v prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_go_text(item) for item in value) + "]"
    return "<nil>" if value is None else str(value)
