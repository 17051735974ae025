# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of its own for migrations: what stands in its way is refused, and that it is used is verified. Private to this collection."""

from __future__ import annotations

import typing as t

from .._cluster.client import Cluster
from .._errors import PreconditionFailed, VirtError
from .._networks.reading import MigrationNetwork, used
from .._networks.use import Use

Json = dict[str, t.Any]


def described(network: MigrationNetwork) -> Json:
    """As the result of the verb has it."""
    problems = {"problems": [one.to_dict() for one in network.fitness.problems], "unknown": list(network.fitness.unknown)}
    if network.use is not None:
        return {**network.use.to_dict(), **problems}
    sentence = f"{network.name} is not set yet, or virt-handler's pods can't be listed"
    return {**Use(network.name, network.fitness.ranges).to_dict(), "sentence": sentence, **problems}


def refuse(network: MigrationNetwork, accepted: t.Container[str]) -> list[str]:
    """What to be warned of. Raises PreconditionFailed with the first problem's code when there is one that nobody has accepted."""
    open_ones = [one for one in network.fitness.problems if one.code not in accepted]
    if open_ones:
        raise PreconditionFailed(
            f"network: {' '.join(one.text() for one in open_ones)} Nothing was changed.", code=open_ones[0].code,
            problems=[one.to_dict() for one in open_ones],
        )
    return warnings(network)


def warnings(network: MigrationNetwork) -> list[str]:
    """Its problems, and what was not looked at."""
    return [*(f"network: {one.text()} ({one.code})" for one in network.fitness.problems), *network.fitness.unknown]


def verify(cluster: Cluster, network: MigrationNetwork) -> None:
    """How it is used now, after it was set. Raises VirtError when virt-handler has no address of it on some node."""
    network.use = used(cluster, network.namespace, network.name, network.fitness.attachment)
    if network.use is not None and network.use.without:
        raise VirtError(
            f"network: {network.use.sentence()}, although it runs anew: migrations would go over the network of pods, or nowhere. It is set. See to "
            f"NetworkAttachmentDefinition {network.namespace}/{network.name} and to the pods of virt-handler there, or list network in defaults.",
            code="network_not_used", network=described(network),
        )
