# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was played around the recorded requests, group by group: a scene leaves the machines of the namespace for the next."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..support.api import MERGE_PATCH, Object
from ..support.held_engine import Hold
from ..support.node_agent import VMIMS
from .kubevirt_stage import Stage, drain_once
from .stories import binding

COMMON = "corpus-kv"
LONG = "100"
FAILS = {"fail-migration": "true", "copy-seconds": "3"}
MIGRATIONS = "virtualmachineinstancemigrations"
FAULTS = "/engine.okd.virt/v1/faults"
_SLOTS = 2
"""parallelOutboundMigrationsPerNode, as it comes."""
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def create(stage: Stage) -> None:
    """kv-create: a machine comes up, and what may be written to its instance."""
    with stage.within(COMMON):
        stage.ask("kv-create/vm-create")
        stage.runs("a")
        for name in ("vmi-get", "vmi-status-subresource", "vm-unknown-field", "pdb-list"):
            stage.ask(f"kv-create/{name}")
        for name in ("vmi-own-label", "vmi-status-by-admin", "vmi-kubevirt-label", "vmi-spec-change", "handler-token-unbound", "vm-invalid", "vm-get"):
            stage.ask(f"kv-create/{name}")
        stage.ask("kv-create/launcher-pod", stage.launcher("a"))


def migrations(stage: Stage) -> None:
    """kv-vmim: a migration from its creation to its deletion, and those that are refused."""
    with stage.within(COMMON):
        _others(stage)
        for name in ("list-empty", "table-empty"):
            stage.ask(f"kv-vmim/{name}")
        for name in ("dryrun", "priority-unknown", "sendto-gate", "unknown-field", "unknown-field-strict"):
            stage.ask(f"kv-vmim/{name}")
        for name in ("no-spec", "wrong-type", "vmi-missing", "non-migratable"):
            stage.ask(f"kv-vmim/{name}")
        stage.tell("a", copy_seconds=LONG)
        with stage.engine.held():
            name = stage.ask("kv-vmim/create")["metadata"]["name"]
            stage.reaches(name, "Scheduling")
            stage.ask("kv-vmim/get-pending", name)
            stage.ask("kv-vmim/already-migrating")
            stage.reaches(name, "Running")
            stage.until("the copy", lambda: stage.instance("a")["status"]["migrationState"].get("startTimestamp"))
            stage.ask("kv-vmim/get-running", name)
            if not stage.ask("kv-vmim/annotate", name):
                annotated = {"metadata": {"annotations": {"a": "b"}}}
                stage.api.expect(200, "PATCH", stage.path(MIGRATIONS, name), annotated, content_type=MERGE_PATCH)
            for case in ("status-through-main", "spec-update", "label-remove", "status-by-admin"):
                stage.ask(f"kv-vmim/{case}", name)
            stage.ask("kv-vmim/table-running")
            stage.ask("kv-vmim/vmi-while-migrating")
        stage.over(name)
        _same_name(stage, name)
        for case in ("table-succeeded", "vmi-after"):
            stage.ask(f"kv-vmim/{case}")
        stage.ask("kv-vmim/get-succeeded", name)
        if not stage.ask("kv-vmim/delete-succeeded", name):
            stage.cancel(name)
        stage.ask("kv-vmim/get-deleted", name)
        other = stage.ask("kv-vmim/added-node-selector").get("metadata", {}).get("name")
        if other:
            stage.cancel(other)
        _not_running(stage)


