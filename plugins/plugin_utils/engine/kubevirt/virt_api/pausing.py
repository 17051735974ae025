# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pause and unpause of a VirtualMachineInstance: virt-api asks the virt-handler of its node.

Source: KubeVirt pkg/virt-api/rest/{pause,subresource}.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import collections.abc
import typing as t

from ... import errors
from ...apiserver.chain import ApiServer
from ...apiserver.resources import Call, Result
from ...interface import Object
from ..subresource_api import GROUP
from ..virt_controller import conditions, phases

_INSTANCES = ("kubevirt.io", "virtualmachineinstances")
Pause = t.Callable[[str, str, bool], collections.abc.Awaitable[None]]
"""What virt-handler does: namespace, name, and whether the guest is to stand still."""


class _Named(t.NamedTuple):
    group: str
    plural: str
    kind: str


_INSTANCE = _Named("kubevirt.io", "virtualmachineinstance", "VirtualMachineInstance")


def refuse(vmi: Object, paused: bool) -> str:
    """Why the guest can't be paused, or go on; empty when it can."""
    if phases.phase(vmi) != "Running":
        return "VM is not running"
    if conditions.is_true(vmi, "Paused") == paused:
        return "VMI is already paused" if paused else "VMI is not paused"
    return ""


def register(api: ApiServer, pause: Pause) -> None:
    """Serve both."""

    def prepared(paused: bool) -> t.Callable[[Call], collections.abc.Awaitable[None]]:
        async def act(call: Call) -> None:
            stored = api.store.get(_INSTANCES, call.namespace, call.name)
            if stored is None:
                raise errors.not_found(_INSTANCE, call.name)
            if text := refuse(stored.value, paused):
                raise errors.conflict(_INSTANCE, call.name, text)
            if paused and "livenessProbe" in stored.value["spec"]:
                raise errors.forbidden(_INSTANCE, call.name, "Pausing VMIs with LivenessProbe is currently not supported")
            if not (isinstance(call.body, dict) and call.body.get("dryRun")):
                await pause(call.namespace, call.name, paused)

        return act

    for name, paused in (("pause", True), ("unpause", False)):
        api.admission.prepare((GROUP, "virtualmachineinstances"), "UPDATE", prepared(paused), name)
        api.subresources.register((GROUP, "virtualmachineinstances"), name, lambda _call: Result(200, body=b""))
