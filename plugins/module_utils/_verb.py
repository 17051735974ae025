# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verb: observe, plan, apply. Private to this collection."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

from ._cluster.client import Cluster
from ._options import ArgumentSpec
from ._plan import Json, Listener, Outcome, Plan

Options = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Context:
    """What a verb works with. C(began) is the monotonic time at which it started, from which deadlines count."""

    cluster: Cluster
    options: Options
    listener: Listener
    began: float

    def deadline(self, seconds: float) -> float:
        """The monotonic time so many seconds after the start."""
        return self.began + seconds


@dataclass(frozen=True)
class Verb:
    """What a module does.

    C(observe) reads the cluster. C(plan) is pure. C(report) says what a plan would do (check mode). C(apply) does it, waits, and
    says what was done; it runs for an empty plan too, since the goal may still be on its way.
    """

    name: str
    spec: t.Callable[[], ArgumentSpec]
    observe: t.Callable[[Context], t.Any]
    plan: t.Callable[[t.Any, Options], Plan]
    report: t.Callable[[t.Any, Plan, Options], Outcome]
    apply: t.Callable[[Context, t.Any, Plan], Outcome]
    read_only: bool = False


def run(verb: Verb, options: Options, cluster: Cluster, check_mode: bool, listener: Listener) -> Outcome:
    """Run a verb. Raises VirtError. Check mode stops after the plan: it never writes and never waits."""
    context = Context(cluster, options, listener, time.monotonic())
    observed = verb.observe(context)
    plan = verb.plan(observed, options)
    outcome = verb.report(observed, plan, options) if check_mode and not verb.read_only else verb.apply(context, observed, plan)
    outcome.warnings = list(dict.fromkeys([*cluster.warnings, *plan.warnings, *outcome.warnings]))
    outcome.diff = outcome.diff or plan.diff()
    # What was planned was not done where nothing has changed: somebody else may have done it meanwhile.
    outcome.actions = outcome.actions or (plan.actions() if outcome.changed else [])
    timeline: list[Json] = getattr(listener, "timeline", [])
    outcome.timeline = outcome.timeline or timeline
    return outcome
