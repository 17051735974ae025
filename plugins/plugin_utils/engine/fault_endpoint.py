# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an administrator sets, sees and ends faults, and what carries them out."""
from __future__ import annotations

import asyncio
import contextlib
import json
import typing as t

from . import errors, faults
from .apiserver.chain import ApiServer
from .apiserver.request import Request, Response
from .clock import Clock
from .interface import Object
from .kubernetes.runtime import Runtime
from .kubevirt.virt_controller import pods

_INSTANCES, _PODS = ("kubevirt.io", "virtualmachineinstances"), ("", "pods")
_CRASHED = 1
"""Exit code of a virt-launcher whose guest crashed."""
PATH = "/engine.okd.virt/v1/faults"
_ONCE = ("crashGuests", "expireVersions")


class FaultEndpoint:
    """GET shows, PUT replaces, PATCH (JSON merge) changes, DELETE ends. RBAC decides who may: `nonResourceURLs`."""

    def __init__(self, api: ApiServer, clock: Clock, runtime: Runtime, drop_watches: t.Callable[[], None]) -> None:
        self._api, self._clock, self._runtime, self._drop_watches = api, clock, runtime, drop_watches
        self._said: Object = {}
        self._lost: tuple[str, ...] = ()
        self._dropping: asyncio.Task[None] | None = None
        api.endpoints[PATH] = self.handle

    def handle(self, request: Request) -> Response:
        """Raises StatusError 400, 405, 422; nothing has changed then."""
        method = request.method
        if method == "DELETE":
            self._set({})
        elif method in ("PUT", "PATCH"):
            try:
                given = json.loads(request.body)
            except ValueError as error:
                raise errors.bad_request(f"faults: the body is no JSON ({error}): give a JSON object") from error
            if method == "PATCH" and isinstance(given, dict):
                given = {name: value for name, value in {**self._said, **given}.items() if value is not None}
            self._set(given)
        elif method not in ("GET", "HEAD"):
            raise errors.method_not_allowed()
        return Response(200, json.dumps(self._said).encode())

    async def stop(self) -> None:
        if self._dropping is not None:
            self._dropping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._dropping
            self._dropping = None

    def _set(self, given: t.Any) -> None:
        nodes = {stored.name for stored in self._api.store.list(("", "nodes"))}
        # A node that was deleted while a fault was set for it is still known here.
        wanted, seed = faults.parse(given, nodes | set(self._lost) | self._said.get("clockSkew", {}).keys(), self._guests())
        self._said = {name: value for name, value in given.items() if name not in _ONCE and not (name == "dropWatches" and wanted.drop_now)}
        self._api.faults = faults.Chance(wanted, seed) if wanted.rules or wanted.refuse_writes else None
        self._api.faults_for_controllers = wanted.controllers
        for node in self._lost:
            if node not in wanted.lost_nodes:
                self._runtime.power_on(node)
        for node in wanted.lost_nodes:
            self._runtime.power_off(node)
        self._lost = wanted.lost_nodes
        self._runtime.set_clocks(wanted.skews)
        for name in wanted.crashed:
            self._crash(name)
        if wanted.expire_now:
            self._api.store.compact()
        if wanted.drop_now:
            self._drop(wanted.controllers)
        if self._dropping is not None:
            self._dropping.cancel()
            self._dropping = None
        if wanted.drop_every:
            self._dropping = asyncio.get_running_loop().create_task(self._keep_dropping(wanted.drop_every, wanted.controllers))

    def _guests(self) -> dict[str, Object]:
        """Those that run, by NAMESPACE/NAME."""
        found = self._api.store.list(_INSTANCES)
        return {f"{one.namespace}/{one.name}": one.value for one in found if (one.value.get("status") or {}).get("phase") == "Running"}

    def _crash(self, guest: str) -> None:
        vmi = self._guests()[guest]
        launchers = [one.value for one in self._api.store.list(_PODS, vmi["metadata"]["namespace"])]
        pod = pods.current_pod(vmi, [pod for pod in launchers if vmi["metadata"]["uid"] in pods.instance_uid(pod)])
        if pod is not None:
            self._runtime.exited(pod["metadata"]["uid"], _CRASHED)

    def _drop(self, controllers: bool) -> None:
        self._drop_watches()
        if controllers:
            self._api.store.end_watches()

    async def _keep_dropping(self, seconds: float, controllers: bool) -> None:
        while True:
            await self._clock.sleep(seconds, background=True)
            self._drop(controllers)
