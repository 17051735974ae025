# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Structural schemas of custom resources: pruning, defaulting, and validation in the real server's words.

Rules in CEL (x-kubernetes-validations) are not evaluated. `known` is what is stored in the place of a value: what is the very same there
was pruned, defaulted and found right when it was written, and is left alone.
Source: Kubernetes apiextensions-apiserver pkg/apiserver/schema/{pruning,defaulting}, pkg/apiserver/validation/validation.go;
kube-openapi pkg/validation.
"""
from __future__ import annotations

import copy
import datetime
import functools
import json
import re
import typing as t

from ..errors import Cause, invalid_value, required_value, unsupported_value

Schema = dict[str, t.Any]
_TYPE_META = ("apiVersion", "kind", "metadata")
_UNCHECKED = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
_BLOCKING = {"FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"}


def prune(schema: Schema, obj: dict[str, t.Any], known: t.Any = None) -> tuple[dict[str, t.Any], list[str]]:
    """The object without the fields its schema does not know, and their paths, sorted."""
    unknown: list[str] = []
    pruned = _prune(schema, obj, "", unknown, known, keep=_TYPE_META)
    return pruned, sorted(unknown)


def _at(known: t.Any, place: str | int) -> t.Any:
    """What is stored at a place below; None for nothing."""
    if isinstance(place, str):
        return known.get(place) if isinstance(known, dict) else None
    return known[place] if isinstance(known, list) and place < len(known) else None


def _prune(schema: Schema, value: t.Any, path: str, unknown: list[str], known: t.Any, keep: t.Collection[str] = ()) -> t.Any:
    if value is known or not isinstance(value, (dict, list)):
        return value
    if isinstance(value, list):
        items = schema.get("items")
        if not isinstance(items, dict):
            return value
        return [_prune(items, item, f"{path}[{index}]", unknown, _at(known, index)) for index, item in enumerate(value)]
    preserve = schema.get("x-kubernetes-preserve-unknown-fields", False)
    if schema.get("x-kubernetes-embedded-resource"):
        keep = _TYPE_META
    properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
    made = {}
    for key, item in value.items():
        below = f"{path}.{key}" if path else key
        if key in keep and (key not in properties or key == "metadata"):
            made[key] = item
        elif key in properties:
            made[key] = _prune(properties[key], item, below, unknown, _at(known, key))
        elif isinstance(additional, dict):
            made[key] = _prune(additional, item, below, unknown, _at(known, key))
        elif preserve or additional is True:
            made[key] = item
        else:
            unknown.append(below)
    return made


def set_defaults(schema: Schema, value: t.Any, known: t.Any = None) -> None:
    """Fill in defaults, in place; a null that the schema does not allow is as if it were not there."""
    if value is known or not isinstance(value, (dict, list)):
        return
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        for key, below in properties.items():
            if key in value and value[key] is None and not below.get("nullable"):
                del value[key]
            if key not in value and "default" in below:
                value[key] = copy.deepcopy(below["default"])
            if key in value:
                set_defaults(below, value[key], _at(known, key))
        additional = schema.get("additionalProperties")
        if isinstance(additional, dict):
            for key, item in value.items():
                if key not in properties:
                    set_defaults(additional, item, _at(known, key))
    elif isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            set_defaults(schema["items"], item, _at(known, index))


def validate(schema: Schema, obj: dict[str, t.Any], known: t.Any = None) -> list[Cause]:
    """Everything that is wrong with a custom resource, but for its metadata."""
    properties = {key: value for key, value in (schema.get("properties") or {}).items() if key not in _TYPE_META}
    causes = list(_validate({**schema, "properties": properties}, obj, "", known))
    causes += _list_causes(schema, obj, "", known)
    if any(cause.reason in _BLOCKING for cause in causes) and _has_rules(schema):
        causes.append(Cause("FieldValueInvalid", f"Invalid value: null: {_UNCHECKED}", "<nil>"))
    return causes


def _has_rules(schema: t.Any) -> bool:
    if not isinstance(schema, dict):
        return False
    if schema.get("x-kubernetes-validations"):
        return True
    below = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return any(_has_rules(item) for item in below)


def _type_name(value: t.Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if value is None:
        return "null"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        # JSON's numbers become floats when they are no int64.
        return "number"
    return {dict: "object", list: "array", str: "string", int: "integer", float: "number"}[type(value)]


def _has_type(value: t.Any, wanted: str) -> bool:
    name = _type_name(value)
    if wanted == "number":
        return name in ("integer", "number")
    return name == wanted or (wanted == "integer" and name == "number" and abs(value) < 2**53 and float(value).is_integer())


def _validate(schema: Schema, value: t.Any, path: str, known: t.Any = None) -> t.Iterator[Cause]:
    if value is known and isinstance(value, (dict, list)):
        return
    where = f"{path} in body" if path else "in body"
    field = path or "<nil>"
    if value is None and schema.get("nullable"):
        return
    wanted = "string" if schema.get("x-kubernetes-int-or-string") and isinstance(value, str) else schema.get("type")
    if schema.get("x-kubernetes-int-or-string") and not isinstance(value, str):
        wanted = "integer"
    if wanted and not _has_type(value, wanted):
        found = _type_name(value)
        yield Cause("FieldValueTypeInvalid", f'Invalid value: "{found}": {where} must be of type {wanted}: "{found}"', field)
        return
    yield from _combinations(schema, value, path, where, field)
    if isinstance(value, str):
        yield from _string(schema, value, where, field)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _number(schema, value, where, field)
        if schema.get("type") == "integer" and schema.get("format") == "int32" and not -(2**31) <= value < 2**31:
            # Source: kube-openapi pkg/validation/validate/values.go (IsValueValidAgainstRange); an error of no field.
            yield Cause("FieldValueInvalid", f'Invalid value: "": Checked value must be of type integer with format int32 in {path}', "<nil>")
    elif isinstance(value, list):
        yield from _array(schema, value, path, where, field, known)
    if schema.get("enum") and value not in schema["enum"]:
        yield unsupported_value(field, value, [item if isinstance(item, str) else json.dumps(item) for item in schema["enum"]])
    if isinstance(value, dict):
        yield from _object(schema, value, path, where, field, known)


def _combinations(schema: Schema, value: t.Any, path: str, where: str, field: str) -> t.Iterator[Cause]:
    def fits(other: Schema) -> bool:
        return next(_validate(other, value, path), None) is None

    problem = ""
    if "anyOf" in schema and not any(fits(other) for other in schema["anyOf"]):
        problem = "must validate at least one schema (anyOf)"
    elif "oneOf" in schema and (valid := sum(fits(other) for other in schema["oneOf"])) != 1:
        problem = "must validate one and only one schema (oneOf). Found " + ("none valid" if not valid else f"{valid} valid alternatives")
    elif "allOf" in schema and not all(fits(other) for other in schema["allOf"]):
        problem = "must validate all the schemas (allOf)"
    elif "not" in schema and fits(schema["not"]):
        problem = "must not validate the schema (not)"
    if problem:
        yield Cause("FieldValueInvalid", f'Invalid value: "": {path + " in body" if path else ""} {problem}'.replace('"":  ', '"": "" '), field)


@functools.lru_cache(maxsize=1000)
def _pattern(text: str) -> re.Pattern[str] | None:
    # Go's \z is Python's \Z, and so is its $, before which no line may end; everything else that CRDs use is common to both.
    if text.endswith("$") and not text.endswith(r"\$"):
        text = text[:-1] + r"\Z"
    try:
        return re.compile(text.replace(r"\z", r"\Z"), re.ASCII)
    except re.error:
        return None


def _string(schema: Schema, value: str, where: str, field: str) -> t.Iterator[Cause]:
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        yield Cause("FieldValueTooLong", f"Too long: may not be more than {schema['maxLength']} bytes", field)
    if "minLength" in schema and len(value) < schema["minLength"]:
        yield invalid_value(field, value, f"{where} should be at least {schema['minLength']} chars long")
    if "pattern" in schema:
        pattern = _pattern(schema["pattern"])
        if pattern is not None and not pattern.search(value):
            yield invalid_value(field, value, f"{where} should match '{schema['pattern']}'")
    if schema.get("format") == "date-time" and not _is_time(value):
        yield Cause("FieldValueTypeInvalid", f"Invalid value: {json.dumps(value)}: {where} must be of type date-time: {json.dumps(value)}", field)


def _is_time(value: str) -> bool:
    try:
        return "T" in value.upper() and datetime.datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _number(schema: Schema, value: float, where: str, field: str) -> t.Iterator[Cause]:
    if "multipleOf" in schema and value % schema["multipleOf"]:
        yield invalid_value(field, value, f"{where} should be a multiple of {schema['multipleOf']}")
    if "maximum" in schema:
        limit, strict = schema["maximum"], schema.get("exclusiveMaximum")
        if value > limit or (strict and value == limit):
            yield invalid_value(field, value, f"{where} should be less than {'' if strict else 'or equal to '}{limit}")
    if "minimum" in schema:
        limit, strict = schema["minimum"], schema.get("exclusiveMinimum")
        if value < limit or (strict and value == limit):
            yield invalid_value(field, value, f"{where} should be greater than {'' if strict else 'or equal to '}{limit}")


def _array(schema: Schema, value: list[t.Any], path: str, where: str, field: str, known: t.Any) -> t.Iterator[Cause]:
    if isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            yield from _validate(schema["items"], item, f"{path}[{index}]", _at(known, index))
    if "minItems" in schema and len(value) < schema["minItems"]:
        yield invalid_value(field, len(value), f"{where} should have at least {schema['minItems']} items")
    if "maxItems" in schema and len(value) > schema["maxItems"]:
        yield Cause("FieldValueTooMany", f"Too many: {len(value)}: must have at most {schema['maxItems']} items", field)


def _object(schema: Schema, value: dict[str, t.Any], path: str, where: str, field: str, known: t.Any) -> t.Iterator[Cause]:
    if "minProperties" in schema and len(value) < schema["minProperties"]:
        yield invalid_value(field, len(value), f"{where} should have at least {schema['minProperties']} properties")
    if "maxProperties" in schema and len(value) > schema["maxProperties"]:
        yield Cause("FieldValueTooMany", f"Too many: {len(value)}: must have at most {schema['maxProperties']} items", field)
    below = f"{path}." if path else ""
    for key in schema.get("required") or ():
        if key not in value:
            yield required_value(below + key)
    properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
    for key, item in value.items():
        if key in properties:
            yield from _validate(properties[key], item, below + key, _at(known, key))
        elif isinstance(additional, dict):
            yield from _validate(additional, item, below + key, _at(known, key))


def _list_causes(schema: Schema, value: t.Any, path: str, known: t.Any) -> list[Cause]:
    """Duplicates in lists that are sets or have keys."""
    causes: list[Cause] = []
    if value is known:
        return causes
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        keys = schema.get("x-kubernetes-list-map-keys")
        checked = keys if schema.get("x-kubernetes-list-type") == "map" else None
        seen: set[str] = set()
        for index, item in enumerate(value):
            if checked is not None or schema.get("x-kubernetes-list-type") == "set":
                shown = {key: item[key] for key in checked if key in item} if checked and isinstance(item, dict) else item
                text = json.dumps(shown, separators=(",", ":"))
                if text in seen:
                    causes.append(Cause("FieldValueDuplicate", f"Duplicate value: {text}", f"{path}[{index}]"))
                seen.add(text)
            causes += _list_causes(schema["items"], item, f"{path}[{index}]", _at(known, index))
    elif isinstance(value, dict):
        properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
        for key, item in value.items():
            below = properties.get(key) or (additional if isinstance(additional, dict) else None)
            if below and isinstance(item, (dict, list)):
                causes += _list_causes(below, item, f"{path}.{key}" if path else key, _at(known, key))
    return causes
