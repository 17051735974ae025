# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kubectl printed on a real cluster it prints on the engine, to the letter: the temporary role, right and wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine
from ansible_collections.okd.virt.tests.support.kubectl import Kubectl

RECORDED = Path(__file__).resolve().parent.parent / "conformance" / "recorded" / "kubevirt-1.4.1"
ROLE = "kubevirt.io:upgrademigrate"


def recorded(group: str, name: str) -> dict[str, Any]:
    """One recorded command."""
    case: dict[str, Any] = json.loads((RECORDED / group / f"{name}.json").read_text(encoding="utf-8"))
    return case


def commands(group: str) -> list[str]:
    """Names of the recorded commands of a group."""
    return sorted(path.stem for path in (RECORDED / group).glob("*.json") if "command" in json.loads(path.read_text()))


def check(kubectl: Kubectl, case: dict[str, Any]) -> None:
    """Run it and compare all that a user sees."""
    finished = kubectl.line(case["command"], case["stdin"])
    assert (finished.returncode, finished.stdout, finished.stderr) == (case["rc"], case["stdout"], case["stderr"])


REFUSED = [
    "kubectl-label-bool",
    "malformed-kubectl-apply",
    "malformed-kubectl-apply-dry-run-client",
    "malformed-kubectl-create",
    "malformed-kubectl-create-no-validate",
]
IN_ORDER = [
    "corrected-kubectl-apply",
    "corrected-kubectl-apply-again",
    "corrected-kubectl-create-again",
    "kubectl-delete",
    "kubectl-delete-again",
]
LABELS_IN_ORDER = ["label-no-overwrite", "label-remove"]


def test_every_recorded_command_is_replayed() -> None:
    assert commands("kv-rbac-doc") == sorted(REFUSED + IN_ORDER)
    assert commands("kv-rbac-label") == sorted([*LABELS_IN_ORDER, "label-before-update", "label-edit-remove"])


@pytest.mark.parametrize("name", REFUSED)
def test_the_manifest_as_published_is_refused(kubectl: Kubectl, name: str) -> None:
    check(kubectl, recorded("kv-rbac-doc", name))
    assert kubectl("get", "clusterrole", ROLE).returncode == 1


def test_the_corrected_manifest_from_apply_to_delete(kubectl: Kubectl) -> None:
    for name in IN_ORDER:
        check(kubectl, recorded("kv-rbac-doc", name))


def test_label_before_the_update(kubectl: Kubectl) -> None:
    check(kubectl, recorded("kv-rbac-label", "label-before-update"))


def test_label_after_the_update(fresh_engine: Callable[..., RunningEngine], tmp_path: Path) -> None:
    kubectl = Kubectl(fresh_engine(release="4.19").kubeconfig, tmp_path)
    label = "rbac.authorization.k8s.io/aggregate-to"
    kubectl.ok("label", "--overwrite", "clusterrole", "kubevirt.io:migrate", f"{label}-admin=true")
    for name in LABELS_IN_ORDER:
        check(kubectl, recorded("kv-rbac-label", name))
    kubectl.ok("label", "--overwrite", "clusterrole", "kubevirt.io:migrate", f"{label}-edit=true")
    check(kubectl, recorded("kv-rbac-label", "label-edit-remove"))
