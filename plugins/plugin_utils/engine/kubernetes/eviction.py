# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pods/eviction: a pod is deleted if its disruption budget allows it.

Source: Kubernetes pkg/registry/core/pod/storage/eviction.go.
"""
from __future__ import annotations

import dataclasses
import typing as t

from .. import errors
from ..apiserver import reading
from ..apiserver.admission import AdmissionRequest
from ..apiserver.chain import ApiServer
from ..apiserver.identity import MASTERS, UserInfo
from ..apiserver.options import DeleteOptions, WriteOptions
from ..apiserver.request import Query, RequestInfo
from ..apiserver.resources import Call, Object, Result
from ..apiserver.selectors import LabelSelector, from_label_selector_object
from ..apiserver.subresources import decoded
from ..errors import Cause, StatusError
from ..interface import POD_DISRUPTION_BUDGETS
from ..kinds import Kind
from ..store.store import Store, Stored, copy_json
from . import pods
from .disruption_status import allowed_condition, with_condition
from .label_index import SelectorIndex

_KINDS = [
    Kind("policy", version, "Eviction", "evictions", "eviction", namespaced=True, type_name=f"policy.{version}.Eviction") for version in ("v1", "v1beta1")
]
_BUDGETS = (POD_DISRUPTION_BUDGETS.group, POD_DISRUPTION_BUDGETS.plural)
_LOOPBACK = UserInfo("system:apiserver", (MASTERS,))
_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
_SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
_MOST_DISRUPTED = 2000


class Budgets:
    """The disruption budgets of each namespace by what they select, kept with every write."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_namespace: dict[str, SelectorIndex[str]] = {}
        for stored in store.list(_BUDGETS):
            self.observe(stored, deleted=False)

    def observe(self, stored: Stored, deleted: bool) -> None:
        if stored.resource != _BUDGETS:
            return
        index = self._by_namespace.setdefault(stored.namespace, SelectorIndex())
        if deleted:
            index.remove(stored.name)
            return
        selector = _selector(stored.value)
        if selector is None:
            index.remove(stored.name)
        else:
            index.put(stored.name, selector, stored.name)

    def of(self, pod: Object) -> list[Stored]:
        """The budgets that select the pod, by name."""
        namespace, labels = pod["metadata"]["namespace"], pod["metadata"].get("labels") or {}
        index = self._by_namespace.get(namespace)
        names = [] if index is None else sorted(index.candidates(labels))
        found = [stored for name in names if (stored := self._store.get(_BUDGETS, namespace, name)) is not None]
        return [stored for stored in found if (selector := _selector(stored.value)) is not None and selector.matches(labels)]


def _selector(budget: Object) -> LabelSelector | None:
    """None for one that can't be read, which selects nothing."""
    try:
        return from_label_selector_object((budget.get("spec") or {}).get("selector"))
    except ValueError:
        return None


