# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON patch, merge patch and strategic merge patch. The object that is patched is never changed.

Source: RFC 6902, RFC 7396; Kubernetes apiserver pkg/endpoints/handlers/patch.go, apimachinery pkg/util/strategicpatch/patch.go.
"""
from __future__ import annotations

import json
import typing as t

from .. import errors
from ..kinds import Kind
from .decoding import json_problem
from .negotiation import JSON_PATCH, MERGE_PATCH
from .shapes import UNTYPED, Shape, shape_of

Object = dict[str, t.Any]
MOST_OPERATIONS = 10000


def apply_patch(content_type: str, current: Object, body: bytes | Object | list[t.Any], kind: Kind) -> Object:
    """The patched object. Raises StatusError 400 for a patch that is none, 422 for one that does not fit, 413 for too many operations."""
    if content_type == JSON_PATCH:
        patched = json_patch(current, _operations(body))
        if not isinstance(patched, dict):
            raise errors.unprocessable()
        return patched
    patch = _mapping(body, "error decoding patch: " if content_type == MERGE_PATCH else "")
    if content_type == MERGE_PATCH:
        return t.cast(Object, merge_patch(current, patch))
    return strategic_patch(shape_of(kind), current, patch)


def _parsed(body: bytes | t.Any, prefix: str) -> t.Any:
    if not isinstance(body, bytes):
        return body
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise errors.bad_request(prefix + json_problem(body, error)) from error


def _mapping(body: bytes | t.Any, prefix: str) -> Object:
    patch = _parsed(body, prefix)
    if not isinstance(patch, dict):
        raise errors.bad_request(f"{prefix}json: cannot unmarshal {_json_type(patch)} into Go value of type map[string]interface {{}}")
    return patch


def _json_type(value: t.Any) -> str:
    if isinstance(value, bool):
        return "bool"
    names: dict[type, str] = {list: "array", dict: "object", str: "string"}
    return names.get(type(value), "number")


def _operations(body: bytes | t.Any) -> list[Object]:
    patch = _parsed(body, "")
    if not isinstance(patch, list):
        raise errors.bad_request(f"json: cannot unmarshal {_json_type(patch)} into Go value of type jsonpatch.Patch")
    for operation in patch:
        if not isinstance(operation, dict):
            raise errors.bad_request(f"json: cannot unmarshal {_json_type(operation)} into Go value of type jsonpatch.Operation")
    if len(patch) > MOST_OPERATIONS:
        text = f"The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {len(patch)}"
        raise errors.StatusError(413, "RequestEntityTooLarge", text)
    return patch


# -- JSON patch


class _Unfit(Exception):
    """An operation that the document does not allow."""


def json_patch(document: t.Any, operations: t.Sequence[Object]) -> t.Any:
    """Raises StatusError 422, which as in the real server does not say what was wrong."""
    try:
        for operation in operations:
            document = _operate(document, operation)
    except (_Unfit, KeyError, IndexError, ValueError, TypeError) as error:
        raise errors.unprocessable() from error
    return document


def _operate(document: t.Any, operation: Object) -> t.Any:
    action, path = operation.get("op"), _pointer(operation["path"])
    if action == "test":
        if _canonical(_find(document, path, missing_is_null=True)) != _canonical(operation.get("value")):
            raise _Unfit
        return document
    if action in ("add", "replace"):
        return _change(document, path, action, operation["value"] if action == "add" else operation.get("value"))
    if action == "remove":
        return _change(document, path, action)
    if action in ("move", "copy"):
        source = _pointer(operation["from"])
        value = _find(document, source)
        if action == "move":
            document = _change(document, source, "remove")
        return _change(document, path, "add", value)
    raise _Unfit


def _canonical(value: t.Any) -> str:
    return json.dumps(value, sort_keys=True)


def _pointer(text: str) -> list[str]:
    if not text:
        return []
    if not text.startswith("/"):
        raise _Unfit
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _index(items: list[t.Any], text: str, end: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > end:
        raise _Unfit
    return int(text)


def _find(document: t.Any, path: list[str], missing_is_null: bool = False) -> t.Any:
    for position, part in enumerate(path):
        if isinstance(document, dict):
            if part not in document and missing_is_null and position == len(path) - 1:
                return None
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(document, part, len(document) - 1)]
        else:
            raise _Unfit
    return document


def _change(document: t.Any, path: list[str], action: str, value: t.Any = None) -> t.Any:
    """A copy in which the containers along the path are new."""
    if not path:
        if action == "remove":
            raise _Unfit
        return value
    part, rest = path[0], path[1:]
    if isinstance(document, dict):
        made = dict(document)
        if rest:
            made[part] = _change(document[part], rest, action, value)
        elif action == "remove":
            del made[part]
        elif action == "replace" and part not in made:
            raise _Unfit
        else:
            made[part] = value
        return made
    if not isinstance(document, list):
        raise _Unfit
    items = list(document)
    if rest:
        index = _index(items, part, len(items) - 1)
        items[index] = _change(items[index], rest, action, value)
    elif action == "add":
        items.insert(len(items) if part == "-" else _index(items, part, len(items)), value)
    elif action == "remove":
        del items[_index(items, part, len(items) - 1)]
    else:
        items[_index(items, part, len(items) - 1)] = value
    return items


# -- merge patch


def merge_patch(target: t.Any, patch: t.Any) -> t.Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    made = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merge_patch(made.get(key), value)
    return made


# -- strategic merge patch

_DELETE, _ORDER = "$deleteFromPrimitiveList/", "$setElementOrder/"


def strategic_patch(shape: Shape, original: t.Any, patch: Object) -> Object:
    """Merge by the merge keys of the type. Raises StatusError 400 and 500."""
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise errors.internal(f"unknown patch type: {directive}", reason="")
    made = dict(original) if isinstance(original, dict) else {}
    _retain_keys(made, patch)
    for key, value in patch.items():
        if key.startswith(_DELETE):
            _delete_from(made, key[len(_DELETE):], value)
        elif key.startswith("$"):
            continue
        elif value is None:
            made.pop(key, None)
        else:
            made[key] = _merge_value(shape.child(key), made.get(key), value)
    for key, order in patch.items():
        name = key[len(_ORDER):]
        if key.startswith(_ORDER) and isinstance(made.get(name), list):
            made[name] = _ordered(shape.child(name), made[name], _list(order, "SetElementOrder"), (original or {}).get(name) or [])
    return made


def _retain_keys(made: Object, patch: Object) -> None:
    if "$retainKeys" not in patch:
        return
    retained = patch["$retainKeys"]
    sent = {key for key, value in patch.items() if not key.startswith("$") and value is not None}
    if not isinstance(retained, list) or not sent <= set(retained):
        raise errors.bad_request("invalid patch format of retainKeys")
    for key in [key for key in made if key not in retained]:
        del made[key]


def _list(value: t.Any, what: str) -> list[t.Any]:
    if not isinstance(value, list):
        raise errors.bad_request({
            "SetElementOrder": "invalid patch format of setElementOrder list", "Primitive": "invalid patch format of primitive list",
        }[what])
    return value


def _delete_from(made: Object, name: str, values: t.Any) -> None:
    gone = _list(values, "Primitive")
    if isinstance(made.get(name), list):
        made[name] = [item for item in made[name] if item not in gone]


def _merge_value(shape: Shape, original: t.Any, value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return strategic_patch(shape, original if isinstance(original, dict) else {}, value)
    if isinstance(value, list):
        return _merge_list(shape, original if isinstance(original, list) else [], value)
    return value


def _merge_list(shape: Shape, original: list[t.Any], patch: list[t.Any]) -> list[t.Any]:
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [_clean(item) for item in patch if not (isinstance(item, dict) and item.keys() == {"$patch"})]
    key = shape.merge_key
    if key is None:
        return [_clean(item) for item in patch]
    made = list(original)
    if key == "":
        return made + [item for position, item in enumerate(patch) if item not in made and item not in patch[:position]]
    for item in patch:
        if not isinstance(item, dict):
            raise errors.bad_request("invalid patch format of primitive list")
        if key not in item:
            raise errors.internal(f"map: {_go_map(item)} does not contain declared merge key: {key}", reason="")
        position = next((at for at, held in enumerate(made) if isinstance(held, dict) and held.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            made = [held for held in made if held.get(key) != item[key]]
        elif position is None:
            made.append(strategic_patch(shape.item(), {}, item))
        else:
            made[position] = strategic_patch(shape.item(), made[position], item)
    return made


def _go_map(value: Object) -> str:
    return "map[" + " ".join(f"{key}:{value[key]}" for key in sorted(value)) + "]"


def _clean(value: t.Any) -> t.Any:
    """A value that is put where nothing was, or in place of what was: without directives and nulls."""
    return strategic_patch(UNTYPED, {}, {key: item for key, item in value.items() if key != "$patch"}) if isinstance(value, dict) else value


def _ordered(shape: Shape, items: list[t.Any], order: list[t.Any], original: list[t.Any]) -> list[t.Any]:
    """Items in the order that the client gave; those it does not know keep their place relative to the others."""
    key = shape.merge_key

    def identity(item: t.Any) -> t.Any:
        return json.dumps(item.get(key) if key and isinstance(item, dict) else item)

    wanted = [identity(item) for item in order]
    before = {identity(item): position for position, item in enumerate(original)}
    known = sorted((item for item in items if identity(item) in wanted), key=lambda item: wanted.index(identity(item)))
    others = [item for item in items if identity(item) not in wanted]
    made = []
    while known and others:
        place = before.get(identity(known[0]), -1)
        made.append((known if place < before.get(identity(others[0]), len(before)) else others).pop(0))
    return made + known + others
