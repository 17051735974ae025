# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drain playbook with task files of the site, for each of several nodes."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.okd.virt.tests.conftest import EngineFactory
from ansible_collections.okd.virt.tests.soak.playbook import Playbook
from ansible_collections.okd.virt.tests.support.api import Api
from ansible_collections.okd.virt.tests.support.playbook import Run, run_playbook

NODES = "/api/v1/nodes"
VMIS = "/apis/kubevirt.io/v1/virtualmachineinstances"
NAMES = ["node0001", "node0002", "node0003"]
_SIZES = ("vms=18", "nodes=4", "namespaces=2", "bindings=0", "rwo_percent=0", "busy_percent=0", "node_memory_gib=128")
_TASKS = """---
- name: Write down what is done with {{{{ drain_node }}}}
  ansible.builtin.shell: echo "{moment} {{{{ drain_node }}}}" >> {log}
  changed_when: true
{more}"""
_FAIL = """
- name: Flash the firmware
  ansible.builtin.fail:
    msg: no such firmware
  when: drain_node == "node0002"
"""
_WAIT = """
- name: Reboot
  ansible.builtin.pause:
    seconds: 60
"""


class Hooked:
    """A cluster, and the playbook with hooks that write down when they were run."""

    def __init__(self, kubeconfig: Path, directory: Path, executable: str) -> None:
        self.kubeconfig, self.api, self.directory = kubeconfig, Api(kubeconfig), directory
        self.executable, self.log = executable, directory / "log"
        self._numbers = itertools.count()

    def variables(self, before: str = "", after: str = "", **more: Any) -> dict[str, Any]:
        for moment, tasks in (("before", before), ("after", after)):
            (self.directory / f"{moment}.yml").write_text(_TASKS.format(moment=moment, log=self.log, more=tasks), encoding="utf-8")
        self.log.write_text("", encoding="utf-8")
        hooks = {f"drain_{moment}": str(self.directory / f"{moment}.yml") for moment in ("before", "after")}
        return {"drain_nodes": NAMES, "drain_rolling": True, "drain_max_parallel": 2, "drain_evict_uncontrolled": True, **hooks, **more}

    def run(self, variables: dict[str, Any], *options: str) -> Run:
        directory = self.directory / str(next(self._numbers))
        return run_playbook("okd.virt.drain", self.kubeconfig, directory, variables, *options, executable=self.executable)

    def written(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").split("\n")[:-1]

    def unclean(self) -> list[str]:
        """Nodes that take no pods, or on which something of ours stands."""
        return [
            node["metadata"]["name"] for node in self.api.items(NODES)
            if node["spec"].get("unschedulable") or "okd.virt/" in json.dumps([node["metadata"].get("annotations"), node["spec"].get("taints")])
        ]


@pytest.fixture
def hooked(fresh_engine: EngineFactory, tmp_path: Path, ansible_playbook: str) -> Hooked:
    return Hooked(fresh_engine(cluster="generated", sizes=_SIZES, speed="120").kubeconfig, tmp_path, ansible_playbook)


def test_hooks_run_for_each_node_and_one_that_fails_puts_its_node_aside(hooked: Hooked) -> None:
    uids = {one["metadata"]["uid"] for one in hooked.api.items(VMIS)}
    checked = hooked.run(hooked.variables(), "--check").passed()
    assert checked.results("okd.virt.rolling_drain")[0]["order"]
    assert hooked.written() == []
    done = hooked.run(hooked.variables(after=_FAIL, drain_max_quarantined=1))
    assert done.returncode != 0
    written = hooked.written()
    assert written, done.output
    assert sorted(written) == sorted(f"{moment} {name}" for name in NAMES for moment in ("before", "after"))
    assert all(written.index(f"before {name}") < written.index(f"after {name}") for name in NAMES)
    verdict = done.results("okd.virt.rolling_drain")[-1]
    assert verdict["code"] == "quarantined"
    assert [(one["name"], one["code"]) for one in verdict["quarantined"]] == [("node0002", "site_failed")]
    assert "Flash the firmware: no such firmware" in verdict["msg"]
    assert verdict["summary"]["drained"] == 2
    # Once more without what fails: only what is not done has its turn.
    again = hooked.run(hooked.variables()).passed()
    assert hooked.written() == ["before node0002", "after node0002"]
    assert again.results("okd.virt.rolling_drain")[-1]["summary"]["drained"] == 3
    assert {one["metadata"]["uid"] for one in hooked.api.items(VMIS)} == uids
    assert not hooked.unclean()


def test_a_play_that_is_killed_while_the_site_works_goes_on(hooked: Hooked) -> None:
    """The tasks for an empty node are run again, those that prepared it are not."""
    variables = hooked.variables(after=_WAIT, drain_max_parallel=1)

    async def killed() -> None:
        play = Playbook("okd.virt.drain", hooked.kubeconfig, hooked.directory / "killed", variables)
        running = asyncio.create_task(play.run())
        until = time.monotonic() + 90
        while len(hooked.written()) < 2:
            assert not running.done()
            assert time.monotonic() < until
            await asyncio.sleep(0.1)
        play.kill()
        await running

    asyncio.run(killed())
    before, after = hooked.written()
    name = after.removeprefix("after ")
    assert before == f"before {name}"
    assert name in hooked.unclean()
    done = hooked.run(hooked.variables(drain_max_parallel=1)).passed()
    written = hooked.written()
    assert written[0] == f"after {name}"
    assert f"before {name}" not in written
    assert sorted(written[1:]) == sorted(f"{moment} {one}" for one in NAMES if one != name for moment in ("before", "after"))
    assert done.results("okd.virt.rolling_drain")[-1]["summary"]["drained"] == 3
    assert not hooked.unclean()
