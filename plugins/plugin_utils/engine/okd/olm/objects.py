# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of OLM, and small things that its controllers share."""
from __future__ import annotations

import typing as t

from ...interface import Object, Ref

SUBSCRIPTIONS = Ref("operators.coreos.com", "v1alpha1", "subscriptions")
INSTALL_PLANS = Ref("operators.coreos.com", "v1alpha1", "installplans")
CLUSTER_SERVICE_VERSIONS = Ref("operators.coreos.com", "v1alpha1", "clusterserviceversions")
CATALOG_SOURCES = Ref("operators.coreos.com", "v1alpha1", "catalogsources")
OPERATOR_GROUPS = Ref("operators.coreos.com", "v1", "operatorgroups")
OPERATOR_CONDITIONS = Ref("operators.coreos.com", "v2", "operatorconditions")
CATALOG_ANNOTATION = "engine.okd.virt/catalog"
"""On a CatalogSource: the ConfigMap beside it that holds what its index image would."""
COPIED_FROM = "olm.copiedFrom"


def condition(conditions: t.Iterable[Object] | None, kind: str) -> Object | None:
    return next((entry for entry in conditions or () if entry.get("type") == kind), None)


def with_condition(conditions: t.Iterable[Object] | None, kind: str, status: str, now: str, **more: str) -> list[Object]:
    """The conditions with one set; the time of the last transition changes with its status only."""
    before = condition(conditions, kind)
    since = before["lastTransitionTime"] if before is not None and before["status"] == status else now
    made = {"type": kind, "status": status, "lastTransitionTime": since, **more}
    others = [entry for entry in conditions or () if entry.get("type") != kind]
    return [*others, made]


def is_copy(csv: Object) -> bool:
    """Whether a ClusterServiceVersion is a copy of one in another namespace."""
    return COPIED_FROM in (csv["metadata"].get("labels") or {})
