# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of each pod of a node that is drained. Pure. Private to this collection.

Source: kubectl pkg/drain/filters.go; KubeVirt pod-eviction-admitter.go, pkg/util/migrations/migrations.go.
"""

from __future__ import annotations

import enum
import typing as t
from dataclasses import dataclass, field

from .._budgets import judge
from .._migrations.state import condition, is_migratable
from .._pods import instance_key, is_finished, is_launcher, role
from .request import BY_EVICTION, RESTART, SKIP, Request

Json = dict[str, t.Any]
Key = tuple[str, str]
ATTACHMENT = "hotplug-disk"
_MIRROR = "kubernetes.io/config.mirror"


class Way(enum.Enum):
    """How a pod leaves the node, or why it does not."""

    MIGRATE = "migrate"
    EVICT = "evict"
    REMOVE = "remove"
    RESTART = "restart"
    WAIT = "wait"
    LEAVE = "leave"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Fate:
    """C(code) is a word that stays the same, C(sentence) is for people; C(vmi) names the instance behind a launcher pod."""

    way: Way
    code: str
    sentence: str
    vmi: Key | None = None


@dataclass
class Around:
    """What a pod's fate depends on besides itself: instances by key, budgets, and the uids of the pods on the node."""

    vmis: t.Mapping[Key, Json] = field(default_factory=dict)
    budgets: t.Sequence[Json] = ()
    pod_uids: t.Collection[str] = ()


def fate(pod: Json, node: str, around: Around, request: Request) -> Fate:
    """What becomes of a pod of the node."""
    metadata = pod["metadata"]
    if _MIRROR in (metadata.get("annotations") or {}):
        return Fate(Way.LEAVE, "mirror_pod", "it is a static pod, which only its kubelet can remove")
    controller = next((one for one in metadata.get("ownerReferences") or () if one.get("controller")), None)
    if is_finished(pod):
        return Fate(Way.REMOVE, "finished", "it has ended; what is left is removed")
    if metadata.get("deletionTimestamp"):
        return Fate(Way.WAIT, "terminating", "it is going down already")
    if is_launcher(pod):
        return _launcher(pod, node, around, request)
    if role(pod) == ATTACHMENT and controller and controller.get("uid") in around.pod_uids:
        return Fate(Way.WAIT, "with_its_vm", "it holds hot-plugged disks and goes when its VM has left")
    if controller and controller.get("kind") == "DaemonSet":
        if request.ignore_daemonsets:
            return Fate(Way.LEAVE, "daemon_set", f"DaemonSet {controller.get('name')} keeps it on every node")
        return _blocked("daemon_set", f"DaemonSet {controller.get('name')} would make it anew: set ignore_daemonsets")
    if not controller and not request.evict_uncontrolled:
        return _blocked("uncontrolled", "no controller would make it anew elsewhere: set evict_uncontrolled to lose it")
    if not request.delete_emptydir_data and any("emptyDir" in volume for volume in (pod.get("spec") or {}).get("volumes") or ()):
        return _blocked("emptydir_data", "its emptyDir volumes would be lost: set delete_emptydir_data")
    verdict = judge(pod, around.budgets)
    if verdict.never:
        return _blocked(verdict.code, verdict.sentence)
    return Fate(Way.EVICT, verdict.code or "evicted", verdict.sentence or "it is evicted")


def _blocked(code: str, sentence: str, vmi: Key | None = None) -> Fate:
    return Fate(Way.BLOCKED, code, sentence, vmi)


def _launcher(pod: Json, node: str, around: Around, request: Request) -> Fate:
    key = instance_key(pod)
    vmi = around.vmis.get(key)
    if vmi is None:
        return Fate(Way.WAIT, "leaving", f"VM {'/'.join(key)} is no longer here; its launcher ends", key)
    status = vmi.get("status") or {}
    if status.get("nodeName") != node:
        return Fate(Way.WAIT, "arriving", f"VM {'/'.join(key)} is on its way to this node, or has just left it", key)
    if status.get("phase") != "Running" or vmi["metadata"].get("deletionTimestamp"):
        return Fate(Way.WAIT, "not_running", f"VM {'/'.join(key)} is {status.get('phase') or 'starting'}", key)
    if condition(vmi, "LiveMigratable") is None:
        return Fate(Way.WAIT, "not_reported", f"KubeVirt has not said yet whether VM {'/'.join(key)} can live-migrate", key)
    strategy = str((vmi.get("spec") or {}).get("evictionStrategy") or "None")
    if strategy == "External":
        return Fate(Way.EVICT, "external", f"VM {'/'.join(key)} is moved by another controller (evictionStrategy External), which is told", key)
    if not is_migratable(vmi):
        return _unmigratable(vmi, key, request, "not_migratable", _why_not(vmi))
    if strategy == "None" and request.move_by == BY_EVICTION:
        return _unmigratable(vmi, key, request, "strategy_none", "its evictionStrategy is None: an eviction shuts it down (move_by migration moves it)")
    return Fate(Way.MIGRATE, "migrates", f"VM {'/'.join(key)} live-migrates", key)


def _why_not(vmi: Json) -> str:
    found = condition(vmi, "LiveMigratable") or {}
    return f"KubeVirt says {found.get('reason') or 'NotMigratable'}: {found.get('message') or 'no reason given'}"


def _unmigratable(vmi: Json, key: Key, request: Request, code: str, why: str) -> Fate:
    name = "/".join(key)
    if request.on_unmigratable == SKIP:
        return Fate(Way.LEAVE, f"{code}_skipped", f"VM {name} stays on the node, as asked: {why}", key)
    owner = next((one for one in vmi["metadata"].get("ownerReferences") or () if one.get("kind") == "VirtualMachine"), None)
    if request.on_unmigratable == RESTART and owner is not None:
        return Fate(Way.RESTART, f"{code}_restarted", f"VM {name} is stopped and started again elsewhere, as asked: {why}", key)
    if request.on_unmigratable == RESTART:
        return _blocked("bare_instance", f"VM {name} can't live-migrate and has no VirtualMachine that would start it again: stop it yourself ({why})", key)
    return _blocked(code, f"VM {name} can't live-migrate: {why}. Remove the cause, or set on_unmigratable to skip or stop_and_restart", key)
