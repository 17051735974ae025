# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health gates: what must hold in the cluster before another node is drained, in JMESPath on any object. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._cluster.client import Cluster
from .._cluster.discovery import find_resource
from .._errors import OptionError, VirtError

try:
    import jmespath
except ImportError:
    jmespath = None

Json = dict[str, t.Any]


@dataclass(frozen=True)
class Gate:
    """One object, or a list of them, and the expression that must be true of it. C(compiled) is the expression."""

    api_version: str
    kind: str
    query: str
    compiled: t.Any
    name: str = ""
    namespace: str = ""
    label_selector: str = ""
    sentence: str = ""

    @property
    def what(self) -> str:
        where = "/".join(part for part in (self.namespace, self.name) if part)
        return self.sentence or f"{self.kind}{' ' + where if where else ''} does not satisfy {self.query}"


def gates(given: t.Sequence[Json]) -> tuple[Gate, ...]:
    """The option health. Raises OptionError for an expression that is none, and where jmespath is missing."""
    if given and jmespath is None:
        raise OptionError("health needs the Python library jmespath, which is not installed where the task runs.")
    made = []
    for number, one in enumerate(given):
        try:
            compiled = jmespath.compile(one["query"])
        except (ValueError, jmespath.exceptions.JMESPathError) as error:
            raise OptionError(f"health[{number}].query is no JMESPath: {error}.") from error
        made.append(Gate(
            one.get("api_version") or "v1", one["kind"], one["query"], compiled, one.get("name") or "", one.get("namespace") or "",
            one.get("label_selector") or "", one.get("sentence") or "",
        ))
    return tuple(made)


def unhealthy(cluster: Cluster, wanted: t.Iterable[Gate]) -> str:
    """What does not hold, in words; "" when all does. What can't be read does not hold."""
    problems = []
    for gate in wanted:
        try:
            holds = _holds(cluster, gate)
        except VirtError as error:
            problems.append(f"{gate.what} ({error.message})")
            continue
        if not holds:
            problems.append(gate.what)
    return "; ".join(problems)


def _holds(cluster: Cluster, gate: Gate) -> bool:
    resource = find_resource(cluster, gate.api_version, gate.kind)
    if gate.name:
        found: t.Any = cluster.get(resource, gate.name, gate.namespace or None)
        if found is None:
            return False
    else:
        found = cluster.list(resource, gate.namespace or None, gate.label_selector or None).items
    return bool(gate.compiled.search(found))
