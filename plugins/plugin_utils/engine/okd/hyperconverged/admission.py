# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The webhooks of hco-webhook: what a HyperConverged gets when it is written, and why one is refused.

Source: HCO pkg/webhooks/{setup.go,mutator/hyperConvergedMutator.go,validator/validator.go}, v1.14.0 and v1.15.0.
"""
from __future__ import annotations

import typing as t

from ... import errors
from ...apiserver.admission import AdmissionRequest
from ...apiserver.chain import ApiServer
from ...apiserver.identity import service_account_user
from ...apiserver.resources import object_in
from ...apiserver.validation import prepare, validate_create, validate_update
from ...errors import StatusError
from ...interface import DEPLOYMENTS, Object
from ...kinds import Kind
from . import validation
from .json_patch import BrokenPatch
from .names import HYPERCONVERGEDS, KUBEVIRT_NAME, WEBHOOK, environment
from .operand import check_other_patches, kubevirt

_RESOURCE = (HYPERCONVERGEDS.group, HYPERCONVERGEDS.plural)
_MUTATOR, _VALIDATOR = "mutate-hyperconverged-hco.kubevirt.io", "validate-hco.kubevirt.io"
_PATHS = {_MUTATOR: "mutate-hco-kubevirt-io-v1beta1-hyperconverged", _VALIDATOR: "validate-hco-kubevirt-io-v1beta1-hyperconverged"}


def register(api: ApiServer, namespace: str) -> None:
    """Have the API server ask the webhooks of the operator that is installed in the namespace."""
    webhooks = _Webhooks(api, namespace)
    for operation in ("CREATE", "UPDATE"):
        api.admission.register(_RESOURCE, operation, webhooks.mutate)
    api.admission.register(_RESOURCE, "CREATE", webhooks.validate_create)
    api.admission.register(_RESOURCE, "UPDATE", webhooks.validate_update)
    api.admission.register(_RESOURCE, "DELETE", webhooks.validate_delete)


class _Webhooks:
    """Their answers. What they ask the API server for is asked without a write: a dry run."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api, self._namespace = api, namespace

    def _reached(self, webhook: str) -> tuple[str, str]:
        """The operator's and KubeVirt's version that hco-webhook knows. Raises StatusError 500 while nobody answers: the webhooks fail closed."""
        stored = self._api.store.get((DEPLOYMENTS.group, DEPLOYMENTS.plural), self._namespace, WEBHOOK)
        if stored is None or not (stored.value.get("status") or {}).get("availableReplicas"):
            url = f"https://{WEBHOOK}-service.{self._namespace}.svc:4343/{_PATHS[webhook]}?timeout=10s"
            said = f'Post "{url}": no endpoints available for service "{WEBHOOK}-service"'
            raise errors.internal(f'failed calling webhook "{webhook}": failed to call webhook: {said}')
        told = environment(stored.value)
        return told.get("HCO_KV_IO_VERSION", ""), told.get("KUBEVIRT_VERSION", "")

    def mutate(self, request: AdmissionRequest) -> None:
        self._reached(_MUTATOR)
        hyperconverged = _object(request)
        if not validation.is_readable(hyperconverged, request.kind.schema):
            raise _refused(_MUTATOR, StatusError(400, "", "failed to parse the HyperConverged"))
        strategy = validation.default_eviction_strategy(hyperconverged)
        if strategy:
            hyperconverged.setdefault("spec", {})["evictionStrategy"] = strategy

    def validate_create(self, request: AdmissionRequest) -> None:
        hyperconverged = _object(request)
        if validate_create(request.kind, hyperconverged):
            # The schema is asked first; it refuses it by itself.
            return
        versions = self._reached(_VALIDATOR)
        self._certificates(hyperconverged)
        if request.namespace != self._namespace:
            raise _denied(f"invalid namespace for v1beta1.HyperConverged - please use the {self._namespace} namespace")
        self._operand(hyperconverged, versions)

    def validate_update(self, request: AdmissionRequest) -> None:
        hyperconverged, old = _object(request), request.old or {}
        if validate_update(request.kind, hyperconverged, old):
            return
        versions = self._reached(_VALIDATOR)
        if hyperconverged.get("spec") == old.get("spec") and _annotations(hyperconverged) == _annotations(old):
            return
        self._certificates(hyperconverged)
        self._dry_run(self._operand(hyperconverged, versions))

    def _certificates(self, hyperconverged: Object) -> None:
        problem = validation.certificates_problem(hyperconverged.get("spec") or {})
        if problem:
            raise _denied(problem)

    def _operand(self, hyperconverged: Object, versions: tuple[str, str]) -> Object:
        try:
            made = kubevirt({**hyperconverged, "metadata": {**hyperconverged["metadata"], "namespace": self._namespace}}, *versions)
            check_other_patches(hyperconverged)
        except BrokenPatch as error:
            raise _denied(str(error)) from error
        return made

    def _kubevirts(self) -> Kind:
        kind = self._api.registry.lookup("kubevirt.io", "v1", "kubevirts")
        if kind is None:
            raise _refused(_VALIDATOR, errors.page_not_found())
        return kind

    def _request(self, operation: str, kind: Kind, obj: Object | None, old: Object) -> AdmissionRequest:
        user = service_account_user(self._namespace, "hyperconverged-cluster-operator")
        return AdmissionRequest(operation, kind, self._namespace, KUBEVIRT_NAME, user, self._api.store, obj, old, dry_run=True)

    def _dry_run(self, wanted: Object) -> None:
        """What the API server says to the KubeVirt that follows from it is the answer."""
        kind = self._kubevirts()
        stored = self._api.store.get(kind.resource, self._namespace, KUBEVIRT_NAME)
        if stored is None:
            raise _refused(_VALIDATOR, errors.not_found(kind, KUBEVIRT_NAME))
        old = object_in(kind, stored)
        try:
            changed, dummy = prepare(kind, {**old, "spec": wanted["spec"]})
            self._api.admission.admit(self._request("UPDATE", kind, changed, old))
            causes = validate_update(kind, changed, old)
            if causes:
                raise errors.invalid(kind, KUBEVIRT_NAME, causes)
        except StatusError as error:
            raise _refused(_VALIDATOR, error) from error

    def validate_delete(self, dummy: AdmissionRequest) -> None:
        self._reached(_VALIDATOR)
        kind = self._kubevirts()
        stored = self._api.store.get(kind.resource, self._namespace, KUBEVIRT_NAME)
        if stored is not None:
            try:
                self._api.admission.admit(self._request("DELETE", kind, None, object_in(kind, stored)))
            except StatusError as error:
                raise _refused(_VALIDATOR, error) from error


def _object(request: AdmissionRequest) -> Object:
    return t.cast(Object, request.object)


def _annotations(obj: Object) -> t.Any:
    return (obj.get("metadata") or {}).get("annotations") or {}


def _denied(text: str) -> StatusError:
    """As controller-runtime's admission.Denied."""
    return _refused(_VALIDATOR, StatusError(403, "Forbidden", text))


def _refused(webhook: str, status: StatusError) -> StatusError:
    """A status that a webhook answered with, as the API server passes it on. Source: apiserver pkg/admission/plugin/webhook/errors."""
    return StatusError(status.code, status.reason, f'admission webhook "{webhook}" denied the request: {status.message}', status.details)
