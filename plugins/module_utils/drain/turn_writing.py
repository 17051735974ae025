# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write on the nodes of a run whose turn it is. Private to this collection."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass, replace

from .._cluster.client import Cluster
from .._cluster.resources import NODES
from .._errors import Conflict
from .claims import Claim, claim_of, now, same_user
from .turns import POSTPONED, TO_COME, Turn, is_marked, turn_of, with_turn

Json = dict[str, t.Any]
_TRIES = 10


def stamp(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class TurnWriter:
    """Says on nodes what becomes of them in one run, which began at C(began) (RFC 3339) and is C(own)'s."""

    cluster: Cluster
    run: str
    began: str
    own: Claim

    def to_come(self, name: str, seen: Json) -> None:
        """Its turn is yet to come, and VMs had better go elsewhere. C(seen) is the node as it was read: what stands there need not be written again."""
        turn = turn_of(seen)
        marked = turn is not None and (turn.run, turn.state) == (self.run, TO_COME)
        if not (marked and with_turn(seen, turn, attractive=False)["spec"]["taints"] == (seen.get("spec") or {}).get("taints")):
            self.say(name, TO_COME, attractive=False, fresh=True)

    def say(
        self, name: str, state: str, *, fresh: bool = False, attractive: bool = True, schedulable: bool | None = None, release: bool = False,
        claim: Claim | None = None, moved: int = 0, seconds: float = 0.0, site_seconds: float = 0.0, code: str = "", sentence: str = "",
    ) -> bool:
        """A node comes to a state. Numbers are added to those that stand there; C(claim) takes the place of the claim on it, C(release) takes that away.

        False when it is not ours any more, and nothing was written: it is gone, somebody has taken its turn away (unless C(fresh)), or has taken it over.
        """
        def patch(node: Json) -> Json | None:
            known, found = turn_of(node), claim_of(node)
            if known is None or known.run != self.run:
                if not fresh:
                    return None
                known = Turn(self.run)
            if (claim or release) and found is not None and not same_user(found, self.own):
                return None
            turn = replace(
                known, state=state, since=stamp(now()), began=self.began, code=code, sentence=sentence, moved=known.moved + moved,
                seconds=round(known.seconds + seconds, 1), site_seconds=round(known.site_seconds + site_seconds, 1),
            )
            return with_turn(node, turn, attractive, schedulable, release, claim.text() if claim else "")

        return _patch(self.cluster, name, patch)

    def forget(self, name: str, everything: bool) -> None:
        """See the function of that name."""
        forget(self.cluster, name, everything)


def forget(cluster: Cluster, name: str, everything: bool) -> None:
    """Take off the taint, and what says that a turn is yet to come; with C(everything) what says of other states too."""
    def patch(node: Json) -> Json | None:
        if not is_marked(node):
            return None
        turn = turn_of(node)
        kept = turn if turn is not None and turn.state not in (TO_COME, POSTPONED) and not everything else None
        return with_turn(node, kept, attractive=True)

    _patch(cluster, name, patch)


def _patch(cluster: Cluster, name: str, make: t.Callable[[Json], Json | None]) -> bool:
    """Whether there was anything to write."""
    for attempt in range(_TRIES):
        node = cluster.get(NODES, name)
        patch = make(node) if node is not None else None
        if patch is None:
            return False
        try:
            cluster.merge_patch(NODES, name, patch)
        except Conflict:
            if attempt == _TRIES - 1:
                raise
            continue
        return True
    return False
