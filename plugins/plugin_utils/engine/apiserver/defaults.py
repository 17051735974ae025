# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server fills in when a client leaves it out.

Source: Kubernetes pkg/apis/*/v1/defaults.go.
"""
from __future__ import annotations

import base64
import copy
import typing as t

Object = dict[str, t.Any]

RBAC = "rbac.authorization.k8s.io"


def set_defaults(type_name: str, obj: Object) -> None:
    """Fill in the defaults of a built-in kind, in place."""
    plain = _PLAIN.get(type_name)
    if plain is not None:
        _fill(obj, plain)
    special = _SPECIAL.get(type_name)
    if special is not None:
        special(obj)


def _fill(obj: Object, defaults: Object) -> None:
    for key, value in defaults.items():
        if key not in obj:
            obj[key] = copy.deepcopy(value)
        elif isinstance(value, dict) and value and isinstance(obj[key], dict):
            _fill(obj[key], value)


_ROLLING: Object = {"type": "RollingUpdate"}
_PLAIN: dict[str, Object] = {
    "apps.v1.Deployment": {"spec": {"replicas": 1, "strategy": _ROLLING, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}},
    "apps.v1.ReplicaSet": {"spec": {"replicas": 1}},
    "apps.v1.DaemonSet": {"spec": {"updateStrategy": _ROLLING, "revisionHistoryLimit": 10}},
    "apps.v1.StatefulSet": {"spec": {
        "replicas": 1, "podManagementPolicy": "OrderedReady", "updateStrategy": _ROLLING, "revisionHistoryLimit": 10,
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"}}},
    "batch.v1.Job": {"spec": {"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False,
                              "podReplacementPolicy": "TerminatingOrFailed"}},
    "core.v1.Service": {"spec": {"type": "ClusterIP", "sessionAffinity": "None"}},
    "core.v1.Secret": {"type": "Opaque"},
    "core.v1.Namespace": {"spec": {}},
    "core.v1.PersistentVolumeClaim": {"spec": {"volumeMode": "Filesystem"}},
    "core.v1.PersistentVolume": {"spec": {"volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Retain"}},
    "core.v1.Event": {"source": {}, "firstTimestamp": None, "lastTimestamp": None, "eventTime": None, "reportingComponent": "", "reportingInstance": ""},
    "events.v1.Event": {"deprecatedSource": {}, "deprecatedFirstTimestamp": None, "deprecatedLastTimestamp": None},
    "storage.v1.StorageClass": {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    "scheduling.v1.PriorityClass": {"preemptionPolicy": "PreemptLowerPriority"},
    "rbac.v1.Role": {"rules": None},
    "rbac.v1.ClusterRole": {"rules": None},
    "apiextensions.v1.CustomResourceDefinition": {"spec": {"conversion": {"strategy": "None"}}},
}

_POD: Object = {"restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "securityContext": {},
                "schedulerName": "default-scheduler"}
_CONTAINER: Object = {"resources": {}, "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
_PROBE: Object = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_VOLUME_MODES = ("configMap", "secret", "projected", "downwardAPI")


def _dicts(value: t.Any) -> list[Object]:
    return [item for item in value or () if isinstance(item, dict)]


def _pod_spec(spec: Object) -> None:
    _fill(spec, _POD)
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in _dicts(spec.get("initContainers")) + _dicts(spec.get("containers")):
        _container(container)
    for volume in _dicts(spec.get("volumes")):
        if volume.keys() == {"name"}:
            volume["emptyDir"] = {}
        for mode in _VOLUME_MODES:
            if isinstance(volume.get(mode), dict):
                volume[mode].setdefault("defaultMode", 420)
        for source in _dicts((volume.get("projected") or {}).get("sources")):
            if isinstance(source.get("serviceAccountToken"), dict):
                source["serviceAccountToken"].setdefault("expirationSeconds", 3600)


def _container(container: Object) -> None:
    _fill(container, _CONTAINER)
    image = container.get("image", "")
    latest = image.endswith(":latest") or ":" not in image.rsplit("/", 1)[-1]
    container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
    limits = container["resources"].get("limits")
    if limits:
        container["resources"]["requests"] = {**limits, **(container["resources"].get("requests") or {})}
    for port in _dicts(container.get("ports")):
        port.setdefault("protocol", "TCP")
    for variable in _dicts(container.get("env")):
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference:
            reference.setdefault("apiVersion", "v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(name), dict):
            _fill(container[name], _PROBE)
            request = container[name].get("httpGet")
            if isinstance(request, dict):
                _fill(request, {"path": "/", "scheme": "HTTP"})


def _pod(obj: Object) -> None:
    spec = obj.get("spec")
    if isinstance(spec, dict):
        _pod_spec(spec)
        spec.setdefault("enableServiceLinks", True)


def _template(holder: Object) -> None:
    template = holder.setdefault("template", {})
    template.setdefault("metadata", {})
    _pod_spec(template.setdefault("spec", {}))


def _workload(obj: Object) -> None:
    spec = obj["spec"]
    _template(spec)
    by_pods: Object = {"partition": 0} if "podManagementPolicy" in spec else {"maxSurge": 0, "maxUnavailable": 1}
    by_share: Object = {"maxUnavailable": "25%", "maxSurge": "25%"}
    for name, parameters in (("strategy", by_share), ("updateStrategy", by_pods)):
        strategy = spec.get(name)
        if isinstance(strategy, dict) and strategy.get("type") == "RollingUpdate":
            _fill(strategy.setdefault("rollingUpdate", {}), parameters)


def _job(obj: Object) -> None:
    _template(obj["spec"])


def _service(obj: Object) -> None:
    spec = obj["spec"]
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    for port in _dicts(spec.get("ports")):
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))


def _secret(obj: Object) -> None:
    text = obj.pop("stringData", None)
    if text:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in text.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def _binding(obj: Object) -> None:
    if isinstance(obj.get("roleRef"), dict):
        obj["roleRef"].setdefault("apiGroup", RBAC)
    for subject in _dicts(obj.get("subjects")):
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", RBAC)


def _definition(obj: Object) -> None:
    names = obj["spec"].setdefault("names", {})
    kind = names.get("kind", "")
    names.setdefault("singular", kind.lower())
    names.setdefault("listKind", kind + "List")


_SPECIAL: dict[str, t.Callable[[Object], None]] = {
    "core.v1.Pod": _pod, "core.v1.Service": _service, "core.v1.Secret": _secret,
    "apps.v1.Deployment": _workload, "apps.v1.ReplicaSet": _workload, "apps.v1.DaemonSet": _workload, "apps.v1.StatefulSet": _workload,
    "core.v1.ReplicationController": lambda obj: _template(obj.setdefault("spec", {})),
    "batch.v1.Job": _job, "rbac.v1.RoleBinding": _binding, "rbac.v1.ClusterRoleBinding": _binding,
    "apiextensions.v1.CustomResourceDefinition": _definition,
}
