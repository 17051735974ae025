# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a load is known from, and which settings hold for a VM."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import OptionError
from ansible_collections.okd.virt.plugins.module_utils._migrations.guests import (
    ALL_IN_USE,
    WRITES_EVERYWHERE,
    WRITES_LITTLE,
    Said,
    given_loads,
    guest_of,
    nonsense,
)
from ansible_collections.okd.virt.plugins.module_utils._migrations.limits import Limits

Json = dict[str, t.Any]
GIB, MIB = 2**30, 2**20
KEY = ("shop", "vm")


def vmi(annotations: Json | None = None, **resources: t.Any) -> Json:
    metadata = {"namespace": "shop", "name": "vm", "labels": {"app": "db"}, "annotations": annotations}
    return {"metadata": metadata, "spec": {"domain": {"memory": {"guest": "4Gi"}, "resources": resources}}, "status": {"nodeName": "a"}}


def test_each_number_from_whoever_says_it_first() -> None:
    machines = {KEY: {"okd.virt/dirty-rate": "1Mi", "okd.virt/working-set": "64Mi", "okd.virt/non-zero": "3Gi"}}
    annotations = {"okd.virt/dirty-rate": "2Mi", "okd.virt/working-set": "128Mi"}
    found = guest_of(vmi(annotations), Said({KEY: {"dirty_rate": 3.0 * MIB}}, machines))
    assert (found.load.dirty_rate, found.load.working_set, found.load.non_zero) == (3 * MIB, 128 * MIB, 3 * GIB)
    assert (found.source, found.assumptions, found.node) == ("option", (), "a")
    assert guest_of(vmi(annotations), Said(machines=machines)).source == guest_of(vmi(), Said(machines=machines)).source == "annotation"


def test_what_nobody_says_is_assumed_and_said() -> None:
    found = guest_of(vmi())
    assert (found.load.memory, found.load.non_zero, found.load.dirty_rate) == (4 * GIB, 4 * GIB, 0)
    assert (found.source, found.assumptions) == ("assumption", (ALL_IN_USE, WRITES_LITTLE))
    everywhere = guest_of(vmi({"okd.virt/dirty-rate": "2Mi", "okd.virt/non-zero": "1Gi"}))
    assert everywhere.load.working_set == GIB
    assert everywhere.assumptions == (WRITES_EVERYWHERE,)


def test_numbers_that_contradict_the_guest_or_one_another() -> None:
    large = guest_of(vmi({"okd.virt/dirty-rate": "2Mi", "okd.virt/working-set": "9Gi", "okd.virt/non-zero": "1Gi"})).load
    assert (large.working_set, large.non_zero) == (4 * GIB, 4 * GIB)


def test_an_annotation_that_can_not_be_read_is_said() -> None:
    broken = vmi({"okd.virt/dirty-rate": "a lot", "other": "x"})
    assert guest_of(broken).source == "assumption"
    assert [text.partition(":")[0] for text in nonsense(broken)] == ["VM shop/vm"]
    assert not nonsense(vmi({"okd.virt/dirty-rate": "200Mi"}))


def test_a_limit_on_its_cpu_means_one_connection() -> None:
    assert guest_of(vmi(limits={"cpu": "2"})).one_channel
    assert not guest_of(vmi(requests={"cpu": "2"})).one_channel


def test_the_policy_that_holds_for_it() -> None:
    spec = {"selectors": {"virtualMachineInstanceSelector": {"app": "db"}}, "bandwidthPerMigration": "8Mi", "allowPostCopy": True}
    found = guest_of(vmi(), Said(policies=[{"metadata": {"name": "db"}, "spec": spec}]))
    known = Limits(bandwidth="1Gi", completion_seconds_per_gib=7)
    held = found.limits(known)
    assert (held.bandwidth, held.completion_seconds_per_gib, held.post_copy, held.workload_disruption) == ("8Mi", 7, True, True)
    assert guest_of(vmi()).limits(known) == known


@pytest.mark.parametrize(("entries", "sentence"), [
    ([{"namespace": "shop", "name": "vm"}], "give one of"),
    ([{"namespace": "shop", "name": "vm", "dirty_rate": "much"}], "no quantity of bytes"),
    ([{"namespace": "shop", "name": "vm", "dirty_rate": "1Mi"}] * 2, "listed twice"),
])
def test_loads_that_make_no_sense(entries: list[Json], sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        given_loads(entries)
