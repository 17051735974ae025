# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import OptionError, PreconditionFailed
from ansible_collections.okd.virt.plugins.module_utils.update import verb
from ansible_collections.okd.virt.plugins.module_utils.update.assessment import Problem
from ansible_collections.okd.virt.plugins.module_utils.update.observed import Observed
from ansible_collections.okd.virt.plugins.module_utils.update.patience import Patience
from ansible_collections.okd.virt.plugins.module_utils.update.plan import Request, make_plan
from ansible_collections.okd.virt.plugins.module_utils.update.versions import parse_target

from .moments import (
    NAMESPACE,
    NEW,
    csv_object,
    hyperconverged_object,
    install_plan_object,
    kubevirt_object,
    observed,
    subscription_object,
)

TARGET = parse_target("1.15.0")
BETWEEN = "kubevirt-hyperconverged-operator.v1.14.1"


def updated() -> Observed:
    return observed(
        sub=subscription_object(installed=NEW, state="AtLatestKnown"),
        plans=[install_plan_object(phase="Complete", approved=True)],
        csvs=[csv_object(NEW)],
        hco=hyperconverged_object("1.15.0"),
        kubevirts=[kubevirt_object("v1.5.3")],
    )


def test_the_waiting_plan_is_approved_and_shown_in_full() -> None:
    moment = observed(plans=[install_plan_object()])
    planned = make_plan(moment, Request(TARGET))
    (change,) = planned.changes
    assert (change.verb, change.kind, change.namespace, change.name) == (
        "approve",
        "InstallPlan",
        NAMESPACE,
        "install-abcde",
    )
    assert change.after == {"spec": {"clusterServiceVersionNames": [NEW], "approved": True}}
    assert planned.facts["operator"]["install_plan"]["cluster_service_versions"] == [NEW]
    assert planned.facts["operator"]["step"] == "approve"


def test_a_plan_to_come_is_planned_too() -> None:
    (change,) = make_plan(observed(), Request(TARGET)).changes
    assert change.name == ""
    assert NEW in change.reason


def test_the_way_over_another_version_is_two_approvals() -> None:
    moment = observed(plans=[install_plan_object(csvs=[BETWEEN])])
    changes = make_plan(moment, Request(TARGET, intermediates=(BETWEEN,))).changes
    assert [change.name for change in changes] == ["install-abcde", ""]
    with pytest.raises(PreconditionFailed, match="intermediate_versions"):
        make_plan(moment, Request(TARGET))


@pytest.mark.parametrize(
    "moment",
    [
        updated(),
        observed(plans=[install_plan_object(approved=True, phase="Installing")]),
        observed(csvs=[csv_object(), csv_object(NEW, "Pending", "RequirementsUnknown")]),
    ],
    ids=["done", "installing", "pending"],
)
def test_what_is_done_or_under_way_needs_no_approval(moment: Observed) -> None:
    assert make_plan(moment, Request(TARGET)).changes == ()


def test_other_operators_in_the_plan_are_refused_with_the_whole_plan() -> None:
    moment = observed(plans=[install_plan_object(csvs=[NEW, "web-terminal.v1.9.0"])])
    with pytest.raises(PreconditionFailed, match=r"web-terminal\.v1\.9\.0") as caught:
        make_plan(moment, Request(TARGET))
    assert caught.value.details["install_plan"]["cluster_service_versions"] == [NEW, "web-terminal.v1.9.0"]
    assert make_plan(moment, Request(TARGET, allow_other_operators=("web-terminal",))).changes


def test_other_operators_are_known_by_the_package_of_their_subscription() -> None:
    other = subscription_object(
        name="wt", package="terminal-package", current="web-terminal.v1.9.0", installed="web-terminal.v1.8.0"
    )
    moment = observed(plans=[install_plan_object(csvs=[NEW, "web-terminal.v1.9.0"])], others=[other])
    assert make_plan(moment, Request(TARGET, allow_other_operators=("terminal-package",))).changes


def test_automatic_approval_is_followed_with_a_warning_or_refused() -> None:
    moment = observed(sub=subscription_object(approval="Automatic"))
    planned = make_plan(moment, Request(TARGET))
    assert planned.changes == ()
    assert any("Automatic" in warning for warning in planned.warnings)
    with pytest.raises(PreconditionFailed, match="Automatic"):
        make_plan(moment, Request(TARGET, on_automatic="fail"))


def test_an_automatic_subscription_beside_a_manual_one_waits_for_approval() -> None:
    moment = observed(sub=subscription_object(approval="Automatic"), plans=[install_plan_object()])
    assert len(make_plan(moment, Request(TARGET, on_automatic="fail")).changes) == 1


def test_an_automatic_subscription_that_is_up_to_date_is_no_reason_to_fail() -> None:
    moment = updated()
    moment = replace(moment, subscription=replace(moment.subscription, approval="Automatic"))
    planned = make_plan(moment, Request(TARGET, on_automatic="fail"))
    assert planned.changes == ()
    assert planned.warnings == ()


def test_without_a_target_it_only_looks() -> None:
    planned = make_plan(observed(plans=[install_plan_object()]), Request(None, approve=False))
    assert planned.changes == ()
    assert planned.facts["operator"]["install_plan"]["name"] == "install-abcde"
    assert planned.facts["operator"]["flavour"] == "OKD"


def test_not_approving_plans_nothing() -> None:
    assert make_plan(observed(plans=[install_plan_object()]), Request(TARGET, approve=False)).changes == ()


def options(**given: t.Any) -> dict[str, t.Any]:
    defaults: dict[str, t.Any] = {
        "target_version": None,
        "approve": True,
        "intermediate_versions": [],
        "allow_other_operators": [],
        "on_automatic": "follow",
    }
    return {**defaults, **given}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "target_version"),
        ({"target_version": "4.19"}, "target_version"),
        ({"target_version": "1.15.0", "intermediate_versions": ["x"]}, "intermediate_versions"),
    ],
)
def test_options_that_cannot_be_name_the_option(given: dict[str, t.Any], named: str) -> None:
    with pytest.raises(OptionError, match=named):
        verb.request_of(options(**given))


def test_patience_counts_what_lasts_and_forgets_what_went_away() -> None:
    patience = Patience(10)
    one, other = Problem("one", "One."), Problem("other", "Other.")
    assert patience.exhausted([one], 0) is None
    assert patience.exhausted([one, other], 9) is None
    assert patience.exhausted([one, other], 10) is one
    assert patience.exhausted([other], 11) is None
    assert patience.exhausted([one, other], 18.9) is None
    assert patience.exhausted([one, other], 19) is other
    assert Patience(0).exhausted([one], 5) is one


@pytest.mark.parametrize(("approval", "migrate_role", "warned"), [("Automatic", False, True), ("Automatic", True, False), ("Manual", False, False)])
def test_a_mere_look_warns_of_updates_that_may_come_by_themselves(approval: str, migrate_role: bool, warned: bool) -> None:
    moment = replace(observed(sub=subscription_object(approval=approval)), migrate_role=migrate_role)
    planned = make_plan(moment, Request(None, approve=False))
    assert planned.empty
    assert bool(planned.warnings) is warned
    assert all("not yours to choose" in warning for warning in planned.warnings)
