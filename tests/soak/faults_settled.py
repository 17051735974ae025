# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not at rest yet once all faults have ended, unless there is no room for it: pure."""

from __future__ import annotations

import types
import typing as t

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes.scheduler.requests import pod_requests

from .faults_history import (
    FINAL,
    History,
    Key,
    Object,
    condition_of,
    is_guarded,
    key_of,
    machine_of,
    owner_uid,
    run_strategy,
    status_of,
)

_HOST_MODEL = "host-model-cpu.node.kubevirt.io/"
Left = tuple[Key | None, str]
"""The machine that it is about, and what it is."""


def unsettled(history: History) -> list[Left]:
    """Each thing that has yet to happen."""
    problems: list[Left] = [*((None, text) for text in _nodes(history)), *_pods(history)]
    for key, vm in sorted(history.machines.items()):
        problems += [(key, text) for text in _machine(history, key, vm)]
    for key, vmi in sorted(history.instances.items()):
        if key not in history.machines:
            problems.append((key, "its machine is gone"))
        problems += [(key, text) for text in _instance(history, vmi)]
    for key, migration in sorted(history.migrations.items()):
        phase = status_of(migration).get("phase")
        vmi_or_none = history.instances.get((key[0], migration["spec"]["vmiName"]))
        if phase in FINAL:
            continue
        if vmi_or_none is None or _fits_elsewhere(history, vmi_or_none):
            problems.append(((key[0], migration["spec"]["vmiName"]), f"its migration {key[1]} is {phase or 'new'}"))
    return problems


def _nodes(history: History) -> t.Iterator[str]:
    for name, node in sorted(history.nodes.items()):
        if condition_of(node, "Ready").get("status") != "True":
            yield f"{name} is not ready"
        if (node["metadata"].get("labels") or {}).get("kubevirt.io/schedulable", "true") != "true":
            yield f"{name} takes no machines"
        if any(taint["effect"] == "NoExecute" for taint in node["spec"].get("taints") or ()):
            yield f"{name} is tainted"


def _is_waiting(history: History, pod: Object) -> bool:
    """Whether the pod waits for room that there isn't."""
    return not pod["spec"].get("nodeName") and not _fits(history, pod, "")


def _pods(history: History) -> t.Iterator[Left]:
    homes = {home["metadata"]["uid"] for vmi in history.instances.values() if (home := history.home(vmi)) is not None}
    for uid, pod in history.pods.items():
        name = f"pod {'/'.join(key_of(pod))}"
        if pod["metadata"].get("deletionTimestamp"):
            yield machine_of(pod), f"{name} is still being deleted"
        elif status_of(pod).get("phase") in FINAL or _is_waiting(history, pod):
            continue
        elif machine_of(pod) is not None and uid not in homes:
            yield machine_of(pod), f"{name} is nobody's home"
        elif condition_of(pod, "Ready").get("status") != "True":
            yield machine_of(pod), f"{name} is {status_of(pod).get('phase')} and not ready"


def _machine(history: History, key: Key, vm: Object) -> t.Iterator[str]:
    vmi, strategy = history.instances.get(key), run_strategy(vm)
    if vm["metadata"].get("deletionTimestamp"):
        yield "the machine is still being deleted"
    if status_of(vm).get("stateChangeRequests"):
        yield f"the machine is still to {status_of(vm)['stateChangeRequests']}"
    if vmi is None:
        if strategy == "Always" or (strategy == "RerunOnFailure" and key in history.rerun):
            yield f"the machine ({strategy}) has no instance"
        # One whose last guest ended before it ran counts as crashing, also where that is no reason to start it again.
        if status_of(vm).get("printableStatus") not in ("Stopped", "CrashLoopBackOff"):
            yield f"the machine says {status_of(vm).get('printableStatus')} without an instance"
        return
    phase = status_of(vmi).get("phase")
    if strategy == "Halted" or (strategy in ("Always", "RerunOnFailure") and phase in FINAL):
        yield f"the machine ({strategy}) has an instance that is {phase}"
    # A guest that ends while it moves leaves its migrationState as it was. Source: KubeVirt pkg/util/migrations/migrations.go.
    wanted = ("Running",) if phase == "Running" else ("Stopped", "Migrating") if phase in FINAL else ("ErrorUnschedulable",)
    if status_of(vm).get("printableStatus") not in wanted:
        yield f"the machine says {status_of(vm).get('printableStatus')}, not {wanted[0]}"
    if bool(status_of(vm).get("ready")) != (phase == "Running"):
        yield f"the machine's ready is {status_of(vm).get('ready')}"


