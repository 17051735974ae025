# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster with OKD Virtualization installed and at rest: platform, OLM, operators, KubeVirt."""
from __future__ import annotations

import typing as t

from ..clock import Clock
from ..interface import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    KUBEVIRTS,
    NAMESPACES,
    NODES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    Cluster,
    Object,
    Ref,
)
from ..kubevirt import crds as kubevirt_crds
from ..kubevirt import install_strategy, kubevirt_status
from ..okd import bundles, cluster_version, crds, machine_config
from ..okd.bundles import Flavour, Release
from ..okd.hyperconverged import HYPERCONVERGEDS, operand
from ..okd.hyperconverged import NAME as HYPERCONVERGED_NAME
from ..okd.hyperconverged import status as hyperconverged_status
from ..okd.olm import ACCOUNT as OLM_ACCOUNT
from ..okd.olm import NAMESPACE as OLM_NAMESPACE
from ..okd.olm import catalog, operator_conditions
from ..okd.olm.objects import (
    CATALOG_ANNOTATION,
    CATALOG_SOURCES,
    CLUSTER_SERVICE_VERSIONS,
    OPERATOR_CONDITIONS,
    OPERATOR_GROUPS,
    SUBSCRIPTIONS,
)
from .running import Running

MARKETPLACE = "openshift-marketplace"
_NETWORKS = Ref("config.openshift.io", "v1", "networks")
_MAIN_NETWORK = {"clusterNetwork": [{"cidr": "10.128.0.0/14", "hostPrefix": 23}], "networkType": "OVNKubernetes", "serviceNetwork": ["172.30.0.0/16"]}
"""Those of an installation that says nothing. Source: openshift/installer pkg/types/defaults/installconfig.go."""
_REFS = {
    "CustomResourceDefinition": CUSTOM_RESOURCE_DEFINITIONS, "ServiceAccount": SERVICE_ACCOUNTS, "ClusterRole": CLUSTER_ROLES,
    "ClusterRoleBinding": CLUSTER_ROLE_BINDINGS, "Role": ROLES, "RoleBinding": ROLE_BINDINGS, "Deployment": DEPLOYMENTS,
    "DaemonSet": DAEMON_SETS, "Service": Ref("", "v1", "services"),
    "ValidatingWebhookConfiguration": Ref("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
    "MutatingWebhookConfiguration": Ref("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"),
    "APIService": Ref("apiregistration.k8s.io", "v1", "apiservices"),
}


async def put(cluster: Cluster, ref: Ref, obj: Object, status: Object | None = None) -> Object:
    """Create an object, and give it a status."""
    made = await cluster.create(ref, obj)
    if status is not None:
        made = await cluster.update(ref, {**made, "status": status}, "status")
    return made


async def namespace(cluster: Cluster, name: str, **labels: str) -> None:
    metadata = {"name": name, "labels": labels} if labels else {"name": name}
    await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    # Pods need it now; later namespaces get theirs from the controller.
    await cluster.create(SERVICE_ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}})


