# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations of single VMs as playbooks ask for them."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ..conftest import EngineFactory
from ..support.api import MERGE_PATCH, Api
from ..support.playbook import Run, run_playbook

PLAYBOOK = Path(__file__).resolve().parent / "vm_migration.yml"
VMI = "/apis/kubevirt.io/v1/namespaces/shop/virtualmachineinstances/vm-2"


@pytest.fixture(scope="module")
def called(fresh_engine: EngineFactory, tmp_path_factory: pytest.TempPathFactory, ansible_playbook: str) -> Run:
    engine = fresh_engine(speed="60")
    api = Api(engine.kubeconfig)
    calm = {"metadata": {"annotations": {"engine.okd.virt/copy-seconds": "20"}}}
    node = api.expect(200, "PATCH", VMI, calm, content_type=MERGE_PATCH)["status"]["nodeName"]
    run = run_playbook(str(PLAYBOOK), engine.kubeconfig, tmp_path_factory.mktemp("moved"), {"node": node}, executable=ansible_playbook)
    return run.passed()


def result(run: Run, task: str) -> dict[str, t.Any]:
    found: dict[str, t.Any] = next(one["result"] for one in run.tasks if one["task"] == task)
    return found


def test_check_run_check_run(called: Run) -> None:
    assert [result(called, task)["changed"] for task in ("Check before", "Run", "Check after", "Run again")] == [True, True, False, False]


def test_progress_is_printed_while_it_moves(called: Run) -> None:
    said = called.output.split("TASK [Run] ", 1)[1].split("TASK [", 1)[0]
    assert "vm_migration: VM shop/vm-2: migrates away from" in said
    assert "VM shop/vm-2: Running, to " in said
    assert "VM shop/vm-2: has moved to " in said


def test_as_modules(called: Run) -> None:
    assert result(called, "As module")["vms"][0]["state"] == "moved"
    assert [one["run"] for one in result(called, "List as module")["migrations"]] == ["as-module"]
    listed = result(called, "List")
    assert len(listed["migrations"]) == 2
    assert listed["slots"]["free"] == 5


def test_a_refusal_names_the_reason_and_the_remedy(called: Run) -> None:
    refused = result(called, "Refused")
    assert refused["code"] == "not_migratable"
    assert "ReadWriteMany" in refused["msg"]
    assert not refused["changed"]
