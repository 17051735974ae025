# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes are drained in turn while answers fail, alerts fire, time runs out, and people step in."""

from __future__ import annotations

import datetime
import json
import threading
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import OptionError, VirtError
from ansible_collections.okd.virt.plugins.module_utils.drain.draining import DrainIncomplete
from ansible_collections.okd.virt.plugins.module_utils.drain.turns import STILL_TO_COME

from ..conftest import EngineFactory
from ..support.api import MERGE_PATCH
from .rolling_site import FAULTS, VMIMS, VMIS, Site, a_site, eventually

THREE: dict[str, t.Any] = {"machine_config_pool": None, "names": ["node0001", "node0002", "node0003"]}
MONITORING = "/api/v1/namespaces/monitoring"
ALERTMANAGER = f"{MONITORING}/services/http:alertmanager-main:9093/proxy"


@pytest.fixture(scope="module")
def site(fresh_engine: EngineFactory) -> Site:
    return a_site(fresh_engine)


def in_seconds(seconds: float) -> str:
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).isoformat()


def slow(site: Site, seconds: str | None) -> None:
    for vmi in site.api.items(VMIS):
        site.annotate(vmi, copy_seconds=seconds)


def unfinished(site: Site) -> list[dict[str, t.Any]]:
    return [one for one in site.api.items(VMIMS) if (one.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]


def is_to_come(site: Site, name: str) -> bool:
    return any(taint["key"] == STILL_TO_COME for taint in site.node(name)["spec"].get("taints") or ())


def test_on_paper_all_nodes_have_their_turn_within_the_spare_memory(site: Site) -> None:
    planned = site.roll(check=True, max_parallel=3)
    order = planned.result["order"]
    assert {one["name"] for one in order} == {f"node000{number}" for number in range(1, 6)}
    assert [one["begins"] for one in order] == sorted(one["begins"] for one in order)
    assert all(one["ends"] >= one["begins"] and len(one["beside"]) < 3 for one in order)
    assert all(one["spare_memory"]["after_bytes"] >= 0 for one in order)
    assert sum(one["vms"] for one in order) >= 30
    assert planned.result["expected"]["seconds"] == max(one["ends"] for one in order)
    assert planned.result["expected"]["assumptions"]
    assert planned.result["spare_memory"]["rule_holds"]
    assert planned.lines[0].startswith(f"{order[0]['name']}: 0 to ")
    assert "All of it is expected to take" in planned.lines[-1]
    assert site.is_clean()


def test_the_order_on_paper_is_the_order_of_the_run(site: Site) -> None:
    planned = site.roll(check=True)
    done = site.roll()
    begun = [one["node"] for one in done.timeline if "its turn has come" in one["event"]]
    # The scheduler, not the plan, says where VMs go: only the first turn is sure.
    assert begun[0] == planned.result["order"][0]["name"]
    assert set(begun) == {one["name"] for one in planned.result["order"]}


def test_what_cannot_be_emptied_is_reported_whole(site: Site) -> None:
    pod = site.lone_pod("node0001")
    try:
        planned = site.roll(check=True, evict_uncontrolled=False, max_quarantined=1)
        (aside,) = planned.result["quarantined"]
        assert (aside["name"], aside["code"]) == ("node0001", "cannot_leave")
        assert "default/lone" in aside["reason"]
        assert "evict_uncontrolled" in aside["reason"]
        assert any(line.startswith("node0001: put aside") for line in planned.lines)
        assert "node0001" not in {one["name"] for one in planned.result["order"]}
    finally:
        site.api.expect(200, "DELETE", pod)


def test_answers_that_fail_and_watches_that_end(site: Site) -> None:
    """A fifth of all answers is a fault, and every watch ends after a moment."""
    before = site.vms()
    rules = [{"answer": answer, "rate": 0.05, "users": ["kubernetes-admin"]} for answer in ("429", "500", "503", "reset")]
    site.api.expect(200, "PUT", FAULTS, {"rules": rules, "dropWatches": 240, "seed": 419})
    try:
        done = site.roll(**THREE, max_parallel=2, deadline=300)
    finally:
        eventually(lambda: site.api.request("DELETE", FAULTS).status == 200)
    assert done.summary["drained"] == 3
    assert set(site.vms()) == set(before)
    assert {moved["attempt"] for one in done.result["nodes"] for moved in one.get("moved", ())} <= {1}
    assert site.is_clean()


def test_the_first_node_is_not_begun_either_when_it_would_end_too_late(site: Site) -> None:
    """Before anything was measured the plan's expectation counts."""
    error = site.fails(**THREE, end_by=in_seconds(25))
    assert error.details["code"] == "not_done"
    assert {one["code"] for one in error.details["nodes"]} == {"window"}
    assert "is expected to take" in error.message
    assert not error.details["actions"]
    assert site.is_clean()
    with pytest.raises(VirtError, match="would not be done by"):
        site.roll(**THREE, end_by=in_seconds(600), site_time=900)
    assert site.roll(**THREE, end_by=in_seconds(900)).summary["drained"] == 3


def test_a_drain_that_is_cancelled_is_not_begun_again(site: Site) -> None:
    """Somebody stops the whole pool while the first node is being emptied."""
    slow(site, "1200")
    caught: list[VirtError] = []
    worker = threading.Thread(target=lambda: caught.append(site.fails(**THREE)))
    worker.start()
    try:
        eventually(lambda: any((one.get("status") or {}).get("phase") == "Running" for one in unfinished(site)))
        before = site.vms()
        cancelled = site.verbs("node_drain", names=THREE["names"], state="evacuation_cancelled", take_over=True)
        assert cancelled.changed
        worker.join(60)
        assert not worker.is_alive()
        assert isinstance(caught[0], DrainIncomplete)
        # A node without VMs may have been done by then.
        codes = [one["code"] for one in caught[0].details["nodes"] if one["state"] != "done"]
        assert codes
        assert set(codes) == {"lost"}
        assert "cancelled" in caught[0].message
        assert not unfinished(site)
        assert site.vms() == before
        assert site.is_clean()
    finally:
        slow(site, None)


def test_a_node_that_somebody_else_has_is_left_to_them_and_the_others_go_on(site: Site) -> None:
    """Taken after the plan was made."""
    slow(site, "600")
    caught: list[VirtError] = []
    worker = threading.Thread(target=lambda: caught.append(site.fails(**THREE)))
    worker.start()
    try:
        eventually(lambda: unfinished(site))
        # One without VMs may be done, and given back, by now; the one that is being drained is cordoned.
        name = next(one for one in THREE["names"] if is_to_come(site, one) and not site.cordoned(one))
        claim = {"run": "r", "holder": "olga on elsewhere", "host": "e", "process": "1/1", "began": "2099-01-01T00:00:00Z", "renewed": "2099-01-01T00:00:00Z"}
        patch = {"metadata": {"annotations": {"okd.virt/drain": json.dumps(claim)}}}
        site.api.expect(200, "PATCH", f"/api/v1/nodes/{name}", patch, content_type=MERGE_PATCH)
        slow(site, None)
        worker.join(100)
        assert not worker.is_alive()
        assert {one["name"]: one.get("code") for one in caught[0].details["nodes"]}[name] == "held"
        assert caught[0].details["summary"]["drained"] == 2
        assert "olga" in caught[0].message
        assert not site.cordoned(name)
    finally:
        slow(site, None)
        worker.join(100)
        site.verbs("node_drain", names=THREE["names"], state="evacuation_cancelled", take_over=True)
    assert site.is_clean()


def alerts(site: Site, *names: str, severity: str = "critical") -> None:
    """What the Alertmanager says."""
    text = json.dumps([{"labels": {"alertname": name, "severity": severity}, "status": {"state": "active"}} for name in names])
    site.api.expect(200, "PATCH", f"{MONITORING}/configmaps/alerts", {"data": {"api.v2.alerts": text}}, content_type=MERGE_PATCH)


@pytest.fixture(scope="module")
def alertmanager(site: Site) -> str:
    """The path of one that the API server reaches."""
    site.api.expect(201, "POST", "/api/v1/namespaces", {"metadata": {"name": "monitoring"}})
    site.api.expect(201, "POST", f"{MONITORING}/configmaps", {"metadata": {"name": "alerts"}})
    marks = {"alertmanager-main": {"engine.okd.virt/answers": "alerts"}, "guarded": {"engine.okd.virt/wants-login": "true"}, "none": {}}
    for name, marked in marks.items():
        body = {"metadata": {"name": name, "annotations": marked}, "spec": {"ports": [{"port": 9093}]}}
        site.api.expect(201, "POST", f"{MONITORING}/services", body)
    return ALERTMANAGER


def test_an_alert_holds_back_and_nodes_begin_when_it_is_over(site: Site, alertmanager: str) -> None:
    alerts(site, "KubeVirtDown")
    error = site.fails(**THREE, stop_on_alerts={"path": alertmanager}, deadline=3)
    assert error.details["summary"]["drained"] == 0
    assert "alerts fire: KubeVirtDown (critical)" in error.details["nodes"][0].get("reason", "") + error.message
    assert site.is_clean()
    done = site.roll(**THREE, stop_on_alerts={"path": alertmanager, "ignore": ["KubeVirtDown"]})
    assert done.summary["drained"] == 3
    alerts(site, "VMCannotBeEvicted", severity="warning")
    assert site.roll(**THREE, stop_on_alerts={"path": alertmanager}).summary["drained"] == 3
    assert "VMCannotBeEvicted (warning)" in site.fails(**THREE, stop_on_alerts={"path": alertmanager, "names": ["VMCannotBeEvicted"]}, deadline=3).message


@pytest.mark.parametrize(("service", "said"), [
    ("guarded", "asks for a login of its own"), ("none", "no endpoints available"), ("nowhere", "not found"),
    ("alertmanager-main:9093/proxy/x", "can't be read"),
])
def test_alerts_that_cannot_be_read_hold_back_too(site: Site, alertmanager: str, service: str, said: str) -> None:
    path = f"{MONITORING}/services/{service}" + ("" if "/" in service else ":9093/proxy")
    error = site.fails(**THREE, stop_on_alerts={"path": path}, deadline=3)
    assert said in error.message
    assert site.is_clean()


def test_a_path_of_alerts_that_is_none(site: Site) -> None:
    with pytest.raises(OptionError, match=r"stop_on_alerts\.path"):
        site.roll(**THREE, stop_on_alerts={"path": "https://alertmanager.example"})
