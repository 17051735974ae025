# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""delete and deletecollection: preconditions, grace, finalizers and what becomes of dependents.

Source: Kubernetes apiserver pkg/registry/rest/delete.go, pkg/registry/generic/registry/store.go, pkg/endpoints/handlers/delete.go,
pkg/registry/core/{namespace,pod}.
"""
from __future__ import annotations

import datetime

from .. import errors
from ..clock import Clock
from ..store.store import Store, Stored
from . import reading
from .admission import AdmissionRequest
from .options import DeleteOptions
from .resources import Call, Object, Result, canonical, list_object, object_in
from .writing import Writer

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
# Kinds whose deletion answers with the object instead of a Status.
_RETURNED = frozenset((
    ("", "pods"), ("", "serviceaccounts"), ("", "persistentvolumes"), ("", "persistentvolumeclaims"), ("", "podtemplates"),
    ("", "resourcequotas"), ("", "services"), ("storage.k8s.io", "storageclasses"),
))
_NAMESPACES = ("", "namespaces")
_DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")
_DEFINITION_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


class Deleter:
    def __init__(self, store: Store, writer: Writer, clock: Clock) -> None:
        self.store, self.writer, self.clock = store, writer, clock

    def delete(self, call: Call) -> Result:
        """Raises StatusError 400, 403, 404, 409, 422."""
        body = call.body if isinstance(call.body, (bytes, dict)) else b""
        options = DeleteOptions.of(call.query, body)
        return self._delete(call, reading.find(self.store, call), options)

    def delete_collection(self, call: Call) -> Result:
        """Deletes what the query selects; answers with the list of it."""
        body = call.body if isinstance(call.body, (bytes, dict)) else b""
        options = DeleteOptions.of(call.query, body)
        listed = reading.list_(self.store, call)
        for stored in listed.items or ():
            info = call.info
            each = Call(call.user, type(info)(**{**vars(info), "name": stored.name}), call.kind, call.query, b"", "", call.user_agent)
            current = self.store.get(stored.resource, stored.namespace, stored.name)
            if current is not None:
                self._delete(each, current, options)
        answer = list_object(call.kind, listed.items or (), listed.list_metadata)
        return Result(200, object=answer, version=self.store.version)

    def _delete(self, call: Call, current: Stored, options: DeleteOptions) -> Result:
        kind, old = call.kind, object_in(call.kind, current)
        self.writer.admission.admit(
            AdmissionRequest("DELETE", kind, call.namespace, call.name, call.user, self.store, None, old, dry_run=options.dry_run)
        )
        _check_preconditions(call, current, options)
        going = self._going(kind.resource, old, options)
        if going is None:
            if not options.dry_run:
                self._remove(call, current)
            return self._answer(call, old, current)
        if going == old:
            return Result(_code(options), stored=current)
        if kind.resource == ("", "pods") and not going["metadata"]["deletionGracePeriodSeconds"] and not going["metadata"].get("finalizers"):
            if not options.dry_run:
                self._remove(call, current)
            return Result(200, object=going, version=self.store.version)
        if options.dry_run:
            return Result(_code(options), object=going)
        stored = self.store.update(kind.resource, call.namespace, call.name, canonical(kind, going), expected=current.version)
        self.writer.changed(stored, deleted=False)
        return Result(_code(options), stored=stored, version=stored.version)

    def _remove(self, call: Call, current: Stored) -> None:
        self.store.delete(call.kind.resource, call.namespace, call.name, expected=current.version)
        self.writer.changed(current, deleted=True)

    def _answer(self, call: Call, old: Object, current: Stored) -> Result:
        if call.kind.resource in _RETURNED:
            return Result(200, object=old, version=self.store.version)
        details = {"name": call.name}
        if call.kind.group:
            details["group"] = call.kind.group
        details.update(kind=call.kind.plural, uid=current.value["metadata"]["uid"])
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return Result(200, object=status, version=self.store.version)

    def _going(self, resource: tuple[str, str], old: Object, options: DeleteOptions) -> Object | None:
        """The object on its way out, the same object when nothing changes, or None when it can go at once."""
        metadata = old["metadata"]
        finalizers = _finalizers(resource, metadata.get("finalizers") or [], options)
        grace = _grace(old, options) if resource == ("", "pods") else 0
        waits = bool(finalizers) or resource == ("", "pods") or (resource == _NAMESPACES and (old.get("spec") or {}).get("finalizers"))
        if not waits:
            return None
        deleting = metadata.get("deletionTimestamp")
        shorter = deleting and grace < (metadata.get("deletionGracePeriodSeconds") or 0)
        if deleting and not shorter and finalizers == (metadata.get("finalizers") or []):
            return old
        changed = dict(metadata)
        going: Object = {**old, "metadata": changed}
        if not deleting or shorter:
            ends = self.clock.now() + datetime.timedelta(seconds=grace)
            changed["deletionTimestamp"] = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
            if resource not in (_NAMESPACES, _DEFINITIONS):
                changed["deletionGracePeriodSeconds"] = grace
            if changed.get("generation") and not deleting and resource != _DEFINITIONS:
                changed["generation"] += 1
        if finalizers:
            changed["finalizers"] = finalizers
        else:
            changed.pop("finalizers", None)
        if resource == _NAMESPACES:
            going["status"] = {**(going.get("status") or {}), "phase": "Terminating"}
        return going


def _code(options: DeleteOptions) -> int:
    return 202 if options.propagation == "Foreground" else 200


def _finalizers(resource: tuple[str, str], held: list[str], options: DeleteOptions) -> list[str]:
    """The finalizers with those that the propagation asks for. Source: registry/store.go (deletionFinalizersForGarbageCollection)."""
    wanted = list(held)
    if options.propagation:
        wanted = [name for name in wanted if name not in (FOREGROUND, ORPHAN)]
        if options.propagation == "Foreground":
            wanted.append(FOREGROUND)
        elif options.propagation == "Orphan":
            wanted.append(ORPHAN)
    if resource == _DEFINITIONS and _DEFINITION_FINALIZER not in wanted:
        wanted.append(_DEFINITION_FINALIZER)
    return wanted


def _grace(pod: Object, options: DeleteOptions) -> int:
    """Seconds a pod gets to end. Source: Kubernetes pkg/registry/core/pod/strategy.go (CheckGracefulDelete)."""
    spec, phase = pod.get("spec") or {}, (pod.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    if options.grace_period is not None:
        return max(options.grace_period, 0)
    wanted = spec.get("terminationGracePeriodSeconds")
    return 30 if wanted is None else int(wanted)


def _check_preconditions(call: Call, current: Stored, options: DeleteOptions) -> None:
    uid = current.value["metadata"]["uid"]
    if options.uid and options.uid != uid:
        text = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({uid}). "
            "The object might have been deleted and then recreated"
        )
        raise errors.conflict(call.kind, call.name, text, by_kind=True)
    if options.resource_version and options.resource_version != str(current.version):
        text = (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the ResourceVersion in record "
            f"({current.version}). The object might have been modified"
        )
        raise errors.conflict(call.kind, call.name, text, by_kind=True)
