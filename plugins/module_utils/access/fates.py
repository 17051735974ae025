# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why somebody keeps live migration after the update, or doesn't: pure. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .outlook import REDUCED
from .role_powers import Gift, rights_of
from .roles import MIGRATE_ROLE

KEEPS_BY_WILDCARD = "wildcard_rule"
KEEPS_BY_BINDING = "bound_to_migrate_role"
KEEPS_BY_AGGREGATION = "migrate_role_aggregated"
KEEPS_BY_TEMPORARY_ROLE = "temporary_role"
KEEPS_BY_OWN_ROLE = "other_role"
LOSES = "shipped_roles_reduced"
LOSES_WITHOUT_TEMPORARY_ROLE = "temporary_role_deleted"
#: From what lasts longest to what doesn't last.
_ORDER = (KEEPS_BY_WILDCARD, KEEPS_BY_BINDING, KEEPS_BY_OWN_ROLE, KEEPS_BY_AGGREGATION, KEEPS_BY_TEMPORARY_ROLE)


@dataclass(frozen=True)
class Fate:
    """What becomes of rights: masks of rights, a code and a sentence. C(lasts) is false when only the temporary role holds them."""

    now: int
    after: int
    code: str
    reason: str
    lasts: bool

    @property
    def lost(self) -> tuple[str, ...]:
        return rights_of(self.now & ~self.after)

    @property
    def gained(self) -> tuple[str, ...]:
        return rights_of(self.after & ~self.now)


def fate(now: int, after: int, gifts_now: t.Sequence[Gift], gifts_after: t.Sequence[Gift], temporary_role: str) -> Fate:
    """Judge. C(gifts_now) and C(gifts_after) are the ways by which rights arrive in each case."""
    lost = now & ~after
    if lost:
        code, sentence = _why_lost(lost, gifts_now, temporary_role)
        if after:
            sentence = f"{sentence}; {' and '.join(rights_of(after))} {'remain' if after & (after - 1) else 'remains'}"
        return Fate(now, after, code, sentence, False)
    if not gifts_after:
        return Fate(now, after, "", "", True)
    best = sorted(gifts_after, key=lambda gift: _ORDER.index(_kind(gift, temporary_role)))
    permanent = 0
    for gift in best:
        if temporary_role not in gift.path:
            permanent |= gift.mask
    lasts = not after & ~permanent
    # What one right hangs on is what matters.
    deciding = best[0] if lasts else next(gift for gift in reversed(best) if temporary_role in gift.path)
    code = _kind(deciding, temporary_role)
    return Fate(now, after, code, _why_kept(deciding, code), lasts)


def _kind(gift: Gift, temporary_role: str) -> str:
    if temporary_role in gift.path:
        return KEEPS_BY_TEMPORARY_ROLE
    if gift.wildcard:
        return KEEPS_BY_WILDCARD
    if MIGRATE_ROLE in gift.path:
        return KEEPS_BY_BINDING if gift.path[0] == MIGRATE_ROLE else KEEPS_BY_AGGREGATION
    return KEEPS_BY_OWN_ROLE


def _why_kept(gift: Gift, code: str) -> str:
    role = gift.path[0]
    return {
        KEEPS_BY_WILDCARD: f"{gift.leaf} allows everything",
        KEEPS_BY_BINDING: f"bound to {MIGRATE_ROLE}",
        KEEPS_BY_AGGREGATION: f"{MIGRATE_ROLE} is aggregated to {role}",
        KEEPS_BY_TEMPORARY_ROLE: f"{role} has it by the temporary role {gift.leaf}, for as long as that exists",
        KEEPS_BY_OWN_ROLE: f"{gift.leaf} has the rules itself",
    }[code]


def _why_lost(lost: int, gifts: t.Sequence[Gift], temporary_role: str) -> tuple[str, str]:
    gone = [gift for gift in gifts if gift.mask & lost]
    holders = list(dict.fromkeys(gift.path[0] for gift in gone))
    sources = list(dict.fromkeys(gift.leaf for gift in gone))
    has = f"{' and '.join(holders)} {'has' if len(holders) == 1 else 'have'} it by"
    if temporary_role in sources:
        return LOSES_WITHOUT_TEMPORARY_ROLE, f"{has} the temporary role {temporary_role}, which goes"
    reduced = [source for source in sources if source in REDUCED] or sources
    only = "only reads" if len(reduced) == 1 else "only read"
    return LOSES, f"{has} {' and '.join(reduced)}, which {only} migrations in 4.19"
