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


def is_left(vmi: Object, pod: Object, home: Object | None) -> bool:
    """Whether the launcher, one of the instance's, has no guest and waits for none: the guest has ended, moved on, or did not come.

    `home` is the launcher that the guest runs in. The node tells the one that it has left, as sourcePod may name an earlier one.
    """
    if vmi["metadata"]["uid"] not in pods.instance_uid(pod):
        return False
    if phases.is_final(vmi):
        return True
    state = writes.state(vmi)
    if not state.get("completed"):
        return False
    if state.get("failed"):
        return bool(state.get("targetPod") == pod["metadata"]["name"])
    if home is None or pod["spec"].get("nodeName") != state.get("sourceNode") or vmi["status"].get("nodeName") == state.get("sourceNode"):
        return False
    # A newer one there is the target of the next migration.
    return bool(pod["metadata"]["creationTimestamp"] <= home["metadata"]["creationTimestamp"])


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
