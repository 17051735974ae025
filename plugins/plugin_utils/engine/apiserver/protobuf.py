# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies in protobuf, as kubectl since 1.33 sends what it makes itself (create, auth can-i, drain); answers are JSON.

Only what such clients send is read: a kind or field that is not in the table is refused by name.
Source: Kubernetes apimachinery pkg/runtime/serializer/protobuf; field numbers of k8s.io/api and apimachinery generated.proto.
"""
from __future__ import annotations

import base64
import contextlib
import datetime
import functools
import typing as t

with contextlib.suppress(ImportError):
    import orjson

from .. import errors

Object = dict[str, t.Any]
MAGIC = b"k8s\0"

# A field is "number name type": no type is a string, ? marks a pointer (whose zero is a value), [] a list, {} a map from strings.
_TYPES = {
    "ObjectMeta": "1 name, 2 generateName, 3 namespace, 4 selfLink, 5 uid, 6 resourceVersion, 7 generation int, 8 creationTimestamp Time, "
    "9 deletionTimestamp Time, 10 deletionGracePeriodSeconds int?, 11 labels {}string, 12 annotations {}string, "
    "13 ownerReferences []OwnerReference, 14 finalizers []string, 17 managedFields []ManagedFieldsEntry",
    "OwnerReference": "1 kind, 3 name, 4 uid, 5 apiVersion, 6 controller bool?, 7 blockOwnerDeletion bool?",
    "ManagedFieldsEntry": "1 manager, 2 operation, 3 apiVersion, 4 time Time, 6 fieldsType, 7 fieldsV1 Json, 8 subresource",
    "LabelSelector": "1 matchLabels {}string, 2 matchExpressions []LabelSelectorRequirement",
    "LabelSelectorRequirement": "1 key, 2 operator, 3 values []string",
    "DeleteOptions": "1 gracePeriodSeconds int?, 2 preconditions Preconditions, 3 orphanDependents bool?, 4 propagationPolicy, "
    "5 dryRun []string, 6 ignoreStoreReadErrorWithClusterBreakingPotential bool?",
    "Preconditions": "1 uid, 2 resourceVersion",
    "Namespace": "1 metadata ObjectMeta, 2 spec NamespaceSpec, 3 status NamespaceStatus",
    "NamespaceSpec": "1 finalizers []string",
    "NamespaceStatus": "1 phase",
    "ConfigMap": "1 metadata ObjectMeta, 2 data {}string, 3 binaryData {}bytes, 4 immutable bool?",
    "Secret": "1 metadata ObjectMeta, 2 data {}bytes, 3 type, 4 stringData {}string, 5 immutable bool?",
    "ServiceAccount": "1 metadata ObjectMeta, 2 secrets []ObjectReference, 3 imagePullSecrets []LocalObjectReference, "
    "4 automountServiceAccountToken bool?",
    "ObjectReference": "1 kind, 2 namespace, 3 name, 4 uid, 5 apiVersion, 6 resourceVersion, 7 fieldPath",
    "LocalObjectReference": "1 name",
    "Binding": "1 metadata ObjectMeta, 2 target ObjectReference",
    "Event": "1 metadata ObjectMeta, 2 involvedObject ObjectReference, 3 reason, 4 message, 5 source EventSource, 6 firstTimestamp Time, "
    "7 lastTimestamp Time, 8 count int, 9 type, 10 eventTime MicroTime, 12 action, 13 related ObjectReference, 14 reportingComponent, "
    "15 reportingInstance",
    "EventSource": "1 component, 2 host",
    "ResourceQuota": "1 metadata ObjectMeta, 2 spec ResourceQuotaSpec, 3 status ResourceQuotaStatus",
    "ResourceQuotaSpec": "1 hard {}Quantity, 2 scopes []string",
    "ResourceQuotaStatus": "1 hard {}Quantity, 2 used {}Quantity",
    "Role": "1 metadata ObjectMeta, 2 rules []PolicyRule",
    "ClusterRole": "1 metadata ObjectMeta, 2 rules []PolicyRule, 3 aggregationRule AggregationRule",
    "AggregationRule": "1 clusterRoleSelectors []LabelSelector",
    "PolicyRule": "1 verbs []string, 2 apiGroups []string, 3 resources []string, 4 resourceNames []string, 5 nonResourceURLs []string",
    "RoleBinding": "1 metadata ObjectMeta, 2 subjects []Subject, 3 roleRef RoleRef",
    "ClusterRoleBinding": "1 metadata ObjectMeta, 2 subjects []Subject, 3 roleRef RoleRef",
    "Subject": "1 kind, 2 apiGroup, 3 name, 4 namespace",
    "RoleRef": "1 apiGroup, 2 kind, 3 name",
    "SelfSubjectAccessReview": "1 metadata ObjectMeta, 2 spec SubjectAccessReviewSpec, 3 status SubjectAccessReviewStatus",
    "SubjectAccessReview": "1 metadata ObjectMeta, 2 spec SubjectAccessReviewSpec, 3 status SubjectAccessReviewStatus",
    "LocalSubjectAccessReview": "1 metadata ObjectMeta, 2 spec SubjectAccessReviewSpec, 3 status SubjectAccessReviewStatus",
    "SubjectAccessReviewSpec": "1 resourceAttributes ResourceAttributes, 2 nonResourceAttributes NonResourceAttributes, 3 user, "
    "4 groups []string, 5 extra {}ExtraValue, 6 uid",
    "SubjectAccessReviewStatus": "1 allowed bool, 2 reason, 3 evaluationError, 4 denied bool",
    "ResourceAttributes": "1 namespace, 2 verb, 3 group, 4 version, 5 resource, 6 subresource, 7 name",
    "NonResourceAttributes": "1 path, 2 verb",
    "SelfSubjectRulesReview": "1 metadata ObjectMeta, 2 spec SelfSubjectRulesReviewSpec, 3 status SubjectRulesReviewStatus",
    "SelfSubjectRulesReviewSpec": "1 namespace",
    "SubjectRulesReviewStatus": "3 incomplete bool, 4 evaluationError",
    "SelfSubjectReview": "1 metadata ObjectMeta, 2 status SelfSubjectReviewStatus",
    "SelfSubjectReviewStatus": "1 userInfo UserInfo",
    "UserInfo": "1 username, 2 uid, 3 groups []string, 4 extra {}ExtraValue",
    "TokenReview": "1 metadata ObjectMeta, 2 spec TokenReviewSpec, 3 status TokenReviewStatus",
    "TokenReviewSpec": "1 token, 2 audiences []string",
    "TokenReviewStatus": "1 authenticated bool, 2 user UserInfo, 3 error, 4 audiences []string",
    "TokenRequest": "1 metadata ObjectMeta, 2 spec TokenRequestSpec, 3 status TokenRequestStatus",
    "TokenRequestSpec": "1 audiences []string, 3 boundObjectRef BoundObjectReference, 4 expirationSeconds int?",
    "TokenRequestStatus": "1 token, 2 expirationTimestamp Time",
    "BoundObjectReference": "1 kind, 2 apiVersion, 3 name, 4 uid",
    "Eviction": "1 metadata ObjectMeta, 2 deleteOptions DeleteOptions",
    "PodDisruptionBudget": "1 metadata ObjectMeta, 2 spec PodDisruptionBudgetSpec, 3 status PodDisruptionBudgetStatus",
    "PodDisruptionBudgetSpec": "1 minAvailable IntOrString, 2 selector LabelSelector, 3 maxUnavailable IntOrString, 4 unhealthyPodEvictionPolicy",
    "PodDisruptionBudgetStatus": "1 observedGeneration int, 3 disruptionsAllowed int, 4 currentHealthy int, 5 desiredHealthy int, 6 expectedPods int",
    "Lease": "1 metadata ObjectMeta, 2 spec LeaseSpec",
    "LeaseSpec": "1 holderIdentity, 2 leaseDurationSeconds int?, 3 acquireTime MicroTime, 4 renewTime MicroTime, 5 leaseTransitions int?, "
    "6 strategy, 7 preferredHolder",
    "PriorityClass": "1 metadata ObjectMeta, 2 value int, 3 globalDefault bool, 4 description, 5 preemptionPolicy",
    "Deployment": "1 metadata ObjectMeta, 2 spec DeploymentSpec, 3 status DeploymentStatus",
    "DeploymentSpec": "1 replicas int?, 2 selector LabelSelector, 3 template PodTemplateSpec, 4 strategy DeploymentStrategy, 5 minReadySeconds int, "
    "6 revisionHistoryLimit int?, 7 paused bool, 9 progressDeadlineSeconds int?",
    "DeploymentStrategy": "1 type, 2 rollingUpdate RollingUpdateDeployment",
    "RollingUpdateDeployment": "1 maxUnavailable IntOrString, 2 maxSurge IntOrString",
    "DeploymentStatus": "1 observedGeneration int, 2 replicas int, 3 updatedReplicas int, 4 availableReplicas int, 5 unavailableReplicas int, "
    "7 readyReplicas int",
    "PodTemplateSpec": "1 metadata ObjectMeta, 2 spec PodSpec",
    "Pod": "1 metadata ObjectMeta, 2 spec PodSpec, 3 status PodStatus",
    "PodStatus": "1 phase",
    "PodSpec": "2 containers []Container, 3 restartPolicy, 4 terminationGracePeriodSeconds int?, 5 activeDeadlineSeconds int?, 6 dnsPolicy, "
    "7 nodeSelector {}string, 8 serviceAccountName, 9 serviceAccount, 10 nodeName, 11 hostNetwork bool, 12 hostPID bool, 13 hostIPC bool, "
    "14 securityContext PodSecurityContext, 15 imagePullSecrets []LocalObjectReference, 16 hostname, 17 subdomain, 19 schedulerName, "
    "20 initContainers []Container, 21 automountServiceAccountToken bool?, 24 priorityClassName, 25 priority int?, 30 enableServiceLinks bool?, "
    "31 preemptionPolicy",
    "PodSecurityContext": "2 runAsUser int?, 3 runAsNonRoot bool?, 5 fsGroup int?, 6 runAsGroup int?",
    "Container": "1 name, 2 image, 3 command []string, 4 args []string, 5 workingDir, 6 ports []ContainerPort, 7 env []EnvVar, "
    "8 resources ResourceRequirements, 13 terminationMessagePath, 14 imagePullPolicy, 16 stdin bool, 17 stdinOnce bool, 18 tty bool, "
    "20 terminationMessagePolicy",
    "ContainerPort": "1 name, 2 hostPort int, 3 containerPort int, 4 protocol, 5 hostIP",
    "EnvVar": "1 name, 2 value",
    "ResourceRequirements": "1 limits {}Quantity, 2 requests {}Quantity",
    "Service": "1 metadata ObjectMeta, 2 spec ServiceSpec, 3 status ServiceStatus",
    "ServiceSpec": "1 ports []ServicePort, 2 selector {}string, 3 clusterIP, 4 type, 5 externalIPs []string, 7 sessionAffinity, 8 loadBalancerIP, "
    "9 loadBalancerSourceRanges []string, 10 externalName, 11 externalTrafficPolicy, 12 healthCheckNodePort int, "
    "13 publishNotReadyAddresses bool, 18 clusterIPs []string",
    "ServicePort": "1 name, 2 protocol, 3 port int, 4 targetPort IntOrString, 5 nodePort int, 6 appProtocol",
    "ServiceStatus": "1 loadBalancer LoadBalancerStatus",
    "LoadBalancerStatus": "",
}


class _Field(t.NamedTuple):
    name: str
    type: str
    container: str
    pointer: bool


@functools.cache
def _fields(message: str) -> dict[int, _Field]:
    fields = {}
    for entry in _TYPES[message].split(", ") if _TYPES[message] else ():
        number, name, *rest = entry.split()
        kind = rest[0] if rest else "string"
        container = kind[:2] if kind[:2] in ("[]", "{}") else ""
        fields[int(number)] = _Field(name, kind[len(container):].rstrip("?"), container, kind.endswith("?"))
    return fields


def decode(body: bytes, root: str = "") -> Object:
    """The object of a body, with its kind and apiVersion. `root` names the message when the body does not. Raises StatusError 400."""
    if not body.startswith(MAGIC):
        raise errors.bad_request("the provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        envelope = dict(_wire(body[len(MAGIC):]))
        type_meta = {number: _text(value) for number, value in _wire(_bytes(envelope.get(1, b"")))}
        version, kind = type_meta.get(1, ""), type_meta.get(2, "") or root
        if kind not in _TYPES:
            raise errors.bad_request(f"protobuf bodies of kind {kind} are not read by this server: send application/json")
        made = _message(_bytes(envelope.get(2, b"")), kind)
    except (IndexError, ValueError, TypeError) as error:
        raise errors.bad_request(f"unable to decode protobuf: {error}") from error
    return {**({"apiVersion": version} if version else {}), "kind": kind, **made}


def _wire(data: bytes) -> t.Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a message: an int of a varint, the bytes of anything else."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        form = key & 7
        if form == 0:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        length = {1: 8, 5: 4}.get(form)
        if form == 2:
            length, position = _varint(data, position)
        if length is None or position + length > len(data):
            raise ValueError("proto: illegal wireType or length")
        yield key >> 3, data[position:position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("proto: integer overflow")


def _message(data: bytes, message: str) -> Object:
    fields, made = _fields(message), Object()
    for number, raw in _wire(data):
        field = fields.get(number)
        if field is None:
            raise errors.bad_request(f"field {number} of {message} in protobuf is not read by this server: send application/json")
        if field.container == "{}":
            entry = dict(_wire(_bytes(raw)))
            made.setdefault(field.name, {})[_text(entry.get(1, b""))] = _value(entry.get(2, b""), field.type)
        elif field.container == "[]":
            made.setdefault(field.name, []).append(_value(raw, field.type))
        else:
            value = _value(raw, field.type)
            # What Go leaves out of JSON as empty is written in protobuf all the same, unless it is behind a pointer.
            if field.pointer or value not in ("", 0, False, None):
                made[field.name] = value
    return made


def _bytes(raw: int | bytes) -> bytes:
    if not isinstance(raw, bytes):
        raise ValueError("proto: wrong wireType")
    return raw


def _text(raw: int | bytes) -> str:
    return _bytes(raw).decode()


def _number(raw: int | bytes) -> int:
    if not isinstance(raw, int):
        raise ValueError("proto: wrong wireType")
    return raw - (1 << 64) if raw >= 1 << 63 else raw


def _value(raw: int | bytes, kind: str) -> t.Any:
    if kind == "string":
        return _text(raw)
    if kind == "int":
        return _number(raw)
    if kind == "bool":
        return bool(_number(raw))
    if kind == "bytes":
        return base64.b64encode(_bytes(raw)).decode()
    special = _SPECIAL.get(kind)
    return special(dict(_wire(_bytes(raw)))) if special is not None else _list_or_message(raw, kind)


def _list_or_message(raw: int | bytes, kind: str) -> t.Any:
    if kind == "ExtraValue":
        return [_text(value) for _number_, value in _wire(_bytes(raw))]
    return _message(_bytes(raw), kind)


def _moment(parts: dict[int, int | bytes], timespec: str) -> str | None:
    seconds = _number(parts.get(1, 0))
    if not parts or seconds < 0:
        return None
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC) + datetime.timedelta(microseconds=_number(parts.get(2, 0)) // 1000)
    return moment.replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def _json(parts: dict[int, int | bytes]) -> t.Any:
    return orjson.loads(_bytes(parts.get(1, b"{}")))


_SPECIAL: dict[str, t.Callable[[dict[int, int | bytes]], t.Any]] = {
    "Time": lambda parts: _moment(parts, "seconds"),
    "MicroTime": lambda parts: _moment(parts, "microseconds"),
    "Json": _json,
    "Quantity": lambda parts: _text(parts.get(1, b"")),
    "IntOrString": lambda parts: _text(parts.get(3, b"")) if parts.get(1) else _number(parts.get(2, 0)),
}
