# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who must be able to live-migrate after a change: how that is written, and who would not be. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .roles import Json

#: Stands for every subject that may live-migrate now.
ALL = "all"
#: Stands for the whole cluster among namespaces.
EVERYWHERE = "*"
KINDS = {"user": "User", "group": "Group", "serviceaccount": "ServiceAccount"}


class InvalidSubject(ValueError):
    """An entry of must_keep cannot be understood."""


@dataclass(frozen=True)
class Keeper:
    """A subject that must keep live migration.

    C(namespaces): where (EVERYWHERE for the whole cluster); empty means wherever it has it, and somewhere at least. C(groups): what else a user belongs to.
    """

    kind: str
    name: str
    namespace: str = ""
    namespaces: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """C(user:alice), C(group:devs), C(serviceaccount:namespace:name)."""
        middle = f"{self.namespace}:" if self.kind == "ServiceAccount" else ""
        return f"{self.kind.lower()}:{middle}{self.name}"


def parse(entries: t.Iterable[t.Any]) -> tuple[bool, tuple[Keeper, ...]]:
    """Read what C(must_keep) holds: whether C(all) is in it, and the subjects. Raises InvalidSubject."""
    everybody = False
    keepers: dict[tuple[str, str, str], Keeper] = {}
    for entry in _flat(entries):
        if isinstance(entry, str) and entry.strip().lower() == ALL:
            everybody = True
            continue
        keeper = _from_dict(entry) if isinstance(entry, dict) else _from_text(entry)
        key = (keeper.kind, keeper.namespace, keeper.name)
        keepers[key] = _joined(keepers[key], keeper) if key in keepers else keeper
    return everybody, tuple(keepers.values())


def _flat(entries: t.Iterable[t.Any]) -> t.Iterator[t.Any]:
    """The entries, with the whole result of an audit taken apart; who cannot start a migration in it has nothing to keep."""
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("access"), list):
            yield from _flat(entry["access"])
        elif not (isinstance(entry, dict) and entry.get("may_migrate") is False):
            yield entry


def _joined(one: Keeper, other: Keeper) -> Keeper:
    namespaces = tuple(dict.fromkeys((*one.namespaces, *other.namespaces)))
    return Keeper(one.kind, one.name, one.namespace, namespaces, tuple(dict.fromkeys((*one.groups, *other.groups))))


def _from_text(entry: t.Any) -> Keeper:
    if not isinstance(entry, str):
        raise InvalidSubject(f"must_keep: {entry!r} is neither text nor a dictionary")
    text = entry.strip()
    if text.startswith("system:serviceaccount:"):
        text = text.removeprefix("system:")
    kind, colon, name = text.partition(":")
    known = KINDS.get(kind.lower())
    if not colon or known is None or not name:
        raise InvalidSubject(
            f"must_keep: {entry!r} is not written user:NAME, group:NAME or serviceaccount:NAMESPACE:NAME"
        )
    if known != "ServiceAccount":
        return Keeper(known, name)
    namespace, colon, name = name.partition(":")
    if not (namespace and colon and name):
        raise InvalidSubject(f"must_keep: {entry!r} is not written serviceaccount:NAMESPACE:NAME")
    return Keeper(known, name, namespace)


def _from_dict(entry: Json) -> Keeper:
    subject = entry.get("subject")
    if isinstance(subject, str):
        found = _from_text(subject)
    else:
        source: Json = subject if isinstance(subject, dict) else entry
        kind = KINDS.get(str(source.get("kind", "")).lower())
        name = str(source.get("name") or "")
        namespace = str(source.get("namespace") or "")
        if kind is None or not name or (kind == "ServiceAccount" and not namespace):
            raise InvalidSubject(
                f"must_keep: {entry!r} needs kind (User, Group or ServiceAccount), name, and for a ServiceAccount namespace"
            )
        found = Keeper(kind, name, namespace if kind == "ServiceAccount" else "")
    # An audit writes scope cluster for access in all namespaces, those that do not exist yet included.
    places = (EVERYWHERE,) if entry.get("scope") == "cluster" else _texts(entry, "namespaces")
    return Keeper(found.kind, found.name, found.namespace, places, _texts(entry, "groups"))


def _texts(entry: Json, key: str) -> tuple[str, ...]:
    value = entry.get(key) or ()
    if isinstance(value, str):
        value = [part.strip() for part in value.replace("\n", ",").split(",") if part.strip()]
    if not isinstance(value, (list, tuple)) or not all(isinstance(part, str) for part in value):
        raise InvalidSubject(f"must_keep: {key} of {entry!r} is not a list of names")
    return tuple(value)
