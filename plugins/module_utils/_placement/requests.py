# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pod reserves on its node, of every resource. Pure. Private to this collection.

Source: Kubernetes component-helpers resource (PodRequests), pkg/scheduler/framework/plugins/nodeports.
"""

from __future__ import annotations

import functools
import math
import typing as t

from .._quantity import quantity

Json = dict[str, t.Any]
Amounts = dict[str, int]
"""By resource: cpu in thousandths of a core, memory, storage and huge pages in bytes, everything else in pieces."""
CPU, MEMORY, PODS = "cpu", "memory", "pods"
Port = tuple[str, int, str]
"""Protocol, port of the node, address of the node."""
_ANY = "0.0.0.0"  # noqa: S104


@functools.lru_cache(maxsize=8192)
def amount(resource: str, text: str) -> int:
    """A quantity, rounded up; 0 for what can't be read."""
    value = quantity(text)
    # What a float adds behind the comma must not become one more.
    return math.ceil(round(value * 1000 if resource == CPU else value, 6))


def amounts(quantities: t.Mapping[str, t.Any] | None) -> Amounts:
    """Quantities by resource as numbers."""
    return {name: amount(name, str(text)) for name, text in (quantities or {}).items()}


def requests_of(pod: Json) -> Amounts:
    """What the scheduler reserves for a pod: its containers together, or its largest init container, and its overhead.

    Init containers that go on (restartPolicy Always) count beside what comes after them; requests of the pod as a whole go before those of its containers.
    """
    spec = pod.get("spec") or {}
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _of_container(container))
    beside: Amounts = {}
    first: Amounts = {}
    for container in spec.get("initContainers") or ():
        wanted = _of_container(container)
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


def _of_container(container: Json) -> Amounts:
    return amounts((container.get("resources") or {}).get("requests"))


def _add(total: Amounts, more: t.Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _at_least(total: Amounts, other: t.Mapping[str, int]) -> None:
    for name, value in other.items():
        total[name] = max(total.get(name, 0), value)


def host_ports(pod: Json) -> tuple[Port, ...]:
    """The ports of its node that a pod wants for itself."""
    return tuple(
        (port.get("protocol") or "TCP", int(port["hostPort"]), port.get("hostIP") or _ANY)
        for container in (pod.get("spec") or {}).get("containers") or () for port in container.get("ports") or () if port.get("hostPort")
    )


def clash(ports: t.Iterable[Port], others: t.Collection[Port]) -> bool:
    """Whether a node can't give both."""
    return any(one[:2] == other[:2] and (one[2] == other[2] or _ANY in (one[2], other[2])) for one in ports for other in others)
