# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state cancelled: migrations of VMs stopped, unless they are in post-copy. Private to this collection."""

from __future__ import annotations

import time
import typing as t

from .._cluster.following import Following, Target
from .._cluster.resources import VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, VIRTUAL_MACHINE_INSTANCES
from .._errors import Conflict, DeadlineExceeded, VirtError
from .._migrations.reasons import own_state
from .._migrations.state import is_final, may_cancel, succeeded
from .._plan import Change, Outcome
from .._verb import Context
from .plan import CANCEL, CANNOT_CANCEL, STAY, Intent
from .request import Request

Json = dict[str, t.Any]
_LOOK = 5.0
_LISTED = 5


class NotCancelled(VirtError):
    """Migrations go on that can't be stopped any more; the details say which and why."""


def cancel(context: Context, request: Request, intents: t.Sequence[Intent]) -> Outcome:
    """Stop what may be stopped, and wait until it has. Raises NotCancelled, DeadlineExceeded."""
    described = {one.key: one.to_dict() for one in intents}
    changes: list[Change] = []
    stopping: list[Intent] = []
    try:
        stopping.extend(one for one in intents if one.way == CANCEL and _delete(context, one, described[one.key], changes))
        if request.wait and stopping:
            _wait(context, request, stopping, described)
    except VirtError as error:
        error.details.update(_details(described, changes))
        raise
    details = _details(described, changes)
    goes_on = [one for one in described.values() if one["state"] == CANNOT_CANCEL]
    if goes_on:
        shown = "; ".join(f"VM {one['namespace']}/{one['name']}: {one['reason']}" for one in goes_on[:_LISTED])
        raise NotCancelled(f"{len(goes_on)} migrations could not be cancelled: {shown}. Wait until they have ended.", code=goes_on[0]["code"], **details)
    number = details["summary"]["cancelled"]
    msg = f"{number} migration{'s were' if number != 1 else ' was'} cancelled." if changes else "Nothing to cancel: no migration is under way."
    late = details["summary"]["moved"]
    if late:
        msg += f" {late} had ended before they could be stopped: those VMs have moved."
    outcome = Outcome(bool(changes), msg, summary=details["summary"], result={"vms": details["vms"]})
    outcome.actions = details["actions"]
    return outcome


def _details(described: t.Mapping[t.Any, Json], changes: t.Sequence[Change]) -> Json:
    vms = list(described.values())
    counted = {name: sum(1 for one in vms if one["state"] == name) for name in ("cancelled", "moved", STAY, CANNOT_CANCEL)}
    summary = {
        "vms": len(vms), "cancelled": counted["cancelled"], "moved": counted["moved"], "stayed": counted[STAY], "not_cancelled": counted[CANNOT_CANCEL],
    }
    return {"vms": vms, "summary": summary, "changed": bool(changes), "actions": [change.to_dict() for change in changes]}


def _delete(context: Context, one: Intent, described: Json, changes: list[Change]) -> bool:
    """Delete a migration if it may be cancelled at this very moment; whether it was there."""
    migration = one.migration or {}
    metadata, vm = migration["metadata"], "/".join(one.key)
    problem = may_cancel(migration, context.cluster.get(VIRTUAL_MACHINE_INSTANCES, one.key[1], one.key[0]))
    if problem is not None:
        described.update(state=CANNOT_CANCEL, code=problem.code, reason=problem.sentence)
        context.listener.event(f"VM {vm}: {problem.sentence}", vm=vm, code=problem.code)
        return False
    try:
        there = context.cluster.delete(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, metadata["name"], one.key[0], uid=metadata["uid"])
    except Conflict:
        there = False
    described.update(state="cancelled")
    if there:
        changes.append(Change("delete", "VirtualMachineInstanceMigration", one.key[0], metadata["name"], f"VM {vm}: {one.sentence}"))
        context.listener.event(f"VM {vm}: migration {metadata['name']} is being cancelled", vm=vm, migration=metadata["name"])
    return there


def _wait(context: Context, request: Request, stopping: t.Sequence[Intent], described: t.Mapping[t.Any, Json]) -> None:
    """Until each is gone or final. KubeVirt stops one whose target is being prepared only when its copy has begun."""
    deadline = context.deadline(request.deadline)
    migrations = Target(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, request.namespace)
    instances = Target(VIRTUAL_MACHINE_INSTANCES, request.namespace)
    left = {one.key: one for one in stopping}
    with Following(context.cluster, (migrations, instances)) as following:
        while left:
            rest = deadline - time.monotonic()
            if rest <= 0:
                said = [f"the migration of VM {'/'.join(key)} has not stopped" for key in left]
                raise DeadlineExceeded(f"Not done after {request.deadline:.0f} s: {'; '.join(said[:_LISTED])}.", said, code="deadline")
            if not following.look(min(rest, _LOOK)):
                context.listener.heartbeat(f"{len(stopping) - len(left)} of {len(stopping)} stopped")
            if not following.complete():
                continue
            for key, one in list(left.items()):
                metadata = (one.migration or {})["metadata"]
                found = following.snapshot.objects[migrations].get((key[0], metadata["name"]))
                if found is not None and found["metadata"]["uid"] == metadata["uid"] and not is_final(found):
                    continue
                del left[key]
                _ended(context, one, found, following.snapshot.objects[instances].get(key), described[key])


def _ended(context: Context, one: Intent, found: Json | None, vmi: Json | None, described: Json) -> None:
    metadata, vm = (one.migration or {})["metadata"], "/".join(one.key)
    own = own_state(found or {"metadata": metadata}, vmi)
    moved = (found is not None and succeeded(found)) or bool(own.get("completed") and not own.get("failed"))
    if moved:
        target = own.get("targetNode") or ""
        described.update(state="moved", code="finished", reason=f"it had ended before it could be stopped: the VM is on {target or 'another node'}", to=target)
    context.listener.event(f"VM {vm}: {described['reason'] if moved else 'is not moved any more'}", vm=vm)
