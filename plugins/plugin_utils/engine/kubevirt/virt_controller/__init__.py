# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-controller: what becomes of virtual machines, their instances, their pods and their migrations."""
from __future__ import annotations

from ...clock import Clock
from ...controller import Controller, Informers
from ...interface import Cluster
from .cluster_config import ClusterConfig, VirtControllerPart

ACCOUNT = "kubevirt-controller"


def parts(_config: ClusterConfig) -> list[VirtControllerPart]:
    """The controllers that virt-controller runs."""
    return []


def start(cluster: Cluster, clock: Clock, namespace: str) -> list[Controller]:
    """Start them all as virt-controller's ServiceAccount in the namespace that KubeVirt is installed in.

    The given cluster is only used to take on identities.
    """
    identity = cluster.as_service_account(namespace, ACCOUNT)
    informers = Informers(identity, clock)
    config = ClusterConfig(namespace)
    config.observer = cluster.as_service_account("kube-system", "deployment-controller")
    config.start(identity, clock, informers=informers)
    started: list[Controller] = [config]
    for part in parts(config):
        part.start(identity, clock, informers=informers)
        started.append(part)
    return started
