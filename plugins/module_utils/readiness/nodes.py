# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that take no VMs, and those whose virt-handler is silent. Pure. Private to this collection.

Source: KubeVirt pkg/virt-handler/heartbeat, pkg/virt-controller/watch/node (schedulable, heartbeat older than 5 min).
"""

from __future__ import annotations

import typing as t

from .._migrations.state import condition
from .._migrations.times import moment
from .facts import HEARTBEAT, Facts
from .finding import Finding

_SCHEDULABLE = "kubevirt.io/schedulable"
_LONGEST_SILENCE = 300.0


def with_virt_handler(facts: Facts) -> list[str]:
    """The nodes on which virt-handler runs, or ran."""
    return [node["metadata"]["name"] for node in facts.nodes if _SCHEDULABLE in (node["metadata"].get("labels") or {})]


def check(facts: Facts) -> t.Iterator[Finding]:
    """Every node on which virt-handler runs, or ran."""
    beats = {node["metadata"]["name"]: moment((node["metadata"].get("annotations") or {}).get(HEARTBEAT)) for node in facts.nodes}
    # The cluster's clock may be another one than this machine's: silence is measured against the latest beat of all.
    latest = max((beat for beat in beats.values() if beat is not None), default=None)
    for node in facts.nodes:
        name, labels = node["metadata"]["name"], node["metadata"].get("labels") or {}
        if _SCHEDULABLE not in labels:
            continue
        if node["spec"].get("unschedulable"):
            yield Finding("node_cordoned", "Node", "", name, "it is cordoned: no VM can come to it", "Uncordon it when its maintenance is over.")
        if (condition(node, "Ready") or {}).get("status") != "True":
            yield Finding("node_not_ready", "Node", "", name, "it is not ready: no VM can come to it, and its VMs can't move", "See to its kubelet.")
        elif labels[_SCHEDULABLE] != "true":
            yield Finding(
                "node_not_schedulable_for_vms", "Node", "", name, f"KubeVirt sends no VM to it ({_SCHEDULABLE} is {labels[_SCHEDULABLE]})",
                "See to virt-handler on it: the label comes back with its heartbeat.",
            )
        beat = beats[name]
        if latest is not None and (beat is None or (latest - beat).total_seconds() > _LONGEST_SILENCE):
            since = f"since {beat.isoformat()}" if beat is not None else "so far"
            yield Finding(
                "heartbeat_stale", "Node", "", name, f"virt-handler has given no sign {since}", "See to virt-handler on it.",
                {"heartbeat": beat.isoformat() if beat is not None else None},
            )
