# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of live migration computed for a purpose from what a cluster has, each with its reason. Pure. Private to this collection.

A profile decides which share of a link migrations may take and what comes first; the numbers follow from the links, the nodes and the VMs.
"""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass, replace

from .._migrations.guests import Guest
from .._migrations.limits import Limits
from .._migrations.links import Link
from .._migrations.precopy import MIB
from .._migrations.prediction import (
    ONE_STREAM,
    OVERSHOOT,
    at_once,
    channel_of,
    longest_seconds,
    of_guest,
    rate_text,
    surely_converges,
    together,
)
from .._migrations.remedies import DATA_LOSS
from .._placement.fitting import some
from .fields import BY_OPTION, Value

Json = dict[str, t.Any]
BALANCED, FAST_WINDOW, HEAVY_WORKLOADS, GENTLE = "balanced", "fast_window", "heavy_workloads", "gentle"
AUTO_CONVERGE, POST_COPY = "auto_converge", "post_copy"
_MOST_OUT_OF_A_NODE = 8
_GOOD_ENOUGH = 1.05
_STARTS = 1.0
"""Migrations that KubeVirt starts in a second: it makes a target pod only when no other one is being made, and looks again after a second."""
_LONG = 600.0
_LONGEST_WAIT = 600
"""Seconds for each 10^9 bytes. A VM that needs more counts as one that does not get over: it would hold its slot for hours."""
_SPARE_TIME = {BALANCED: 2, FAST_WINDOW: 2, HEAVY_WORKLOADS: 3, GENTLE: 2}
_NODE, _CLUSTER, _BANDWIDTH = "parallel_outbound_migrations_per_node", "parallel_migrations_per_cluster", "bandwidth_per_migration"
_COMPLETION, _PROGRESS = "completion_timeout_per_gib", "progress_timeout"
_ASSISTS = {AUTO_CONVERGE: "allow_auto_converge", POST_COPY: "allow_post_copy"}
_PRICES = {AUTO_CONVERGE: "their CPUs are slowed down until the rest goes over", POST_COPY: DATA_LOSS}


@dataclass(frozen=True)
class _Purpose:
    """The share of a link that migrations may take, the nodes of which one at a time sends (2 is half of them), and both in words."""

    share: float
    every: int
    why_share: str
    why_every: str


_PURPOSES = {
    BALANCED: _Purpose(
        0.5, 4, "half of the link is left to the VMs and the storage", "a quarter of the nodes send, or one, and a quarter receive"
    ),
    FAST_WINDOW: _Purpose(
        0.8, 2, "in a window migrations come first, and a fifth of the link is left to all else", "half of the nodes send, or one, and half receive"
    ),
    HEAVY_WORKLOADS: _Purpose(
        0.8, 2, "large and busy VMs need what there is, and a fifth of the link is left to all else", "half of the nodes send, or one, and half receive"
    ),
    GENTLE: _Purpose(0.2, 8, "a fifth of the link is all that migrations may take", "an eighth of the nodes send, or one"),
}
PROFILES = tuple(_PURPOSES)


@dataclass(frozen=True)
class Scene:
    """What a profile is computed from: how many nodes take VMs, the VMs that run, the links, and the settings that hold now."""

    nodes: int
    guests: tuple[Guest, ...]
    link: Link
    limits: Limits

    def on_node(self) -> dict[str, list[Guest]]:
        found: dict[str, list[Guest]] = {}
        for guest in self.guests:
            found.setdefault(guest.node, []).append(guest)
        return found


@dataclass(frozen=True)
class Profile:
    """The values by option, and a sentence for each; C(notes) is what it does not do, and what that leaves."""

    name: str
    values: dict[str, Value]
    reasons: dict[str, str]
    notes: tuple[str, ...] = ()

    def by_key(self) -> dict[str, Value]:
        return {BY_OPTION[option].key: value for option, value in self.values.items()}


def under(limits: Limits, values: t.Mapping[str, Value]) -> Limits:
    """The settings with these values, by option, in place of those that they have."""
    names = {
        _NODE: "per_node", _CLUSTER: "per_cluster", _BANDWIDTH: "bandwidth", _COMPLETION: "completion_seconds_per_gib", _PROGRESS: "progress_seconds",
        "allow_auto_converge": "auto_converge", "allow_post_copy": "post_copy", "network": "network",
    }
    said: Json = {}
    for option, value in values.items():
        default = BY_OPTION[option].default
        said[names[option]] = (default if value is None else value) if BY_OPTION[option].type != "str" else str(value or default or "")
    if "post_copy" in said:
        # KubeVirt 1.5 lets it disturb the guest where nobody has said otherwise.
        said["workload_disruption"] = said["post_copy"] or (limits.workload_disruption and not limits.post_copy)
    return replace(limits, **said)


def computed(name: str, scene: Scene, may: t.Collection[str] = ()) -> Profile:
    """The profile for a cluster. C(may) is what it is allowed to switch on: auto_converge, post_copy."""
    purpose, scene = _PURPOSES[name], replace(scene, limits=_untouched(scene.limits, may))
    if scene.limits.network and name in (FAST_WINDOW, HEAVY_WORKLOADS):
        purpose = replace(purpose, share=1.0, why_share=f"the network {scene.limits.network} is for migrations alone, and all of it is used")
    budget = purpose.share * scene.link.rate
    number, why_number = _out_of_a_node(name, scene, budget)
    values: dict[str, Value] = {_NODE: number, _BANDWIDTH: _bandwidth(budget, number)}
    reasons = {_NODE: why_number, _BANDWIDTH: _why_bandwidth(purpose, scene, budget, number)}
    values[_CLUSTER], reasons[_CLUSTER] = _in_the_cluster(purpose, scene, under(scene.limits, values), number)
    slowed: dict[str, Value] = {"allow_auto_converge": True} if AUTO_CONVERGE in may else {}
    values[_COMPLETION], reasons[_COMPLETION] = _completion(name, scene, under(scene.limits, {**values, **slowed}))
    values[_PROGRESS], reasons[_PROGRESS] = _progress(name, scene, under(scene.limits, values))
    profile = Profile(name, values, reasons)
    return _assisted(profile, scene, may) if name == HEAVY_WORKLOADS else _not_assisted(profile, scene)


def _untouched(limits: Limits, may: t.Collection[str]) -> Limits:
    """The settings without what a profile sets: it must come to the same when it is applied already."""
    defaults = under(limits, dict.fromkeys((_NODE, _CLUSTER, _BANDWIDTH, _COMPLETION, _PROGRESS)))
    switched = {option: None for kind, option in _ASSISTS.items() if kind in may}
    return under(defaults, switched)


def _out_of_a_node(name: str, scene: Scene, budget: float) -> tuple[int, str]:
    if name == GENTLE:
        return 1, "one VM after the other leaves a node, so that no more than one is disturbed there"
    if name == FAST_WINDOW:
        return _fastest(scene, budget)
    usual = int(t.cast(int, BY_OPTION[_NODE].default))
    lost = {number: len(_lost(scene, budget, number)) for number in range(1, usual + 1)}
    best = min(lost.values())
    number = max(number for number, left in lost.items() if left == best)
    if name == HEAVY_WORKLOADS and any(guest.load.dirty_rate for guest in scene.guests):
        number = min(number, max(1, int(budget / (ONE_STREAM * OVERSHOOT))))
        return number, f"{number} at once, so that a busy VM gets up to {rate_text(budget / number)} of its node's link"
    if number == usual:
        return number, f"{number} at once, as HyperConverged has it: no VM whose load is known needs more of the link than that leaves each"
    return number, f"{number} at once: with {usual} the share of each would be too small for {_count(lost[usual] - best)} whose load is known"


def _fastest(scene: Scene, budget: float) -> tuple[int, str]:
    """The fewest with which the node with the most memory to move is empty as soon as with any other number, or nearly."""
    fullest = max(scene.on_node().values(), key=lambda guests: sum(one.load.memory for one in guests), default=[])
    if not fullest:
        return 2, "2 at once, as HyperConverged has it: no VM runs from which another number would follow"
    times: dict[int, tuple[int, float]] = {}
    for number in range(1, min(_MOST_OUT_OF_A_NODE, len(fullest)) + 1):
        limits = under(scene.limits, {_NODE: number, _CLUSTER: number, _BANDWIDTH: _bandwidth(budget, number)})
        times[number] = len(_lost(scene, budget, number)), together(fullest, limits, number, scene.link.rate).seconds
    fewest = min(lost for lost, _seconds in times.values())
    best = min(seconds for lost, seconds in times.values() if lost == fewest)
    number = next(number for number, (lost, seconds) in times.items() if lost == fewest and seconds <= best * _GOOD_ENOUGH)
    what = f"the migrations of the fullest node, {fullest[0].node or 'its name is not known'}, take {_seconds(times[number][1])}"
    if number == 1:
        return 1, f"one at a time: {what}, and more at once would not be faster"
    return number, f"{number} at once: {what}, and {_seconds(times[1][1])} one after the other"


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if math.isfinite(value) else "for ever"


def _lost(scene: Scene, budget: float, number: int) -> list[Guest]:
    """VMs of known load that do not get over with this share of the budget."""
    limits = under(scene.limits, {_NODE: number, _BANDWIDTH: _bandwidth(budget, number)})
    rate = scene.link.rate
    known = (guest for guest in scene.guests if guest.load.dirty_rate and not surely_converges(guest, limits, rate, number))
    return [guest for guest in known if not of_guest(guest, limits, rate, number).moves]


def _in_the_cluster(purpose: _Purpose, scene: Scene, limits: Limits, number: int) -> tuple[int, str]:
    """So many out of so many nodes, unless KubeVirt could not start as many before the first are over."""
    sending = max(1, scene.nodes // purpose.every)
    times = [of_guest(guest, limits, scene.link.rate, at_once(limits, number)).seconds for guest in scene.guests]
    average = sum(min(one, _LONG) for one in times) / len(times) if times else math.inf
    if math.isfinite(average) and number * sending > (most := max(number, math.ceil(average * _STARTS))):
        return most, f"a migration takes {average:.0f} s, and KubeVirt starts one after the other, about one a second: more would never be under way"
    return number * sending, f"{sending} of {scene.nodes} nodes at a time, {_count(number)} out of each: {purpose.why_every}"


def _bandwidth(budget: float, number: int) -> str:
    """What each may have so that all together stay in the budget, with what several connections let through beyond a limit."""
    return f"{max(1, int(budget / number / OVERSHOOT / MIB))}Mi"


def _why_bandwidth(purpose: _Purpose, scene: Scene, budget: float, number: int) -> str:
    said = f"{purpose.why_share}: {rate_text(budget)} of {rate_text(scene.link.rate)} for {number} at once"
    if budget / number > ONE_STREAM * OVERSHOOT:
        return f"{said}; one migration sends {rate_text(ONE_STREAM)} at most by itself"
    return f"{said}, less the {OVERSHOOT - 1:.0%} that KubeVirt's connections let through beyond it"


def _longest_wait(scene: Scene, limits: Limits) -> tuple[float, Guest | None]:
    """The most seconds for each 10^9 bytes begun that a VM needs which gets over in a time that one waits for, and which VM that is."""
    unbound = replace(limits, completion_seconds_per_gib=0)
    found: tuple[float, Guest | None] = (0.0, None)
    for guest, number in _with_numbers(scene, limits):
        predicted = of_guest(replace(guest, policy=_without_time(guest.policy)), unbound, scene.link.rate, number)
        needed = predicted.seconds / longest_seconds(guest.load.memory, replace(limits, completion_seconds_per_gib=1))
        if predicted.converges and needed <= _LONGEST_WAIT:
            found = max(found, (needed, guest), key=lambda one: one[0])
    return found


def _without_time(policy: Json | None) -> Json | None:
    spec = (policy or {}).get("spec") or {}
    return {**policy, "spec": {key: value for key, value in spec.items() if key != "completionTimeoutPerGiB"}} if policy else None


def _with_numbers(scene: Scene, limits: Limits) -> t.Iterator[tuple[Guest, int]]:
    for guests in scene.on_node().values():
        number = at_once(limits, len(guests))
        yield from ((guest, number) for guest in guests)


def _completion(name: str, scene: Scene, limits: Limits) -> tuple[int, str]:
    usual, spare = int(t.cast(int, BY_OPTION[_COMPLETION].default)), _SPARE_TIME[name]
    needed, guest = _longest_wait(scene, limits)
    if guest is None:
        return usual, "as HyperConverged has it: no VM runs from which another number would follow"
    value = math.ceil(needed * spare / 10) * 10
    if value <= usual:
        return usual, f"as HyperConverged has it: the slowest VM, {guest.full_name}, needs {needed:.0f} s for each GB"
    return value, f"{spare} times the {needed:.0f} s for each GB that the slowest VM needs which gets over, {guest.full_name}"


def _progress(name: str, scene: Scene, limits: Limits) -> tuple[int, str]:
    usual = int(t.cast(int, BY_OPTION[_PROGRESS].default))
    busy = [(guest.load.working_set / _rate(guest, scene, limits, number), guest) for guest, number in _with_numbers(scene, limits) if guest.load.dirty_rate]
    longest, guest = max(busy, key=lambda one: one[0], default=(0.0, None))
    value = math.ceil(2 * longest / 10) * 10
    if guest is None or value <= usual or name != HEAVY_WORKLOADS:
        return usual, "as HyperConverged has it: a copy that goes on at all makes progress in less"
    return value, f"twice the {longest:.0f} s in which the working set of {guest.full_name} goes over once"


def _rate(guest: Guest, scene: Scene, limits: Limits, number: int) -> float:
    return channel_of(guest.limits(limits), guest.one_channel, scene.link.rate / number).rate


def _left(scene: Scene, values: t.Mapping[str, Value]) -> list[Guest]:
    """VMs of known load that would not get over with these values."""
    limits = under(scene.limits, values)
    return [guest for guest, number in _with_numbers(scene, limits) if guest.load.dirty_rate and not of_guest(guest, limits, scene.link.rate, number).moves]


def _assisted(profile: Profile, scene: Scene, may: t.Collection[str]) -> Profile:
    """What is allowed is switched on where it gets VMs over that would not get over without, and nothing else."""
    values, reasons, notes = dict(profile.values), dict(profile.reasons), []
    for kind, option in _ASSISTS.items():
        price = _PRICES[kind]
        left = _left(scene, values)
        if not left:
            break
        still = {guest.key for guest in _left(scene, {**values, option: True})}
        helped = [guest for guest in left if guest.key not in still]
        if helped and kind in may:
            values[option] = True
            reasons[option] = f"{_names(helped)} would not get over without: {price}"
        elif helped:
            notes.append(f"{_names(helped)} would get over with {option}, which was not allowed (profile_may: {kind}): {price}")
    left = _left(scene, values)
    if left:
        notes.append(f"{_names(left)} would not get over with these settings")
    return replace(profile, values=values, reasons=reasons, notes=tuple(notes))


def _not_assisted(profile: Profile, scene: Scene) -> Profile:
    left = _left(scene, profile.values)
    said = f"{_names(left)} would not get over with these settings; see heavy_workloads, or a MigrationPolicy for them"
    return replace(profile, notes=(said,) if left else ())


def _count(number: int) -> str:
    return f"{number} VM{'s' if number > 1 else ''}"


def _names(guests: t.Sequence[Guest]) -> str:
    return f"VM{'s' if len(guests) > 1 else ''} {some(sorted(guest.full_name for guest in guests))}"
