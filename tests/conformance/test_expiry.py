# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions that were forgotten, in the order of the recorded cases, which were made around a compaction."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine import errors
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver import reading
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.identity import UserInfo
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.request import Query, RequestInfo
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.resources import Call, list_object
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.watching import Watch
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kinds import Registry
from ansible_collections.okd.virt.plugins.plugin_utils.engine.store.store import Store
from ansible_collections.okd.virt.tests.conformance import replaying

MAPS = ("", "configmaps")
NAMESPACE = "corpus-a"
KIND = Registry().lookup("", "v1", "configmaps")


@pytest.fixture
def store() -> Store:
    made = Store()
    for number in range(12):
        made.create(MAPS, NAMESPACE, f"m{number:02}", {"metadata": {"name": f"m{number:02}", "namespace": NAMESPACE, "labels": {"page": "1"}}})
    return made


def call(verb: str, **query: object) -> Call:
    assert KIND is not None
    info = RequestInfo(verb, "", True, "", "v1", "configmaps", "", NAMESPACE, "")
    return Call(UserInfo("admin"), info, KIND, Query(urlencode(query)), b"", "", "")


def answer(store: Store, **query: object) -> dict[str, Any]:
    """An answer to a list, as a case."""
    asked = call("list", **query)
    try:
        result = reading.list_(store, asked)
    except errors.StatusError as error:
        return {"response": {"status": error.code, "body": error.to_status()}}
    return {"response": {"status": result.code, "body": list_object(asked.kind, result.items or (), result.list_metadata)}}


async def watched(store: Store, **query: object) -> dict[str, Any]:
    events = [{"type": kind, "object": value} async for kind, value, _stored in Watch(store, call("watch", **query)).events()]
    return {"response": {"status": 200, "events": events}}


def recorded(name: str) -> dict[str, Any]:
    case: dict[str, Any] = json.loads((replaying.RECORDED / "expiry" / f"{name}.json").read_text(encoding="utf-8"))
    return case


def test_a_page_goes_on_after_its_version_was_forgotten(store: Store) -> None:
    first = answer(store, limit=2)
    assert replaying.shape(first) == replaying.shape(recorded("200-list-page-1"))
    version = first["response"]["body"]["metadata"]["resourceVersion"]
    store.create(MAPS, NAMESPACE, "m01-later", {"metadata": {"name": "m01-later", "namespace": NAMESPACE}})
    store.compact()
    expired = answer(store, limit=2, **{"continue": first["response"]["body"]["metadata"]["continue"]})
    assert replaying.shape(expired) == replaying.shape(recorded("410-list-continue-expired"))
    real = recorded("410-list-continue-expired")["response"]["body"]["metadata"]
    assert set(expired["response"]["body"]["metadata"]) == set(real)
    rest = answer(store, limit=2, **{"continue": expired["response"]["body"]["metadata"]["continue"]})
    assert replaying.shape(rest) == replaying.shape(recorded("200-list-continue-inconsistent"))
    body = rest["response"]["body"]
    # It goes on where it was, with what is there now.
    assert [item["metadata"]["name"] for item in body["items"]] == ["m01-later", "m02"]
    assert body["metadata"]["resourceVersion"] == str(store.version)
    assert body["metadata"]["remainingItemCount"] == 9
    exact = answer(store, resourceVersion=version, resourceVersionMatch="Exact")
    assert replaying.shape(exact) == replaying.shape(recorded("410-list-exact-expired"))


async def test_a_watch_with_initial_events_never_is_too_old(store: Store) -> None:
    version = store.version
    store.update(MAPS, NAMESPACE, "m00", {"metadata": {"name": "m00", "namespace": NAMESPACE, "labels": {"page": "1"}}, "data": {"a": "1"}})
    seen = await watched(store, resourceVersion=version, timeoutSeconds=1)
    assert replaying.shape(seen) == replaying.shape(recorded("watch-after-compaction"))
    store.compact()
    query = dict(parse_qsl(urlsplit(recorded("watch-old-bookmarks")["request"]["path"]).query))
    seen = await watched(store, **{**query, "timeoutSeconds": 1})
    assert replaying.shape(seen) == replaying.shape(recorded("watch-old-bookmarks"))
    with pytest.raises(errors.StatusError, match="too old resource version"):
        await watched(store, resourceVersion=version, timeoutSeconds=1)
