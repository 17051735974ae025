# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils.update import install_plan, subscription
from ansible_collections.okd.virt.plugins.module_utils.update.assessment import Step, assess
from ansible_collections.okd.virt.plugins.module_utils.update.observed import Observed, transitions
from ansible_collections.okd.virt.plugins.module_utils.update.versions import parse_target

from .moments import (
    NAMESPACE,
    NEW,
    OLD,
    csv_object,
    hyperconverged_object,
    install_plan_object,
    kubevirt_object,
    observed,
    subscription_object,
)

TARGET = parse_target("1.15.0")
BETWEEN = "kubevirt-hyperconverged-operator.v1.14.1"
BEYOND = "kubevirt-hyperconverged-operator.v1.15.1"
KUBEVIRT_UPDATES = ("True", "UpdateInProgress", "Transitioning from previous version v1.4.1")


def finished() -> Observed:
    return observed(
        sub=subscription_object(installed=NEW, state="AtLatestKnown"),
        plans=[install_plan_object(phase="Complete", approved=True)],
        csvs=[csv_object(NEW)],
        hco=hyperconverged_object("1.15.0"),
        kubevirts=[kubevirt_object("v1.5.3")],
    )


def middle(csvs: t.Any = None, hco: t.Any = None, kubevirts: t.Any = None) -> Observed:
    """The update runs: the new version's object is there."""
    return observed(
        sub=subscription_object(installed=NEW, state="AtLatestKnown"),
        plans=[install_plan_object(phase="Complete", approved=True)],
        csvs=csvs or [csv_object(NEW)],
        hco=hco,
        kubevirts=kubevirts,
    )


CASES: list[tuple[str, Observed, Step, str]] = [
    ("a plan waits for approval", observed(plans=[install_plan_object()]), Step.APPROVE, "is not installed yet"),
    ("no plan yet", observed(), Step.WAIT_FOR_INSTALL_PLAN, "no InstallPlan"),
    (
        "approved, not begun",
        observed(plans=[install_plan_object(approved=True, phase="RequiresApproval")]),
        Step.WAIT,
        "RequiresApproval",
    ),
    ("installing", observed(plans=[install_plan_object(approved=True, phase="Installing")]), Step.WAIT, "Installing"),
    ("planning", observed(plans=[install_plan_object(phase="Planning")]), Step.WAIT, "Planning"),
    (
        "the plan failed",
        observed(
            plans=[
                install_plan_object(
                    phase="Failed", approved=True, trouble={"Installed": ("False", "InstallComponentFailed", "no")}
                )
            ]
        ),
        Step.STOP,
        "InstallComponentFailed: no",
    ),
    ("the catalogue is already further", observed(plans=[install_plan_object(csvs=[BEYOND])]), Step.STOP, "no way to"),
    ("the way leads over another version", observed(plans=[install_plan_object(csvs=[BETWEEN])]), Step.STOP, "1.14.1"),
    (
        "a newer version is installed",
        observed(sub=subscription_object(installed=BEYOND), csvs=[csv_object(BEYOND)]),
        Step.STOP,
        "never goes back",
    ),
    (
        "an unapproved plan of another operator is not ours",
        observed(plans=[install_plan_object(csvs=["other.v2.0.0"])]),
        Step.WAIT_FOR_INSTALL_PLAN,
        "",
    ),
    (
        "unwell before the update",
        observed(plans=[install_plan_object()], hco=hyperconverged_object(Degraded=("True", "CDIDegraded", "x"))),
        Step.WAIT,
        "CDIDegraded",
    ),
    (
        "the installed version has failed",
        observed(plans=[install_plan_object()], csvs=[csv_object(OLD, "Failed", "TooManyOperatorGroups")]),
        Step.WAIT,
        "TooManyOperatorGroups",
    ),
    (
        "KubeVirt still moves before the update",
        observed(plans=[install_plan_object()], kubevirts=[kubevirt_object("v1.4.0", "v1.4.1")]),
        Step.WAIT,
        "v1.4.1",
    ),
    (
        "not upgradeable before the update",
        observed(
            plans=[install_plan_object()], hco=hyperconverged_object(Upgradeable=("False", "SSPNotUpgradeable", "x"))
        ),
        Step.WAIT,
        "SSPNotUpgradeable",
    ),
    (
        "the new version is pending",
        middle(csvs=[csv_object(OLD, "Replacing", "BeingReplaced"), csv_object(NEW, "Pending", "RequirementsUnknown")]),
        Step.WAIT,
        "is Pending",
    ),
    (
        "the new version failed for good",
        middle(
            csvs=[
                csv_object(
                    NEW, "Failed", "TooManyOperatorGroups", "csv created in namespace with multiple operatorgroups"
                )
            ]
        ),
        Step.STOP,
        "TooManyOperatorGroups",
    ),
    (
        "the old version is still there",
        middle(
            csvs=[csv_object(OLD, "Replacing", "BeingReplaced"), csv_object(NEW)],
            hco=hyperconverged_object("1.15.0"),
            kubevirts=[kubevirt_object("v1.5.3")],
        ),
        Step.WAIT,
        "still there",
    ),
    ("the operator runs, HyperConverged has not begun", middle(), Step.WAIT, "reports version 1.14.0"),
    (
        "KubeVirt moves",
        middle(
            kubevirts=[kubevirt_object("v1.4.1", "v1.5.3", Degraded=KUBEVIRT_UPDATES, Progressing=KUBEVIRT_UPDATES)]
        ),
        Step.WAIT,
        "v1.5.3",
    ),
    ("KubeVirt is done, HyperConverged not", middle(kubevirts=[kubevirt_object("v1.5.3")]), Step.WAIT, "not 1.15.0"),
    (
        "versions agree, not healthy yet",
        middle(
            hco=hyperconverged_object("1.15.0", Available=("False", "SSPNotAvailable", "")),
            kubevirts=[kubevirt_object("v1.5.3")],
        ),
        Step.WAIT,
        "SSPNotAvailable",
    ),
    ("KubeVirt is missing", middle(hco=hyperconverged_object("1.15.0"), kubevirts=[]), Step.WAIT, "no KubeVirt"),
    ("all done", finished(), Step.DONE, ""),
]


