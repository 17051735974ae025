# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened to a migration, from watches of the API, in a form that can be compared with what happened elsewhere.

One stream a kind of object, since watches of different kinds don't keep one order. Names, uids, addresses and times are left out.
"""

from __future__ import annotations

import re
import typing as t

Object = dict[str, t.Any]
Seen = tuple[float, str, str, Object]
"""Seconds, resource, type of the watch event, object."""

READY = "kubevirt.io/migration-target-ready-timestamp"
LEAVING = "descheduler.alpha.kubernetes.io/eviction-in-progress"
_NAMES = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UID"),
    (re.compile(r"virt-launcher-[a-z0-9-]+-[a-z0-9]{5}\b"), "POD"),
    (re.compile(r"kubevirt-disruption-budget-[a-z0-9]{5}\b"), "BUDGET"),
    (re.compile(r"kubevirt-evacuation-[a-z0-9]{5}\b"), "MIGRATION"),
    (re.compile(r"(?<=pod )[a-z0-9-]+/"), "NAMESPACE/"),
    (re.compile(r"(?<=to node )[a-z0-9-]+(?=\.)"), "NODE"),
    (re.compile(r"at [0-9.]+, on ports: [0-9,]+"), "at ADDRESS, on ports: PORTS"),
    (re.compile(r"(?<=vmi )[a-z0-9-]+/[a-z0-9-]+"), "VMI"),
)
# Written with a stale cache: whether it happens depends on what was faster.
_RACES = ("the server rejected our request due to an error in our request",)


def general(text: str) -> str:
    """A message without what differs from cluster to cluster."""
    for pattern, name in _NAMES:
        text = pattern.sub(name, text)
    return text


def history(seen: t.Iterable[Seen], migration: str) -> dict[str, list[str]]:
    """The streams of one migration by its name: `migration`, `instance`, `budget`, `target`, `source` and `events`."""
    entries = list(seen)
    mine = next(obj for _when, resource, _type, obj in entries if resource == "virtualmachineinstancemigrations" and obj["metadata"]["name"] == migration)
    uid, vmi = mine["metadata"]["uid"], mine["spec"]["vmiName"]
    made: dict[str, list[str]] = {name: [] for name in ("migration", "instance", "budget", "target", "source", "events")}
    before: dict[tuple[str, str], Object] = {}
    began = False
    for _when, resource, kind, obj in entries:
        name = obj["metadata"]["name"]
        old = before.get((resource, name))
        before[resource, name] = obj
        began = began or name == migration
        if resource == "events":
            line = _event(obj, migration, vmi) if began else ""
            if line and line not in made["events"]:
                made["events"].append(line)
            continue
        stream, changes = _changes(resource, kind, obj, old, migration=migration, uid=uid, vmi=vmi)
        if stream and changes and began:
            made[stream].append(", ".join(changes))
    return made


def _event(obj: Object, migration: str, vmi: str) -> str:
    involved = obj["involvedObject"]
    known = {"VirtualMachineInstanceMigration": migration, "VirtualMachineInstance": vmi}
    if known.get(involved["kind"]) != involved["name"] or any(race in obj["message"] for race in _RACES):
        return ""
    component = (obj.get("source") or {}).get("component") or obj.get("reportingComponent")
    return f"{involved['kind']} {component} {obj['type']} {obj['reason']}: {general(obj['message'])}"


def _changes(resource: str, kind: str, obj: Object, old: Object | None, *, migration: str, uid: str, vmi: str) -> tuple[str, list[str]]:
    labels = obj["metadata"].get("labels") or {}
    if resource == "virtualmachineinstancemigrations" and obj["metadata"]["name"] == migration:
        return "migration", _of_migration(kind, obj, old)
    if resource == "virtualmachineinstances" and obj["metadata"]["name"] == vmi:
        return "instance", _of_instance(kind, obj, old)
    if resource == "poddisruptionbudgets" and any(owner["name"] == vmi for owner in obj["metadata"].get("ownerReferences") or ()):
        return "budget", _of_budget(kind, obj, old, migration)
    if resource == "pods" and labels.get("kubevirt.io/migrationJobUID") == uid:
        return "target", _of_pod(kind, obj, old)
    if resource == "pods" and labels.get("vm.kubevirt.io/name") == vmi and old is not None:
        return "source", _of_pod(kind, obj, old)
    return "", []


def _of_migration(kind: str, obj: Object, old: Object | None) -> list[str]:
    if kind == "DELETED":
        return ["gone"]
    if old is None:
        return ["created"]
    said = []
    now, then = obj.get("status") or {}, old.get("status") or {}
    if "kubevirt.io/latest-observed-api-version" in set(obj["metadata"].get("annotations") or ()) - set(old["metadata"].get("annotations") or ()):
        said.append("versions observed")
    if obj["metadata"].get("deletionTimestamp") and not old["metadata"].get("deletionTimestamp"):
        said.append("deletion requested")
    known = {entry["type"] for entry in then.get("conditions") or ()}
    for entry in now.get("conditions") or ():
        if entry["type"] not in known:
            fields = " ".join(sorted(field for field, value in entry.items() if value is not None))
            said.append(f"condition {entry['type']} {entry['status']} ({fields})")
    if now.get("phase") != then.get("phase"):
        said.append(f"phase {now.get('phase')}")
    said += _state(now.get("migrationState") or {}, then.get("migrationState") or {})
    if old["metadata"].get("finalizers") and not obj["metadata"].get("finalizers"):
        said.append("let go")
    return said


def _of_instance(kind: str, obj: Object, old: Object | None) -> list[str]:
    if kind == "DELETED":
        return ["gone"]
    if old is None:
        return []
    now, then = obj.get("status") or {}, old.get("status") or {}
    state, was = now.get("migrationState") or {}, then.get("migrationState") or {}
    replaced = state.get("migrationUid") != was.get("migrationUid")
    said = ["a new state"] if replaced else []
    said += _state(state, {} if replaced else was)
    if now.get("nodeName") != then.get("nodeName"):
        said.append("on another node")
    if "evacuationNodeName" in then and "evacuationNodeName" not in now:
        said.append("no longer marked")
    return said


def _state(now: Object, then: Object) -> list[str]:
    """Fields of a migrationState that are there now and were not, or were something else."""
    changed = sorted(field for field in now if now[field] != then.get(field))
    gone = sorted(field for field in then if field not in now)
    return ([f"state {' '.join(changed)}"] if changed else []) + ([f"without {' '.join(gone)}"] if gone else [])


def _of_budget(kind: str, obj: Object, old: Object | None, migration: str) -> list[str]:
    if kind == "DELETED":
        return ["gone"]
    if old is not None and obj["spec"]["minAvailable"] == old["spec"]["minAvailable"]:
        return []
    named = (obj["metadata"].get("labels") or {}).get("kubevirt.io/migrationName")
    if old is None and named is None:
        return []
    return [f"{obj['spec']['minAvailable']} available" + (", for this migration" if named == migration else "")]


def _of_pod(kind: str, obj: Object, old: Object | None) -> list[str]:
    if kind == "DELETED":
        return ["gone"]
    if old is None:
        return ["created"]
    said = []
    if obj["metadata"].get("deletionTimestamp") and not old["metadata"].get("deletionTimestamp"):
        said.append("deletion requested")
    if obj["status"].get("phase") != old["status"].get("phase"):
        said.append(f"phase {obj['status'].get('phase')}")
    now, then = (one["metadata"].get("annotations") or {} for one in (obj, old))
    said += [f"annotation {name}" for name in (READY, LEAVING) if name in now and name not in then]
    said += [f"no annotation {name}" for name in (READY, LEAVING) if name in then and name not in now]
    return said
