# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations that are under way, and VMs whose migrations fail again and again. Pure. Private to this collection."""

from __future__ import annotations

import datetime
import typing as t

from .._migrations.limits import limits
from .._migrations.reasons import why_failed
from .._migrations.standing import Slots, slots
from .._migrations.state import failed, is_active, is_final, phase, succeeded, vmi_key
from .._migrations.times import moment, phase_times
from .facts import Facts
from .finding import Finding

Json = dict[str, t.Any]
_OFTEN = 2
_LONGEST_WAIT = 900.0
"""Seconds that KubeVirt gives a target pod to come up; nothing else before the copy takes longer."""


def check(facts: Facts) -> t.Iterator[Finding]:
    """By VM, each once."""
    here = {(vmi["metadata"]["namespace"], vmi["metadata"]["name"]): vmi for vmi in facts.instances}
    now = facts.now()
    taken = slots(limits(facts.kubevirt), facts.migrations, lambda key: str((here.get(key) or {}).get("status", {}).get("nodeName") or ""))
    by_vm: dict[tuple[str, str], list[Json]] = {}
    for one in sorted(facts.migrations, key=lambda item: (item["metadata"].get("creationTimestamp") or "", item["metadata"]["name"])):
        by_vm.setdefault(vmi_key(one), []).append(one)
    for key, migrations in sorted(by_vm.items()):
        if key not in here:
            continue
        last = migrations[-1]
        stuck = _stuck(last, here[key], taken, facts, now)
        if stuck:
            yield Finding(
                "migration_stuck", "VirtualMachineInstance", *key, f"its migration {last['metadata']['name']} does not get on: {stuck}",
                "Cancel it (vm_migration), and remove the cause before it is tried again; migration_info says more.", {"migration": last["metadata"]["name"]},
            )
        elif is_active(last):
            yield Finding(
                "migration_running", "VirtualMachineInstance", *key, f"it is migrating ({last['metadata']['name']})", "Wait until it is over.",
                {"migration": last["metadata"]["name"]},
            )
        in_a_row = 0
        for one in reversed([one for one in migrations if is_final(one)]):
            if succeeded(one):
                break
            in_a_row += failed(one)
        if in_a_row >= _OFTEN:
            latest = [one for one in migrations if failed(one)][-1]
            why = why_failed(latest, here[key])
            yield Finding(
                "migration_failing", "VirtualMachineInstance", *key, f"its last {in_a_row} migrations have failed, the last since {why.sentence}",
                "Remove the cause before its node is drained; migration_info says more.", {"failures": in_a_row, "code": why.code},
            )


def _stuck(migration: Json, vmi: Json, taken: Slots, facts: Facts, now: datetime.datetime) -> str:
    """Why one has been where it is for longer than it can be when all is well; empty when it has not."""
    since = moment(phase_times(migration)[-1].since)
    if is_final(migration) or since is None:
        return ""
    waited = (now - since).total_seconds()
    where = phase(migration) or "Unset"
    if where == "Running":
        known = limits(facts.kubevirt)
        longest = max(_LONGEST_WAIT, known.completion_seconds_per_gib * (vmi.get("memory") or 0) / 2**30)
        return f"it has been copied for {waited:.0f} s, and KubeVirt has not broken it off" if waited > longest else ""
    if waited <= _LONGEST_WAIT:
        return ""
    if not is_active(migration) and not taken.free(str(vmi["status"].get("nodeName") or "")):
        # It waits for its turn.
        return ""
    return f"it has been {where} for {waited:.0f} s"
