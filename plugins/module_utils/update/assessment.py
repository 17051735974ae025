# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes next in an update, and what is not as it should be: pure judgement. Private to this collection."""

from __future__ import annotations

import enum
import typing as t
from dataclasses import dataclass

from . import cluster_service_version as csv_states
from . import install_plan as install_plans
from .cluster_service_version import ClusterServiceVersion
from .health import NORMAL_DEGRADED
from .install_plan import InstallPlan
from .observed import Observed
from .versions import Target, is_newer, operator_of, version_of


class Step(enum.Enum):
    """What an updater does next."""

    DONE = "done"
    APPROVE = "approve"
    WAIT_FOR_INSTALL_PLAN = "wait for the InstallPlan"
    WAIT = "wait"
    STOP = "stop"


@dataclass(frozen=True)
class Problem:
    """Something that a normal update does not show.

    A final one never goes away by itself; the others may, so they count only when they last.
    C(key) says what it is, C(text) what to tell, C(remedy) what to do.
    """

    key: str
    text: str
    final: bool = False
    remedy: str = ""


@dataclass(frozen=True)
class Assessment:
    """The next step with its reasons. C(pending): what keeps the update from being done."""

    step: Step
    install_plan: InstallPlan | None = None
    pending: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def final(self) -> Problem | None:
        return next((problem for problem in self.problems if problem.final), None)


def assess(observed: Observed, target: Target, intermediates: t.Collection[str] = ()) -> Assessment:
    """Judge a moment of an update to C(target); C(intermediates) names the ClusterServiceVersions that may be approved on the way."""
    newer = _newer_installed(observed, target)
    if newer is not None:
        return Assessment(Step.STOP, problems=(newer,))
    wanted = observed.csvs.get(target.csv)
    if wanted is not None:
        return _installing(observed, target, wanted)
    plan = install_plans.current(observed.install_plan_list, target.csv, observed.subscription.install_plan)
    if plan is not None and not _superseded(plan, observed):
        return _with_plan(observed, plan, f"{target.csv} is not installed yet")
    return _without_plan(observed, target, intermediates)


def _newer_installed(observed: Observed, target: Target) -> Problem | None:
    for name in (observed.subscription.installed_csv, *observed.csvs):
        if operator_of(name) == operator_of(target.csv) and is_newer(version_of(name), than=target.version):
            text = f"{name} is installed, which is newer than the target {target.csv}; OLM never goes back"
            return Problem(
                "newer", text, final=True, remedy="Set target_version to the installed version or a later one."
            )
    return None


def _superseded(plan: InstallPlan, observed: Observed) -> bool:
    """An old plan that completed, although its ClusterServiceVersion is not there (any more)."""
    return plan.phase == install_plans.COMPLETE and observed.subscription.install_plan not in ("", plan.name)


def _with_plan(observed: Observed, plan: InstallPlan, pending: str) -> Assessment:
    if plan.phase == install_plans.FAILED:
        problem = Problem(
            "install-plan-failed",
            f"InstallPlan {plan.namespace}/{plan.name} failed: {plan.trouble()}",
            final=True,
            remedy="Remove the cause and the failed InstallPlan; OLM then makes a new one.",
        )
        return Assessment(Step.STOP, plan, (pending,), (problem,))
    if plan.waits_for_approval:
        unfit = _unfit_for_update(observed)
        if unfit:
            return Assessment(Step.WAIT, plan, (pending, *(problem.text for problem in unfit)), unfit)
        return Assessment(Step.APPROVE, plan, (pending,))
    return Assessment(
        Step.WAIT,
        plan,
        (pending, f"InstallPlan {plan.name} is {plan.phase or 'not processed yet'}"),
        _subscription_problems(observed),
    )


