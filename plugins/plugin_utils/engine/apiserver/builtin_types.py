# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Go types behind the built-in kinds.

The table (builtin_types.json) is made by tools/builtin_types.py from Kubernetes' own OpenAPI definitions.
Source: Kubernetes staging/src/k8s.io/api.
"""
from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import typing as t

OBJECT_META = "meta.v1.ObjectMeta"


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