@pytest.mark.parametrize(("moment", "step", "text"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_next_step(moment: Observed, step: Step, text: str) -> None:
    assessment = assess(moment, TARGET)
    assert assessment.step is step
    said = " ".join([*assessment.pending, *(problem.text for problem in assessment.problems)])
    assert text in said
    assert (assessment.step is Step.DONE) == (not assessment.pending and assessment.final is None)
    assert (assessment.step is Step.STOP) == (assessment.final is not None)


def test_a_version_between_is_approved_when_it_was_asked_for() -> None:
    moment = observed(plans=[install_plan_object(csvs=[BETWEEN])])
    assessment = assess(moment, TARGET, [BETWEEN])
    assert assessment.step is Step.APPROVE
    assert assessment.install_plan is not None
    assert assessment.install_plan.csvs == (BETWEEN,)


def test_the_version_between_is_finished_before_the_next_approval() -> None:
    running = observed(
        csvs=[csv_object(BETWEEN, "Installing", "InstallWaiting")], sub=subscription_object(installed=BETWEEN)
    )
    assert assess(running, TARGET, [BETWEEN]).step is Step.WAIT
    updating = observed(
        csvs=[csv_object(BETWEEN)],
        plans=[install_plan_object()],
        sub=subscription_object(installed=BETWEEN),
        hco=hyperconverged_object("1.14.0", Progressing=("True", "HCOUpgrading")),
    )
    assert assess(updating, TARGET, [BETWEEN]).step is Step.WAIT


def test_the_plan_that_the_subscription_names_wins_over_older_ones() -> None:
    plans = [
        install_plan_object("install-zzzzz", generation=1),
        install_plan_object("install-abcde", generation=2),
        install_plan_object("install-bbbbb", generation=3),
    ]
    assessment = assess(observed(plans=plans), TARGET)
    assert assessment.install_plan is not None
    assert assessment.install_plan.name == "install-abcde"
    unnamed = assess(observed(sub=subscription_object(plan=""), plans=plans), TARGET)
    assert unnamed.install_plan is not None
    assert unnamed.install_plan.name == "install-bbbbb"


@pytest.mark.parametrize(
    ("reason", "kubevirt", "normal"),
    [
        ("KubeVirtDegraded", kubevirt_object("v1.4.1", "v1.5.3", Degraded=KUBEVIRT_UPDATES), True),
        ("HCOUpgrading", kubevirt_object("v1.4.1", "v1.5.3", Degraded=KUBEVIRT_UPDATES), True),
        ("CDIDegraded", kubevirt_object("v1.4.1", "v1.5.3", Degraded=KUBEVIRT_UPDATES), False),
    ],
)
def test_degraded_is_normal_while_kubevirt_moves_and_for_its_reason_only(
    reason: str, kubevirt: dict[str, t.Any], normal: bool
) -> None:
    moment = middle(hco=hyperconverged_object("1.14.0", Degraded=("True", reason, "…")), kubevirts=[kubevirt])
    assessment = assess(moment, TARGET)
    assert assessment.step is Step.WAIT
    assert (assessment.problems == ()) is normal


def test_degraded_after_the_versions_agree_is_a_problem() -> None:
    moment = middle(
        hco=hyperconverged_object("1.15.0", Degraded=("True", "KubeVirtDegraded", "KubeVirt is degraded")),
        kubevirts=[kubevirt_object("v1.5.3", Degraded=("True", "Broken", "no"))],
    )
    assessment = assess(moment, TARGET)
    assert {problem.key for problem in assessment.problems} == {"degraded-KubeVirtDegraded", "kubevirt-degraded-Broken"}
    assert assessment.final is None


@pytest.mark.parametrize("reason", ["InstallCheckFailed", "ComponentUnhealthy", "NeedsReinstall"])
def test_a_failure_that_olm_retries_is_not_final(reason: str) -> None:
    assessment = assess(middle(csvs=[csv_object(NEW, "Failed", reason, "install timeout")]), TARGET)
    assert assessment.step is Step.WAIT
    assert [problem.key for problem in assessment.problems] == [f"csv-failed-{reason}"]


def test_the_operator_condition_that_holds_the_update_is_named() -> None:
    moment = middle(
        csvs=[
            csv_object(OLD, "Replacing", "BeingReplaced"),
            csv_object(NEW, "Pending", "OperatorConditionNotUpgradeable", "not upgradeable", replaces=OLD),
        ]
    )
    (problem,) = assess(moment, TARGET).problems
    assert f"OperatorCondition {NAMESPACE}/{OLD}" in problem.text


@pytest.mark.parametrize("condition", ["ResolutionFailed", "CatalogSourcesUnhealthy", "BundleUnpackFailed"])
def test_the_subscriptions_troubles_are_told_while_there_is_no_plan(condition: str) -> None:
    catalogs = [
        {"catalogSourceRef": {"namespace": "openshift-marketplace", "name": "community-operators"}, "healthy": False}
    ]
    sub = subscription_object(
        state="", trouble={condition: ("True", "Broken", "constraints not satisfiable")}, catalogHealth=catalogs
    )
    (problem,) = assess(observed(sub=sub), TARGET).problems
    assert "constraints not satisfiable" in problem.text
    assert ("openshift-marketplace/community-operators" in problem.text) == (condition == "CatalogSourcesUnhealthy")


def test_synchronized_false_is_a_problem_and_ready_is_not() -> None:
    broken = middle(
        kubevirts=[kubevirt_object("v1.4.1", "v1.5.3", Synchronized=("False", "DeploymentFailed", "no rights"))]
    )
    assert any("DeploymentFailed" in problem.text for problem in assess(broken, TARGET).problems)
    assert assess(finished(), TARGET).problems == ()


def test_a_deployment_of_the_same_version_rolled_out_anew_is_not_done() -> None:
    kubevirt = kubevirt_object("v1.5.3")
    kubevirt["status"].update(targetDeploymentID="b", observedDeploymentID="a")
    assessment = assess(middle(hco=hyperconverged_object("1.15.0"), kubevirts=[kubevirt]), TARGET)
    assert assessment.step is Step.WAIT


def test_copies_in_the_namespace_are_not_counted() -> None:
    copy = csv_object(NEW, "Succeeded", "Copied")
    assert assess(observed(csvs=[csv_object(), copy]), TARGET).step is Step.WAIT_FOR_INSTALL_PLAN


def test_transitions_tell_each_change_once() -> None:
    before = observed(plans=[install_plan_object()])
    after = middle(
        csvs=[csv_object(OLD, "Replacing", "BeingReplaced"), csv_object(NEW, "Pending", "RequirementsUnknown")],
        hco=hyperconverged_object(
            "1.14.0", Progressing=("True", "HCOUpgrading", "HCO is now upgrading to version 1.15.0")
        ),
        kubevirts=[kubevirt_object("v1.4.1", "v1.5.3")],
    )
    assert transitions(before, after) == [
        "Subscription hco-operatorhub: UpgradePending -> AtLatestKnown",
        "InstallPlan install-abcde: RequiresApproval -> Complete",
        f"ClusterServiceVersion {OLD} is Replacing (BeingReplaced)",
        f"ClusterServiceVersion {NEW} is Pending (RequirementsUnknown)",
        "HyperConverged: Progressing True (HCOUpgrading: HCO is now upgrading to version 1.15.0)",
        "KubeVirt target version: v1.4.1 -> v1.5.3",
    ]
    assert transitions(after, after) == []
    gone = after.with_event("ClusterServiceVersion", "DELETED", csv_object(OLD))
    assert transitions(after, gone) == [f"ClusterServiceVersion {OLD}: removed"]


def test_subscription_is_found_by_package_of_both_flavours() -> None:
    other = subscription_object(name="web-terminal", package="web-terminal", namespace="openshift-operators")
    okd = subscription_object()
    openshift = subscription_object(package="kubevirt-hyperconverged", namespace="openshift-cnv")
    assert subscription.choose([other, okd]).flavour == "OKD"
    assert subscription.choose([openshift, other]).flavour == "OpenShift"
    assert subscription.choose([openshift, other, okd], namespace="openshift-cnv").namespace == "openshift-cnv"
    assert subscription.choose([openshift, other], name="web-terminal").package == "web-terminal"
    with pytest.raises(subscription.NotFound):
        subscription.choose([other])
    with pytest.raises(subscription.Ambiguous) as caught:
        subscription.choose([openshift, other, okd])
    assert len(caught.value.candidates) == 2


def test_other_operators_in_a_plan_are_allowed_by_name_operator_or_package() -> None:
    plan = install_plan.from_object(
        install_plan_object(csvs=[NEW, "web-terminal.v1.9.0", "local-storage-operator.v4.19.0"])
    )
    foreign = install_plan.others(plan, NEW)
    assert foreign == ("web-terminal.v1.9.0", "local-storage-operator.v4.19.0")
    packages = {"web-terminal.v1.9.0": "web-terminal-package"}
    assert install_plan.not_allowed(foreign, [], packages) == foreign
    assert install_plan.not_allowed(foreign, ["web-terminal-package"], packages) == ("local-storage-operator.v4.19.0",)
    assert install_plan.not_allowed(foreign, ["web-terminal", "local-storage-operator.v4.19.0"], packages) == ()


def test_the_approval_holds_for_the_plan_as_it_was_shown() -> None:
    plan = install_plan.from_object(install_plan_object(csvs=[NEW, "other.v1.0.0"]))
    patch = install_plan.approval_patch(plan)
    tested = {entry["path"]: entry["value"] for entry in patch if entry["op"] == "test"}
    assert tested == {
        "/metadata/uid": "uid-install-abcde",
        "/spec/clusterServiceVersionNames": [NEW, "other.v1.0.0"],
        "/spec/approved": False,
        "/status/phase": "RequiresApproval",
    }
    assert [entry for entry in patch if entry["op"] != "test"] == [
        {"op": "replace", "path": "/spec/approved", "value": True}
    ]
