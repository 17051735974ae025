# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles and bindings that every cluster has, as data.

A rule is (API groups, resources, verbs), each a string of words with "core" for the core group; a rule with one word that begins
with a slash lists paths.
Source: Kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy/{policy,controller_policy}.go.
"""
from __future__ import annotations

import typing as t

Object = dict[str, t.Any]
_Rules = tuple[tuple[str, str, str], ...]

_READ = "get list watch"
_WRITE = "create delete deletecollection patch update"
_ALL = "create delete deletecollection get list patch update watch"
_EVENTS = ("core events.k8s.io", "events", "create patch update")
_WORKLOADS = "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale"
_WORKLOADS_READ = (
    "daemonsets daemonsets/status deployments deployments/scale deployments/status {}"
    "replicasets replicasets/scale replicasets/status {}"
)

CLUSTER_ROLES: dict[str, _Rules] = {
    "cluster-admin": (("*", "*", "*"), ("", "*", "*")),
    "system:aggregate-to-admin": (
        ("authorization.k8s.io", "localsubjectaccessreviews", "create"),
        ("rbac.authorization.k8s.io", "rolebindings roles", _ALL),
    ),
    "system:aggregate-to-edit": (
        ("core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", _READ),
        ("core", "serviceaccounts", "impersonate"),
        ("core", "pods pods/attach pods/exec pods/portforward pods/proxy", _WRITE),
        ("core", "pods/eviction", "create"),
        (
            "core",
            "configmaps persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts "
            "services services/proxy",
            _WRITE,
        ),
        ("core", "serviceaccounts/token", "create"),
        ("core events.k8s.io", "events", _WRITE),
        ("apps", _WORKLOADS + " statefulsets statefulsets/scale", _WRITE),
        ("autoscaling", "horizontalpodautoscalers", _WRITE),
        ("batch", "cronjobs jobs", _WRITE),
        (
            "extensions",
            "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets replicasets/scale "
            "replicationcontrollers/scale",
            _WRITE,
        ),
        ("policy", "poddisruptionbudgets", _WRITE),
        ("networking.k8s.io", "ingresses networkpolicies", _WRITE),
        ("coordination.k8s.io", "leases", _ALL),
        ("resource.k8s.io", "resourceclaims resourceclaimtemplates", _WRITE),
    ),
    "system:aggregate-to-view": (
        (
            "core",
            "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
            "replicationcontrollers/scale serviceaccounts services services/status",
            _READ,
        ),
        (
            "core",
            "bindings limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status",
            _READ,
        ),
        ("core", "namespaces", _READ),
        ("core events.k8s.io", "events", _READ),
        ("discovery.k8s.io", "endpointslices", _READ),
        ("apps", "controllerrevisions " + _WORKLOADS_READ.format("", "statefulsets statefulsets/scale statefulsets/status"), _READ),
        ("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", _READ),
        ("batch", "cronjobs cronjobs/status jobs jobs/status", _READ),
        ("extensions", _WORKLOADS_READ.format("ingresses ingresses/status networkpolicies ", "replicationcontrollers/scale"), _READ),
        ("policy", "poddisruptionbudgets poddisruptionbudgets/status", _READ),
        ("networking.k8s.io", "ingresses ingresses/status networkpolicies", _READ),
        ("resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates", _READ),
    ),
    "system:auth-delegator": (
        ("authentication.k8s.io", "tokenreviews", "create"),
        ("authorization.k8s.io", "subjectaccessreviews", "create"),
    ),
    "system:basic-user": (
        ("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create"),
        ("authentication.k8s.io", "selfsubjectreviews", "create"),
    ),
    "system:discovery": (
        ("", "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/", "get"),
    ),
    "system:public-info-viewer": (("", "/healthz /livez /readyz /version /version/", "get"),),
    "system:monitoring": (
        ("", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*", "get"),
    ),
    "system:service-account-issuer-discovery": (("", "/.well-known/openid-configuration /openid/v1/jwks", "get"),),
    "system:kube-controller-manager": (
        _EVENTS,
        ("coordination.k8s.io", "leases", "create get update"),
        ("core", "secrets serviceaccounts", "create"),
        ("core", "secrets", "delete"),
        ("core", "configmaps namespaces secrets serviceaccounts", "get"),
        ("core", "secrets serviceaccounts", "update"),
        ("authentication.k8s.io", "tokenreviews", "create"),
        ("authorization.k8s.io", "subjectaccessreviews", "create"),
        ("*", "*", "list watch"),
        ("core", "serviceaccounts/token", "create"),
    ),
    "system:kube-scheduler": (
        _EVENTS,
        ("coordination.k8s.io", "leases", "create get update"),
        ("core", "nodes", _READ),
        ("core", "pods", "delete get list watch"),
        ("core", "bindings pods/binding", "create"),
        ("core", "pods/status", "patch update"),
        ("core", "replicationcontrollers services", _READ),
        ("apps extensions", "replicasets", _READ),
        ("apps", "statefulsets", _READ),
        ("policy", "poddisruptionbudgets", _READ),
        ("core", "persistentvolumeclaims persistentvolumes", _READ),
        ("authentication.k8s.io", "tokenreviews", "create"),
        ("authorization.k8s.io", "subjectaccessreviews", "create"),
        ("storage.k8s.io", "csinodes", _READ),
        ("core", "namespaces", _READ),
        ("storage.k8s.io", "csidrivers csistoragecapacities", _READ),
    ),
    "system:node": (
        ("authentication.k8s.io", "tokenreviews", "create"),
        ("authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews", "create"),
        ("core", "services", _READ),
        ("core", "nodes", "create get list watch"),
        ("core", "nodes/status", "patch update"),
        ("core", "nodes", "patch update"),
        ("core", "events", "create patch update"),
        ("core", "pods", _READ),
        ("core", "pods", "create delete"),
        ("core", "pods/status", "patch update"),
        ("core", "pods/eviction", "create"),
        ("core", "configmaps secrets", _READ),
        ("core", "persistentvolumeclaims persistentvolumes", "get"),
        ("core", "endpoints", "get"),
        ("coordination.k8s.io", "leases", "create delete get patch update"),
        ("core", "serviceaccounts/token", "create"),
    ),
    "system:controller:clusterrole-aggregation-controller": (
        ("rbac.authorization.k8s.io", "clusterroles", "escalate get list patch update watch"),
    ),
    "system:controller:generic-garbage-collector": (("*", "*", "delete get list patch update watch"), _EVENTS),
    "system:controller:namespace-controller": (
        ("core", "namespaces", "delete get list watch"),
        ("core", "namespaces/finalize namespaces/status", "update"),
        ("*", "*", "delete deletecollection get list"),
    ),
    "system:controller:root-ca-cert-publisher": (("core", "configmaps", "create update"), _EVENTS),
    "system:controller:service-account-controller": (("core", "serviceaccounts", "create"), _EVENTS),
    "system:controller:disruption-controller": (
        ("apps extensions", "deployments replicasets", _READ),
        ("apps", "statefulsets", _READ),
        ("core", "replicationcontrollers", _READ),
        ("policy", "poddisruptionbudgets", _READ),
        ("policy", "poddisruptionbudgets/status", "update"),
        ("core", "pods/status", "patch update"),
        ("*", "*/scale", "get"),
        _EVENTS,
    ),
    "system:controller:node-controller": (
        ("core", "nodes", "delete get list patch update"),
        ("core", "nodes/status", "patch update"),
        ("core", "pods/status", "patch update"),
        ("core", "pods", "delete get list"),
        _EVENTS,
    ),
    "system:controller:deployment-controller": (
        ("apps extensions", "deployments", "get list update watch"),
        ("apps extensions", "deployments/status", "update"),
        ("apps extensions", "deployments/finalizers", "update"),
        ("apps extensions", "replicasets", "create delete get list patch update watch"),
        ("core", "pods", "get list update watch"),
        _EVENTS,
    ),
    "system:controller:replicaset-controller": (
        ("apps extensions", "replicasets", "get list update watch"),
        ("apps extensions", "replicasets/status", "update"),
        ("apps extensions", "replicasets/finalizers", "update"),
        ("core", "pods", "create delete list patch watch"),
        _EVENTS,
    ),
    "system:controller:daemon-set-controller": (
        ("apps extensions", "daemonsets", _READ),
        ("apps extensions", "daemonsets/status", "update"),
        ("apps extensions", "daemonsets/finalizers", "update"),
        ("core", "nodes", "list watch"),
        ("core", "pods", "create delete list patch watch"),
        ("core", "pods/binding", "create"),
        ("apps", "controllerrevisions", "create delete get list patch update watch"),
        _EVENTS,
    ),
    "system:controller:statefulset-controller": (
        ("core", "pods", "list watch"),
        ("apps", "statefulsets", _READ),
        ("apps", "statefulsets/status", "update"),
        ("apps", "statefulsets/finalizers", "update"),
        ("core", "pods", "create delete get patch update"),
        ("apps", "controllerrevisions", "create delete get list patch update watch"),
        ("core", "persistentvolumeclaims", "create get"),
        _EVENTS,
    ),
    "system:controller:pod-garbage-collector": (
        ("core", "pods", "delete list watch"),
        ("core", "nodes", "get list"),
        ("core", "pods/status", "patch"),
    ),
}

_AGGREGATED = {"admin": (), "edit": ("admin",), "view": ("edit",)}
_AGGREGATE_LABELS = {f"system:aggregate-to-{name}": (name,) for name in _AGGREGATED}

# binding of the same name as the role → (kind, name) of its subjects
_BINDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "cluster-admin": (("Group", "system:masters"),),
    "system:basic-user": (("Group", "system:authenticated"),),
    "system:discovery": (("Group", "system:authenticated"),),
    "system:public-info-viewer": (("Group", "system:authenticated"), ("Group", "system:unauthenticated")),
    "system:monitoring": (("Group", "system:monitoring"),),
    "system:service-account-issuer-discovery": (("Group", "system:serviceaccounts"),),
    "system:kube-controller-manager": (("User", "system:kube-controller-manager"),),
    "system:kube-scheduler": (("User", "system:kube-scheduler"),),
    # Stands in for the node authorizer, which gives a node what concerns it.
    "system:node": (("Group", "system:nodes"),),
}
_CONTROLLER = "system:controller:"


def controller_service_accounts() -> tuple[str, ...]:
    """Names, in kube-system, of the service accounts that the bootstrap bindings mean."""
    return tuple(name.removeprefix(_CONTROLLER) for name in CLUSTER_ROLES if name.startswith(_CONTROLLER))


def cluster_roles() -> t.Iterator[Object]:
    for name, rules in CLUSTER_ROLES.items():
        yield {**_head("ClusterRole", name, _AGGREGATE_LABELS.get(name, ())), "rules": [_rule(*rule) for rule in rules]}
    for name, onward in _AGGREGATED.items():
        selector = {"matchLabels": {f"rbac.authorization.k8s.io/aggregate-to-{name}": "true"}}
        yield {**_head("ClusterRole", name, onward), "aggregationRule": {"clusterRoleSelectors": [selector]}, "rules": None}


def cluster_role_bindings() -> t.Iterator[Object]:
    for name, subjects in _BINDINGS.items():
        listed = [{"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": subject} for kind, subject in subjects]
        yield _binding(name, listed)
    for name in controller_service_accounts():
        yield _binding(_CONTROLLER + name, [{"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}])


def _binding(name: str, subjects: list[Object]) -> Object:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    return {**_head("ClusterRoleBinding", name, ()), "roleRef": reference, "subjects": subjects}


def _head(kind: str, name: str, aggregate_to: tuple[str, ...]) -> Object:
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    labels.update({f"rbac.authorization.k8s.io/aggregate-to-{target}": "true" for target in aggregate_to})
    annotations = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
    return {
        "kind": kind,
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": name, "annotations": annotations, "labels": labels},
    }


def _rule(groups: str, resources: str, verbs: str) -> Object:
    if not groups:
        return {"verbs": verbs.split(), "nonResourceURLs": resources.split()}
    listed = ["" if group == "core" else group for group in groups.split()]
    return {"verbs": verbs.split(), "apiGroups": listed, "resources": resources.split()}