def _others(stage: Stage) -> None:
    stage.create("bridge", binding="bridge")
    claim = {
        "metadata": {"name": "rwo"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""},
    }  # fmt: skip
    claims = f"/api/v1/namespaces/{COMMON}/persistentvolumeclaims"
    stage.api.expect(201, "POST", claims, claim)
    bound = {"status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}}
    stage.api.expect(200, "PATCH", f"{claims}/rwo/status", bound, content_type=MERGE_PATCH)
    stage.create("rwo", disk="disk0", volumes=[{"name": "disk0", "persistentVolumeClaim": {"claimName": "rwo"}}])
    stage.runs("bridge", "rwo")
    stage.ask("kv-vmim/vmi-non-migratable")
    stage.ask("kv-vmim/vmi-rwo")


def _same_name(stage: Stage, name: str) -> None:
    case = stage.cases.get("kv-vmim/same-name")
    if case is not None:
        case["request"].pop("body_raw", None)
        case["request"]["body"]["metadata"]["name"] = name
        stage.ask("kv-vmim/same-name")


def _not_running(stage: Stage) -> None:
    stage.create("pend", nodeSelector={"no": "such-node"})
    stage.until("the launcher of pend", lambda: stage.instance("pend").get("status", {}).get("phase") == "Scheduling" and stage.launchers("pend"))
    name = stage.ask("kv-vmim/create-not-running").get("metadata", {}).get("name") or stage.migrate("pend")
    stage.until("its source", lambda: stage.migration(name).get("status", {}).get("migrationState", {}).get("sourcePod"))
    stage.ask("kv-vmim/get-not-running", name)
    stage.cancel(name)
    stage.api.expect(200, "DELETE", stage.path("virtualmachines", "pend"))


def aborts(stage: Stage) -> None:
    """kv-abort: migrations that are deleted in each phase, that lose their target, whose machine is deleted."""
    with stage.within(COMMON):
        stage.tell("a", copy_seconds=LONG)
        with stage.engine.held():
            name = stage.migrate("a")
            stage.reaches(name, "Scheduling")
            stage.ask("kv-abort/get-scheduling", name)
            if not stage.ask("kv-abort/delete-before-handoff", name):
                stage.cancel(name)
        stage.gone(name)
        stage.ask("kv-abort/vmi-after-before-handoff")
        with stage.engine.held():
            name = stage.migrate("a")
            stage.reaches(name, "Running")
            stage.until("the copy", lambda: stage.instance("a")["status"]["migrationState"].get("startTimestamp"))
            if not stage.ask("kv-abort/delete-running", name):
                stage.api.expect(200, "DELETE", stage.path(MIGRATIONS, name))
            stage.until("the abort", lambda: stage.migration(name).get("status", {}).get("conditions"))
            for case in ("get-after-delete-running", "delete-running-again"):
                stage.ask(f"kv-abort/{case}", name)
        stage.gone(name)
        with stage.engine.held():
            name = stage.migrate("a")
            stage.reaches(name, "PreparingTarget")
            stage.ask("kv-abort/delete-preparing", name)
        stage.gone(name)
        _target_lost(stage)
        _machine_deleted(stage)


def _target_lost(stage: Stage) -> None:
    stage.tell("a", copy_seconds="4")
    with stage.engine.held():
        name = stage.migrate("a")
        stage.reaches(name, "Running")
        stage.until("the copy", lambda: stage.instance("a")["status"]["migrationState"].get("startTimestamp"))
        pod = stage.instance("a")["status"]["migrationState"]["targetPod"]
        stage.api.expect(200, "DELETE", f"/api/v1/namespaces/{COMMON}/pods/{pod}")
    stage.reaches(name, "Succeeded", "Failed")
    stage.ask("kv-abort/get-target-pod-lost", name)
    stage.ask("kv-abort/vmi-after-target-pod-lost")
    stage.over(name)
    stage.tell("a", copy_seconds=None)


def _machine_deleted(stage: Stage) -> None:
    stage.create("d", engine={"copy-seconds": LONG})
    stage.runs("d")
    with stage.engine.held():
        name = stage.migrate("d")
        stage.reaches(name, "Running")
        if not stage.ask("kv-abort/delete-vm-while-migrating"):
            stage.api.expect(200, "DELETE", stage.path("virtualmachines", "d"))
    stage.until("the end of d", lambda: not stage.instance("d"))


def failures(stage: Stage) -> None:
    """kv-fail: migrations that fail, and one whose target fits nowhere."""
    with stage.within(COMMON):
        stage.create("f", engine=FAILS)
        stage.runs("f")
        for number in ("1", "2", "3"):
            name = stage.migrate("f")
            stage.over(name)
            stage.ask(f"kv-fail/get-failed-{number}", name)
        stage.ask("kv-fail/vmi-after-failures")
        stage.create("u")
        stage.runs("u")
        home = stage.instance("u")["status"]["nodeName"]
        others = [node["metadata"]["name"] for node in stage.api.items("/api/v1/nodes") if node["metadata"]["name"] != home]
        stage.cordon(*others)
        with stage.engine.held():
            name = stage.migrate("u", **{"kubevirt.io/migrationUnschedulablePodTimeoutSeconds": "8"})
            stage.reaches(name, "Scheduling")
            stage.until("its pod", lambda: len(stage.launchers("u")) == 2 and stage.migration(name)["status"].get("migrationState"))
            stage.ask("kv-fail/get-unschedulable", name)
        stage.reaches(name, "Failed")
        stage.ask("kv-fail/get-unschedulable-timeout", name)
        stage.cordon(*others, off=True)


def evictions(stage: Stage) -> None:
    """kv-evict: each eviction strategy, once and again."""
    with stage.within(COMMON):
        for name, strategy in (("lm", "LiveMigrate"), ("ext", "External"), ("none", "None"), ("ifp", "LiveMigrateIfPossible")):
            stage.create(name, eviction=strategy, engine={"copy-seconds": LONG})
        for name, strategy in (("ifpnm", "LiveMigrateIfPossible"), ("lmnm", "LiveMigrate")):
            stage.create(name, binding="bridge", eviction=strategy)
        stage.runs("lm", "ext", "none", "ifp", "ifpnm", "lmnm")
        _live_migrate(stage)
        with stage.engine.held():
            _external(stage)
            stage.ask("kv-evict/ifpossible", stage.launcher("ifp"))
            stage.ask("kv-evict/livemigrate-nonmigratable", stage.launcher("lmnm"))
            _ended(stage, "none")
            _ended(stage, "ifpnm", "kv-evict/ifpnm")
            stage.ask("kv-evict/vm-table-after")


def _live_migrate(stage: Stage) -> None:
    source = stage.launcher("lm")
    stage.ask("kv-evict/livemigrate-dryrun", source)
    stage.ask("kv-evict/vmi-after-dryrun")
    with stage.engine.held():
        stage.evict("lm")
        stage.ask("kv-evict/vmi-marked")
        (migration,) = stage.until("the evacuation", lambda: stage.migrations("lm"))
        name = migration["metadata"]["name"]
        stage.reaches(name, "Scheduling")
        stage.ask("kv-evict/evacuation-vmim", name)
        stage.until("the target", lambda: len(stage.launchers("lm")) == 2)
        stage.until("the budget", lambda: any(
            one["spec"]["minAvailable"] == 2 and one["status"].get("desiredHealthy") == 2
            for one in stage.api.items(f"/apis/policy/v1/namespaces/{COMMON}/poddisruptionbudgets")
        ))  # fmt: skip
        stage.ask("kv-evict/livemigrate-again", source)
        stage.ask("kv-evict/vmim-during-evacuation")
    stage.over(name)
    stage.until("the end of the source", lambda: stage.launchers("lm")[-1]["status"]["phase"] == "Succeeded")
    stage.ask("kv-evict/vmi-after-evacuation")
    stage.ask("kv-evict/completed-source", source)
    annotation = {"metadata": {"annotations": {"descheduler.alpha.kubernetes.io/request-evict-only": ""}}}
    pod = f"/api/v1/namespaces/{COMMON}/pods/{stage.launcher('lm')}"
    stage.api.expect(200, "PATCH", pod, annotation, content_type=MERGE_PATCH)
    with stage.engine.held():
        if not stage.ask("kv-evict/descheduler", stage.launcher("lm")):
            stage.evict("lm")
        stage.ask("kv-evict/vmi-descheduler")


def _external(stage: Stage) -> None:
    stage.evict("ext")
    stage.ask("kv-evict/vmi-external")
    stage.ask("kv-evict/external-again", stage.launcher("ext"))
    for case in ("evacuate-cancel", "evacuate-cancel-no-node", "vmi-external-cancelled"):
        stage.ask(f"kv-evict/{case}")


def _ended(stage: Stage, name: str, case: str = "") -> None:
    if not (case and stage.ask(case, stage.launcher(name))):
        stage.evict(name)
    stage.until(f"the condition of {name}", lambda: any(one.get("reason") == "PodTerminating" for one in stage.instance(name)["status"]["conditions"]))
    stage.ask(f"kv-evict/vmi-{name}-after")


def subresources(stage: Stage) -> None:
    """kv-subresource: what virtctl calls."""
    with stage.within(COMMON):
        for name in ("healthz", "version"):
            stage.ask(f"kv-subresource/{name}")
        stage.create("s", engine={"copy-seconds": LONG})
        stage.runs("s")
        stage.ask("kv-subresource/start-running")
        for name in ("migrate-403", "migrate-accept-json-only", "migrate-dryrun"):
            stage.ask(f"kv-subresource/{name}")
        with stage.engine.held():
            if "kv-subresource/migrate" in stage.cases:
                stage.ask("kv-subresource/migrate")
            else:
                stage.migrate("s")
            (migration,) = stage.until("a migration", lambda: stage.migrations("s"))
            stage.until("its phase", lambda: stage.migration(migration["metadata"]["name"]).get("status", {}).get("phase"))
            stage.ask("kv-subresource/migrate-again")
        stage.cancel(migration["metadata"]["name"])
        uid = stage.instance("s")["metadata"]["uid"]
        stage.ask("kv-subresource/restart")
        if "kv-subresource/restart" in stage.cases:
            stage.until("another instance", lambda: stage.instance("s").get("metadata", {}).get("uid", uid) != uid)
            stage.runs("s")
        stage.ask("kv-subresource/stop")
        stage.until("the end of s", lambda: (stage.found(stage.path("virtualmachines", "s")) or {})["status"].get("printableStatus") == "Stopped")
        stage.ask("kv-subresource/stop-stopped")
        # It is called Stopped while its instance is there still, which the recorder had not seen any more.
        stage.until("nothing of s", lambda: not (stage.found(stage.path("virtualmachines", "s")) or {})["status"].get("created"))
        stage.ask("kv-subresource/vm-stopped")
        stage.ask("kv-subresource/start")


def policies(stage: Stage) -> None:
    """kv-policy: a MigrationPolicy, and two that are none."""
    for name in ("create", "bandwidth", "no-selectors", "table", "delete"):
        stage.ask(f"kv-policy/{name}")


def clearing(stage: Stage) -> None:
    """kv-time-clear: who can take an eviction back, and how. From here on more migrations were allowed."""
    stage.limit(parallelMigrationsPerCluster=20)
    with stage.within("t-clear"):
        for role in ("admin", "edit", "view"):
            stage.api.expect(201, "POST", f"{RBAC}/namespaces/t-clear/rolebindings", binding(f"t-{role}", role, f"t-{role}"))
        node = stage.nodes()[-1]
        stage.create("ext", eviction="External", **_near(node))
        stage.runs("ext")
        for case in sorted(name for name in stage.cases if name.startswith("kv-time-clear/")):
            stage.evict("ext")
            marked = stage.until("the mark", lambda: stage.instance("ext")["status"].get("evacuationNodeName"))
            recorded = stage.cases[case]["request"]
            for field in ("body", "body_raw"):
                if isinstance(recorded.get(field), str):
                    recorded[field] = recorded[field].replace("node05", marked)
            stage.ask(case)
            stage.answered[case] += _after(stage, case, marked)
            stage.unmark("ext")


def _after(stage: Stage, case: str, marked: str) -> list[str]:
    """Whether the instance is still marked, as the summary of the recording has it."""
    entries = {f"kv-time-clear/{one['case']}": one for one in stage.summary}
    expected = entries[case]
    kept = stage.instance("ext")["status"].get("evacuationNodeName")
    wanted = marked if expected["after"] == expected["before"] else expected["after"]
    return [] if kept == wanted else [f"afterwards: recorded {wanted}, here {kept}"]


def cancelling(stage: Stage) -> None:
    """kv-time-cancel: an evacuation's migration is deleted in flight, and another is made."""
    with stage.within("t-cancel"):
        node = _gathered(stage, "c", 3)
        with stage.engine.held():
            drain_once(stage, node)
            name = stage.until("an evacuation", lambda: stage.migrations("c0"))[0]["metadata"]["name"]
            stage.reaches(name, "Running")
            stage.until("the copy", lambda: stage.instance("c0")["status"]["migrationState"].get("startTimestamp"))
            if not stage.ask("kv-time-cancel/delete-evacuation-vmim", name):
                stage.api.expect(200, "DELETE", stage.path(MIGRATIONS, name))
            stage.until("its end", lambda: stage.instance("c0")["status"]["migrationState"].get("completed"))
            stage.ask("kv-time-cancel/vmi-after-cancel")
            stage.gone(name)
            stage.ask("kv-time-cancel/vmim-deleting", name)
        stage.until("the end of the drain", lambda: _away(stage, node))
        _settled(stage)
        stage.ask("kv-time-cancel/vmims")
        stage.cordon(node, off=True)


def _gathered(stage: Stage, prefix: str, number: int, engine: Object | None = None) -> str:
    """Machines on one node, whose name it is."""
    node = stage.nodes()[-1]
    others = [one["metadata"]["name"] for one in stage.api.items("/api/v1/nodes") if one["metadata"]["name"] != node]
    stage.cordon(*others)
    names = [f"{prefix}{index}" for index in range(number)]
    for name in names:
        stage.create(name, engine=engine if engine is not None else {"copy-seconds": "4"}, **_near(node))
    stage.runs(*names)
    stage.cordon(*others, off=True)
    return node


def _near(node: str) -> Object:
    """What machines of these scenes have besides: a preferred node, a disk of another name, an image as old as KubeVirt."""
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    return {"disk": "c", "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": term}]}}}


