# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drains beside kubectl drain, on the same cluster with the same VMs and in real time; beside them what k8s_drain does."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.okd.virt.plugins.module_utils._placement.demand import memory_request
from ansible_collections.okd.virt.plugins.module_utils._placement.room import keep
from ansible_collections.okd.virt.plugins.plugin_utils.engine import process

from ..services.verbs import Verbs
from ..support.api import MERGE_PATCH, Api
from ..support.kubectl import Kubectl
from ..support.peers import COLLECTIONS
from ..support.playbook import run_playbook
from .measuring import Entry

TARGETS = {"one_node_vs_kubectl": 0.8, "one_node_vs_bound": 1.15, "requests_per_vm": 1 / 3, "rolling_moves_per_vm": 1.1, "rolling_vs_kubectl": 0.7}
VMIS = "/apis/kubevirt.io/v1/virtualmachineinstances"
VMIMS = "/apis/kubevirt.io/v1/virtualmachineinstancemigrations"
NODES = "/api/v1/nodes"
SLOTS = 2
"""parallelOutboundMigrationsPerNode, as it comes."""
_DRAIN = ("--ignore-daemonsets", "--delete-emptydir-data", "--force")
_ONE = ("vms=160", "nodes=4", "namespaces=4", "node_memory_gib=1024")
_MANY = ("vms=400", "nodes=20", "namespaces=10", "node_memory_gib=256")
_AT_REST = ("bindings=0", "rwo_percent=0", "busy_percent=0")
_PATIENCE = 3600.0
_RUNS = 20


@dataclass
class Site:
    """One engine in real time, whose VMs take a second to copy for each 2 GiB."""

    engine: process.RunningEngine
    api: Api
    kubectl: Kubectl
    audit: Path

    def vms(self, node: str = "") -> list[dict[str, Any]]:
        return [one for one in self.api.items(VMIS) if not node or one["status"].get("nodeName") == node]

    def workers(self) -> list[str]:
        return [one["metadata"]["name"] for one in self.api.items(NODES) if one["metadata"]["name"].startswith("node")]

    def fullest(self) -> str:
        return max(self.workers(), key=lambda name: len(self.vms(name)))

    def moves(self) -> int:
        return sum(1 for one in self.api.items(VMIMS) if one["status"].get("phase") == "Succeeded")

    def requests(self, agent: str) -> int:
        """How many requests a client has sent, its watches included."""
        found = 0
        with self.audit.open(encoding="utf-8") as file:
            for line in file:
                found += json.loads(line).get("userAgent", "").startswith(agent)
        return found


def seconds_to_copy(vmi: dict[str, Any]) -> float:
    text = vmi["spec"]["domain"]["memory"]["guest"]
    return memory_request({"spec": {"containers": [{"resources": {"requests": {"memory": text}}}]}}) / 2**31


@contextlib.contextmanager
def site(sizes: tuple[str, ...]) -> Iterator[Site]:
    """An engine with that many VMs, the same each time."""
    with tempfile.TemporaryDirectory(prefix="okd-virt-bench-drain-") as name:
        directory = Path(name)
        options = process.EngineOptions(
            directory=directory / "engine", cluster="generated", sizes=(*sizes, *_AT_REST), speed="1", audit=True, watch_pid=os.getpid(),
        )
        running = process.start(options)
        try:
            found = Site(running, Api(running.kubeconfig), Kubectl(running.kubeconfig, directory / "home"), options.audit_file)
            for vmi in found.vms():
                metadata = vmi["metadata"]
                path = f"/apis/kubevirt.io/v1/namespaces/{metadata['namespace']}/virtualmachineinstances/{metadata['name']}"
                copy = {"metadata": {"annotations": {"engine.okd.virt/copy-seconds": f"{seconds_to_copy(vmi):.2f}"}}}
                found.api.expect(200, "PATCH", path, copy, content_type=MERGE_PATCH)
            yield found
        finally:
            process.stop(options.directory)


def _timed(function: Callable[[], object]) -> float:
    began = time.monotonic()
    function()
    return time.monotonic() - began


def _drained(node: Site, name: str, before: set[str]) -> None:
    left = node.vms(name)
    assert not left, f"{len(left)} VMs are on {name} still"
    assert {one["metadata"]["uid"] for one in node.vms()} == before, "a VM was stopped"


def _uids(found: Site) -> set[str]:
    return {one["metadata"]["uid"] for one in found.vms()}


def _alone(found: Site) -> float:
    """Seconds that KubeVirt needs around the copy: those of one VM that moves alone, less its copy."""
    vmi = found.vms(next(name for name in found.workers() if name != found.fullest()))[0]
    name, namespace = vmi["metadata"]["name"], vmi["metadata"]["namespace"]
    return _timed(lambda: Verbs(found.engine.kubeconfig)("vm_migration", names=[name], namespace=namespace)) - seconds_to_copy(vmi)


def _bound(seconds: list[float]) -> float:
    """No order of these on so many slots ends sooner."""
    return max(*seconds, sum(seconds) / SLOTS)


