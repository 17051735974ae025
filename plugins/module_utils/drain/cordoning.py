# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states cordoned and uncordoned. Private to this collection."""

from __future__ import annotations

from .._cluster.resources import NODES
from .._plan import Outcome, Plan
from .._verb import Context
from .claims import CLAIM
from .observed import Observed, name_of


def set_schedulable(context: Context, observed: Observed, planned: Plan) -> Outcome:
    """Write what was planned. Whoever uncordons a node ends what is left of a drain of it."""
    for change in planned.changes:
        unschedulable = bool((change.after or {})["spec"]["unschedulable"])
        patch = {"spec": {"unschedulable": unschedulable}}
        if not unschedulable:
            patch["metadata"] = {"annotations": {CLAIM: None}}  # type: ignore[dict-item]
        context.cluster.merge_patch(NODES, change.name, patch)
        context.listener.event(f"{change.name}: {'cordoned' if unschedulable else 'uncordoned'}", node=change.name)
    names = ", ".join(name_of(node) for node in observed.nodes)
    msg = f"{names}: {len(planned.changes)} of {len(observed.nodes)} changed."
    facts = [{"name": name_of(node)} for node in observed.nodes]
    return Outcome(bool(planned.changes), msg, summary={"nodes": len(observed.nodes), "changes": len(planned.changes)}, result={"nodes": facts})
