# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an API server makes for itself before anybody comes: namespaces, roles and bindings, its own Service.

Source: Kubernetes pkg/controlplane/controller/{systemnamespaces,kubernetesservice}, pkg/registry/rbac/rest/storage_rbac.go.
"""
from __future__ import annotations

import typing as t

from ..errors import StatusError
from ..interface import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, NAMESPACES, SERVICE_ACCOUNTS, Object, Ref
from . import bootstrap_roles
from .chain import ApiServer
from .identity import MASTERS, UserInfo
from .local import LocalCluster

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_SERVICES = Ref("", "v1", "services")


def loopback(server: ApiServer) -> LocalCluster:
    """The API server's own identity, which may do everything."""
    return LocalCluster(server, UserInfo("system:apiserver", (MASTERS,)), "kube-apiserver")


async def bootstrap(server: ApiServer) -> None:
    """Create what is missing; what is there stays as it is, so that a cluster from disk keeps its changes."""
    cluster = loopback(server)
    for ref, obj in _objects():
        try:
            await cluster.create(ref, obj)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise


def _objects() -> t.Iterator[tuple[Ref, Object]]:
    for name in _NAMESPACES:
        yield NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    for role in bootstrap_roles.cluster_roles():
        yield CLUSTER_ROLES, role
    for binding in bootstrap_roles.cluster_role_bindings():
        yield CLUSTER_ROLE_BINDINGS, binding
    for name in bootstrap_roles.controller_service_accounts():
        yield SERVICE_ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "kube-system"}}
    yield _SERVICES, {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP", "clusterIP": "172.30.0.1", "clusterIPs": ["172.30.0.1"],
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    }
