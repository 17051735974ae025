# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as a process: started once, stopped for certain, back where it was, and clear about what keeps it from starting."""
from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import typing as t
from collections.abc import Iterator

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process
from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import EngineError, EngineOptions, RunningEngine

from ..support.api import OPERATORS, Api
from ..support.processes import run
from .waiting import config_map, eventually

MAPS = "/api/v1/namespaces/default/configmaps"
MODULE = "ansible_collections.okd.virt.plugins.plugin_utils.engine"


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    yield tmp_path / "engine"
    process.stop(tmp_path / "engine")


def _options(directory: pathlib.Path, **given: t.Any) -> EngineOptions:
    return EngineOptions(directory=directory, **{"cluster": "empty", "speed": "max", "watch_pid": os.getpid(), **given})


def _kill(engine: RunningEngine) -> None:
    os.kill(engine.pid, signal.SIGKILL)
    process.stop(engine.directory)


def test_start_and_stop_are_idempotent(directory: pathlib.Path) -> None:
    assert process.running(directory) is None
    assert not process.stop(directory)
    first = process.start(_options(directory))
    assert process.start(_options(directory)) == first == process.running(directory)
    assert Api(first.kubeconfig).url == first.url
    with pytest.raises(EngineError, match=r"other settings \(release\) runs in .*stop it first"):
        process.start(_options(directory, release="4.19"))
    assert process.stop(directory)
    assert process.process_start_time(first.pid) is None
    assert not process.stop(directory)
    assert process.remove(directory)
    assert not process.remove(directory)
    assert list(directory.iterdir()) == []


def test_two_that_start_at_once_get_the_same_engine(directory: pathlib.Path) -> None:
    started: list[RunningEngine] = []
    threads = [threading.Thread(target=lambda: started.append(process.start(_options(directory)))) for _number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(started) == 3
    assert len({engine.pid for engine in started}) == 1


@pytest.mark.parametrize(("library", "knows"), [("glibc 2.36", True), ("glibc 2.35", True), ("glibc 2.34", False), ("glibc 2.9", False), (None, False)])
def test_large_pages_are_asked_for_where_the_library_knows_them(monkeypatch: pytest.MonkeyPatch, library: str | None, knows: bool) -> None:
    monkeypatch.setattr(os, "confstr", lambda _name: library)
    assert bool(process.large_pages()) is knows


def test_no_other_library_is_asked_for_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_name: str) -> str:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "confstr", unknown)
    assert process.large_pages() == {}


