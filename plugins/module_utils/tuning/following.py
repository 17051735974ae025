# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until KubeVirt has what HyperConverged says, and virt-handler runs with it. Private to this collection.

Source: KubeVirt pkg/virt-operator/resource/generate/components/daemonsets.go (the network in virt-handler's template).
"""

from __future__ import annotations

import typing as t

from .._cluster.resources import DAEMON_SETS, KUBEVIRTS
from .._cluster.waiting import Snapshot, Target, Verdict, wait_for_all
from .._verb import Context
from .effective import configured, differences
from .served import resource_of

Json = dict[str, t.Any]
_NETWORKS = "k8s.v1.cni.cncf.io/networks"
_HANDLER = "virt-handler"


def follow(context: Context, namespace: str, hyperconverged: Json, rolls: bool) -> Json | None:
    """The KubeVirt once it follows. C(rolls) is whether virt-handler gets another network. Raises DeadlineExceeded with what is missing.

    What the jsonpatch annotation says differently is no reason to wait.
    """
    operator = Target(resource_of(hyperconverged), namespace, hyperconverged["metadata"]["name"])
    kubevirts, handler = Target(KUBEVIRTS, namespace), Target(DAEMON_SETS, namespace, _HANDLER)
    found: list[Json | None] = [None]

    def judge(snapshot: Snapshot) -> Verdict:
        found[0] = next(iter(snapshot.all(kubevirts)), None)
        now = snapshot.one(operator) or hyperconverged
        if found[0] is None:
            return Verdict(False, (f"namespace {namespace} has no KubeVirt",))
        pending = tuple(
            f"KubeVirt has {one.key} {one.kubevirt} still, not {one.hyperconverged}" for one in differences(now, found[0]) if one.cause != "json_patch"
        )
        if not pending and rolls:
            network = configured(now)["network"]
            pending = _rolling(snapshot.one(handler), str(network or ""))
        return Verdict(not pending, pending, pending[0] if pending and rolls else "")

    targets = (operator, kubevirts, handler) if rolls else (operator, kubevirts)
    wait_for_all(context.cluster, targets, judge, context.deadline(context.options["wait_timeout"]), context.listener, "The take-over by KubeVirt")
    return found[0]


def _rolling(handler: Json | None, network: str) -> tuple[str, ...]:
    """What virt-handler lacks to run on every node with that network, or with none."""
    if handler is None:
        return (f"there is no DaemonSet {_HANDLER}",)
    annotations = (((handler["spec"].get("template") or {}).get("metadata") or {}).get("annotations")) or {}
    attached = str(annotations.get(_NETWORKS) or "")
    if (f"{network}@migration0" not in attached) if network else ("@migration0" in attached):
        return (f"virt-handler does not have the network {network or 'of pods'} yet",)
    status = handler.get("status") or {}
    if (status.get("observedGeneration") or 0) < (handler["metadata"].get("generation") or 0):
        return ("the roll-out of virt-handler has not begun",)
    desired = status.get("desiredNumberScheduled") or 0
    updated, available = status.get("updatedNumberScheduled") or 0, status.get("numberAvailable") or 0
    if updated < desired or available < desired:
        return (f"virt-handler runs anew on {min(updated, available)} of {desired} nodes",)
    return ()
