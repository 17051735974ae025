# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs that write faster than they are copied under the settings that hold for them. Pure. Private to this collection."""

from __future__ import annotations

import typing as t
from collections import Counter

from .._migrations.guests import ASSUMED, Guest, Said, guest_of, nonsense
from .._migrations.limits import Limits, limits
from .._migrations.prediction import assumptions_of, at_once, is_close, of_guest, rate_text, surely_converges
from .._migrations.remedies import remedies
from .._migrations.state import is_migratable
from .facts import Facts
from .finding import Finding

_KIND = "VirtualMachineInstance"


def check(facts: Facts) -> t.Iterator[Finding]:
    """Every VM that runs and can migrate, as far as its load is known; nothing is assumed of the others."""
    known, said = limits(facts.kubevirt), Said(facts.loads, facts.machines, facts.policies, facts.namespaces)
    moving = [vmi for vmi in facts.instances if vmi["status"].get("phase") == "Running" and is_migratable(vmi)]
    on_node = Counter(vmi["status"].get("nodeName") for vmi in moving)
    for vmi in moving:
        key = vmi["metadata"]["namespace"], vmi["metadata"]["name"]
        for text in nonsense(vmi, facts.machines.get(key)):
            yield Finding("load_unreadable", _KIND, *key, text.partition(": ")[2].rstrip("."), "Write a quantity of bytes into it, or remove it.")
        if key not in facts.loads and key not in facts.machines and not vmi["metadata"].get("annotations"):
            continue
        guest = guest_of(vmi, said)
        number = at_once(known, on_node[guest.node])
        if guest.source == ASSUMED or surely_converges(guest, known, facts.link.rate, number):
            continue
        yield from _of_one(guest, known, facts, number)


def _of_one(guest: Guest, known: Limits, facts: Facts, number: int) -> t.Iterator[Finding]:
    predicted = of_guest(guest, known, facts.link.rate, number)
    if predicted.moves:
        return
    helps = remedies(guest, known, facts.link.rate, number)
    policy = guest.policy["metadata"]["name"] if guest.policy else ""
    where = f"in MigrationPolicy {policy}, which holds for it" if policy else "in a MigrationPolicy for it, or in the HyperConverged for all"
    remedy = f"Set what helps {where}: {'; or '.join(one.sentence for one in helps)}." if helps else (
        "No setting of live migration gets it over: let it write less, or shut it down for the maintenance."
    )
    yield Finding(
        "will_not_converge", _KIND, guest.namespace, guest.name,
        f"it writes {rate_text(guest.load.dirty_rate)} ({guest.source}), and its migration would not get over: {predicted.sentence}", remedy,
        {
            "prediction": predicted.to_dict(), "remedies": [one.to_dict() for one in helps], "policy": policy, "at_once": number,
            "link": facts.link.to_dict(), "close": is_close(guest, known, facts.link.rate, number),
            "assumptions": list(assumptions_of(guest, known, facts.link.rate, number)),
        },
    )
