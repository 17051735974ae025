# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sentence that says why a pod is not scheduled: pure.

Source: Kubernetes pkg/scheduler/framework/types.go (FitError.Error), pkg/scheduler/framework/preemption/preemption.go.
"""
from __future__ import annotations

import collections
import typing as t

from .filters import Refusal

NO_NODES = "no nodes available to schedule pods"
_HELPLESS, _NO_VICTIMS = "Preemption is not helpful for scheduling", "No preemption victims found for incoming pod"


def counted(reasons: t.Iterable[str]) -> str:
    """`1 Insufficient memory, 3 node(s) were unschedulable`, sorted as text."""
    counts = collections.Counter(reasons)
    return ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))


def unschedulable(nodes: int, refusals: t.Sequence[Refusal], preemption: bool = True) -> str:
    """What the condition and the event say of a pod that none of so many nodes takes. Each refusal is one node's."""
    if not nodes:
        return NO_NODES
    first = f"0/{nodes} nodes are available: {counted(reason for refusal in refusals for reason in refusal.reasons)}."
    if not preemption:
        return f"{first} preemption: not eligible due to preemptionPolicy=Never."
    victims = counted(_HELPLESS if refusal.helpless else _NO_VICTIMS for refusal in refusals)
    return f"{first} preemption: 0/{nodes} nodes are available: {victims}."
