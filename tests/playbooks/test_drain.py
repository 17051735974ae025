# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drain playbook as an administrator runs it: a full node of the lab, once, twice and in check mode; and its lines as they happen."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ansible_runner
import pytest

from ansible_collections.okd.virt.tests.conftest import EngineFactory
from ansible_collections.okd.virt.tests.soak.playbook import Playbook
from ansible_collections.okd.virt.tests.support.api import MERGE_PATCH, Api
from ansible_collections.okd.virt.tests.support.playbook import Run, environment, run_playbook

NODE = "node02"
NODES = "/api/v1/nodes"
PODS = "/api/v1/pods"
VMIS = "/apis/kubevirt.io/v1/virtualmachineinstances"
VMIMS = "/apis/kubevirt.io/v1/virtualmachineinstancemigrations"
LAUNCHER = {"kubevirt.io": "virt-launcher"}


class Draining:
    """A fresh lab, sixty times as fast as a real cluster, and the playbook's runs on it."""

    def __init__(self, kubeconfig: Path, directory: Path, executable: str) -> None:
        self.kubeconfig, self.api = kubeconfig, Api(kubeconfig)
        self._directory, self._executable = directory, executable
        self._numbers = itertools.count()

    def run(self, *options: str) -> Run:
        """As it stands in the guide, with the name of the node."""
        directory = self._directory / str(next(self._numbers))
        return run_playbook("okd.virt.drain", self.kubeconfig, directory, {}, "-e", f"node={NODE}", *options, executable=self._executable)

    def vms(self) -> dict[str, tuple[str, str]]:
        """Of each running VM the instance's uid and its node, by namespace/name."""
        return {
            _name(one): (one["metadata"]["uid"], one["status"]["nodeName"]) for one in self.api.items(VMIS) if one["status"]["phase"] == "Running"
        }

    def vms_here(self) -> set[str]:
        return {name for name, (_uid, node) in self.vms().items() if node == NODE}

    def pods_here(self) -> list[dict[str, Any]]:
        """What is on the node and is not a VM."""
        pods = self.api.items(f"{PODS}?fieldSelector=spec.nodeName%3D{NODE}")
        return [pod for pod in pods if not LAUNCHER.items() <= pod["metadata"].get("labels", {}).items()]

    def node(self) -> dict[str, Any]:
        return self.api.get(f"{NODES}/{NODE}")

    def annotate(self, vm: str, seconds: int) -> None:
        """How long the memory of a VM is copied, in seconds of the cluster."""
        namespace, name = vm.split("/")
        path = f"/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachineinstances/{name}"
        patch = {"metadata": {"annotations": {"engine.okd.virt/copy-seconds": str(seconds)}}}
        self.api.expect(200, "PATCH", path, patch, content_type=MERGE_PATCH)


def _name(value: dict[str, Any]) -> str:
    return f"{value['metadata']['namespace']}/{value['metadata']['name']}"


def _of_daemon_set(pod: dict[str, Any]) -> bool:
    return any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences", ()))


def _has_emptydir(pod: dict[str, Any]) -> bool:
    return any("emptyDir" in volume for volume in pod["spec"].get("volumes", ()))


@pytest.fixture
def draining(fresh_engine: EngineFactory, tmp_path: Path, ansible_playbook: str) -> Draining:
    found = Draining(fresh_engine(speed="60").kubeconfig, tmp_path, ansible_playbook)
    for vm in found.vms_here():
        found.annotate(vm, 20)
    return found


def test_a_full_node_checked_and_drained_twice(draining: Draining) -> None:
    """Check, run, check, run: yes, yes, no, no."""
    before, here, pods = draining.vms(), draining.vms_here(), draining.pods_here()
    assert len(here) == 12
    assert [pod for pod in pods if _of_daemon_set(pod)]
    others = [pod for pod in pods if not _of_daemon_set(pod)]
    assert len(others) > 1
    assert [pod for pod in others if _has_emptydir(pod)]

    node = draining.node()
    checked = draining.run("--check").passed()
    assert checked.changed
    assert draining.vms() == before
    assert draining.node()["spec"] == node["spec"]
    assert not draining.api.items(VMIMS)

    done = draining.run().passed()
    assert done.changed
    assert not draining.vms_here()
    assert all(_of_daemon_set(pod) for pod in draining.pods_here())
    assert draining.node()["spec"]["unschedulable"]
    assert "okd.virt/drain" not in draining.node()["metadata"]["annotations"]
    # No VM was stopped, and none of another node was touched.
    after = draining.vms()
    assert {name: uid for name, (uid, _node) in after.items()} == {name: uid for name, (uid, _node) in before.items()}
    assert {name for name in before if before[name] != after[name]} == here
    # What check mode announced is what was done.
    planned = checked.results("okd.virt.node_drain")[0]
    result = done.results("okd.virt.node_drain")[-1]
    assert result["summary"]["vms_moved"] == 12
    assert {(one["verb"], one["kind"], one["namespace"]) for one in planned["actions"]} <= {
        (one["verb"], one["kind"], one["namespace"]) for one in result["actions"]
    }

    assert draining.run("--check").passed().changed == []
    again = draining.run().passed()
    assert again.changed == []
    assert draining.vms() == after


