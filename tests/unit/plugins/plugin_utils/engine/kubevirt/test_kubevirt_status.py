# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of the KubeVirt object on its way from one version to the next."""
from __future__ import annotations

import typing as t

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt import kubevirt_status

Object = dict[str, t.Any]
OLD, NEW = "v1.4.1", "v1.5.3"
FIRST, LATER, LAST = "2026-11-23T10:00:00Z", "2026-11-23T10:05:00Z", "2026-11-23T10:09:00Z"
BARE: Object = {"metadata": {"name": "kubevirt", "namespace": "kubevirt", "generation": 3}}


def at(status: Object) -> Object:
    return {**BARE, "status": status}


def conditions(status: Object) -> dict[str, tuple[str, str]]:
    return {entry["type"]: (entry["status"], entry["reason"]) for entry in status["conditions"]}


def test_a_first_installation() -> None:
    status = kubevirt_status.deploying(BARE, OLD, FIRST)
    assert status["phase"] == "Deploying"
    assert (status["targetKubeVirtVersion"], status["operatorVersion"]) == (OLD, OLD)
    assert "observedKubeVirtVersion" not in status
    reason = "DeploymentInProgress"
    assert conditions(status) == {"Available": ("False", reason), "Progressing": ("True", reason), "Degraded": ("False", reason)}
    assert {entry["message"] for entry in status["conditions"]} == {"Deploying version v1.4.1 with registry quay.io/kubevirt"}
    assert not kubevirt_status.is_current(at(status), OLD)


def test_ready() -> None:
    status = kubevirt_status.ready(at(kubevirt_status.deploying(BARE, OLD, FIRST)), OLD, LATER)
    assert status["phase"] == "Deployed"
    assert status["observedKubeVirtVersion"] == status["targetKubeVirtVersion"] == OLD
    assert status["observedDeploymentID"] == status["targetDeploymentID"]
    assert status["observedGeneration"] == 3
    ready = "AllComponentsReady"
    assert conditions(status) == {
        "Created": ("True", "AllResourcesCreated"), "Available": ("True", ready), "Progressing": ("False", ready), "Degraded": ("False", ready),
    }
    assert kubevirt_status.is_current(at(status), OLD)
    assert not kubevirt_status.is_current(at(status), NEW)


def test_an_update_is_available_progressing_and_degraded_and_stays_deployed() -> None:
    before = kubevirt_status.ready(BARE, OLD, FIRST)
    status = kubevirt_status.updating(at(before), NEW, LATER)
    assert status["phase"] == "Deployed"
    assert (status["observedKubeVirtVersion"], status["targetKubeVirtVersion"]) == (OLD, NEW)
    assert status["observedDeploymentID"] != status["targetDeploymentID"]
    assert conditions(status) == dict.fromkeys(("Available", "Progressing", "Degraded"), ("True", "UpdateInProgress"))
    assert {entry["message"] for entry in status["conditions"]} == {
        "Transitioning from previous version v1.4.1 with registry quay.io/kubevirt to target version v1.5.3 using registry quay.io/kubevirt",
    }
    since = {entry["type"]: entry["lastTransitionTime"] for entry in status["conditions"]}
    assert since == {"Available": FIRST, "Progressing": LATER, "Degraded": LATER}
    assert kubevirt_status.updating(at(status), NEW, LAST) == status
    after = kubevirt_status.ready(at(status), NEW, LAST)
    assert after["observedDeploymentID"] == after["targetDeploymentID"] != before["observedDeploymentID"]
    assert kubevirt_status.is_current(at(after), NEW)


def test_what_is_wanted_again_while_another_is_brought_about_is_not_current_before_it_is_done() -> None:
    """Observed and target are the same again, but the pass that was begun has left the conditions of an update."""
    during = kubevirt_status.updating(at(kubevirt_status.ready(BARE, OLD, FIRST)), OLD, LATER)
    assert during["observedDeploymentID"] == during["targetDeploymentID"]
    assert not kubevirt_status.is_current(at(during), OLD)
    assert not kubevirt_status.is_current(at(kubevirt_status.failing(at(during), OLD, "no such right", LAST)), OLD)
    assert kubevirt_status.is_current(at(kubevirt_status.ready(at(during), OLD, LAST)), OLD)


def test_what_can_not_be_deployed_is_said_and_taken_back() -> None:
    during = kubevirt_status.updating(at(kubevirt_status.ready(BARE, OLD, FIRST)), NEW, LATER)
    assert not kubevirt_status.is_failing(at(during))
    status = kubevirt_status.failing(at(during), NEW, "no such right", LAST)
    reason = "DeploymentFailed"
    assert conditions(status) == {
        "Synchronized": ("False", reason), "Available": ("False", reason), "Progressing": ("False", reason), "Degraded": ("True", reason),
    }
    assert {entry["message"] for entry in status["conditions"]} == {"An error occurred during deployment: no such right"}
    assert status["observedKubeVirtVersion"] == OLD
    assert kubevirt_status.is_failing(at(status))
    assert kubevirt_status.failing(at(status), NEW, "no such right", LAST) == status
    for better in (kubevirt_status.updating(at(status), NEW, LAST), kubevirt_status.ready(at(status), NEW, LAST)):
        assert not kubevirt_status.is_failing(at(better))
