# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Computed access held against access reviews of the API server. Private to this collection."""

from __future__ import annotations

import random
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .._cluster.client import Cluster, Review
from .._plan import Listener
from .entries import Entry
from .migrate_access import CLUSTER, Access
from .role_powers import RIGHTS
from .roles import Json
from .subjects import Identity, implicit_groups

#: Reviews under way at the same time.
_AT_ONCE = 4


class Pair(t.NamedTuple):
    """A subject and a namespace; an empty one is the whole cluster."""

    subject: Identity
    namespace: str


@dataclass(frozen=True)
class Disagreement:
    """What was computed and what the API server says."""

    pair: Pair
    right: str
    computed: bool
    reviewed: Review

    @property
    def sentence(self) -> str:
        where = f"in namespace {self.pair.namespace}" if self.pair.namespace else "in the whole cluster"
        says = f"allows it ({self.reviewed.reason or 'no reason given'})" if self.reviewed.allowed else "does not allow it"
        return f"{self.pair.subject.text}, {self.right} {where}: the rules {'allow' if self.computed else 'do not allow'} it, the access review {says}"

    def to_dict(self) -> Json:
        return {
            "subject": self.pair.subject.text, "namespace": self.pair.namespace, "right": self.right, "computed": self.computed,
            "reviewed": self.reviewed.allowed, "reason": self.reviewed.reason, "sentence": self.sentence,
        }


def all_pairs(access: Access, entries: t.Sequence[Entry]) -> list[Pair]:
    """Every pair with an entry, and for each subject one namespace without."""
    pairs = dict.fromkeys(Pair(entry.subject, namespace) for entry in entries for namespace in (entry.namespaces or [CLUSTER]))
    known = access.known_namespaces()
    for subject in dict.fromkeys(entry.subject for entry in entries):
        other = next((namespace for namespace in known if Pair(subject, namespace) not in pairs), None)
        if other is not None:
            pairs[Pair(subject, other)] = None
    return list(pairs)


def some_pairs(access: Access, entries: t.Sequence[Entry], size: int, draw: random.Random) -> list[Pair]:
    """So many pairs, other ones each time: two of three with access by an entry, the third anywhere."""
    known = access.known_namespaces()
    if not entries:
        return []
    weights = [max(1, entry.pairs) for entry in entries]
    found: dict[Pair, None] = {}
    for number, entry in enumerate(draw.choices(entries, weights, k=size)):
        anywhere = number % 3 == 2 and known
        namespace = draw.choice(known) if anywhere else draw.choice(entry.namespaces or [CLUSTER])
        found[Pair(entry.subject, namespace)] = None
    return list(found)


def disagreements(cluster: Cluster, access: Access, pairs: t.Sequence[Pair], listener: Listener) -> list[Disagreement]:
    """Ask for every right of every pair. Raises Forbidden without the permission to review others."""
    questions = [(pair, right) for pair in pairs for right in RIGHTS]

    def ask(question: tuple[Pair, str]) -> Disagreement | None:
        pair, right = question
        computed = right in access.rights(pair.subject, pair.namespace)
        reviewed = review(cluster, access, pair, right)
        return None if reviewed.allowed == computed else Disagreement(pair, right, computed, reviewed)

    found = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for number, answer in enumerate(pool.map(ask, questions), 1):
            if answer is not None:
                found.append(answer)
            if number % 100 == 0:
                listener.heartbeat(f"{number}/{len(questions)} access reviews")
    return found


def review(cluster: Cluster, access: Access, pair: Pair, right: str) -> Review:
    """What the API server says about one right, the subject's groups being those that are known."""
    subject = pair.subject
    groups = [*access.groups.of(subject), *implicit_groups(subject)]
    if subject.kind == "Group":
        groups = [subject.name, *groups]
    return cluster.review(subject.user, list(dict.fromkeys(groups)), RIGHTS[right].to_review(pair.namespace))
