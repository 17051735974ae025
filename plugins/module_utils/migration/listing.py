# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations as the list of migration_info shows them. Pure. Private to this collection."""

from __future__ import annotations

import datetime
import typing as t
from collections import Counter
from dataclasses import dataclass, field

from .._migrations.guests import guest_of
from .._migrations.limits import Limits
from .._migrations.memory import memory_bytes
from .._migrations.ours import made_by, run_of
from .._migrations.prediction import of_guest
from .._migrations.reasons import own_state, raw_reason
from .._migrations.standing import Slots, failures_before, standing
from .._migrations.state import Key, is_active, is_final, may_cancel, phase, vmi_key
from .._migrations.times import moment, phase_times, seconds_between
from .._migrations.transfers import Transfer

Json = dict[str, t.Any]
UNSET = "Unset"
PHASES = (UNSET, "Pending", "Scheduling", "Scheduled", "PreparingTarget", "TargetReady", "Running", "Succeeded", "Failed")


@dataclass(frozen=True)
class Filter:
    """Which migrations are meant; what is empty does not restrict."""

    names: tuple[str, ...] = ()
    node: str = ""
    phases: tuple[str, ...] = ()
    run: str = ""


@dataclass
class Around:
    """What migrations are read against. C(taken) is None where not all of the cluster's migrations were seen."""

    now: datetime.datetime
    limits: Limits
    taken: Slots | None = None
    vmis: t.Mapping[Key, Json] = field(default_factory=dict)
    events: t.Mapping[str, t.Sequence[Json]] = field(default_factory=dict)
    transfers: t.Mapping[Key, Transfer] = field(default_factory=dict)


def latest_moment(migrations: t.Iterable[Json], now: datetime.datetime) -> datetime.datetime:
    """This machine's time, or the latest that the migrations tell of, should the cluster's clock be ahead."""
    told = (moment(phase_times(one)[-1].since) for one in migrations)
    return max([now, *(one for one in told if one is not None)])


def by_vm(migrations: t.Iterable[Json]) -> dict[Key, list[Json]]:
    """Those of each VM by creation."""
    found: dict[Key, list[Json]] = {}
    for one in sorted(migrations, key=lambda item: (item["metadata"].get("creationTimestamp") or "", item["metadata"]["name"])):
        found.setdefault(vmi_key(one), []).append(one)
    return found


def matches(migration: Json, wanted: Filter) -> bool:
    """By everything but the node, which may need the instance."""
    if wanted.names and migration["spec"].get("vmiName") not in wanted.names:
        return False
    if wanted.phases and (phase(migration) or UNSET) not in wanted.phases:
        return False
    return not wanted.run or run_of(migration) == wanted.run


def of_node(described: Json, node: str) -> bool:
    return not node or node in (described["source_node"], described["target_node"])


def describe(migration: Json, around: Around, of_vm: t.Sequence[Json]) -> Json:
    """One entry; of_vm are all known migrations of the same VM, by creation."""
    metadata, key = migration["metadata"], vmi_key(migration)
    vmi = around.vmis.get(key)
    own, events = own_state(migration, vmi), around.events.get(metadata["uid"], ())
    earlier = failures_before(migration, of_vm)
    stands = standing(migration, vmi, around.taken, events, earlier, around.now)
    times, final = phase_times(migration), is_final(migration)
    now = around.now.isoformat()
    described: Json = {
        "namespace": key[0], "name": metadata["name"], "vm": key[1], "phase": phase(migration) or UNSET, "code": stands.code, "reason": stands.sentence,
        "raw_reason": raw_reason(migration, vmi, events) if phase(migration) == "Failed" else "", "active": is_active(migration),
        "attempt": len(earlier) + 1, "migrations_of_vm": len(of_vm), "made_by": made_by(migration), "run": run_of(migration),
        "created": metadata.get("creationTimestamp"), "age_seconds": seconds_between(metadata.get("creationTimestamp"), now),
        "seconds": seconds_between(metadata.get("creationTimestamp"), times[-1].since if final else now),
        "source_node": own.get("sourceNode") or ("" if final or vmi is None else str((vmi.get("status") or {}).get("nodeName") or "")),
        "target_node": own.get("targetNode") or "", "mode": own.get("mode") or "", "policy": own.get("migrationPolicyName") or "",
        "started": own.get("startTimestamp"), "ended": own.get("endTimestamp") if final else None,
        "copy_seconds": seconds_between(own.get("startTimestamp"), own.get("endTimestamp")),
        "phases": [{"phase": one.phase, "since": one.since, "seconds": one.seconds} for one in times],
    }
    if not final:
        cannot = may_cancel(migration, vmi)
        described["may_be_cancelled"] = cannot is None
        transfer = around.transfers.get(key)
        described["data"] = transfer.to_dict() if transfer is not None and phase(migration) == "Running" else None
        described["expected_seconds"] = _expected(vmi, around)
    return described


def _expected(vmi: Json | None, around: Around) -> float | None:
    """From creation to end as far as the load is known; None where nothing can be said, or where it never ends."""
    if vmi is None or not memory_bytes(vmi):
        return None
    seconds = of_guest(guest_of(vmi), around.limits, number=max(1, around.limits.per_node)).seconds
    return round(seconds, 1) if seconds != float("inf") else None


def summary(described: t.Sequence[Json], taken: Slots | None) -> Json:
    """Numbers of what is shown; C(slots) is about the whole cluster."""
    phases = Counter(one["phase"] for one in described)
    unfinished = [one for one in described if one["phase"] not in ("Succeeded", "Failed")]
    return {
        "migrations": len(described), "vms": len({(one["namespace"], one["vm"]) for one in described}),
        "active": sum(1 for one in unfinished if one["active"]), "waiting": sum(1 for one in unfinished if not one["active"]),
        "succeeded": phases["Succeeded"], "failed": phases["Failed"], "phases": {name: phases[name] for name in PHASES if phases[name]},
        "failures": dict(sorted(Counter(one["code"] for one in described if one["phase"] == "Failed").items())),
        "slots_used": taken.used if taken else None, "slots_free": taken.free() if taken else None,
    }


def describe_slots(taken: Slots | None) -> Json | None:
    """Used and free beside the limits; nodes that have none under way have all of theirs."""
    if taken is None:
        return None
    nodes = [{"name": name, "used": number, "free": taken.free(name)} for name, number in sorted(taken.by_node.items())]
    return {
        "parallel_migrations_per_cluster": taken.limits.per_cluster, "used": taken.used, "free": taken.free(),
        "parallel_outbound_migrations_per_node": taken.limits.per_node, "nodes": nodes,
    }
