# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on demand: which ones are set, and what befalls a request."""
from __future__ import annotations

import asyncio
import dataclasses
import random
import typing as t

from . import errors
from .interface import Object

ANSWERS = ("429", "500", "503", "reset", "slow")
WRITES = frozenset(("create", "update", "patch", "delete", "deletecollection"))
_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
_LONGEST, _MOST_SKEW = 300.0, 86400.0
"""Real seconds that a slow answer takes at most; engine seconds that a clock is off at most."""
_FIELDS = ("clockSkew", "controllers", "crashGuests", "dropWatches", "expireVersions", "lostNodes", "refuseWrites", "rules", "seed")
_RULE_FIELDS = ("answer", "rate", "resources", "retryAfterSeconds", "seconds", "users", "verbs")


class ConnectionReset(Exception):
    """The connection is to be cut instead of an answer."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """An answer of ANSWERS for a share (0 to 1) of requests. Empty verbs, resources, users: all. `seconds` are real ones."""

    answer: str
    rate: float = 1.0
    verbs: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    seconds: float = 1.0
    retry_after: int = 1

    def concerns(self, verb: str, resource: str, user: str) -> bool:
        """A resource is like `pods`, `pods/eviction` or `virtualmachines.kubevirt.io`."""
        return (
            (not self.verbs or verb in self.verbs) and (not self.resources or resource in self.resources) and (not self.users or user in self.users)
        )


@dataclasses.dataclass(frozen=True)
class Faults:
    """What is set. `drop_every` are engine seconds between cuts of all watches, 0 for none; `skews` by how many a node's clock is fast.

    `crashed` are guests, as NAMESPACE/NAME.
    """

    rules: tuple[Rule, ...] = ()
    refuse_writes: bool = False
    controllers: bool = False
    drop_every: float = 0.0
    lost_nodes: tuple[str, ...] = ()
    drop_now: bool = False
    expire_now: bool = False
    skews: t.Mapping[str, float] = dataclasses.field(default_factory=dict)
    crashed: tuple[str, ...] = ()


class Chance:
    """Draws what befalls each request: the same for the same seed and requests."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults, self._random = faults, random.Random(seed)  # noqa: S311

    def rule(self, verb: str, resource: str, user: str) -> Rule | None:
        """The first rule that strikes."""
        for one in self._faults.rules:
            if one.concerns(verb, resource, user) and self._random.random() < one.rate:
                return one
        return None

    async def befall(self, verb: str, group: str, full_resource: str, user: str) -> None:
        """Return late or never. Raises StatusError 429, 500, 503, ConnectionReset."""
        if self._faults.refuse_writes and verb in WRITES:
            raise errors.StatusError(503, "ServiceUnavailable", "the engine refuses writes: a fault is set", {})
        name, slash, subresource = full_resource.partition("/")
        struck = self.rule(verb, errors.qualified(group, name) + slash + subresource, user)
        if struck is None:
            return
        if struck.answer == "slow":
            await asyncio.sleep(struck.seconds)
        elif struck.answer == "reset":
            raise ConnectionReset
        elif struck.answer == "429":
            raise errors.too_many_requests("the server has received too many requests and has asked us to try again later", struck.retry_after)
        elif struck.answer == "500":
            raise errors.internal("a fault is set")
        else:
            raise errors.StatusError(503, "ServiceUnavailable", "the server is currently unable to handle the request", {})


def _fail(field: str, remedy: str) -> t.NoReturn:
    raise errors.StatusError(422, "Invalid", f"faults: {field}: {remedy}", {"causes": [errors.Cause("FieldValueInvalid", remedy, field).to_dict()]})


def _known(given: Object, fields: tuple[str, ...], where: str) -> None:
    for name in given:
        if name not in fields:
            _fail(where + name, f"no such field; give one of {', '.join(fields)}")


def _number(given: Object, name: str, default: float, least: float, most: float, where: str = "") -> float:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        _fail(where + name, f"give a number from {least:g} to {most:g}")
    return float(value)


def _whole(given: Object, name: str, default: int, most: int, where: str = "") -> int:
    if not isinstance(given.get(name, default), int):
        _fail(where + name, f"give a whole number from 0 to {most}")
    return int(_number(given, name, default, 0, most, where))


def _flag(given: Object, name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        _fail(name, "give true or false")
    return value


def _names(given: Object, name: str, where: str = "", allowed: tuple[str, ...] = ()) -> tuple[str, ...]:
    value = given.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        _fail(where + name, "give a list of names")
    for one in value:
        if allowed and one not in allowed:
            _fail(where + name, f"{one} is none of {', '.join(allowed)}: give these only")
    return tuple(value)


def _rule(given: t.Any, where: str) -> Rule:
    if not isinstance(given, dict):
        _fail(where.rstrip("."), "give an object with an answer and a rate")
    _known(given, _RULE_FIELDS, where)
    answer = given.get("answer")
    if answer not in ANSWERS:
        _fail(where + "answer", f"give one of {', '.join(ANSWERS)}, as text")
    return Rule(
        answer, _number(given, "rate", 1.0, 0, 1, where), _names(given, "verbs", where, _VERBS), _names(given, "resources", where),
        _names(given, "users", where), _number(given, "seconds", 1.0, 0, _LONGEST, where), _whole(given, "retryAfterSeconds", 1, 3600, where),
    )


def _there(names: t.Iterable[str], field: str, known: t.Container[str], what: str, shown: str) -> None:
    for name in names:
        if name not in known:
            _fail(field, f"there is no {what} {name}: give names that `kubectl get {shown}` shows")


def _skews(given: Object) -> dict[str, float]:
    value = given.get("clockSkew", {})
    if not isinstance(value, dict):
        _fail("clockSkew", "give an object of seconds by node")
    return {node: _number(value, node, 0, -_MOST_SKEW, _MOST_SKEW, "clockSkew.") for node in value}


def parse(given: t.Any, nodes: t.Container[str], guests: t.Container[str]) -> tuple[Faults, int]:
    """The faults and their seed from JSON; `guests` are those that run, as NAMESPACE/NAME. Raises StatusError 422 with the field and what to give instead."""
    if not isinstance(given, dict):
        _fail("(all)", f"give a JSON object with any of {', '.join(_FIELDS)}")
    _known(given, _FIELDS, "")
    rules = given.get("rules", [])
    if not isinstance(rules, list):
        _fail("rules", "give a list of rules")
    lost, crashed, skews = _names(given, "lostNodes"), _names(given, "crashGuests"), _skews(given)
    _there(lost, "lostNodes", nodes, "node", "nodes")
    _there(skews, "clockSkew", nodes, "node", "nodes")
    _there(crashed, "crashGuests", guests, "running guest", "vmi --all-namespaces")
    drop = given.get("dropWatches", False)
    if not isinstance(drop, bool):
        _number(given, "dropWatches", 0, 1, 86400)
    faults = Faults(
        tuple(_rule(one, f"rules[{number}].") for number, one in enumerate(rules)), _flag(given, "refuseWrites"), _flag(given, "controllers"),
        0.0 if isinstance(drop, bool) else float(drop), lost, drop is True, _flag(given, "expireVersions"), skews, crashed,
    )
    return faults, _whole(given, "seed", 1, 2**31)
