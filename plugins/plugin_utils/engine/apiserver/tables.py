# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `kubectl get` shows: Tables of built-in and custom kinds, and objects without anything but their metadata.

Source: Kubernetes apiserver pkg/endpoints/handlers/response.go; apiextensions-apiserver pkg/registry/customresource/tableconvertor;
apimachinery pkg/util/duration.
"""
from __future__ import annotations

import datetime
import json
import typing as t

from ..kinds import Column, Kind
from .builtin_tables import AGE_TEXT, BUILTIN, Printer
from .json_path import find

Object = dict[str, t.Any]
_NAME_TEXT = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request "
    "the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. "
    "Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
)
NAME = Column("Name", "string", "name", _NAME_TEXT)
_DEFAULT = Printer((Column("Created At", "date", "", AGE_TEXT),), lambda obj, age: [obj["metadata"].get("creationTimestamp")])


def age(timestamp: str | None, now: datetime.datetime) -> str:
    """How long ago, as people read it: 48s, 5m3s, 3h, 2d4h. `<unknown>` without a time."""
    if not timestamp:
        return "<unknown>"
    try:
        since = datetime.datetime.fromisoformat(timestamp)
    except (ValueError, TypeError):
        return "<invalid>"
    return human_duration(int((now - since).total_seconds()))


def human_duration(seconds: int) -> str:
    if seconds < -1:
        return "<invalid>"
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    years = days // 365
    for below, value, unit, rest, small in (
        (10, minutes, "m", seconds % 60, "s"), (180, minutes, "m", 0, ""), (8 * 60, hours, "h", minutes % 60, "m"), (48 * 60, hours, "h", 0, ""),
        (192 * 60, days, "d", hours % 24, "h"), (365 * 2 * 24 * 60, days, "d", 0, ""), (365 * 8 * 24 * 60, years, "y", days % 365, "d"),
    ):
        if minutes < below:
            return f"{value}{unit}{rest}{small}" if rest else f"{value}{unit}"
    return f"{years}y"


def table(
    kind: Kind,
    objects: t.Sequence[Object],
    include_object: str,
    list_metadata: Object,
    api_version: str,
    now: datetime.datetime,
    headers: bool = True,
) -> Object:
    """A Table. include_object is Metadata (also ""), Object or None; headers False leaves the columns out, as later events of a watch do."""
    printer = _printer(kind)
    # Events have their name in the wide view, behind everything else.
    first = () if any(column.name == NAME.name for column in printer.columns) else (NAME,)

    def ago(timestamp: str | None) -> str:
        return age(timestamp, now)

    rows = []
    for obj in objects:
        name = [obj["metadata"].get("name", "")] if first else []
        row: Object = {"cells": [*name, *printer.cells(obj, ago)], "object": None}
        if include_object == "Object":
            row["object"] = obj
        elif include_object != "None":
            row["object"] = partial_object(obj, api_version)
        if printer.done(obj):
            row["conditions"] = [{"type": "Completed", "status": "True", "reason": printer.done(obj), "message": "The pod has completed successfully."}]
        rows.append(row)
    columns = [_definition(column) for column in (*first, *printer.columns)] if headers else None
    return {"kind": "Table", "apiVersion": api_version, "metadata": list_metadata, "columnDefinitions": columns, "rows": rows}


def _definition(column: Column) -> Object:
    text = column.description
    if column.json_path and not text:
        text = f"Custom resource definition column (in JSONPath format): {column.json_path}"
    return {"name": column.name, "type": column.type, "format": column.format, "description": text, "priority": column.priority}


def _printer(kind: Kind) -> Printer:
    if not kind.custom:
        return BUILTIN.get(kind.type_name, _DEFAULT)
    columns = kind.columns
    return Printer(columns, lambda obj, ago: [_cell(column, obj, ago) for column in columns])


def _cell(column: Column, obj: Object, ago: t.Callable[[str | None], str]) -> t.Any:
    """Source: tableconvertor.go (cellForJSONValue)."""
    found = find(column.json_path, obj)
    if not found or found[0] is None:
        return None
    value = found[0]
    if column.type == "date":
        return ago(value) if isinstance(value, str) else None
    if column.type == "string":
        return " ".join(_text(one) for one in found)
    if column.type == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if column.type == "integer" else float(value)


def _text(value: t.Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def partial_object(obj: Object, api_version: str) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": obj["metadata"]}


def partial_list(kind: Kind, objects: t.Iterable[Object], list_metadata: Object, api_version: str) -> Object:
    items = [partial_object(obj, api_version) for obj in objects]
    return {"kind": "PartialObjectMetadataList", "apiVersion": api_version, "metadata": list_metadata, "items": items}
