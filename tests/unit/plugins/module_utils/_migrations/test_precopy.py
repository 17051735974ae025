# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model of a copy against migrations measured on QEMU 10.0.2, and what always holds of it."""

from __future__ import annotations

import csv
import math
import statistics
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils._migrations.precopy import (
    HOT,
    MIB,
    POST_COPY_SWITCH,
    SEQUENTIAL,
    UNIFORM,
    ZERO,
    Channel,
    Load,
    copied,
    surely_ends_within,
)

MEASURED = Path(__file__).parents[2] / "plugin_utils" / "engine" / "kubevirt" / "precopy" / "measured.csv"
PATTERNS = {"seq": SEQUENTIAL, "rand": UNIFORM, "hot": HOT}
KUBEVIRT_DOWNTIME = "300"
loads = st.builds(
    lambda memory, used, working, rate, pattern, keeps_up: Load(
        memory * MIB, max(used, working) * memory * MIB, working * memory * MIB, rate * MIB, pattern, keeps_up
    ),
    st.floats(64, 65536), st.floats(0, 1), st.floats(0, 0.6), st.floats(0, 3000), st.sampled_from(list(PATTERNS.values())), st.booleans(),
)
channels = st.builds(lambda speed, cap: Channel(speed * MIB, cap * MIB), st.floats(20, 1200), st.one_of(st.just(math.inf), st.floats(10, 1500)))


def _load(row: dict[str, str]) -> Load:
    """A small guest adds 0.4 MiB of its own, a Linux 62 MiB and 2 % of its memory."""
    memory = float(row["RAM"])
    own = 0.4 if row["guest"] == "bare" else 62 + 0.02 * memory
    used = min(memory, float(row["fill"]) + own)
    return Load(memory * MIB, used * MIB, float(row["WS"]) * MIB, float(row["rate"]) * MIB, PATTERNS[row["pattern"]], row["pace"] == "clock")


def _channel(row: dict[str, str]) -> Channel:
    speed, cap = (190.0 if row["TLS"] == "1" else 650.0), float(row["cap"])
    if float(row["link Mbit"]):
        speed = min(speed, float(row["link Mbit"]) * 1e6 / 8 / MIB / float(row["conc"]))
    allowed = math.inf if not cap else 1.17 * cap if row["mfd"] != "0" else cap + 1.05
    return Channel(speed * MIB, allowed * MIB, (speed if speed < 650 else 1200) * MIB, 0.053 if row["TLS"] == "1" else 0.003)


def test_what_was_measured() -> None:
    """Every outcome is right; the time within 5 % in the median and 15 % in nine of ten cases."""
    errors = []
    for row in csv.DictReader(MEASURED.open(encoding="utf-8")):
        if row["limit ms"] != KUBEVIRT_DOWNTIME:
            continue
        channel, post_copy, cancel = _channel(row), float(row["PC after s"]), float(row["cancel s"])
        copy = copied(_load(row), channel, row["AC"] == "1", post_copy or cancel or math.inf)
        total = copy.ended
        if post_copy and math.isinf(total):
            total = post_copy + copy.rest(post_copy) / min((float(row["PC cap"]) + 1.05) * MIB, channel.speed) + copy.zero * ZERO + POST_COPY_SWITCH
        assert ("cancelled" if math.isinf(total) else "completed") == row["status"], row["run"]
        if math.isfinite(total):
            errors.append(abs(total * 1000 / float(row["total ms"]) - 1))
    assert len(errors) > 30
    assert statistics.median(errors) <= 0.05
    assert statistics.quantiles(errors, n=10)[8] <= 0.15


@given(loads, channels, st.booleans())
def test_a_copy_ends_or_circles_and_sends_no_less_than_there_is(load: Load, channel: Channel, auto_converge: bool) -> None:
    copy = copied(load, channel, auto_converge)
    assert math.isfinite(copy.ended) != bool(copy.circling)
    if math.isfinite(copy.ended):
        assert copy.ended >= min(load.non_zero / channel.rate, load.non_zero / channel.stopped)
        assert 0 < copy.downtime < 1
    assert 0 <= copy.throttle <= 0.99


@given(loads, channels, st.floats(0, 500))
def test_what_is_left_is_part_of_the_guest(load: Load, channel: Channel, moment: float) -> None:
    copy = copied(load, channel, until=moment)
    assert -1 <= copy.rest(moment) <= max(load.non_zero, load.working_set) + 1


@given(loads, channels)
def test_a_bound_is_one(load: Load, channel: Channel) -> None:
    bound = surely_ends_within(load, channel)
    if math.isfinite(bound):
        assert copied(load, channel).ended <= bound


@given(loads, channels)
def test_a_guest_that_writes_nothing_always_gets_over(load: Load, channel: Channel) -> None:
    assert math.isfinite(copied(Load(load.memory, load.non_zero), channel).ended)
