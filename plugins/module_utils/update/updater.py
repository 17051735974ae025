# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The update itself: approve what was asked for, and follow it to its end. Private to this collection."""

from __future__ import annotations

import time

from .._cluster.resources import INSTALL_PLANS
from .._cluster.waiting import HEARTBEAT
from .._cluster.waiting import follow as follow_targets
from .._errors import ApiError, Conflict, DeadlineExceeded, VirtError
from .._plan import Change
from .._verb import Context
from . import reading
from .assessment import Assessment, Problem, Step, assess
from .install_plan import InstallPlan, approval_patch
from .observed import Observed, transitions
from .patience import Patience
from .plan import Request, approval, facts, is_automatic, refuse_other_operators
from .versions import Target

#: Seconds after which the moment is judged again although nothing has changed, since a problem may have lasted too long by then.
BEAT = 1.0


class UpdateStopped(VirtError):
    """The update does not go on by itself; the message names the object, its reason and the remedy."""


class Updater:
    """One run of an update. C(observed) is the last known moment, C(made) what was written."""

    def __init__(self, context: Context, request: Request, target: Target, observed: Observed) -> None:
        self.context = context
        self.request = request
        self.target = target
        self.observed = observed
        self.made: list[Change] = []
        self.assessment = assess(observed, target, request.intermediates)
        self._patience = Patience(context.options["problem_timeout"])
        self._without_plan_since: float | None = None

    def run(self) -> Assessment:
        """Approve and follow until done, or as far as C(wait) and C(approve) allow. Raises UpdateStopped and DeadlineExceeded."""
        self._step()
        if self._ends_here():
            return self.assessment
        options = self.context.options
        deadline = self.context.deadline(options["wait_timeout"])
        targets = reading.targets(self.observed.subscription.namespace)
        told = time.monotonic()
        for snapshot in follow_targets(self.context.cluster, targets, deadline, beat=BEAT):
            if snapshot is not None:
                self._take(reading.seen(self.observed, snapshot))
            elif time.monotonic() - told >= HEARTBEAT:
                told = time.monotonic()
                self.context.listener.heartbeat("; ".join(self.assessment.pending))
            self._step()
            if self.assessment.step is Step.DONE or self._waits_for_somebody():
                return self.assessment
        raise DeadlineExceeded(
            f"OKD Virtualization is not at {self.target.csv} after {options['wait_timeout']} s: {'; '.join(self.assessment.pending)}.",
            self.assessment.pending,
            **self._details(),
        )

    def _waits_for_somebody(self) -> bool:
        """Whether the next step is an approval that is not ours to give."""
        plan = self.assessment.install_plan
        return not self.request.approve and plan is not None and plan.waits_for_approval

    def _ends_here(self) -> bool:
        """Whether there is nothing to wait for, or waiting is not wanted."""
        if self.assessment.step is Step.DONE or self._waits_for_somebody():
            return True
        if not self.request.approve and self.assessment.step is Step.WAIT_FOR_INSTALL_PLAN:
            return True
        if self.context.options["wait"]:
            return False
        covered = self.target.csv in self.observed.csvs or any(
            self.target.csv in plan.csvs and plan.approved for plan in self.observed.install_plan_list
        )
        if self.request.approve and not covered and not is_automatic(self.observed):
            pending = "; ".join(self.assessment.pending)
            raise UpdateStopped(
                f"{self.target.csv} cannot be approved now, and wait is false: {pending}.",
                pending=list(self.assessment.pending),
                **self._details(),
            )
        return True

    def _take(self, observed: Observed) -> None:
        for line in transitions(self.observed, observed):
            self.context.listener.event(line)
        self.observed = observed

    def _step(self) -> None:
        """Judge the moment, approve if it is time for that, and stop at what is not normal."""
        self.assessment = assess(self.observed, self.target, self.request.intermediates)
        plan = self.assessment.install_plan
        if self.assessment.step is Step.APPROVE and self.request.approve and plan is not None:
            refuse_other_operators(self.observed, plan, self.request)
            self._approve(plan)
            self.assessment = assess(self.observed, self.target, self.request.intermediates)
        final = self.assessment.final
        if final is not None:
            self._stop(final)
        now = time.monotonic()
        if self.context.options["wait"]:
            problem = self._patience.exhausted(self.assessment.problems, now)
            if problem is not None:
                self._stop(problem, self._patience.limit)
        self._wait_for_plan(now)

    def _wait_for_plan(self, now: float) -> None:
        if self.assessment.step is not Step.WAIT_FOR_INSTALL_PLAN or not self.context.options["wait"]:
            self._without_plan_since = None
            return
        if self._without_plan_since is None:
            self._without_plan_since = now
        limit = self.context.options["install_plan_timeout"]
        if self.request.approve and now - self._without_plan_since >= limit:
            subscription = self.observed.subscription
            remedy = (
                f"Does channel {subscription.channel} of {subscription.source_namespace}/{subscription.source} offer it, "
                f"and is there a way from {subscription.installed_csv or 'nothing'}?"
            )
            self._stop(Problem("no-install-plan", "; ".join(self.assessment.pending), remedy=remedy), limit)

    def _approve(self, plan: InstallPlan) -> None:
        """Approve this very plan. One that changed meanwhile is read and judged again by whoever called."""
        change = approval(plan)
        cluster = self.context.cluster
        try:
            obj = cluster.json_patch(INSTALL_PLANS, plan.name, approval_patch(plan), namespace=plan.namespace)
        except ApiError as error:
            if error.status not in (404, 422) and not isinstance(error, Conflict):
                raise
            found = cluster.get(INSTALL_PLANS, plan.name, namespace=plan.namespace)
            event, obj = ("MODIFIED", found) if found is not None else ("DELETED", {"metadata": {"name": plan.name}})
            self._take(self.observed.with_event("InstallPlan", event, obj))
            return
        self.made.append(change)
        self.context.listener.event(f"{change.object_name}: approved ({change.reason})")
        self._take(self.observed.with_event("InstallPlan", "MODIFIED", obj))

    def _stop(self, problem: Problem, lasted: float | None = None) -> None:
        text = problem.text if problem.text.endswith(".") else f"{problem.text}."
        if problem.key == "operator-condition":
            replaced = self.observed.csvs.get(self.target.csv)
            if replaced is not None and replaced.replaces:
                text += (
                    " " + reading.operator_condition(self.context.cluster, replaced.namespace, replaced.replaces) + "."
                )
        if lasted:
            text += f" It has been so for {lasted:.0f} s."
        raise UpdateStopped(
            f"The update to {self.target.csv} stopped: {text} {problem.remedy}".strip(),
            problem=problem.key,
            **self._details(),
        )

    def _details(self) -> dict[str, object]:
        return {
            "changed": bool(self.made),
            "actions": [change.to_dict() for change in self.made],
            "summary": {"approved": len(self.made)},
            "operator": facts(self.observed, self.request, self.assessment),
            "problems": [problem.text for problem in self.assessment.problems],
        }
