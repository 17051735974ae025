# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What objects of one kind have in common is held once: who manages which fields is the same for a thousand pods, and larger than they."""
from __future__ import annotations

import contextlib
import typing as t

with contextlib.suppress(ImportError):
    import orjson

MOST_PARTS = 5_000
"""Parts that are remembered; then it begins anew."""
_DEPTH = 2
"""How far down in FieldsV1 parts are looked for: names and uids keep the whole from being the same."""


class Sharing:
    """Remembers parts by their JSON. Whatever is shared must never be changed."""

    def __init__(self) -> None:
        self._parts: dict[bytes, t.Any] = {}

    def share(self, value: dict[str, t.Any]) -> None:
        """Replace the parts of an object, in place, by equal ones that were met before."""
        for entry in value["metadata"].get("managedFields") or ():
            self._share(entry, "fieldsV1", _DEPTH)
        spec = value.get("spec")
        if isinstance(spec, dict):
            for key, part in spec.items():
                if part and isinstance(part, (dict, list)):
                    self._share(spec, key, 0)

    def _share(self, holder: dict[str, t.Any], key: str, depth: int) -> None:
        part = holder.get(key)
        if not part:
            return
        text = orjson.dumps(part)
        known = self._parts.get(text)
        if known is not None:
            holder[key] = known
            return
        if depth:
            for below in part:
                self._share(part, below, depth - 1)
        if len(self._parts) >= MOST_PARTS:
            self._parts.clear()
        self._parts[text] = part
