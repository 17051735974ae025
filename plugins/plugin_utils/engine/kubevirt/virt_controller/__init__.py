# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-controller: what becomes of virtual machines, their instances, their pods and their migrations."""
from __future__ import annotations

from ...clock import Clock
from ...controller import Controller, Informers
from ...interface import Cluster
from .cluster_config import ClusterConfig, VirtControllerPart
from .disruption_budgets import DisruptionBudgets
from .evacuation import Evacuation
from .instances import Instances
from .migrations import Migrations
from .nodes import NodeController
from .virtual_machines import VirtualMachines
from .workload_updates import WorkloadUpdates

ACCOUNT = "kubevirt-controller"


def parts(config: ClusterConfig) -> list[VirtControllerPart]:
    """The controllers that virt-controller runs."""
    return [
        VirtualMachines(config), Instances(config), NodeController(config), WorkloadUpdates(config), DisruptionBudgets(config), Migrations(config),
        Evacuation(config),
    ]


def start(cluster: Cluster, clock: Clock, namespace: str) -> list[Controller]:
    """Start them all as virt-controller's ServiceAccount in the namespace that KubeVirt is installed in.

    The given cluster is only used to take on identities.
    """
    identity = cluster.as_service_account(namespace, ACCOUNT).with_user_agent("virt-controller")
    informers = Informers(identity, clock)
    config = ClusterConfig(namespace)
    config.observer = cluster.as_service_account("kube-system", "deployment-controller")
    config.start(identity, clock, informers=informers)
    started: list[Controller] = [config]
    for part in parts(config):
        part.start(identity, clock, informers=informers)
        started.append(part)
    return started
