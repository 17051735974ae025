# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ClusterRoles with an aggregationRule get the rules of the roles that it selects.

Source: Kubernetes pkg/controller/clusterroleaggregation/clusterroleaggregation_controller.go.
"""
from __future__ import annotations

import typing as t

from ..controller import Controller
from ..interface import CLUSTER_ROLES, Object

_MANAGER = "clusterrole-aggregation-controller"
Labels = t.Mapping[str, str]


def selects(selector: Object, labels: Labels) -> bool:
    """Whether a LabelSelector object selects; an empty one selects everything."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(expression, labels) for expression in selector.get("matchExpressions") or ())


def _holds(expression: Object, labels: Labels) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or ()
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    if operator == "In":
        return key in labels and labels[key] in values
    return key not in labels or labels[key] not in values


def aggregated_rules(role: Object, roles: t.Iterable[Object]) -> list[Object]:
    """What the rules of an aggregating role must be: for each selector the rules of the others by name, each once."""
    by_name = sorted(roles, key=lambda one: t.cast(str, one["metadata"]["name"]))
    rules: list[Object] = []
    for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
        for other in by_name:
            if other["metadata"]["name"] == role["metadata"]["name"] or not selects(selector, other["metadata"].get("labels") or {}):
                continue
            rules.extend(rule for rule in other.get("rules") or () if rule not in rules)
    return rules


class RoleAggregation(Controller):
    name = _MANAGER

    def setup(self) -> None:
        self._roles = self.informer(CLUSTER_ROLES)
        self._roles.add_handler(self._changed)

    def _changed(self, _event: str, _obj: Object, _before: Object | None) -> None:
        for role in self._roles.list():
            if role.get("aggregationRule"):
                self.queue.add(role["metadata"]["name"])

    async def reconcile(self, key: str) -> float | None:
        role = self._roles.get(key)
        if role is None or not role.get("aggregationRule"):
            return None
        rules = aggregated_rules(role, self._roles.list())
        if rules == (role.get("rules") or []):
            return None
        wanted: Object = {"apiVersion": CLUSTER_ROLES.api_version, "kind": "ClusterRole", "metadata": {"name": key}}
        if rules:
            wanted["rules"] = rules
        await self.cluster.patch(
            CLUSTER_ROLES, key, wanted, content_type="application/apply-patch+yaml", field_manager=_MANAGER, force=True
        )
        return None