def _away(stage: Stage, node: str) -> bool:
    return all(vmi["status"].get("nodeName") != node for vmi in stage.api.items(stage.path("virtualmachineinstances")))


def _settled(stage: Stage) -> None:
    stage.until("rest", lambda: all(
        one.get("status", {}).get("phase") in ("Succeeded", "Failed") and not one["metadata"].get("finalizers")
        for one in stage.api.items(stage.path(MIGRATIONS))
    ))  # fmt: skip


def uncordoned(stage: Stage) -> None:
    """kv-time-uncordon: a drain that is given up; what it began goes on.

    Where three migrations were recorded the first was two seconds old before it had a target, so that the controller, which counts those that have one,
    made one more than there are slots. The controller is held up for as long here.
    """
    recorded = (stage.cases.get("kv-time-uncordon/vmims-at-uncordon") or {}).get("response", {}).get("body", {}).get("items", ("?", "?"))

    def phases() -> list[str]:
        return [one.get("status", {}).get("phase") for one in stage.api.items(stage.path(MIGRATIONS))]

    with stage.within("t-uncordon"):
        node = _gathered(stage, "u", 5)
        with stage.engine.held():
            # Where nothing had been evicted yet, the node was only cordoned.
            with _without_targets(stage) if len(recorded) > _SLOTS else contextlib.nullcontext():
                (drain_once if recorded else Stage.cordon)(stage, node)
                stage.until("as many as were recorded", lambda: len(phases()) >= len(recorded))
            stage.until("two evacuations", lambda: not recorded or phases().count("TargetReady") == _SLOTS)
            stage.cordon(node, off=True)
            stage.ask("kv-time-uncordon/vmims-at-uncordon")
            stage.ask("kv-time-uncordon/vmis-at-uncordon")
        stage.until("all are elsewhere", lambda: not recorded or _away(stage, node))
        _settled(stage)
        stage.ask("kv-time-uncordon/vmis-end")