def one_node() -> list[Entry]:
    """A node of some forty VMs of 2 to 16 GiB."""
    with site(_ONE) as found:
        name, before = found.fullest(), _uids(found)
        number = len(found.vms(name))
        runs: list[int] = []
        baseline = _timed(lambda: runs.append(_kubectl_drain(found, name)))
        _drained(found, name, before)
        theirs = found.requests("kubectl") / number
        failure = _k8s_drain(found, next(one for one in found.workers() if one != name))
    with site(_ONE) as found:
        around = _alone(found)
        name, before = found.fullest(), _uids(found)
        bound = _bound([seconds_to_copy(one) + around for one in found.vms(name)])
        sent = found.requests("okd.virt")
        number = len(found.vms(name))
        ours = _timed(lambda: Verbs(found.engine.kubeconfig)("node_drain", names=[name], delete_emptydir_data=True, evict_uncontrolled=True))
        _drained(found, name, before)
        own = (found.requests("okd.virt") - sent) / number
    by_eviction = _by_eviction()
    return [
        _entry("one_node_vs_kubectl", "s", ours, baseline, (
            f"a node of {number} VMs is emptied; beside it kubectl drain, run {runs[0]} times until it ended well. kubernetes.core.k8s_drain: {failure}"
        )),
        _entry("one_node_vs_bound", "s", ours, bound, f"beside the least that {SLOTS} slots allow, with {around:.1f} s around each copy"),
        _entry("requests_per_vm", "", own, theirs, "requests to the API server for each VM; beside it kubectl drain"),
        _entry("by_eviction", "s", by_eviction, ours, "the same node with move_by eviction; beside it with move_by migration"),
    ]


def _by_eviction() -> float:
    """Seconds with evictions in place of migrations, as many marked as there are slots."""
    with site(_ONE) as found:
        name, before = found.fullest(), _uids(found)
        options: dict[str, Any] = {"delete_emptydir_data": True, "evict_uncontrolled": True, "move_by": "eviction"}
        seconds = _timed(lambda: Verbs(found.engine.kubeconfig)("node_drain", names=[name], **options))
        _drained(found, name, before)
        return seconds


def _kubectl_drain(found: Site, name: str) -> int:
    """Started again until it ends well, as administrators do: it gives a pod up at once whose eviction virt-api does not answer in time. The number of runs."""
    for number in range(1, _RUNS + 1):
        finished = found.kubectl("drain", name, *_DRAIN, timeout=_PATIENCE)
        if finished.returncode == 0:
            return number
        assert "context deadline exceeded" in finished.stderr, str(finished)
    raise AssertionError(f"{_RUNS} runs of kubectl drain did not empty {name}: {finished}")


def _k8s_drain(found: Site, name: str) -> str:
    """What the module of kubernetes.core says, and what it has moved."""
    before = len(found.vms(name))
    playbook = Path(__file__).resolve().parent / "baseline_kubernetes_core" / "drain.yml"
    directory = found.audit.parent / "k8s_drain"
    peers = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    ran = run_playbook(str(playbook), found.engine.kubeconfig, directory, {"node": name}, added=peers, timeout=300)
    text = next((line.strip() for line in ran.output.splitlines() if "fatal:" in line or "Eviction triggered" in line), "it passed")
    return f"{text[:200]} ({before - len(found.vms(name))} of {before} VMs moved)"


class Spare:
    """Looks again and again whether VMs of the nodes that are being drained have room on the others."""

    def __init__(self, found: Site) -> None:
        self._found, self._stop = found, threading.Event()
        self.broken, self.looks = 0, 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Spare:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(5.0):
            nodes = {one["metadata"]["name"]: one for one in self._found.api.items(NODES) if one["metadata"]["name"].startswith("node")}
            used, vms = dict.fromkeys(nodes, 0), dict.fromkeys(nodes, 0)
            for pod in filter(None, map(keep, self._found.api.items("/api/v1/pods"))):
                if pod["node"] in nodes:
                    used[pod["node"]] += pod["demand"].memory
                    vms[pod["node"]] += pod["demand"].memory if pod["vm"] else 0
            leaving = [name for name, node in nodes.items() if node["spec"].get("unschedulable")]
            free = sum(_allocatable(node) - used[name] for name, node in nodes.items() if name not in leaving)
            self.looks += 1
            self.broken += sum(vms[name] for name in leaving) > free


def _allocatable(node: dict[str, Any]) -> int:
    return memory_request({"spec": {"containers": [{"resources": {"requests": {"memory": node["status"]["allocatable"]["memory"]}}}]}})


def rolling() -> list[Entry]:
    """Twenty nodes with four hundred VMs."""
    with site(_MANY) as found:
        before, number = _uids(found), len(found.vms())

        def node_by_node() -> None:
            for name in found.workers():
                _kubectl_drain(found, name)
                found.kubectl.ok("uncordon", name)

        baseline = _timed(node_by_node)
        theirs = found.moves() / number
        assert _uids(found) == before, "a VM was stopped"
    with site(_MANY) as found, Spare(found) as spare:
        before = _uids(found)
        ours = _timed(lambda: Verbs(found.engine.kubeconfig)(
            "rolling_drain", names=found.workers(), max_parallel=3, delete_emptydir_data=True, evict_uncontrolled=True,
        ))
        assert _uids(found) == before, "a VM was stopped"
        own = found.moves() / number
    assert spare.looks > 5
    assert not spare.broken, "the spare-memory rule was broken"
    what = f"the spare-memory rule held at each of {spare.looks} looks"
    return [
        _entry("rolling_moves_per_vm", "", own, theirs, f"moves for each of {number} VMs while 20 nodes are drained in turn; beside it kubectl, node by node"),
        _entry("rolling_vs_kubectl", "s", ours, baseline, f"20 nodes drained in turn; beside it kubectl, node by node; {what}"),
    ]


def _entry(name: str, unit: str, ours: float, baseline: float, what: str) -> Entry:
    return Entry(name, unit, round(ours, 2), round(baseline, 2), round(ours / baseline, 3), what)


def measure() -> list[Entry]:
    return [*one_node(), *rolling()]


def missed(entry: Entry) -> str:
    """Why the target is missed; empty when it is met."""
    target = TARGETS.get(entry.name)
    if target is None:
        return ""
    found = entry.ours if entry.name == "rolling_moves_per_vm" else entry.ratio
    return "" if found <= target else f"it may be {target:.3g} at most"
