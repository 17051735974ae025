# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else can move VMs meanwhile, and how far the operator is. Pure but for the reading. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._cluster.client import Cluster
from .._errors import Forbidden
from .._placement.fitting import some
from ..access.holders import Holder, holders
from ..update.path import Path, path
from .finding import Finding

Json = dict[str, t.Any]


@dataclass(frozen=True)
class Surroundings:
    """C(holders) None and C(path) None are what could not be read, or is not there; the sentences say why it could not."""

    holders: list[Holder] | None = None
    no_holders: str = ""
    path: Path | None = None
    no_path: str = ""

    def versions(self) -> Json:
        """As the result has them; what is not known is null."""
        found = self.path
        return {
            "csv": (found.installed or None) if found else None, "hyperconverged": (found.hyperconverged_version or None) if found else None,
            "kubevirt": (found.kubevirt_version or None) if found else None, "approval": found.approval if found else None,
            "offered": (found.offered or None) if found else None,
        }


def read(cluster: Cluster, namespace: str) -> Surroundings:
    """Of C(namespace), which is KubeVirt's. What may not be read is left out."""
    try:
        able: list[Holder] | None = holders(cluster)
        no_holders = ""
    except Forbidden as error:
        able, no_holders = None, error.message
    try:
        return Surroundings(able, no_holders, path(cluster, namespace))
    except Forbidden as error:
        return Surroundings(able, no_holders, None, error.message)


def check(around: Surroundings, namespace: str) -> t.Iterator[Finding]:
    """For the cluster as a whole."""
    if around.no_holders:
        yield Finding(
            "migrate_rights_unknown", "Namespace", "", namespace, "who else may start or cancel migrations is not known, since it may not be read",
            f"{around.no_holders} Or ask somebody who may.", {"reason": around.no_holders},
        )
    if around.holders:
        yield _holders(around.holders, namespace)
    if around.no_path:
        yield Finding(
            "update_state_unknown", "Namespace", "", namespace, "whether an update of the operator waits or is blocked is not known, since it may not be read",
            f"{around.no_path} Or ask somebody who may.", {"reason": around.no_path},
        )
    if around.path is not None:
        yield from _path(around.path)


def _holders(able: t.Sequence[Holder], namespace: str) -> Finding:
    wide = [one for one in able if one.whole_cluster]
    where = f", {len(wide)} of them in the whole cluster" if wide else ""
    names = some([one.name for one in (*wide, *(one for one in able if not one.whole_cluster))])
    return Finding(
        "migrate_rights_held", "Namespace", "", namespace,
        f"{len(able)} users, groups or accounts beside cluster administrators may start or cancel migrations{where}: {names}. Theirs take the same slots, and "
        "they can cancel those of a drain",
        "Tell them of the window, or take away what they don't need: migrate_access_info says which binding gives it.",
        {"holders": [{"subject": one.name, "whole_cluster": one.whole_cluster, "namespaces": one.namespaces} for one in able]},
    )


def _path(known: Path) -> t.Iterator[Finding]:
    where = known.namespace
    if known.blocked:
        yield Finding(
            "update_blocked", "Subscription", where, known.subscription, f"the operator can't be updated: {'; '.join(known.blocked)}",
            "Remove the cause; operator_update says more.", {"reasons": list(known.blocked), "installed": known.installed},
        )
    elif known.under_way:
        yield Finding(
            "update_in_progress", "Subscription", where, known.subscription, f"the operator is being updated: {known.under_way}",
            "Wait until the update is over.", {"installed": known.installed},
        )
    elif known.install_plan:
        yield Finding(
            "update_waiting", "Subscription", where, known.subscription,
            f"{known.installed} is installed, and {known.offered} waits for approval (InstallPlan {known.install_plan})",
            "Approve it with operator_update in a window of its own, before or after VMs are moved.",
            {"installed": known.installed, "offered": known.offered, "install_plan": known.install_plan},
        )
    if known.not_upgradeable and not known.under_way:
        yield Finding(
            "not_upgradeable", "HyperConverged", where, known.hyperconverged, f"it does not let itself be updated: {known.not_upgradeable}",
            "Remove what it names, before an update is approved.", {"reason": known.not_upgradeable},
        )