def _without_plan(observed: Observed, target: Target, intermediates: t.Collection[str]) -> Assessment:
    pending = f"{target.csv} is not installed yet"
    waiting = [plan for plan in observed.install_plan_list if plan.waits_for_approval and _own(plan, target)]
    step = max(
        waiting,
        key=lambda plan: (plan.name == observed.subscription.install_plan, plan.generation, plan.created),
        default=None,
    )
    if step is not None:
        own = _own(step, target)
        if is_newer(version_of(own), than=target.version):
            text = f"OLM offers {own} (InstallPlan {step.namespace}/{step.name}), and no way to {target.csv}"
            problem = Problem(
                "target-skipped",
                text,
                final=True,
                remedy=f"Set target_version to {version_of(own)}, or use a catalogue that offers {target.csv}.",
            )
            return Assessment(Step.STOP, step, (pending,), (problem,))
        if own not in intermediates:
            text = f"the way to {target.csv} leads over {own} (InstallPlan {step.namespace}/{step.name}), which nobody asked for"
            problem = Problem(
                "intermediate",
                text,
                final=True,
                remedy=f"Add {version_of(own)} to intermediate_versions, or make it the target_version first.",
            )
            return Assessment(Step.STOP, step, (pending,), (problem,))
        return _with_plan(observed, step, pending)
    for csv in observed.csvs.values():
        if (
            operator_of(csv.name) == operator_of(target.csv)
            and csv.phase != csv_states.SUCCEEDED
            and csv.phase not in csv_states.LEAVING
        ):
            return Assessment(
                Step.WAIT, None, (pending, csv.sentence()), (*_csv_problems(csv), *_subscription_problems(observed))
            )
    state = observed.subscription.state or "not known"
    reason = f"there is no InstallPlan with it (Subscription {observed.subscription.namespace}/{observed.subscription.name} is {state})"
    return Assessment(Step.WAIT_FOR_INSTALL_PLAN, None, (pending, reason), _subscription_problems(observed))


def _own(plan: InstallPlan, target: Target) -> str:
    """The ClusterServiceVersion of our operator in a plan, or nothing."""
    return next((name for name in plan.csvs if operator_of(name) == operator_of(target.csv)), "")


def _unfit_for_update(observed: Observed) -> tuple[Problem, ...]:
    """Why an update should not begin now: what runs is not well, or still in an update."""
    problems: list[Problem] = []
    if observed.hyperconverged is not None:
        problems += [
            Problem(
                f"unfit-{condition.type}",
                f"before the approval HyperConverged is {condition.sentence()}",
                remedy="OKD Virtualization must be healthy before it is updated.",
            )
            for condition in observed.hyperconverged.unhealthy()
        ]
    installed = observed.csvs.get(observed.subscription.installed_csv)
    if installed is not None and installed.phase != csv_states.SUCCEEDED:
        problems.append(Problem("unfit-csv", f"before the approval ClusterServiceVersion {installed.sentence()}"))
    for kubevirt in observed.kubevirts.values():
        if kubevirt.in_transition:
            text = f"before the approval KubeVirt is still on its way from {kubevirt.observed_version or 'nothing'} to {kubevirt.target_version}"
            problems.append(Problem("unfit-kubevirt", text))
    return tuple(problems)


def _subscription_problems(observed: Observed) -> tuple[Problem, ...]:
    problems = []
    subscription = observed.subscription
    for condition in subscription.troubles():
        text = f"Subscription {subscription.namespace}/{subscription.name}: {condition.sentence()}"
        remedy = ""
        if condition.type == "CatalogSourcesUnhealthy":
            catalogs = (
                ", ".join(subscription.unhealthy_catalogs) or f"{subscription.source_namespace}/{subscription.source}"
            )
            text += f"; catalogues: {catalogs}"
            remedy = "Look at the CatalogSource and its pod."
        problems.append(Problem(f"subscription-{condition.type}", text, remedy=remedy))
    return tuple(problems)


