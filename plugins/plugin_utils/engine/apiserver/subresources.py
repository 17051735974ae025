# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""status and scale of any kind, finalize of namespaces, binding of pods; others register themselves.

Source: Kubernetes pkg/registry/apps/deployment/storage, apiextensions-apiserver pkg/registry/customresource/etcd.go,
pkg/registry/core/{namespace,pod}/storage.
"""
from __future__ import annotations

import typing as t

from .. import errors
from ..kinds import Kind, ScalePaths
from ..store.store import Store, copy_json
from . import reading
from .decoding import check_type, decode
from .negotiation import APPLY_PATCH, STRATEGIC_PATCH, patch_type
from .options import WriteOptions
from .patches import apply_patch
from .resources import Call, Object, Result, object_in
from .selectors import from_label_selector_object
from .validation import prepare
from .writing import Writer

Handler = t.Callable[[Call], Result]
_PROXY = "proxy/"
_SCALE_KIND = Kind("autoscaling", "v1", "Scale", "scales", "scale", namespaced=True, type_name="autoscaling.v1.Scale")


class Subresources:
    """Handlers by resource (group, plural) and subresource; `status` and `scale` are served for every kind that has them."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self.store, self.writer = store, writer
        self._handlers: dict[tuple[tuple[str, str], str], Handler] = {}
        self.register(("", "namespaces"), "finalize", self._finalize)
        self.register(("", "pods"), "binding", self._bind)

    def register(self, resource: tuple[str, str], subresource: str, handler: Handler) -> None:
        """Let a function answer every verb on a subresource; it raises StatusError 405 for those it has not."""
        self._handlers[resource, subresource] = handler

    def handle(self, call: Call) -> Result:
        """Raises StatusError 404 for a subresource that is not served."""
        name = call.info.subresource
        if name.startswith(_PROXY):
            # What follows is the path on the other side.
            name = _PROXY.rstrip("/")
        handler = self._handlers.get((call.kind.resource, name))
        if handler is not None:
            return handler(call)
        if name not in call.kind.subresources:
            raise self._unknown(call)
        if name == "status":
            return self._status(call)
        if name == "scale":
            return self._scale(call)
        raise errors.not_served(f"{call.kind.plural}/{name}")

    @staticmethod
    def _unknown(call: Call) -> errors.StatusError:
        """Source: apiextensions-apiserver pkg/apiserver/customresource_handler.go (serveStatus, serveScale, ServeHTTP); go-restful for virt-api."""
        if not call.kind.custom:
            return errors.resource_not_found()
        return errors.not_found(call.kind, call.name) if call.kind.stored else errors.PlainError(404, "NotFound", "404: Page Not Found")

    def _status(self, call: Call) -> Result:
        if call.info.verb == "get":
            return reading.get(self.store, call)
        if call.info.verb == "update":
            return self.writer.update(call, "status")
        if call.info.verb == "patch":
            return self.writer.patch(call, "status")
        raise errors.method_not_allowed()

    def _scale(self, call: Call) -> Result:
        current = reading.find(self.store, call)
        kind, paths = call.kind, call.kind.scale or ScalePaths()
        value = object_in(kind, current)
        scale = _scale_of(value, paths)
        if call.info.verb == "get":
            return Result(200, object=scale)
        if call.info.verb not in ("update", "patch"):
            raise errors.method_not_allowed()
        wanted, options = self._wanted_scale(call, scale)
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        if not isinstance(replicas, int) or replicas < 0:
            cause = errors.invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
            raise errors.invalid(_SCALE_KIND, call.name, [cause])
        version = (wanted.get("metadata") or {}).get("resourceVersion")
        if version and version != str(current.version):
            raise errors.conflict(kind, call.name)
        new = copy_json(value)
        _put(new, paths.spec_replicas, replicas)
        result = self.writer.replace(call, current, new, options, "scale")
        changed = object_in(kind, result.stored) if result.stored is not None else result.object
        return Result(200, object=_scale_of(changed or new, paths), version=result.version)

    def _wanted_scale(self, call: Call, scale: Object) -> tuple[Object, WriteOptions]:
        if call.info.verb == "update":
            options = WriteOptions.of("update", call.query, call.content_type, call.user_agent)
            return decoded(call, _SCALE_KIND), options
        media = patch_type(call.content_type, call.kind)
        options = WriteOptions.of("patch", call.query, media, call.user_agent)
        if media in (STRATEGIC_PATCH, APPLY_PATCH):
            # A Scale has no lists to merge, and one field to own.
            media = "application/merge-patch+json"
        return prepare(_SCALE_KIND, apply_patch(media, scale, call.body, _SCALE_KIND), patched=True)[0], options

    def _finalize(self, call: Call) -> Result:
        """PUT of a namespace without the finalizers that are done: the last one lets it go."""
        if call.info.verb != "update":
            raise errors.method_not_allowed()
        current = reading.find(self.store, call)
        given = decoded(call, call.kind)
        options = WriteOptions.of("update", call.query, call.content_type, call.user_agent)
        new = copy_json(object_in(call.kind, current))
        new["metadata"]["resourceVersion"] = (given.get("metadata") or {}).get("resourceVersion") or ""
        new["spec"] = {**(new.get("spec") or {}), "finalizers": list((given.get("spec") or {}).get("finalizers") or [])}
        if not new["spec"]["finalizers"]:
            del new["spec"]["finalizers"]
        return self.writer.replace(call, current, new, options, "finalize")

    def _bind(self, call: Call) -> Result:
        """POST of a Binding: the scheduler's word on which node a pod runs."""
        if call.info.verb != "create":
            raise errors.method_not_allowed()
        current = reading.find(self.store, call)
        given = decoded(call, _BINDING_KIND)
        node = (given.get("target") or {}).get("name") or ""
        if not node:
            raise errors.invalid(_BINDING_KIND, call.name, [errors.required_value("target.name")])
        wrong = _unbindable(current.value, given)
        if wrong:
            raise errors.conflict(_BINDING_KIND, call.name, wrong)
        held, timestamp = current.value, self.writer.clock.timestamp()
        conditions = [one for one in (held.get("status") or {}).get("conditions") or [] if one.get("type") != "PodScheduled"]
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": timestamp}
        new = {
            **held, "metadata": self._with_topology(held["metadata"], node), "spec": {**held["spec"], "nodeName": node},
            "status": {**(held.get("status") or {}), "conditions": [*conditions, scheduled]},
        }
        if not WriteOptions.of("create", call.query, call.content_type, call.user_agent).dry_run:
            # Past everything that a write of the pod itself goes through: no generation, no manager of fields.
            stored = self.store.update(current.resource, current.namespace, current.name, new, expected=current.version)
            self.writer.changed(stored, deleted=False)
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        return Result(201, object=status, version=self.store.version)

    def _with_topology(self, metadata: Object, node: str) -> Object:
        """A bound pod says where it is. Source: Kubernetes plugin/pkg/admission/podtopologylabels/admission.go."""
        held = self.store.get(("", "nodes"), "", node)
        labels = (held.value["metadata"].get("labels") or {}) if held is not None else {}
        copied = {key: labels[key] for key in _TOPOLOGY if key in labels}
        return {**metadata, "labels": {**(metadata.get("labels") or {}), **copied}} if copied else dict(metadata)


