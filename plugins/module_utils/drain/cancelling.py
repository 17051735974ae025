# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state evacuation_cancelled: stop what moves, take back what was marked, give the node back. Private to this collection."""

from __future__ import annotations

import time
import typing as t

from .._cluster.resources import NODES, VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, VIRTUAL_MACHINE_INSTANCES
from .._errors import ApiError, DeadlineExceeded, Forbidden, PreconditionFailed
from .._migrations.ours import EVACUATION
from .._migrations.state import is_final, may_cancel, vmi_key
from .._plan import Change, Outcome, Plan
from .._verb import Context
from . import claiming, claims
from .moves import is_ours, keep
from .observed import Observed, is_cordoned, name_of
from .request import Request
from .turn_writing import forget
from .turns import is_marked

Json = dict[str, t.Any]
_LOOK, _QUIET = 1.0, 2.0
"""Seconds between two looks, and for which nothing may appear any more: the run that was stopped may have had a request under way."""
_NO_TURN = "has no turn any more among nodes that are drained one after the other"


def cancel_plan(observed: Observed, request: Request) -> Plan:
    """What would be deleted, cleared and uncordoned, and in the facts what can't be undone."""
    changes: list[Change] = []
    facts: list[Json] = []
    for node in observed.nodes:
        name, kept = name_of(node), list[Json]()
        for migration in _of_node(observed.migrations, name, request.clear_marks):
            problem = may_cancel(migration, observed.vmis.get(vmi_key(migration)))
            metadata = migration["metadata"]
            if problem is None:
                reason = f"VM {'/'.join(vmi_key(migration))} stays on {name}"
                changes.append(Change("delete", "VirtualMachineInstanceMigration", metadata["namespace"], metadata["name"], reason))
            else:
                kept.append({"kind": "VirtualMachineInstance", "namespace": metadata["namespace"], "name": vmi_key(migration)[1],
                             "code": problem.code, "reason": problem.sentence})
        for key in _marked(observed, name):
            if request.clear_marks:
                changes.append(Change("patch", "VirtualMachineInstance", *key, "KubeVirt shall not move it any more",
                                      {"status": {"evacuationNodeName": name}}, {"status": {}}))
            else:
                kept.append({"kind": "VirtualMachineInstance", "namespace": key[0], "name": key[1], "code": "marked",
                             "reason": "it is marked for evacuation and will still leave: only KubeVirt's own account can clear the mark (clear_marks)"})
        claim = claims.claim_of(node)
        if is_cordoned(node) and not (claim is not None and claim.was_unschedulable):
            changes.append(Change("patch", "Node", "", name, "takes new pods again", {"spec": {"unschedulable": True}}, {"spec": {"unschedulable": False}}))
        elif claim is not None:
            changes.append(Change("patch", "Node", "", name, "is claimed no longer"))
        if is_marked(node):
            changes.append(Change("patch", "Node", "", name, _NO_TURN))
        facts.append({"name": name, "state": "cancelled", "not_undone": kept})
    return Plan(tuple(changes), facts={"nodes": facts})


def _of_node(migrations: t.Iterable[Json], node: str, evacuations: bool) -> list[Json]:
    """The unfinished migrations out of a node that are ours, or that KubeVirt makes for its marks."""
    def meant(one: Json) -> bool:
        return is_ours(one, node) or (evacuations and (one["metadata"].get("annotations") or {}).get(EVACUATION) == node)

    return [one for one in migrations if not is_final(one) and meant(one)]


def _marked(observed: Observed, node: str) -> list[tuple[str, str]]:
    return sorted(key for key, vmi in observed.vmis.items() if (vmi.get("status") or {}).get("evacuationNodeName") == node)


def cancel(context: Context, observed: Observed, request: Request) -> Outcome:
    """Do it, and wait until nothing moves that could be stopped. Raises PreconditionFailed, Forbidden, DeadlineExceeded."""
    planned = cancel_plan(observed, request)
    if planned.empty:
        return _outcome(planned, observed, [])
    own, made = claims.mine(observed.user), list[Change]()
    deadline = context.deadline(request.deadline)
    for node in observed.nodes:
        _cancel_node(context, observed, request, name_of(node), own, made, deadline)
    return _outcome(planned, observed, made)


def _cancel_node(
    context: Context, observed: Observed, request: Request, name: str, own: claims.Claim, made: list[Change], deadline: float
) -> None:
    cluster, listener = context.cluster, context.listener
    node = cluster.get(NODES, name)
    if node is None:
        raise PreconditionFailed(f"Node {name} is gone.", node=name, code="node_gone")
    before = claims.claim_of(node)
    cordoned = is_cordoned(node)
    # Whoever drains it sees that it is no longer theirs, and starts nothing more.
    claimed = _seize(context, name, own, before, request)
    if is_marked(node):
        forget(cluster, name, everything=True)
        made.append(Change("patch", "Node", "", name, _NO_TURN))
    if request.clear_marks:
        _clear_marks(context, observed, name, made)
    _delete_migrations(context, request, name, made, deadline, quiet=_QUIET if before is not None else 0.0)
    uncordon = not (before is not None and before.was_unschedulable)
    claiming.give_back(cluster, name, claimed, uncordon)
    if uncordon and cordoned:
        made.append(Change("patch", "Node", "", name, "takes new pods again", {"spec": {"unschedulable": True}}, {"spec": {"unschedulable": False}}))
    listener.event(f"{name}: the drain is cancelled{'; the node takes new pods again' if uncordon else ''}", node=name)


