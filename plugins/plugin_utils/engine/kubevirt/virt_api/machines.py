# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""start, stop, restart and migrate of a VirtualMachine.

Source: KubeVirt pkg/virt-api/rest/{subresource,lifecycle}.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import collections.abc
import json
import typing as t

from ... import errors
from ...apiserver.admission import AdmissionRequest
from ...apiserver.chain import ApiServer
from ...apiserver.resources import Call, Result
from ...errors import PlainError, StatusError
from ...interface import Object
from ..subresource_api import GROUP
from ..virt_controller.phases import MIGRATIONS, VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from .webhooks import VirtApi

_MACHINES, _INSTANCES = ("kubevirt.io", "virtualmachines"), ("kubevirt.io", "virtualmachineinstances")
_JSON_PATCH = "application/json-patch+json"
_FINAL = ("Succeeded", "Failed")
Action = t.Callable[[Call, Object], collections.abc.Awaitable[None]]


class _Named(t.NamedTuple):
    """How virt-api names what it speaks of: `virtualmachine.kubevirt.io`."""

    group: str
    plural: str
    kind: str


_MACHINE = _Named("kubevirt.io", "virtualmachine", "VirtualMachine")
_INSTANCE = _Named("kubevirt.io", "virtualmachineinstance", "VirtualMachineInstance")


def _conflict(name: str, text: str, named: _Named = _MACHINE) -> StatusError:
    return errors.conflict(named, name, text)


def run_strategy(machine: Object) -> str:
    """The strategy by either of the two fields that say it."""
    spec = machine["spec"]
    return str(spec.get("runStrategy") or ("Always" if spec.get("running") else "Halted"))


def _strategy_patch(machine: Object, strategy: str) -> list[Object]:
    """The JSON patch that changes it, in the field that the machine uses."""
    spec = machine["spec"]
    if "running" in spec and spec["running"] is not None:
        return [
            {"op": "test", "path": "/spec/running", "value": spec["running"]},
            {"op": "replace", "path": "/spec/running", "value": strategy == "Always"},
        ]
    return [{"op": "test", "path": "/spec/runStrategy", "value": spec.get("runStrategy")}, {"op": "replace", "path": "/spec/runStrategy", "value": strategy}]


def _request_patch(machine: Object, requests: list[Object]) -> list[Object]:
    """The JSON patch by which the machine's controller hears what to do. Raises StatusError 409 while it has not done the last thing."""
    status = machine.get("status")
    if not status:
        return [{"op": "add", "path": "/status", "value": {"stateChangeRequests": requests}}]
    if status.get("stateChangeRequests"):
        raise _conflict(machine["metadata"]["name"], "unable to complete request: stop/start already underway")
    return [{"op": "add", "path": "/status/stateChangeRequests", "value": requests}]


