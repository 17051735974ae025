# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state migrated: migrations made as slots get free, followed to their end. Private to this collection."""

from __future__ import annotations

import time
import typing as t
import uuid
from dataclasses import dataclass, field

from .._cluster.following import Following, Snapshot, Target
from .._cluster.resources import VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, VIRTUAL_MACHINE_INSTANCES
from .._errors import ApiError, DeadlineExceeded, VirtError
from .._migrations.reasons import own_state, raw_reason, why_failed
from .._migrations.standing import Slots, slots, standing
from .._migrations.state import Key, Reason, is_active, is_final, mode, phase, succeeded, vmi_key
from .._plan import Change, Outcome
from .._verb import Context
from .observed import Observed
from .plan import FOLLOW, STAY, Intent, manifest
from .reading import read_events
from .request import Request

Json = dict[str, t.Any]
BEAT = 5.0
"""Seconds without news after which a sign of life is due."""
_UNSEEN = 10.0
"""Seconds after which a migration that was made and is not seen is asked for."""
_IN_FLIGHT = "in-flight migration detected"
_LISTED = 5
_WAITS = Reason("waiting", "it waits for a slot")
_MODES = {"PostCopy": "runs on the target and can't be cancelled any more (post-copy)", "Paused": "is paused while it is copied"}


class MigrationFailed(VirtError):
    """Migrations have failed; the details say which and why. The VMs run on where they were."""


@dataclass
class Move:
    """One VM on its way. C(state) is waiting, migrating, followed, moved, failed or stayed."""

    intent: Intent
    state: str = "waiting"
    name: str = ""
    uid: str = ""
    began: float = 0.0
    seen: bool = False
    phase: str = ""
    mode: str = ""
    to: str = ""
    seconds: float | None = None
    reason: Reason = _WAITS
    raw: str = ""

    @property
    def key(self) -> Key:
        return self.intent.key

    @property
    def under_way(self) -> bool:
        return self.state in ("migrating", "followed")

    @property
    def ended(self) -> bool:
        return self.state in ("moved", "failed", "stayed")

    def to_dict(self) -> Json:
        return {
            "namespace": self.key[0], "name": self.key[1], "state": self.state, "code": self.reason.code, "reason": self.reason.sentence,
            "raw_reason": self.raw, "migration": self.name, "phase": self.phase, "from": self.intent.node, "to": self.to,
            "seconds": None if self.seconds is None else round(self.seconds, 1),
        }


def trimmed(migration: Json) -> Json | None:
    """A migration without what nobody reads."""
    return {**migration, "metadata": {key: value for key, value in migration["metadata"].items() if key != "managedFields"}}