async def platform(cluster: Cluster, clock: Clock, version: str) -> None:
    """What OpenShift brings: its kinds, OLM's identity, the main network, the ClusterVersion."""
    for name in (
        "openshift", "openshift-config", "openshift-config-managed", MARKETPLACE, OLM_NAMESPACE, cluster_version.NAMESPACE, machine_config.NAMESPACE,
    ):
        await namespace(cluster, name)
    for definition in (*crds.olm(), *crds.openshift(), kubevirt_crds.data_volumes()):
        await cluster.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
    await cluster.create(
        SERVICE_ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": OLM_ACCOUNT, "namespace": OLM_NAMESPACE}}
    )
    everything = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]
    role = "system:controller:operator-lifecycle-manager"
    await cluster.create(
        CLUSTER_ROLES, {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": role}, "rules": everything}
    )
    await cluster.create(CLUSTER_ROLE_BINDINGS, {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "olm-operator-binding-" + OLM_NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": OLM_ACCOUNT, "namespace": OLM_NAMESPACE}],
    })
    now = clock.timestamp()
    conditions = [
        {"type": kind, "status": status, "lastTransitionTime": now, "message": message}
        for kind, status, message in (
            ("Available", "True", f"Done applying {version}"), ("Progressing", "False", f"Cluster version is {version}"), ("Failing", "False", ""),
            ("Upgradeable", "True", ""), ("RetrievedUpdates", "True", ""),
        )
    ]
    await cluster.create(_NETWORKS, {
        "apiVersion": "config.openshift.io/v1", "kind": "Network", "metadata": {"name": "cluster"}, "spec": _MAIN_NETWORK,
        "status": {**_MAIN_NETWORK, "clusterNetworkMTU": 1400},
    })
    await _updates(cluster)
    image = cluster_version.image(version)
    history = [{"state": "Completed", "version": version, "image": image, "startedTime": now, "completionTime": now, "verified": False}]
    offered = cluster_version.offered(version)
    await put(
        cluster, cluster_version.CLUSTER_VERSIONS,
        {
            "apiVersion": "config.openshift.io/v1", "kind": "ClusterVersion", "metadata": {"name": "version"},
            "spec": {"channel": "stable-4.19", "clusterID": "00000000-0000-4000-8000-000000000419"},
        },
        {"desired": {"version": version, "image": image}, "history": history, "conditions": conditions, "observedGeneration": 1, "availableUpdates": offered},
    )


async def _updates(cluster: Cluster) -> None:
    """The identities of those who update the platform and its nodes."""
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    accounts = [(cluster_version.NAMESPACE, cluster_version.ACCOUNT, everything)]
    accounts += [(machine_config.NAMESPACE, name, rules) for name, rules in machine_config.RULES.items()]
    for where, account, rules in accounts:
        name = f"{where}-{account}"
        if account != "default":
            await cluster.create(SERVICE_ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": where}})
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
        await cluster.create(CLUSTER_ROLES, role)
        await cluster.create(CLUSTER_ROLE_BINDINGS, {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": where}],
        })


async def catalogue(cluster: Cluster, clock: Clock, flavour: Flavour, packages: t.Sequence[Object]) -> None:
    """The CatalogSource, connected, and what it offers."""
    name = f"{flavour.catalog}-index"
    await cluster.create(CONFIG_MAPS, catalog.config_map(name, MARKETPLACE, packages))
    source = {
        "apiVersion": CATALOG_SOURCES.api_version, "kind": "CatalogSource",
        "metadata": {"name": flavour.catalog, "namespace": MARKETPLACE, "annotations": {CATALOG_ANNOTATION: name}},
        "spec": {"sourceType": "grpc", "image": f"registry.invalid/{flavour.catalog}-index:v4.19", "displayName": flavour.catalog, "publisher": "okd.virt"},
    }
    connection = {
        "address": f"{flavour.catalog}.{MARKETPLACE}.svc:50051", "lastConnect": clock.timestamp(), "lastObservedState": "READY",
    }
    await put(cluster, CATALOG_SOURCES, source, {"connectionState": connection})


async def operator(cluster: Cluster, clock: Clock, where: str, csv: Object, objects: t.Sequence[Object]) -> None:
    """An operator as OLM leaves it: its bundle applied, its ClusterServiceVersion Succeeded, its Deployments up."""
    for obj in objects:
        namespaced = obj["kind"] in ("ServiceAccount", "Role", "RoleBinding", "Service")
        metadata = {**obj["metadata"], "namespace": where} if namespaced else obj["metadata"]
        await cluster.create(_REFS[obj["kind"]], {**obj, "metadata": metadata})
    now = clock.timestamp()
    entry = {
        "phase": "Succeeded", "reason": "InstallSucceeded", "message": "install strategy completed with no errors",
        "lastUpdateTime": now, "lastTransitionTime": now,
    }
    made = await put(
        cluster, CLUSTER_SERVICE_VERSIONS, {**csv, "metadata": {**csv["metadata"], "namespace": where}}, {**entry, "conditions": [entry]}
    )
    name = csv["metadata"]["name"]
    owner = {"apiVersion": CLUSTER_SERVICE_VERSIONS.api_version, "kind": "ClusterServiceVersion", "name": name, "uid": made["metadata"]["uid"]}
    deployments, running = csv["spec"]["install"]["spec"]["deployments"], await Running.of(cluster, clock)
    for entry in deployments:
        labels = {"olm.owner": name, "olm.owner.kind": "ClusterServiceVersion", "olm.owner.namespace": where}
        await running.deployment({
            "apiVersion": "apps/v1", "kind": "Deployment", "spec": entry["spec"],
            "metadata": {"name": entry["name"], "namespace": where, "labels": labels, "ownerReferences": [owner]},
        })
    condition = {"type": "Upgradeable", "status": "True", "reason": "Upgradeable", "message": "", "lastTransitionTime": now}
    said: Object = {
        "apiVersion": OPERATOR_CONDITIONS.api_version, "kind": "OperatorCondition",
        "metadata": {"name": name, "namespace": where, "ownerReferences": [{**owner, "controller": False, "blockOwnerDeletion": True}]},
        "spec": {"deployments": [one["name"] for one in deployments], "conditions": [condition]},
    }
    await put(cluster, OPERATOR_CONDITIONS, said, operator_conditions.status_of(said))


async def subscription(cluster: Cluster, flavour: Flavour, name: str, package: str, csv: str, approval: str) -> None:
    status = {"currentCSV": csv, "installedCSV": csv, "state": "AtLatestKnown"}
    spec = {
        "name": package, "channel": "stable", "source": flavour.catalog, "sourceNamespace": MARKETPLACE, "installPlanApproval": approval,
        "startingCSV": csv,
    }
    metadata = {"name": name, "namespace": flavour.namespace}
    await put(cluster, SUBSCRIPTIONS, {"apiVersion": SUBSCRIPTIONS.api_version, "kind": "Subscription", "metadata": metadata, "spec": spec}, status)


async def virtualization(
    cluster: Cluster, clock: Clock, flavour: Flavour, release: Release, approval: str = "Manual", second_operator: bool = False,
) -> None:
    """OKD Virtualization of one release, installed by OLM and at rest."""
    where = flavour.namespace
    await namespace(cluster, where)
    packages = [bundles.package(flavour), bundles.nmstate_package()]
    await catalogue(cluster, clock, flavour, packages)
    group = {
        "apiVersion": OPERATOR_GROUPS.api_version, "kind": "OperatorGroup", "spec": {},
        "metadata": {"name": "kubevirt-hyperconverged-group", "namespace": where},
    }
    await put(cluster, OPERATOR_GROUPS, group, {"namespaces": [""], "lastUpdated": clock.timestamp()})
    bundle = next(one for one in packages[0]["bundles"] if one["csv"]["metadata"]["name"] == release.csv)
    await operator(cluster, clock, where, bundle["csv"], bundle["objects"])
    await subscription(cluster, flavour, "hco-operatorhub", flavour.package, release.csv, approval)
    if second_operator:
        other = packages[1]["bundles"][0]["csv"]
        await operator(cluster, clock, where, other, [])
        await subscription(cluster, flavour, "kubernetes-nmstate-operator", packages[1]["name"], other["metadata"]["name"], approval)
    await _kubevirt(cluster, clock, where, release)
    await _console_proxy(cluster, clock)


async def _console_proxy(cluster: Cluster, clock: Clock) -> None:
    """The VM console proxy, in the namespace where it goes unless told otherwise.

    Source: ssp-operator internal/operands/vm-console-proxy/reconcile.go (getVmConsoleProxyNamespace).
    """
    name, where = "vm-console-proxy", "kubevirt"
    await namespace(cluster, where)
    labels = {"vm-console-proxy.kubevirt.io": name, "name": name}
    template: Object = {
        "metadata": {"labels": labels},
        "spec": {
            "containers": [{"name": "console", "image": f"quay.io/kubevirt/{name}:v0.8.0", "command": ["/console"], "ports": [{"containerPort": 8768}]}],
        },
    }
    await (await Running.of(cluster, clock)).deployment({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": where, "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"vm-console-proxy.kubevirt.io": name}}, "template": template},
    })


