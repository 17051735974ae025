# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether many nodes can be emptied one after the other, each given back before the next. Pure. Private to this collection.

Where the VMs are when the turn of a node comes can't be foretold. C(fits) holds wherever they are by then, and however many nodes of those allowed are away.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .company import Company
from .demand import Demand, as_target
from .node_info import node_infos, why_not_now
from .placing import place
from .requests import Amounts
from .searching import exists
from .terms import Namespaces
from .verdict import DOES_NOT_FIT, FITS, TIGHT, Looks, Others, Verdict, is_certain, note_company

Json = dict[str, t.Any]
_MOST = 20_000
"""Nodes times VMs up to which it is looked for a proof that they can't all be emptied."""


def in_turn(
    nodes: t.Sequence[Json], pods: t.Sequence[Json], names: t.Collection[str], at_once: int, moves: t.Container[tuple[str, str]],
    namespaces: Namespaces | None = None,
) -> tuple[Verdict, str]:
    """The verdict, and a node that can't be emptied if it is that none of the nodes can give way.

    C(pods) are as room.keep leaves them; C(moves) are the VMs that migrate, by their launcher pods. What is on other nodes stays where it is.
    """
    labels = {node["metadata"]["name"]: node["metadata"].get("labels") or {} for node in nodes}
    vms: list[Demand] = []
    beside: list[Demand] = []
    stays: list[tuple[str, Demand]] = []
    at: dict[tuple[str, str], str] = {}
    for pod in pods:
        name, demand = pod["node"], pod["demand"]
        if name not in names or pod["stays"] or (pod["vm"] and demand.key not in moves):
            stays.append((name, demand))
        elif pod["vm"]:
            vms.append(replace(as_target(demand, name, labels.get(name) or {}), source=""))
            at[demand.key] = name
        else:
            beside.append(demand)
            at[demand.key] = name
    looks = Looks(node_infos(nodes, stays), Company(stays, labels, namespaces))
    astray = {demand.kind for demand in (*vms, *beside) if at[demand.key] not in looks.possible.of(demand)}
    if all(_certain(looks, vms, beside, astray, at_once)):
        return Verdict(FITS), ""
    stuck, left = _cannot(looks, vms, at, names)
    return (Verdict(DOES_NOT_FIT, (), left), stuck) if stuck else (Verdict(TIGHT), "")


def _certain(
    looks: Looks, vms: t.Sequence[Demand], beside: t.Sequence[Demand], astray: t.Container[t.Hashable], at_once: int,
) -> t.Iterator[bool]:
    """For each VM, or one of those just alike, whether it finds a place wherever all others are.

    C(astray) are the kinds of which some are on nodes where they could not come to now.
    """
    everybody = [*vms, *beside]
    minds = any(one.apart or one.ports for one in everybody)
    sums: dict[t.Hashable, tuple[Demand, Others]] = {}
    for one in everybody:
        sums.setdefault(one.kind, (one, Others()))[1].add(one)
    known: set[t.Hashable] = set()
    for demand in vms:
        shape = demand.kind, demand.memory, demand.cpu, tuple(sorted(demand.extended.items()))
        if demand.near:
            yield False
        if shape in known and not minds:
            continue
        known.add(shape)
        others = Others(_all_but(looks, demand, sums, astray))
        for one in everybody if minds else ():
            # Its own launcher is somewhere too until it has moved.
            note_company(others, demand, one, looks.company.namespaces)
        names, question = looks.possible.of(demand), looks.company.question(demand)
        nodes = (
            node for node in looks.nodes if node.name in names and not why_not_now(demand, node) and not (question and question.why_not(node.labels))
        )
        yield is_certain(demand, nodes, others, looks.domains(others.repelling), at_once)


def _all_but(looks: Looks, demand: Demand, sums: t.Mapping[t.Hashable, tuple[Demand, Others]], astray: t.Container[t.Hashable]) -> Amounts:
    """What all those ask for that it may meet, without itself."""
    found = Others()
    for one, total in sums.values():
        if one.kind in astray or looks.meets(demand, one):
            for name, value in total.amounts.items():
                found.amounts[name] = found.amounts.get(name, 0) + value
    own = Others()
    own.add(demand)
    return {name: value - own.amounts.get(name, 0) for name, value in found.amounts.items()}


def _cannot(
    looks: Looks, vms: t.Sequence[Demand], at: t.Mapping[tuple[str, str], str], names: t.Collection[str],
) -> tuple[str, tuple[Demand, ...]]:
    """A node that can't be empty at any time, and whom the others have no place for; neither if there is no proof."""
    # Those whose turn is over take VMs again.
    opened = [replace(node, unschedulable=False) if node.name in names else node for node in looks.nodes]
    if len(vms) * len(names) > _MOST:
        return "", ()
    wide = Looks(opened, looks.company)
    for name in sorted(names):
        others = [node for node in opened if node.name != name]
        if exists(vms, others, _Anywhere(wide, at), {}) is False:
            return name, tuple(place(vms, others, possible=wide.possible).left)
    return "", ()


class _Anywhere:
    """The nodes that are possible, and that on which a VM is already: it may stay there until its turn comes."""

    def __init__(self, looks: Looks, at: t.Mapping[tuple[str, str], str]) -> None:
        self._looks, self._at = looks, at

    def of(self, demand: Demand) -> frozenset[str]:
        return self._looks.possible.of(demand) | {self._at[demand.key]}
