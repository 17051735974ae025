# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON patch in an annotation of the HyperConverged, and what is said of one that can't be applied: pure.

Source: HCO controllers/operands/operand.go (applyAnnotationPatch); github.com/evanphx/json-patch v5/patch.go.
"""
from __future__ import annotations

import json
import typing as t

from ...apiserver.patches import json_patch
from ...errors import StatusError
from ...interface import Object

_TYPES: dict[type, str] = {dict: "object", str: "string", bool: "bool", int: "number", float: "number"}
_PARENT_MISSING = {
    "add": 'add operation does not apply: doc is missing path: "{path}"', "remove": 'remove operation does not apply: doc is missing path: "{path}"',
    "replace": "replace operation does not apply: doc is missing path: {path}", "test": "test operation does not apply: is missing path: {path}",
    "move": "move operation does not apply: doc is missing destination path: {path}",
    "copy": "copy operation does not apply: doc is missing destination path: {path}",
}
_SOURCE_MISSING = {
    "move": "move operation does not apply: doc is missing from path: {path}", "copy": 'copy operation does not apply: doc is missing from path: "{path}"',
}


class BrokenPatch(ValueError):
    """A patch that is none, or that the object does not allow; says so in the words of the operator's library."""


def decode(text: str) -> list[Object]:
    """The operations of a patch. Raises BrokenPatch."""
    try:
        operations = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BrokenPatch("invalid state detected") from error
    if not isinstance(operations, list):
        if operations is None:
            return []
        raise BrokenPatch(f"json: cannot unmarshal {_TYPES[type(operations)]} into Go value of type jsonpatch.Patch")
    for operation in operations:
        if not isinstance(operation, dict):
            shown = "array" if isinstance(operation, list) else _TYPES.get(type(operation), "null")
            raise BrokenPatch(f"json: cannot unmarshal {shown} into Go value of type jsonpatch.Operation")
        problem = _shape_problem(operation)
        if problem:
            raise BrokenPatch(f"invalid operation {json.dumps(operation, sort_keys=True, separators=(',', ':'))}: {problem}")
    return operations


def _shape_problem(operation: Object) -> str:
    action = operation.get("op")
    if action in ("add", "replace") and "value" not in operation:
        return "failed to decode 'value': operation, missing value field: missing value"
    if action in ("move", "copy") and not isinstance(operation.get("from"), str):
        return "failed to decode 'from': operation, missing from field: missing value"
    if action not in ("add", "remove", "replace", "move", "copy", "test"):
        return "unsupported operation"
    if not isinstance(operation.get("path"), str):
        return "failed to decode 'path': operation missing path field: missing value"
    return ""


def of_spec(text: str) -> list[Object]:
    """The operations of a patch that may change the spec only. Raises BrokenPatch."""
    operations = decode(text)
    if any(not operation["path"].startswith("/spec/") for operation in operations):
        raise BrokenPatch("can only modify spec fields")
    return operations


def applied(document: Object, operations: t.Sequence[Object]) -> Object:
    """The document after the operations. Raises BrokenPatch that says what the first one that fails lacked."""
    for operation in operations:
        try:
            document = json_patch(document, [operation])
        except StatusError as error:
            raise BrokenPatch(_problem(document, operation)) from error
    return document


def _problem(document: Object, operation: Object) -> str:
    action, path = operation["op"], operation["path"]
    if action in _SOURCE_MISSING:
        source = operation["from"]
        held, key = _held(document, source)
        if held is None:
            return f"{_SOURCE_MISSING[action].format(path=source)}: missing value"
        if not _has(held, key):
            place = f"from: '{source}'" if action == "copy" else f"path: '{key}'"
            return f"error in {action} for {place}: {_lacks(held, key, 'get')}"
    held, key = _held(document, path)
    if held is None:
        return f"{_PARENT_MISSING[action].format(path=path)}: missing value"
    if action == "test":
        return f"testing value {path} failed: test failed"
    if action == "replace":
        return f"replace operation does not apply: doc is missing key: {path}: missing value"
    return f"error in {action} for path: '{path}': {_lacks(held, key, action)}"


def _held(document: t.Any, path: str) -> tuple[dict[str, t.Any] | list[t.Any] | None, str]:
    """The object or list that a path ends in, None when there is none, and the last part of the path."""
    *parents, key = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]] or [""]
    for part in parents:
        if not isinstance(document, (dict, list)) or not _has(document, part):
            return None, key
        document = document[part] if isinstance(document, dict) else document[int(part)]
    return (document if isinstance(document, (dict, list)) else None), key


def _has(held: dict[str, t.Any] | list[t.Any], key: str) -> bool:
    if isinstance(held, dict):
        return key in held
    return key.isascii() and key.isdigit() and int(key) < len(held)


def _lacks(held: dict[str, t.Any] | list[t.Any], key: str, action: str) -> str:
    if isinstance(held, dict):
        return f"unable to remove nonexistent key: {key}: missing value" if action == "remove" else f"unable to get nonexistent key: {key}: missing value"
    if key.removeprefix("-").isdigit():
        return f"Unable to access invalid index: {int(key)}: invalid index referenced"
    said = f'strconv.Atoi: parsing "{key}": invalid syntax'
    return f"value was not a proper array index: '{key}': {said}" if action in ("add", "move", "copy") else said
