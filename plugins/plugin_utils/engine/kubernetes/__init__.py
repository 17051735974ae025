# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controllers of kube-controller-manager that the cluster runs, each as its own service account."""
from __future__ import annotations

import typing as t

from ..controller import Controller
from ..interface import Cluster
from .garbage_collection import GarbageCollector
from .namespaces import NamespaceController, RootCertificatePublisher
from .resources import Discover
from .role_aggregation import RoleAggregation
from .rollouts import DaemonSets, Deployments
from .service_accounts import ServiceAccountController

MANAGER = "system:kube-controller-manager"
NAMESPACE = "kube-system"


def controllers(discover: Discover, certificate_authority: str) -> list[tuple[Controller, str]]:
    """Each controller with the service account in kube-system that it acts as. certificate_authority is PEM."""
    return [
        (RoleAggregation(), "clusterrole-aggregation-controller"),
        (NamespaceController(discover), "namespace-controller"),
        (ServiceAccountController(), "service-account-controller"),
        (RootCertificatePublisher(certificate_authority), "root-ca-cert-publisher"),
        (GarbageCollector(discover), "generic-garbage-collector"),
        (Deployments(), "deployment-controller"),
        (DaemonSets(), "daemon-set-controller"),
    ]


def start(cluster: Cluster, clock: t.Any, discover: Discover, certificate_authority: str) -> list[Controller]:
    """Start them all; the given cluster is only used to take on their identities."""
    started = []
    for controller, account in controllers(discover, certificate_authority):
        controller.observer = cluster.as_user(MANAGER)
        controller.start(cluster.as_service_account(NAMESPACE, account), clock)
        started.append(controller)
    return started