def _csv_problems(csv: ClusterServiceVersion) -> tuple[Problem, ...]:
    if csv.phase == csv_states.FAILED:
        return (
            Problem(
                f"csv-failed-{csv.reason}",
                f"ClusterServiceVersion {csv.sentence()}",
                final=csv.reason not in csv_states.RETRIED,
            ),
        )
    if csv.reason == csv_states.NOT_UPGRADEABLE:
        held_by = (
            f"OperatorCondition {csv.namespace}/{csv.replaces}"
            if csv.replaces
            else "the OperatorCondition of the version before"
        )
        text = f"ClusterServiceVersion {csv.sentence()}; {held_by} says that the operator is not upgradeable"
        return (
            Problem("operator-condition", text, remedy="Remove what keeps the HyperConverged from being Upgradeable."),
        )
    if csv.reason == "RequirementsNotMet":
        return (Problem("requirements", f"ClusterServiceVersion {csv.sentence()}"),)
    return ()


def _installing(observed: Observed, target: Target, wanted: ClusterServiceVersion) -> Assessment:
    pending: list[str] = []
    problems: list[Problem] = list(_csv_problems(wanted))
    if wanted.phase != csv_states.SUCCEEDED:
        pending.append(wanted.sentence())
    pending += [
        f"the version before is still there: {csv.sentence()}"
        for csv in observed.csvs.values()
        if csv.name != wanted.name and operator_of(csv.name) == operator_of(wanted.name)
    ]
    for part, trouble in (_hyperconverged(observed, wanted.version or target.version), _kubevirts(observed)):
        pending += part
        problems += trouble
    if any(problem.final for problem in problems):
        return Assessment(Step.STOP, None, tuple(pending), tuple(problems))
    return Assessment(Step.WAIT if pending else Step.DONE, None, tuple(pending), tuple(problems))


def _hyperconverged(observed: Observed, version: str) -> tuple[list[str], list[Problem]]:
    found = observed.hyperconverged
    if found is None:
        return [], []
    pending: list[str] = []
    problems: list[Problem] = []
    in_transition = found.version != version or any(kubevirt.in_transition for kubevirt in observed.kubevirts.values())
    if found.version != version:
        pending.append(f"HyperConverged reports version {found.version or 'none'}, not {version}")
    for condition in found.unhealthy():
        pending.append(f"HyperConverged is {condition.sentence()}")
        if (
            condition.type == "Degraded"
            and condition.true
            and not (in_transition and condition.reason in NORMAL_DEGRADED)
        ):
            problems.append(Problem(f"degraded-{condition.reason}", f"HyperConverged is {condition.sentence()}"))
    return pending, problems


def _kubevirts(observed: Observed) -> tuple[list[str], list[Problem]]:
    pending: list[str] = []
    problems: list[Problem] = []
    if observed.hyperconverged is not None and not observed.kubevirts:
        pending.append("there is no KubeVirt")
    for kubevirt in observed.kubevirts.values():
        if kubevirt.target_version != kubevirt.observed_version:
            pending.append(
                f"KubeVirt is at version {kubevirt.observed_version or 'none'}, on its way to {kubevirt.target_version}"
            )
        elif kubevirt.in_transition:
            pending.append("KubeVirt is being rolled out anew")
        if kubevirt.phase != "Deployed":
            pending.append(f"KubeVirt is in phase {kubevirt.phase or 'none'}")
        for condition in kubevirt.unhealthy():
            pending.append(f"KubeVirt is {condition.sentence()}")
            if condition.type == "Degraded" and condition.true and not kubevirt.in_transition:
                problems.append(Problem(f"kubevirt-degraded-{condition.reason}", f"KubeVirt is {condition.sentence()}"))
        synchronized = kubevirt.conditions.get("Synchronized")
        if synchronized is not None and synchronized.status == "False":
            problems.append(Problem(f"kubevirt-{synchronized.reason}", f"KubeVirt is {synchronized.sentence()}"))
    return pending, problems
