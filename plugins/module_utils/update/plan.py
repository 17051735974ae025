# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an updater would write, given a moment and what was asked: pure. Private to this collection."""

from __future__ import annotations

from dataclasses import dataclass

from .._errors import PreconditionFailed
from .._plan import Change, Plan
from . import install_plan as install_plans
from .assessment import Assessment, Step, assess
from .conditions import Json
from .install_plan import InstallPlan
from .observed import Observed
from .versions import Target


@dataclass(frozen=True)
class Request:
    """What was asked for. C(target) is None when the update is only to be looked at."""

    target: Target | None
    approve: bool = True
    intermediates: tuple[str, ...] = ()
    allow_other_operators: tuple[str, ...] = ()
    on_automatic: str = "follow"


def is_automatic(observed: Observed) -> bool:
    """Whether OLM approves by itself. One Manual Subscription makes every plan of its namespace wait, so a waiting plan decides."""
    if any(plan.waits_for_approval for plan in observed.install_plan_list):
        return False
    return observed.subscription.approval == "Automatic"


def facts(observed: Observed, request: Request, assessment: Assessment | None) -> Json:
    """Where the update stands, for people and programs."""
    plan = assessment.install_plan if assessment else None
    if plan is None:
        names = (request.target.csv if request.target else "", observed.subscription.current_csv)
        found = (
            install_plans.current(observed.install_plan_list, name, observed.subscription.install_plan)
            for name in names
        )
        plan = next((entry for entry in found if entry is not None), None)
    kubevirt = next(iter(observed.kubevirts.values()), None)
    return {
        "step": assessment.step.value if assessment else "",
        "namespace": observed.subscription.namespace,
        "subscription": observed.subscription.name,
        "package": observed.subscription.package,
        "flavour": observed.subscription.flavour,
        "approval": observed.subscription.approval,
        "state": observed.subscription.state,
        "installed_csv": observed.subscription.installed_csv,
        "current_csv": observed.subscription.current_csv,
        "target_csv": request.target.csv if request.target else "",
        "hyperconverged_version": observed.hyperconverged.version if observed.hyperconverged else "",
        "kubevirt_version": kubevirt.observed_version if kubevirt else "",
        "outdated_workloads": kubevirt.outdated_workloads if kubevirt else 0,
        "migrate_role_exists": bool(observed.migrate_role),
        "install_plan": plan.summary() if plan else {},
    }


def refuse_other_operators(observed: Observed, plan: InstallPlan, request: Request) -> None:
    """Raise PreconditionFailed when the plan would install operators that nobody allowed."""
    own = next((name for name in plan.csvs if name.startswith(_operator(request))), plan.csvs[0] if plan.csvs else "")
    refused = install_plans.not_allowed(
        install_plans.others(plan, own), request.allow_other_operators, observed.packages
    )
    if refused:
        raise PreconditionFailed(
            f"InstallPlan {plan.namespace}/{plan.name} would also install {', '.join(refused)}. "
            "Approving it updates these operators too; list them in allow_other_operators to accept that.",
            install_plan=plan.summary(),
            other_operators=list(refused),
        )


def _operator(request: Request) -> str:
    return request.target.csv.partition(".v")[0] + ".v" if request.target else "\0"


def refuse_automatic(observed: Observed, request: Request) -> None:
    """Raise PreconditionFailed when updates are approved by nobody and that was not accepted."""
    subscription = observed.subscription
    if request.on_automatic == "fail" and is_automatic(observed):
        raise PreconditionFailed(
            f"Subscription {subscription.namespace}/{subscription.name} approves updates by itself (installPlanApproval Automatic), so that "
            "nothing can be done before them for certain. Set it to Manual, or on_automatic to follow.",
            subscription=subscription.name,
            namespace=subscription.namespace,
        )


def make_plan(observed: Observed, request: Request) -> Plan:
    """The approvals to give. Raises PreconditionFailed when the update cannot or may not go on."""
    if request.target is None:
        warned = is_automatic(observed) and not observed.migrate_role
        return Plan(
            changes=(),
            warnings=(_automatic(observed, "the moment at which access changes is not yours to choose"),) if warned else (),
            facts={"operator": facts(observed, request, None), "pending": [], "problems": []},
        )
    assessment = assess(observed, request.target, request.intermediates)
    known = {
        "operator": facts(observed, request, assessment),
        "pending": list(assessment.pending),
        "problems": [problem.text for problem in assessment.problems],
    }
    final = assessment.final
    if final is not None:
        raise PreconditionFailed(f"{_sentence(final.text)} {final.remedy}".strip(), **known)
    if assessment.step is not Step.DONE:
        refuse_automatic(observed, request)
    warnings = [problem.text for problem in assessment.problems]
    changes: tuple[Change, ...] = ()
    if assessment.step is not Step.DONE and is_automatic(observed):
        warnings.append(_automatic(observed, "the update to come is followed, not held back"))
    elif request.approve and assessment.step is not Step.DONE:
        changes = _approvals(observed, request, assessment)
    return Plan(changes=changes, warnings=tuple(warnings), facts=known)


def _automatic(observed: Observed, consequence: str) -> str:
    subscription = observed.subscription
    name = f"{subscription.namespace}/{subscription.name}"
    return f"Subscription {name} approves updates by itself (installPlanApproval Automatic): {consequence}"


def _sentence(text: str) -> str:
    return text if text.endswith(".") else text + "."


def _approvals(observed: Observed, request: Request, assessment: Assessment) -> tuple[Change, ...]:
    target = request.target
    wanted = target.csv if target else ""
    namespace = observed.subscription.namespace
    changes: list[Change] = []
    plan = assessment.install_plan
    if plan is not None and plan.waits_for_approval:
        refuse_other_operators(observed, plan, request)
        changes.append(approval(plan))
    covered = plan is not None and wanted in plan.csvs
    begun = wanted in observed.csvs
    if not covered and not begun:
        reason = f"it will install {wanted}, once OLM has made it"
        changes.append(Change("approve", "InstallPlan", namespace, "", reason, None, {"spec": {"approved": True}}))
    return tuple(changes)


def approval(plan: InstallPlan) -> Change:
    """The approval of one plan as a change."""
    contents = list(plan.csvs)
    return Change(
        "approve",
        "InstallPlan",
        plan.namespace,
        plan.name,
        f"it installs {', '.join(plan.csvs)}",
        {"spec": {"clusterServiceVersionNames": contents, "approved": False}},
        {"spec": {"clusterServiceVersionNames": contents, "approved": True}},
    )
