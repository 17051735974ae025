# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The columns of built-in kinds and what stands in them. Every kind's first column, Name, is the same and not listed here.

Source: Kubernetes pkg/printers/internalversion/printers.go.
"""
from __future__ import annotations

import dataclasses
import typing as t

from ..kinds import Column
from .selectors import from_label_selector_object

Object = dict[str, t.Any]
Ago = t.Callable[[str | None], str]
Cells = t.Callable[[Object, Ago], list[t.Any]]

NONE = "<none>"
AGE_TEXT = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in "
    "happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\n"
    "Populated by the system. Read-only. Null for lists. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)
_ROLE = "node-role.kubernetes.io/"


def _not_done(obj: Object) -> str:
    return ""


@dataclasses.dataclass(frozen=True)
class Printer:
    columns: tuple[Column, ...]
    cells: Cells
    done: t.Callable[[Object], str] = _not_done
    """Why `kubectl get` may show the row as completed, or ""."""


def _columns(text: str) -> tuple[Column, ...]:
    """`Ready Restarts:integer Age +Node` as columns: `_` is a space, + marks those of the wide view."""
    found = []
    for word in text.split():
        name, dummy, sort = word.lstrip("+").partition(":")
        found.append(Column(name.replace("_", " "), sort or "string", "", AGE_TEXT if name == "Age" else "", int(word.startswith("+"))))
    return tuple(found)


def _created(obj: Object) -> str | None:
    return t.cast("str | None", obj["metadata"].get("creationTimestamp"))


def _spec(obj: Object) -> Object:
    return obj.get("spec") or {}


def _status(obj: Object) -> Object:
    return obj.get("status") or {}


def _pairs(labels: t.Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels)) if labels else NONE


def _selector(selector: Object | None) -> str:
    if selector is None:
        return NONE
    try:
        return str(from_label_selector_object(selector)) or NONE
    except ValueError:
        return "<error>"


def _containers(template: Object) -> tuple[str, str]:
    containers = _spec(template).get("containers") or []
    return ",".join(one.get("name", "") for one in containers), ",".join(one.get("image", "") for one in containers)


def _workload(obj: Object) -> list[str]:
    spec = _spec(obj)
    return [*_containers(spec.get("template") or {}), _selector(spec.get("selector"))]


# -- pods and nodes


def _pod_reason(pod: Object) -> tuple[str, int, int, str | None]:
    """What `kubectl get` calls a pod's status, how many containers are ready, how often they restarted and when last."""
    status = _status(pod)
    reason = status.get("reason") or status.get("phase") or ""
    ready = restarts = 0
    last: str | None = None
    initializing = False
    inits = status.get("initContainerStatuses") or []
    for index, one in enumerate(inits):
        state = one.get("state") or {}
        restarts += one.get("restartCount", 0)
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated and not terminated.get("exitCode", 0):
            continue
        if terminated:
            reason = "Init:" + (terminated.get("reason") or f"ExitCode:{terminated.get('exitCode')}")
        elif waiting.get("reason") not in (None, "", "PodInitializing"):
            reason = "Init:" + waiting["reason"]
        else:
            reason = f"Init:{index}/{len(_spec(pod).get('initContainers') or inits)}"
        initializing = True
        break
    running = False
    for one in reversed(() if initializing else status.get("containerStatuses") or ()):
        state, before = one.get("state") or {}, (one.get("lastState") or {}).get("terminated") or {}
        restarts += one.get("restartCount", 0)
        last = max(filter(None, (last, before.get("finishedAt"))), default=None)
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif terminated:
            reason = terminated.get("reason") or f"ExitCode:{terminated.get('exitCode', 0)}"
        elif one.get("ready") and "running" in state:
            running, ready = True, ready + 1
    if reason == "Completed" and running:
        is_ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or ())
        reason = "Running" if is_ready else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        reason = "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return reason, ready, restarts, last


def _pod(pod: Object, ago: Ago) -> list[t.Any]:
    spec, status = _spec(pod), _status(pod)
    reason, ready, restarts, last = _pod_reason(pod)
    shown = f"{restarts} ({ago(last)} ago)" if restarts and last else str(restarts)
    gates = spec.get("readinessGates") or []
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
    met = sum(conditions.get(gate.get("conditionType")) == "True" for gate in gates)
    return [f"{ready}/{len(spec.get('containers') or ())}", reason, shown, ago(_created(pod)), status.get("podIP") or NONE,
            spec.get("nodeName") or NONE, status.get("nominatedNodeName") or NONE, f"{met}/{len(gates)}" if gates else NONE]


def _pod_done(pod: Object) -> str:
    phase = _status(pod).get("phase")
    return t.cast(str, phase) if phase in ("Succeeded", "Failed") else ""


