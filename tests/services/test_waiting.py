# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting on objects of a real server and of one with bad days."""

from __future__ import annotations

import threading
import time
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._cluster import following
from ansible_collections.okd.virt.plugins.module_utils._cluster.connection import connect
from ansible_collections.okd.virt.plugins.module_utils._cluster.resources import NAMESPACES
from ansible_collections.okd.virt.plugins.module_utils._cluster.waiting import Target, Verdict, follow, wait_for
from ansible_collections.okd.virt.plugins.module_utils._errors import DeadlineExceeded, Forbidden
from ansible_collections.okd.virt.plugins.module_utils._plan import SilentListener

from ..support.api import MERGE_PATCH, Api
from ..support.scripted import Reply, ScriptedServer, status

Json = dict[str, t.Any]


def soon(seconds: float = 30.0) -> float:
    return time.monotonic() + seconds


def labelled(obj: Json | None) -> Verdict:
    """Done when the object has the label ready."""
    labels = ((obj or {}).get("metadata") or {}).get("labels") or {}
    state = "there" if obj else "missing"
    return Verdict(labels.get("ready") == "true", () if labels.get("ready") == "true" else ("no label ready",), f"{state} {labels.get('ready', '')}".strip())


def test_an_object_comes_and_changes(api: Api, engine: t.Any, unique: str) -> None:
    listener = SilentListener(time.monotonic)
    known = threading.Event()

    def judge(obj: Json | None) -> Verdict:
        known.set()
        return labelled(obj)

    def make() -> None:
        known.wait(20)
        api.expect(201, "POST", "/api/v1/namespaces", {"metadata": {"name": unique}})
        api.request("PATCH", f"/api/v1/namespaces/{unique}", {"metadata": {"labels": {"ready": "true"}}}, content_type=MERGE_PATCH)

    maker = threading.Thread(target=make)
    maker.start()
    with connect({"kubeconfig": str(engine.kubeconfig)}, {}) as cluster:
        verdict = wait_for(cluster, NAMESPACES, unique, None, judge, soon(), listener, f"Namespace {unique}")
        # One list and one watch.
        assert cluster.requests == 2
    maker.join(20)
    assert verdict.done
    told = [entry["event"] for entry in listener.timeline]
    assert told[0] == "missing"
    assert told[-1] == "there true"
    api.request("DELETE", f"/api/v1/namespaces/{unique}")


def test_a_deadline_says_what_is_pending(engine: t.Any, unique: str) -> None:
    with connect({"kubeconfig": str(engine.kubeconfig)}, {}) as cluster, pytest.raises(DeadlineExceeded) as caught:
        wait_for(cluster, NAMESPACES, unique, None, labelled, soon(0.3), SilentListener(time.monotonic), f"Namespace {unique}")
    assert caught.value.pending == ["no label ready"]
    assert caught.value.message == f"Namespace {unique} did not happen in time: no label ready."


def listed(version: str, **labels: str) -> Reply:
    item = {"metadata": {"name": "shop", "resourceVersion": version, "labels": labels}}
    return Reply(body={"metadata": {"resourceVersion": version}, "items": [item]})


def event(version: str, **labels: str) -> Json:
    return {"type": "MODIFIED", "object": {"metadata": {"name": "shop", "resourceVersion": version, "labels": labels}}}


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short."""
    monkeypatch.setattr(following, "POLL", 0.01)
    monkeypatch.setattr(following, "_RESUME_PAUSE", 0.01)


READY = {"ready": "true"}
BOOKMARK = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "6"}}}


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("replies", "versions"),
    [
        ([listed("5"), Reply(lines=(BOOKMARK,), reset=True), Reply(lines=(event("7", **READY),))], ["5", "6"]),
        ([listed("5"), Reply(lines=(event("6"),)), Reply(lines=(event("7", **READY),))], ["5", "6"]),
        ([listed("5"), Reply(410, status(410, "Expired")), listed("9"), Reply(lines=(event("10", **READY),))], ["5", "9"]),
        ([listed("5"), Reply(503, status(503, "ServiceUnavailable")), Reply(lines=(event("6", **READY),))], ["5", "5"]),
        ([listed("5"), Reply(403, status(403, "Forbidden", "no watch")), listed("6"), listed("7", **READY)], ["5"]),
        ([listed("5"), Reply(405, status(405, "MethodNotAllowed", "no watch")), listed("6", **READY)], ["5"]),
    ],
    ids=["reset", "ended", "gone", "unavailable", "forbidden", "not-allowed"],
)
def test_watches_go_on(replies: list[Reply], versions: list[str]) -> None:
    with ScriptedServer(*replies) as server, connect({"host": server.url, "api_key": "x"}, {}) as cluster:
        assert wait_for(cluster, NAMESPACES, "shop", None, labelled, soon(), SilentListener(time.monotonic), "Namespace shop").done
        watched = [asked.path.split("resourceVersion=")[1].split("&")[0] for asked in server.asked if "watch=true" in asked.path]
    # What comes after the end of the wait is of no interest.
    assert watched[: len(versions)] == versions


@pytest.mark.usefixtures("hurried")
def test_what_may_not_even_be_listed_ends_the_wait() -> None:
    with ScriptedServer(Reply(403, status(403, "Forbidden", "no list"))) as server, connect({"host": server.url, "api_key": "x"}, {}) as cluster, pytest.raises(
        Forbidden
    ):
        wait_for(cluster, NAMESPACES, "shop", None, labelled, soon(), SilentListener(time.monotonic), "Namespace shop")


def test_silence_is_a_beat(engine: t.Any) -> None:
    with connect({"kubeconfig": str(engine.kubeconfig)}, {}) as cluster:
        snapshots = follow(cluster, [Target(NAMESPACES, name="shop")], soon(), beat=0.2)
        first = next(snapshots)
        assert first is not None
        assert next(snapshots) is None
        snapshots.close()  # type: ignore[attr-defined]
