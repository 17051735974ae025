# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of live migration that stop it, or make it less safe. Pure. Private to this collection.

Source: KubeVirt pkg/virt-config; OKD documentation, modules/virt-configuring-live-migration-limits.adoc.
"""

from __future__ import annotations

import typing as t

from .._migrations.limits import limits
from .._migrations.state import condition
from .._quantity import quantity
from .facts import Facts
from .finding import Finding

Json = dict[str, t.Any]


def check(facts: Facts) -> t.Iterator[Finding]:
    """The KubeVirt as it is, whoever has set it."""
    kubevirt = facts.kubevirt
    if kubevirt is None:
        yield Finding("kubevirt_not_available", "KubeVirt", "", "", "the cluster has no KubeVirt", "Install OKD Virtualization.")
        return
    namespace, name = kubevirt["metadata"]["namespace"], kubevirt["metadata"]["name"]

    def finding(what: str, sentence: str, remedy: str, **data: t.Any) -> Finding:
        return Finding(what, "KubeVirt", namespace, name, sentence, remedy, data)

    available = condition(kubevirt, "Available") or {}
    if available.get("status") != "True":
        said = available.get("message") or "it does not say so"
        yield finding("kubevirt_not_available", f"KubeVirt is not available: {said}", "See to its operator and its pods first.")
    status = kubevirt.get("status") or {}
    if status.get("targetKubeVirtVersion") != status.get("observedKubeVirtVersion"):
        yield finding(
            "update_in_progress", f"KubeVirt is being updated to {status.get('targetKubeVirtVersion')}", "Wait until the update is over.",
            target=status.get("targetKubeVirtVersion"), observed=status.get("observedKubeVirtVersion"),
        )
    known, given = limits(kubevirt), ((kubevirt.get("spec") or {}).get("configuration") or {}).get("migrations") or {}
    for option, value in (("parallelMigrationsPerCluster", known.per_cluster), ("parallelOutboundMigrationsPerNode", known.per_node)):
        if value < 1:
            yield finding("no_parallel_migrations", f"{option} is {value}: no migration ever starts", f"Set {option} to 1 at least.", setting=option)
    if quantity(known.bandwidth) <= 0 and known.per_node > 1:
        yield finding(
            "bandwidth_unlimited", f"a migration may take all of a node's link, and {known.per_node} may leave a node at once",
            "Set bandwidthPerMigration where the link is shared with the VMs' own traffic.", parallel_outbound_migrations_per_node=known.per_node,
        )
    if not known.network:
        yield finding("migration_network_shared", "migrations use the network of pods", "Give them a network of their own where it is a burden (network).")
    if given.get("disableTLS"):
        yield finding("tls_disabled", "the memory of VMs is sent without encryption (disableTLS)", "Take disableTLS out of the jsonpatch annotation.")
    if given.get("unsafeMigrationOverride"):
        yield finding(
            "unsafe_migration_override", "VMs are migrated that can't be safely (unsafeMigrationOverride)", "Take it out of the jsonpatch annotation."
        )
