# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drain would do, pod by pod. Pure. Private to this collection."""

from __future__ import annotations

import typing as t

from .._errors import PreconditionFailed
from .._migrations.memory import memory_bytes
from .._plan import Change, Plan
from . import claims
from .decide import Standing
from .fates import Way, fate, is_launcher
from .moves import NODE_ANNOTATION, attempts
from .observed import Observed, is_cordoned, name_of
from .request import BY_MIGRATION, CORDONED, DRAINED, UNCORDONED, Request

Json = dict[str, t.Any]
_LISTED = 5


def make_plan(observed: Observed, request: Request) -> Plan:
    """The changes, and the facts of each node. Raises PreconditionFailed when a pod can't leave, or somebody else drains a node."""
    if request.state == CORDONED:
        return Plan(tuple(_cordon(node, True, "cordoned, as asked") for node in observed.nodes if not is_cordoned(node)))
    if request.state == UNCORDONED:
        _check_claims(observed, request)
        return Plan(tuple(_cordon(node, False, "uncordoned, as asked") for node in observed.nodes if is_cordoned(node)))
    if request.state != DRAINED:
        return Plan()
    _check_claims(observed, request)
    changes: list[Change] = []
    facts: list[Json] = []
    refusals: list[Json] = []
    for node in observed.nodes:
        planned, described, refused = _of_node(node, observed, request)
        changes += planned
        facts.append(described)
        refusals += refused
    if refusals:
        raise _refusal(refusals, facts)
    return Plan(tuple(changes), facts={"nodes": facts})


def _check_claims(observed: Observed, request: Request) -> None:
    for node in observed.nodes:
        found = claims.claim_of(node)
        if found is None or request.take_over or claims.is_abandoned(found, observed.moment) or _same_user(found, observed.user):
            continue
        raise PreconditionFailed(
            f"Node {name_of(node)} is being drained by {found.holder} since {found.began} (run {found.run}). Nothing was changed. "
            "Wait for that run, or set take_over to go on in its place.",
            node=name_of(node), holder=found.holder, run=found.run, code="held",
        )


def _same_user(found: claims.Claim, user: str) -> bool:
    """Their own earlier run may only be waiting for its lease to end; apply finds that out."""
    return found.holder.rpartition(" on ")[0] == user


def _cordon(node: Json, unschedulable: bool, reason: str) -> Change:
    return Change(
        "patch", "Node", "", name_of(node), reason, {"spec": {"unschedulable": is_cordoned(node)}}, {"spec": {"unschedulable": unschedulable}}
    )


def _of_node(node: Json, observed: Observed, request: Request) -> tuple[list[Change], Json, list[Json]]:
    name = name_of(node)
    standing = [Standing(pod, fate(pod, name, observed.around(name), request)) for pod in observed.pods[name]]
    changes = [] if is_cordoned(node) else [_cordon(node, True, "no new pods while it is drained")]
    tried = attempts(observed.migrations, "", name)
    described: Json = {"name": name, "cordoned": is_cordoned(node), "pods": []}
    for one in sorted(standing, key=lambda item: _importance(item, observed)):
        current = tried[one.fate.vmi].current if one.fate.vmi in tried else None
        described["pods"].append(describe(one) | ({"migration": current["metadata"]["name"]} if current else {}))
        if current is None:
            changes += _change(one, name, request)
    refused = [describe(one) | {"node": name} for one in standing if one.fate.way is Way.BLOCKED]
    return changes, described, refused


def _importance(one: Standing, observed: Observed) -> tuple[int, int, str, str]:
    """In the order in which they go: the largest VMs first, then the others."""
    metadata = one.pod["metadata"]
    vmi = observed.vmis.get(one.fate.vmi) if one.fate.vmi else None
    return (0 if vmi else 1), -(memory_bytes(vmi) if vmi else 0), metadata["namespace"], metadata["name"]


def _change(one: Standing, node: str, request: Request) -> list[Change]:
    metadata, way = one.pod["metadata"], one.fate.way
    namespace, vm = one.fate.vmi or (metadata["namespace"], metadata["name"])
    if way is Way.MIGRATE and request.move_by == BY_MIGRATION:
        after = {"metadata": {"annotations": {NODE_ANNOTATION: node}}, "spec": {"vmiName": vm}}
        return [Change("create", "VirtualMachineInstanceMigration", namespace, vm, f"moves VM {namespace}/{vm} out of {node}", None, after)]
    if way is Way.RESTART:
        return [Change("restart", "VirtualMachine", namespace, vm, one.fate.sentence)]
    if way in (Way.MIGRATE, Way.EVICT, Way.REMOVE):
        return [Change("evict", "Pod", metadata["namespace"], metadata["name"], one.fate.sentence)]
    return []


def describe(one: Standing) -> Json:
    """A pod, or the VM in it, with what becomes of it."""
    metadata = one.pod["metadata"]
    vm = one.fate.vmi if is_launcher(one.pod) else None
    kind, name = ("VirtualMachineInstance", vm[1]) if vm else ("Pod", metadata["name"])
    return {
        "kind": kind, "namespace": metadata["namespace"], "name": name, "pod": metadata["name"], "way": one.fate.way.value, "code": one.fate.code,
        "reason": one.fate.sentence,
    }


def _refusal(refusals: list[Json], facts: list[Json]) -> PreconditionFailed:
    shown = "; ".join(f"{one['namespace']}/{one['pod']}: {one['reason']}" for one in refusals[:_LISTED])
    more = f"; and {len(refusals) - _LISTED} more" if len(refusals) > _LISTED else ""
    nodes = ", ".join(dict.fromkeys(one["node"] for one in refusals))
    return PreconditionFailed(
        f"Node {nodes} can't be emptied: {shown}{more}. Nothing was changed.", code="cannot_leave", blocked=refusals, nodes=facts
    )
