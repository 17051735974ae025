# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small clusters with the real roles of Kubernetes and KubeVirt, for the tests of access."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ansible_collections.okd.virt.plugins.module_utils.access.outlook import OUTLOOKS
from ansible_collections.okd.virt.plugins.module_utils.access.rbac import settled
from ansible_collections.okd.virt.plugins.module_utils.access.roles import MIGRATE_RULES
from ansible_collections.okd.virt.plugins.module_utils.access.snapshot import Snapshot
from ansible_collections.okd.virt.plugins.module_utils.access.subjects import Groups
from ansible_collections.okd.virt.plugins.module_utils.access.temporary_role_shape import body
from ansible_collections.okd.virt.plugins.plugin_utils.engine import kubevirt

Json = dict[str, t.Any]
STRATEGIES = Path(kubevirt.__file__).parent / "install_strategies"
PREFIX = "rbac.authorization.k8s.io/aggregate-to-"
TEMPORARY = "kubevirt.io:upgrademigrate"
MIGRATE = "kubevirt.io:migrate"
EVERYTHING = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]


def shipped(version: str) -> list[Json]:
    """The ClusterRoles that virt-operator of a version makes, as recorded."""
    strategy = json.loads((STRATEGIES / f"v{version}.json").read_text(encoding="utf-8"))
    return [
        {"metadata": {"name": made["name"], "labels": dict(made["labels"])}, "rules": list(made["rules"])}
        for made in strategy["cluster_roles"]
        if made["name"].startswith("kubevirt.io:")
    ]


def role(name: str, rules: t.Sequence[Json] = (), target: str = "", selects: str = "") -> Json:
    """A ClusterRole, aggregated to one role and made of others."""
    made: Json = {"metadata": {"name": name, "labels": {PREFIX + target: "true"} if target else {}}, "rules": list(rules)}
    if selects:
        made["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {PREFIX + selects: "true"}}]}
    return made


def stock() -> list[Json]:
    """What Kubernetes ships, as far as it matters here."""
    bindings = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["create", "update"]}
    evictions = {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]}
    return [
        role("cluster-admin", EVERYTHING),
        role("admin", selects="admin"),
        role("edit", target="admin", selects="edit"),
        role("view", target="edit", selects="view"),
        role("system:aggregate-to-admin", [bindings], target="admin"),
        role("system:aggregate-to-edit", [evictions], target="edit"),
    ]


def cluster_roles(version: str, *others: Json, temporary: t.Sequence[str] = ()) -> dict[str, Json]:
    """All ClusterRoles of a cluster with KubeVirt of a version, aggregation done."""
    extra = [body(TEMPORARY, temporary)] if temporary else []
    return settled({each["metadata"]["name"]: each for each in (*stock(), *shipped(version), *extra, *others)})


def subject(text: str) -> Json:
    """user:alice, group:devs or serviceaccount:namespace:name."""
    kind, dummy, name = text.partition(":")
    if kind == "serviceaccount":
        namespace, dummy, name = name.partition(":")
        return {"kind": "ServiceAccount", "namespace": namespace, "name": name}
    return {"kind": kind.capitalize(), "name": name}


def bind(role_name: str, *subjects: str, namespace: str = "", name: str = "", kind: str = "ClusterRole") -> Json:
    """A binding; without a namespace for the whole cluster."""
    metadata = {"name": name or f"{role_name}-binding", **({"namespace": namespace} if namespace else {})}
    return {"metadata": metadata, "roleRef": {"kind": kind, "name": role_name}, "subjects": [subject(text) for text in subjects]}


def snapshot(
    roles: dict[str, Json], *bindings: Json, groups: dict[str, list[str]] | None = None, own: t.Sequence[Json] = ()
) -> Snapshot:
    """What would be read."""
    return Snapshot(
        roles,
        {(each["metadata"]["namespace"], each["metadata"]["name"]): each for each in own},
        [each for each in bindings if "namespace" not in each["metadata"]],
        [each for each in bindings if "namespace" in each["metadata"]],
        Groups([{"metadata": {"name": name}, "users": users} for name, users in (groups or {}).items()]),
    )


__all__ = (
    "EVERYTHING", "MIGRATE", "MIGRATE_RULES", "OUTLOOKS", "TEMPORARY", "Json", "bind", "cluster_roles", "role", "shipped", "snapshot", "stock",
)