def _instance(history: History, vmi: Object) -> t.Iterator[str]:
    phase, home = status_of(vmi).get("phase"), history.home(vmi)
    if vmi["metadata"].get("deletionTimestamp"):
        yield "the instance is still being deleted"
        return
    if phase in FINAL:
        return
    if phase != "Running":
        if home is None or not _is_waiting(history, home):
            yield f"the instance is {phase or 'new'}"
        return
    if condition_of(vmi, "Ready").get("status") != "True":
        yield f"the instance is not ready: {condition_of(vmi, 'Ready').get('reason')}"
    state = status_of(vmi).get("migrationState") or {}
    if state and not state.get("completed"):
        yield "its migration is not over"
    running = history.running(key_of(vmi))
    if home is None or [*running] != [home["metadata"]["uid"]]:
        yield f"the guest runs in {[*running.values()]}, its instance says {status_of(vmi).get('nodeName')}"
    mark = status_of(vmi).get("evacuationNodeName")
    movable = condition_of(vmi, "LiveMigratable").get("status") == "True" and is_guarded(vmi, history.cluster_wide)
    if mark and mark == status_of(vmi).get("nodeName") and movable and _fits_elsewhere(history, vmi):
        yield f"it is still to leave {mark}"
    yield from _guard(history, vmi)


def _guard(history: History, vmi: Object) -> t.Iterator[str]:
    found = [one for one in history.budgets.values() if owner_uid(one) == vmi["metadata"]["uid"]]
    if len(found) != is_guarded(vmi, history.cluster_wide):
        yield f"it has {len(found)} disruption budgets"
    if any(one["spec"].get("minAvailable") != 1 for one in found) and not _is_moving(history, vmi):
        yield "its disruption budget still asks for two pods"


def _is_moving(history: History, vmi: Object) -> bool:
    key = key_of(vmi)
    return any(
        (one["metadata"]["namespace"], one["spec"]["vmiName"]) == key and status_of(one).get("phase") not in FINAL for one in history.migrations.values()
    )


def _fits_elsewhere(history: History, vmi: Object) -> bool:
    """Whether a node other than its own could take the instance, which finds there the CPU that it has been told it has."""
    home = history.home(vmi)
    if home is None:
        return True
    node = str(home["spec"].get("nodeName") or "")
    labels = (history.nodes.get(node, {}).get("metadata") or {}).get("labels") or {}
    models = [label.removeprefix(_HOST_MODEL) for label in labels if label.startswith(_HOST_MODEL)]
    return _fits(history, home, node, {f"cpu-model-migration.node.kubevirt.io/{model}": "true" for model in models})


def _fits(history: History, pod: Object, but: str, needed: t.Mapping[str, str] = types.MappingProxyType({})) -> bool:
    """Whether any node but one has room for the pod, and is one of those that it may go to."""
    wanted, selector = pod_requests(pod["spec"]), {**(pod["spec"].get("nodeSelector") or {}), **needed}
    for name, node in history.nodes.items():
        labels = node["metadata"].get("labels") or {}
        if name == but or node["spec"].get("unschedulable") or node["spec"].get("taints") or not selector.items() <= labels.items():
            continue
        free = history.free(name)
        if free.get("pods", 0) > 0 and all(value <= free.get(resource, 0) for resource, value in wanted.items()):
            return True
    return False