def _address(node: Object, sort: str) -> str:
    return next((one["address"] for one in _status(node).get("addresses") or () if one.get("type") == sort), NONE)


def _node(node: Object, ago: Ago) -> list[t.Any]:
    ready = next((one for one in _status(node).get("conditions") or () if one.get("type") == "Ready"), None)
    state = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    if _spec(node).get("unschedulable"):
        state += ",SchedulingDisabled"
    labels = node["metadata"].get("labels") or {}
    roles = {key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE) and key != _ROLE}
    roles |= {labels["kubernetes.io/role"]} if labels.get("kubernetes.io/role") else set()
    info = _status(node).get("nodeInfo") or {}
    kernel = info.get("kernelVersion") or "<unknown>"
    if info.get("architecture") and kernel != "<unknown>":
        kernel += f" ({info['architecture']})"
    return [state, ",".join(sorted(roles)) or NONE, ago(_created(node)), info.get("kubeletVersion", ""), _address(node, "InternalIP"),
            _address(node, "ExternalIP"), info.get("osImage") or "<unknown>", kernel, info.get("containerRuntimeVersion") or "<unknown>"]


# -- workloads


def _deployment(obj: Object, ago: Ago) -> list[t.Any]:
    spec, status = _spec(obj), _status(obj)
    return [f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}", status.get("updatedReplicas", 0), status.get("availableReplicas", 0),
            ago(_created(obj)), *_workload(obj)]


def _replica_set(obj: Object, ago: Ago) -> list[t.Any]:
    status = _status(obj)
    return [_spec(obj).get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0), ago(_created(obj)), *_workload(obj)]


def _stateful_set(obj: Object, ago: Ago) -> list[t.Any]:
    names, images, _selected = _workload(obj)
    return [f"{_status(obj).get('readyReplicas', 0)}/{_spec(obj).get('replicas', 0)}", ago(_created(obj)), names, images]


