# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each version of KubeVirt installs, as data, and the objects that follow from it.

The data beside this file (install_strategies/) is what KubeVirt v1.4.1 and v1.5.3 ship: pkg/virt-operator/resource/generate/rbac.
"""
from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
import typing as t

from ..interface import Object
from . import crds

_DATA = pathlib.Path(__file__).parent / "install_strategies"
_SHIPPED_NAMESPACE = "kubevirt"
_RBAC = "rbac.authorization.k8s.io/v1"
VERSIONS = ("v1.4.1", "v1.5.3")
MIGRATE_ROLE = "kubevirt.io:migrate"
REGISTRY = "quay.io/kubevirt"
MANAGED_BY = "app.kubernetes.io/managed-by"
OPERATOR = "virt-operator"
VERSION_ANNOTATION = "kubevirt.io/install-strategy-version"
IDENTIFIER_ANNOTATION = "kubevirt.io/install-strategy-identifier"
NETWORKS_ANNOTATION = "k8s.v1.cni.cncf.io/networks"
_MIGRATION_INTERFACE = "migration0"


@functools.cache
def _data(version: str) -> Object:
    loaded: Object = json.loads((_DATA / f"{version}.json").read_text())
    return loaded


def known(version: str) -> bool:
    return version in VERSIONS


def deployment_id(version: str, migration_network: str = "") -> str:
    """KubeVirt's identifier of an installation's configuration: a SHA-1 in hexadecimal.

    Source: pkg/virt-operator/util/config.go (generateInstallStrategyID).
    """
    configured = f"{REGISTRY} {version} {migration_network}" if migration_network else f"{REGISTRY} {version}"
    return hashlib.sha1(configured.encode(), usedforsecurity=False).hexdigest()


def migration_network(kubevirt: Object) -> str:
    """The NetworkAttachmentDefinition that the KubeVirt object wants migrations to use; empty for the pod network."""
    migrations = ((kubevirt.get("spec") or {}).get("configuration") or {}).get("migrations") or {}
    return str(migrations.get("network") or "")


def required_metadata(version: str, identifier: str) -> tuple[dict[str, str], dict[str, str]]:
    """The labels and annotations that virt-operator puts on everything it installs."""
    labels = {MANAGED_BY: OPERATOR, "app.kubernetes.io/component": "kubevirt"}
    annotations = {
        VERSION_ANNOTATION: version, "kubevirt.io/install-strategy-registry": REGISTRY,
        IDENTIFIER_ANNOTATION: identifier,
    }
    return labels, annotations


@dataclasses.dataclass(frozen=True)
class InstallStrategy:
    """The objects of one version for one namespace, in the order in which virt-operator writes them."""

    version: str
    identifier: str
    custom_resource_definitions: tuple[Object, ...]
    service_accounts: tuple[Object, ...]
    cluster_roles: tuple[Object, ...]
    cluster_role_bindings: tuple[Object, ...]
    roles: tuple[Object, ...]
    role_bindings: tuple[Object, ...]
    services: tuple[Object, ...]
    webhooks: tuple[Object, ...]
    daemon_sets: tuple[Object, ...]
    deployments: tuple[Object, ...]

    def find(self, obj: Object) -> Object | None:
        """The RBAC object of this kind, namespace and name, as it is shipped."""
        shipped = (*self.cluster_roles, *self.cluster_role_bindings, *self.roles, *self.role_bindings)
        key = (obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"])
        return next((one for one in shipped if (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) == key), None)


def operator_cluster_role(version: str) -> Object:
    """virt-operator's own ClusterRole, which comes with the operator's bundle and not from itself."""
    return _object("ClusterRole", _data(version)["operator_cluster_role"], "", _RBAC)


def operator_role(version: str, namespace: str) -> Object:
    """virt-operator's own Role, which comes with the bundle as well."""
    return _object("Role", _data(version)["operator_role"], namespace, _RBAC)


@functools.cache
def strategy(version: str, namespace: str, migration_network: str = "") -> InstallStrategy:
    """Raises KeyError for a version that is not known."""
    if not known(version):
        raise KeyError(version)
    data = _data(version)
    identifier = deployment_id(version, migration_network)

    def made(kind: str, entries: t.Iterable[Object], namespaced: bool) -> tuple[Object, ...]:
        return tuple(_required(version, identifier, _object(kind, entry, namespace if namespaced else "", _RBAC, namespace)) for entry in entries)

    accounts = [{"name": name, "labels": {"kubevirt.io": ""}} for name in data["service_accounts"]]
    return InstallStrategy(
        version=version,
        identifier=identifier,
        custom_resource_definitions=tuple(
            _required(version, identifier, {**definition, "metadata": {**definition["metadata"], "labels": {"kubevirt.io": ""}}})
            for definition in crds.definitions(version) if definition["spec"]["names"]["kind"] != "KubeVirt"
        ),
        service_accounts=tuple(_required(version, identifier, _object("ServiceAccount", entry, namespace, "v1")) for entry in accounts),
        cluster_roles=made("ClusterRole", data["cluster_roles"], False),
        cluster_role_bindings=made("ClusterRoleBinding", data["cluster_role_bindings"], False),
        roles=made("Role", data["roles"], True),
        role_bindings=made("RoleBinding", data["role_bindings"], True),
        services=tuple(_required(version, identifier, service) for service in _services(namespace)),
        webhooks=tuple(_required(version, identifier, webhook) for webhook in _webhooks(namespace)),
        daemon_sets=(_installed(version, identifier, _workload("DaemonSet", "virt-handler", version, namespace, migration_network)),),
        deployments=tuple(
            _installed(version, identifier, _workload("Deployment", name, version, namespace))
            for name in ("virt-controller", "virt-exportproxy", "virt-api")
        ),
    )


