# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists that agree with each other page by page, and watches that miss nothing."""
from __future__ import annotations

import json
import threading
import time
import typing as t

import pytest

from ..support.api import MERGE_PATCH, Api
from .waiting import config_map


@pytest.fixture
def maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def names(listed: dict[str, t.Any]) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


def test_pages_show_one_moment(admin: Api, maps: str) -> None:
    for number in range(7):
        admin.expect(201, "POST", maps, config_map(f"l{number}", labels={"page": "1"}))
    selected = f"{maps}?labelSelector=page%3D1&limit=3"
    first = admin.get(selected)
    assert "remainingItemCount" not in first["metadata"]
    admin.expect(201, "POST", maps, config_map("l00", labels={"page": "1"}))
    admin.expect(200, "DELETE", f"{maps}/l6")
    second = admin.get(f"{selected}&continue={first['metadata']['continue']}")
    third = admin.get(f"{selected}&continue={second['metadata']['continue']}")
    assert names(first) + names(second) + names(third) == [f"l{number}" for number in range(7)]
    assert {page["metadata"]["resourceVersion"] for page in (first, second, third)} == {first["metadata"]["resourceVersion"]}
    assert "continue" not in third["metadata"]
    assert admin.get(f"{maps}?limit=2")["metadata"]["remainingItemCount"] == 6
    exact = admin.get(f"{maps}?labelSelector=page%3D1&resourceVersion={first['metadata']['resourceVersion']}&resourceVersionMatch=Exact")
    assert names(exact) == [f"l{number}" for number in range(7)]


def keys(listed: dict[str, t.Any]) -> list[tuple[str, str]]:
    return [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in listed["items"]]


def test_pages_of_all_namespaces_are_complete(admin: Api) -> None:
    accounts = "/api/v1/serviceaccounts"
    page = admin.get(f"{accounts}?limit=4")
    version, paged = page["metadata"]["resourceVersion"], keys(page)
    while token := page["metadata"].get("continue", ""):
        page = admin.get(f"{accounts}?limit=4&continue={token}")
        assert page["metadata"]["resourceVersion"] == version
        paged += keys(page)
    # The same moment in one piece: namespaces of other tests still come and go.
    everything = keys(admin.get(f"{accounts}?resourceVersion={version}&resourceVersionMatch=Exact"))
    # The order of the keys, in which a slash comes after a dash.
    assert paged == everything == sorted(everything, key="/".join)
    assert len(everything) > 4


def watched(admin: Api, path: str, changes: t.Callable[[], None]) -> list[tuple[str, dict[str, t.Any]]]:
    """What a watch of two seconds shows of changes made while it is open."""
    worker = threading.Timer(0.3, changes)
    worker.start()
    events = [(event["type"], event["object"]) for event in admin.stream(path)]
    worker.join()
    return events


def test_a_watch_shows_every_change_from_its_version_on(admin: Api, maps: str) -> None:
    version = admin.get(maps)["metadata"]["resourceVersion"]

    def changes() -> None:
        admin.expect(201, "POST", maps, config_map("w1"))
        admin.expect(200, "PATCH", f"{maps}/w1", {"data": {"k": "2"}}, content_type=MERGE_PATCH)
        admin.expect(200, "DELETE", f"{maps}/w1")

    events = watched(admin, f"{maps}?watch=true&resourceVersion={version}&timeoutSeconds=2", changes)
    assert [kind for kind, _obj in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(obj["metadata"]["resourceVersion"]) for _kind, obj in events]
    assert versions == sorted(versions)
    assert versions[0] > int(version)
    # The same again from the middle: nothing is missing and nothing comes twice.
    again = watched(admin, f"{maps}?watch=true&resourceVersion={versions[0]}&timeoutSeconds=1", lambda: None)
    assert again == events[1:]