def _daemon_set(obj: Object, ago: Ago) -> list[t.Any]:
    status = _status(obj)
    counts = [status.get(name, 0) for name in
              ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable")]
    nodes = _spec(_spec(obj).get("template") or {}).get("nodeSelector")
    return [*counts, _pairs(nodes), ago(_created(obj)), *_workload(obj)]


def _job(obj: Object, ago: Ago) -> list[t.Any]:
    spec, status = _spec(obj), _status(obj)
    conditions = {one.get("type") for one in status.get("conditions") or () if one.get("status") == "True"}
    state = next((name for name in ("Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet") if name in conditions), "Running")
    if obj["metadata"].get("deletionTimestamp"):
        state = "Terminating"
    return [state, f"{status.get('succeeded', 0)}/{spec.get('completions', 1)}", ago(status["startTime"]) if status.get("startTime") else "",
            ago(_created(obj)), *_workload(obj)]


def _disruption_budget(obj: Object, ago: Ago) -> list[t.Any]:
    spec = _spec(obj)
    least, most = (str(spec[name]) if spec.get(name) is not None else "N/A" for name in ("minAvailable", "maxUnavailable"))
    return [least, most, _status(obj).get("disruptionsAllowed", 0), ago(_created(obj))]


# -- services and storage


def _ports(ports: t.Iterable[Object]) -> str:
    shown = []
    for port in ports:
        number = f"{port.get('port')}:{port['nodePort']}" if port.get("nodePort") else str(port.get("port"))
        shown.append(f"{number}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or NONE


def _external(spec: Object, status: Object) -> str:
    listed = ",".join(spec.get("externalIPs") or ())
    if spec.get("type") == "LoadBalancer":
        found = [one.get("ip") or one.get("hostname", "") for one in (status.get("loadBalancer") or {}).get("ingress") or ()]
        return ",".join(filter(None, (*found, listed))) or "<pending>"
    return spec.get("externalName", "") if spec.get("type") == "ExternalName" else listed or NONE


def _service(obj: Object, ago: Ago) -> list[t.Any]:
    spec = _spec(obj)
    return [spec.get("type", ""), spec.get("clusterIP") or NONE, _external(spec, _status(obj)), _ports(spec.get("ports") or ()),
            ago(_created(obj)), _pairs(spec.get("selector"))]


def _some(values: list[str], most: int = 3) -> str:
    if len(values) > most:
        return f"{','.join(values[:most])} + {len(values) - most} more..."
    return ",".join(values) or NONE


def _endpoints(obj: Object, ago: Ago) -> list[t.Any]:
    found = [
        f"{address.get('ip')}:{port.get('port')}"
        for subset in obj.get("subsets") or () for address in subset.get("addresses") or () for port in subset.get("ports") or ()
    ]
    return [_some(found), ago(_created(obj))]


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(modes: t.Iterable[str]) -> str:
    return ",".join(_MODES.get(mode, mode) for mode in dict.fromkeys(modes))


def _claim(obj: Object, ago: Ago) -> list[t.Any]:
    spec, status = _spec(obj), _status(obj)
    bound = bool(spec.get("volumeName"))
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    capacity = (status.get("capacity") or {}).get("storage", "") if bound else ""
    modes = _modes(status.get("accessModes") or ()) if bound else ""
    return [phase, spec.get("volumeName", ""), capacity, modes, spec.get("storageClassName", ""), spec.get("volumeAttributesClassName") or "<unset>",
            ago(_created(obj)), spec.get("volumeMode") or "<unset>"]


def _volume(obj: Object, ago: Ago) -> list[t.Any]:
    spec, status = _spec(obj), _status(obj)
    claim = spec.get("claimRef")
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    return [(spec.get("capacity") or {}).get("storage", ""), _modes(spec.get("accessModes") or ()), spec.get("persistentVolumeReclaimPolicy", ""), phase,
            f"{claim.get('namespace')}/{claim.get('name')}" if claim else "", spec.get("storageClassName", ""),
            spec.get("volumeAttributesClassName") or "<unset>", status.get("reason", ""), ago(_created(obj)), spec.get("volumeMode") or "<unset>"]


def _storage_class(obj: Object, ago: Ago) -> list[t.Any]:
    return [obj.get("provisioner", ""), obj.get("reclaimPolicy", "Delete"), obj.get("volumeBindingMode", "Immediate"),
            bool(obj.get("allowVolumeExpansion")), ago(_created(obj))]


# -- access, events and the rest


def _bound(obj: Object, ago: Ago) -> list[t.Any]:
    reference, subjects = obj.get("roleRef") or {}, obj.get("subjects") or []

    def named(kind: str) -> str:
        return ", ".join(f"{one.get('namespace', '')}/{one['name']}" if kind == "ServiceAccount" else one["name"]
                         for one in subjects if one.get("kind") == kind)

    return [f"{reference.get('kind')}/{reference.get('name')}", ago(_created(obj)), named("User"), named("Group"), named("ServiceAccount")]


def _event(obj: Object, ago: Ago) -> list[t.Any]:
    involved, source = obj.get("involvedObject") or {}, obj.get("source") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = (obj.get("series") or {}).get("lastObservedTime") or obj.get("lastTimestamp") or first
    target = f"{involved.get('kind', '').lower()}/{involved.get('name', '')}" if involved.get("name") else involved.get("kind", "").lower()
    where = ", ".join(filter(None, (source.get("component") or obj.get("reportingComponent"), source.get("host"))))
    count = (obj.get("series") or {}).get("count") or obj.get("count") or 1
    return [ago(last), obj.get("type", ""), obj.get("reason", ""), target, involved.get("fieldPath", ""), where,
            (obj.get("message") or "").strip(), ago(first), count, obj["metadata"].get("name", "")]


def _api_service(obj: Object, ago: Ago) -> list[t.Any]:
    service = _spec(obj).get("service")
    available: Object = next((one for one in _status(obj).get("conditions") or () if one.get("type") == "Available"), {})
    state = available.get("status", "Unknown")
    if state != "True" and available.get("reason"):
        state += f" ({available['reason']})"
    return [f"{service.get('namespace')}/{service.get('name')}" if service else "Local", state, ago(_created(obj))]


def _quota(obj: Object, ago: Ago) -> list[t.Any]:
    status = _status(obj)
    hard, used = status.get("hard") or {}, status.get("used") or {}
    shown = [f"{name}: {used.get(name, '0')}/{hard[name]}" for name in sorted(hard)]
    limits = [text for text in shown if text.startswith("limits.")]
    return [", ".join(text for text in shown if text not in limits), ", ".join(limits), ago(_created(obj))]


def _revision(obj: Object, ago: Ago) -> list[t.Any]:
    owner = next((one for one in obj["metadata"].get("ownerReferences") or () if one.get("controller")), None)
    group = (owner or {}).get("apiVersion", "").partition("/")[0] if owner and "/" in owner.get("apiVersion", "") else ""
    shown = f"{owner['kind'].lower()}{'.' + group if group else ''}/{owner['name']}" if owner else NONE
    return [shown, obj.get("revision", 0), ago(_created(obj))]


def _count(field: str) -> Cells:
    return lambda obj, ago: [len(obj.get(field) or ()), ago(_created(obj))]


_WEBHOOKS = Printer(_columns("Webhooks:integer Age"), _count("webhooks"))
_BINDING = Printer(_columns("Role Age +Users +Groups +ServiceAccounts"), _bound)
_REPLICAS = Printer(_columns("Desired:integer Current:integer Ready:integer Age +Containers +Images +Selector"), _replica_set)
_CREATED = (Column("Created At", "date", "", AGE_TEXT),)

BUILTIN: dict[str, Printer] = {
    "core.v1.Pod": Printer(_columns("Ready Status Restarts Age +IP +Node +Nominated_Node +Readiness_Gates"), _pod, _pod_done),
    "core.v1.Node": Printer(_columns("Status Roles Age Version +Internal-IP +External-IP +OS-Image +Kernel-Version +Container-Runtime"), _node),
    "core.v1.Namespace": Printer(_columns("Status Age"), lambda obj, ago: [_status(obj).get("phase", ""), ago(_created(obj))]),
    "core.v1.Service": Printer(_columns("Type Cluster-IP External-IP Port(s) Age +Selector"), _service),
    "core.v1.Endpoints": Printer(_columns("Endpoints Age"), _endpoints),
    "core.v1.Event": Printer(_columns("Last_Seen Type Reason Object +Subobject +Source Message +First_Seen +Count:integer +Name"), _event),
    "core.v1.Secret": Printer(_columns("Type Data:integer Age"), lambda obj, ago: [obj.get("type", ""), len(obj.get("data") or ()), ago(_created(obj))]),
    "core.v1.ConfigMap": Printer(
        _columns("Data:integer Age"), lambda obj, ago: [len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), ago(_created(obj))]),
    "core.v1.ServiceAccount": Printer(_columns("Secrets:integer Age"), _count("secrets")),
    "core.v1.PersistentVolumeClaim": Printer(
        _columns("Status Volume Capacity Access_Modes StorageClass VolumeAttributesClass Age +VolumeMode"), _claim),
    "core.v1.PersistentVolume": Printer(_columns(
        "Capacity Access_Modes Reclaim_Policy Status Claim StorageClass VolumeAttributesClass Reason Age +VolumeMode"), _volume),
    "core.v1.ReplicationController": Printer(
        _REPLICAS.columns, lambda obj, ago: [*_replica_set(obj, ago)[:-1], _pairs(_spec(obj).get("selector"))]),
    "core.v1.ResourceQuota": Printer(_columns("Request Limit Age"), _quota),
    "core.v1.LimitRange": Printer(_CREATED, lambda obj, ago: [_created(obj)]),
    "apps.v1.Deployment": Printer(_columns("Ready Up-to-date Available Age +Containers +Images +Selector"), _deployment),
    "apps.v1.ReplicaSet": _REPLICAS,
    "apps.v1.StatefulSet": Printer(_columns("Ready Age +Containers +Images"), _stateful_set),
    "apps.v1.DaemonSet": Printer(_columns(
        "Desired:integer Current:integer Ready:integer Up-to-date:integer Available:integer Node_Selector Age +Containers +Images +Selector"), _daemon_set),
    "apps.v1.ControllerRevision": Printer(_columns("Controller Revision Age"), _revision),
    "batch.v1.Job": Printer(_columns("Status Completions Duration Age +Containers +Images +Selector"), _job),
    "policy.v1.PodDisruptionBudget": Printer(_columns("Min_Available Max_Unavailable Allowed_Disruptions:integer Age"), _disruption_budget),
    "rbac.v1.RoleBinding": _BINDING, "rbac.v1.ClusterRoleBinding": _BINDING,
    "rbac.v1.Role": Printer(_CREATED, lambda obj, ago: [_created(obj)]),
    "rbac.v1.ClusterRole": Printer(_CREATED, lambda obj, ago: [_created(obj)]),
    "coordination.v1.Lease": Printer(_columns("Holder Age"), lambda obj, ago: [_spec(obj).get("holderIdentity", ""), ago(_created(obj))]),
    "storage.v1.StorageClass": Printer(_columns("Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age"), _storage_class),
    "scheduling.v1.PriorityClass": Printer(_columns("Value:integer Global-Default Age PreemptionPolicy"), lambda obj, ago: [
        obj.get("value", 0), bool(obj.get("globalDefault")), ago(_created(obj)), obj.get("preemptionPolicy", "")]),
    "apiregistration.v1.APIService": Printer(_columns("Service Available Age"), _api_service),
    "admissionregistration.v1.MutatingWebhookConfiguration": _WEBHOOKS,
    "admissionregistration.v1.ValidatingWebhookConfiguration": _WEBHOOKS,
    "apiextensions.v1.CustomResourceDefinition": Printer(_CREATED, lambda obj, ago: [_created(obj)]),
}
