# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many migrations may run at once, and what bounds each. Private to this collection.

Source: KubeVirt pkg/virt-config/virt-config.go (defaults), api/core/v1/types.go (MigrationConfiguration).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .state import is_active

Json = dict[str, t.Any]


@dataclass(frozen=True)
class Limits:
    """The effective settings of a cluster, before any MigrationPolicy. Seconds; bandwidth as a quantity per second."""

    per_cluster: int = 5
    per_node: int = 2
    bandwidth: str = "0"
    completion_seconds_per_gib: int = 150
    progress_seconds: int = 150
    auto_converge: bool = False
    post_copy: bool = False
    workload_disruption: bool = False
    network: str = ""
    encrypted: bool = True


def limits(kubevirt: Json | None) -> Limits:
    """What a KubeVirt object says, with KubeVirt's defaults for what it leaves out."""
    configuration = ((kubevirt or {}).get("spec") or {}).get("configuration") or {}
    given = configuration.get("migrations") or {}

    def value(name: str, default: t.Any) -> t.Any:
        found = given.get(name)
        return default if found is None else found

    post_copy = bool(value("allowPostCopy", False))
    return Limits(
        per_cluster=int(value("parallelMigrationsPerCluster", 5)), per_node=int(value("parallelOutboundMigrationsPerNode", 2)),
        bandwidth=str(value("bandwidthPerMigration", "0")), completion_seconds_per_gib=int(value("completionTimeoutPerGiB", 150)),
        progress_seconds=int(value("progressTimeout", 150)), auto_converge=bool(value("allowAutoConverge", False)), post_copy=post_copy,
        workload_disruption=bool(value("allowWorkloadDisruption", post_copy)), network=str(value("network", "") or ""),
        encrypted=not value("disableTLS", False),
    )


def overridden(known: Limits, policy: Json | None) -> Limits:
    """What holds for the VMs of a MigrationPolicy: what it sets in place of the cluster's. Post-copy brings the right to disturb the guest with it."""
    given = (policy or {}).get("spec") or {}
    names = {
        "bandwidthPerMigration": "bandwidth", "completionTimeoutPerGiB": "completion_seconds_per_gib", "allowAutoConverge": "auto_converge",
        "allowPostCopy": "post_copy", "allowWorkloadDisruption": "workload_disruption",
    }
    said = {ours: given[name] for name, ours in names.items() if given.get(name) is not None}
    if "post_copy" in said:
        said.setdefault("workload_disruption", said["post_copy"])
    return replace(known, **said)


def free_slots(known: Limits, migrations: t.Iterable[Json], out_of_node: t.Collection[tuple[str, str]]) -> int:
    """How many more may start out of a node whose instances these are, never below 0."""
    active = [(one["metadata"].get("namespace") or "", one["spec"].get("vmiName") or "") for one in migrations if is_active(one)]
    here = sum(1 for key in active if key in out_of_node)
    return max(0, min(known.per_cluster - len(active), known.per_node - here))