@dataclass
class Moving:
    """One run over some VMs."""

    context: Context
    request: Request
    observed: Observed
    moves: dict[Key, Move] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    _nodes: dict[Key, str] = field(default_factory=dict)
    _run: str = ""

    def run(self, intents: t.Sequence[Intent]) -> Outcome:
        """Move them all. Raises MigrationFailed, DeadlineExceeded, and what the API refuses with."""
        self._run = self.request.run or uuid.uuid4().hex[:12]
        for intent in intents:
            self.moves[intent.key] = self._begun(intent)
        try:
            if self.request.wait:
                self._follow(self.context.deadline(self.request.deadline))
            else:
                for move in self._waiting():
                    self._create(move)
        except VirtError as error:
            # What was begun goes on, and the next run follows it.
            error.details.update(self._details())
            raise
        return self._outcome()

    def _begun(self, intent: Intent) -> Move:
        if intent.way == STAY:
            return Move(intent, STAY, reason=Reason(intent.code, intent.sentence))
        if intent.way == FOLLOW and intent.migration is not None:
            metadata = intent.migration["metadata"]
            name = metadata["name"]
            self._say(intent.key, f"migration {name} is under way already, and is followed", migration=name)
            return Move(intent, "followed", name, metadata["uid"], time.monotonic(), True, reason=Reason("under_way", intent.sentence))
        return Move(intent)

    def _waiting(self) -> list[Move]:
        return [move for move in self.moves.values() if move.state == "waiting"]

    def _follow(self, deadline: float) -> None:
        where = self.request.namespace
        names = {key[1] for key in self.moves}
        one = next(iter(names)) if len(names) == 1 else None
        migrations = Target(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, None if self.observed.everywhere else where, keep=trimmed)
        instances = Target(VIRTUAL_MACHINE_INSTANCES, where, one, keep=lambda vmi: vmi if vmi["metadata"]["name"] in names else None)
        with Following(self.context.cluster, (migrations, instances)) as following:
            while not all(move.ended for move in self.moves.values()):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._late()
                news = following.look(min(left, BEAT))
                if following.complete():
                    self._take(following.snapshot, migrations, instances)
                if not news:
                    self._beat()

    def _take(self, snapshot: Snapshot, migrations: Target, instances: Target) -> None:
        known, vmis = snapshot.objects[migrations], snapshot.objects[instances]
        for move in self.moves.values():
            if move.under_way:
                self._judge(move, known.get((move.key[0], move.name)), vmis.get(move.key))
        taken = slots(self.observed.limits, known.values(), lambda key: self._node_of(key, vmis))
        for move in self.moves.values():
            found = known.get((move.key[0], move.name)) if move.under_way else None
            if found is not None:
                move.reason = standing(found, vmis.get(move.key), taken)
        self._start(known.values(), vmis, taken)

    def _node_of(self, key: Key, vmis: t.Mapping[Key, Json]) -> str:
        """The node of an instance; those of others are asked for once."""
        if key in vmis:
            return str((vmis[key].get("status") or {}).get("nodeName") or "")
        if key not in self._nodes:
            try:
                found = self.context.cluster.get(VIRTUAL_MACHINE_INSTANCES, key[1], key[0])
            except ApiError:
                found = None
            self._nodes[key] = str(((found or {}).get("status") or {}).get("nodeName") or "")
        return self._nodes[key]

    def _start(self, migrations: t.Iterable[Json], vmis: t.Mapping[Key, Json], taken: Slots) -> None:
        """Exactly as many as there are free slots: one that has to wait for a slot is overtaken by others."""
        active = {one["metadata"]["uid"] for one in migrations if is_active(one)}
        for move in self.moves.values():
            if move.state == "migrating" and move.uid not in active:
                self._count(taken, self._node_of(move.key, vmis))
        for move in self._waiting():
            vmi = vmis.get(move.key)
            if vmi is None:
                self._end(move, "failed", Reason("vmi_gone", "the VM went away before it could be moved"))
                continue
            node = self._node_of(move.key, vmis)
            if taken.free(node) > 0:
                self._create(move)
                if move.state == "migrating":
                    self._count(taken, node)
            else:
                here = taken.by_node.get(node, 0)
                move.reason = Reason("no_slot", f"it waits for a slot: {taken.used} migrations are under way, {here} of them out of {node}")

    @staticmethod
    def _count(taken: Slots, node: str) -> None:
        taken.used += 1
        taken.by_node[node] = taken.by_node.get(node, 0) + 1

    def _create(self, move: Move) -> None:
        body = manifest(move.key, self.request, self._run, uuid.uuid4().hex[:10])
        try:
            made = self.context.cluster.create(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, body)
        except ApiError as error:
            if _IN_FLIGHT in error.message:
                current = self._current(move.key)
                if current is None:
                    # It has just ended: the next look tries again.
                    return
                if current["metadata"]["name"] != body["metadata"]["name"]:
                    self._adopt(move, current)
                    return
                # An earlier try of ours whose answer was lost.
                made = current
            elif error.status in (400, 422):
                self._end(move, "failed", Reason("refused", f"KubeVirt refused the migration: {error.message}"))
                return
            else:
                raise
        move.state, move.name, move.uid, move.began = "migrating", body["metadata"]["name"], made["metadata"]["uid"], time.monotonic()
        move.reason = Reason("not_seen", "KubeVirt has not taken it up yet")
        after = {"metadata": {"name": move.name, "labels": body["metadata"]["labels"]}, "spec": body["spec"]}
        self.changes.append(Change("create", body["kind"], *move.key, move.intent.sentence, None, after))
        self._say(move.key, f"migrates away from {move.intent.node}" if move.intent.node else "migrates", migration=move.name)

    def _current(self, key: Key) -> Json | None:
        """The unfinished migration of a VM."""
        items = self.context.cluster.list(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, key[0]).items
        return next((one for one in items if vmi_key(one) == key and not is_final(one)), None)

    def _adopt(self, move: Move, current: Json) -> None:
        """Somebody else's migration came first: it is followed in place of ours."""
        metadata = current["metadata"]
        move.state, move.name, move.uid, move.began, move.seen = "followed", metadata["name"], metadata["uid"], time.monotonic(), True
        self._say(move.key, f"migration {move.name} of somebody else came first, and is followed", migration=move.name)

    def _judge(self, move: Move, found: Json | None, vmi: Json | None) -> None:
        """Take in what has become of a migration."""
        if found is None or found["metadata"]["uid"] != move.uid:
            if not move.seen and time.monotonic() - move.began < _UNSEEN:
                return
            found = None if move.seen else self.context.cluster.get(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, move.name, move.key[0])
            if found is None or found["metadata"]["uid"] != move.uid:
                self._vanished(move, vmi)
                return
        move.seen = True
        if phase(found) != move.phase:
            move.phase = phase(found)
            if not is_final(found):
                self._say(move.key, f"{move.phase}{_target_of(found, vmi)}", migration=move.name, phase=move.phase)
        how = mode(vmi) if vmi is not None and own_state(found, vmi) else ""
        if how != move.mode and not is_final(found):
            move.mode = how
            if how in _MODES:
                self._say(move.key, _MODES[how])
        if succeeded(found):
            self._moved(move, str(own_state(found, vmi).get("targetNode") or ""))
        elif is_final(found):
            events = read_events(self.context.cluster, move.key[0], move.uid).get(move.uid, [])
            move.raw = raw_reason(found, vmi, events)
            self._end(move, "failed", why_failed(found, vmi, events))

    def _vanished(self, move: Move, vmi: Json | None) -> None:
        """It was deleted: the instance tells whether it had come to its end."""
        own = own_state({"metadata": {"uid": move.uid}}, vmi)
        if own.get("completed") and not own.get("failed"):
            self._moved(move, str(own.get("targetNode") or ""))
        elif vmi is None:
            self._end(move, "failed", Reason("vmi_gone", "the VM went away"))
        else:
            move.raw = str(own.get("failureReason") or "").strip()
            self._end(move, "failed", Reason("cancelled", "somebody deleted the migration"))

    def _moved(self, move: Move, target: str) -> None:
        move.to = target
        self._end(move, "moved", Reason("moved", f"it has moved{f' to {target}' if target else ''}"))

    def _end(self, move: Move, state: str, reason: Reason) -> None:
        move.state, move.reason = state, reason
        move.seconds = time.monotonic() - move.began if move.began else None
        took = f" in {move.seconds:.0f} s" if move.seconds is not None else ""
        text = f"has moved{f' to {move.to}' if move.to else ''}{took}" if state == "moved" else f"has not moved: {reason.sentence}; the VM runs on"
        if reason.code == "vmi_gone":
            text = reason.sentence
        self._say(move.key, text, code=reason.code, to=move.to)

    def _say(self, key: Key, text: str, **data: t.Any) -> None:
        done = sum(1 for move in self.moves.values() if move.ended and move.state != "stayed")
        total = sum(1 for move in self.moves.values() if move.state != "stayed")
        self.context.listener.event(f"VM {'/'.join(key)}: {text}", vm="/".join(key), **({"done": done, "total": total} if total > 1 else {}), **data)

    def _beat(self) -> None:
        moving = [move for move in self.moves.values() if move.under_way]
        waiting, total = len(self._waiting()), sum(1 for move in self.moves.values() if move.state != "stayed")
        now = time.monotonic()
        shown = "; ".join(f"{'/'.join(move.key)} for {now - move.began:.0f} s: {move.reason.sentence}" for move in moving[:3])
        done = total - len(moving) - waiting
        self.context.listener.heartbeat(f"{done} of {total} done, {len(moving)} moving ({shown or 'none'}), {waiting} waiting")

    def _late(self) -> DeadlineExceeded:
        pending = [move for move in self.moves.values() if not move.ended]
        said = [f"VM {'/'.join(move.key)}: {move.reason.sentence}" for move in pending]
        shown = "; ".join(said[:_LISTED]) + (f"; and {len(said) - _LISTED} more" if len(said) > _LISTED else "")
        goes_on = " Migrations under way go on; run it again to follow them, or cancel them with state cancelled." if any(m.under_way for m in pending) else ""
        return DeadlineExceeded(f"Not done after {self.request.deadline:.0f} s: {shown}.{goes_on}", said, code="deadline")

    def _details(self) -> Json:
        vms = [move.to_dict() for move in self.moves.values()]
        return {"vms": vms, "summary": self._summary(), "changed": bool(self.changes), "actions": [change.to_dict() for change in self.changes]}

    def _summary(self) -> Json:
        moves = list(self.moves.values())
        numbers = {state: sum(1 for move in moves if move.state == state) for state in ("moved", "failed", "stayed")}
        return {"vms": len(moves), **numbers, "started": len(self.changes), "pending": sum(1 for move in moves if not move.ended)}

    def _outcome(self) -> Outcome:
        failed = [move for move in self.moves.values() if move.state == "failed"]
        details = self._details()
        if failed:
            shown = "; ".join(f"VM {'/'.join(move.key)}: {move.reason.sentence}" for move in failed[:_LISTED])
            more = f"; and {len(failed) - _LISTED} more" if len(failed) > _LISTED else ""
            moved = details["summary"]["moved"]
            raise MigrationFailed(
                f"{len(failed)} of {len(self.moves)} VMs have not moved: {shown}{more}. {moved} moved.", code=failed[0].reason.code, **details
            )
        outcome = Outcome(bool(self.changes), self._sentence(), summary=details["summary"], result={"vms": details["vms"], "run": self._run})
        outcome.actions = details["actions"]
        return outcome

    def _sentence(self) -> str:
        numbers = self._summary()
        if not self.request.wait:
            return f"{numbers['started']} migrations were started and not waited for; {numbers['stayed']} VMs stay where they are."
        if numbers["stayed"] == numbers["vms"]:
            return "Nothing to do: every VM is where it should be."
        return f"{numbers['moved']} VMs have moved, {numbers['started']} of them by migrations of this run; {numbers['stayed']} stay where they are."


def _target_of(migration: Json, vmi: Json | None) -> str:
    target = own_state(migration, vmi).get("targetNode")
    return f", to {target}" if target else ""
