# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles follow from the cluster, and come to the same when they are applied already."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils._migrations.guests import Guest
from ansible_collections.okd.virt.plugins.module_utils._migrations.limits import Limits
from ansible_collections.okd.virt.plugins.module_utils._migrations.links import Link
from ansible_collections.okd.virt.plugins.module_utils._migrations.precopy import MIB, Load
from ansible_collections.okd.virt.plugins.module_utils._migrations.prediction import OVERSHOOT, of_guest
from ansible_collections.okd.virt.plugins.module_utils._quantity import quantity
from ansible_collections.okd.virt.plugins.module_utils.tuning.fields import checked
from ansible_collections.okd.virt.plugins.module_utils.tuning.profiles import (
    BALANCED,
    FAST_WINDOW,
    GENTLE,
    HEAVY_WORKLOADS,
    PROFILES,
    Profile,
    Scene,
    computed,
    under,
)
from ansible_collections.okd.virt.plugins.module_utils.tuning.slowest import slowest

GIB = 2**30
NUMBER, BANDWIDTH = "parallel_outbound_migrations_per_node", "bandwidth_per_migration"


def link(gigabits: float) -> Link:
    return Link(gigabits * 10**9 / 8, "option", "")


def guest(name: str, gib: float, rate: float = 0, working: float = 0.5, node: str = "a") -> Guest:
    memory = gib * GIB
    return Guest("shop", name, Load(memory, memory, working * memory if rate else 0, rate * MIB), node, source="option" if rate else "assumption")


def scene(*guests: Guest, nodes: int = 6, gigabits: float = 10, **limits: t.Any) -> Scene:
    return Scene(nodes, guests, link(gigabits), Limits(**limits))


def sent(profile: Profile) -> float:
    """Bytes per second that leave a node at most."""
    return t.cast(int, profile.values[NUMBER]) * quantity(profile.values[BANDWIDTH]) * OVERSHOOT


scenes = st.builds(
    lambda nodes, gigabits, sizes, post_copy, converge: scene(
        *(guest(f"vm{number}", gib, rate, 0.3, f"n{number % nodes}") for number, (gib, rate) in enumerate(sizes)),
        nodes=nodes, gigabits=gigabits, post_copy=post_copy, auto_converge=converge, workload_disruption=post_copy,
    ),
    st.integers(1, 40), st.sampled_from([1, 10, 25, 100]), st.lists(st.tuples(st.sampled_from([1, 4, 16]), st.sampled_from([0, 20, 200, 900])), max_size=6),
    st.booleans(), st.booleans(),
)
consents = st.sets(st.sampled_from(["auto_converge", "post_copy"]))


@given(scenes, st.sampled_from(PROFILES), consents)
def test_every_number_has_its_reason_and_is_one_that_hyperconverged_takes(found: Scene, name: str, may: set[str]) -> None:
    profile = computed(name, found, may)
    assert set(profile.values) == set(profile.reasons)
    assert all(profile.reasons.values())
    assert len(checked(profile.values)) == len(profile.values)


@given(scenes, st.sampled_from(PROFILES), consents)
def test_applied_already_it_comes_to_the_same(found: Scene, name: str, may: set[str]) -> None:
    first = computed(name, found, may)
    applied = replace(found, limits=under(found.limits, first.values))
    again = computed(name, applied, may)
    assert again.values == first.values


@given(scenes)
def test_no_profile_takes_more_of_a_link_than_its_share(found: Scene) -> None:
    for name, share in ((BALANCED, 0.5), (FAST_WINDOW, 0.8), (HEAVY_WORKLOADS, 0.8), (GENTLE, 0.2)):
        assert sent(computed(name, found)) <= share * found.link.rate + MIB * 8 * OVERSHOOT


@pytest.mark.parametrize("name", PROFILES)
def test_nothing_that_disturbs_vms_is_switched_on_by_itself(name: str) -> None:
    profile = computed(name, scene(guest("busy", 16, 1500)))
    assert not {"allow_auto_converge", "allow_post_copy"} & set(profile.values)
    assert any("shop/busy would not get over" in note for note in profile.notes)


def test_heavy_workloads_switches_on_what_is_allowed_where_it_helps_and_nothing_else() -> None:
    busy = scene(guest("busy", 16, 1500))
    both = computed(HEAVY_WORKLOADS, busy, ["auto_converge", "post_copy"])
    assert both.values["allow_auto_converge"] is True
    assert "allow_post_copy" not in both.values
    post_copy = computed(HEAVY_WORKLOADS, busy, ["post_copy"])
    assert post_copy.values["allow_post_copy"] is True
    assert "the VM is lost" in post_copy.reasons["allow_post_copy"]
    assert "allow_auto_converge" not in computed(HEAVY_WORKLOADS, scene(guest("calm", 16, 5)), ["auto_converge"]).values


def test_faster_links_and_more_nodes_give_other_numbers() -> None:
    vms = [guest(f"vm{number}", 4) for number in range(20)]
    slow, fast = (computed(FAST_WINDOW, scene(*vms, gigabits=gigabits)) for gigabits in (1, 100))
    assert quantity(slow.values[BANDWIDTH]) < quantity(fast.values[BANDWIDTH])
    assert t.cast(int, slow.values[NUMBER]) < t.cast(int, fast.values[NUMBER])
    few, many = (computed(BALANCED, scene(*vms, nodes=nodes)).values["parallel_migrations_per_cluster"] for nodes in (3, 40))
    assert t.cast(int, few) < t.cast(int, many)


def test_a_busy_vm_gets_what_it_needs_at_the_expense_of_how_many_go_at_once() -> None:
    """Half of 10 Gbit/s for two is 298 MiB/s each."""
    calm = computed(BALANCED, scene(guest("calm", 16, 20)))
    busy = computed(BALANCED, scene(guest("busy", 16, 400)))
    assert (calm.values[NUMBER], busy.values[NUMBER]) == (2, 1)
    assert of_guest(guest("busy", 16, 400), under(Limits(), busy.values), link(10).rate).converges


def test_time_follows_from_the_slowest_vm_that_gets_over() -> None:
    found = computed(GENTLE, scene(guest("slow", 64, 20), gigabits=1))
    assert t.cast(int, found.values["completion_timeout_per_gib"]) > 150
    assert "shop/slow" in found.reasons["completion_timeout_per_gib"]
    assert computed(GENTLE, scene(guest("calm", 1))).values["completion_timeout_per_gib"] == 150


def test_a_network_of_its_own_is_used_whole() -> None:
    vms = [guest(f"vm{number}", 4) for number in range(4)]
    shared, own = (computed(FAST_WINDOW, scene(*vms, network=network)) for network in ("", "fast"))
    assert sent(own) > sent(shared)
    assert "fast is for migrations alone" in own.reasons[BANDWIDTH]


def test_an_empty_cluster_has_its_numbers_too() -> None:
    for name in PROFILES:
        assert computed(name, scene(nodes=0)).values[NUMBER]


def test_the_slowest_come_first_and_those_that_do_not_get_over_before_them() -> None:
    guests = [guest(f"vm{number}", 1 + number) for number in range(8)] + [guest("busy", 1, 2000)]
    found = slowest(scene(*guests), Limits(bandwidth="64Mi"))
    assert [one["name"] for one in found] == ["busy", "vm7", "vm6", "vm5", "vm4"]
    assert found[0]["remedies"]
    assert found[0]["after"]["outcome"] == "given_up"
    assert found[1]["before"]["seconds"] < found[1]["after"]["seconds"]
