# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each role gives that has to do with live migration, and through which aggregated role: pure. Private to this collection."""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass

from .rbac import Attributes, Rules, allows, allows_some, is_wildcard, sources_of
from .roles import MIGRATE_ROLE, MIGRATE_RULES, RBAC_GROUP, Json

_MIGRATIONS = ("kubevirt.io", "virtualmachineinstancemigrations")

#: The rights by which live migrations are started and cancelled.
RIGHTS: dict[str, Attributes] = {
    "create": Attributes("create", *_MIGRATIONS),
    "delete": Attributes("delete", *_MIGRATIONS),
    "migrate": Attributes("update", "subresources.kubevirt.io", "virtualmachines", "migrate"),
}
#: Either of them starts one.
STARTING = ("create", "migrate")

_OTHER_VERBS = [verb for verb in MIGRATE_RULES[1]["verbs"] if verb not in RIGHTS]
#: Powers by which somebody can pass live migration on, or cause one without having the right.
POWERS: dict[str, Attributes] = {
    **RIGHTS,
    **{f"{verb} migrations": Attributes(verb, *_MIGRATIONS) for verb in _OTHER_VERBS},
    "bind anything held": Attributes("create", RBAC_GROUP, "rolebindings"),
    "bind": Attributes("bind", RBAC_GROUP, "clusterroles", "", MIGRATE_ROLE),
    "evict": Attributes("create", "", "pods", "eviction"),
}
_BITS = {name: 1 << number for number, name in enumerate(POWERS)}
RIGHT_BITS = {name: _BITS[name] for name in RIGHTS}
ANY_RIGHT = sum(RIGHT_BITS.values())
STARTS = sum(RIGHT_BITS[name] for name in STARTING)
#: All rules of the migrate role: who holds them may bind others to that role without being allowed to bind it.
ALL_RULES = sum(_BITS[name] for name in POWERS if name in RIGHTS or name.endswith(" migrations"))
EVICTS = _BITS["evict"]
_BINDS, _BINDS_HELD = _BITS["bind"], _BITS["bind anything held"]


def mask_of(rules: Rules | None) -> int:
    """The powers that rules give, as bits."""
    found = 0
    for rule in rules or ():
        for name, attributes in POWERS.items():
            if not found & _BITS[name] and allows(rule, attributes):
                found |= _BITS[name]
    return found


@functools.cache
def rights_of(mask: int) -> tuple[str, ...]:
    """The names of the rights in a mask."""
    return tuple(name for name, bit in RIGHT_BITS.items() if mask & bit)


def can_pass_on(mask: int) -> bool:
    """Whether these powers suffice to bind somebody else to the migrate role."""
    return bool(mask & _BINDS_HELD and (mask & _BINDS or mask & ALL_RULES == ALL_RULES))


def names_only(rules: Rules | None) -> list[str]:
    """Rights that rules give for objects of certain names only, which is not access in general."""
    return [
        name
        for name, attributes in RIGHTS.items()
        if any(allows_some(rule, attributes) for rule in rules or ()) and not mask_of(rules) & RIGHT_BITS[name]
    ]


@dataclass(frozen=True)
class Gift:
    """Rights that reach a role by one way: C(path) leads from the role over aggregated roles to the one whose own rules they are."""

    path: tuple[str, ...]
    mask: int
    wildcard: bool

    @property
    def leaf(self) -> str:
        return self.path[-1]


def gifts_of(roles: t.Mapping[str, Json], name: str, masks: t.Mapping[str, int]) -> tuple[Gift, ...]:
    """By which ways rights reach a ClusterRole. Rules that no role gives (aggregation is behind) count as its own."""
    return tuple(_gifts(roles, name, masks, ()))


def _gifts(roles: t.Mapping[str, Json], name: str, masks: t.Mapping[str, int], above: tuple[str, ...]) -> t.Iterator[Gift]:
    path = (*above, name)
    left = masks[name] & ANY_RIGHT
    if not left:
        return
    if roles[name].get("aggregationRule"):
        for source in sources_of(roles, name):
            if source in path:
                continue
            for gift in _gifts(roles, source, masks, path):
                left &= ~gift.mask
                yield gift
    if left:
        yield own_gift(path, roles[name], left)


def own_gift(path: tuple[str, ...], role: Json, mask: int) -> Gift:
    """What a role gives by rules of its own."""
    return Gift(path, mask, any(is_wildcard(rule) for rule in role.get("rules") or ()))
