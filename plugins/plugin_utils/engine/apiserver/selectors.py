# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Label and field selectors: parsed, printed and matched as the real server does.

Source: Kubernetes apimachinery pkg/labels/selector.go and pkg/fields/selector.go.
"""
from __future__ import annotations

import dataclasses
import json
import re
import typing as t

from ..errors import StatusError, bad_request
from ..kinds import Kind
from . import names

Labels = t.Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Requirement:
    """operator: in, notin, =, ==, !=, exists, !, gt, lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        found = labels.get(self.key)
        if self.operator in ("in", "=", "=="):
            return found is not None and found in self.values
        if self.operator in ("notin", "!="):
            return found is None or found not in self.values
        if self.operator == "exists":
            return found is not None
        if self.operator == "!":
            return found is None
        try:
            value, limit = int(found or ""), int(self.values[0])
        except ValueError:
            return False
        return value > limit if self.operator == "gt" else value < limit

    def __str__(self) -> str:
        if self.operator == "exists":
            return self.key
        if self.operator == "!":
            return "!" + self.key
        if self.operator in ("in", "notin"):
            return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
        return self.key + {"gt": ">", "lt": "<"}.get(self.operator, self.operator) + self.values[0]


@dataclasses.dataclass(frozen=True)
class LabelSelector:
    """All requirements must hold; none matches everything, `nothing` matches nothing."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    @property
    def empty(self) -> bool:
        return not self.requirements and not self.nothing

    def matches(self, labels: Labels | None) -> bool:
        if self.nothing:
            return False
        return all(requirement.matches(labels or {}) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(nothing=True)

_SPECIAL = "=!(),><"
_SYMBOLS = {")", ",", "!", "==", "=", ">", "<", "!=", "("}
_OPERATORS = {"=": "=", "==": "==", ">": "gt", "<": "lt", "!=": "!=", "in": "in", "notin": "notin"}
_WORD = re.compile("[^=!(),> <\t\r\n]+")


class _Parser:
    """Tokens are (type, literal); a type is a symbol, "identifier", "end" or "error"."""

    def __init__(self, text: str) -> None:
        self.tokens = list(self._scan(text))
        self.position = 0

    @staticmethod
    def _scan(text: str) -> t.Iterator[tuple[str, str]]:
        at = 0
        while at < len(text):
            if text[at] in " \t\r\n":
                at += 1
                continue
            if text[at] not in _SPECIAL:
                word = t.cast("re.Match[str]", _WORD.match(text, at)).group()
                yield (word if word in ("in", "notin") else "identifier", word)
                at += len(word)
                continue
            symbol = next((text[at:at + size] for size in (2, 1) if text[at:at + size] in _SYMBOLS), text[at])
            yield (symbol, symbol)
            at += len(symbol)
        yield ("end", "")

    def look(self) -> tuple[str, str]:
        """The next token where a value may stand: there, in and notin are words like any other."""
        kind, literal = self.tokens[min(self.position, len(self.tokens) - 1)]
        return ("identifier" if kind in ("in", "notin") else kind), literal

    def take(self, as_operator: bool = False) -> tuple[str, str]:
        token = self.tokens[min(self.position, len(self.tokens) - 1)] if as_operator else self.look()
        self.position += 1
        return token

    def parse(self) -> t.Iterator[Requirement]:
        while True:
            kind, literal = self.look()
            if kind == "end":
                return
            if kind not in ("identifier", "!"):
                raise ValueError(f"found '{literal}', expected: !, identifier, or 'end of string'")
            try:
                yield self._requirement()
            except ValueError as error:
                raise ValueError(f"unable to parse requirement: {error}") from error
            kind, literal = self.take()
            if kind == "end":
                return
            if kind != ",":
                raise ValueError(f"found '{literal}', expected: ',' or 'end of string'")
            kind, literal = self.look()
            if kind not in ("identifier", "!"):
                raise ValueError(f"found '{literal}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        kind, key = self.take()
        absent = kind == "!"
        if absent:
            kind, key = self.take()
        if kind != "identifier":
            raise ValueError(f"found '{key}', expected: identifier")
        check_key(key)
        if absent or self.look()[0] in ("end", ","):
            return Requirement(key, "!" if absent else "exists")
        kind, literal = self.take(as_operator=True)
        if kind not in _OPERATORS:
            raise ValueError(f"found '{literal}', expected: in, notin, =, ==, !=, gt, lt")
        operator = _OPERATORS[kind]
        values = self._values() if operator in ("in", "notin") else self._value()
        return requirement(key, operator, values)

    def _value(self) -> list[str]:
        if self.look()[0] in ("end", ","):
            return [""]
        kind, literal = self.take()
        if kind != "identifier":
            raise ValueError(f"found '{literal}', expected: identifier")
        return [literal]

    def _values(self) -> list[str]:
        kind, literal = self.take()
        if kind != "(":
            raise ValueError(f"found '{literal}' expected: '('")
        kind, literal = self.look()
        if kind not in ("identifier", ",", ")"):
            raise ValueError(f"found '{literal}', expected: ',', ')' or identifier")
        values: list[str] = []
        expect_value = True
        while True:
            kind, literal = self.take()
            if kind == "identifier" and expect_value:
                values.append(literal)
                expect_value = False
            elif kind == ",":
                if expect_value:
                    values.append("")
                expect_value = True
            elif kind == ")":
                if expect_value and values:
                    values.append("")
                return values
            elif expect_value:
                raise ValueError(f"found '{literal}', expected: ',', or identifier")
            else:
                raise ValueError(f"found '{literal}', expected: ',' or ')'")


def check_key(key: str, path: str = "<nil>") -> None:
    """Raise ValueError unless the text can be the key of a label."""
    wrong = names.qualified_name(key)
    if wrong:
        raise ValueError(f"{path}: Invalid value: {json.dumps(key)}: {'; '.join(wrong)}")


def requirement(key: str, operator: str, values: t.Sequence[str]) -> Requirement:
    """One checked requirement. Raises ValueError with the server's sentence."""
    unique = tuple(sorted(set(values)))
    if operator in ("in", "notin") and not unique:
        raise ValueError("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    if operator in ("gt", "lt") and not re.fullmatch(r"[+-]?\d+", unique[0]):
        raise ValueError(f"values[0]: Invalid value: {json.dumps(unique[0])}: for 'Gt', 'Lt' operators, the value must be an integer")
    for index, value in enumerate(unique):
        wrong = names.label_value(value)
        if wrong:
            raise ValueError(f"values[{index}][{key}]: Invalid value: {json.dumps(value)}: {'; '.join(wrong)}")
    return Requirement(key, operator, unique)


def parse_label_selector(text: str) -> LabelSelector:
    """Read `a=b,c!=d,e in (f,g),!h,i`. Raises StatusError 400."""
    if not text:
        return EVERYTHING
    try:
        return LabelSelector(tuple(sorted(_Parser(text).parse(), key=lambda found: found.key)))
    except ValueError as error:
        raise bad_request(str(error)) from error


_EXPRESSION_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def from_label_selector_object(selector: t.Mapping[str, t.Any] | None) -> LabelSelector:
    """The selector of a `{matchLabels, matchExpressions}` object: none matches nothing, an empty one everything. Raises ValueError."""
    if selector is None:
        return NOTHING
    found = [Requirement(key, "=", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        operator = _EXPRESSION_OPERATORS.get(expression.get("operator", ""))
        if operator is None:
            raise ValueError(f'{json.dumps(expression.get("operator", ""))} is not a valid label selector operator')
        found.append(Requirement(expression["key"], operator, tuple(expression.get("values") or ())))
    return LabelSelector(tuple(sorted(found, key=lambda entry: entry.key)))


@dataclasses.dataclass(frozen=True)
class FieldTerm:
    path: str
    value: str
    equal: bool = True


@dataclasses.dataclass(frozen=True)
class FieldSelector:
    terms: tuple[FieldTerm, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.terms

    @property
    def name(self) -> str:
        """The one name that is asked for, "" if the selector does not fix it."""
        return self.wanted("metadata.name")

    def wanted(self, path: str) -> str:
        """The one value that a field must have, "" if the selector does not fix it."""
        return next((term.value for term in self.terms if term.path == path and term.equal), "")

    def matches(self, obj: t.Mapping[str, t.Any]) -> bool:
        return all((field_value(obj, term.path) == term.value) is term.equal for term in self.terms)

    def __str__(self) -> str:
        return ",".join(f"{term.path}{'=' if term.equal else '!='}{_ESCAPED.sub(_escape, term.value)}" for term in self.terms)


_ESCAPED = re.compile(r"[\\,=]")
_TERM = re.compile(r"((?:\\.|[^=!\\])*?)(!=|==|=)((?:\\.|[^\\])*)\Z", re.DOTALL)
_ABSENT = {"spec.hostNetwork": "false", "spec.unschedulable": "false", "status.replicas": "0", "status.successful": "0"}
_ELSEWHERE = {"status.successful": "status.succeeded", "source": "source.component"}


def _escape(found: re.Match[str]) -> str:
    return "\\" + found.group()


def field_value(obj: t.Mapping[str, t.Any], path: str) -> str:
    """The text that a field selector compares: "" for what is not there."""
    value: t.Any = obj
    for part in _ELSEWHERE.get(path, path).split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return _ABSENT.get(path, "")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def parse_field_selector(text: str, kind: Kind) -> FieldSelector:
    """Read `metadata.name=x,status.phase!=Running`. Raises StatusError 400, also for a field the kind does not support."""
    if not text:
        return FieldSelector()
    allowed = {"metadata.name", *kind.selectable_fields}
    if kind.namespaced or not kind.custom:
        allowed.add("metadata.namespace")
    terms = []
    for part in re.findall(r"(?:\\.|[^,\\])+", text):
        found = _TERM.match(part)
        if not found:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        value = found[3]
        bad = re.search(r"\\(?![\\,=])", re.sub(r"\\[\\,=]", "", value)) or re.search(r"(?<!\\)=", value)
        if bad:
            raise _bad_escape(value)
        terms.append(FieldTerm(found[1], re.sub(r"\\([\\,=])", r"\1", value), found[2] != "!="))
    for term in terms:
        if term.path not in allowed:
            raise bad_request(f"field label not supported: {term.path}")
    return FieldSelector(tuple(terms))


def _bad_escape(value: str) -> StatusError:
    return bad_request(f"invalid field selector: invalid value: {value}: unescaped character in field selector value")