@contextlib.contextmanager
def _without_targets(stage: Stage) -> Iterator[None]:
    """No migration gets a target pod meanwhile: whoever makes one is answered late."""
    user = f"system:serviceaccount:{stage.engine.namespace}:kubevirt-controller"
    rule = {"answer": "slow", "seconds": 2, "verbs": ["create"], "resources": ["pods"], "users": [user]}
    stage.api.expect(200, "PUT", FAULTS, {"rules": [rule], "controllers": True})
    try:
        yield
    finally:
        stage.api.expect(200, "DELETE", FAULTS)


def uncordoned_failing(stage: Stage) -> None:
    """kv-time-uncordonfail: a drain that is given up while the migration fails: more are made until the mark is taken back."""
    with stage.within("t-uncordonfail"):
        node = _gathered(stage, "f", 1, FAILS)
        second = _second(stage, "f0", "Scheduling")
        drain_once(stage, node)
        with second:
            stage.cordon(node, off=True)
            stage.ask("kv-time-uncordonfail/vmims")
            (failed,) = (one["metadata"]["uid"] for one in stage.migrations("f0") if one["status"]["phase"] == "Failed")
            stage.until("the second target", lambda: stage.instance("f0")["status"]["migrationState"]["migrationUid"] != failed)
            stage.ask("kv-time-uncordonfail/clear-impersonated")
        stage.unmark("f0")
        _settled(stage)
        stage.ask("kv-time-uncordonfail/vmims-end")


