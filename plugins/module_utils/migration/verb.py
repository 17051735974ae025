# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb vm_migration: single VMs moved, or kept from moving. Private to this collection."""

from __future__ import annotations

from .._plan import Outcome, Plan
from .._verb import Context, Options, Verb
from . import observed as seen
from .cancelling import cancel
from .moving import Moving
from .plan import CANNOT_CANCEL, intents, make_plan
from .request import CANCELLED, request_of, spec


def _observe(context: Context) -> seen.Observed:
    return seen.observe(context.cluster, request_of(context.options))


def _plan(observed: seen.Observed, options: Options) -> Plan:
    return make_plan(observed, request_of(options))


def _report(observed: seen.Observed, planned: Plan, options: Options) -> Outcome:
    """What a run would do."""
    request = request_of(options)
    vms, number = planned.facts["vms"], len(planned.changes)
    summary = {"vms": len(vms), "changes": number}
    msg = f"{number} VMs would be migrated." if number else "No migration would be started."
    if request.state == CANCELLED:
        kept = sum(1 for one in vms if one["state"] == CANNOT_CANCEL)
        msg = f"{number} migrations would be cancelled." + (f" {kept} can't be." if kept else "")
    return Outcome(bool(number), msg, summary=summary, result={"vms": vms})


def _apply(context: Context, observed: seen.Observed, planned: Plan) -> Outcome:
    request = request_of(context.options)
    if request.state == CANCELLED:
        return cancel(context, request, intents(observed, request))
    return Moving(context, request, observed).run(planned.facts["intents"])


VERB = Verb("vm_migration", spec, _observe, _plan, _report, _apply)
