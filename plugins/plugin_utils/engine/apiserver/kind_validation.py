# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server refuses of particular built-in kinds.

Source: Kubernetes pkg/apis/{core,apps,rbac,policy,coordination}/validation/validation.go and apiextensions-apiserver.
"""
from __future__ import annotations

import typing as t

from ..errors import Cause, forbidden_value, invalid_value, required_value, unsupported_value
from ..kinds import Kind
from . import names
from .selectors import from_label_selector_object

Object = dict[str, t.Any]
RBAC = "rbac.authorization.k8s.io"
IMMUTABLE = "field is immutable"
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_POD_UPDATE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)"
)
_STATEFUL_SET_UPDATE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
    "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_STATEFUL_SET_MUTABLE = {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy",
                         "minReadySeconds"}


def causes(kind: Kind, obj: Object) -> list[Cause]:
    """What is wrong with an object, whether it is new or not."""
    rule = _RULES.get(kind.type_name)
    return list(rule(obj)) if rule else []


def update_causes(kind: Kind, obj: Object, old: Object) -> list[Cause]:
    """What may not be changed."""
    rule = _UPDATE_RULES.get(kind.type_name)
    return list(rule(obj, old)) if rule else []


def _spec(obj: Object) -> Object:
    return obj.get("spec") or {}


def _pod_spec(spec: Object, path: str) -> t.Iterator[Cause]:
    containers = spec.get("containers") or []
    if not containers:
        yield required_value(f"{path}.containers")
    seen = set()
    for index, container in enumerate(containers):
        where = f"{path}.containers[{index}]"
        name = container.get("name", "")
        if not name:
            yield required_value(f"{where}.name")
        else:
            for text in names.dns_1123_label(name):
                yield invalid_value(f"{where}.name", name, text)
            if name in seen:
                yield Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{where}.name")
            seen.add(name)
        if not container.get("image"):
            yield required_value(f"{where}.image")
    if spec.get("restartPolicy") not in (None, "Always", "OnFailure", "Never"):
        yield unsupported_value(f"{path}.restartPolicy", spec["restartPolicy"], ("Always", "OnFailure", "Never"))


def _pod(obj: Object) -> t.Iterator[Cause]:
    return _pod_spec(_spec(obj), "spec")


def _node(obj: Object) -> t.Iterator[Cause]:
    seen = set()
    for index, taint in enumerate(_spec(obj).get("taints") or ()):
        where, key, effect = f"metadata.taints[{index}]", taint.get("key", ""), taint.get("effect", "")
        for text in names.qualified_name(key):
            yield invalid_value(f"{where}.key", key, text)
        for text in names.label_value(taint.get("value", "")):
            yield invalid_value(f"{where}.value", taint["value"], text)
        if not effect:
            yield required_value(f"{where}.effect")
        elif effect not in _EFFECTS:
            yield unsupported_value(f"{where}.effect", effect, _EFFECTS)
        if (key, effect) in seen:
            yield Cause("FieldValueDuplicate", f'Duplicate value: {{"key":"{key}","effect":"{effect}"}}', where)
        seen.add((key, effect))


def _data(obj: Object) -> t.Iterator[Cause]:
    for field in ("data", "binaryData"):
        for key in obj.get(field) or {}:
            for text in names.config_map_key(key):
                yield invalid_value(f"{field}[{key}]", key, text)


def _service(obj: Object) -> t.Iterator[Cause]:
    spec = _spec(obj)
    if not spec.get("ports") and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield required_value("spec.ports")
    for index, port in enumerate(spec.get("ports") or ()):
        if not 1 <= port.get("port", 0) <= 65535:
            yield invalid_value(f"spec.ports[{index}].port", port.get("port", 0), "must be between 1 and 65535, inclusive")


def _workload(obj: Object) -> t.Iterator[Cause]:
    spec = _spec(obj)
    selector, labels = spec.get("selector"), ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if selector is None:
        yield required_value("spec.selector")
    elif not selector:
        yield invalid_value("spec.selector", selector, f"empty selector is invalid for {obj.get('kind', '').lower()}")
    replicas = spec.get("replicas", 0)
    if replicas < 0:
        yield invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
    if selector:
        try:
            fits = from_label_selector_object(selector).matches(labels)
        except ValueError as error:
            yield invalid_value("spec.selector", selector, str(error))
        else:
            if not fits:
                yield invalid_value("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from _pod_spec((spec.get("template") or {}).get("spec") or {}, "spec.template.spec")


def _lease(obj: Object) -> t.Iterator[Cause]:
    spec = _spec(obj)
    if spec.get("leaseDurationSeconds", 1) <= 0:
        yield invalid_value("spec.leaseDurationSeconds", spec["leaseDurationSeconds"], "must be greater than 0")
    if spec.get("leaseTransitions", 0) < 0:
        yield invalid_value("spec.leaseTransitions", spec["leaseTransitions"], "must be greater than or equal to 0")


def _disruption_budget(obj: Object) -> t.Iterator[Cause]:
    spec = _spec(obj)
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if least is not None and most is not None:
        shown = {"MinAvailable": least, "Selector": spec.get("selector"), "MaxUnavailable": most,
                 "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy")}
        yield invalid_value("spec", shown, "minAvailable and maxUnavailable cannot be both set")
    for name, value in (("minAvailable", least), ("maxUnavailable", most)):
        if isinstance(value, int) and value < 0:
            yield invalid_value(f"spec.{name}", value, "must be greater than or equal to 0")
        elif isinstance(value, str) and not (value.endswith("%") and value[:-1].isdigit()):
            text = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
            yield invalid_value(f"spec.{name}", value, text)


def _rules(obj: Object) -> t.Iterator[Cause]:
    for index, rule in enumerate(obj.get("rules") or ()):
        where, paths = f"rules[{index}]", rule.get("nonResourceURLs")
        if not rule.get("verbs"):
            yield required_value(f"{where}.verbs", "verbs must contain at least one value")
        if paths:
            if obj.get("kind") == "Role":
                yield invalid_value(f"{where}.nonResourceURLs", paths, "namespaced rules cannot apply to non-resource URLs")
            if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
                yield invalid_value(f"{where}.nonResourceURLs", paths, "rules cannot apply to both regular resources and non-resource URLs")
            continue
        if not rule.get("apiGroups"):
            yield required_value(f"{where}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            yield required_value(f"{where}.resources", "resource rules must supply at least one resource")


def _binding(obj: Object) -> t.Iterator[Cause]:
    namespaced, reference = obj.get("kind") == "RoleBinding", obj.get("roleRef") or {}
    if reference.get("apiGroup") != RBAC:
        yield unsupported_value("roleRef.apiGroup", reference.get("apiGroup", ""), (RBAC,))
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
    if reference.get("kind") not in kinds:
        yield unsupported_value("roleRef.kind", reference.get("kind", ""), kinds)
    name = reference.get("name", "")
    if not name:
        yield required_value("roleRef.name")
    for text in names.path_segment(name):
        yield invalid_value("roleRef.name", name, text)
    for index, subject in enumerate(obj.get("subjects") or ()):
        yield from _subject(subject, f"subjects[{index}]")


def _subject(subject: Object, where: str) -> t.Iterator[Cause]:
    kind, group = subject.get("kind", ""), subject.get("apiGroup", "")
    if not subject.get("name"):
        yield required_value(f"{where}.name")
    if kind == "ServiceAccount":
        for text in names.dns_1123_subdomain(subject["name"]) if subject.get("name") else ():
            yield invalid_value(f"{where}.name", subject["name"], text)
        if group:
            yield unsupported_value(f"{where}.apiGroup", group, ("",))
        if not subject.get("namespace"):
            yield required_value(f"{where}.namespace")
    elif kind in ("User", "Group"):
        if group != RBAC:
            yield unsupported_value(f"{where}.apiGroup", group, (RBAC,))
    else:
        yield unsupported_value(f"{where}.kind", kind, ("ServiceAccount", "User", "Group"))


def _event(obj: Object) -> t.Iterator[Cause]:
    involved, namespace = (obj.get("involvedObject") or {}).get("namespace", ""), obj["metadata"].get("namespace", "")
    if involved != namespace and (involved or namespace != "default"):
        yield invalid_value("involvedObject.namespace", involved, "does not match event.namespace")


def _definition(obj: Object) -> t.Iterator[Cause]:
    spec = _spec(obj)
    wanted = spec.get("names") or {}
    name, expected = obj["metadata"].get("name", ""), f"{wanted.get('plural', '')}.{spec.get('group', '')}"
    if name != expected:
        yield invalid_value("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    if not spec.get("group"):
        yield required_value("spec.group")
    elif "." not in spec["group"]:
        yield invalid_value("spec.group", spec["group"], "should be a domain with at least one dot")
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        yield unsupported_value("spec.scope", spec["scope"], ("Cluster", "Namespaced")) if spec.get("scope") else required_value("spec.scope")
    for field in ("plural", "singular", "kind", "listKind"):
        if not wanted.get(field):
            yield required_value(f"spec.names.{field}")
    versions = spec.get("versions") or []
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield invalid_value("spec.versions", versions, "must have exactly one version marked as storage version")
    for index, version in enumerate(versions):
        schema, where = (version.get("schema") or {}).get("openAPIV3Schema"), f"spec.versions[{index}].schema.openAPIV3Schema"
        if not schema:
            yield required_value(where, "schemas are required")
        elif not schema.get("type"):
            yield required_value(f"{where}.type", "must not be empty at the root")
        else:
            yield from _structural(schema, where)
    if (spec.get("conversion") or {}).get("strategy", "None") != "None":
        # Every version is the same but for its name: no webhook is called.
        yield unsupported_value("spec.conversion.strategy", spec["conversion"]["strategy"], ("None",))


def _structural(schema: Object, where: str) -> t.Iterator[Cause]:
    """Every field says what it is. Source: apiextensions-apiserver pkg/apiserver/schema/validation.go."""
    parts = [(f"{where}.properties[{name}]", below, "must not be empty for specified object fields")
             for name, below in (schema.get("properties") or {}).items()]
    if isinstance(schema.get("items"), dict):
        parts.append((f"{where}.items", schema["items"], "must not be empty for specified array items"))
    if isinstance(schema.get("additionalProperties"), dict):
        parts.append((f"{where}.additionalProperties", schema["additionalProperties"], "must not be empty for specified object fields"))
    for path, below, text in parts:
        free = below.get("x-kubernetes-int-or-string") or below.get("x-kubernetes-preserve-unknown-fields")
        if not below.get("type") and not free:
            yield required_value(f"{path}.type", text)
        yield from _structural(below, path)


_RULES: dict[str, t.Callable[[Object], t.Iterator[Cause]]] = {
    "core.v1.Pod": _pod, "core.v1.Node": _node, "core.v1.ConfigMap": _data, "core.v1.Secret": _data, "core.v1.Service": _service,
    "core.v1.Event": _event, "apps.v1.Deployment": _workload, "apps.v1.ReplicaSet": _workload, "apps.v1.DaemonSet": _workload,
    "apps.v1.StatefulSet": _workload, "coordination.v1.Lease": _lease, "policy.v1.PodDisruptionBudget": _disruption_budget,
    "rbac.v1.Role": _rules, "rbac.v1.ClusterRole": _rules, "rbac.v1.RoleBinding": _binding, "rbac.v1.ClusterRoleBinding": _binding,
    "apiextensions.v1.CustomResourceDefinition": _definition,
}


def _immutable_data(obj: Object, old: Object) -> t.Iterator[Cause]:
    if old.get("immutable"):
        text = "field is immutable when `immutable` is set"
        for field in ("immutable", "data", "binaryData"):
            if (obj.get(field) or {}) != (old.get(field) or {}):
                yield forbidden_value(field, text)


def _secret_update(obj: Object, old: Object) -> t.Iterator[Cause]:
    if obj.get("type") != old.get("type"):
        yield invalid_value("type", obj.get("type", ""), IMMUTABLE)
    yield from _immutable_data(obj, old)


def _role_reference(obj: Object, old: Object) -> t.Iterator[Cause]:
    new = obj.get("roleRef") or {}
    if new != old.get("roleRef"):
        shown = {"APIGroup": new.get("apiGroup", ""), "Kind": new.get("kind", ""), "Name": new.get("name", "")}
        yield invalid_value("roleRef", shown, "cannot change roleRef")


def _selector_update(obj: Object, old: Object) -> t.Iterator[Cause]:
    selector = _spec(obj).get("selector")
    if selector != _spec(old).get("selector"):
        yield invalid_value("spec.selector", selector, IMMUTABLE)


def _stateful_set_update(obj: Object, old: Object) -> t.Iterator[Cause]:
    new, before = ({key: value for key, value in _spec(one).items() if key not in _STATEFUL_SET_MUTABLE} for one in (obj, old))
    if new != before:
        yield forbidden_value("spec", _STATEFUL_SET_UPDATE)


def _pod_update(obj: Object, old: Object) -> t.Iterator[Cause]:
    if _fixed_pod(_spec(obj)) != _fixed_pod(_spec(old)) or not _tolerations_grow(_spec(obj), _spec(old)):
        yield forbidden_value("spec", _POD_UPDATE)


def _fixed_pod(spec: Object) -> Object:
    made = {key: value for key, value in spec.items() if key not in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")}
    for name in ("containers", "initContainers"):
        made[name] = [{key: value for key, value in container.items() if key != "image"} for container in spec.get(name) or ()]
    return made


def _tolerations_grow(spec: Object, old: Object) -> bool:
    held = spec.get("tolerations") or []
    return all(toleration in held for toleration in old.get("tolerations") or ())


def _claim_update(obj: Object, old: Object) -> t.Iterator[Cause]:
    mutable = ("resources", "volumeAttributesClassName", "volumeName")
    new, before = ({key: value for key, value in _spec(one).items() if key not in mutable} for one in (obj, old))
    if new != before:
        yield forbidden_value("spec", "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims")


_UPDATE_RULES: dict[str, t.Callable[[Object, Object], t.Iterator[Cause]]] = {
    "core.v1.ConfigMap": _immutable_data, "core.v1.Secret": _secret_update, "core.v1.Pod": _pod_update,
    "core.v1.PersistentVolumeClaim": _claim_update, "rbac.v1.RoleBinding": _role_reference, "rbac.v1.ClusterRoleBinding": _role_reference,
    "apps.v1.Deployment": _selector_update, "apps.v1.ReplicaSet": _selector_update, "apps.v1.DaemonSet": _selector_update,
    "apps.v1.StatefulSet": _stateful_set_update,
}
