# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Operator Lifecycle Manager. Source: operator-framework/operator-lifecycle-manager pkg/controller/operators."""
from __future__ import annotations

from ...clock import Clock
from ...controller import Controller
from ...interface import Cluster
from .catalog_sources import CatalogSources
from .cluster_service_versions import ClusterServiceVersions
from .install_plans import InstallPlans
from .operator_conditions import OperatorConditions
from .subscriptions import Subscriptions

NAMESPACE = "openshift-operator-lifecycle-manager"
ACCOUNT = "olm-operator-serviceaccount"


def start(cluster: Cluster, clock: Clock) -> list[Controller]:
    """Start all its controllers; the given cluster is only used to take on their identity."""
    controllers: list[Controller] = [CatalogSources(), Subscriptions(), InstallPlans(), ClusterServiceVersions(), OperatorConditions()]
    for controller in controllers:
        controller.start(cluster.as_service_account(NAMESPACE, ACCOUNT), clock)
    return controllers