def _second(stage: Stage, vmi: str, phase: str) -> Hold:
    """Time is held once a second migration of a machine is in a phase."""
    names: set[str] = set()

    def holds(migration: Object) -> bool:
        if migration["spec"]["vmiName"] == vmi and (migration.get("status") or {}).get("phase") == phase:
            names.add(migration["metadata"]["name"])
        return len(names) == 2

    return stage.engine.held_at(VMIMS, stage.namespace, holds)


def failing_drain(stage: Stage) -> None:
    """kv-time-fail: a drain of three machines, the migrations of one of which always fail."""
    with stage.within("t-fail"):
        node = _gathered(stage, "good", 2)
        stage.create("bad", engine=FAILS, **_near(node))
        stage.runs("bad")
        second = _second(stage, "bad", "Failed")
        drain_once(stage, node)
        with second:
            stage.until("two that are over", lambda: sum(stage.ended(one) for one in stage.migrations("bad")) == 2)
            stage.until("a third", lambda: sum(one.get("status", {}).get("phase") == "Pending" for one in stage.migrations("bad")) == 1)
            stage.ask("kv-time-fail/vmims")
            stage.ask("kv-time-fail/vmi-bad")
        stage.cordon(node, off=True)
        stage.unmark("bad")


def drained(stage: Stage) -> None:
    """kv-drain, kv-time-drain6, kv-time-ansible: a node from which everything has gone."""
    with stage.within("t-drain6"):
        node = _gathered(stage, "n", 6)
        drain_once(stage, node)
        stage.until("all are elsewhere", lambda: _away(stage, node))
        _settled(stage)
        stage.evict_completed()
        stage.ask("kv-time-drain6/pdbs")
        stage.ask("kv-drain/node-drained", node)
        stage.ask("kv-time-ansible/node-after-once", node)
        stage.cordon(node, off=True)


SCENES = (
    create, migrations, aborts, failures, evictions, subresources, policies, clearing, cancelling, uncordoned, uncordoned_failing, failing_drain, drained,
)  # fmt: skip
