# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until ClusterRole aggregation has taken effect, by one watch on all ClusterRoles. Private to this collection."""

from __future__ import annotations

import typing as t

from .._cluster.client import Cluster
from .._cluster.resources import CLUSTER_ROLES
from .._cluster.waiting import Snapshot, Target, Verdict, wait_for_all
from .._plan import Listener
from .roles import Json, holds_rules, leftover_rules

Roles = dict[str, Json]
#: Given the ClusterRoles, what is still missing; empty when all is well.
Missing = t.Callable[[Roles], list[str]]


def rules_arrived(targets: t.Iterable[str], rules: t.Sequence[Json]) -> Missing:
    """Missing until each of the targets holds the rules."""
    wanted = list(targets)

    def missing(roles: Roles) -> list[str]:
        return [
            f"ClusterRole {name} has not got the rules yet"
            for name in wanted
            if not holds_rules(roles.get(name), rules)
        ]

    return missing


def rules_left(targets: t.Iterable[str], rules: t.Sequence[Json]) -> Missing:
    """Missing until none of the targets holds one of the rules that no role gives it. Needs all ClusterRoles."""
    watched = list(targets)

    def missing(roles: Roles) -> list[str]:
        return [f"ClusterRole {name} still has the rules" for name in watched if leftover_rules(roles, name, rules)]

    return missing


def wait(cluster: Cluster, missing: Missing, deadline: float, listener: Listener) -> Roles:
    """The ClusterRoles when nothing is missing any more. Raises DeadlineExceeded at the deadline (monotonic seconds)."""
    everything = Target(CLUSTER_ROLES)
    found: Roles = {}

    def judge(snapshot: Snapshot) -> Verdict:
        found.clear()
        found.update(by_name(snapshot.all(everything)))
        pending = missing(found)
        return Verdict(not pending, tuple(pending))

    wait_for_all(
        cluster, (everything,), judge, deadline, listener, "Aggregation of ClusterRoles by the controller manager"
    )
    return found


def by_name(items: t.Iterable[Json]) -> Roles:
    """Objects by their name."""
    return {entry["metadata"]["name"]: entry for entry in items}
