# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KubeVirt: its operator and what it installs, each controller as the service account it has on a cluster."""
from __future__ import annotations

from ..apiserver.chain import ApiServer
from ..clock import Clock
from ..controller import Controller
from ..interface import Cluster
from . import virt_api, virt_controller
from .virt_handler import VirtHandler
from .virt_operator import VirtOperator


def register(api: ApiServer, cluster: Cluster, clock: Clock, namespace: str) -> None:
    """Have the API server ask virt-api from now on."""
    virt_api.register(api, cluster, clock, namespace)


def start(cluster: Cluster, clock: Clock, namespace: str) -> list[Controller]:
    """Start them all in the namespace that KubeVirt is installed in; the given cluster is only used to take on identities."""
    operator, handler = VirtOperator(namespace), VirtHandler(namespace)
    operator.start(cluster.as_service_account(namespace, "kubevirt-operator"), clock)
    # Pods are replaced by the DaemonSet controller; virt-handler itself can't see its DaemonSet.
    handler.observer = cluster.as_service_account("kube-system", "daemon-set-controller")
    handler.start(cluster.as_service_account(namespace, "kubevirt-handler"), clock)
    return [operator, handler, *virt_controller.start(cluster, clock, namespace)]
