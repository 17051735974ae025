# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of each VM, before anything is done. Pure. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._cluster.resources import VIRTUAL_MACHINE_INSTANCE_MIGRATIONS
from .._errors import PreconditionFailed
from .._migrations.memory import memory_bytes
from .._migrations.obstacles import obstacle
from .._migrations.ours import RUN_LABEL, run_of
from .._migrations.state import Key, is_final, may_cancel, succeeded, vmi_key
from .._plan import Change, Plan
from .observed import Observed
from .request import CANCELLED, SKIP, Request

Json = dict[str, t.Any]
MIGRATE, FOLLOW, STAY, CANCEL, CANNOT_CANCEL = "migrate", "follow", "stayed", "cancel", "not_cancelled"
_LISTED = 5


@dataclass(frozen=True)
class Intent:
    """C(way) is one of the constants above, C(code) and C(sentence) say why; C(migration) is the one under way."""

    key: Key
    way: str
    code: str
    sentence: str
    migration: Json | None = None
    node: str = ""
    memory: int = 0

    def to_dict(self) -> Json:
        found: Json = {"namespace": self.key[0], "name": self.key[1], "state": self.way, "code": self.code, "reason": self.sentence, "from": self.node}
        return found | ({"migration": self.migration["metadata"]["name"]} if self.migration else {})


def under_way(observed: Observed) -> dict[Key, Json]:
    """The unfinished migration of each VM that is meant."""
    return {vmi_key(one): one for one in observed.migrations if not is_final(one) and vmi_key(one) in observed.vmis}


def manifest(key: Key, request: Request, run: str, digest: str) -> Json:
    """A migration of one VM. C(run) is a label's value, C(digest) what makes its name its own."""
    spec: Json = {"vmiName": key[1]}
    if request.target_node_selector:
        spec["addedNodeSelector"] = dict(request.target_node_selector)
    return {
        "apiVersion": VIRTUAL_MACHINE_INSTANCE_MIGRATIONS.api_version, "kind": VIRTUAL_MACHINE_INSTANCE_MIGRATIONS.kind,
        "metadata": {"name": f"okd-virt-migration-{digest}", "namespace": key[0], "labels": {RUN_LABEL: run}}, "spec": spec,
    }


def intents(observed: Observed, request: Request) -> list[Intent]:
    """What becomes of each VM; those that move in the order in which they begin, the largest first."""
    moving, done = under_way(observed), _moved_by_run(observed, request)
    found = []
    for key, vmi in observed.vmis.items():
        judge = _cancelled if request.state == CANCELLED else _migrated
        found.append(judge(key, vmi, moving.get(key), observed, request, key in done))
    return sorted(found, key=lambda one: (-one.memory, one.key))


def _moved_by_run(observed: Observed, request: Request) -> set[Key]:
    if not request.run:
        return set()
    return {vmi_key(one) for one in observed.migrations if succeeded(one) and run_of(one) == request.run}


def _migrated(key: Key, vmi: Json, current: Json | None, observed: Observed, request: Request, done: bool) -> Intent:
    node = str((vmi.get("status") or {}).get("nodeName") or "")
    common: Json = {"node": node, "memory": memory_bytes(vmi)}
    if done:
        return Intent(key, STAY, "moved_already", f"run {request.run} has moved it", **common)
    if request.from_nodes and node not in request.from_nodes:
        return Intent(key, STAY, "elsewhere", f"it is on {node}, which is not among from_nodes", **common)
    if node and node in observed.fitting_nodes:
        return Intent(key, STAY, "on_target", f"it is on {node}, which has the labels of target_node_selector", **common)
    if current is not None:
        return Intent(key, FOLLOW, "under_way", f"migration {current['metadata']['name']} is under way, and is followed", current, **common)
    return Intent(key, MIGRATE, "migrates", f"it is moved away from {node}" if node else "it is moved", **common)


def _cancelled(key: Key, vmi: Json, current: Json | None, _observed: Observed, _request: Request, _done: bool) -> Intent:
    node = str((vmi.get("status") or {}).get("nodeName") or "")
    if current is None:
        return Intent(key, STAY, "not_moving", "no migration of it is under way", node=node)
    problem = may_cancel(current, vmi)
    if problem is not None:
        return Intent(key, CANNOT_CANCEL, problem.code, problem.sentence, current, node)
    return Intent(key, CANCEL, "cancelled", f"it stays on {node}" if node else "it stays where it is", current, node)


