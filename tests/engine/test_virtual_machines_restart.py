# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine that is killed while machines start and stop finishes both when it is started again on its data."""
from __future__ import annotations

import functools
import os
import pathlib
import signal
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process
from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import EngineOptions

from ..support.api import Api
from .machines import Machines, machine
from .waiting import eventually

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def options(tmp_path: pathlib.Path) -> Iterator[EngineOptions]:
    # At this speed a start takes some tenths of a second: the moments can be met.
    found = EngineOptions(tmp_path / "engine", cluster="empty", release="4.19", speed="10", durable=True, watch_pid=os.getpid())
    yield found
    process.stop(found.directory)


def is_any(machines: Machines, phase: str) -> bool:
    """Whether an instance is in that phase, or all are past it already."""
    found = [(one.get("status") or {}).get("phase") for one in machines.api.items(machines.instances)]
    return phase in found or found == ["Running"] * len(NAMES)


def killed_when(holds: Callable[[], bool], pid: int, options: EngineOptions) -> process.RunningEngine:
    """Kill the engine when something holds, and start it again on its data."""
    eventually(holds, 30)
    os.kill(pid, signal.SIGKILL)
    process.stop(options.directory)
    return process.start(options)


def test_machines_survive_their_engine(options: EngineOptions) -> None:
    engine = process.start(options)
    machines = Machines(Api(engine.kubeconfig), "team")
    machines.api.expect(201, "POST", "/api/v1/namespaces", {"metadata": {"name": "team"}})
    eventually(lambda: machines.api.request("GET", "/api/v1/namespaces/team/serviceaccounts/default").status == 200)
    for name in NAMES:
        machines.create(machine(name))
    for phase in ("Scheduling", "Scheduled"):
        engine = killed_when(functools.partial(is_any, machines, phase), engine.pid, options)
        machines.api = Api(engine.kubeconfig)
    for name in NAMES:
        machines.until_word(name, "Running")
    for name in NAMES:
        vmi, (pod,) = machines.instance(name), machines.pods(name)
        assert vmi is not None
        assert vmi["status"]["activePods"] == {pod["metadata"]["uid"]: vmi["status"]["nodeName"]}
    uids = {name: machines.pods(name)[0]["metadata"]["uid"] for name in NAMES}
    machines.change("a", {"runStrategy": "Halted"})
    machines.api.expect(200, "DELETE", f"{machines.path}/b")
    engine = killed_when(lambda: machines.status("a").get("printableStatus") in ("Stopping", "Stopped"), engine.pid, options)
    machines.api = Api(engine.kubeconfig)
    machines.until_word("a", "Stopped")
    machines.until_gone("b")
    eventually(lambda: not machines.pods("a"))
    # Nobody else was touched.
    assert {name: machines.pods(name)[0]["metadata"]["uid"] for name in ("c", "d")} == {name: uids[name] for name in ("c", "d")}
    assert {machines.status(name)["printableStatus"] for name in ("c", "d")} == {"Running"}


def test_a_guest_that_crashed_unnoticed_is_noticed_by_the_next_engine(options: EngineOptions) -> None:
    """Its launcher has ended and says so; virt-handler could not write it down before the engine was killed."""
    engine = process.start(options)
    machines = Machines(Api(engine.kubeconfig), "team")
    machines.api.expect(201, "POST", "/api/v1/namespaces", {"metadata": {"name": "team"}})
    eventually(lambda: machines.api.request("GET", "/api/v1/namespaces/team/serviceaccounts/default").status == 200)
    machines.create(machine("a"))
    machines.until_word("a", "Running")
    vmi = machines.instance("a")
    assert vmi is not None
    handler = "system:serviceaccount:kubevirt-hyperconverged:kubevirt-handler"
    rule = {"answer": "500", "verbs": ["update"], "resources": ["virtualmachineinstances.kubevirt.io"], "users": [handler]}
    machines.api.expect(200, "PUT", "/engine.okd.virt/v1/faults", {"controllers": True, "rules": [rule], "crashGuests": ["team/a"]})
    killed_when(lambda: [pod["status"]["phase"] for pod in machines.pods("a")] == ["Failed"], engine.pid, options)
    machines.api = Api(options.kubeconfig_file)
    after = machines.until_other_instance("a", vmi["metadata"]["uid"])
    assert after["status"]["phase"] == "Running"
    machines.until_word("a", "Running")
