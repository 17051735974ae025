# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which MigrationPolicy holds for an instance, and what it changes: pure.

Source: KubeVirt pkg/virt-controller/watch/migration/migrationpolicy.go, staging/src/kubevirt.io/api/migrations/v1alpha1/types.go, v1.5.3.
"""
from __future__ import annotations

import dataclasses
import typing as t

from ...interface import Object, Ref
from .configuration import Migrations, bandwidth

MIGRATION_POLICIES = Ref("migrations.kubevirt.io", "v1alpha1", "migrationpolicies")
_FIELDS = {
    "allowAutoConverge": "allow_auto_converge", "completionTimeoutPerGiB": "completion_timeout_per_gib", "allowPostCopy": "allow_post_copy",
    "allowWorkloadDisruption": "allow_workload_disruption",
}


def _matching(wanted: t.Mapping[str, str], labels: t.Mapping[str, str]) -> int | None:
    """How many labels match, or None when one does not."""
    return len(wanted) if wanted.items() <= labels.items() else None


def winner(policies: t.Iterable[Object], vmi_labels: t.Mapping[str, str], namespace_labels: t.Mapping[str, str]) -> Object | None:
    """The policy with the most matching labels; of equals the one with more of the instance's, then the first by name."""
    best: tuple[int, int, str] | None = None
    found: Object | None = None
    for policy in policies:
        selectors = (policy.get("spec") or {}).get("selectors")
        if selectors is None:
            continue
        of_vmi = _matching(selectors.get("virtualMachineInstanceSelector") or {}, vmi_labels)
        of_namespace = _matching(selectors.get("namespaceSelector") or {}, namespace_labels)
        if of_vmi is None or of_namespace is None:
            continue
        rank = (-(of_vmi + of_namespace), -of_vmi, policy["metadata"]["name"])
        if best is None or rank < best:
            best, found = rank, policy
    return found


def applied(policy: Object, settings: Migrations) -> tuple[Migrations, bool]:
    """The settings with what the policy sets, and whether that changes any of them."""
    spec = policy.get("spec") or {}
    changes: dict[str, t.Any] = {ours: spec[theirs] for theirs, ours in _FIELDS.items() if spec.get(theirs) is not None}
    if spec.get("bandwidthPerMigration") is not None:
        changes["bandwidth_per_migration"] = bandwidth(spec["bandwidthPerMigration"])
    # KubeVirt 1.4 does not know disruption; later, whoever allows post-copy and says no more allows it too.
    if settings.allow_workload_disruption is None:
        changes.pop("allow_workload_disruption", None)
    elif "allow_post_copy" in changes:
        changes.setdefault("allow_workload_disruption", changes["allow_post_copy"])
    made = dataclasses.replace(settings, **changes)
    return made, bool(changes)


def effective(
    policies: t.Iterable[Object], vmi_labels: t.Mapping[str, str], namespace_labels: t.Mapping[str, str], settings: Migrations
) -> tuple[Migrations, str]:
    """The settings that hold for an instance, and the name of the policy that changes any of them; empty for none."""
    policy = winner(policies, vmi_labels, namespace_labels)
    if policy is None:
        return settings, ""
    made, changed = applied(policy, settings)
    return made, policy["metadata"]["name"] if changed else ""
