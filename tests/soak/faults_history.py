# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold at every instant of a storm, checked write by write: pure.

A guest runs in a virt-launcher pod from the moment that virt-handler says so, there or as the target of a migration, until the pod's
process ends or the guest has moved on. Whatever stops one has to have a reason: its machine, its owner, its node, a crash, an eviction
that its strategy allows.
"""

from __future__ import annotations

import collections
import math
import typing as t

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes.scheduler.requests import (
    Amounts,
    amounts,
    pod_requests,
)

Object = dict[str, t.Any]
Key = tuple[str, str]
FINAL = ("Succeeded", "Failed")
_KEPT, _SHOWN = 40, 14
"""Lines of history that are kept, and shown, of each machine."""


def status_of(obj: Object) -> Object:
    found: Object = obj.get("status") or {}
    return found


def key_of(obj: Object) -> Key:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def machine_of(pod: Object) -> Key | None:
    """The machine that a virt-launcher pod belongs to."""
    metadata = pod["metadata"]
    if (metadata.get("labels") or {}).get("kubevirt.io") != "virt-launcher":
        return None
    return metadata["namespace"], metadata["annotations"]["kubevirt.io/domain"]


def owner_uid(pod: Object) -> str:
    return next((str(owner["uid"]) for owner in pod["metadata"].get("ownerReferences") or () if owner.get("controller")), "")


def condition_of(obj: Object, kind: str) -> Object:
    found: Object = next((one for one in status_of(obj).get("conditions") or () if one["type"] == kind), {})
    return found


def run_strategy(vm: Object) -> str:
    spec = vm["spec"]
    return str(spec.get("runStrategy") or ("Always" if spec.get("running") else "Halted"))


def is_guarded(vmi: Object, cluster_wide: str) -> bool:
    """Whether an eviction may not stop the guest."""
    strategy = vmi["spec"].get("evictionStrategy") or cluster_wide or "None"
    if strategy == "LiveMigrateIfPossible":
        return condition_of(vmi, "LiveMigratable").get("status") == "True"
    return strategy in ("LiveMigrate", "External")


class History:
    """The cluster after each write, and what was wrong with it.

    `exited` says whether the process of a pod, by uid, has ended; `clock` tells engine seconds since the storm began.
    """

    def __init__(self, exited: t.Callable[[str], bool] = lambda _uid: False, clock: t.Callable[[], float] = lambda: 0.0) -> None:
        self.exited, self.clock = exited, clock
        self.problems: list[str] = []
        self.machines: dict[Key, Object] = {}
        self.instances: dict[Key, Object] = {}
        self.pods: dict[str, Object] = {}
        self.migrations: dict[Key, Object] = {}
        self.nodes: dict[str, Object] = {}
        self.joined: dict[str, Object] = {}
        """Every node as it was when it first was there."""
        self.budgets: dict[str, Object] = {}
        self.rerun: set[Key] = set()
        """Machines whose last guest failed by itself."""
        self.faulty_until = -math.inf
        """Until when requests were refused for no reason; infinity while they are."""
        self.down: set[str] = set()
        self.cluster_wide = ""
        self.asked: set[Key | str] = set()
        """Machines that may go, and pods and instances that may, by uid."""
        self.excuses: dict[str, str] = {}
        """Why a guest may stop, by the uid of its instance."""
        self.guests: dict[Key, dict[str, str]] = collections.defaultdict(dict)
        """Where a guest was seen to run: pods' uids with their nodes."""
        self.writes = self.stops = self.moves = 0
        self._lost: set[str] = set()
        self._allocatable: dict[str, Amounts] = {}
        self._held: dict[str, tuple[str, Amounts]] = {}
        self._on_node: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self._lines: dict[Key, collections.deque[str]] = collections.defaultdict(lambda: collections.deque(maxlen=_KEPT))
        self._ended_at: dict[Key, float] = {}
        self._of_machine: dict[Key, dict[str, Object]] = collections.defaultdict(dict)
        self._when = ""

    # --- what the storm itself does --------------------------------------------------------------------------------

    def refuses(self, refuses: bool) -> None:
        """Requests are refused for no reason from now on, or no longer."""
        self.faulty_until = math.inf if refuses else min(self.faulty_until, self.clock())

    def node_power(self, node: str, up: bool) -> None:
        """A node is switched on or off."""
        if up:
            self.down.discard(node)
            return
        self.down.add(node)
        self._lose(node)

    def _lose(self, node: str) -> None:
        self._lost.add(node)
        for vmi in self.instances.values():
            if node in self._nodes_of(vmi):
                self.excuse(vmi, "its node was lost")

    def excuse(self, vmi: Object, why: str) -> None:
        self.excuses.setdefault(vmi["metadata"]["uid"], why)

    def note(self, key: Key, line: str) -> None:
        self._lines[key].append(f"{self._when} {line}")

    def fail(self, key: Key | None, text: str) -> None:
        lines = list(self._lines[key])[-_SHOWN:] if key is not None else []
        self.problems.append(f"{self._when} {text}" + "".join(f"\n    {line}" for line in lines))

    # --- what the cluster writes -----------------------------------------------------------------------------------

    def feed(self, version: int, kind: str, plural: str, obj: Object) -> None:
        """The next write: ADDED, MODIFIED or DELETED."""
        self.writes += 1
        self._when = f"{self.clock():9.2f} v{version}"
        handler = getattr(self, f"_{plural}", None)
        if handler is not None:
            handler(kind, obj)

    def _kubevirts(self, _kind: str, obj: Object) -> None:
        self.cluster_wide = str((obj["spec"].get("configuration") or {}).get("evictionStrategy") or "")

    def _nodes(self, kind: str, node: Object) -> None:
        name = node["metadata"]["name"]
        if kind == "DELETED":
            self._allocatable.pop(name, None)
            self.nodes.pop(name, None)
            self._lose(name)
            return
        self.nodes[name] = node
        if status_of(node).get("allocatable"):
            self._allocatable[name] = amounts(status_of(node)["allocatable"])
            self.joined.setdefault(name, node)

    def _poddisruptionbudgets(self, kind: str, budget: Object) -> None:
        if kind == "DELETED":
            self.budgets.pop(budget["metadata"]["uid"], None)
        else:
            self.budgets[budget["metadata"]["uid"]] = budget

    def _virtualmachineinstancemigrations(self, kind: str, obj: Object) -> None:
        vm = (obj["metadata"]["namespace"], obj["spec"]["vmiName"])
        before = self.migrations.pop(key_of(obj), None)
        if kind != "DELETED":
            self.migrations[key_of(obj)] = obj
        was, now = status_of(before or {}).get("phase"), status_of(obj).get("phase", "")
        if kind == "DELETED" or before is None or was != now:
            self.note(vm, f"migration {obj['metadata']['name']} {kind if kind != 'MODIFIED' else ''} {now}")

    def _virtualmachines(self, kind: str, vm: Object) -> None:
        key = key_of(vm)
        before = self.machines.pop(key, None)
        if kind == "DELETED":
            if key not in self.asked:
                self.fail(key, f"the machine {'/'.join(key)} is gone, and nobody asked for that")
            return
        self.machines[key] = vm
        asked = [one.get("action") for one in status_of(vm).get("stateChangeRequests") or ()]
        if before is None or run_strategy(before) != run_strategy(vm) or asked:
            self.note(key, f"machine {run_strategy(vm)} {asked or ''}")
        self._excuse_by_machine(key)

    def _excuse_by_machine(self, key: Key) -> None:
        vm, vmi = self.machines.get(key), self.instances.get(key)
        if vmi is None:
            return
        if vm is None or vm["metadata"].get("deletionTimestamp"):
            self.excuse(vmi, "its machine goes")
        elif run_strategy(vm) == "Halted":
            self.excuse(vmi, "its machine is halted")
        elif self._is_to_stop(vmi):
            self.excuse(vmi, "its owner asked for a stop")

    def _is_to_stop(self, vmi: Object) -> bool:
        """Whether its owner has asked for just this guest to stop."""
        requests = status_of(self.machines.get(key_of(vmi), {})).get("stateChangeRequests") or ()
        return any(one.get("action") == "Stop" and one.get("uid") == vmi["metadata"]["uid"] for one in requests)

    def _nodes_of(self, vmi: Object) -> set[str]:
        state = status_of(vmi).get("migrationState") or {}
        moving = () if state.get("completed") else (state.get("sourceNode"), state.get("targetNode"))
        return {node for node in (status_of(vmi).get("nodeName"), *moving) if node}

    def _virtualmachineinstances(self, kind: str, vmi: Object) -> None:
        key, uid = key_of(vmi), vmi["metadata"]["uid"]
        before = self.instances.pop(key, None)
        if before is not None and before["metadata"]["uid"] != uid:
            self.fail(key, f"{'/'.join(key)} has another instance while the first is still there")
            before = None
        if kind == "DELETED":
            self.note(key, f"instance {uid[:8]} gone, {status_of(vmi).get('phase')}")
            if self.faulty_until >= self._ended_at.get(key, 0.0):
                # The request to start it again comes after its deletion, once: it may have been refused. Source: KubeVirt pkg/virt-controller/watch/vm/vm.go.
                self.rerun.discard(key)
            if status_of(vmi).get("phase") not in FINAL:
                self.fail(key, f"the instance {'/'.join(key)} is gone in phase {status_of(vmi).get('phase')}")
            return
        self.instances[key] = vmi
        self._excuse_by_machine(key)
        self._tell(key, before, vmi)
        if any(node in self.down or node not in self.nodes for node in self._nodes_of(vmi)):
            self.excuse(vmi, "its node was lost")
        was, now = status_of(before or {}).get("phase"), status_of(vmi).get("phase")
        excused = uid in self.excuses or uid in self.asked
        if vmi["metadata"].get("deletionTimestamp") and not (before or vmi)["metadata"].get("deletionTimestamp"):
            if not excused and was not in FINAL:
                self.fail(key, f"the instance {'/'.join(key)} is deleted for no reason")
            self.excuse(vmi, "it is deleted")
        state = status_of(vmi).get("migrationState") or {}
        if state.get("mode") == "PostCopy" and state.get("failed"):
            self.excuse(vmi, "its post-copy broke")
        excused = uid in self.excuses or uid in self.asked
        if was not in FINAL and now in FINAL:
            self._ended_at[key] = self.clock()
            by_itself = now == "Failed" and not vmi["metadata"].get("deletionTimestamp") and not self._is_to_stop(vmi)
            (self.rerun.add if by_itself else self.rerun.discard)(key)
            self.stops += was == "Running"
            if was == "Running" and not excused:
                self.fail(key, f"the guest {'/'.join(key)} has stopped ({now}) for no reason")
        if was != "Running" and now == "Running":
            self._begins(key, vmi)
        self._moved(key, before, vmi)

    def _tell(self, key: Key, before: Object | None, vmi: Object) -> None:
        def brief(obj: Object) -> str:
            state = status_of(obj).get("migrationState") or {}
            moves = {name: state[name] for name in ("targetNode", "startTimestamp", "completed", "failed", "abortRequested", "abortStatus") if name in state}
            mark = status_of(obj).get("evacuationNodeName")
            going = " deleting" if obj["metadata"].get("deletionTimestamp") else ""
            return f"{status_of(obj).get('phase')} on {status_of(obj).get('nodeName')}{going}{f' to leave {mark}' if mark else ''} {moves or ''}"

        if before is None or brief(before) != brief(vmi):
            self.note(key, f"instance {vmi['metadata']['uid'][:8]} {brief(vmi)}")

    def _launchers(self, vmi: Object) -> list[Object]:
        return [pod for pod in self._of_machine[key_of(vmi)].values() if owner_uid(pod) == vmi["metadata"]["uid"]]

    def home(self, vmi: Object) -> Object | None:
        """The newest pod of the instance on its node, or of all while it has none."""
        node = status_of(vmi).get("nodeName")
        found = [pod for pod in self._launchers(vmi) if not node or pod["spec"].get("nodeName") == node]
        return max(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)

    def _begins(self, key: Key, vmi: Object) -> None:
        pod = self.home(vmi)
        if pod is None:
            self.fail(key, f"the guest {'/'.join(key)} runs without a pod")
            return
        self._runs_in(key, pod)

    def _moved(self, key: Key, before: Object | None, vmi: Object) -> None:
        state, old = status_of(vmi).get("migrationState") or {}, status_of(before or {}).get("migrationState") or {}
        if old.get("migrationUid") != state.get("migrationUid"):
            old = {}
        over = "targetNodeDomainReadyTimestamp"
        done = state.get("completed") and not state.get("failed")
        if (state.get(over) and not old.get(over)) or (done and not old.get("completed") and not old.get(over)):
            target = next((pod for pod in self._launchers(vmi) if pod["metadata"]["name"] == state.get("targetPod")), None)
            self.moves += 1
            # It stands still there from now on. sourcePod may name the source of an earlier migration.
            self.guests[key] = {uid: node for uid, node in self.guests[key].items() if node != state.get("sourceNode")}
            if target is not None:
                self._runs_in(key, target)
        if done and not old.get("completed") and status_of(vmi).get("nodeName") != state.get("targetNode"):
            self.fail(key, f"the guest {'/'.join(key)} has moved to {state.get('targetNode')}, its instance is on {status_of(vmi).get('nodeName')}")

    def is_running(self, uid: str) -> bool:
        """Whether the process of a pod runs."""
        pod = self.pods.get(uid)
        if pod is None or status_of(pod).get("phase") in FINAL or pod["spec"].get("nodeName") in self.down:
            return False
        return not self.exited(uid)

    def running(self, key: Key) -> dict[str, str]:
        """The pods in which the guest runs, with their nodes."""
        return {uid: node for uid, node in self.guests[key].items() if self.is_running(uid)}

    def _runs_in(self, key: Key, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        self.guests[key][uid] = pod["spec"].get("nodeName", "")
        running = self.running(key)
        if len(running) > 1:
            self.fail(key, f"the guest {'/'.join(key)} runs {len(running)} times, on {', '.join(sorted(running.values()))}")

    def _pods(self, kind: str, pod: Object) -> None:
        uid, key = pod["metadata"]["uid"], machine_of(pod)
        before = self.pods.pop(uid, None)
        if kind != "DELETED":
            self.pods[uid] = pod
        if key is not None:
            self._launcher(key, kind, before, pod)
        self._count(kind, pod)

    def _launcher(self, key: Key, kind: str, before: Object | None, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        self._of_machine[key][uid] = pod
        if kind == "DELETED":
            del self._of_machine[key][uid]
            self.guests[key].pop(uid, None)
            self.note(key, f"pod {pod['metadata']['name'][-5:]} gone")
            return
        self._tell_pod(key, before, pod)
        if status_of(pod).get("phase") == "Running" and status_of(before or {}).get("phase") != "Running":
            self._crowd(key, pod)
        if pod["metadata"].get("deletionTimestamp") and not (before or pod)["metadata"].get("deletionTimestamp"):
            self._deleted(key, pod)

    def _tell_pod(self, key: Key, before: Object | None, pod: Object) -> None:
        def brief(obj: Object) -> str:
            going = " deleting" if obj["metadata"].get("deletionTimestamp") else ""
            return f"{status_of(obj).get('phase')} on {obj['spec'].get('nodeName')}{going}"

        if before is None or brief(before) != brief(pod):
            self.note(key, f"pod {pod['metadata']['name'][-5:]} {brief(pod)}")

    def _crowd(self, key: Key, pod: Object) -> None:
        """A launcher comes up: no other but the one that its guest is to leave may run."""
        there = [one for one in self._of_machine[key].values() if self.is_running(one["metadata"]["uid"])]
        if any(owner_uid(one) != owner_uid(pod) for one in there):
            self.fail(key, f"a launcher of {'/'.join(key)} comes up while one of an earlier instance runs")
        if len(there) > 2 or len({one["spec"].get("nodeName") for one in there}) < len(there):
            self.fail(key, f"launchers of {'/'.join(key)} run on {', '.join(sorted(str(one['spec'].get('nodeName')) for one in there))}")

    def _deleted(self, key: Key, pod: Object) -> None:
        """Somebody has begun to delete a pod."""
        uid, vmi = pod["metadata"]["uid"], self.instances.get(key)
        if vmi is None or owner_uid(pod) != vmi["metadata"]["uid"] or status_of(vmi).get("phase") in FINAL:
            return
        home = self.home(vmi)
        target = f"{'/'.join(key)}'s pod on {pod['spec'].get('nodeName')}"
        if home is None or home["metadata"]["uid"] != uid or vmi["metadata"].get("deletionTimestamp"):
            return
        reason = condition_of(pod, "DisruptionTarget").get("reason")
        if uid in self.asked:
            self.excuse(vmi, "its pod was deleted")
        elif reason == "EvictionByEvictionAPI":
            if is_guarded(vmi, self.cluster_wide):
                self.fail(key, f"{target} is evicted, against its strategy")
            self.excuse(vmi, "it was evicted")
        elif pod["spec"].get("nodeName") not in self._lost:
            self.fail(key, f"{target} is deleted ({reason or 'by whoever'}) for no reason")
        else:
            self.excuse(vmi, "its node was lost")

    # --- what nodes have ---------------------------------------------------------------------------------------------

    def _count(self, kind: str, pod: Object) -> None:
        """No node is ever asked for more than it has."""
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        counts = kind != "DELETED" and node and status_of(pod).get("phase") not in FINAL
        held = self._held.pop(uid, None)
        if held is not None:
            self._on_node[held[0]].subtract(held[1])
        if not counts:
            return
        wanted = held[1] if held is not None else {**pod_requests(pod["spec"]), "pods": 1}
        self._held[uid] = node, wanted
        self._on_node[node].update(wanted)
        if held is not None:
            return
        has = self._allocatable.get(node, {})
        for name, value in self._on_node[node].items():
            if value > has.get(name, 0):
                self.fail(machine_of(pod), f"{node} is asked for {value} of {name} and has {has.get(name, 0)}, since {pod['metadata']['name']} came")

    def free(self, node: str) -> Amounts:
        return {name: value - self._on_node[node][name] for name, value in self._allocatable.get(node, {}).items()}
