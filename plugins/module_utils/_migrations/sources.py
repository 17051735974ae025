# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what predictions rest on besides the instances and the KubeVirt. Private to this collection."""

from __future__ import annotations

import typing as t

from .._cluster.client import Cluster
from .._cluster.resources import (
    MIGRATION_POLICIES,
    NAMESPACES,
    NETWORK_ATTACHMENT_DEFINITIONS,
    NODE_NETWORK_STATES,
    VIRTUAL_MACHINES,
)
from .._errors import Forbidden
from .._networks.attachment import link_of
from .guests import Numbers, Said, keep_machine
from .limits import Limits
from .links import NOT_KNOWN, Link, given_link, reported_link
from .state import Key

Json = dict[str, t.Any]


def read_machines(cluster: Cluster) -> dict[Key, dict[str, str]]:
    """The annotations of VirtualMachines that say something of loads."""
    found = cluster.list(VIRTUAL_MACHINES, missing_ok=True, metadata_only=True, keep=keep_machine).items
    return {(one["metadata"]["namespace"], one["metadata"]["name"]): one["metadata"]["annotations"] for one in found}


def read_said(cluster: Cluster, given: t.Mapping[Key, Numbers]) -> Said:
    """What is known of loads, and the policies with the labels of namespaces. Raises Forbidden."""
    policies = cluster.list(MIGRATION_POLICIES, missing_ok=True).items
    namespaces = cluster.list(NAMESPACES, metadata_only=True).items if policies else []
    return Said(given, read_machines(cluster), policies, {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in namespaces})


def read_link(cluster: Cluster, text: str | None, limits: Limits, namespace: str, nodes: t.Collection[str]) -> Link:
    """What the option says, else the slowest of these nodes where the cluster shows it. C(namespace) is KubeVirt's. Raises OptionError."""
    given = given_link(text)
    if given is not None:
        return given
    try:
        states = cluster.list(NODE_NETWORK_STATES, missing_ok=True).items
        states = [one for one in states if one["metadata"]["name"] in nodes]
        if not states or not limits.network:
            return reported_link(states)
        return reported_link(states, link_of(cluster.get(NETWORK_ATTACHMENT_DEFINITIONS, limits.network, namespace)))
    except Forbidden:
        return NOT_KNOWN
