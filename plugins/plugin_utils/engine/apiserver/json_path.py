# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths into objects, as printer columns of CustomResourceDefinitions use them.

Reads `.a.b`, `.a['b\\.c']`, `.a[0]`, `.a[-1]`, `.a[*]` and `.a[?(@.type=="Ready")].status`. Source: client-go util/jsonpath.
"""
from __future__ import annotations

import functools
import json
import re
import typing as t

Step = tuple[str, t.Any]
_STEP = re.compile(
    r"""\.?\[\?\(\s*@\.?(?P<field>[^=!<>\s]*)\s*(?P<operator>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|[^)\s]+)\s*\)\]"""
    r"""|\.?\['(?P<quoted>(?:[^'\\]|\\.)*)'\]|\.?\["(?P<double>(?:[^"\\]|\\.)*)"\]|\[(?P<index>-?\d+)\]|\.?\[(?P<all>\*)\]"""
    r"""|\.(?P<name>(?:[^.\[\\]|\\.)+)""", re.VERBOSE)


@functools.lru_cache(maxsize=1000)
def parse(text: str) -> tuple[Step, ...] | None:
    """The steps of a path, None for a path that cannot be read."""
    text = text.strip().removeprefix("{").removesuffix("}")
    steps: list[Step] = []
    position = 0
    while position < len(text):
        found = _STEP.match(text, position)
        if not found:
            return None
        steps.append(_step(found))
        position = found.end()
    return tuple(steps)


def _step(found: re.Match[str]) -> Step:
    if found["operator"]:
        value = found["value"]
        wanted = value[1:-1] if value[0] in "\"'" else json.loads(value) if re.fullmatch(r"true|false|-?\d+(\.\d+)?", value) else value
        return ("filter", (found["field"].split("."), found["operator"] == "==", wanted))
    if found["index"]:
        return ("index", int(found["index"]))
    if found["all"]:
        return ("all", None)
    name = next(text for text in (found["quoted"], found["double"], found["name"]) if text is not None)
    return ("all", None) if name == "*" else ("name", re.sub(r"\\(.)", r"\1", name))


def find(path: str, obj: t.Any) -> list[t.Any]:
    """Every value that the path leads to."""
    steps = parse(path)
    if steps is None:
        return []
    values = [obj]
    for action, argument in steps:
        values = [found for value in values for found in _follow(value, action, argument)]
    return values


def _follow(value: t.Any, action: str, argument: t.Any) -> t.Iterable[t.Any]:
    if action == "name":
        return [value[argument]] if isinstance(value, dict) and argument in value else []
    items = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(items, list):
        return []
    if action == "index":
        return items[argument:argument + 1 or None] if -len(items) <= argument < len(items) else []
    if action == "all":
        return items
    field, equal, wanted = argument
    return [item for item in items if (_inner(item, field) == wanted) is equal]


def _inner(value: t.Any, names: list[str]) -> t.Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
