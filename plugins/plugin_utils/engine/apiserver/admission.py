# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of every write between authorisation and validation: a chain of functions by kind and operation.

A function gets the AdmissionRequest, may change its object in place, and refuses by raising a StatusError.
Source: Kubernetes plugin/pkg/admission, apiserver pkg/admission/plugin/namespace/lifecycle/admission.go.
"""
from __future__ import annotations

import collections.abc
import dataclasses
import logging
import secrets
import typing as t

from .. import errors
from ..kinds import Kind
from ..store.store import Store, Stored
from .identity import UserInfo
from .resources import Call
from .validation import validate_create

_LOG = logging.getLogger(__name__)

Object = dict[str, t.Any]
IMMORTAL = frozenset(("default", "kube-system", "kube-public"))
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_ACCOUNT_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def random_suffix(length: int = 5) -> str:
    """Source: Kubernetes apimachinery pkg/util/rand/rand.go."""
    return "".join(secrets.choice(_ALPHABET) for dummy in range(length))


@dataclasses.dataclass
class AdmissionRequest:
    """operation is CREATE, UPDATE, DELETE or CONNECT; object is None on DELETE and old is None on CREATE."""

    operation: str
    kind: Kind
    namespace: str
    name: str
    user: UserInfo
    store: Store
    object: Object | None = None
    old: Object | None = None
    subresource: str = ""
    dry_run: bool = False
    warnings: list[str] = dataclasses.field(default_factory=list)

    def get(self, group: str, plural: str, namespace: str, name: str) -> Stored | None:
        """Another object as it is stored."""
        return self.store.get((group, plural), namespace, name)


Function = t.Callable[[AdmissionRequest], None]
Preparation = t.Callable[[Call], collections.abc.Awaitable[None]]
"""Awaited before a request is looked at, with what it asks; may refuse by raising a StatusError."""
_OPERATIONS = {"create": "CREATE", "update": "UPDATE", "patch": "UPDATE", "delete": "DELETE"}


class Admission:
    """The chain of one API server: its own functions first, then those registered, in order."""

    def __init__(self) -> None:
        self._functions: dict[tuple[tuple[str, str], str, str], list[Function]] = {}
        self._preparations: dict[tuple[tuple[str, str], str, str], Preparation] = {}
        self.register(("", "pods"), "CREATE", default_tolerations)
        self.register(("", "pods"), "CREATE", pod_service_account)
        self.register(("", "namespaces"), "DELETE", immortal_namespaces)

    def register(self, resource: tuple[str, str], operation: str, function: Function, subresource: str = "") -> None:
        """Ask the function for each operation on the resource (group, plural), or on one of its subresources."""
        self._functions.setdefault((resource, operation, subresource), []).append(function)

    def prepare(self, resource: tuple[str, str], operation: str, function: Preparation, subresource: str = "") -> None:
        """Have a request for the operation wait for the function: a webhook that takes its time, or that writes before it answers."""
        self._preparations[resource, operation, subresource] = function

    def preparation(self, call: Call) -> Preparation | None:
        """What the call waits for before it is looked at."""
        info = call.info
        if not self._preparations or info.verb not in _OPERATIONS:
            return None
        return self._preparations.get((call.kind.resource, _OPERATIONS[info.verb], info.subresource))

    def admit(self, request: AdmissionRequest) -> None:
        """Raises the StatusError of the first function that refuses."""
        if request.operation == "CREATE" and request.namespace:
            namespace_lifecycle(request)
        for function in self._functions.get((request.kind.resource, request.operation, request.subresource), ()):
            try:
                function(request)
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                raise _misshapen(request, error) from error


def _misshapen(request: AdmissionRequest, error: Exception) -> Exception:
    """Asked before the schema is, a function may stumble over an object that is not of its kind's shape: the writer's fault, and said so."""
    if not request.kind.custom or request.object is None:
        return error
    _LOG.debug("%s %s/%s has the wrong shape", request.kind.kind, request.namespace, request.name, exc_info=error)
    causes = validate_create(request.kind, request.object)
    if causes:
        return errors.invalid(request.kind, request.name, causes)
    name = request.kind.kind
    return errors.bad_request(f'{name} in version "{request.kind.version}" cannot be handled as a {name}: a field holds a value of another type ({error})')


def namespace_lifecycle(request: AdmissionRequest) -> None:
    """Nothing is created in a namespace that is not there or that is going."""
    if request.kind.group == "authorization.k8s.io":
        return
    stored = request.get("", "namespaces", "", request.namespace)
    if stored is None:
        raise errors.not_found(_Namespaces, request.namespace)
    if not stored.value["metadata"].get("deletionTimestamp"):
        return
    name = (request.object or {}).get("metadata", {}).get("name", "") or request.name
    cause = errors.Cause("NamespaceTerminating", f"namespace {request.namespace} is being terminated", "metadata.namespace")
    text = f"unable to create new content in namespace {request.namespace} because it is being terminated"
    raise errors.forbidden(request.kind, name, text, [cause])


class _NamespacesKind(t.NamedTuple):
    group: str = ""
    plural: str = "namespaces"
    kind: str = "Namespace"


_Namespaces = _NamespacesKind()


def immortal_namespaces(request: AdmissionRequest) -> None:
    if request.name in IMMORTAL:
        raise errors.forbidden(request.kind, request.name, "this namespace may not be deleted")


def default_tolerations(request: AdmissionRequest) -> None:
    """Source: Kubernetes plugin/pkg/admission/defaulttolerationseconds/admission.go."""
    spec = (request.object or {}).setdefault("spec", {})
    tolerations = list(spec.get("tolerations") or [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(_tolerates(toleration, key) for toleration in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    spec["tolerations"] = tolerations
    # Source: plugin/pkg/admission/priority/admission.go, without any PriorityClass.
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _tolerates(toleration: Object, key: str) -> bool:
    return toleration.get("key") in (key, None, "") and toleration.get("effect") in ("NoExecute", None, "")


def pod_service_account(request: AdmissionRequest) -> None:
    """Give the pod a service account and mount its token. Source: Kubernetes plugin/pkg/admission/serviceaccount/admission.go."""
    pod = request.object or {}
    spec = pod["spec"]
    if not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = "default"
    name = spec["serviceAccount"] = spec["serviceAccountName"]
    account = request.get("", "serviceaccounts", request.namespace, name)
    if account is None:
        text = f'error looking up service account {request.namespace}/{name}: serviceaccount "{name}" not found'
        raise errors.forbidden(request.kind, pod["metadata"].get("name", ""), text)
    mounted = spec.get("automountServiceAccountToken", account.value.get("automountServiceAccountToken", True))
    if mounted:
        _mount_token(spec)


def _mount_token(spec: Object) -> None:
    volume = f"kube-api-access-{random_suffix()}"
    used = False
    for group in ("initContainers", "containers"):
        containers = spec.get(group)
        if not isinstance(containers, list):
            continue
        for container in containers:
            mounts = container.get("volumeMounts") or []
            if not any(mount.get("mountPath") == _ACCOUNT_MOUNT for mount in mounts):
                container["volumeMounts"] = [*mounts, {"name": volume, "readOnly": True, "mountPath": _ACCOUNT_MOUNT}]
                used = True
    if not used:
        return
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]
    spec["volumes"] = [*(spec.get("volumes") or []), {"name": volume, "projected": {"sources": sources, "defaultMode": 420}}]
