# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The built-in kinds, as data, in the order in which the real server lists their groups.

Source: discovery of kube-apiserver 1.36; registry strategies (pkg/registry/*/*/strategy.go) for the switches.
"""
from __future__ import annotations

import typing as t

from .kinds import ALL_VERBS, Kind, ScalePaths, Subresource

STATUS = Subresource("status")
SCALE = Subresource("scale", kind="Scale", group="autoscaling", version="v1")
APPS_SCALE = ScalePaths(label_selector=".spec.selector")
_PROXY_VERBS = ("create", "delete", "get", "patch", "update")
_STREAM_VERBS = ("create", "get")
_CREATE = ("create",)


def _kind(group: str, version: str, kind: str, plural: str, namespaced: bool, **more: t.Any) -> Kind:
    more.setdefault("singular", kind.lower())
    more.setdefault("type_name", f"{group.removesuffix('.k8s.io') or 'core'}.{version}.{kind}")
    return Kind(group=group, version=version, kind=kind, plural=plural, namespaced=namespaced, **more)


def _core() -> t.Iterator[Kind]:
    def core(kind: str, plural: str, namespaced: bool = True, *short: str, **more: t.Any) -> Kind:
        return _kind("", "v1", kind, plural, namespaced, short_names=short, **more)

    yield core("Binding", "bindings", verbs=_CREATE, stored=False)
    yield core("ConfigMap", "configmaps", True, "cm")
    yield core("Endpoints", "endpoints", True, "ep", create_on_update=True)
    yield core("Event", "events", True, "ev", create_on_update=True, selectable_fields=(
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
        "reason", "reportingComponent", "source", "type"))
    yield core("LimitRange", "limitranges", True, "limits", create_on_update=True)
    yield core(
        "Namespace", "namespaces", False, "ns", verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
        subresource_list=(Subresource("finalize", ("update",)), STATUS), selectable_fields=("status.phase",))
    yield core("Node", "nodes", False, "no", selectable_fields=("spec.unschedulable",), subresource_list=(
        Subresource("proxy", _PROXY_VERBS, "NodeProxyOptions"), STATUS))
    yield core("PersistentVolumeClaim", "persistentvolumeclaims", True, "pvc", subresource_list=(STATUS,))
    yield core("PersistentVolume", "persistentvolumes", False, "pv", subresource_list=(STATUS,))
    yield core("Pod", "pods", True, "po", categories=("all",), generation=True, selectable_fields=(
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName"), subresource_list=(
        Subresource("attach", _STREAM_VERBS, "PodAttachOptions"), Subresource("binding", _CREATE, "Binding"),
        Subresource("ephemeralcontainers"), Subresource("eviction", _CREATE, "Eviction", "policy", "v1"),
        Subresource("exec", _STREAM_VERBS, "PodExecOptions"), Subresource("log", ("get",)),
        Subresource("portforward", _STREAM_VERBS, "PodPortForwardOptions"), Subresource("proxy", _PROXY_VERBS, "PodProxyOptions"),
        Subresource("resize"), STATUS))
    yield core("PodTemplate", "podtemplates", generation=True)
    yield core("ReplicationController", "replicationcontrollers", True, "rc", categories=("all",), generation=True,
               scale=APPS_SCALE, subresource_list=(SCALE, STATUS), selectable_fields=("status.replicas",))
    yield core("ResourceQuota", "resourcequotas", True, "quota", subresource_list=(STATUS,))
    yield core("Secret", "secrets", selectable_fields=("type",))
    yield core("ServiceAccount", "serviceaccounts", True, "sa", subresource_list=(
        Subresource("token", _CREATE, "TokenRequest", "authentication.k8s.io", "v1"),))
    yield core("Service", "services", True, "svc", categories=("all",), create_on_update=True, subresource_list=(
        Subresource("proxy", _PROXY_VERBS, "ServiceProxyOptions"), STATUS), selectable_fields=("spec.clusterIP", "spec.type"))


def _apps() -> t.Iterator[Kind]:
    def app(kind: str, plural: str, *short: str, **more: t.Any) -> Kind:
        return _kind("apps", "v1", kind, plural, True, short_names=short, generation=True, **{"categories": ("all",), **more})

    scaled: dict[str, t.Any] = {"subresource_list": (SCALE, STATUS), "scale": APPS_SCALE}
    yield _kind("apps", "v1", "ControllerRevision", "controllerrevisions", True)
    yield app("DaemonSet", "daemonsets", "ds", subresource_list=(STATUS,))
    yield app("Deployment", "deployments", "deploy", **scaled)
    yield app("ReplicaSet", "replicasets", "rs", **scaled, selectable_fields=("status.replicas",))
    yield app("StatefulSet", "statefulsets", "sts", **scaled)


def _reviews() -> t.Iterator[Kind]:
    def review(group: str, kind: str, namespaced: bool = False) -> Kind:
        return _kind(group, "v1", kind, kind.lower() + "s", namespaced, verbs=_CREATE, stored=False)

    yield review("authentication.k8s.io", "SelfSubjectReview")
    yield review("authentication.k8s.io", "TokenReview")
    yield review("authorization.k8s.io", "LocalSubjectAccessReview", True)
    yield review("authorization.k8s.io", "SelfSubjectAccessReview")
    yield review("authorization.k8s.io", "SelfSubjectRulesReview")
    yield review("authorization.k8s.io", "SubjectAccessReview")


def builtin_kinds() -> t.Iterator[Kind]:
    """Every built-in kind that is served."""
    yield from _core()
    yield _kind("apiregistration.k8s.io", "v1", "APIService", "apiservices", False, categories=("api-extensions",),
                unconditional_update=False, subresource_list=(STATUS,))
    yield from _apps()
    yield from _reviews()
    yield _kind("batch", "v1", "Job", "jobs", True, categories=("all",), generation=True, subresource_list=(STATUS,),
                selectable_fields=("status.successful",))
    yield _kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, short_names=("pdb",), generation=True,
                unconditional_update=False, subresource_list=(STATUS,))
    for kind, plural, namespaced in (("ClusterRoleBinding", "clusterrolebindings", False), ("ClusterRole", "clusterroles", False),
                                     ("RoleBinding", "rolebindings", True), ("Role", "roles", True)):
        yield _kind("rbac.authorization.k8s.io", "v1", kind, plural, namespaced, create_on_update=True, type_name=f"rbac.v1.{kind}")
    yield _kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", False, short_names=("sc",))
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        yield _kind("admissionregistration.k8s.io", "v1", kind, f"{kind.lower()}s", False, categories=("api-extensions",), generation=True,
                    unconditional_update=False)
    yield _kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False, short_names=("crd", "crds"),
                categories=("api-extensions",), generation=True, unconditional_update=False, subresource_list=(STATUS,))
    yield _kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False, short_names=("pc",), generation=True)
    yield _kind("coordination.k8s.io", "v1", "Lease", "leases", True, create_on_update=True, unconditional_update=False)
