# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client does when a cluster has a bad day, and what it says when it must give up."""

from __future__ import annotations

import time
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._cluster.client import Cluster
from ansible_collections.okd.virt.plugins.module_utils._cluster.connection import connect
from ansible_collections.okd.virt.plugins.module_utils._cluster.resources import (
    CLUSTER_ROLES,
    NAMESPACES,
    ROLE_BINDINGS,
    VIRTUAL_MACHINES,
)
from ansible_collections.okd.virt.plugins.module_utils._cluster.transport import ATTEMPTS, Faulty
from ansible_collections.okd.virt.plugins.module_utils._errors import (
    ApiError,
    Conflict,
    ConnectionProblem,
    Forbidden,
    Gone,
    ResourceMissing,
)
from ansible_collections.okd.virt.tests.support.scripted import Reply, ScriptedServer, status

Json = dict[str, t.Any]
Play = t.Callable[..., tuple[Cluster, ScriptedServer]]
RESET = Reply(reset=True)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that would have been waited."""
    seconds: list[float] = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


@pytest.fixture
def play(pauses: list[float]) -> t.Iterator[Play]:
    """A client of a server that gives these replies; all of them must be asked for."""
    opened: list[tuple[Cluster, ScriptedServer]] = []

    def start(*replies: Reply, **options: t.Any) -> tuple[Cluster, ScriptedServer]:
        server = ScriptedServer(*replies).__enter__()
        cluster = connect({"host": server.url, "api_key": "secret", "request_timeout": 10, **options}, {})
        opened.append((cluster, server))
        return cluster, server

    yield start
    for cluster, server in opened:
        cluster.close()
        server.__exit__()
        assert server.replies == []


def items(*names: str, more: str = "", version: str = "7") -> Reply:
    return Reply(body={"metadata": {"resourceVersion": version, "continue": more}, "items": [{"metadata": {"name": name}} for name in names]})


@pytest.mark.parametrize(
    "fault",
    [
        RESET,
        Reply(429, status(429, "TooManyRequests"), {"Retry-After": "3"}),
        Reply(500, status(500, "Timeout")),
        Reply(500, status(500, "InternalError", "failed calling webhook: context deadline exceeded")),
        Reply(502, b"<html>bad gateway</html>"),
        Reply(503, status(503, "ServiceUnavailable")),
        Reply(504, status(504, "Timeout")),
    ],
    ids=["reset", "429", "500-timeout", "500-webhook", "502", "503", "504"],
)
def test_passing_faults_are_outlived(play: Play, pauses: list[float], fault: Reply) -> None:
    cluster, server = play(fault, fault, Reply(body={"metadata": {"name": "admin"}}))
    assert cluster.get(CLUSTER_ROLES, "admin") == {"metadata": {"name": "admin"}}
    assert [asked.path for asked in server.asked] == ["/apis/rbac.authorization.k8s.io/v1/clusterroles/admin"] * 3
    assert cluster.requests == 3
    if fault.status == 429:
        assert pauses == [3.0, 3.0]
    else:
        assert 0 < pauses[0] < pauses[1]


def test_a_fault_that_stays_is_an_error_that_names_the_request(play: Play) -> None:
    cluster, dummy = play(*[Reply(503, status(503, "ServiceUnavailable", "etcd is down"))] * ATTEMPTS)
    with pytest.raises(ApiError, match=r"GET /api/v1/namespaces/shop: etcd is down") as caught:
        cluster.get(NAMESPACES, "shop")
    assert caught.value.status == 503


def test_a_server_out_of_reach(play: Play) -> None:
    cluster, dummy = play(*[RESET] * ATTEMPTS)
    with pytest.raises(ConnectionProblem, match=r"can't be reached \(GET /api/v1/namespaces/shop, 6 tries\)"):
        cluster.get(NAMESPACES, "shop")


def test_an_error_of_the_server_is_tried_again_and_told_when_it_stays(play: Play) -> None:
    error = Reply(500, status(500, "InternalError", "nil pointer"))
    cluster, server = play(*[error] * ATTEMPTS)
    with pytest.raises(ApiError, match="nil pointer"):
        cluster.get(NAMESPACES, "shop")
    assert len(server.asked) == ATTEMPTS


def test_lists_come_in_pages(play: Play) -> None:
    cluster, server = play(items("a", "b", more="next page"), items("c"))
    listing = cluster.list(NAMESPACES, label_selector="tier=gold")
    assert [item["metadata"]["name"] for item in listing.items] == ["a", "b", "c"]
    assert listing.resource_version == "7"
    assert [(item["apiVersion"], item["kind"]) for item in listing.items] == [("v1", "Namespace")] * 3
    assert [asked.path for asked in server.asked] == [
        "/api/v1/namespaces?limit=500&labelSelector=tier%3Dgold", "/api/v1/namespaces?limit=500&labelSelector=tier%3Dgold&continue=next+page",
    ]


def test_a_list_whose_pages_are_gone_is_read_again_as_a_whole(play: Play) -> None:
    cluster, server = play(items("a", more="token"), Reply(410, status(410, "Expired")), items("a", "b", version="9"))
    listing = cluster.list(NAMESPACES)
    assert [item["metadata"]["name"] for item in listing.items] == ["a", "b"]
    assert listing.resource_version == "9"
    assert server.asked[-1].path == "/api/v1/namespaces"


def test_metadata_only_says_so(play: Play) -> None:
    cluster, server = play(items("a"))
    cluster.list(NAMESPACES, metadata_only=True)
    assert dict(server.asked[0].headers)["Accept"] == "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


def test_a_kind_that_is_not_there(play: Play) -> None:
    missing = Reply(404, b"404 page not found\n")
    cluster, dummy = play(missing, missing, missing)
    assert cluster.get(VIRTUAL_MACHINES, "vm", "shop") is None
    assert cluster.list(VIRTUAL_MACHINES, missing_ok=True).items == []
    with pytest.raises(ResourceMissing):
        cluster.list(VIRTUAL_MACHINES)


FORBIDDEN = 'rolebindings.rbac.authorization.k8s.io is forbidden: User "ann" cannot list resource "rolebindings" in API group "rbac.authorization.k8s.io" '


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (FORBIDDEN + "at the cluster scope", "by a ClusterRoleBinding"),
        (FORBIDDEN + 'in the namespace "shop"', "by a RoleBinding in namespace shop"),
    ],
)
def test_a_missing_permission_names_the_rule_to_add(play: Play, message: str, rule: str) -> None:
    cluster, dummy = play(Reply(403, status(403, "Forbidden", message)))
    with pytest.raises(Forbidden) as caught:
        cluster.list(ROLE_BINDINGS)
    assert f'apiGroups ["rbac.authorization.k8s.io"], resources ["rolebindings"], verbs ["list"], {rule}.' in caught.value.message
    assert message in caught.value.message


def test_refused_credentials(play: Play) -> None:
    cluster, dummy = play(Reply(401, status(401, "Unauthorized", "Unauthorized")))
    with pytest.raises(ConnectionProblem, match="renew the token or certificate"):
        cluster.list(NAMESPACES)


ROLE: Json = {"metadata": {"name": "new"}, "rules": [{"verbs": ["get"]}]}
THERE = Reply(409, status(409, "AlreadyExists", "already exists", name="new"))


def test_what_a_broken_try_made_is_ours(play: Play) -> None:
    made = {**ROLE, "metadata": {"name": "new", "uid": "1"}}
    cluster, server = play(RESET, THERE, Reply(body=made))
    assert cluster.create(CLUSTER_ROLES, ROLE) == made
    assert [asked.method for asked in server.asked] == ["POST", "POST", "GET"]
    assert server.asked[0].path.endswith("?fieldManager=okd.virt")


@pytest.mark.parametrize(("first", "found"), [([], None), ([RESET], {**ROLE, "rules": [{"verbs": ["list"]}]})], ids=["no-doubt", "another"])
def test_what_somebody_else_made_is_a_conflict(play: Play, first: list[Reply], found: Json | None) -> None:
    cluster, dummy = play(*first, THERE, *([Reply(body=found)] if found else []))
    with pytest.raises(Conflict):
        cluster.create(CLUSTER_ROLES, ROLE)


CONFLICT = Reply(409, status(409, "Conflict", "the object has been modified", name="new"))


def test_a_merge_patch_without_a_version_is_tried_again_after_a_conflict(play: Play) -> None:
    cluster, server = play(CONFLICT, Reply(body=ROLE))
    assert cluster.merge_patch(CLUSTER_ROLES, "new", {"rules": []}) == ROLE
    assert dict(server.asked[0].headers)["Content-Type"] == "application/merge-patch+json"


def test_a_merge_patch_with_a_version_is_not(play: Play) -> None:
    cluster, dummy = play(CONFLICT)
    with pytest.raises(Conflict):
        cluster.merge_patch(CLUSTER_ROLES, "new", {"metadata": {"resourceVersion": "1"}})


def test_deleting_what_is_gone(play: Play) -> None:
    gone = Reply(404, status(404, "NotFound", "not found", name="new"))
    cluster, server = play(gone, RESET, gone, Reply(body={}))
    assert cluster.delete(CLUSTER_ROLES, "new") is False
    assert cluster.delete(CLUSTER_ROLES, "new") is True
    assert cluster.delete(CLUSTER_ROLES, "new", uid="u-1") is True
    assert server.asked[-1].body["preconditions"] == {"uid": "u-1"}


def test_a_watch_gives_events_and_says_when_it_broke(play: Play) -> None:
    event = {"type": "ADDED", "object": {"metadata": {"name": "a"}}}
    cluster, server = play(Reply(lines=(event, event)), Reply(lines=(event,), reset=True))
    assert list(cluster.watch(NAMESPACES, resource_version="5", timeout_seconds=9)) == [("ADDED", event["object"])] * 2
    assert server.asked[0].path == "/api/v1/namespaces?watch=true&allowWatchBookmarks=true&timeoutSeconds=9&resourceVersion=5"
    events = cluster.watch(NAMESPACES, resource_version="5")
    assert next(events)[0] == "ADDED"
    with pytest.raises(Faulty):
        next(events)


@pytest.mark.parametrize(
    "reply", [Reply(410, status(410, "Expired")), Reply(lines=({"type": "ERROR", "object": status(410, "Expired")},))], ids=["answer", "event"]
)
def test_a_watch_from_too_long_ago(play: Play, reply: Reply) -> None:
    cluster, dummy = play(reply)
    with pytest.raises(Gone):
        list(cluster.watch(NAMESPACES, resource_version="5"))


HEADERS = {"authorization": ["Bearer secret"], "impersonate-user": ["ann"], "impersonate-group": ["devs", "ops"], "user-agent": ["okd.virt"]}


def test_identity_and_headers(play: Play) -> None:
    cluster, server = play(
        Reply(201, {"status": {"userInfo": {"username": "ann"}}}), Reply(404, b""), impersonate_user="ann", impersonate_groups=["devs", "ops"]
    )
    assert cluster.identity() == f"{server.url} as ann (options or environment)"
    assert cluster.whoami() == "?"
    sent = {name: [value for given, value in server.asked[0].headers if given.lower() == name] for name in HEADERS}
    assert sent == HEADERS