def _object(kind: str, entry: Object, namespace: str, api_version: str, subjects_in: str = "") -> Object:
    metadata: Object = {key: entry[key] for key in ("name", "labels", "annotations") if key in entry}
    if namespace:
        metadata["namespace"] = namespace
    made: Object = {"apiVersion": api_version, "kind": kind, "metadata": metadata}
    for key in ("rules", "roleRef"):
        if key in entry:
            made[key] = entry[key]
    if "subjects" in entry:
        made["subjects"] = [
            {**subject, "namespace": subjects_in} if subject.get("namespace") == _SHIPPED_NAMESPACE else subject for subject in entry["subjects"]
        ]
    return made


def _installed(version: str, identifier: str, workload: Object) -> Object:
    """A workload whose pods carry what it carries: they are renewed with the configuration, whatever it changes in them."""
    made = _required(version, identifier, workload)
    template = _required(version, identifier, made["spec"]["template"])
    return {**made, "spec": {**made["spec"], "template": template}}


def _required(version: str, identifier: str, made: Object) -> Object:
    labels, annotations = required_metadata(version, identifier)
    metadata = made["metadata"]
    return {
        **made,
        "metadata": {
            **metadata, "labels": {**metadata.get("labels", {}), **labels}, "annotations": {**metadata.get("annotations", {}), **annotations},
        },
    }


def _services(namespace: str) -> list[Object]:
    table = (
        ("kubevirt-prometheus-metrics", {"prometheus.kubevirt.io": "true"}, 443, "metrics"),
        ("virt-api", {"kubevirt.io": "virt-api"}, 443, 8443),
        ("kubevirt-operator-webhook", {"kubevirt.io": "virt-operator"}, 443, "webhooks"),
        ("virt-exportproxy", {"kubevirt.io": "virt-exportproxy"}, 443, 8443),
    )
    return [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace, "labels": dict(selector)},
            "spec": {"selector": selector, "ports": [{"port": port, "protocol": "TCP", "targetPort": target}]},
        }
        for name, selector, port, target in table
    ]


def _webhooks(namespace: str) -> list[Object]:
    """The configurations by name; what their webhooks decide is built into the engine, so that they list none."""
    admission = "admissionregistration.k8s.io/v1"
    made: list[Object] = [
        {"apiVersion": admission, "kind": kind, "metadata": {"name": name, "labels": {"kubevirt.io": name}}, "webhooks": []}
        for kind, name in (
            ("ValidatingWebhookConfiguration", "virt-operator-validator"), ("ValidatingWebhookConfiguration", "virt-api-validator"),
            ("MutatingWebhookConfiguration", "virt-api-mutator"),
        )
    ]
    made += [
        {
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": f"{version}.subresources.kubevirt.io", "labels": {"kubevirt.io": "virt-api-aggregator"}},
            "spec": {
                "group": "subresources.kubevirt.io", "version": version, "groupPriorityMinimum": 1000, "versionPriority": 15,
                "service": {"name": "virt-api", "namespace": namespace, "port": 443},
            },
        }
        for version in ("v1", "v1alpha3")
    ]
    return made


def _workload(kind: str, name: str, version: str, namespace: str, migration_network: str = "") -> Object:
    """Source: pkg/virt-operator/resource/generate/components/{daemonsets,deployments}.go."""
    labels = {"kubevirt.io": name}
    pod: Object = {
        "serviceAccountName": f"kubevirt-{name.removeprefix('virt-').replace('api', 'apiserver')}",
        "containers": [{"name": name, "image": f"{REGISTRY}/{name}:{version}"}],
    }
    spec: Object = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    if migration_network:
        spec["template"]["metadata"]["annotations"] = {NETWORKS_ANNOTATION: f"{migration_network}@{_MIGRATION_INTERFACE}"}
    if kind == "DaemonSet":
        pod["nodeSelector"] = {"node-role.kubernetes.io/worker": ""}
        spec["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}
    else:
        spec["replicas"] = 2
    more = {"app.kubernetes.io/version": version} if kind == "DaemonSet" else {"app.kubernetes.io/name": name, "app.kubernetes.io/version": version}
    return {
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace, "labels": {**labels, **more}}, "spec": spec,
    }
