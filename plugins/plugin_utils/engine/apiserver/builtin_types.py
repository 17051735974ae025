# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Go types behind the built-in kinds: reading JSON into them, with the refusals of Go's decoder.

The table (builtin_types.json) is made by tools/builtin_types.py from Kubernetes' own OpenAPI definitions.
Source: Kubernetes staging/src/k8s.io/api; sigs.k8s.io/json; apimachinery pkg/apis/meta/v1/{time,micro_time}.go.
"""
from __future__ import annotations

import base64
import dataclasses
import datetime
import functools
import json
import pathlib
import re
import typing as t

from .quantities import QuantityError, canonical_quantity

OBJECT_META = "meta.v1.ObjectMeta"


class DecodeError(ValueError):
    """JSON that does not fit a type; the text is that of Go's decoder."""


@dataclasses.dataclass(frozen=True)
class Field:
    """One field. type is written as in Go: `string`, `[]core.v1.Container`, `map[string]Quantity`; `any` takes everything."""

    type: str
    required: bool = False
    """Printed even when empty."""
    keys: tuple[str, ...] = ()
    set: bool = False
    atomic: bool = False
    merge: str | None = None
    """Merge key of strategic patches; "" for lists of plain values, None when the list is replaced."""
    retain: bool = False


@dataclasses.dataclass(frozen=True)
class Type:
    name: str
    description: str
    fields: dict[str, Field] | None
    """None for types without declared fields."""
    descriptions: dict[str, str]
    atomic: bool = False

    @property
    def short_name(self) -> str:
        return self.name.rsplit(".", 1)[-1]


@functools.lru_cache(maxsize=1)
def _table() -> dict[str, t.Any]:
    path = pathlib.Path(__file__).parent.parent / "builtin_types.json"
    return t.cast("dict[str, t.Any]", json.loads(path.read_bytes()))


def _field(entry: str | list[t.Any]) -> Field:
    if isinstance(entry, str):
        return Field(entry)
    name, options = entry
    return Field(name, **{**options, "keys": tuple(options.get("keys", ()))})


@functools.cache
def type_named(name: str) -> Type | None:
    """A type of the table, None for scalars and unknown names."""
    entry = _table().get(name)
    if entry is None:
        return None
    fields = entry.get("fields")
    parsed = {key: _field(value) for key, value in fields.items()} if fields is not None else None
    return Type(name, entry["description"], parsed, entry.get("descriptions", {}), entry.get("atomic", False))


_GO_NAMES = {"Quantity": "resource.Quantity", "IntOrString": "intstr.IntOrString", "Time": "v1.Time", "MicroTime": "v1.MicroTime",
             "[]byte": "[]uint8", "any": "interface {}"}


def _go_type(name: str) -> str:
    if name in _GO_NAMES:
        return _GO_NAMES[name]
    for prefix in ("[]", "map[string]"):
        if name.startswith(prefix):
            return prefix + _go_type(name[len(prefix):])
    return ".".join(name.split(".")[-2:])


def _go_value(value: t.Any) -> str:
    if isinstance(value, bool):
        return "bool"
    names: dict[type, str] = {dict: "object", list: "array", str: "string"}
    return names.get(type(value), "number")


_SCALARS: dict[str, tuple[type, ...]] = {"string": (str,), "bool": (bool,), "float64": (int, float)}
_LIMITS = {"int32": 2 ** 31, "int64": 2 ** 63}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_MICRO_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{6})?(Z|[+-]\d\d:\d\d)")
_DROP = object()
# Flags that are no pointers: one that is false is as if it were not there.
_PLAIN = {
    ("core.v1.NodeSpec", "unschedulable"), ("apps.v1.DeploymentSpec", "paused"), ("core.v1.PodSpec", "hostNetwork"),
    ("core.v1.PodSpec", "hostPID"), ("core.v1.PodSpec", "hostIPC"),
}

# Times that are no pointers: one that is unset is shown as null.
_SHOWN = {"core.v1.PodCondition": ("lastProbeTime",)}


