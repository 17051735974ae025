# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb operator_update: OKD Virtualization to exactly one version. Private to this collection."""

from __future__ import annotations

from .._errors import OptionError
from .._options import ArgumentSpec, wait_spec
from .._plan import Outcome, Plan
from .._verb import Context, Options, Verb
from . import reading
from .assessment import Assessment, Step
from .conditions import Json
from .observed import Observed
from .plan import Request, facts, make_plan
from .updater import Updater
from .versions import InvalidVersion, parse_target


def spec() -> ArgumentSpec:
    """The options of the verb."""
    return ArgumentSpec(
        {
            "target_version": {"type": "str"},
            "approve": {"type": "bool", "default": True},
            "intermediate_versions": {"type": "list", "elements": "str", "default": []},
            "allow_other_operators": {"type": "list", "elements": "str", "default": []},
            "on_automatic": {"type": "str", "choices": ["follow", "fail"], "default": "follow"},
            "namespace": {"type": "str"},
            "subscription": {"type": "str"},
            "install_plan_timeout": {"type": "int", "default": 600},
            "problem_timeout": {"type": "int", "default": 300},
        },
        required_if=(("approve", True, ("target_version",)),),
    ).merge(wait_spec(3600))


def request_of(options: Options) -> Request:
    """What the options ask for. Raises OptionError."""
    option = "target_version"
    try:
        target = parse_target(options[option]) if options[option] else None
        option = "intermediate_versions"
        intermediates = tuple(parse_target(text).csv for text in options[option])
    except InvalidVersion as error:
        raise OptionError(f"{option}: {error}.") from error
    if target is None and options["approve"]:
        raise OptionError("target_version is needed: nothing is approved that was not named.")
    return Request(
        target,
        bool(options["approve"]),
        intermediates,
        tuple(options["allow_other_operators"]),
        options["on_automatic"],
    )


def observe(context: Context) -> Observed:
    """The Subscription and everything in its namespace that an update is judged by."""
    request_of(context.options)
    return reading.observe(
        context.cluster, context.options["namespace"] or None, context.options["subscription"] or None
    )


def plan(observed: Observed, options: Options) -> Plan:
    """The approvals to give."""
    return make_plan(observed, request_of(options))


def report(observed: Observed, planned: Plan, options: Options) -> Outcome:
    """What a run would do."""
    target = request_of(options).target
    if planned.changes:
        msg = f"Would approve the update to {target.csv if target else ''}."
    else:
        msg = _standing(planned.facts["operator"], planned.facts["pending"])
    return Outcome(
        bool(planned.changes),
        msg,
        summary={"approved": 0, "to_approve": len(planned.changes)},
        result=dict(planned.facts),
    )


def apply(context: Context, observed: Observed, planned: Plan) -> Outcome:
    """Approve, and follow the update to its end."""
    request = request_of(context.options)
    if request.target is None:
        return Outcome(
            False, _standing(planned.facts["operator"], []), summary={"approved": 0}, result=dict(planned.facts)
        )
    updater = Updater(context, request, request.target, observed)
    assessment = updater.run()
    result: Json = {
        "operator": facts(updater.observed, request, assessment),
        "pending": list(assessment.pending),
        "problems": [problem.text for problem in assessment.problems],
    }
    if assessment.step is Step.DONE and updater.observed is not observed:
        result["operator"]["migrate_role_exists"] = bool(reading.migrate_role(context.cluster))
    outcome = Outcome(
        bool(updater.made),
        _message(assessment, result["operator"]),
        summary={"approved": len(updater.made)},
        result=result,
    )
    made = Plan(tuple(updater.made))
    outcome.actions, outcome.diff = made.actions(), made.diff()
    return outcome


def _message(assessment: Assessment, update: Json) -> str:
    if assessment.step is Step.DONE:
        return f"OKD Virtualization is at {update['hyperconverged_version'] or update['target_csv']} and healthy."
    return _standing(update, list(assessment.pending))


def _standing(update: Json, pending: list[str]) -> str:
    text = f"OKD Virtualization is at {update['hyperconverged_version'] or update['installed_csv'] or 'no version'}"
    plan = update["install_plan"]
    if plan.get("phase") == "RequiresApproval" and not plan.get("approved"):
        text += f"; InstallPlan {plan['name']} ({', '.join(plan['cluster_service_versions'])}) waits for approval"
    return text + (f"; {'; '.join(pending)}." if pending else ".")


VERB = Verb("operator_update", spec, observe, plan, report, apply)