_TOPOLOGY = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


def _unbindable(pod: Object, binding: Object) -> str:
    """Why a pod can't be bound, empty if it can. Source: Kubernetes pkg/registry/core/pod/storage/storage.go (setPodNodeAndMetadata)."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    name, uid = metadata["name"], (binding.get("metadata") or {}).get("uid")
    if uid and uid != metadata["uid"]:
        return (
            f"StorageError: invalid object, Code: 4, Key: /registry/pods/{metadata['namespace']}/{name}, ResourceVersion: 0, "
            f"AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
        )
    if metadata.get("deletionTimestamp"):
        return f"pod {name} is being deleted, cannot be assigned to a host"
    if spec.get("nodeName"):
        return f"pod {name} is already assigned to node {errors.quote(spec['nodeName'])}"
    return f"pod {name} has non-empty .spec.schedulingGates" if spec.get("schedulingGates") else ""


_BINDING_KIND = Kind("", "v1", "Binding", "pods/binding", "binding", namespaced=True, type_name="core.v1.Binding")


def decoded(call: Call, kind: Kind) -> Object:
    """The body of a subresource, which is of a kind of its own. Raises StatusError 400 or 415."""
    if isinstance(call.body, bytes):
        given = decode(call.body, call.content_type, kind)[0]
        check_type(given, kind, call.body)
    else:
        given = copy_json(call.body)
        check_type(given, kind)
    return prepare(kind, given)[0]


def _scale_of(value: Object, paths: ScalePaths) -> Object:
    metadata = value["metadata"]
    kept = {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp") if key in metadata}
    status: Object = {"replicas": _at(value, paths.status_replicas) or 0}
    selector = _at(value, paths.label_selector)
    if isinstance(selector, dict):
        # A ReplicationController's selector is a map of labels, everybody else's a LabelSelector.
        plain = "matchLabels" not in selector and "matchExpressions" not in selector
        selector = str(from_label_selector_object({"matchLabels": selector} if plain else selector))
    if selector:
        status["selector"] = selector
    replicas = _at(value, paths.spec_replicas)
    spec = {"replicas": replicas} if replicas else {}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": kept, "spec": spec, "status": status}


def _at(value: t.Any, path: str) -> t.Any:
    for part in path.strip(".").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _put(value: Object, path: str, replicas: int) -> None:
    *parents, last = path.strip(".").split(".")
    for part in parents:
        value = value.setdefault(part, {})
    value[last] = replicas
