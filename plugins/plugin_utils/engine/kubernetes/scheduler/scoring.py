# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the nodes that can take a pod takes it: the emptier the better, and whatever the pod and the node prefer.

Source: Kubernetes pkg/scheduler/framework/plugins/noderesources/{least_allocated,balanced_allocation}.go, tainttoleration, nodeaffinity,
interpodaffinity, podtopologyspread; weights of pkg/scheduler/apis/config/v1/default_plugins.go. Images are not compared.
"""
from __future__ import annotations

import typing as t

from ...interface import Object
from . import node_affinity, taints
from .company import Company
from .nodes import NodeRecord, PodRecord
from .requests import CPU, MEMORY
from .spreading import Spreading

_TAINTS, _NODE_AFFINITY, _SPREADING, _COMPANY = 3, 2, 2, 2


def resources(pod: PodRecord, record: NodeRecord) -> float:
    """Least allocated and balanced allocation together, 0 to 200."""
    cpus, memory = record.allocatable.get(CPU, 0), record.allocatable.get(MEMORY, 0)
    if not cpus or not memory:
        return 0.0
    left = max(0, cpus - record.cpu - pod.cpu) * 100 // cpus + max(0, memory - record.memory - pod.memory) * 100 // memory
    cpu_part = min(1.0, (record.used.get(CPU, 0) + pod.requests.get(CPU, 0)) / cpus)
    memory_part = min(1.0, (record.used.get(MEMORY, 0) + pod.requests.get(MEMORY, 0)) / memory)
    return left // 2 + int((1 - abs(cpu_part - memory_part) / 2) * 100)


def best(pod: PodRecord, spec: Object, records: t.Sequence[NodeRecord], company: Company, spreading: Spreading) -> NodeRecord:
    """The node with the highest score; of equals the first."""
    if len(records) == 1:
        return records[0]
    scores = [resources(pod, record) for record in records]
    tolerations = spec.get("tolerations") or ()
    _raise(scores, _TAINTS, _fewest([taints.disliked(tolerations, record.taints) if record.taints else 0 for record in records]))
    preferred = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    if preferred.get("preferredDuringSchedulingIgnoredDuringExecution"):
        weights = [node_affinity.preferred_weight(spec, record.name, record.labels) for record in records]
        most = max(weights)
        if most:
            _raise(scores, _NODE_AFFINITY, [100 * weight // most for weight in weights])
    _raise(scores, _SPREADING, spreading.scores(records))
    wishes = company.wishes()
    if wishes:
        _raise(scores, _COMPANY, _scaled([
            sum(worth[record.labels[key]] for key, worth in wishes.items() if key in record.labels) for record in records
        ]))
    return records[scores.index(max(scores))]


def _raise(scores: list[float], weight: int, more: t.Sequence[float] | None) -> None:
    if more is not None:
        for index, value in enumerate(more):
            scores[index] += weight * value


def _fewest(counts: t.Sequence[int]) -> list[float] | None:
    most = max(counts)
    return [100 - 100 * count // most for count in counts] if most else None


def _scaled(worths: t.Sequence[int]) -> list[float] | None:
    least, most = min(worths), max(worths)
    return [100 * (worth - least) / (most - least) for worth in worths] if most > least else None
