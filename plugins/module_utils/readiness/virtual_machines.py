# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether each VM can move, and what an eviction would do to it. Pure. Private to this collection.

Source: KubeVirt pkg/virt-handler/vm.go (LiveMigratable), pkg/util/migrations/migrations.go (evictionStrategy).
"""

from __future__ import annotations

import typing as t

from .._migrations.obstacles import obstacle
from .._migrations.state import condition
from .facts import Facts
from .finding import BLOCKER, WARNING, Finding

Json = dict[str, t.Any]
_OUTDATED = "kubevirt.io/outdatedLauncherImage"
_KIND = "VirtualMachineInstance"
_STORAGE = "DisksNotLiveMigratable"


def check(facts: Facts) -> t.Iterator[Finding]:
    """Every VM that runs."""
    for vmi in facts.instances:
        metadata, status = vmi["metadata"], vmi["status"]
        if status.get("phase") != "Running" or metadata.get("deletionTimestamp"):
            continue
        yield from _of_one(vmi)
        if _OUTDATED in (metadata.get("labels") or {}):
            yield Finding(
                "launcher_outdated", _KIND, metadata["namespace"], metadata["name"], "its launcher is of an earlier version of KubeVirt",
                "Migrate it, or let the update of workloads do so (workloadUpdateStrategy of the HyperConverged).",
            )


def _of_one(vmi: Json) -> t.Iterator[Finding]:
    namespace, name = vmi["metadata"]["namespace"], vmi["metadata"]["name"]
    strategy = str(vmi["spec"].get("evictionStrategy") or "None")
    if condition(vmi, "LiveMigratable") is None:
        yield Finding(
            "migratability_unknown", _KIND, namespace, name, "KubeVirt has not said whether it can live-migrate",
            "Wait a moment. If it stays so, see whether virt-handler runs on its node.",
        )
        return
    found = obstacle(vmi)
    if found is not None:
        stays = strategy in ("LiveMigrate", "External")
        what = "a drain that evicts it never ends" if stays else "a drain shuts it down"
        data = {"reason": found.reason, "message": found.message, "eviction_strategy": strategy, "node": vmi["status"].get("nodeName")}
        yield Finding(
            "storage_not_shared" if found.reason == _STORAGE else "not_migratable", _KIND, namespace, name,
            f"it can't live-migrate ({found.reason}: {found.message}), and with evictionStrategy {strategy} {what}", found.remedy, data,
            BLOCKER if stays else WARNING,
        )
    elif strategy == "None":
        yield Finding(
            "eviction_strategy_none", _KIND, namespace, name, "it could live-migrate, but an eviction shuts it down: its evictionStrategy is None",
            "Set evictionStrategy to LiveMigrate in its VirtualMachine and restart it, or drain with move_by migration.", {"eviction_strategy": strategy},
        )
    elif strategy == "External":
        yield Finding(
            "eviction_strategy_external", _KIND, namespace, name, "another controller has to move it when its node is drained (evictionStrategy External)",
            "See that this controller runs, or set evictionStrategy to LiveMigrate.", {"eviction_strategy": strategy},
        )
