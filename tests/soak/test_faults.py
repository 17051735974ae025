# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the storms would notice, and a few small ones."""

from __future__ import annotations

import typing as t

import pytest

from . import faults
from .faults_history import History, Object
from .faults_settled import unsettled

KEY = ("shop", "vm-1")
GIB = 1024**3


class Cluster:
    """Writes, one after the other: two nodes and a machine whose guest runs on the first."""

    def __init__(self) -> None:
        self.exited: set[str] = set()
        self.history = History(lambda uid: uid in self.exited)
        self.version = 0
        for node in ("node01", "node02"):
            self.node(node)
        self.machine()
        self.pod("source", "node01")
        self.instance()
        self.budget()

    def feed(self, plural: str, obj: Object, kind: str = "MODIFIED") -> None:
        self.version += 1
        self.history.feed(self.version, kind, plural, obj)

    def node(self, name: str, **spec: t.Any) -> None:
        conditions = [{"type": "Ready", "status": "True"}]
        labels = {"kubevirt.io/schedulable": "true"}
        allocatable = {"memory": "8Gi", "cpu": "8", "pods": "250"}
        self.feed("nodes", {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"allocatable": allocatable, "conditions": conditions}})

    def machine(self, strategy: str = "Always", kind: str = "MODIFIED", **status: t.Any) -> None:
        said = {"ready": True, "printableStatus": "Running", **status}
        metadata = {"namespace": KEY[0], "name": KEY[1]}
        self.feed("virtualmachines", {"metadata": metadata, "spec": {"runStrategy": strategy}, "status": said}, kind)

    def instance(self, phase: str = "Running", node: str = "node01", kind: str = "MODIFIED", uid: str = "one", going: bool = False, **status: t.Any) -> None:
        metadata: Object = {"namespace": KEY[0], "name": KEY[1], "uid": uid, **({"deletionTimestamp": "now"} if going else {})}
        conditions = [{"type": "Ready", "status": "True"}, {"type": "LiveMigratable", "status": "True"}]
        said = {"phase": phase, "nodeName": node, "conditions": conditions, **status}
        self.feed("virtualmachineinstances", {"metadata": metadata, "spec": {"evictionStrategy": "LiveMigrate"}, "status": said}, kind)

    def pod(
        self, name: str, node: str, phase: str = "Running", kind: str = "MODIFIED", memory: int = 2, reason: str = "", going: bool = False, uid: str = "one",
        machine: str = KEY[1],
    ) -> None:
        metadata: Object = {
            "namespace": KEY[0], "name": name, "uid": name, "creationTimestamp": f"{self.version:04}", "labels": {"kubevirt.io": "virt-launcher"},
            "annotations": {"kubevirt.io/domain": machine}, "ownerReferences": [{"kind": "VirtualMachineInstance", "uid": uid, "controller": True}],
        }  # fmt: skip
        if going:
            metadata["deletionTimestamp"] = "now"
        conditions = [{"type": "Ready", "status": "True"}, *([{"type": "DisruptionTarget", "status": "True", "reason": reason}] if reason else [])]
        containers = [{"resources": {"requests": {"memory": f"{memory}Gi"}}}]
        spec = {"nodeName": node, "containers": containers}
        self.feed("pods", {"metadata": metadata, "spec": spec, "status": {"phase": phase, "conditions": conditions}}, kind)

    def budget(self, least: int = 1) -> None:
        owners = [{"kind": "VirtualMachineInstance", "uid": "one", "controller": True}]
        self.feed("poddisruptionbudgets", {"metadata": {"uid": "budget", "ownerReferences": owners}, "spec": {"minAvailable": least}})

    def moves(self, **state: t.Any) -> None:
        """The guest is on its way to node02."""
        self.pod("target", "node02")
        named = {"migrationUid": "job", "sourceNode": "node01", "targetNode": "node02", "sourcePod": "source", "targetPod": "target"}
        over = state.get("completed") and not state.get("failed")
        self.instance(node="node02" if over else "node01", migrationState={**named, **state})

    @property
    def problems(self) -> list[str]:
        return [problem.split("\n")[0].split(" ", 2)[-1].lstrip() for problem in self.history.problems]

    @property
    def left(self) -> list[str]:
        return [text for _key, text in unsettled(self.history)]


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    assert made.problems == made.left == []
    return made


def said(cluster: Cluster) -> str:
    """The only problem there is."""
    (problem,) = cluster.history.problems
    first, *lines = problem.split("\n")
    assert lines, "a problem comes with what happened before"
    return first.split(" ", 1)[-1].split(f"v{cluster.version} ", 1)[-1]


def test_a_guest_moves(cluster: Cluster) -> None:
    cluster.moves(startTimestamp="then")
    cluster.moves(startTimestamp="then", targetNodeDomainReadyTimestamp="now")
    cluster.moves(startTimestamp="then", targetNodeDomainReadyTimestamp="now", completed=True)
    assert cluster.left == ["pod shop/source is nobody's home"]
    cluster.pod("source", "node01", phase="Succeeded")
    assert cluster.problems == cluster.left == []
    assert cluster.history.moves == 1


def test_a_guest_that_runs_twice(cluster: Cluster) -> None:
    cluster.pod("other", "node02", uid="two")
    cluster.instance("Failed", going=True)
    cluster.history.problems.clear()
    cluster.instance("Failed", kind="DELETED")
    cluster.instance("Running", "node02", uid="two")
    assert said(cluster) == "the guest shop/vm-1 runs 2 times, on node01, node02"