def _seize(context: Context, name: str, own: claims.Claim, before: claims.Claim | None, request: Request) -> claims.Claim:
    held = before is not None and before.process != own.process and not claims.is_abandoned(before, claims.now())
    if held and before is not None and not request.take_over and not claims.same_user(before, own):
        raise PreconditionFailed(
            f"Node {name} is being drained by {before.holder} since {before.began} (run {before.run}). Set take_over to cancel it in their place.",
            node=name, holder=before.holder, run=before.run, code="held",
        )
    claimed = own.cancelling(claims.now())
    context.cluster.merge_patch(NODES, name, {"metadata": {"annotations": {claims.CLAIM: claimed.text()}}})
    return claimed


def _clear_marks(context: Context, observed: Observed, name: str, made: list[Change]) -> None:
    namespace = ((observed.kubevirt or {}).get("metadata") or {}).get("namespace", "")
    account = context.cluster.impersonating(f"system:serviceaccount:{namespace}:kubevirt-controller")
    for key in _marked(observed, name):
        patch = [{"op": "test", "path": "/status/evacuationNodeName", "value": name}, {"op": "remove", "path": "/status/evacuationNodeName"}]
        try:
            account.json_patch(VIRTUAL_MACHINE_INSTANCES, key[1], patch, key[0])
        except Forbidden as error:
            raise Forbidden(
                f"clear_marks: {error.message} It needs the verb impersonate on serviceaccount kubevirt-controller in namespace {namespace}.",
                error.status, error.reason, error.request,
            ) from error
        except ApiError as error:
            # It has moved, or is gone: there is no mark any more.
            if error.status not in (404, 422):
                raise
            continue
        made.append(Change("patch", "VirtualMachineInstance", *key, "KubeVirt shall not move it any more",
                           {"status": {"evacuationNodeName": name}}, {"status": {}}))
        context.listener.event(f"{name}: VM {'/'.join(key)} is no longer marked", node=name, vm="/".join(key))


def _delete_migrations(context: Context, request: Request, name: str, made: list[Change], deadline: float, quiet: float) -> None:
    """Delete what may be deleted until nothing more appears. Raises DeadlineExceeded."""
    cluster, asked, still = context.cluster, set[str](), time.monotonic() + quiet
    while True:
        migrations = cluster.list(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, missing_ok=True, keep=keep).items
        left = []
        for one in _of_node(migrations, name, request.clear_marks):
            metadata, key = one["metadata"], vmi_key(one)
            if may_cancel(one, cluster.get(VIRTUAL_MACHINE_INSTANCES, key[1], key[0])) is not None:
                continue
            left.append(f"the migration of VM {'/'.join(key)} is being stopped")
            if metadata["uid"] in asked:
                continue
            asked.add(metadata["uid"])
            if cluster.delete(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, metadata["name"], metadata["namespace"], uid=metadata["uid"]):
                reason = f"VM {'/'.join(key)} stays on {name}"
                made.append(Change("delete", "VirtualMachineInstanceMigration", metadata["namespace"], metadata["name"], reason))
                context.listener.event(f"{name}: the migration of VM {'/'.join(key)} is cancelled", node=name, vm="/".join(key))
        if not left and time.monotonic() >= still:
            return
        if not request.wait and not left:
            return
        if time.monotonic() >= deadline:
            raise DeadlineExceeded(f"Node {name}: {'; '.join(left)}.", left, node=name)
        time.sleep(_LOOK)


def _outcome(planned: Plan, observed: Observed, made: list[Change]) -> Outcome:
    facts = planned.facts["nodes"]
    kept = [entry for one in facts for entry in one["not_undone"]]
    names = ", ".join(name_of(node) for node in observed.nodes)
    msg = f"{names}: the drain is cancelled, {sum(1 for one in made if one.verb == 'delete')} migrations were stopped."
    if not made:
        msg = f"{names}: there is nothing to cancel."
    if kept:
        msg += " Not undone: " + "; ".join(f"VM {one['namespace']}/{one['name']}: {one['reason']}" for one in kept) + "."
    outcome = Outcome(bool(made), msg, summary={"nodes": len(facts), "not_undone": len(kept)}, result={"nodes": facts})
    outcome.actions = [change.to_dict() for change in made]
    return outcome