class Eviction:
    """Answers POST pods/NAME/eviction. Everything happens in one step: nothing can change between the question and the deletion."""

    def __init__(self, api: ApiServer) -> None:
        self._api, self._store = api, api.store
        self._budgets = Budgets(api.store)
        api.writer.observers.append(self._budgets.observe)

    def handle(self, call: Call) -> Result:
        """Raises StatusError 400, 403, 404, 405, 409, 422, 429, 500, and whatever admission says."""
        if call.info.verb != "create":
            raise errors.method_not_allowed()
        given = _decoded(call)
        if (given.get("metadata") or {}).get("name") != call.name:
            raise errors.bad_request("name in URL does not match name in Eviction object")
        options = WriteOptions.of("create", call.query, call.content_type, call.user_agent)
        wanted: Object = dict(given.get("deleteOptions") or {})
        if options.dry_run:
            wanted["dryRun"] = ["All"]
        dry_run = DeleteOptions.of(Query(), wanted).dry_run
        request = AdmissionRequest(
            "CREATE", call.kind, call.namespace, call.name, call.user, self._store, given, None, "eviction", dry_run, call.warnings
        )
        self._api.admission.admit(request)
        pod = reading.find(self._store, call).value
        if not _unprotected(pod):
            self._spend(pod, dry_run)
        self._delete(call, wanted, dry_run)
        return Result(201, object={"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, version=self._store.version)

    def _spend(self, pod: Object, dry_run: bool) -> None:
        """Take one disruption from the pod's budget, if it has one. Raises StatusError 403, 429, 500."""
        budgets = self._budgets.of(pod)
        if len(budgets) > 1:
            raise StatusError(500, "", _SEVERAL)
        if not budgets or (not pods.is_ready(pod) and _spares_unready(budgets[0].value)):
            return
        budget = budgets[0].value
        _check(budget)
        if dry_run:
            return
        new = copy_json(budget)
        status = new["status"]
        status["disruptionsAllowed"] -= 1
        now = self._api.clock.timestamp()
        if not status["disruptionsAllowed"]:
            status["conditions"] = with_condition(status.get("conditions") or [], allowed_condition(status), now)
        status["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod["metadata"]["name"]: now}
        call = self._as_server("update", POD_DISRUPTION_BUDGETS.group, POD_DISRUPTION_BUDGETS.plural, budget["metadata"], "status")
        self._api.writer.replace(call, budgets[0], new, WriteOptions(field_manager="kube-apiserver"), "status")

    def _as_server(self, verb: str, group: str, plural: str, metadata: Object, subresource: str = "") -> Call:
        info = RequestInfo(verb, "", True, group, "v1", plural, subresource, metadata["namespace"], metadata["name"])
        return Call(_LOOPBACK, info, self._api.kind_of(info))

    def _delete(self, call: Call, options: Object, dry_run: bool) -> None:
        current = reading.find(self._store, call)
        preconditions = DeleteOptions.of(Query(), options)
        if not dry_run:
            _check_preconditions(call.kind, current, preconditions)
            new, now = copy_json(current.value), self._api.clock.timestamp()
            target = {
                "type": "DisruptionTarget", "status": "True", "lastProbeTime": None, "lastTransitionTime": now, "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting",
            }
            status = new.setdefault("status", {})
            status["conditions"] = with_condition(status.get("conditions") or [], target, now)
            stored = self._store.update(current.resource, current.namespace, current.name, new, expected=current.version)
            self._api.writer.changed(stored, deleted=False)
            if preconditions.resource_version:
                # Who wrote since is the eviction itself.
                options = {**options, "preconditions": {**options["preconditions"], "resourceVersion": str(stored.version)}}
        info = dataclasses.replace(call.info, verb="delete", subresource="")
        self._api.deleter.delete(Call(call.user, info, call.kind, Query(), options, "", call.user_agent))


def register(api: ApiServer) -> None:
    """Serve pods/eviction."""
    api.subresources.register(("", "pods"), "eviction", Eviction(api).handle)


def _decoded(call: Call) -> Object:
    try:
        return decoded(call, _KINDS[0])
    except StatusError as error:
        if error.code != 400 or "v1beta1" not in error.message:
            raise
        return decoded(call, _KINDS[1])


def _unprotected(pod: Object) -> bool:
    """Whether budgets don't count: it has ended, has not begun, or is going."""
    return pods.is_final(pod) or pods.phase(pod) == "Pending" or pods.is_going(pod)


def _spares_unready(budget: Object) -> bool:
    """Whether a pod that is not ready may go without being counted."""
    status = budget.get("status") or {}
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    return bool(status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0)


def _check(budget: Object) -> None:
    """Raises StatusError 403 or 429 unless the budget allows a disruption."""
    metadata, status = budget["metadata"], budget.get("status") or {}
    name, allowed = metadata["name"], status.get("disruptionsAllowed", 0)
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        raise errors.too_many_requests(_REFUSED, 10, [Cause("DisruptionBudget", f"The disruption budget {name} is still being processed by the server.", "")])
    if allowed < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or ()) > _MOST_DISRUPTED:
        raise _forbidden(name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
    if not allowed:
        cause = Cause("DisruptionBudget", _denial(name, status), "")
        raise StatusError(429, "TooManyRequests", _REFUSED, {"causes": [cause.to_dict()]})


def _denial(name: str, status: Object) -> str:
    condition: Object = next((one for one in status.get("conditions") or () if one["type"] == "DisruptionAllowed" and one["status"] == "False"), {})
    said, reason = condition.get("message"), condition.get("reason")
    if said and reason == "SyncFailed":
        # The counts mean nothing while they can't be found out.
        return f"The disruption budget {name} does not allow evicting pods currently because it failed sync: {said}"
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if healthy <= desired:
        return f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
    if said:
        return f"The disruption budget {name} does not allow evicting pods currently ({reason}): {said}"
    return f"The disruption budget {name} does not allow evicting pods currently"


class _Budget(t.NamedTuple):
    group: str = "policy"
    plural: str = "poddisruptionbudget"
    kind: str = "PodDisruptionBudget"


def _forbidden(name: str, text: str) -> StatusError:
    return errors.forbidden(_Budget(), name, text)


def _check_preconditions(kind: Kind, current: Stored, options: DeleteOptions) -> None:
    """Raises StatusError 409, before anything is written on the pod."""
    uid, version = current.value["metadata"]["uid"], str(current.version)
    for what, given, held, hint in (
        ("UID", options.uid, uid, "deleted and then recreated"), ("ResourceVersion", options.resource_version, version, "modified"),
    ):
        if given and given != held:
            text = f"the {what} in the precondition ({given}) does not match the {what} in record ({held}). The object might have been {hint}"
            raise errors.conflict(kind, current.name, text, by_kind=True)
