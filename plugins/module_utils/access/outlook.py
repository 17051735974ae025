# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ClusterRoles will be after the update to 4.19: pure. Private to this collection.

Source: KubeVirt pkg/virt-operator/resource/generate/rbac/cluster.go v1.5; pkg/virt-operator/resource/apply/rbac.go.
"""

from __future__ import annotations

from .rbac import Roles, settled
from .roles import AGGREGATE_VALUE, MIGRATE_ROLE, MIGRATE_RULES, TARGETS, Json, aggregate_label
from .temporary_role_shape import body

NOW = "now"
#: The update, with whatever temporary role there is now.
AS_IS = "as_is"
#: The update, and the temporary role deleted (again).
WITHOUT_TEMPORARY_ROLE = "without_temporary_role"
#: The update with the temporary role as documented.
AGGREGATE_TO_ADMIN = "aggregate_to_admin"
#: The update with the temporary role for editors too.
AGGREGATE_TO_EDIT = "aggregate_to_edit"
OUTLOOKS = (AS_IS, WITHOUT_TEMPORARY_ROLE, AGGREGATE_TO_ADMIN, AGGREGATE_TO_EDIT)
SCENARIOS = (NOW, *OUTLOOKS)

#: The roles that had live migration in 4.18 and only read migrations in 4.19, with the role that each is aggregated to.
REDUCED = {"kubevirt.io:admin": "admin", "kubevirt.io:edit": "edit"}
_READ_RULE: Json = {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachineinstancemigrations"], "verbs": ["get", "list", "watch"]}
_WRITTEN = ("virtualmachineinstancemigrations", "virtualmachines/migrate")


def after_update(roles: Roles) -> dict[str, Json]:
    """The roles as virt-operator of KubeVirt 1.5 writes them; aggregation has not followed yet.

    It replaces rules as a whole, and merges labels: required ones are set again, those of users stay.
    """
    after = dict(roles)
    for name, target in REDUCED.items():
        if name in roles:
            required = {"kubevirt.io": "", aggregate_label(target): AGGREGATE_VALUE}
            after[name] = _shipped(roles[name], [*_others(roles[name]), _READ_RULE], required)
    after[MIGRATE_ROLE] = _shipped(roles.get(MIGRATE_ROLE) or {"metadata": {"name": MIGRATE_ROLE}}, list(MIGRATE_RULES), {"kubevirt.io": ""})
    return after


def _others(role: Json) -> list[Json]:
    """Rules that have nothing to do with live migration, without those that somebody added by hand as wildcards."""
    kept = []
    for rule in role.get("rules") or ():
        resources = [resource for resource in rule.get("resources") or () if resource not in _WRITTEN and "*" not in resource]
        if resources:
            kept.append({**rule, "resources": resources})
    return kept


def _shipped(role: Json, rules: list[Json], labels: Json) -> Json:
    metadata = role["metadata"]
    return {**role, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}, "rules": rules}


def scenarios(roles: Roles, temporary_role: str) -> dict[str, dict[str, Json]]:
    """The roles now, and after the update in each of its variants, aggregation done."""
    updated = after_update(roles)
    without = {name: role for name, role in updated.items() if name != temporary_role}
    return {
        NOW: dict(roles),
        AS_IS: settled(updated),
        WITHOUT_TEMPORARY_ROLE: settled(without),
        AGGREGATE_TO_ADMIN: settled({**without, temporary_role: body(temporary_role, ["admin"])}),
        AGGREGATE_TO_EDIT: settled({**without, temporary_role: body(temporary_role, list(TARGETS))}),
    }