def make_plan(observed: Observed, request: Request) -> Plan:
    """The changes, and the VMs in the facts. Raises PreconditionFailed when a VM can't be moved; nothing has been changed then."""
    found = intents(observed, request)
    warnings = list(observed.warnings)
    if request.state == CANCELLED:
        absent = [*observed.missing]
        if absent:
            raise _refusal([_absent(name, observed, request) for name in absent])
        warnings += _marked(observed, found)
        changes = [_deletion(one) for one in found if one.way == CANCEL]
        return Plan(tuple(changes), tuple(warnings), {"vms": [one.to_dict() for one in found]})
    refused = [_absent(name, observed, request) for name in (*observed.missing, *observed.stopped)]
    kept: list[Intent] = []
    for one in found:
        problem = _problem(one, observed)
        if problem is None:
            kept.append(one)
        elif request.on_unmigratable == SKIP:
            kept.append(Intent(one.key, STAY, f"{problem['code']}_skipped", f"{problem['reason']} {problem['remedy']}", node=one.node))
        else:
            refused.append(problem)
    if refused:
        raise _refusal(refused)
    changes = [Change("create", "VirtualMachineInstanceMigration", *one.key, one.sentence, None, {"spec": manifest(one.key, request, "", "")["spec"]})
               for one in kept if one.way == MIGRATE]
    if changes:
        _require_slots(observed)
    return Plan(tuple(changes), tuple(warnings), {"vms": [one.to_dict() for one in kept], "intents": kept})


def _deletion(one: Intent) -> Change:
    metadata = (one.migration or {})["metadata"]
    return Change("delete", "VirtualMachineInstanceMigration", metadata["namespace"], metadata["name"], f"VM {'/'.join(one.key)}: {one.sentence}")


def _absent(name: str, observed: Observed, request: Request) -> Json:
    what = {"namespace": request.namespace, "name": name}
    if name in observed.stopped:
        return what | {"code": "not_running", "reason": "it is not running.", "remedy": "Start it, or take it out of names."}
    return what | {"code": "no_such_vm", "reason": "there is no such VM.", "remedy": "See names and namespace."}


def _problem(one: Intent, observed: Observed) -> Json | None:
    """Why a VM that is to be moved can't be."""
    if one.way != MIGRATE:
        return None
    vmi = observed.vmis[one.key]
    what = {"namespace": one.key[0], "name": one.key[1]}
    phase = str((vmi.get("status") or {}).get("phase") or "starting")
    if phase != "Running" or vmi["metadata"].get("deletionTimestamp"):
        shown = "going down" if vmi["metadata"].get("deletionTimestamp") else phase
        return what | {"code": "not_running", "reason": f"it is {shown}.", "remedy": "Wait until it runs, or take it out of the list."}
    found = obstacle(vmi)
    if found is None:
        return None
    said = f"KubeVirt says {found.reason}: {found.message}."
    return what | {"code": "not_migratable", "reason": said, "remedy": found.remedy, "kubevirt_reason": found.reason, "kubevirt_message": found.message}


def _refusal(refused: list[Json]) -> PreconditionFailed:
    shown = " ".join(f"VM {one['namespace']}/{one['name']}: {one['reason']} {one['remedy']}" for one in refused[:_LISTED])
    more = f" And {len(refused) - _LISTED} more." if len(refused) > _LISTED else ""
    return PreconditionFailed(f"{shown}{more} Nothing was changed.", code=refused[0]["code"], refused=refused, vms=refused)


def _require_slots(observed: Observed) -> None:
    known = observed.limits
    for name, value in (("parallelMigrationsPerCluster", known.per_cluster), ("parallelOutboundMigrationsPerNode", known.per_node)):
        if value < 1:
            raise PreconditionFailed(f"{name} is {value}: no migration would ever start. Raise it in the HyperConverged. Nothing was changed.", code="no_slots")


def _marked(observed: Observed, found: t.Sequence[Intent]) -> list[str]:
    """A cancelled evacuation comes again as long as the mark stands."""
    said = []
    for one in found:
        node = str((observed.vmis[one.key].get("status") or {}).get("evacuationNodeName") or "")
        if one.way == CANCEL and node:
            said.append(
                f"VM {'/'.join(one.key)} is marked for evacuation from {node}: KubeVirt will migrate it again. See node_drain with state evacuation_cancelled"
            )
    return said
