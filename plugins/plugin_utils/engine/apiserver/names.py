# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What names, labels and their values may look like, and what the server says when they don't.

Every check returns the sentences that are wrong, none when the text is fine.
Source: Kubernetes apimachinery pkg/util/validation/validation.go, pkg/api/validation/path/name.go.
"""
from __future__ import annotations

import functools
import re
import typing as t

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_CACHE: dict[str, re.Pattern[str]] = {name: re.compile(name) for name in (_LABEL, _SUBDOMAIN, _QUALIFIED, _VALUE, _CONFIG_KEY)}

_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character"
)
_QUALIFIED_TEXT = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)


def _regex_error(text: str, pattern: str, *examples: str) -> str:
    shown = "',  or '".join(examples)
    return f"{text} (e.g. '{shown}', regex used for validation is '{pattern}')"


def _check(value: str, pattern: str, limit: int, text: str, *examples: str) -> list[str]:
    wrong = [f"must be no more than {limit} bytes"] if len(value.encode()) > limit else []
    if not _CACHE[pattern].fullmatch(value):
        wrong.append(_regex_error(text, pattern, *examples))
    return wrong


def dns_1123_subdomain(value: str) -> list[str]:
    return _check(value, _SUBDOMAIN, 253, _SUBDOMAIN_TEXT, "example.com")


def dns_1123_label(value: str) -> list[str]:
    return _check(value, _LABEL, 63, _LABEL_TEXT, "my-name", "123-abc")


def path_segment(value: str) -> list[str]:
    """Names of RBAC objects: anything that can stand in a path."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{letter}'" for letter in "/%" if letter in value]


@functools.lru_cache(maxsize=50_000)
def label_value(value: str) -> t.Sequence[str]:
    return _check(value, _VALUE, 63, _VALUE_TEXT, "MyValue", "my_value", "12345")


def config_map_key(value: str) -> list[str]:
    wrong = _check(value, _CONFIG_KEY, 253, "a valid config key must consist of alphanumeric characters, '-', '_' or '.'", "key.name", "KEY_NAME", "key-name")
    return wrong or ([f"must not be '{value}'"] if value in (".", "..") else ["must not start with '..'"] if value.startswith("..") else [])


@functools.lru_cache(maxsize=50_000)
def qualified_name(value: str) -> t.Sequence[str]:
    """Keys of labels and annotations, names of taints: `[PREFIX/]NAME`."""
    parts = value.split("/")
    if len(parts) > 2:
        text = _regex_error(f"a qualified name {_QUALIFIED_TEXT}", _QUALIFIED, "MyName", "my.name", "123-abc")
        return [f"{text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    wrong = []
    if len(parts) == 2:
        wrong = ["prefix part " + text for text in dns_1123_subdomain(parts[0])] if parts[0] else ["prefix part must be non-empty"]
    name = parts[-1]
    if not name:
        wrong.append("name part must be non-empty")
    elif len(name.encode()) > 63:
        wrong.append("name part must be no more than 63 bytes")
    if not _CACHE[_QUALIFIED].fullmatch(name):
        wrong.append("name part " + _regex_error(_QUALIFIED_TEXT, _QUALIFIED, "MyName", "my.name", "123-abc"))
    return wrong
