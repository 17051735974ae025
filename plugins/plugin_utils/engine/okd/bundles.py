# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundles of OKD Virtualization, and of a second operator, as a catalogue offers them.

Source: HCO deploy/olm-catalog, v1.14.0 and v1.15.0; names in OpenShift from openshift-docs _attributes.
"""
from __future__ import annotations

import dataclasses

from ..interface import Object
from ..kubevirt import install_strategy
from ..kubevirt.crds import definitions
from . import crds

_RBAC = "rbac.authorization.k8s.io"
_DEPLOYMENTS = (
    "hco-operator", "hco-webhook", "hyperconverged-cluster-cli-download", "cluster-network-addons-operator", "virt-operator", "ssp-operator",
    "cdi-operator", "hostpath-provisioner-operator", "aaq-operator",
)
_ACCOUNTS = {"hco-operator": "hyperconverged-cluster-operator", "hco-webhook": "hyperconverged-cluster-operator", "virt-operator": "kubevirt-operator"}


@dataclasses.dataclass(frozen=True)
class Release:
    """One version of OKD Virtualization under the names of a flavour."""

    csv: str
    version: str
    line: str
    """The HyperConverged release: 1.14 or 1.15."""
    kubevirt: str
    replaces: str = ""
    skips: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Flavour:
    """The names that OKD and OpenShift give to the same things."""

    name: str
    namespace: str
    package: str
    catalog: str
    display: str
    releases: tuple[Release, ...]

    def release(self, platform: str) -> Release:
        """The release for "4.18" or "4.19"."""
        return next(one for one in self.releases if one.line == {"4.18": "1.14", "4.19": "1.15"}[platform])


_PREFIX = "kubevirt-hyperconverged-operator.v"


def _okd() -> Flavour:
    older = tuple(f"{_PREFIX}{version}" for version in ("1.14.0", "1.15.0", "1.15.1", "1.15.2"))
    return Flavour(
        "okd", "kubevirt-hyperconverged", "community-kubevirt-hyperconverged", "community-operators",
        "KubeVirt HyperConverged Cluster Operator", (
            Release(f"{_PREFIX}1.14.1", "1.14.1", "1.14", "v1.4.1", f"{_PREFIX}1.14.0"),
            Release(f"{_PREFIX}1.15.3", "1.15.3", "1.15", "v1.5.3", f"{_PREFIX}1.14.1", older),
        ),
    )


def _openshift() -> Flavour:
    return Flavour(
        "openshift", "openshift-cnv", "kubevirt-hyperconverged", "redhat-operators", "OpenShift Virtualization", (
            Release(f"{_PREFIX}4.18.13", "4.18.13", "1.14", "v1.4.1", f"{_PREFIX}4.18.11"),
            Release(f"{_PREFIX}4.19.6", "4.19.6", "1.15", "v1.5.3", f"{_PREFIX}4.18.13", (f"{_PREFIX}4.19.0", f"{_PREFIX}4.19.3")),
        ),
    )


FLAVOURS = {flavour.name: flavour for flavour in (_okd(), _openshift())}


def package(flavour: Flavour) -> Object:
    """The package of a catalogue, in the form of olm.catalog."""
    bundles = [{"csv": _csv(flavour, release), "objects": objects(flavour, release)} for release in flavour.releases]
    return {"name": flavour.package, "channel": "stable", "bundles": bundles}


def objects(flavour: Flavour, release: Release) -> list[Object]:
    """What OLM applies from a bundle besides the ClusterServiceVersion: kinds, accounts, the operators' own roles."""
    kubevirts = next(one for one in definitions(release.kubevirt) if one["metadata"]["name"] == "kubevirts.kubevirt.io")
    operator, hco = "kubevirt-operator", "hyperconverged-cluster-operator"
    role = install_strategy.operator_cluster_role(release.kubevirt)
    return [
        kubevirts,
        crds.hyperconverged(release.line),
        *({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}} for name in _accounts()),
        role,
        _binding("ClusterRoleBinding", operator, operator, flavour.namespace),
        install_strategy.operator_role(release.kubevirt, flavour.namespace),
        _binding("RoleBinding", f"{operator}-rolebinding", operator, flavour.namespace),
        {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": hco}, "rules": _HCO_RULES},
        _binding("ClusterRoleBinding", hco, hco, flavour.namespace),
    ]