async def _kubevirt(cluster: Cluster, clock: Clock, where: str, release: Release) -> None:
    plan = install_strategy.strategy(release.kubevirt, where)
    parts = (
        plan.custom_resource_definitions, plan.service_accounts, plan.cluster_roles, plan.cluster_role_bindings, plan.roles,
        plan.role_bindings, plan.services, plan.webhooks,
    )
    for part in parts:
        for obj in part:
            await cluster.create(_REFS[obj["kind"]], obj)
    running = await Running.of(cluster, clock)
    for workload in plan.daemon_sets:
        await running.daemon_set(workload)
    for workload in plan.deployments:
        await running.deployment(workload)
    several = hyperconverged_status.several([node for node in (await cluster.list(NODES)).items if hyperconverged_status.is_worker(node)])
    hyperconverged = await cluster.create(HYPERCONVERGEDS, {
        "apiVersion": HYPERCONVERGEDS.api_version, "kind": "HyperConverged", "spec": {"evictionStrategy": "LiveMigrate" if several else "None"},
        "metadata": {
            "name": HYPERCONVERGED_NAME, "namespace": where, "finalizers": ["kubevirt.io/hyperconverged"], "labels": {"app": HYPERCONVERGED_NAME},
        },
    })
    made = await cluster.create(KUBEVIRTS, operand.kubevirt(hyperconverged, release.version, release.kubevirt))
    ready = kubevirt_status.ready(made, release.kubevirt, clock.timestamp())
    made = await cluster.update(KUBEVIRTS, {**made, "status": {**ready, "outdatedVirtualMachineInstanceWorkloads": 0}}, "status")
    status = hyperconverged_status.status(hyperconverged, made, release.version, release.kubevirt, several, clock.timestamp())
    await cluster.update(HYPERCONVERGEDS, {**hyperconverged, "status": status}, "status")