def test_other_settings_hold_as_long_as_the_drain_takes_even_one_that_fails(draining: Draining) -> None:
    hyperconverged = "/apis/hco.kubevirt.io/v1beta1/namespaces/kubevirt-hyperconverged/hyperconvergeds/kubevirt-hyperconverged"
    before = draining.api.get(hyperconverged)["spec"]["liveMigrationConfig"]
    wanted = '{"drain_temporary_settings": {"profile": "fast_window", "parallel_outbound_migrations_per_node": 4, "parallel_migrations_per_cluster": 8}}'
    failed = draining.run("-e", wanted, "-e", "drain_deadline=1")
    assert failed.returncode != 0
    assert draining.api.get(hyperconverged)["spec"]["liveMigrationConfig"] == before
    done = draining.run("-e", wanted).passed()
    during, after = done.results("okd.virt.live_migration_config")
    assert during["settings"]["parallel_outbound_migrations_per_node"]["kubevirt"] == 4
    of_profile = {one["option"]: one["value"] for one in during["profile"]["settings"]}
    assert during["settings"]["bandwidth_per_migration"]["kubevirt"] == of_profile["bandwidth_per_migration"]
    assert after["settings"]["parallel_outbound_migrations_per_node"]["kubevirt"] == 2
    assert after["settings"]["bandwidth_per_migration"]["kubevirt"] is None
    assert after["temporary"] is None
    assert not draining.vms_here()
    assert draining.run("-e", wanted).passed().changed == []


def _seconds(event: dict[str, Any]) -> float:
    return datetime.datetime.fromisoformat(event["created"]).timestamp()


def _lines(events: list[dict[str, Any]], pattern: str) -> Iterator[tuple[int, str, float]]:
    """Where in the stream, about which VM, and when a line was said."""
    for index, event in enumerate(events):
        found = re.search(pattern, event["stdout"]) if event["event"] == "verbose" else None
        if found:
            yield index, found.group(1), _seconds(event)


def test_lines_come_through_ansible_runner_as_they_happen(draining: Draining, tmp_path: Path) -> None:
    arrived: dict[str, float] = {}
    events: list[dict[str, Any]] = []

    def handle(event: dict[str, Any]) -> bool:
        arrived[event["uuid"]] = time.time()
        events.append(event)
        return True

    private = tmp_path / "runner"
    private.mkdir()
    run = ansible_runner.run(
        private_data_dir=str(private), playbook="okd.virt.drain", extravars={"node": NODE}, envvars=environment(draining.kubeconfig, private),
        event_handler=handle, quiet=True, timeout=120,
    )
    assert run.rc == 0, run.stdout.read()
    # The task that drains: the last that began before the last line of a VM.
    began = dict(reversed([(vm, (index, at)) for index, vm, at in _lines(events, r"VM (\S+) migrates")]))
    ended = {vm: (index, at) for index, vm, at in _lines(events, r"VM (\S+) has moved")}
    assert began.keys() == ended.keys()
    assert len(ended) == 12
    last = max(index for index, _at in ended.values())
    start = max(index for index, event in enumerate(events[:last]) if event["event"] == "runner_on_start")
    finish = next(index for index, event in enumerate(events) if index > start and event["event"] in ("runner_on_ok", "runner_on_failed"))
    assert all(start < index < finish for index, _at in (*began.values(), *ended.values()))
    # Each has its time: that VM's line came while others still had to begin, long before the task was over.
    first_end, last_start = min(at for _index, at in ended.values()), max(at for _index, at in began.values())
    assert first_end < last_start < _seconds(events[finish])
    assert len({round(at, 2) for _index, at in ended.values()}) > 3
    # And whoever listens has heard most of them by the time at which the task is over.
    told = sorted(arrived[events[index]["uuid"]] for index, _at in ended.values())
    assert told[len(told) // 2] < _seconds(events[finish])


def test_a_drain_that_is_interrupted_and_cancelled_leaves_nothing(draining: Draining, tmp_path: Path) -> None:
    """Two VMs are on their way when the play is killed."""
    before = draining.vms()
    node = draining.node()
    for vm in draining.vms_here():
        draining.annotate(vm, 1200)

    async def killed() -> None:
        play = Playbook("okd.virt.drain", draining.kubeconfig, tmp_path / "killed", {"node": NODE})
        running = asyncio.create_task(play.run())
        until = time.monotonic() + 90
        while sum((one.get("status") or {}).get("phase") == "Running" for one in draining.api.items(VMIMS)) < 2:
            assert not running.done()
            assert time.monotonic() < until
            await asyncio.sleep(0.1)
        play.kill()
        await running

    asyncio.run(killed())
    assert "okd.virt/drain" in draining.node()["metadata"]["annotations"]
    cancelled = draining.run("-e", "drain_state=evacuation_cancelled").passed()
    assert cancelled.changed
    there = draining.vms()
    assert {name: uid for name, (uid, _node) in there.items()} == {name: uid for name, (uid, _node) in before.items()}
    # Five minutes of the cluster, in which KubeVirt would have made migrations of its own.
    time.sleep(5)
    assert draining.vms() == there == before
    phases = {(one.get("status") or {}).get("phase") for one in draining.api.items(VMIMS)}
    assert phases <= {"Failed", "Succeeded"}
    after = draining.node()
    assert after["spec"].get("unschedulable") in (None, False)
    assert after["spec"].get("taints") == node["spec"].get("taints")
    for kind in ("annotations", "labels"):
        assert not [key for key in after["metadata"].get(kind) or {} if key.startswith("okd.virt/")]
    assert not [one for one in draining.api.items(VMIS) if one["status"].get("evacuationNodeName")]
    assert draining.run("-e", "drain_state=evacuation_cancelled").passed().changed == []
