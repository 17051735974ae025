# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of its own that migrations are given: whether it is there, can work, and is used. Private to this collection."""

from __future__ import annotations

import typing as t

from .._cluster.client import Cluster
from .._migrations.limits import limits
from .._networks.fitness import ACCEPTABLE, MISSING
from .._networks.reading import MigrationNetwork, look
from .facts import Facts
from .finding import BLOCKER, Finding


def read(cluster: Cluster, facts: Facts) -> MigrationNetwork | None:
    """Of the network that is set; None where none is."""
    name = limits(facts.kubevirt).network
    if not name or facts.kubevirt is None:
        return None
    nodes = [node for node in facts.nodes if "kubevirt.io/schedulable" in (node["metadata"].get("labels") or {})]
    return look(cluster, facts.kubevirt["metadata"]["namespace"], name, True, nodes, facts.migrations)


def check(facts: Facts) -> t.Iterator[Finding]:
    """Of what was read of it. Pure."""
    network, kubevirt = facts.network, facts.kubevirt
    if network is None or kubevirt is None:
        return
    for problem in network.fitness.problems:
        missing = problem.code == MISSING
        sentence = problem.sentence if missing or problem.object.startswith("NetworkAttachmentDefinition") else f"{problem.object}: {problem.sentence}"
        yield Finding(
            "migration_network_missing" if missing else "migration_network_unfit", "NetworkAttachmentDefinition", network.namespace, network.name, sentence,
            problem.remedy, {"code": problem.code, **problem.data}, "" if problem.code in ACCEPTABLE else BLOCKER,
        )
    use = network.use
    if use is not None and use.is_used is False:
        yield Finding(
            "migration_network_not_used", "KubeVirt", kubevirt["metadata"]["namespace"], kubevirt["metadata"]["name"], use.sentence(),
            "See to virt-handler there: its pods must have the network as migration0, with an address.", use.to_dict(),
        )
