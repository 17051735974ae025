# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pods ask for and what nodes have, in whole numbers: pure.

Source: Kubernetes pkg/api/v1/resource (PodRequests), pkg/scheduler/util/pod_resources.go (GetNonzeroRequests).
"""
from __future__ import annotations

import functools
import math
import typing as t

from ...apiserver.quantities import quantity
from ...interface import Object

Amounts = dict[str, int]
"""By resource: cpu in thousandths of a core, memory, storage and hugepages in bytes, everything else in pieces."""

CPU, MEMORY, PODS = "cpu", "memory", "pods"
LEAST_CPU, LEAST_MEMORY = 100, 200 * 1024 * 1024
"""What a container without requests counts as when nodes are compared."""


@functools.lru_cache(maxsize=8192)
def amount(resource: str, text: str) -> int:
    """A quantity, rounded up. Raises quantities.QuantityError."""
    value = quantity(text)
    return math.ceil(value * 1000 if resource == CPU else value)


def amounts(quantities: t.Mapping[str, t.Any] | None) -> Amounts:
    return {name: amount(name, str(text)) for name, text in (quantities or {}).items()}


def _requests(container: Object) -> Amounts:
    return amounts((container.get("resources") or {}).get("requests"))


def _add(total: Amounts, more: t.Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _at_least(total: Amounts, other: t.Mapping[str, int]) -> None:
    for name, value in other.items():
        total[name] = max(total.get(name, 0), value)


def pod_requests(spec: Object) -> Amounts:
    """What the pod holds while it is on a node: its containers together, or its largest init container, and its overhead.

    Init containers that go on (restartPolicy Always) count beside what comes after them. Requests of the pod as a whole go before those of
    its containers.
    """
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _requests(container))
    beside: Amounts = {}
    first: Amounts = {}
    for container in spec.get("initContainers") or ():
        wanted = _requests(container)
        if container.get("restartPolicy") == "Always":
            _add(beside, wanted)
            _at_least(first, beside)
        else:
            _add(wanted, beside)
            _at_least(first, wanted)
    _add(total, beside)
    _at_least(total, first)
    total.update(amounts((spec.get("resources") or {}).get("requests")))
    _add(total, amounts(spec.get("overhead")))
    return {name: value for name, value in total.items() if value}


def compared_requests(spec: Object) -> tuple[int, int]:
    """cpu and memory by which nodes are compared: containers that ask for nothing count a little."""
    cpu = memory = 0
    for container in spec.get("containers") or ():
        wanted = _requests(container)
        cpu += wanted.get(CPU, LEAST_CPU)
        memory += wanted.get(MEMORY, LEAST_MEMORY)
    return cpu, memory
