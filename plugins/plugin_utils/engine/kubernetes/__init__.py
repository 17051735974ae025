# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controllers of kube-controller-manager that the cluster runs, each as its own service account."""
from __future__ import annotations

from ..clock import Clock
from ..controller import Controller, Informers, Stoppable
from ..interface import Cluster
from .daemon_sets import DaemonSets
from .deployments import Deployments
from .disruption import DisruptionController
from .event_expiry import EventExpiry
from .garbage_collection import GarbageCollector
from .kubelet import Kubelet
from .namespaces import NamespaceController, RootCertificatePublisher
from .node_lifecycle import NodeLifecycle, TaintEviction
from .node_status import NodeStatus
from .pod_garbage_collection import PodGarbageCollector
from .replica_sets import ReplicaSets
from .resources import Discover
from .role_aggregation import RoleAggregation
from .runtime import Runtime
from .scheduler import Scheduler
from .service_accounts import ServiceAccountController
from .stateful_sets import StatefulSets

API_SERVER = "system:apiserver"
MANAGER = "system:kube-controller-manager"
SCHEDULER = "system:kube-scheduler"
NAMESPACE = "kube-system"


def controllers(discover: Discover, certificate_authority: str, runtime: Runtime) -> list[tuple[Controller, str]]:
    """Each controller with the service account in kube-system that it acts as. certificate_authority is PEM."""
    return [
        (RoleAggregation(), "clusterrole-aggregation-controller"),
        (NamespaceController(discover), "namespace-controller"),
        (ServiceAccountController(), "service-account-controller"),
        (RootCertificatePublisher(certificate_authority), "root-ca-cert-publisher"),
        (GarbageCollector(discover), "generic-garbage-collector"),
        (Deployments(), "deployment-controller"),
        (ReplicaSets(), "replicaset-controller"),
        (DaemonSets(), "daemon-set-controller"),
        (StatefulSets(), "statefulset-controller"),
        (PodGarbageCollector(), "pod-garbage-collector"),
        (NodeLifecycle(runtime), "node-controller"),
        (TaintEviction(), "node-controller"),
        (DisruptionController(discover), "disruption-controller"),
    ]


def start(cluster: Cluster, clock: Clock, discover: Discover, certificate_authority: str, runtime: Runtime) -> list[Stoppable]:
    """Start them all, in the order in which they are to be stopped last; the given cluster is only used to take on their identities."""
    manager = cluster.as_user(MANAGER)
    informers = Informers(manager, clock)
    started: list[Stoppable] = [informers]
    for controller, account in controllers(discover, certificate_authority, runtime):
        controller.observer = manager
        controller.start(cluster.as_service_account(NAMESPACE, account), clock, informers=informers)
        started.append(controller)
    expiry = EventExpiry()
    expiry.start(cluster.as_user(API_SERVER, ("system:masters",)), clock, informers=informers)
    started.append(expiry)
    scheduler = Scheduler()
    scheduler.start(cluster.as_user(SCHEDULER).with_user_agent("kube-scheduler"), clock, informers=informers)
    started.append(scheduler)
    for kubelet in (Kubelet(runtime), NodeStatus(runtime)):
        kubelet.start(cluster.with_user_agent("kubelet"), clock, informers=informers)
        started.append(kubelet)
    return started