def test_launchers_that_should_not_be(cluster: Cluster) -> None:
    cluster.pod("again", "node01")
    assert said(cluster) == "launchers of shop/vm-1 run on node01, node01"
    cluster.history.problems.clear()
    cluster.pod("again", "node01", "Failed")
    cluster.pod("target", "node02")
    assert cluster.problems == []
    cluster.pod("third", "node03")
    assert "launchers of shop/vm-1 run on node01, node02, node03" in cluster.history.problems[0]
    cluster.history.problems.clear()
    cluster.exited |= {"third", "target"}
    cluster.pod("other", "node02", uid="two")
    assert said(cluster) == "a launcher of shop/vm-1 comes up while one of an earlier instance runs"


def test_a_guest_whose_process_has_ended_runs_nowhere(cluster: Cluster) -> None:
    cluster.exited.add("source")
    assert cluster.left == ["the guest runs in [], its instance says node01"]


def test_a_guest_that_has_moved_and_whose_instance_has_not(cluster: Cluster) -> None:
    cluster.moves(targetNodeDomainReadyTimestamp="now")
    state = {"migrationUid": "job", "targetNode": "node02", "targetPod": "target", "targetNodeDomainReadyTimestamp": "now", "completed": True}
    cluster.instance(node="node01", migrationState=state)
    assert said(cluster) == "the guest shop/vm-1 has moved to node02, its instance is on node01"


def test_a_guest_that_stops_for_no_reason(cluster: Cluster) -> None:
    cluster.instance("Succeeded")
    assert said(cluster) == "the guest shop/vm-1 has stopped (Succeeded) for no reason"


def stopped_by_owner(cluster: Cluster) -> None:
    cluster.machine(stateChangeRequests=[{"action": "Stop", "uid": "one"}])


def halted(cluster: Cluster) -> None:
    cluster.machine("Halted")
    cluster.machine("Always")


def lost(cluster: Cluster) -> None:
    cluster.history.node_power("node01", False)
    cluster.history.node_power("node01", True)


def evicted_as_it_may(cluster: Cluster) -> None:
    vmi = cluster.history.instances[KEY]
    vmi["spec"]["evictionStrategy"] = "None"
    cluster.pod("source", "node01", reason="EvictionByEvictionAPI", going=True)


def asked_for(cluster: Cluster) -> None:
    cluster.history.asked.add("source")
    cluster.pod("source", "node01", going=True)


@pytest.mark.parametrize("reason", [stopped_by_owner, halted, lost, evicted_as_it_may, asked_for])
def test_reasons(cluster: Cluster, reason: t.Callable[[Cluster], None]) -> None:
    reason(cluster)
    cluster.instance("Failed")
    assert cluster.problems == []
    assert cluster.history.stops == 1


@pytest.mark.parametrize(("reason", "text"), [
    ("EvictionByEvictionAPI", "shop/vm-1's pod on node01 is evicted, against its strategy"),
    ("DeletionByTaintManager", "shop/vm-1's pod on node01 is deleted (DeletionByTaintManager) for no reason"),
    ("", "shop/vm-1's pod on node01 is deleted (by whoever) for no reason"),
])  # fmt: skip
def test_pods_that_go_for_no_reason(cluster: Cluster, reason: str, text: str) -> None:
    cluster.pod("source", "node01", reason=reason, going=True)
    assert said(cluster) == text


def test_objects_that_are_lost(cluster: Cluster) -> None:
    cluster.instance(going=True)
    assert said(cluster) == "the instance shop/vm-1 is deleted for no reason"
    cluster.history.problems.clear()
    cluster.instance(kind="DELETED")
    assert said(cluster) == "the instance shop/vm-1 is gone in phase Running"
    cluster.history.problems.clear()
    cluster.machine(kind="DELETED")
    assert said(cluster) == "the machine shop/vm-1 is gone, and nobody asked for that"


def test_a_node_that_is_asked_for_more_than_it_has(cluster: Cluster) -> None:
    cluster.pod("large", "node01", memory=6, machine="vm-2")
    assert cluster.problems == []
    cluster.pod("small", "node01", memory=1, machine="vm-3")
    assert said(cluster) == f"node01 is asked for {9 * GIB} of memory and has {8 * GIB}, since small came"
    cluster.history.problems.clear()
    cluster.pod("small", "node01", "Failed", memory=1, machine="vm-3")
    cluster.pod("large", "node01", memory=6, kind="DELETED", machine="vm-2")
    cluster.pod("next", "node01", memory=6, machine="vm-2")
    assert cluster.problems == []


def test_what_is_not_at_rest(cluster: Cluster) -> None:
    cluster.instance(evacuationNodeName="node01", migrationState={"migrationUid": "job"})
    cluster.budget(2)
    cluster.machine(printableStatus="Migrating", stateChangeRequests=[{"action": "Start"}])
    cluster.feed("virtualmachineinstancemigrations", {"metadata": {"namespace": "shop", "name": "move"}, "spec": {"vmiName": "vm-1"}})
    cluster.feed("nodes", {"metadata": {"name": "node03"}, "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})
    assert cluster.left == [
        "node03 is not ready", "the machine is still to [{'action': 'Start'}]", "the machine says Migrating, not Running", "its migration is not over",
        "it is still to leave node01", "its migration move is new",
    ]  # fmt: skip


def test_nobody_has_to_go_where_there_is_no_room(cluster: Cluster) -> None:
    cluster.pod("large", "node02", memory=7, phase="Running", uid="other")
    cluster.instance(evacuationNodeName="node01")
    assert cluster.left == ["pod shop/large is nobody's home"]


def test_small_storms(capsys: pytest.CaptureFixture[str]) -> None:
    report = faults.run(faults.QUICK_ROUNDS, 419, quick=True)
    assert report.failures == []
    assert report.tried == report.held == faults.QUICK_ROUNDS
    assert " 0 problems" in capsys.readouterr().out
