# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of OKD that an update of Virtualization goes through."""
from __future__ import annotations

from ..apiserver.chain import ApiServer
from ..clock import Clock
from ..controller import Controller
from ..interface import Cluster
from ..kubernetes.runtime import Runtime
from . import cluster_version, hyperconverged, machine_config, olm
from .cluster_version import ClusterVersions
from .hyperconverged import HyperConverged


def register(api: ApiServer, namespace: str) -> None:
    """Have the API server ask the webhooks of the HyperConverged's operator, installed in the namespace, from now on."""
    hyperconverged.register(api, namespace)


def start(cluster: Cluster, clock: Clock, namespace: str, api: ApiServer, runtime: Runtime) -> list[Controller]:
    """Start OLM, what updates platform and nodes, and the operator of the HyperConverged in its namespace.

    The given cluster is only used to take on identities.
    """
    operator = HyperConverged(namespace)
    versions = ClusterVersions()
    controllers = [*olm.start(cluster, clock), *machine_config.start(cluster, clock, runtime), versions, operator]
    versions.start(cluster.as_service_account(cluster_version.NAMESPACE, cluster_version.ACCOUNT), clock)
    hyperconverged.metrics.register(api, namespace, operator.overwritten)
    operator.start(cluster.as_service_account(namespace, "hyperconverged-cluster-operator"), clock)
    return controllers
