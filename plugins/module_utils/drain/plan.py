# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drain would do, pod by pod. Pure. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from .._errors import PreconditionFailed
from .._migrations.guests import guest_of
from .._migrations.limits import limits
from .._migrations.memory import memory_bytes
from .._placement.fitting import Fit
from .._placement.verdict import WINDOW
from .._plan import Change, Plan
from .._pods import is_launcher
from . import claims
from .decide import Standing
from .fates import Way, fate
from .moves import NODE_ANNOTATION, attempts
from .observed import Observed, is_cordoned, name_of
from .outlook import Outlook, expected, outlook
from .request import BY_MIGRATION, CORDONED, DRAINED, UNCORDONED, Request

Json = dict[str, t.Any]
_LISTED = 5


def make_plan(observed: Observed, request: Request) -> Plan:
    """The changes, and the facts of each node. Raises PreconditionFailed when a pod can't leave, or somebody else drains a node."""
    if request.state == CORDONED:
        return Plan(tuple(_cordon(node, True, "cordoned, as asked") for node in observed.nodes if not is_cordoned(node)))
    if request.state == UNCORDONED:
        check_claims(observed, request)
        return Plan(tuple(_cordon(node, False, "uncordoned, as asked") for node in observed.nodes if is_cordoned(node)))
    if request.state != DRAINED:
        return Plan()
    check_claims(observed, request)
    changes: list[Change] = []
    facts: list[Json] = []
    refusals: list[Json] = []
    standing = {name_of(node): _standing(node, observed, request) for node in observed.nodes}
    found = _outlook(standing, observed, request)
    for node in observed.nodes:
        planned, described, refused = _of_node(node, standing[name_of(node)], observed, request, found)
        changes += planned
        facts.append(described)
        refusals += refused
    if refusals:
        raise _refusal(refusals, facts)
    warnings = (*observed.warnings, *(found.warnings() if found else ()))
    room = {"spare_memory": found.spare_memory(), "placement": found.verdict} if found else {}
    return Plan(tuple(changes), warnings, {"nodes": facts} | room)


def check_claims(observed: Observed, request: Request) -> None:
    """Raises PreconditionFailed when somebody else is at work on a node."""
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


@dataclass(frozen=True)
class _Pod:
    """A pod of a node that is drained. C(current) is the migration that moves it already."""

    standing: Standing
    current: Json | None


def _standing(node: Json, observed: Observed, request: Request) -> list[_Pod]:
    """The pods of a node, in the order in which they go."""
    name = name_of(node)
    around, tried = observed.around(name), attempts(observed.migrations, "", name)
    found = [Standing(pod, fate(pod, name, around, request)) for pod in observed.pods[name]]
    found.sort(key=lambda one: _importance(one, observed))
    return [_Pod(one, tried[one.fate.vmi].current if one.fate.vmi in tried else None) for one in found]


def _outlook(standing: t.Mapping[str, list[_Pod]], observed: Observed, request: Request) -> Outlook | None:
    """Where the VMs fit that are still to move; None when other nodes were not read."""
    if observed.cluster is None:
        return None
    still = [one.standing for pods in standing.values() for one in pods if one.current is None]
    leaving, restarted, told = ([one.pod for one in still if one.fate.way is way] for way in (Way.MIGRATE, Way.RESTART, Way.EVICT))
    around = observed.cluster
    # KubeVirt takes marked VMs in an order of its own.
    window = max(WINDOW, limits(observed.kubevirt).per_cluster) if request.move_by == BY_MIGRATION else None
    return outlook(around.nodes, around.pods, leaving, restarted, standing.keys(), request.max_parallel, around.namespaces, told, window)


def _of_node(node: Json, pods: list[_Pod], observed: Observed, request: Request, found: Outlook | None) -> tuple[list[Change], Json, list[Json]]:
    name = name_of(node)
    changes = [] if is_cordoned(node) else [_cordon(node, True, "no new pods while it is drained")]
    described: Json = {"name": name, "cordoned": is_cordoned(node), "pods": []}
    refused: list[Json] = []
    for one in pods:
        metadata = one.standing.pod["metadata"]
        fit = found.fits.get((metadata["namespace"], metadata["name"])) if found else None
        entry = describe(_with_fit(one.standing, fit, request))
        entry |= {"migration": one.current["metadata"]["name"]} if one.current else {}
        entry |= {"fit": fit.to_dict()} if fit else {}
        described["pods"].append(entry)
        if entry["way"] == Way.BLOCKED.value:
            refused.append(entry | {"node": name})
        elif one.current is None:
            changes += _change(one.standing, name, request)
    vmis = [observed.vmis[key] for one in pods if (key := one.standing.fate.vmi) in observed.vmis and key and one.standing.fate.way is Way.MIGRATE]
    described["expected"] = expected([guest_of(vmi) for vmi in vmis], limits(observed.kubevirt), min(request.max_parallel, len(observed.nodes)))
    return changes, described, refused


def _with_fit(one: Standing, fit: Fit | None, request: Request) -> Standing:
    """A VM that fits nowhere can't leave, unless it is to be tried all the same."""
    if fit is None or not fit.code:
        return one
    name = "/".join(one.fate.vmi or ())
    if not request.require_room:
        return replace(one, fate=replace(one.fate, code=fit.code, sentence=f"{one.fate.sentence}, as soon as a node takes it: {fit.sentence()}"))
    remedy = "Make room or uncordon a node, or try all the same with require_room false"
    return replace(one, fate=replace(one.fate, way=Way.BLOCKED, code=fit.code, sentence=f"no node takes VM {name}: {fit.sentence()}. {remedy}"))


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


def lines(node: Json) -> list[str]:
    """The plan of a node for people: what becomes of each pod, and how long it may take."""
    found = [f"{node['name']}:"]
    for one in node["pods"]:
        fit = f" ({_place(one['fit'])})" if one.get("fit") and one["way"] == Way.MIGRATE.value else ""
        found.append(f"  {one['way']:<8} {one['namespace']}/{one['name']}: {one['reason']}{fit}")
    expectation = node["expected"]
    if expectation["assumptions"]:
        seconds = expectation["seconds"]
        time = "The migrations would never end" if seconds is None else f"The migrations are expected to take {seconds:.0f} s"
        found.append(f"  {time}, if {'; '.join(expectation['assumptions'])}.")
    return found


def _place(fit: Json) -> str:
    others = f"{fit['fits']} nodes have room" if fit["fits"] != 1 else "1 node has room"
    return f"{others}, {fit['target']} for all together" if fit["target"] else f"{others}, but not for all together"
