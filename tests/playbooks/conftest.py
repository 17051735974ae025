# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sample cluster, and the update playbook on it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process
from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine
from ansible_collections.okd.virt.tests.support.api import RBAC, Api
from ansible_collections.okd.virt.tests.support.lab import Lab, Target, answers
from ansible_collections.okd.virt.tests.support.playbook import Run, run_playbook
from ansible_collections.okd.virt.tests.support.rbac import Person
from ansible_collections.okd.virt.tests.support.state import COMPARED

STAGES = ("preserve_access", "update", "grant_access", "retire_temporary_role")
TEMPORARY_ROLE = f"{RBAC}/clusterroles/kubevirt.io:upgrademigrate"


def _of_procedure(value: dict[str, Any]) -> dict[str, Any]:
    """How many VMs follow the update, and when, is KubeVirt's own doing."""
    if value.get("kind") != "KubeVirt":
        return value
    status = {key: each for key, each in value["status"].items() if key != "outdatedVirtualMachineInstanceWorkloads"}
    metadata = {key: each for key, each in value["metadata"].items() if key not in ("resourceVersion", "managedFields")}
    return {**value, "metadata": metadata, "status": status}


class Procedure:
    """One cluster, the people of it, and the playbook's runs on it."""

    def __init__(self, engine: RunningEngine, directory: Path, executable: str) -> None:
        self.engine = engine
        self.api = Api(engine.kubeconfig)
        self.lab = Lab(self.api, engine.kubeconfig)
        self.trusted = self.lab.trusted()
        self.target = Target.of(self.api)
        self._directory = directory
        self._executable = executable
        self._numbers = itertools.count()

    def run(self, *options: str, playbook: str = "okd.virt.update_4_19", **variables: Any) -> Run:
        """Run the playbook; variables without their prefix."""
        given = {"target_version": self.target.version, "trusted": self.trusted.option, **variables}
        return run_playbook(
            playbook,
            self.engine.kubeconfig,
            self._directory / str(next(self._numbers)),
            {f"update_4_19_{name}": value for name, value in given.items()},
            *options,
            executable=self._executable,
        )

    def stage(self, stage: str, **variables: Any) -> Run:
        """Run one stage alone."""
        return self.run(start_at=stage, stop_after=stage, **variables)

    def may_migrate(self, person: Person, namespace: str) -> bool:
        """Both rights, by access reviews."""
        return answers(self.api, person, namespace) == [True, True]

    def objects(self) -> dict[str, dict[str, Any]]:
        """Everything that the procedure might touch, to the last field."""
        return {
            resource: {
                f"{value['metadata'].get('namespace', '')}/{value['metadata']['name']}": _of_procedure(value)
                for value in self.api.items(path)
            }
            for resource, path in COMPARED.items()
        }

    def has_temporary_role(self) -> bool:
        """Whether the temporary role is there."""
        return self.api.request("GET", TEMPORARY_ROLE).status == 200


@pytest.fixture
def procedure(
    fresh_engine: Callable[..., RunningEngine], tmp_path: Path, ansible_playbook: str, request: pytest.FixtureRequest
) -> Iterator[Procedure]:
    """On a fresh lab; a parameter has the engine's options."""
    running = fresh_engine(**getattr(request, "param", {}))
    yield Procedure(running, tmp_path, ansible_playbook)
    process.stop(running.directory)