def _accounts() -> list[str]:
    """The ServiceAccounts that the operators run as."""
    return list(dict.fromkeys(_ACCOUNTS.get(name, name) for name in _DEPLOYMENTS))


def _rule(groups: str, resources: str, verbs: str) -> Object:
    return {"apiGroups": groups.split(","), "resources": resources.split(","), "verbs": verbs.split(",")}


_HCO_RULES = [
    _rule("hco.kubevirt.io", "hyperconvergeds,hyperconvergeds/finalizers,hyperconvergeds/status", "get,list,watch,update"),
    _rule("kubevirt.io", "kubevirts,kubevirts/finalizers", "get,list,watch,patch,update,create,delete"),
    _rule("operators.coreos.com", "operatorconditions", "get,list,watch,update,patch"),
    _rule("apps", "deployments,replicasets", "get,list,watch"),
    _rule("", "events", "get,list,watch,create,patch"),
    _rule("", "nodes", "get,list,watch"),
]


def _binding(kind: str, name: str, account: str, namespace: str) -> Object:
    metadata: Object = {"name": name}
    if kind == "RoleBinding":
        metadata["namespace"] = namespace
    return {
        "apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata,
        "roleRef": {"apiGroup": _RBAC, "kind": kind.removesuffix("Binding"), "name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }


def _csv(flavour: Flavour, release: Release) -> Object:
    spec: Object = {
        "displayName": flavour.display, "version": release.version, "replaces": release.replaces,
        "installModes": [
            {"type": mode, "supported": mode == "AllNamespaces"} for mode in ("OwnNamespace", "SingleNamespace", "MultiNamespace", "AllNamespaces")
        ],
        "customresourcedefinitions": {"owned": [{"name": "hyperconvergeds.hco.kubevirt.io", "kind": "HyperConverged", "version": "v1beta1"}]},
        "install": {"strategy": "deployment", "spec": {"deployments": [
            {"name": name, "spec": _deployment(name, release)} for name in _DEPLOYMENTS
        ]}},
    }
    if release.skips:
        spec["skips"] = list(release.skips)
    return {
        "apiVersion": "operators.coreos.com/v1alpha1", "kind": "ClusterServiceVersion", "metadata": {"name": release.csv}, "spec": spec,
    }


def _deployment(name: str, release: Release) -> Object:
    environment = [
        {"name": "HCO_KV_IO_VERSION", "value": release.version}, {"name": "KUBEVIRT_VERSION", "value": release.kubevirt},
    ]
    labels = {"name": name}
    registry = install_strategy.REGISTRY
    image = f"{registry}/{name}:{release.kubevirt if name == 'virt-operator' else release.version}"
    return {
        "replicas": 2 if name == "virt-operator" else 1, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {
            "serviceAccountName": _ACCOUNTS.get(name, name), "containers": [{"name": name, "image": image, "env": environment}],
        }},
    }


def nmstate_package() -> Object:
    """A second operator in the same catalogue, with an update of its own."""
    bundles = []
    for version, before in (("4.18.2", "4.18.1"), ("4.19.1", "4.18.2")):
        name = f"kubernetes-nmstate-operator.{version}"
        labels = {"name": "nmstate-operator"}
        container = {"name": "nmstate-operator", "image": f"registry.invalid/nmstate:{version}"}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {
            "displayName": "Kubernetes NMState Operator", "version": version, "replaces": f"kubernetes-nmstate-operator.{before}",
            "install": {"strategy": "deployment", "spec": {"deployments": [
                {"name": "nmstate-operator", "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}},
            ]}},
        }
        csv = {"apiVersion": "operators.coreos.com/v1alpha1", "kind": "ClusterServiceVersion", "metadata": {"name": name}, "spec": spec}
        bundles.append({"csv": csv, "objects": []})
    return {"name": "kubernetes-nmstate-operator", "channel": "stable", "bundles": bundles}
