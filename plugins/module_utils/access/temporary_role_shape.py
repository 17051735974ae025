# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the temporary migration role must look like, and what is wrong with one that exists: pure. Private to this collection."""

from __future__ import annotations

import typing as t

from .roles import (
    AGGREGATE_PREFIX,
    AGGREGATE_VALUE,
    MANAGED_BY,
    MANAGER,
    MIGRATE_RULES,
    RBAC_VERSION,
    SHIPPED,
    TARGETS,
    VIRT_OPERATORS,
    Json,
    aggregate_label,
    same_rules,
)

#: What virt-operator puts on its own objects besides MANAGED_BY. A role cloned from a shipped one has them too.
#: Source: KubeVirt pkg/virt-operator/resource/apply/core.go injectOperatorMetadata.
OPERATOR_LABELS = (
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
    "kubevirt.io",
)
OPERATOR_ANNOTATIONS = (
    "kubevirt.io/install-strategy-version",
    "kubevirt.io/install-strategy-registry",
    "kubevirt.io/install-strategy-identifier",
    "kubevirt.io/generation",
)


class NotOurs(ValueError):
    """The name belongs to a role that Kubernetes or KubeVirt ships."""


def refuse_shipped(name: str, role: Json | None) -> None:
    """Raise NotOurs when the role of that name is one that somebody ships and reconciles."""
    if name in SHIPPED or name.startswith("system:"):
        raise NotOurs(f"{name} is a ClusterRole that Kubernetes or KubeVirt ships")
    labels = (role or {}).get("metadata", {}).get("labels") or {}
    if labels.get("kubernetes.io/bootstrapping"):
        raise NotOurs(f"{name} is a bootstrap ClusterRole (label kubernetes.io/bootstrapping)")


def body(name: str, aggregate_to: t.Sequence[str]) -> Json:
    """The role as the documentation means it, with labels that are valid."""
    labels = {aggregate_label(target): AGGREGATE_VALUE for target in aggregate_to}
    return {
        "apiVersion": RBAC_VERSION,
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {**labels, MANAGED_BY: MANAGER}},
        "rules": [dict(rule) for rule in MIGRATE_RULES],
    }


def repairs(role: Json, aggregate_to: t.Sequence[str]) -> tuple[Json, list[str]]:
    """A merge patch that makes a role right, and what was wrong with it; both empty when it is right.

    A right role made by hand stays as it is: our own label is not added to it.
    """
    metadata = role["metadata"]
    labels, label_faults = _labels(metadata.get("labels") or {}, aggregate_to)
    annotations: Json = {}
    faults = list(label_faults)
    if (metadata.get("labels") or {}).get(MANAGED_BY) in VIRT_OPERATORS:
        annotations = {key: None for key in OPERATOR_ANNOTATIONS if key in (metadata.get("annotations") or {})}
    patch: Json = {}
    if role.get("aggregationRule") is not None:
        faults.append("has an aggregationRule, by which its rules are overwritten")
        patch["aggregationRule"] = None
    if not same_rules(role.get("rules"), MIGRATE_RULES):
        faults.append("its rules are not those of live migration")
    if "aggregationRule" in patch or not same_rules(role.get("rules"), MIGRATE_RULES):
        patch["rules"] = [dict(rule) for rule in MIGRATE_RULES]
    changed = {key: value for key, value in (("labels", labels), ("annotations", annotations)) if value}
    if changed:
        patch["metadata"] = changed
    return patch, faults


def _labels(labels: t.Mapping[str, str], aggregate_to: t.Sequence[str]) -> tuple[Json, list[str]]:
    patch: Json = {}
    faults: list[str] = []
    for target in aggregate_to:
        label = aggregate_label(target)
        if label not in labels:
            faults.append(f"has no label {label}")
        elif labels[label] != AGGREGATE_VALUE:
            faults.append(f'label {label} is "{labels[label]}" instead of "{AGGREGATE_VALUE}"')
        if labels.get(label) != AGGREGATE_VALUE:
            patch[label] = AGGREGATE_VALUE
    for key, value in labels.items():
        if not key.startswith(AGGREGATE_PREFIX):
            continue
        if "=" in key:
            faults.append(f"label {key} is written as key=value, so that nothing selects it")
            patch[key] = None
        elif key not in patch and value == AGGREGATE_VALUE and key.removeprefix(AGGREGATE_PREFIX) not in aggregate_to:
            faults.append(f"label {key} gives it to {key.removeprefix(AGGREGATE_PREFIX)}, which was not asked for")
            patch[key] = None
    if labels.get(MANAGED_BY) in VIRT_OPERATORS:
        faults.append(f"label {MANAGED_BY} is {labels[MANAGED_BY]}, so that virt-operator would delete it")
        patch[MANAGED_BY] = MANAGER
        patch.update({key: None for key in OPERATOR_LABELS if key in labels})
    return patch, faults


def lost_targets(role: Json, aggregate_to: t.Sequence[str]) -> list[str]:
    """Roles that have live migration by this role now and will not after it was made right."""
    labels = role["metadata"].get("labels") or {}
    now = [target for target in TARGETS if labels.get(aggregate_label(target)) == AGGREGATE_VALUE]
    # What is aggregated to edit reaches admin too, since edit itself is aggregated to admin.
    return [
        target for target in now if target not in aggregate_to and not (target == "admin" and "edit" in aggregate_to)
    ]
