# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What settings mean for the VMs that run: the slowest of them before and after. Pure. Private to this collection."""

from __future__ import annotations

import math
import typing as t

from .._migrations.guests import ASSUMED, Guest
from .._migrations.limits import Limits
from .._migrations.prediction import Prediction, assumptions_of, at_once, is_close, of_guest
from .._migrations.remedies import remedies
from .profiles import Scene

Json = dict[str, t.Any]
SHOWN = 5


def slowest(scene: Scene, after: Limits) -> list[Json]:
    """Those that don't get over or take longest with either settings, the worst first."""
    on_node = scene.on_node()
    found: list[tuple[tuple[bool, float, bool, float], Guest, Prediction, Prediction]] = []
    for guest in scene.guests:
        before, then = (of_guest(guest, one, scene.link.rate, at_once(one, len(on_node[guest.node]))) for one in (scene.limits, after))
        found.append(((not then.moves, then.seconds, not before.moves, before.seconds), guest, before, then))
    found.sort(key=lambda one: (*(-value for value in one[0]), one[1].key))
    return [_described(scene, after, guest, before, then, len(on_node[guest.node])) for _rank, guest, before, then in found[:SHOWN]]


def _described(scene: Scene, after: Limits, guest: Guest, before: Prediction, then: Prediction, neighbours: int) -> Json:
    number, rate = at_once(after, neighbours), scene.link.rate
    load = guest.load
    known = guest.source != ASSUMED
    return {
        "namespace": guest.namespace, "name": guest.name, "node": guest.node, "memory_bytes": round(load.memory), "non_zero_bytes": round(load.non_zero),
        "working_set_bytes": round(load.working_set), "dirty_bytes_per_second": round(load.dirty_rate), "load_from": guest.source,
        "policy": guest.policy["metadata"]["name"] if guest.policy else "", "before": before.to_dict(), "after": then.to_dict(),
        "close": known and is_close(guest, after, rate, number), "assumptions": list(assumptions_of(guest, after, rate, number)),
        "remedies": [one.to_dict() for one in remedies(guest, after, rate, number)],
    }


def line(described: Json) -> str:
    """One of them for people."""
    before, after = (_time(described[name]) for name in ("before", "after"))
    writes = f", writes {described['dirty_bytes_per_second'] / 2**20:.0f} MiB/s" if described["dirty_bytes_per_second"] else ""
    first = next(iter(described["remedies"]), None)
    more = f"; {first['sentence']}" if first else ""
    close = " (a close call)" if described["close"] else ""
    return f"  {described['namespace']}/{described['name']} ({described['memory_bytes'] / 2**30:.1f} GiB{writes}): {before} -> {after}{close}{more}"


def _time(prediction: Json) -> str:
    seconds = math.inf if prediction["seconds"] is None else prediction["seconds"]
    what = {"converges": "", "post_copy": " by post-copy", "paused": ", paused at the end"}.get(prediction["outcome"])
    return "never" if math.isinf(seconds) else f"{seconds:.0f} s{what}" if what is not None else f"given up after {seconds:.0f} s"
