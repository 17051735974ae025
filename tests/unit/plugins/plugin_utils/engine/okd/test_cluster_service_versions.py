# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phases of ClusterServiceVersions: each trap of an update by OLM."""
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.okd.olm import operator_conditions
from ansible_collections.okd.virt.plugins.plugin_utils.engine.okd.olm.cluster_service_versions import (
    INSTALL_TIMEOUT,
    Moment,
    Transition,
    refusal,
    transition,
)

Object = dict[str, t.Any]
BLOCKED = "OperatorConditionNotUpgradeable"


def csv(phase: str = "", reason: str = "", message: str = "") -> Object:
    status = {"phase": phase, "reason": reason, "message": message} if phase else {}
    return {"metadata": {"name": "operator.v2"}, "spec": {"replaces": "operator.v1"}, "status": status}


def moment(version: Object, **given: t.Any) -> Moment:
    return Moment(version, **{"successor": None, "predecessor_condition": None, "groups": 1, "deployments_ready": False, **given})


def said(status: str, message: str = "busy", generation: int = 4, observed: int = 4, override: str = "") -> Object:
    made: Object = {
        "metadata": {"generation": generation}, "spec": {},
        "status": {"conditions": [{"type": "Upgradeable", "status": status, "message": message, "observedGeneration": observed}]},
    }
    if override:
        made["spec"]["overrides"] = [{"type": "Upgradeable", "status": override, "message": "by hand"}]
    return made


@pytest.mark.parametrize(("condition", "wanted"), [
    (None, ""),
    ({"metadata": {"generation": 1}, "spec": {}}, ""),
    ({"metadata": {"generation": 1}, "spec": {"conditions": [{"type": "Upgradeable", "status": "False"}]}}, ""),
    (said("True"), ""),
    (said("False"), "The operator is not upgradeable: busy"),
    (said("Unknown"), ""),
    (said("True", observed=3), 'The operatorcondition status "Upgradeable"="True" is outdated'),
    (said("False", override="True"), ""),
    (said("True", override="False"), "The operator is not upgradeable: by hand"),
    (said("True", observed=3, override="True"), ""),
])
def test_who_lets_itself_be_replaced(condition: Object | None, wanted: str) -> None:
    assert refusal(condition) == wanted


def test_the_status_of_an_operator_condition_follows_its_spec() -> None:
    upgradeable = {"type": "Upgradeable", "status": "False", "message": "busy"}
    found: Object = {"metadata": {"generation": 2}, "spec": {"conditions": [upgradeable]}}
    status = operator_conditions.status_of(found)
    assert status == {"conditions": [{**upgradeable, "observedGeneration": 2}]}
    assert refusal({**found, "status": status}) == "The operator is not upgradeable: busy"
    assert operator_conditions.status_of({**found, "status": status}) == status
    changed = {**found, "metadata": {"generation": 3}, "status": status}
    assert "outdated" in refusal(changed)
    assert operator_conditions.status_of(changed)["conditions"][0]["observedGeneration"] == 3
    assert operator_conditions.status_of({"metadata": {"generation": 1}}) == {}


def test_the_way_up() -> None:
    phases = []
    version = csv()
    for ready in (False, False, False, False, True):
        found = transition(moment(version, deployments_ready=ready))
        phases.append(found and (found.phase, found.reason))
        if found is not None:
            version = csv(found.phase, found.reason, found.message)
    assert phases == [
        ("Pending", "RequirementsUnknown"), ("InstallReady", "AllRequirementsMet"), ("Installing", "InstallSucceeded"), None,
        ("Succeeded", "InstallSucceeded"),
    ]
    assert transition(moment(version, deployments_ready=True)) is None


def test_the_old_version_goes_when_the_new_one_runs() -> None:
    old = csv("Succeeded", "InstallSucceeded")
    replacing = transition(moment(old, successor=csv("Pending")))
    assert replacing == Transition("Replacing", "BeingReplaced", "being replaced by csv: operator.v2")
    old = csv("Replacing", "BeingReplaced")
    for phase in ("", "Pending", "InstallReady", "Installing", "Failed"):
        assert transition(moment(old, successor=csv(phase))) is None
    gone = transition(moment(old, successor=csv("Succeeded")))
    assert gone is not None
    assert (gone.phase, gone.reason) == ("Deleting", "Replaced")


def test_the_old_operators_word_holds_the_new_version_in_pending() -> None:
    held = transition(moment(csv("Pending", "RequirementsUnknown"), predecessor_condition=said("False")))
    assert held == Transition("Pending", BLOCKED, "operator is not upgradeable: The operator is not upgradeable: busy")
    still = csv(held.phase, held.reason, held.message)
    assert transition(moment(still, predecessor_condition=said("False"))) is None
    other = transition(moment(still, predecessor_condition=said("False", message="still busy")))
    assert other is not None
    assert other.message.endswith("still busy")
    for condition in (said("True"), said("False", override="True"), None):
        free = transition(moment(still, predecessor_condition=condition))
        assert free is not None
        assert free.phase == "InstallReady"
    # Once it is past Pending nothing holds it any more.
    later = transition(moment(csv("InstallReady"), predecessor_condition=said("False")))
    assert later is not None
    assert later.phase == "Installing"


@pytest.mark.parametrize(("groups", "reason"), [(0, "NoOperatorGroup"), (2, "TooManyOperatorGroups"), (3, "TooManyOperatorGroups")])
@pytest.mark.parametrize("phase", ["", "Pending", "InstallReady", "Installing", "Succeeded"])
def test_exactly_one_operator_group(groups: int, reason: str, phase: str) -> None:
    found = transition(moment(csv(phase), groups=groups))
    assert found is not None
    assert (found.phase, found.reason) == ("Failed", reason)
    failed = csv("Failed", reason)
    assert transition(moment(failed, groups=groups)) is None
    again = transition(moment(failed, groups=1))
    assert again is not None
    assert again.phase == "Pending"


def test_no_group_becomes_two() -> None:
    found = transition(moment(csv("Failed", "NoOperatorGroup"), groups=2))
    assert found is not None
    assert found.reason == "TooManyOperatorGroups"


def test_an_installation_that_does_not_come_up_fails_and_recovers() -> None:
    version = csv("Installing")
    assert transition(moment(version, waited=INSTALL_TIMEOUT - 1)) is None
    failed = transition(moment(version, waited=INSTALL_TIMEOUT + 1))
    assert failed == Transition("Failed", "InstallCheckFailed", "install timeout")
    version = csv("Failed", "InstallCheckFailed")
    assert transition(moment(version)) is None
    up = transition(moment(version, deployments_ready=True))
    assert up is not None
    assert up.phase == "Succeeded"
