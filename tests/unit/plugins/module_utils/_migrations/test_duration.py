# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What plans expect of time."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils._migrations.duration import (
    LINK,
    SET_UP,
    bandwidth_bytes,
    expected_seconds,
    expected_together,
    longest_seconds,
)
from ansible_collections.okd.virt.plugins.module_utils._migrations.limits import Limits

GIB = 2**30
memories = st.integers(min_value=64 * 2**20, max_value=512 * GIB)


def test_a_limit_of_bandwidth_is_divided_into_the_memory() -> None:
    found = expected_seconds(2 * GIB, Limits(bandwidth="64Mi"))
    assert found.seconds == SET_UP + 32.0
    assert any("64 MiB/s" in one and "bandwidthPerMigration" in one for one in found.assumptions)


def test_many_at_once_share_the_link() -> None:
    found = expected_seconds(8 * GIB, Limits(), at_once=4)
    assert found.seconds == round(SET_UP + 8 * GIB / (LINK / 4), 1)
    assert any("10 Gbit/s" in one for one in found.assumptions)


def test_what_a_busy_guest_is_expected_to_take() -> None:
    calm, busy = (expected_seconds(2 * GIB, Limits(bandwidth="64Mi"), dirty_bytes_per_second=rate) for rate in (0.0, 32 * 2**20))
    assert busy.seconds - SET_UP == 2 * (calm.seconds - SET_UP)
    never = expected_seconds(2 * GIB, Limits(bandwidth="64Mi", completion_seconds_per_gib=0), dirty_bytes_per_second=64 * 2**20)
    assert math.isinf(never.seconds)
    assert any("never ends" in one for one in never.assumptions)


def test_what_happens_at_the_time_out() -> None:
    """Three times 10^9 bytes begun, though it is 2 GiB."""
    slow = "1Mi"
    assert longest_seconds(2 * GIB, Limits()) == 450
    given_up = expected_seconds(2 * GIB, Limits(bandwidth=slow))
    assert given_up.seconds == SET_UP + 450
    assert any("gives it up after 450 s" in one for one in given_up.assumptions)
    post_copy = expected_seconds(2 * GIB, Limits(bandwidth=slow, post_copy=True, workload_disruption=True))
    assert any("post-copy after 450 s" in one for one in post_copy.assumptions)
    assert post_copy.seconds == SET_UP + 450 + 2048
    paused = expected_seconds(2 * GIB, Limits(bandwidth=slow, workload_disruption=True))
    assert any("pauses the guest" in one for one in paused.assumptions)


def test_bandwidth_that_is_nonsense_counts_as_unlimited() -> None:
    assert bandwidth_bytes(Limits(bandwidth="fast")) == 0.0
    assert bandwidth_bytes(Limits(bandwidth="1Gi")) == GIB


def test_no_slots_and_nothing_to_move() -> None:
    assert expected_together([], Limits(), 2).seconds == 0
    assert math.isinf(expected_together([GIB], Limits(), 0).seconds)


@given(st.lists(memories, min_size=1, max_size=40), st.integers(min_value=1, max_value=5))
def test_together_is_between_the_bounds(sizes: list[int], slots: int) -> None:
    """Never less than the work over the slots nor than the longest, and by less than the longest more than that."""
    at_once = min(slots, len(sizes))
    each = [expected_seconds(size, Limits(), at_once).seconds for size in sizes]
    found = expected_together(sizes, Limits(), slots).seconds
    least = max([sum(each) / at_once, *each])
    assert least - 0.1 <= found <= sum(each) / at_once + max(each) + 0.1


@given(memories, memories, st.integers(min_value=1, max_value=8))
def test_more_memory_takes_no_less(one: int, other: int, at_once: int) -> None:
    small, large = sorted((one, other))
    assert expected_seconds(small, Limits(), at_once).seconds <= expected_seconds(large, Limits(), at_once).seconds
