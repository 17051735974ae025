# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading JSON into the types of the built-in kinds, with the refusals of Go's decoder.

Source: sigs.k8s.io/json; Kubernetes apimachinery pkg/apis/meta/v1/{time,micro_time}.go.
"""
from __future__ import annotations

import base64
import datetime
import functools
import itertools
import json
import re
import typing as t

from .builtin_types import OBJECT_META, Type, type_named
from .quantities import QuantityError, canonical_quantity


class DecodeError(ValueError):
    """JSON that does not fit a type; the text is that of Go's decoder."""


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


Reader = t.Callable[[t.Any, t.Any], t.Any]
"""Given a value, and what is stored in its place: what is the very same there was read when it was written."""


class _Unusual(Exception):
    """Something that only the decoder that knows where it is can answer."""


def _reader_of(name: str) -> Reader:
    """What reads a value of a type that is as it should be, without keeping track of where it is. It raises _Unusual or DecodeError otherwise."""
    if name == "any":
        return lambda value, _known: value
    if name.startswith("[]") and name != "[]byte":
        return _list_reader(name[2:])
    if name.startswith("map[string]"):
        return _map_reader(name[len("map[string]"):])
    found = type_named(name)
    if found is not None:
        return _opaque if found.fields is None else _struct_reader(name)
    if name in _SCALARS:
        return _scalar_reader(_SCALARS[name])
    if name in _LIMITS:
        return _number_reader(_LIMITS[name])
    if name == "IntOrString":
        return _scalar_reader((int, str))
    return _text_reader(_quantity if name == "Quantity" else _TEXTS.get(name))


def _opaque(value: t.Any, _known: t.Any) -> t.Any:
    if type(value) is not dict:
        raise _Unusual
    return value


def _scalar_reader(types: tuple[type, ...]) -> Reader:
    def read(value: t.Any, _known: t.Any) -> t.Any:
        if type(value) not in types:
            raise _Unusual
        return value

    return read


def _number_reader(limit: int) -> Reader:
    def read(value: t.Any, _known: t.Any) -> t.Any:
        if type(value) is not int or not -limit <= value < limit:
            raise _Unusual
        return value

    return read


def _text_reader(known: t.Callable[[str], str] | None) -> Reader:
    def read(value: t.Any, _known: t.Any) -> t.Any:
        if type(value) is not str:
            raise _Unusual
        return known(value) if known is not None else value

    return read


def _list_reader(element: str) -> Reader:
    below: list[Reader] = []

    def read(value: t.Any, known: t.Any) -> t.Any:
        if type(value) is not list or None in value:
            raise _Unusual
        if not below:
            # Only now: some types hold themselves.
            below.append(_reader_of(element))
        reader, held = below[0], known if type(known) is list else ()
        return [item if item is before else reader(item, before) for item, before in itertools.zip_longest(value, held[:len(value)])]

    return read


def _map_reader(element: str) -> Reader:
    reader = _reader_of(element)

    def read(value: t.Any, _known: t.Any) -> t.Any:
        if type(value) is not dict or None in value.values():
            raise _Unusual
        if element == "string":
            for item in value.values():
                reader(item, None)
            return value
        return {key: reader(item, None) for key, item in value.items()}

    return read


@functools.cache
def _struct_reader(name: str) -> Reader:
    found = t.cast(Type, type_named(name))
    declared, readers = found.fields or {}, dict[str, tuple[Reader, bool]]()
    shown, meta = _SHOWN.get(name, ()), name == OBJECT_META
    plain = frozenset(key for owner, key in _PLAIN if owner == name)

    def known(key: str) -> tuple[Reader, bool]:
        field = declared.get(key)
        if field is None:
            raise _Unusual
        made = readers[key] = _reader_of(field.type), not field.required and field.type.startswith(("[]", "map["))
        return made

    def read(value: t.Any, stored: t.Any) -> t.Any:
        if type(value) is not dict:
            raise _Unusual
        held = stored if type(stored) is dict else {}
        result: dict[str, t.Any] = {}
        for key, item in value.items():
            before = held.get(key)
            if item is before and item is not None:
                result[key] = item
                continue
            reader, droppable = readers.get(key) or known(key)
            if item is None:
                continue
            made = reader(item, before)
            if not made and ((droppable and (made == {} or made == [])) or (meta and made == "") or (made is False and key in plain)):
                continue
            result[key] = made
        for key in shown:
            result.setdefault(key, None)
        return result

    return read


def read_object(type_name: str, obj: dict[str, t.Any], known: dict[str, t.Any] | None = None) -> tuple[dict[str, t.Any], list[str]]:
    """The object as the type holds it, without nulls and unknown fields, and the paths of the latter; `known` is one that is stored.

    Raises DecodeError.
    """
    found = type_named(type_name)
    if found is None:
        return obj, []
    try:
        return _reader_of(type_name)(obj, known), []
    except (_Unusual, DecodeError):
        decoder = _Decoder()
        return decoder.struct(found, obj, "", ""), decoder.unknown


def read_metadata(metadata: t.Any, known: dict[str, t.Any] | None = None) -> tuple[dict[str, t.Any], list[str]]:
    """The same for metadata alone. Members that are those of `known`, metadata that is stored, are not read again. Raises DecodeError."""
    decoder = _Decoder()
    if known is None or not isinstance(metadata, dict):
        read = decoder.value(OBJECT_META, metadata, "", "metadata", "metadata")
        return ({} if read is _DROP else read), decoder.unknown
    fresh = {key: value for key, value in metadata.items() if value is not known.get(key)}
    try:
        read = _struct_reader(OBJECT_META)(fresh, None)
    except (_Unusual, DecodeError):
        read = decoder.value(OBJECT_META, fresh, "", "metadata", "metadata")
    return {key: read[key] if key in fresh else value for key, value in metadata.items() if key not in fresh or key in read}, decoder.unknown
