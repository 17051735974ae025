# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the bytes of a body to an object of the kind that the path names, or the real server's complaint.

Source: Kubernetes apiserver pkg/endpoints/handlers/{create,update,rest}.go, apimachinery pkg/runtime/serializer/json.
"""
from __future__ import annotations

import contextlib
import json
import typing as t

import yaml

with contextlib.suppress(ImportError):
    import orjson

from .. import errors
from ..kinds import Kind
from . import protobuf
from .negotiation import PROTOBUF, YAML, body_type

Object = dict[str, t.Any]
_SUMMARY = 30
_TYPE_META = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
_INTERNAL_PACKAGES = {"": "core", "rbac.authorization.k8s.io": "rbac"}


def decode(body: bytes, content_type: str, kind: Kind) -> tuple[Object, list[str]]:
    """The object and the paths of keys that it has twice. Raises StatusError 400 or 415."""
    if content_type == PROTOBUF and not kind.custom:
        return protobuf.decode(body, kind.kind), []
    if body_type(content_type) == YAML:
        parsed, duplicates = _yaml(body, kind), list[str]()
    else:
        parsed, duplicates = _json(body, kind)
    if not isinstance(parsed, dict):
        what = {list: "array", str: "string", bool: "bool", type(None): "null"}.get(type(parsed), "number")
        problem = f"couldn't get version/kind; json parse error: json: cannot unmarshal {what} into Go value of type {_TYPE_META}"
        raise unrecognized(kind, problem, body)
    return parsed, duplicates


def check_type(obj: Object, kind: Kind, body: bytes = b"") -> None:
    """Set or check apiVersion and kind against what the path names. Raises StatusError 400."""
    version, name = obj.get("apiVersion") or "", obj.get("kind") or ""
    for key, value in (("apiVersion", version), ("kind", name)):
        if not isinstance(value, str):
            text = f"json: cannot unmarshal {_go_type(value)} into Go struct field .{key} of type string"
            raise unrecognized(kind, f"couldn't get version/kind; json parse error: {text}", body)
    if kind.custom:
        if not name:
            shown = body.decode("utf-8", "replace") if body else json.dumps(obj)
            raise unrecognized(kind, f"Object 'Kind' is missing in '{shown}'", body or shown.encode())
        if version != kind.api_version:
            raise errors.bad_request(
                f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
            )
        if name != kind.kind:
            raise errors.bad_request(f"{name}.{kind.group} is not the kind of this resource: expected {kind.kind}")
        return
    obj["kind"], obj["apiVersion"] = name or kind.kind, version or kind.api_version
    if name and name != kind.kind:
        package = _INTERNAL_PACKAGES.get(kind.group, kind.group.partition(".")[0])
        problem = f"converting ({kind.version}.{name}) to ({package}.{kind.kind}): unknown conversion"
        raise errors.bad_request(f'{name} in version {errors.quote(obj["apiVersion"])} cannot be handled as a {kind.kind}: {problem}')
    if version and version != kind.api_version:
        problem = f'no kind "{kind.kind}" is registered for version "{version}" in scheme "pkg/runtime/scheme.go:111"'
        raise errors.bad_request(f'{kind.kind} in version "{version}" cannot be handled as a {kind.kind}: {problem}')


def _go_type(value: t.Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else "number"


def unrecognized(kind: Kind, problem: str, body: bytes) -> errors.StatusError:
    text = f"the object provided is unrecognized (must be of type {kind.kind}): {problem} ({_summary(body)})"
    return errors.bad_request(text)


def _summary(body: bytes) -> str:
    if not body:
        return "<empty>"
    more = " ..." if len(body) > _SUMMARY else ""
    start = body[:_SUMMARY]
    return (start.decode("utf-8", "replace") if body[:1] == b"{" else start.hex()) + more


class _Duplicates:
    """Collects, while JSON is parsed, which objects have a key twice."""

    def __init__(self) -> None:
        self.found: list[tuple[Object, str]] = []

    def hook(self, pairs: list[tuple[str, t.Any]]) -> Object:
        made = dict(pairs)
        if len(made) != len(pairs):
            seen: set[str] = set()
            for key, _value in pairs:
                if key in seen:
                    self.found.append((made, key))
                seen.add(key)
        return made

    def paths(self, root: t.Any) -> list[str]:
        return [f"{path}.{key}".lstrip(".") for holder, key in self.found for path in _path_of(root, holder, "")]


def _path_of(value: t.Any, wanted: Object, path: str) -> t.Iterator[str]:
    if value is wanted:
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _path_of(item, wanted, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _path_of(item, wanted, f"{path}[{index}]")


def _json(body: bytes, kind: Kind) -> tuple[t.Any, list[str]]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = _lenient_json(body, kind)
    # A body as short as its own encoding has no key twice; others are looked at.
    if len(body) == len(orjson.dumps(parsed)):
        return parsed, []
    duplicates = _Duplicates()
    again = json.loads(body, object_pairs_hook=duplicates.hook)
    return parsed, duplicates.paths(again) if duplicates.found else []


def _lenient_json(body: bytes, kind: Kind) -> t.Any:
    """What only the strict parser refuses (lone surrogates); else the complaint."""
    try:
        parsed = json.loads(body, parse_constant=_refuse_constant)
        return orjson.loads(json.dumps(parsed, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise unrecognized(kind, f"couldn't get version/kind; json parse error: {json_problem(body, error)}", body) from error


def _refuse_constant(text: str) -> t.NoReturn:
    raise ValueError(f"invalid character '{text[0]}' looking for beginning of value")


def json_problem(body: bytes, error: Exception) -> str:
    """A parse error as Go's encoding/json words it."""
    if not isinstance(error, json.JSONDecodeError):
        return str(error) if isinstance(error, ValueError) else "exceeded max depth"
    text = error.doc
    position = error.pos
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    if position >= len(text) or error.msg.startswith("Unterminated string"):
        return "unexpected end of JSON input"
    # Go reads bytes: of a character that has several it shows the first.
    character = chr(text[position].encode("utf-8", "surrogatepass")[0])
    shown = {"'": "'\\''", '"': "'\"'"}.get(character, f"'{character}'")
    if error.msg.startswith("Extra data"):
        return f"invalid character {shown} after top-level value"
    if error.msg.startswith("Expecting property name"):
        return f"invalid character {shown} looking for beginning of object key string"
    if error.msg.startswith("Expecting ':'"):
        return f"invalid character {shown} after object key"
    if error.msg.startswith("Expecting ','"):
        before = text.rfind("[", 0, position) > text.rfind("{", 0, position)
        return f"invalid character {shown} after {'array element' if before else 'object key:value pair'}"
    return f"invalid character {shown} looking for beginning of value"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as Kubernetes reads it: times stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, expression) for tag, expression in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_yaml(body: bytes) -> t.Any:
    """One YAML document as JSON types. Raises ValueError."""
    try:
        return yaml.load(body, Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"error converting YAML to JSON: {error}") from error


def _yaml(body: bytes, kind: Kind) -> t.Any:
    try:
        return load_yaml(body)
    except ValueError as error:
        raise unrecognized(kind, str(error), body) from error