class _Decoder:
    """Reads one object. `path` names the fields above as Go does, without keys and indexes; `place` has them."""

    def __init__(self) -> None:
        self.unknown: list[str] = []

    def struct(self, found: Type, value: t.Any, path: str, place: str) -> dict[str, t.Any]:
        result: dict[str, t.Any] = {}
        fields = found.fields or {}
        for key, item in value.items():
            field = fields.get(key)
            if field is None:
                self.unknown.append(f"{place}.{key}" if place else key)
                continue
            below = f"{path}.{key}" if path else key
            read = self.value(field.type, item, found.short_name, below, f"{place}.{key}" if place else key)
            if read is _DROP or (not read and read in ({}, []) and not field.required and self._is_collection(field.type)):
                continue
            if (read == "" and found.name == OBJECT_META) or (read is False and (found.name, key) in _PLAIN):
                continue
            result[key] = read
        for key in _SHOWN.get(found.name, ()):
            result.setdefault(key, None)
        return result

    @staticmethod
    def _is_collection(name: str) -> bool:
        return name.startswith(("[]", "map["))

    def value(self, name: str, value: t.Any, owner: str, path: str, place: str) -> t.Any:
        if name == "any":
            return _DROP if value is None else value
        if value is None:
            return _DROP
        if name.startswith("[]") and name != "[]byte":
            return self._list(name, value, owner, path, place)
        if name.startswith("map[string]"):
            return self._map(name, value, owner, path, place)
        found = type_named(name)
        if found is not None:
            if not isinstance(value, dict):
                raise self._mismatch(value, name, owner, path)
            return value if found.fields is None else self.struct(found, value, path, place)
        return self._scalar(name, value, owner, path)

    def _list(self, name: str, value: t.Any, owner: str, path: str, place: str) -> list[t.Any]:
        if not isinstance(value, list):
            raise self._mismatch(value, name, owner, path)
        element = name[2:]
        items = (self.value(element, item, owner, path, f"{place}[{index}]") for index, item in enumerate(value))
        return [_zero(element) if item is _DROP else item for item in items]

    def _map(self, name: str, value: t.Any, owner: str, path: str, place: str) -> dict[str, t.Any]:
        if not isinstance(value, dict):
            raise self._mismatch(value, name, owner, path)
        element = name[len("map[string]"):]
        if element == "string" and all(isinstance(item, str) for item in value.values()):
            return value
        read = {key: self.value(element, item, owner, path, f"{place}.{key}") for key, item in value.items()}
        return {key: _zero(element) if item is _DROP else item for key, item in read.items()}

    def _scalar(self, name: str, value: t.Any, owner: str, path: str) -> t.Any:
        if name in _SCALARS:
            if not isinstance(value, _SCALARS[name]) or (name != "bool" and isinstance(value, bool)):
                raise self._mismatch(value, name, owner, path)
            return value
        if name in _LIMITS:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise self._mismatch(value, name, owner, path)
            if (isinstance(value, float) and not value.is_integer()) or not -_LIMITS[name] <= value < _LIMITS[name]:
                raise self._mismatch(value, name, owner, path, f"number {value}")
            return int(value)
        if name == "IntOrString":
            if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
                return value
            raise DecodeError(f"json: cannot unmarshal {_go_value(value)} into Go value of type int32")
        if name == "Quantity":
            return _quantity(value)
        if not isinstance(value, str):
            raise self._mismatch(value, "string", owner, path) if name == "[]byte" else DecodeError(
                f"json: cannot unmarshal {_go_value(value)} into Go value of type string")
        read = _TEXTS.get(name)
        return read(value) if read else value

    @staticmethod
    def _mismatch(value: t.Any, name: str, owner: str, path: str, shown: str = "") -> DecodeError:
        return DecodeError(f"json: cannot unmarshal {shown or _go_value(value)} into Go struct field {owner}.{path} of type {_go_type(name)}")


def _zero(name: str) -> t.Any:
    if name.startswith(("[]", "map[")) or name == "any":
        return None
    if name in ("string", "Quantity"):
        return "" if name == "string" else "0"
    return 0 if name in ("int32", "int64", "float64", "IntOrString") else False if name == "bool" else {}


def _quantity(value: t.Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        return canonical_quantity(text)
    except QuantityError as error:
        raise DecodeError(str(error)) from error


def _bytes(value: str) -> str:
    try:
        base64.b64decode(value, validate=True)
    except ValueError as error:
        bad = re.search(r"[^A-Za-z0-9+/]", value.rstrip("="))
        raise DecodeError(f"illegal base64 data at input byte {bad.start() if bad else len(value.rstrip('='))}") from error
    return value


def _time(value: str) -> str:
    if _TIME.fullmatch(value):
        return value
    return _parse_time(value, "2006-01-02T15:04:05Z07:00").strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro_time(value: str) -> str:
    layout = "2006-01-02T15:04:05.000000Z07:00"
    found = _MICRO_TIME.fullmatch(value)
    if found and not found[2]:
        raise DecodeError(f'parsing time {json.dumps(value)} as "{layout}": cannot parse {json.dumps(found[3])} as ".000000"')
    return _parse_time(value, layout).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _parse_time(value: str, layout: str) -> datetime.datetime:
    try:
        read = datetime.datetime.fromisoformat(value)
        if "T" not in value or read.tzinfo is None:
            raise ValueError(value)
    except ValueError as error:
        text = f'parsing time {json.dumps(value)} as "{layout}": cannot parse {json.dumps(value)} as "2006"'
        raise DecodeError(text) from error
    return read.astimezone(datetime.UTC)


_TEXTS: dict[str, t.Callable[[str], str]] = {"Time": _time, "MicroTime": _micro_time, "[]byte": _bytes}


def read_object(type_name: str, obj: dict[str, t.Any]) -> tuple[dict[str, t.Any], list[str]]:
    """The object as the type holds it, without nulls and unknown fields, and the paths of the latter. Raises DecodeError."""
    found = type_named(type_name)
    if found is None:
        return obj, []
    decoder = _Decoder()
    return decoder.struct(found, obj, "", ""), decoder.unknown


def read_metadata(metadata: t.Any, known: dict[str, t.Any] | None = None) -> tuple[dict[str, t.Any], list[str]]:
    """The same for metadata alone. Members that are those of `known`, metadata that is stored, are not read again. Raises DecodeError."""
    decoder = _Decoder()
    if known is None or not isinstance(metadata, dict):
        read = decoder.value(OBJECT_META, metadata, "", "metadata", "metadata")
        return ({} if read is _DROP else read), decoder.unknown
    fresh = {key: value for key, value in metadata.items() if value is not known.get(key)}
    read = decoder.value(OBJECT_META, fresh, "", "metadata", "metadata")
    return {key: read[key] if key in fresh else value for key, value in metadata.items() if key not in fresh or key in read}, decoder.unknown
