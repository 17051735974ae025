# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether pods that leave their nodes all find a place, whatever the scheduler does. Pure. Private to this collection.

The scheduler sees one pod after the other and takes the node that it likes best at that moment: what it will do can't be foretold, and a place for each is
no proof that it finds them. So there are three verdicts. C(fits): however those that come before it were spread, each finds a node that takes it.
C(does_not_fit): there are no places for all. C(tight): there may be, and whether they are found depends on the order.
"""

from __future__ import annotations

import collections
import math
import typing as t
from dataclasses import dataclass, field

from .company import Company, Question, repelled_by
from .demand import Demand
from .node_info import NodeInfo, why_not_now
from .placing import Possible, place
from .requests import Amounts, clash
from .searching import exists
from .terms import Namespaces

FITS, TIGHT, DOES_NOT_FIT = "fits", "tight", "does_not_fit"
WINDOW = 5
"""How many that come later may be placed before one: as many as KubeVirt lets migrate at once unless it is told otherwise."""


@dataclass(frozen=True)
class Verdict:
    """C(lone) fit nowhere even alone, C(crowded) are those for which a placement of all found nothing."""

    code: str
    lone: tuple[Demand, ...] = ()
    crowded: tuple[Demand, ...] = ()


@dataclass
class Others:
    """What all those together ask for that may come before one, by resource; how many want one of its ports; and of those that it can't be with, the places.

    A place is a label of nodes.
    """

    amounts: Amounts = field(default_factory=dict)
    ports: int = 0
    repelling: list[frozenset[str]] = field(default_factory=list)

    def add(self, demand: Demand) -> None:
        self.add_amounts(demand.amounts)

    def add_amounts(self, more: t.Iterable[tuple[str, int]]) -> None:
        for name, value in more:
            self.amounts[name] = self.amounts.get(name, 0) + value


def is_certain(demand: Demand, nodes: t.Iterable[NodeInfo], others: Others, domains: t.Mapping[str, collections.Counter[str]], spared: int = 0) -> bool:
    """Whether one of these nodes, which could take it if nobody else came, is left for it however the others are spread over them.

    A node is lost to it when the others take so much of one resource there that too little is left. They need a share of all that they ask for to do so;
    of each resource they have it once. So if all nodes together would cost more than there is, one is left. C(spared) is how many of these nodes are not
    there: those of which most would be needed.
    """
    if demand.spread:
        return False
    scarce: set[str] = set()
    shares: list[float] = []
    for node in nodes:
        share = math.inf
        for name, need in demand.amounts:
            total = others.amounts.get(name, 0)
            if need and total:
                part = (node.left(name) - need + 1) / total
                if part <= 1:
                    scarce.add(name)
                share = min(share, part)
        if others.ports:
            scarce.add("ports")
            share = min(share, 1 / others.ports)
        if others.repelling:
            scarce.add("company")
            widest = max(domains[key][node.labels.get(key, "")] for keys in others.repelling for key in keys)
            share = min(share, 1 / (len(others.repelling) * max(1, widest)))
        shares.append(share)
        if not spared and (share > 1 or sum(shares) > len(scarce)):
            return True
    left = sorted(shares)[: len(shares) - spared] if spared else shares
    return bool(left) and (left[-1] > 1 or sum(left) > len(scarce))


class Looks:
    """The nodes of a cluster and all pods on them, for many verdicts."""

    def __init__(self, nodes: t.Iterable[NodeInfo], company: Company) -> None:
        self.nodes = sorted(nodes, key=lambda one: (-one.memory, one.name))
        self.possible, self.company = Possible(self.nodes), company
        self._meets: dict[tuple[t.Hashable, t.Hashable], bool] = {}
        self._domains: dict[str, collections.Counter[str]] = {}

    def meets(self, one: Demand, other: Demand) -> bool:
        """Whether two pods could come to the same node."""
        if one.kind == other.kind:
            return True
        kinds = one.kind, other.kind
        if kinds not in self._meets:
            self._meets[kinds] = not self.possible.of(one).isdisjoint(self.possible.of(other))
        return self._meets[kinds]

    def domains(self, repelling: t.Iterable[t.Iterable[str]]) -> dict[str, collections.Counter[str]]:
        """How many nodes each place has, by the label that tells places apart."""
        for key in (key for keys in repelling for key in keys):
            if key not in self._domains:
                self._domains[key] = collections.Counter(node.labels.get(key, "") for node in self.nodes)
        return self._domains

    def others(self, demand: Demand, before: t.Iterable[Demand]) -> Others:
        """Those of them together that could come to a node of this one."""
        found, namespaces = Others(), self.company.namespaces
        for one in before:
            if one is demand or not self.meets(demand, one):
                continue
            found.add(one)
            note_company(found, demand, one, namespaces)
        return found

    def judge(self, leaving: t.Sequence[Demand], without: t.Container[str], beside: t.Sequence[Demand] = (), window: int | None = WINDOW) -> Verdict:
        """Whether these find a place on the nodes without some.

        They leave one after the other as they stand here, so many at once as C(window) says, or in any order if it is None.
        C(beside) are pods that come too, at any time, and of which nobody asks whether they find one.
        """
        keys = frozenset(one.key for one in (*leaving, *beside))
        questions = {one.key: question for one in leaving if (question := self.company.question(one, keys)) is not None}
        lone = tuple(one for one in leaving if next(self._open(one, without, questions.get(one.key)), None) is None)
        if lone:
            return Verdict(DOES_NOT_FIT, lone)
        if self._all_certain(leaving, without, beside, questions, window):
            return Verdict(FITS)
        nodes = [node for node in self.nodes if node.name not in without]
        left = place(leaving, nodes, possible=self.possible, company=self.company).left
        if not left:
            return Verdict(TIGHT)
        found = exists(leaving, nodes, self.possible, questions)
        return Verdict(DOES_NOT_FIT if found is False else TIGHT, (), tuple(left))

    def _open(self, demand: Demand, without: t.Container[str], question: Question | None) -> t.Iterator[NodeInfo]:
        """The nodes that take it now, the roomiest first."""
        names = self.possible.of(demand)
        for node in self.nodes:
            if demand.memory > node.memory:
                return
            if node.name in names and node.name not in without and not why_not_now(demand, node) and not (question and question.why_not(node.labels)):
                yield node

    def _all_certain(
        self, leaving: t.Sequence[Demand], without: t.Container[str], beside: t.Sequence[Demand], questions: t.Mapping[tuple[str, str], Question],
        window: int | None,
    ) -> bool:
        minds = any(one.apart or one.ports for one in (*leaving, *beside))
        coming = _ByKind(self)
        for one in (*beside, *(leaving if window is None else leaving[:window + 1])):
            coming.add(one)
        for at, demand in enumerate(leaving):
            question = questions.get(demand.key)
            if question and any(one.anywhere for one in question.near):
                return False
            last = len(leaving) if window is None else at + 1 + window
            others = self.others(demand, (*beside, *leaving[:last])) if minds else coming.beside(demand)
            if not is_certain(demand, self._open(demand, without, question), others, self.domains(others.repelling)):
                return False
            for one in leaving[last:last + 1]:
                coming.add(one)
        return True


def note_company(found: Others, demand: Demand, other: Demand, namespaces: Namespaces) -> None:
    """What the other one does to it beside taking room."""
    if demand.ports and clash(demand.ports, other.ports):
        found.ports += 1
    if demand.apart or other.apart:
        keys = frozenset(repelled_by(demand, other, namespaces))
        found.repelling += [keys] if keys else []


class _ByKind:
    """Sums of what may come before one, by what decides which nodes are possible: nobody is added up twice."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._sums: dict[t.Hashable, tuple[Demand, Others]] = {}

    def add(self, demand: Demand) -> None:
        self._sums.setdefault(demand.kind, (demand, Others()))[1].add(demand)

    def beside(self, demand: Demand) -> Others:
        """All that one of them may meet."""
        found = Others()
        for one, total in self._sums.values():
            if self._looks.meets(demand, one):
                found.add_amounts(total.amounts.items())
        for name, value in demand.amounts:
            found.amounts[name] -= value
        return found
