# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb node_drain: nodes cordoned, emptied by live migration, given back. Private to this collection."""

from __future__ import annotations

from .._errors import OptionError
from .._options import ArgumentSpec, drain_spec
from .._plan import Outcome, Plan
from .._verb import Context, Options, Verb
from . import request as words
from .cancelling import cancel, cancel_plan
from .claiming import give_back
from .claims import claim_of
from .cordoning import set_schedulable
from .draining import Draining
from .observed import Observed, look_around, name_of, observe
from .plan import lines, make_plan
from .request import CANCELLED, DRAINED, Request, request_of


def spec() -> ArgumentSpec:
    """The options of the verb."""
    return ArgumentSpec(
        {
            "state": {"type": "str", "choices": list(words.STATES), "default": words.DRAINED},
            "deadline": {"type": "int", "default": 3600},
            "wait": {"type": "bool", "default": True},
            "max_parallel": {"type": "int", "default": 1},
            "clear_marks": {"type": "bool", "default": False},
            "require_room": {"type": "bool", "default": True},
        },
    ).merge(drain_spec())


def checked(options: Options) -> Request:
    """What the options ask for. Raises OptionError."""
    for name, least in (("deadline", 1), ("marked_ahead", 0), ("migration_attempts", 1), ("max_parallel", 1), ("grace_period", 0)):
        value = options.get(name)
        if value is not None and value < least:
            raise OptionError(f"{name} is {value}; it must be {least} at least.")
    if not (options["names"] or options["label_selector"] or options["machine_config_pool"]):
        raise OptionError("names is empty: name the nodes, or give label_selector or machine_config_pool.")
    path = options.get("metrics_path") or ""
    if path and not path.startswith("/"):
        raise OptionError(f"metrics_path: {path} is no path of the API server; it begins with a slash.")
    return request_of(options)


def _observe(context: Context) -> Observed:
    options = context.options
    found = checked(options)
    observed = observe(context.cluster, found, options["names"], options["label_selector"] or "", options["machine_config_pool"] or "")
    if found.state == DRAINED:
        look_around(context.cluster, observed)
    return observed


def _plan(observed: Observed, options: Options) -> Plan:
    found = checked(options)
    return cancel_plan(observed, found) if found.state == CANCELLED else make_plan(observed, found)


def _report(observed: Observed, planned: Plan, options: Options) -> Outcome:
    found = checked(options)
    names = ", ".join(name_of(node) for node in observed.nodes)
    number = len(planned.changes)
    listed = [name_of(node) for node in observed.nodes]
    msg = f"{names}: would be {found.state.replace('_', ' ')} by {number} changes." if number else f"{names}: nothing to do."
    outcome = Outcome(bool(number), msg, summary={"nodes": len(listed), "names": listed, "changes": number}, result={"nodes": [], **planned.facts})
    outcome.lines = [line for node in planned.facts.get("nodes", ()) for line in lines(node)] if found.state == DRAINED else []
    return outcome


def _apply(context: Context, observed: Observed, planned: Plan) -> Outcome:
    found = checked(context.options)
    if found.state == CANCELLED:
        return cancel(context, observed, found)
    if found.state != DRAINED:
        return set_schedulable(context, observed, planned)
    if planned.empty and not any(one["way"] != "leave" for node in planned.facts["nodes"] for one in node["pods"]):
        for node in observed.nodes:
            # Nothing is left to do of a run that ended before it could say so.
            claim = claim_of(node)
            if claim is not None:
                give_back(context.cluster, name_of(node), claim)
        names = ", ".join(name_of(node) for node in observed.nodes)
        return Outcome(False, f"{names}: drained already.", summary={"nodes": len(observed.nodes), "drained": len(observed.nodes)}, result=dict(planned.facts))
    return Draining(context, found, observed).run()


VERB = Verb("node_drain", spec, _observe, _plan, _report, _apply)
