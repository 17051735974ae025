# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verb called in every way that Ansible has: names, defaults, as module, with and without words."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ..support.playbook import Run, run_playbook

PLAYBOOK = Path(__file__).resolve().parent / "ways_to_call.yml"
WORKING = ("Short name", "Full name", "Option wins over default", "As module", "Quiet", "Table", "Environment of the task")
FAILING = ("Refused option", "Refused level", "Failing", "Failing as module")


@pytest.fixture(scope="module")
def called(engine: t.Any, tmp_path_factory: pytest.TempPathFactory, ansible_playbook: str) -> Run:
    variables = {"kubeconfig": str(engine.kubeconfig)}
    run = run_playbook(str(PLAYBOOK), "/nowhere", tmp_path_factory.mktemp("ways"), variables, executable=ansible_playbook)
    return run.passed()


def results(run: Run) -> dict[str, dict[str, t.Any]]:
    return {task["task"]: task["result"] for task in run.tasks}


def said(run: Run, task: str) -> list[str]:
    """The lines that were printed while a task ran."""
    text = run.output.split(f"TASK [{task}] ", 1)[1].split("TASK [", 1)[0].split("PLAY RECAP", 1)[0]
    return [line for line in text.splitlines()[1:] if line.strip()]


@pytest.mark.parametrize("task", WORKING)
def test_names_defaults_and_environment(called: Run, task: str) -> None:
    result = results(called)[task]
    assert {entry["subject"] for entry in result["access"]} == {"user:alice"}
    assert (result["verification"]["reviews"] > 0) is (task != "Option wins over default")


@pytest.mark.parametrize("task", FAILING)
def test_failures_have_the_same_keys(called: Run, task: str) -> None:
    assert next(each["status"] for each in called.tasks if each["task"] == task) == "ignored"
    result = results(called)[task]
    assert {"changed", "msg", "actions", "summary", "timeline"} <= set(result)
    assert "Traceback" not in str(result)


def test_failures_name_the_option(called: Run) -> None:
    found = results(called)
    assert "value of verify must be one of: none, false, sample, all, true, got: perhaps" in found["Refused option"]["msg"]
    assert "okd_virt_progress is 'loud'" in found["Refused level"]["msg"]
    for task in ("Failing", "Failing as module"):
        assert found[task]["msg"] == "namespaces: nowhere does not exist."
        assert found[task]["missing"] == ["nowhere"]


def test_the_first_line_names_server_and_user(called: Run, engine: t.Any) -> None:
    lines = said(called, "Full name")
    assert f"migrate_access_info: {engine.url} as kubernetes-admin (kubeconfig {engine.kubeconfig})" in lines[0]
    assert "subject may live-migrate" in lines[1]
    assert "access reviews" in lines[1]


def test_quiet_is_quiet(called: Run) -> None:
    lines = said(called, "Quiet")
    assert len([line for line in lines if "migrate_access_info:" in line]) == 1


def test_a_table_is_printed_as_it_is(called: Run) -> None:
    lines = said(called, "Table")
    assert any(line.startswith("SUBJECT ") for line in lines)
    assert any(line.startswith("user:alice ") for line in lines)


def test_a_module_is_silent(called: Run) -> None:
    assert not any("kubernetes-admin" in line for line in said(called, "As module"))