class MachineActions:
    """Each action is done as virt-api, before the request is answered."""

    def __init__(self, virt_api: VirtApi) -> None:
        self._virt_api = virt_api

    def prepared(self, action: Action) -> t.Callable[[Call], collections.abc.Awaitable[None]]:
        """The action for requests on a machine. Raises StatusError 400, 404, 406, 409, 500."""

        async def act(call: Call) -> None:
            if call.accept and "*/*" not in call.accept:
                raise PlainError(406, "NotAcceptable", "406: Not Acceptable\n\nAvailable representations: ")
            options = _options(call)
            await action(call, options)

        return act

    def _machine(self, call: Call) -> Object:
        stored = self._virt_api.store.get(_MACHINES, call.namespace, call.name)
        if stored is None:
            raise errors.not_found(_MACHINE, call.name)
        return stored.value

    def _instance(self, call: Call) -> Object | None:
        stored = self._virt_api.store.get(_INSTANCES, call.namespace, call.name)
        return stored.value if stored is not None else None

    def _running_instance(self, call: Call) -> Object | None:
        vmi = self._instance(call)
        return vmi if vmi is not None and (vmi.get("status") or {}).get("phase") not in _FINAL else None

    async def _patch(self, call: Call, options: Object, patch: list[Object], subresource: str = "") -> None:
        if options.get("dryRun"):
            return
        try:
            await self._virt_api.cluster.patch(VIRTUAL_MACHINES, call.name, patch, call.namespace, subresource, _JSON_PATCH)
        except StatusError as error:
            if error.code == 422:
                raise _conflict(call.name, errors.MODIFIED) from error
            raise

    async def start(self, call: Call, options: Object) -> None:
        machine, strategy = self._machine(call), run_strategy(self._machine(call))
        if self._running_instance(call) is not None:
            raise _conflict(call.name, "VM is already running")
        if strategy in ("Always", "Once"):
            raise _conflict(call.name, f"{strategy} does not support manual start requests")
        if strategy == "Halted" and not options.get("paused"):
            await self._patch(call, options, _strategy_patch(machine, "Always"))
            return
        asked: Object = {"action": "Start"}
        if options.get("paused"):
            asked["data"] = {"paused": "true"}
        ended = self._instance(call)
        first = [{"action": "Stop", "uid": ended["metadata"]["uid"]}] if ended is not None else []
        await self._patch(call, options, _request_patch(machine, [*first, asked]), "status")

    async def stop(self, call: Call, options: Object) -> None:
        machine, strategy = self._machine(call), run_strategy(self._machine(call))
        vmi = self._running_instance(call)
        if vmi is None and strategy in ("Halted", "Manual", "RerunOnFailure"):
            raise _conflict(call.name, "VM is not running")
        if vmi is None and (self._instance(call) is None or strategy == "Once"):
            raise _conflict(call.name, "VM is not running")
        if strategy in ("Always", "Once"):
            await self._patch(call, options, _strategy_patch(machine, "Halted"))
        elif vmi is not None:
            await self._patch(call, options, _request_patch(machine, [{"action": "Stop", "uid": vmi["metadata"]["uid"]}]), "status")

    async def restart(self, call: Call, options: Object) -> None:
        machine, strategy = self._machine(call), run_strategy(self._machine(call))
        grace = options.get("gracePeriodSeconds")
        if grace not in (None, 0):
            raise errors.bad_request("For force restart, only gracePeriod=0 is supported for now")
        if strategy in ("Halted", "Once"):
            raise _conflict(call.name, f"RunStategy {strategy} does not support manual restart requests")
        vmi = self._running_instance(call)
        if vmi is None:
            raise _conflict(call.name, f"VM is not running: {strategy}")
        requests: list[Object] = [{"action": "Stop", "uid": vmi["metadata"]["uid"]}, {"action": "Start"}]
        await self._patch(call, options, _request_patch(machine, requests), "status")
        if grace == 0 and not options.get("dryRun"):
            await self._virt_api.cluster.delete(VIRTUAL_MACHINE_INSTANCES, call.name, call.namespace, vmi["metadata"]["uid"], grace_period=0)

    async def migrate(self, call: Call, options: Object) -> None:
        self._machine(call)
        vmi = self._instance(call)
        if vmi is None:
            raise errors.not_found(_INSTANCE, call.name)
        if (vmi.get("status") or {}).get("phase") != "Running":
            raise _conflict(call.name, "VM is not running")
        migration = {
            "apiVersion": MIGRATIONS.api_version, "kind": "VirtualMachineInstanceMigration",
            "metadata": {"generateName": "kubevirt-migrate-vm-", "namespace": call.namespace}, "spec": {"vmiName": call.name},
        }
        try:
            await self._virt_api.cluster.create(MIGRATIONS, migration, call.namespace, dry_run=bool(options.get("dryRun")))
        except StatusError as error:
            raise StatusError(
                500, "InternalError", f"Internal error occurred: {error.message}", {"causes": [{"message": error.message}]}
            ) from error


def _options(call: Call) -> Object:
    """The body of the request; nothing is as good as an empty one. Raises StatusError 400."""
    body = call.body
    if isinstance(body, bytes):
        try:
            body = json.loads(body) if body.strip() else {}
        except ValueError as error:
            raise errors.bad_request(f"Can not unmarshal Request body to struct, error: {error}") from error
    if not isinstance(body, dict):
        raise errors.bad_request("Can not unmarshal Request body to struct, error: not an object")
    return body


def _accepted(_call: Call) -> Result:
    return Result(202, body=b"")


def register(api: ApiServer, virt_api: VirtApi) -> None:
    actions = MachineActions(virt_api)
    named: dict[str, Action] = {"start": actions.start, "stop": actions.stop, "restart": actions.restart, "migrate": actions.migrate}
    for name, action in named.items():
        api.admission.prepare((GROUP, "virtualmachines"), "UPDATE", actions.prepared(action), name)
        api.subresources.register((GROUP, "virtualmachines"), name, _accepted)
    for resource, operations in ((_MACHINES, ("CREATE", "UPDATE")), (_INSTANCES, ("CREATE",))):
        for operation in operations:
            api.admission.register(resource, operation, read_again)


def read_again(request: AdmissionRequest) -> None:
    """The mutator writes the spec back as it has read it: what is null is not there, but for the time in a template's metadata.

    Source: pkg/virt-api/webhooks/mutating-webhook/mutators/{vms-mutator,vmi-mutator}.go.
    """
    if request.object is None or not isinstance(request.object.get("spec"), dict):
        return
    spec = request.object["spec"] = _without_nulls(request.object["spec"])
    template = spec.get("template")
    if isinstance(template, dict):
        template["metadata"] = {"creationTimestamp": None, **(template.get("metadata") or {})}


def _without_nulls(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: _without_nulls(below) for key, below in value.items() if below is not None}
    return [_without_nulls(below) for below in value] if isinstance(value, list) else value
