# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine from a playbook: check, run, check, run; and what it says when it can not."""
from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
import yaml

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process

from ..support.api import Api
from ..support.playbook import run_playbook
from .waiting import eventually


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    yield tmp_path / "cluster"
    process.stop(tmp_path / "cluster")


def _play(tmp_path: pathlib.Path, tasks: list[tuple[str, dict[str, object]]]) -> str:
    """A playbook of engine tasks; a name that begins with "check" runs in check mode."""
    written = [
        {"name": name, "okd.virt.engine": options, "check_mode": name.startswith("check"), "ignore_errors": True} for name, options in tasks
    ]
    path = tmp_path / "play.yml"
    path.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": written}]))
    return str(path)


def test_check_run_check_run(tmp_path: pathlib.Path, directory: pathlib.Path, ansible_playbook: str) -> None:
    kubeconfig = tmp_path / "config" / "kubeconfig"
    start: dict[str, object] = {"directory": str(directory), "cluster": "empty", "speed": "max", "kubeconfig": str(kubeconfig)}
    stop: dict[str, object] = {**start, "state": "stopped"}
    absent: dict[str, object] = {**start, "state": "absent"}
    names = [
        ("check start", start), ("start", start), ("check started", start), ("started", start),
        ("other", {**start, "release": "4.19"}),
        ("check stop", stop), ("still there", start), ("stop", stop), ("check stopped", stop), ("stopped", stop),
        ("check absent", absent), ("absent", absent), ("check gone", absent), ("gone", absent),
    ]
    play = run_playbook(_play(tmp_path, names), "", tmp_path / "run", {}, executable=ansible_playbook).passed()
    results = {task["task"]: task["result"] for task in play.tasks}
    assert play.changed == ["check start", "start", "check stop", "stop", "check absent", "absent"]
    assert (results["check start"]["pid"], results["check start"]["kubeconfig"]) == (0, str(kubeconfig))
    assert results["start"]["pid"] == results["started"]["pid"] == results["still there"]["pid"] > 0
    assert results["start"]["url"].startswith("https://127.0.0.1:")
    assert "other settings (release)" in results["other"]["msg"]
    assert [task["task"] for task in play.tasks if task["status"] == "ignored"] == ["other"]
    assert not kubeconfig.exists()
    assert list(directory.iterdir()) == []


def test_a_cluster_outlives_its_playbook_unless_told(tmp_path: pathlib.Path, directory: pathlib.Path, ansible_playbook: str) -> None:
    play = _play(tmp_path, [("start", {"directory": str(directory), "cluster": "empty"})])
    started = run_playbook(play, "", tmp_path / "run", {}, executable=ansible_playbook).passed().results("okd.virt.engine")[0]
    assert Api(started["kubeconfig"]).get("/api/v1/namespaces/default")["metadata"]["name"] == "default"


def test_a_cluster_can_end_with_its_playbook(tmp_path: pathlib.Path, directory: pathlib.Path, ansible_playbook: str) -> None:
    play = _play(tmp_path, [("start", {"directory": str(directory), "cluster": "empty", "stop_with_playbook": True})])
    run_playbook(play, "", tmp_path / "run", {}, executable=ansible_playbook).passed()
    eventually(lambda: process.running(directory) is None)


def test_a_cluster_that_can_not_be_started_says_why(tmp_path: pathlib.Path, directory: pathlib.Path, ansible_playbook: str) -> None:
    tasks: list[tuple[str, dict[str, object]]] = [
        ("unknown", {"directory": str(directory), "cluster": "nope"}),
        ("wrong", {"directory": str(directory), "speed": "quick"}),
        ("misspelt", {"directory": str(directory), "cluste": "lab"}),
    ]
    play = run_playbook(_play(tmp_path, tasks), "", tmp_path / "run", {}, executable=ansible_playbook)
    said = {task["task"]: task["result"]["msg"] for task in play.tasks}
    assert "there is no sample cluster 'nope'; there are empty, generated, lab" in said["unknown"]
    assert "speed 'quick' is neither a positive number" in said["wrong"]
    assert "cluste" in said["misspelt"]
    assert play.changed == []
    assert process.running(directory) is None
