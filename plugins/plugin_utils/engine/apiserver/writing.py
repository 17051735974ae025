# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""create, update and patch of any kind, each one atomic step from authorisation to store.

Source: Kubernetes apiserver pkg/endpoints/handlers/{create,update,patch}.go, pkg/registry/rest/{create,update,meta}.go,
pkg/registry/generic/registry/store.go.
"""
from __future__ import annotations

import typing as t
import uuid

from .. import errors
from ..clock import Clock
from ..kinds import Kind
from ..store.store import AlreadyExists, Store, Stored, copy_changed, copy_json
from . import escalation
from .admission import Admission, AdmissionRequest, random_suffix
from .apply import apply
from .authorization import RESOURCES, Attributes, Authorizer, refusal
from .decoding import check_type, decode, load_yaml
from .impersonation import forbidden_request
from .managed_fields import track_update
from .negotiation import APPLY_PATCH, patch_type
from .options import WriteOptions
from .patches import apply_patch
from .resources import Call, Object, Result, canonical, object_in
from .strategies import prepare_for_create, prepare_for_update, reset_for_create
from .validation import prepare, validate_create, validate_update

_GENERATED_BASE = 58
_GENERATED_TRIES = 8
# Only the server says when an object was made and when it goes.
_SYSTEM_METADATA = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")


class Writer:
    """The writes of one API server."""

    def __init__(self, store: Store, authorizer: Authorizer, admission: Admission, clock: Clock) -> None:
        self.store, self.authorizer, self.admission, self.clock = store, authorizer, admission, clock
        self.observers: list[t.Callable[[Stored, bool], None]] = []
        """Called with each object as it is written, or as it was with True when it is deleted, before anything else happens."""

    # -- create

    def create(self, call: Call) -> Result:
        """Raises StatusError 400, 403, 404, 409, 415, 422."""
        options = WriteOptions.of("create", call.query, call.content_type, call.user_agent)
        return self._create(call, self._body(call, options), options)

    def _body(self, call: Call, options: WriteOptions, known: Object | None = None) -> Object:
        if isinstance(call.body, bytes):
            obj, duplicates = decode(call.body, call.content_type, call.kind)
            check_type(obj, call.kind, call.body)
        else:
            obj, duplicates = _own(call.body, known), []
            check_type(obj, call.kind)
        return self._prepared(call, obj, options, duplicates, known=known)

    def _prepared(
        self, call: Call, obj: Object, options: WriteOptions, duplicates: t.Sequence[str] = (), patched: bool = False, known: Object | None = None
    ) -> Object:
        prepared, warnings = prepare(call.kind, obj, options.field_validation, duplicates, patched, known)
        call.warnings.extend(warnings)
        if not isinstance(prepared.get("metadata"), dict):
            prepared["metadata"] = {}
        return prepared

    def _create(self, call: Call, obj: Object, options: WriteOptions, applied: bool = False) -> Result:
        kind, metadata = call.kind, obj["metadata"]
        if metadata.get("namespace") and kind.namespaced and metadata["namespace"] != call.namespace:
            raise errors.bad_request("the namespace of the provided object does not match the namespace sent on the request")
        metadata.pop("namespace", None)
        if kind.namespaced:
            metadata["namespace"] = call.namespace
        if metadata.pop("resourceVersion", "") not in ("", "0"):
            raise errors.internal("resourceVersion should not be set on objects to be created", reason="")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._generated_name(call, metadata["generateName"])
        name = metadata.get("name") or ""
        self._system_metadata(kind, metadata)
        reset_for_create(kind, obj)
        if not applied:
            # Before admission: what that adds is nobody's.
            self._track(call, None, obj, options)
        prepare_for_create(kind, obj)
        self._admit(call, "CREATE", obj, None, options, name)
        escalation.check(self.authorizer, call.user, kind, call.namespace, obj, None)
        causes = validate_create(kind, obj)
        if causes:
            raise errors.invalid(kind, name, causes)
        if options.dry_run:
            if self.store.get(kind.resource, call.namespace, name) is not None:
                raise errors.already_exists(kind, name)
            return Result(201, object=canonical(kind, obj))
        try:
            stored = self.store.create(kind.resource, call.namespace, name, self._stored_form(kind, obj))
        except AlreadyExists as error:
            raise errors.already_exists(kind, name) from error
        self.changed(stored, deleted=False)
        return Result(201, stored=stored, version=stored.version)

    def _generated_name(self, call: Call, base: str) -> str:
        """One that nobody has, if a few tries find it. Source: apiserver pkg/registry/generic/registry/store.go (RetryGenerateName)."""
        name = ""
        for dummy in range(_GENERATED_TRIES):
            name = base[:_GENERATED_BASE] + random_suffix()
            if self.store.get(call.kind.resource, call.namespace, name) is None:
                break
        return name

    def _system_metadata(self, kind: Kind, metadata: Object) -> None:
        for key in _SYSTEM_METADATA:
            metadata.pop(key, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = self.clock.timestamp()
        if kind.generation:
            metadata["generation"] = 1

    # -- update

    def update(self, call: Call, subresource: str = "") -> Result:
        """PUT. Raises StatusError 400, 403, 404, 409, 415, 422."""
        options = WriteOptions.of("update", call.query, call.content_type, call.user_agent)
        current = self.store.get(call.kind.resource, call.namespace, call.name)
        obj = self._body(call, options, _known(call.kind, current))
        self._check_name(call, obj)
        if current is None:
            if not call.kind.create_on_update or subresource:
                raise errors.not_found(call.kind, call.name)
            self._may_create(call)
            return self._create(call, obj, options)
        return self.replace(call, current, obj, options, subresource)

    def _may_create(self, call: Call) -> None:
        asked = Attributes.of(call.info)._replace(verb="create")
        if not self.authorizer.authorize(call.user, asked)[0]:
            raise forbidden_request(asked, refusal(call.user, asked))

    def _check_name(self, call: Call, obj: Object) -> None:
        metadata = obj["metadata"]
        name, namespace = metadata.get("name") or "", metadata.get("namespace") or ""
        if not name:
            raise errors.bad_request(f"the name of the object ({call.name} based on URL) was undeterminable: name must be provided")
        if name != call.name:
            raise errors.bad_request(f"the name of the object ({name}) does not match the name on the URL ({call.name})")
        if call.kind.namespaced and namespace and namespace != call.namespace:
            raise errors.bad_request(
                f"the namespace of the object ({namespace}) does not match the namespace on the URL ({call.namespace})"
            )

    def replace(
        self, call: Call, current: Stored, new: Object, options: WriteOptions, subresource: str = "", applied: bool = False
    ) -> Result:
        """Put a complete new object in the place of the current one. new is owned by this call and changed."""
        kind, old = call.kind, object_in(call.kind, current)
        self._preconditions(call, current, new)
        new = _merge_subresource(kind, old, new, subresource)
        prepare_for_update(kind, new, old, subresource)
        metadata, old_metadata = new["metadata"], old["metadata"]
        for key in _SYSTEM_METADATA:
            metadata.pop(key, None)
            if key in old_metadata:
                metadata[key] = old_metadata[key]
        if kind.namespaced:
            metadata["namespace"] = call.namespace
        metadata["resourceVersion"] = old_metadata["resourceVersion"]
        if not applied:
            self._track(call, old, new, options, subresource)
        self._admit(call, "UPDATE", new, old, options, call.name, subresource)
        if kind.generation and _specified(kind, new) != _specified(kind, old):
            metadata["generation"] = old_metadata.get("generation", 0) + 1
        escalation.check(self.authorizer, call.user, kind, call.namespace, new, old)
        causes = _finalizer_causes(old_metadata, metadata)
        causes += validate_update(kind, new, old)
        if causes:
            raise errors.invalid(kind, call.name, causes)
        if not _differs(new, old) and (not applied or _managers(new) == _managers(old)):
            return Result(200, stored=current)
        if options.dry_run:
            return Result(200, object=canonical(kind, new))
        if is_gone(new):
            self.store.delete(kind.resource, call.namespace, call.name, expected=current.version)
            self.changed(current, deleted=True)
            return Result(200, object=canonical(kind, new), version=self.store.version)
        stored = self.store.update(
            kind.resource, call.namespace, call.name, self._stored_form(kind, new), expected=current.version
        )
        self.changed(stored, deleted=False)
        return Result(200, stored=stored, version=stored.version)

    def _preconditions(self, call: Call, current: Stored, new: Object) -> None:
        kind, metadata, old = call.kind, new["metadata"], current.value["metadata"]
        uid = metadata.get("uid")
        if uid and uid != old["uid"]:
            key = "/".join(part for part in ("/registry", kind.group, kind.plural, call.namespace, call.name) if part)
            raise errors.conflict(
                kind, call.name,
                f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: "
                f"UID in precondition: {uid}, UID in object meta: {old['uid']}",
            )
        version = metadata.get("resourceVersion") or ""
        if not version or version == "0":
            if not kind.unconditional_update:
                cause = errors.invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
                raise errors.invalid_resource(kind, call.name, [cause])
        elif version != str(current.version):
            raise errors.conflict(kind, call.name)

    # -- patch

    def patch(self, call: Call, subresource: str = "") -> Result:
        """PATCH of any type. Raises StatusError 400, 403, 404, 409, 415, 422, 500."""
        media = patch_type(call.content_type, call.kind)
        options = WriteOptions.of("patch", call.query, media, call.user_agent)
        current = self.store.get(call.kind.resource, call.namespace, call.name)
        if media == APPLY_PATCH:
            return self._apply(call, current, options, subresource)
        if current is None:
            raise errors.not_found(call.kind, call.name)
        patched = apply_patch(media, object_in(call.kind, current), call.body, call.kind)
        known = _known(call.kind, current)
        new = self._prepared(call, _own(patched, known), options, patched=True, known=known)
        check_type(new, call.kind)
        self._check_name(call, new)
        return self.replace(call, current, new, options, subresource)

    def _apply(self, call: Call, current: Stored | None, options: WriteOptions, subresource: str) -> Result:
        body = call.body
        if isinstance(body, bytes):
            try:
                body = _own(load_yaml(body))
            except ValueError as error:
                raise errors.bad_request(f"error decoding YAML: {error}") from error
        else:
            body = copy_json(body)
        if not isinstance(body, dict):
            raise errors.bad_request("error decoding YAML: the patch is not an object")
        if not body.get("kind") or not body.get("apiVersion"):
            missing = "Kind" if not body.get("kind") else "apiVersion"
            raise errors.bad_request(f"error decoding YAML: Object '{missing}' is missing in the applied configuration")
        before = object_in(call.kind, current) if current is not None else None
        new = apply(call.kind, before, body, options.field_manager, options.force, subresource, self.clock.timestamp())
        new = self._prepared(call, _own(new), options)
        check_type(new, call.kind)
        if current is None:
            if subresource:
                raise errors.not_found(call.kind, call.name)
            self._may_create(call)
            new["metadata"]["name"] = call.name
            return self._create(call, new, options, applied=True)
        self._check_name(call, new)
        return self.replace(call, current, new, options, subresource, applied=True)

    # -- shared

    def _admit(
        self, call: Call, operation: str, obj: Object | None, old: Object | None, options: WriteOptions, name: str, subresource: str = ""
    ) -> None:
        self.admission.admit(
            AdmissionRequest(
                operation, call.kind, call.namespace, name, call.user, self.store, obj, old, subresource, options.dry_run, call.warnings
            )
        )

    def _track(self, call: Call, old: Object | None, new: Object, options: WriteOptions, subresource: str = "") -> None:
        managers = track_update(call.kind, old, new, options.field_manager, subresource, self.clock.timestamp())
        if managers:
            new["metadata"]["managedFields"] = managers
        else:
            new["metadata"].pop("managedFields", None)

    @staticmethod
    def _stored_form(kind: Kind, obj: Object) -> Object:
        return canonical(kind, obj)

    def changed(self, stored: Stored, deleted: bool) -> None:
        """Authorisation follows at once: the next request is judged by what this one wrote."""
        if stored.resource in RESOURCES:
            self.authorizer.observe(stored.resource, stored.namespace, stored.name, None if deleted else stored.value)
        for observer in self.observers:
            observer(stored, deleted)


def _known(kind: Kind, current: Stored | None) -> Object | None:
    """The stored object, when what is written may go on sharing its parts."""
    # What the server itself fills in for a namespace is written into its parts.
    return object_in(kind, current) if current is not None and kind.resource != ("", "namespaces") else None


def _own(value: t.Any, known: Object | None = None) -> t.Any:
    """A copy of what a caller or a patch made, but for what is still a part of `known`.

    Raises StatusError 400 for what JSON of a cluster cannot hold.
    """
    try:
        if known is None or not isinstance(value, dict):
            return copy_json(value)
        return {key: _own_part(key, part, known.get(key)) for key, part in value.items()}
    except TypeError as error:
        raise errors.bad_request(f"error decoding patch: {error}") from error


def _own_part(key: str, part: t.Any, known: t.Any) -> t.Any:
    if isinstance(part, dict) and isinstance(known, dict):
        if key == "metadata":
            return {name: below if below is known.get(name) else copy_json(below) for name, below in part.items()}
        if part is known:
            return part
        if key == "status":
            # Nobody writes into a status on its way, as admission and defaults do into a spec.
            return copy_changed(part, known)
    return copy_json(part)


def _merge_subresource(kind: Kind, old: Object, new: Object, subresource: str) -> Object:
    """What a write may change: nothing but the status through `status`, and nothing of it otherwise."""
    if subresource == "status":
        merged = {**old, "metadata": dict(old["metadata"] if kind.custom else new["metadata"])}
        merged["metadata"]["managedFields"] = new["metadata"].get("managedFields") or []
        if not merged["metadata"]["managedFields"]:
            del merged["metadata"]["managedFields"]
        merged.pop("status", None)
        if "status" in new:
            merged["status"] = new["status"]
        return merged
    if not subresource and "status" in kind.subresources:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    return new


def _specified(kind: Kind, obj: Object) -> Object:
    """What metadata.generation counts the changes of."""
    left_out = ("metadata", "status") if "status" in kind.subresources or not kind.custom else ("metadata",)
    return {key: value for key, value in obj.items() if key not in left_out}


def _differs(new: Object, old: Object) -> bool:
    """Whether anything is another but the version and who manages what."""
    if new.keys() != old.keys():
        return True
    return any(
        _metadata_said(value) != _metadata_said(old[key]) if key == "metadata" else value != old[key]
        for key, value in new.items() if value is not old[key]
    )


def _metadata_said(metadata: Object) -> Object:
    return {key: value for key, value in metadata.items() if key not in ("managedFields", "resourceVersion")}


def _managers(obj: Object) -> list[Object]:
    return [{**entry, "time": ""} for entry in obj["metadata"].get("managedFields") or ()]


def _finalizer_causes(old: Object, new: Object) -> list[errors.Cause]:
    if not old.get("deletionTimestamp"):
        return []
    added = [name for name in new.get("finalizers") or () if name not in (old.get("finalizers") or ())]
    if not added:
        return []
    shown = ", ".join(errors.quote(name) for name in sorted(added))
    text = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{shown}}}"
    return [errors.forbidden_value("metadata.finalizers", text)]


def is_gone(obj: Object) -> bool:
    """Whether a deleted object waits for nothing any more. Source: apiserver registry/store.go (ShouldDeleteDuringUpdate)."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds"):
        return False
    return not (obj["kind"] == "Namespace" and (obj.get("spec") or {}).get("finalizers"))
