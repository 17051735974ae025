# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One stored object: its value, and the bytes that clients get."""
from __future__ import annotations

import contextlib
import typing as t

with contextlib.suppress(ImportError):
    import orjson

ResourceKey = tuple[str, str]
"""API group and plural resource name."""
Object = dict[str, t.Any]


class Stored:
    """An object at one version. `value` is never changed by anyone: copy_json() it first. `namespace` is empty for cluster scope."""

    __slots__ = ("_raw", "name", "namespace", "resource", "value", "version")

    def __init__(self, resource: ResourceKey, namespace: str, name: str, version: int, value: Object) -> None:
        self.resource, self.namespace, self.name = resource, namespace, name
        self.version, self.value = version, value
        self._raw: bytes | None = None

    @property
    def raw(self) -> bytes:
        """The value as JSON, made when it is first asked for: most versions of an object are never sent to anybody."""
        if self._raw is None:
            self._raw = orjson.dumps(self.value)
        return self._raw

    def __repr__(self) -> str:
        return f"Stored({'.'.join(self.resource[::-1])} {self.namespace}/{self.name} at {self.version})"


def copy_json(value: t.Any) -> t.Any:
    """A deep copy of plain JSON, eight times faster than copy.deepcopy."""
    return orjson.loads(orjson.dumps(value))


def copy_changed(value: t.Any, known: t.Any) -> t.Any:
    """A copy of plain JSON in which what is a part of `known`, which never changes, is that very part."""
    if value is known:
        return value
    if isinstance(value, dict) and isinstance(known, dict):
        return {key: copy_changed(part, known.get(key)) for key, part in value.items()}
    if isinstance(value, list) and isinstance(known, list):
        parts = {id(part): part for part in known}
        return [part if id(part) in parts else copy_json(part) for part in value]
    return value if value is None or type(value) in (str, bool) else copy_json(value)
