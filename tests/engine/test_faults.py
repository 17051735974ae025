# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on demand over HTTP: who may set them, what they do to clients, and that they end."""
from __future__ import annotations

import datetime
import time
import typing as t
from collections.abc import Callable

import pytest
import urllib3

from ..support.api import MERGE_PATCH, Api
from .waiting import eventually

FAULTS = "/engine.okd.virt/v1/faults"
NODES = "/api/v1/nodes"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
VMIS = "/apis/kubevirt.io/v1/namespaces/shop/virtualmachineinstances"
VMIMS = "/apis/kubevirt.io/v1/namespaces/shop/virtualmachineinstancemigrations"


@pytest.fixture
def api(start: Callable[..., Api]) -> Api:
    return start(speed="max")


def config_map(name: str) -> dict[str, t.Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def test_who_may(api: Api) -> None:
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        assert api.request(method, FAULTS, {} if method in ("PUT", "PATCH") else None, user="somebody").status == 403
    assert api.get(FAULTS) == {}
    assert api.request("POST", FAULTS, {}).status == 405


@pytest.mark.parametrize(("wrong", "field"), [
    ({"rule": []}, "rule"),
    ({"rules": [{"answer": "418"}]}, "rules[0].answer"),
    ({"rules": [{"answer": "500", "rate": 1.5}]}, "rules[0].rate"),
    ({"rules": [{"answer": "500", "verbs": ["write"]}]}, "rules[0].verbs"),
    ({"rules": [{"answer": "429", "retryAfterSeconds": 0.5}]}, "rules[0].retryAfterSeconds"),
    ({"rules": ["500"]}, "rules[0]"),
    ({"lostNodes": ["nowhere"]}, "lostNodes"),
    ({"dropWatches": 0.1}, "dropWatches"),
    ({"clockSkew": {"node01": "1h"}}, "clockSkew.node01"),
    ({"clockSkew": {"nowhere": 1}}, "clockSkew"),
    ({"clockSkew": 5}, "clockSkew"),
    ({"crashGuests": ["shop/nobody"]}, "crashGuests"),
    ({"refuseWrites": "yes"}, "refuseWrites"),
    ({"seed": -1}, "seed"),
    ([], "(all)"),
])
def test_what_cannot_be_is_named_and_changes_nothing(shared: Api, wrong: object, field: str) -> None:
    before = shared.get(FAULTS)
    refused = shared.expect(422, "PUT", FAULTS, wrong)
    assert refused["message"].startswith(f"faults: {field}: ")
    assert refused["details"]["causes"][0]["field"] == field
    assert shared.expect(400, "PUT", FAULTS, b"{")["message"].startswith("faults: the body is no JSON")
    assert shared.get(FAULTS) == before


@pytest.fixture(name="shared")
def shared_api(admin: Api) -> Api:
    return admin


def test_answers_by_verb_resource_and_user_until_they_end(api: Api) -> None:
    api.expect(200, "PUT", FAULTS, {"rules": [
        {"answer": "429", "retryAfterSeconds": 7, "verbs": ["list"], "resources": ["nodes"]},
        {"answer": "503", "users": ["system:admin-2"]},
        {"answer": "500", "verbs": ["create"], "resources": ["configmaps"]},
        {"answer": "reset", "resources": ["secrets"]},
        {"answer": "slow", "seconds": 0.5, "resources": ["services"]},
    ]})
    busy = api.request("GET", NODES)
    assert (busy.status, busy.body["reason"], busy.headers["Retry-After"]) == (429, "TooManyRequests", "7")
    assert api.request("GET", f"{NODES}/node01").status == 200
    assert api.request("GET", CONFIG_MAPS, user="system:admin-2", groups=["system:masters"]).status == 503
    assert api.request("POST", CONFIG_MAPS, config_map("one")).status == 500
    with pytest.raises(urllib3.exceptions.ProtocolError):
        api.request("GET", "/api/v1/secrets")
    began = time.monotonic()
    assert api.request("GET", "/api/v1/services").status == 200
    assert time.monotonic() - began >= 0.5
    assert api.expect(200, "DELETE", FAULTS) == {}
    for path in (NODES, "/api/v1/secrets"):
        assert api.request("GET", path).status == 200
    api.expect(201, "POST", CONFIG_MAPS, config_map("one"))


def test_a_rate_is_the_same_for_the_same_seed(api: Api) -> None:
    drawn = []
    for _again in range(2):
        api.expect(200, "PUT", FAULTS, {"seed": 7, "rules": [{"answer": "500", "rate": 0.5, "users": ["drawn"]}]})
        drawn.append([api.request("GET", NODES, user="drawn", groups=["system:masters"]).status for _number in range(40)])
    assert drawn[0] == drawn[1]
    assert 8 <= drawn[0].count(500) <= 32


def test_refused_writes_and_a_patch_that_ends_them(api: Api) -> None:
    api.expect(200, "PUT", FAULTS, {"refuseWrites": True, "seed": 3})
    api.expect(503, "POST", CONFIG_MAPS, config_map("two"))
    assert api.request("GET", NODES).status == 200
    assert api.expect(200, "PATCH", FAULTS, {"refuseWrites": None}, content_type=MERGE_PATCH) == {"seed": 3}
    api.expect(201, "POST", CONFIG_MAPS, config_map("two"))


def test_expired_versions(api: Api) -> None:
    version = api.get(CONFIG_MAPS)["metadata"]["resourceVersion"]
    api.expect(201, "POST", CONFIG_MAPS, config_map("three"))
    assert api.expect(200, "PATCH", FAULTS, {"expireVersions": True}, content_type=MERGE_PATCH) == {}
    gone = api.request("GET", f"{CONFIG_MAPS}?watch=1&timeoutSeconds=1&resourceVersion={version}")
    assert "too old resource version" in str(gone.body)


def test_watches_are_cut(api: Api) -> None:
    watch = api._pool.request("GET", f"{api.url}{NODES}?watch=1&timeoutSeconds=30", headers={}, preload_content=False)
    assert watch.status == 200
    frames = watch.stream(64)
    next(frames)
    assert api.expect(200, "PATCH", FAULTS, {"dropWatches": True}, content_type=MERGE_PATCH) == {}
    with pytest.raises(urllib3.exceptions.HTTPError):
        list(frames)


def test_a_lost_node_comes_back(api: Api) -> None:
    def ready() -> str:
        conditions = api.get(f"{NODES}/node01")["status"]["conditions"]
        return next(str(one["status"]) for one in conditions if one["type"] == "Ready")

    api.expect(200, "PUT", FAULTS, {"lostNodes": ["node01"]})
    eventually(lambda: ready() == "Unknown")
    api.expect(200, "DELETE", FAULTS)
    eventually(lambda: ready() == "True")


def test_a_migration_succeeds_although_controllers_meet_faults(api: Api) -> None:
    user = "system:serviceaccount:kubevirt-hyperconverged:kubevirt-controller"
    rules = [{"answer": answer, "rate": 0.05, "users": [user]} for answer in ("429", "500", "503", "reset")]
    api.expect(200, "PUT", FAULTS, {"controllers": True, "rules": rules})
    body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration", "metadata": {"name": "move"}, "spec": {"vmiName": "vm-1"}}
    api.expect(201, "POST", VMIMS, body)
    eventually(lambda: (api.get(f"{VMIMS}/move").get("status") or {}).get("phase") == "Succeeded")


def test_watches_are_cut_again_and_again(api: Api) -> None:
    api.expect(200, "PUT", FAULTS, {"dropWatches": 1})
    for _again in range(2):
        began = time.monotonic()
        watch = api._pool.request("GET", f"{api.url}{CONFIG_MAPS}?watch=1&timeoutSeconds=30", headers={}, preload_content=False)
        with pytest.raises(urllib3.exceptions.HTTPError):
            list(watch.stream(64))
        assert time.monotonic() - began < 20


def test_a_guest_crashes_and_its_machine_starts_it_again(api: Api) -> None:
    vmi = f"{VMIS}/vm-1"
    before = api.get(vmi)
    assert api.expect(200, "PATCH", FAULTS, {"crashGuests": ["shop/vm-1"]}, content_type=MERGE_PATCH) == {}

    def again() -> bool:
        found = api.request("GET", vmi)
        return found.status == 200 and found.body["metadata"]["uid"] != before["metadata"]["uid"] and found.body["status"].get("phase") == "Running"

    eventually(again)
    events = api.items(f"/api/v1/namespaces/shop/events?fieldSelector=involvedObject.uid={before['metadata']['uid']}")
    assert "The VirtualMachineInstance crashed." in {event["message"] for event in events}


def test_a_node_whose_clock_is_slow_is_taken_for_silent(api: Api) -> None:
    """Its heartbeats are old when they are written."""
    def node() -> dict[str, t.Any]:
        found: dict[str, t.Any] = api.get(f"{NODES}/node01")["metadata"]
        return found

    api.expect(200, "PUT", FAULTS, {"clockSkew": {"node01": -400}})
    for wanted in ({"lostNodes": ["node01"]}, {"lostNodes": None}):
        # A node that boots beats at once.
        api.expect(200, "PATCH", FAULTS, wanted, content_type=MERGE_PATCH)
    eventually(lambda: node()["labels"]["kubevirt.io/schedulable"] == "false")
    beat, now = (datetime.datetime.fromisoformat(text) for text in (
        node()["annotations"]["kubevirt.io/heartbeat"],
        api.expect(201, "POST", CONFIG_MAPS, config_map("now"))["metadata"]["creationTimestamp"],
    ))
    assert (now - beat).total_seconds() >= 400


def test_a_node_that_is_deleted_while_faults_are_set_for_it_is_not_in_their_way(api: Api) -> None:
    api.expect(200, "PUT", FAULTS, {"lostNodes": ["node01"], "clockSkew": {"node02": 5}})
    for node in ("node01", "node02"):
        api.expect(200, "DELETE", f"{NODES}/{node}")
    assert api.expect(200, "PATCH", FAULTS, {"seed": 3}, content_type=MERGE_PATCH) == {"lostNodes": ["node01"], "clockSkew": {"node02": 5}, "seed": 3}


def test_a_target_that_never_comes_up_is_given_up(api: Api) -> None:
    marked = {"metadata": {"annotations": {"engine.okd.virt/hang-start": "true"}}}
    # What an owner says on the machine's template is on the instance; here on the instance alone, so that only its targets hang.
    api.expect(200, "PATCH", f"{VMIS}/vm-1", marked, content_type=MERGE_PATCH)
    body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration", "metadata": {"name": "move"}, "spec": {"vmiName": "vm-1"}}
    api.expect(201, "POST", VMIMS, body)
    eventually(lambda: (api.get(f"{VMIMS}/move").get("status") or {}).get("phase") == "Failed")
    events = {event["message"] for event in api.items("/api/v1/namespaces/shop/events?fieldSelector=involvedObject.name=move")}
    assert any(text.startswith("pending pod shop/virt-launcher-vm-1-") for text in events)
    assert api.get(f"{VMIS}/vm-1")["status"]["phase"] == "Running"