@pytest.mark.skipif(not pathlib.Path("/proc/self/environ").exists(), reason="only Linux shows the variables of a process")
def test_an_engine_has_large_pages_unless_its_user_has_other_wishes(directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def variables() -> list[str]:
        engine = process.start(_options(directory))
        found = pathlib.Path(f"/proc/{engine.pid}/environ").read_text(encoding="utf-8").split("\0")
        process.stop(directory)
        return found

    assert {f"{name}={value}" for name, value in process.large_pages().items()} <= set(variables())
    monkeypatch.setenv("PYTHONMALLOC", "pymalloc")
    assert "PYTHONMALLOC=pymalloc" in variables()


def test_another_process_of_the_same_number_is_left_alone(directory: pathlib.Path) -> None:
    directory.mkdir()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        try:
            state = {"pid": stranger.pid, "url": "https://127.0.0.1:1", "kubeconfig": "k", "started": "1", "settings": {}}
            (directory / "engine.json").write_text(json.dumps(state))
            assert process.running(directory) is None
            assert not process.stop(directory)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_who_died_while_starting_one_leaves_nothing_in_the_way(directory: pathlib.Path) -> None:
    first = process.start(_options(directory))
    state = json.loads((directory / "engine.json").read_text())
    (directory / "engine.json").write_text(json.dumps({**state, "url": ""}))
    second = process.start(_options(directory))
    assert second.pid != first.pid
    assert process.process_start_time(first.pid) is None


def test_an_engine_stops_when_its_owner_is_gone(directory: pathlib.Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    engine = process.start(_options(directory, watch_pid=owner.pid))
    owner.kill()
    owner.wait()
    eventually(lambda: process.running(directory) is None)
    assert engine.url


def test_a_start_that_fails_says_why_and_leaves_nothing(directory: pathlib.Path) -> None:
    with pytest.raises(EngineError, match=r"did not start \(exit status 2\): there is no sample cluster 'nope'; there are empty, .*lab"):
        process.start(_options(directory, cluster="nope"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EngineError, match=rf"port {port} of 127.0.0.1 is taken: choose another with --port"):
            process.start(_options(directory, port=port))
    with pytest.raises(EngineError, match="not ready within"):
        process.start(_options(directory), timeout=0.01)
    assert process.running(directory) is None
    assert not (directory / "engine.json").exists()


def test_a_killed_cluster_comes_back_as_it_was(directory: pathlib.Path) -> None:
    options = _options(directory, cluster="lab", durable=True)
    first = process.start(options)
    api = Api(first.kubeconfig)
    made = api.expect(201, "POST", MAPS, config_map("kept"))
    api.expect(201, "POST", MAPS, config_map("gone"))
    api.expect(200, "DELETE", f"{MAPS}/gone")
    machines = "/apis/kubevirt.io/v1/virtualmachines"
    before = {item["metadata"]["uid"]: item["metadata"]["creationTimestamp"] for item in api.items(machines)}
    assert len(before) >= 40
    version = int(api.get(MAPS)["metadata"]["resourceVersion"])
    _kill(first)
    second = process.start(options)
    again = Api(second.kubeconfig)
    assert again.get(f"{MAPS}/kept") == made
    assert again.request("GET", f"{MAPS}/gone").status == 404
    assert {item["metadata"]["uid"]: item["metadata"]["creationTimestamp"] for item in again.items(machines)} == before
    listed = again.get(MAPS)["metadata"]["resourceVersion"]
    assert int(listed) >= version
    # A watch goes on as if nothing had been in between.
    events = again.stream(f"{MAPS}?watch=1&timeoutSeconds=1&resourceVersion={int(made['metadata']['resourceVersion']) - 1}")
    seen = [(event["type"], event["object"]["metadata"]["name"]) for event in events]
    assert seen == [("ADDED", "kept"), ("ADDED", "gone"), ("DELETED", "gone")]
    process.stop(directory)
    with pytest.raises(EngineError, match=r"holds another cluster \(cluster lab, release 4.18, flavour okd, platform 4.19\): ask for that one"):
        process.start(_options(directory, cluster="empty", durable=True))


def test_an_update_goes_on_after_a_kill(directory: pathlib.Path) -> None:
    options = _options(directory, cluster="lab", speed="60", durable=True)
    first = process.start(options)
    api = Api(first.kubeconfig)
    plan = eventually(lambda: next((one for one in api.items(f"{OPERATORS}/installplans") if not one["spec"]["approved"]), None))
    namespace, name = plan["metadata"]["namespace"], plan["metadata"]["name"]
    api.expect(
        200, "PATCH", f"{OPERATORS}/namespaces/{namespace}/installplans/{name}", {"spec": {"approved": True}},
        content_type="application/merge-patch+json",
    )
    versions = f"{OPERATORS}/namespaces/{namespace}/clusterserviceversions"

    def phases(asked: Api) -> dict[str, str]:
        return {one["metadata"]["name"]: one.get("status", {}).get("phase", "") for one in asked.items(versions)}

    eventually(lambda: "Replacing" in phases(api).values())
    then = api.get(f"{OPERATORS}/namespaces/{namespace}/installplans/{name}")["metadata"]["managedFields"]
    _kill(first)
    second = process.start(options)
    again = Api(second.kubeconfig)
    (wanted,) = plan["spec"]["clusterServiceVersionNames"]
    eventually(lambda: phases(again) == {wanted: "Succeeded"}, timeout=60)
    kubevirt = "/apis/kubevirt.io/v1/kubevirts"
    eventually(lambda: [one["status"]["observedKubeVirtVersion"] for one in again.items(kubevirt)] == ["v1.5.3"], timeout=60)
    # Engine time went on where it was, and not back to that of this machine.
    config = again.expect(201, "POST", MAPS, config_map("later"))
    assert config["metadata"]["creationTimestamp"] >= max(entry["time"] for entry in then)


def test_a_damaged_or_shared_directory_is_refused(directory: pathlib.Path) -> None:
    engine = process.start(_options(directory, durable=True))
    other = directory.with_name("other")
    other.mkdir()
    command = [sys.executable, "-m", MODULE, "serve", "--cluster", "empty", "--kubeconfig", str(other / "kubeconfig"), "--data-dir"]
    refused = run([*command, str(directory / "data")])
    assert refused.returncode == 2
    assert refused.stderr == f"engine: The data directory {directory / 'data'} is in use by another engine: stop that one or choose another directory.\n"
    # A copy is a backup.
    shutil.copytree(directory / "data", other / "data")
    _kill(engine)
    journal = other / "data" / "journal"
    content = bytearray(journal.read_bytes())
    content[len(content) // 2] ^= 0xFF
    journal.write_bytes(bytes(content))
    refused = run([*command, str(other / "data")])
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"engine: The journal {journal} is damaged at line ")
    assert len(refused.stderr.splitlines()) == 1
    assert not (other / "kubeconfig").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_one_line_and_ends_when_told(tmp_path: pathlib.Path, number: int) -> None:
    kubeconfig = tmp_path / "deep" / "kubeconfig"
    command = [sys.executable, "-m", MODULE, "serve", "--cluster", "empty", "--release", "4.19", "--kubeconfig", str(kubeconfig)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as engine:
        try:
            line = t.cast(t.IO[str], engine.stdout).readline()
            url = Api(kubeconfig).url
            assert line == f"okd.virt engine: cluster empty, release 4.19, listening on {url}, kubeconfig {kubeconfig}\n"
            engine.send_signal(number)
            assert engine.communicate(timeout=20) == ("", "")
            assert engine.returncode == 0
        finally:
            engine.kill()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--speed", "quick"], "engine: speed 'quick' is neither a positive number (1 is real time, 60 a minute a second) nor max\n"),
        (["--bind", "192.0.2.1"], "engine: 192.0.2.1 is no address of this machine: choose another with --bind\n"),
        (["--data-dir", "/dev/null/data"], "engine: /dev/null/data can't be written or read: Not a directory\n"),
        (["--cluster", "generated", "--size", "x=1"], "engine: size 'x' is unknown; there are "),
    ],
)
def test_what_can_not_be_started_is_said_in_one_sentence(tmp_path: pathlib.Path, given: list[str], sentence: str) -> None:
    ended = run([sys.executable, "-m", MODULE, "serve", "--cluster", "empty", "--kubeconfig", str(tmp_path / "kubeconfig"), *given])
    assert ended.returncode == 2
    assert ended.stderr.startswith(sentence)
    assert len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "kubeconfig").exists()
