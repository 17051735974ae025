# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KubeVirt: its operator and what it installs, each controller as the service account it has on a cluster."""
from __future__ import annotations

from ..apiserver.chain import ApiServer
from ..clock import Clock
from ..controller import Stoppable
from ..interface import Cluster
from ..kubernetes.runtime import Runtime
from . import metrics, uninstalling, virt_api, virt_controller, virt_handler
from .virt_api import pausing
from .virt_operator import VirtOperator


def register(api: ApiServer, cluster: Cluster, clock: Clock, namespace: str) -> None:
    """Have the API server ask virt-api and virt-operator from now on."""
    virt_api.register(api, cluster, clock, namespace)
    uninstalling.register(api)


def start(cluster: Cluster, clock: Clock, namespace: str, runtime: Runtime, api: ApiServer) -> list[Stoppable]:
    """Start them all in the namespace that KubeVirt is installed in; the given cluster is only used to take on identities."""
    operator = VirtOperator(namespace)
    operator.start(cluster.as_service_account(namespace, "kubevirt-operator"), clock)
    handler, handlers = virt_handler.start(cluster, clock, namespace, runtime)
    metrics.register(api, clock, handler.transfers)
    pausing.register(api, handler.pause)
    return [operator, *handlers, *virt_controller.start(cluster, clock, namespace)]