def test_an_object_that_leaves_the_selection_is_deleted_to_the_watch(admin: Api, maps: str) -> None:
    def changes() -> None:
        admin.expect(201, "POST", maps, config_map("w1", labels={"w": "1"}))
        admin.expect(200, "PATCH", f"{maps}/w1", {"metadata": {"labels": {"w": "2"}}}, content_type=MERGE_PATCH)
        admin.expect(200, "PATCH", f"{maps}/w1", {"data": {"k": "unseen"}}, content_type=MERGE_PATCH)
        admin.expect(200, "PATCH", f"{maps}/w1", {"metadata": {"labels": {"w": "1"}}}, content_type=MERGE_PATCH)
        admin.expect(200, "DELETE", f"{maps}/w1")

    events = watched(admin, f"{maps}?watch=true&labelSelector=w%3D1&timeoutSeconds=2", changes)
    assert [(kind, obj["metadata"]["labels"]["w"]) for kind, obj in events] == [
        ("ADDED", "1"), ("DELETED", "1"), ("ADDED", "1"), ("DELETED", "1"),
    ]


def test_initial_events_end_with_a_bookmark(admin: Api, maps: str) -> None:
    admin.expect(201, "POST", maps, config_map("a"))
    query = "watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1"
    events = [(event["type"], event["object"]) for event in admin.stream(f"{maps}?{query}")]
    assert [kind for kind, _obj in events] == ["ADDED", "ADDED", "BOOKMARK"]
    assert events[-1][1]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert events[-1][1]["kind"] == "ConfigMap"


def test_a_bookmark_comes_before_the_end(admin: Api, maps: str) -> None:
    version = admin.get(maps)["metadata"]["resourceVersion"]
    path = f"{maps}?watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds=3&labelSelector=nope"
    started = time.monotonic()
    events = [event["type"] for event in admin.stream(path)]
    assert events == ["BOOKMARK"]
    assert 2.5 < time.monotonic() - started < 10


def test_a_version_that_is_too_old_is_told_in_the_stream(admin: Api, maps: str) -> None:
    (event,) = list(admin.stream(f"{maps}?watch=true&resourceVersion=1&timeoutSeconds=2"))
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert event["object"]["message"].startswith("too old resource version: 1 (")


def test_a_watch_from_the_future_waits_for_it(admin: Api, maps: str) -> None:
    version = int(admin.get(maps)["metadata"]["resourceVersion"])

    def changes() -> None:
        admin.expect(201, "POST", maps, config_map("w1"))

    assert watched(admin, f"{maps}?watch=true&resourceVersion={version + 100_000}&timeoutSeconds=1", changes) == []
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1"
    (event,) = list(admin.stream(f"{maps}?{query}&resourceVersion={version + 100_000}"))
    assert (event["type"], event["object"]["code"]) == ("ERROR", 504)


def test_bad_options_are_told_at_once(admin: Api, maps: str) -> None:
    assert admin.expect(400, "GET", f"{maps}?limit=abc")["message"] == 'strconv.ParseInt: parsing "abc": invalid syntax'
    assert admin.expect(400, "GET", f"{maps}?continue=abc")["reason"] == "BadRequest"
    future = admin.expect(504, "GET", f"{maps}?resourceVersion=999999999")
    assert future["message"].startswith("Timeout: Too large resource version: 999999999, current: ")
    refused = admin.expect(400, "GET", f"{maps}?includeObject=Nope", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert refused["message"] == (
        'Unable to convert to Table as requested: includeObject: Unsupported value: "Nope": supported values: "Metadata", "None", "Object", ""'
    )
    refused = admin.expect(422, "GET", f"{maps}?watch=true&sendInitialEvents=true&timeoutSeconds=1")
    assert "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan" in refused["message"]


def test_what_is_listed_is_what_is_got(admin: Api, maps: str) -> None:
    admin.expect(201, "POST", maps, config_map("a", {"text": "ümläut \u2028 \"quoted\""}))
    listed = next(item for item in admin.items(maps) if item["metadata"]["name"] == "a")
    got = admin.get(f"{maps}/a")
    assert {**listed, "kind": "ConfigMap", "apiVersion": "v1"} == got
    assert "kind" not in listed
    assert json.loads(json.dumps(got)) == got
