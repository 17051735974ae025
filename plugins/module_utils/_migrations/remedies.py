# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would get a VM over that does not get over, each with its predicted time. Pure. Private to this collection."""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass, replace

from .guests import Guest
from .limits import Limits
from .precopy import MIB, copied
from .prediction import (
    CONVERGES,
    ONE_STREAM,
    Prediction,
    bandwidth_bytes,
    channel_of,
    longest_seconds,
    predict,
)

Json = dict[str, t.Any]
DATA_LOSS = "if either node or the network between them fails while the rest of its memory follows, the VM is lost"
_DEFAULT_COMPLETION = 150
_LONGEST_PER_GIB = 3600
_HUNDREDTH = 100
_SPARE_BANDWIDTH, _SPARE_TIME = 1.1, 1.25
"""What is proposed over the least that the model asks for: next to a threshold its answer is luck."""


@dataclass(frozen=True)
class Remedy:
    """C(settings) by option of migration_policy and live_migration_config, C(least) what the model asks for at least, in bytes per second or seconds."""

    kind: str
    settings: Json
    prediction: Prediction
    sentence: str
    least: float | None = None

    def to_dict(self) -> Json:
        return {"kind": self.kind, "settings": self.settings, "sentence": self.sentence, "least": self.least, **{
            name: value for name, value in self.prediction.to_dict().items() if name in ("outcome", "seconds")
        }}


def remedies(guest: Guest, known: Limits, link: float, number: int) -> list[Remedy]:
    """Those that help, the least invasive first: bandwidth, fewer at once, more time, a guest that is slowed down, post-copy.

    C(known) are the cluster's settings, C(number) is how many migrations share the link. Empty when the VM gets over, or when nothing helps.
    """
    limits, share = guest.limits(known), link / max(1, number)
    if predict(guest.load, limits, guest.one_channel, share).moves:
        return []
    tried = (
        _bandwidth(guest, limits, share), _fewer(guest, limits, link, number), _time(guest, limits, share), _slower(guest, limits, share),
        _post_copy(guest, limits, share),
    )
    return [one for one in tried if one is not None]


def _bandwidth(guest: Guest, limits: Limits, share: float) -> Remedy | None:
    now = int(bandwidth_bytes(limits) / MIB)
    if not now:
        return None

    def at(mebibytes: int) -> Prediction:
        return predict(guest.load, replace(limits, bandwidth=f"{mebibytes}Mi"), guest.one_channel, share)

    low, high = now, max(now + 1, math.ceil(min(share, ONE_STREAM) / MIB))
    if not at(high).converges:
        return None
    while high - low > max(1, high // _HUNDREDTH):
        middle = (low + high) // 2
        low, high = (low, middle) if at(middle).converges else (middle, high)
    proposed = math.ceil(high * _SPARE_BANDWIDTH)
    found = at(proposed)
    if not found.converges:
        return None
    return Remedy(
        "bandwidth", {"bandwidth_per_migration": f"{proposed}Mi"}, found,
        f"with bandwidthPerMigration {proposed}Mi {found.sentence}; about {high}Mi is the least", float(high * MIB),
    )


def _fewer(guest: Guest, limits: Limits, link: float, number: int) -> Remedy | None:
    if number <= 1:
        return None
    found = predict(guest.load, limits, guest.one_channel, link)
    if not found.converges:
        return None
    return Remedy("alone", {"parallel_outbound_migrations_per_node": 1}, found, f"with no other migration out of its node at the same time {found.sentence}")


def _time(guest: Guest, limits: Limits, share: float) -> Remedy | None:
    if math.isinf(longest_seconds(guest.load.memory, limits)):
        return None
    copy = copied(guest.load, channel_of(limits, guest.one_channel, share), limits.auto_converge)
    if math.isinf(copy.ended):
        return None
    each = longest_seconds(guest.load.memory, limits) / limits.completion_seconds_per_gib
    least = math.ceil(copy.ended / each)
    proposed = math.ceil(least * _SPARE_TIME / 10) * 10
    found = predict(guest.load, replace(limits, completion_seconds_per_gib=proposed), guest.one_channel, share)
    if not found.converges or proposed > _LONGEST_PER_GIB:
        return None
    return Remedy(
        "time", {"completion_timeout_per_gib": proposed}, found, f"with completionTimeoutPerGiB {proposed} {found.sentence}; {least} is the least", float(least)
    )


def _slower(guest: Guest, limits: Limits, share: float) -> Remedy | None:
    if limits.auto_converge:
        return None
    found = predict(guest.load, replace(limits, auto_converge=True), guest.one_channel, share)
    if not found.converges:
        return None
    said = f"with allowAutoConverge {found.sentence}; until then the guest loses up to {found.throttle:.0%} of its CPU time"
    return Remedy("auto_converge", {"allow_auto_converge": True}, found, said)


def _post_copy(guest: Guest, limits: Limits, share: float) -> Remedy | None:
    if limits.post_copy:
        return None
    settings: Json = {"allow_post_copy": True}
    changed = replace(limits, post_copy=True, workload_disruption=True)
    if changed.completion_seconds_per_gib <= 0:
        # Post-copy begins when time is up: without a time-out it never does.
        settings["completion_timeout_per_gib"] = _DEFAULT_COMPLETION
        changed = replace(changed, completion_seconds_per_gib=_DEFAULT_COMPLETION)
    found = predict(guest.load, changed, guest.one_channel, share)
    if not found.moves:
        return None
    how = found.sentence if found.outcome == CONVERGES else f"{found.sentence}; {DATA_LOSS}"
    return Remedy("post_copy", settings, found, f"with allowPostCopy {how}")
