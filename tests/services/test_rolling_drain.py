# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of a generated cluster are drained in turn."""

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import OptionError, PreconditionFailed
from ansible_collections.okd.virt.plugins.module_utils.drain.draining import DrainIncomplete

from ..conftest import EngineFactory
from ..support.api import MERGE_PATCH
from .rolling_site import Site, a_site

POOL = "/apis/machineconfiguration.openshift.io/v1/machineconfigpools/worker"


@pytest.fixture(scope="module")
def site(fresh_engine: EngineFactory) -> Site:
    return a_site(fresh_engine)


def test_all_nodes_of_a_pool_in_turn(site: Site) -> None:
    before = site.vms()
    planned = site.roll(check=True)
    assert planned.summary["to_drain"] == 5
    done = site.roll()
    assert done.changed
    assert done.summary["drained"] == 5
    assert {one["state"] for one in done.result["nodes"]} == {"done"}
    assert set(site.vms()) == set(before)
    assert site.is_clean()
    # The first node's VMs have nowhere to go but to nodes that are to come.
    assert done.summary["vms_moved"] <= 30 * 1.5


def test_what_the_pool_allows_holds_unless_asked_otherwise(site: Site) -> None:
    site.api.expect(200, "PATCH", POOL, {"spec": {"maxUnavailable": "40%"}}, content_type=MERGE_PATCH)
    assert "2 at a time at most" in site.roll(check=True).msg
    assert "1 at a time at most" in site.roll(check=True, max_parallel=1).msg
    site.api.expect(200, "PATCH", POOL, {"spec": {"maxUnavailable": None}}, content_type=MERGE_PATCH)


def test_a_node_that_cannot_be_emptied_is_put_aside_and_the_next_run_takes_up_the_rest(site: Site) -> None:
    nodes = {"names": ["node0001", "node0002"], "machine_config_pool": None, "evict_uncontrolled": False}
    pod = site.lone_pod("node0001")
    refused = site.fails(**nodes)
    assert isinstance(refused, PreconditionFailed)
    assert "max_quarantined is 0" in refused.message
    assert site.is_clean()
    error = site.fails(**nodes, max_quarantined=1)
    assert isinstance(error, DrainIncomplete)
    assert error.details["code"] == "quarantined"
    assert "evict_uncontrolled" in error.message
    assert {one["name"]: one["state"] for one in error.details["nodes"]} == {"node0001": "quarantined", "node0002": "done"}
    site.api.expect(200, "DELETE", pod)
    rest = site.roll(**nodes)
    assert rest.summary["drained"] == 2
    assert [one["name"] for one in rest.result["nodes"] if "moved" in one] == ["node0001"]
    assert site.is_clean()


def test_health_holds_back_and_a_window_closes(site: Site) -> None:
    pool = {"kind": "MachineConfigPool", "api_version": "machineconfiguration.openshift.io/v1", "name": "worker"}
    gate = {**pool, "query": "spec.paused", "sentence": "not paused"}
    error = site.fails(health=[gate], deadline=3)
    assert error.details["code"] == "not_done"
    assert "not paused" in error.message or "time of 3 s" in error.message
    assert error.details["summary"]["drained"] == 0
    past = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)).isoformat()
    assert "would not be done by" in site.fails(end_by=past).message
    assert site.is_clean()
    holds = {**pool, "query": "spec.paused == `false`"}
    assert site.roll(health=[holds], machine_config_pool=None, names=["node0001"]).summary["drained"] == 1


@pytest.mark.parametrize(("options", "said"), [
    ({"end_by": "soon"}, "no time such as"), ({"end_by": "2026-05-01T04:00:00"}, "offset from UTC"), ({"max_parallel": 0}, "max_parallel is 0"),
    ({"health": [{"kind": "Node", "query": "a["}]}, "health\\[0\\].query is no JMESPath"),
    ({"machine_config_pool": "nothing"}, "no MachineConfigPool nothing"),
])
def test_what_cannot_be(site: Site, options: dict[str, t.Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        site.roll(**options)
    assert site.is_clean()
