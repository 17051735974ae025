# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-launchers without a guest: those that wait for one, how long they do, and those that have none any more.

Source: KubeVirt cmd/virt-launcher/virt-launcher.go, pkg/virt-launcher/monitor.go, v1.5.3.
"""
from __future__ import annotations

import asyncio

from ...controller import WorkQueue
from ...interface import Object
from ..virt_controller import phases, pods
from . import instance_writes as writes

_TIMEOUT = "--qemu-timeout"
_LONGEST = 360.0


def is_left(vmi: Object, pod: Object) -> bool:
    """Whether the launcher, one of the instance's, has no guest and waits for none: the guest has ended, moved on, or did not come."""
    if vmi["metadata"]["uid"] not in pods.instance_uid(pod):
        return False
    if phases.is_final(vmi):
        return True
    state = writes.state(vmi)
    left = state.get("targetPod") if state.get("failed") else state.get("sourcePod")
    return bool(state.get("completed")) and left == pod["metadata"]["name"]


def has_guest(vmi: Object, pod: Object) -> bool:
    """Whether the instance's guest runs in the launcher, or is on its way there."""
    state = writes.state(vmi)
    if state.get("targetPod") == pod["metadata"]["name"] and state.get("targetNodeAddress"):
        return True
    return phases.phase(vmi) == "Running" and bool(vmi["status"].get("nodeName") == pod["spec"].get("nodeName"))


def patience(pod: Object) -> float:
    """Engine seconds that the launcher waits for a guest before it ends."""
    for container in pod["spec"]["containers"]:
        command: list[str] = container.get("command") or []
        if _TIMEOUT in command:
            return float(command[command.index(_TIMEOUT) + 1].removesuffix("s"))
    return _LONGEST


class Waiting:
    """Launchers that wait for a guest. The queue gets ("", UID) when one has waited long enough."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue
        self._waiting: dict[str, tuple[Object, asyncio.Task[None]]] = {}

    def begin(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        timer = self._queue.add_after(("", uid), patience(pod)) if uid not in self._waiting else None
        if timer is not None:
            self._waiting[uid] = pod, timer

    def over(self, uid: str) -> Object | None:
        """It has its guest, has ended, or has waited long enough: the pod, if it waited."""
        pod, timer = self._waiting.pop(uid, (None, None))
        if timer is not None:
            timer.cancel()
        return pod
