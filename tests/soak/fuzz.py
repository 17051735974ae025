"""Requests that nobody means: paths, queries, headers, bodies, patches and raw bytes, thousands of them.

Whatever comes, the API server answers in time, never with a 500 that the real one would not give, and holds no more memory for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process

from ..support.api import Api
from ..support.raw_client import Closed, Connection, resident_bytes
from .report import Report

NAME = "fuzz"
REQUESTS, QUICK = 30_000, 1_500
PATIENCE = 15.0
"""Seconds for one answer; watches end themselves after one."""
GROWTH = 0.25
"""Of the memory held after the first third, which fills what the server keeps of the past, at most."""
SPACE = "fuzz"
HONEST_500 = {
    # Raw server-side apply of a label that is a plain text, as recorded.
    "PATCH": ("cannot unmarshal", "failed to create typed patch object", "failed to create manager for existing fields"),
    "POST": ("resourceVersion should not be set on objects to be created", "failed calling webhook", "admission webhook"),
    "PUT": ("admission webhook",),
    "": (
        "without impersonating a user",
        # GET of one object at a version that is none.
        "strconv.ParseUint: parsing",
    ),
}
"""What a real server says with a 500 too, by method; "" is any."""

Object = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A served resource, and an object of it to begin with."""

    path: str
    namespaced: bool
    sample: str
    subresources: tuple[str, ...] = ()


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = "application/json"


NAMES = st.one_of(st.sampled_from(["a", "fuzz-1", "fuzz-2", "kubevirt.io:migrate"]), st.text(max_size=12), st.text("a-.%/", max_size=300))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20),
    st.sampled_from(["", "1Gi", "-1", "True", 2**63, -(2**63), 1e300]),
)
KEYS = st.text(max_size=8) | st.sampled_from(["$patch", "$retainKeys", "name"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6)
MEDIA = st.sampled_from([
    "application/json", "application/yaml", "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    "application/apply-patch+yaml", "application/vnd.kubernetes.protobuf", "text/plain", "", ";", "application/json; charset=utf-8", "a" * 300,
])
ACCEPT = st.sampled_from([
    "application/json", "*/*", "", "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/vnd.kubernetes.protobuf", "application/yaml", "text/html", ";;;", "application/json;as=Nothing",
])
QUERIES = {
    "limit": st.sampled_from(["1", "0", "-1", "x", "99999999999999999999"]),
    "continue": st.text(max_size=30) | st.sampled_from(["eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0", "e30"]),
    "labelSelector": st.text(max_size=30) | st.sampled_from(["a=b", "a in (b,c)", "!a", "a,,b", "a notin ()", "kubevirt.io/x=", "a=b,c!=d"]),
    "fieldSelector": st.text(max_size=30) | st.sampled_from(["metadata.name=a", "spec.nodeName=x", "status.phase!=Running", "a.b.c=d", "="]),
    "resourceVersion": st.sampled_from(["0", "1", "-1", "x", "18446744073709551616"]),
    "resourceVersionMatch": st.sampled_from(["Exact", "NotOlderThan", "x"]),
    "fieldManager": st.text(max_size=200), "force": st.sampled_from(["true", "x"]), "fieldValidation": st.sampled_from(["Strict", "Warn", "x"]),
    "pretty": st.sampled_from(["true", "x"]), "propagationPolicy": st.sampled_from(["Orphan", "Foreground", "x"]),
    "gracePeriodSeconds": st.sampled_from(["0", "-1", "x"]), "includeObject": st.sampled_from(["None", "Object", "x"]),
    "allowWatchBookmarks": st.just("true"), "sendInitialEvents": st.sampled_from(["true", "x"]), "timeout": st.sampled_from(["1s", "x"]),
}


@st.composite
def queries(draw: st.DrawFn) -> dict[str, str]:
    names = draw(st.lists(st.sampled_from(sorted(QUERIES)), max_size=3, unique=True))
    return {name: draw(QUERIES[name]) for name in names}


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        found += _places(member, (*path, key))
    return found


def _put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _put(value[path[0]], path[1:], new)
    return copy


@st.composite
def mutated(draw: st.DrawFn, sample: str) -> Object:
    """An object of the kind with some values that do not belong where they are."""
    value = json.loads(sample)
    for dummy in range(draw(st.integers(0, 3))):
        places = _places(value)
        value = _put(value, draw(st.sampled_from(places)), draw(VALUES))
        if not isinstance(value, (dict, list)):
            break
    return value  # type: ignore[no-any-return]


@st.composite
def patches(draw: st.DrawFn, sample: str) -> Any:
    """JSON patches at places that are there or not, or any other value."""
    if draw(st.booleans()):
        return draw(mutated(sample))
    places = ["/" + "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in path) for path in _places(json.loads(sample))]
    pointer = st.sampled_from(places) | st.text("/~01-abm", max_size=10)
    operation = st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]), "path": pointer}, optional={"value": VALUES, "from": pointer},
    )
    return draw(st.lists(operation, max_size=4))


NO_OBJECTS = [
    b"{", b"[]", b"null", b'{"a":NaN}', b'{"a":1,"a":2}', b"a: b: c", b"- - -\n!", b"[" * 5000, b'{"metadata":' * 600, b"&a [*a]", b"\xff\xfe",
]


@st.composite
def bodies(draw: st.DrawFn, kind: Kind, patch: bool) -> bytes:
    form = draw(st.integers(0, 9))
    if form == 0:
        return draw(st.binary(max_size=200))
    if form == 1:
        return draw(st.sampled_from(NO_OBJECTS))
    if form == 2:
        return json.dumps(draw(VALUES)).encode()
    value = draw(patches(kind.sample)) if patch else draw(mutated(kind.sample))
    if isinstance(value, dict) and isinstance(value.get("metadata"), dict) and draw(st.booleans()):
        value = {**value, "metadata": {**value["metadata"], "name": draw(st.sampled_from(["fuzz-1", "fuzz-2", "fuzz-3"]))}}
    return json.dumps(value).encode()


@st.composite
def requests(draw: st.DrawFn, kinds: list[Kind]) -> Request:
    """What changes anything stays in one namespace, or is a dry run: the rest of the cluster is there to be asked for."""
    kind = draw(st.sampled_from(kinds))
    method = draw(st.sampled_from(["GET", "GET", "GET", "POST", "POST", "PUT", "PATCH", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"]))
    query = draw(queries())
    own = draw(st.booleans())
    name = draw(NAMES) if not own else draw(st.sampled_from(["fuzz-1", "fuzz-2", "fuzz-3"]))
    group, plural = kind.path.rsplit("/", 1)
    space = f"/namespaces/{SPACE if own or method not in ('GET', 'HEAD') else quote(draw(NAMES), safe='%/')}" if kind.namespaced else ""
    named = method in ("PUT", "PATCH") or (method != "POST" and draw(st.booleans())) or draw(st.integers(0, 9)) == 0
    target = f"{group}{space}/{plural}" + (f"/{quote(name, safe='%/')}" if named else "")
    if named and kind.subresources and draw(st.integers(0, 3)) == 0:
        target += "/" + draw(st.sampled_from([*kind.subresources, "nothing", "status", "scale"]))
    if draw(st.integers(0, 19)) == 0:
        target = "/" + quote(draw(st.text(max_size=40)), safe="/%?&=")
    if method == "GET" and not named and draw(st.integers(0, 4)) == 0:
        query |= {"watch": draw(st.sampled_from(["1", "true", "x"])), "timeoutSeconds": "1"}
    if method in ("POST", "PUT", "PATCH", "DELETE") and not (kind.namespaced and target.startswith(f"{group}{space}/")):
        query["dryRun"] = "All"
    elif method == "DELETE" and not named:
        query.setdefault("dryRun", "All")
    headers = {"Accept": draw(ACCEPT)}
    if draw(st.integers(0, 9)) == 0:
        extra = st.sampled_from(["Impersonate-User", "Impersonate-Group", "Authorization", "If-None-Match", "X-Forwarded-For", "Accept-Encoding", "User-Agent"])
        headers[draw(extra)] = draw(st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30))
    body = draw(bodies(kind, method == "PATCH")) if method in ("POST", "PUT", "PATCH", "DELETE") and draw(st.integers(0, 9)) else b""
    text = "&".join(f"{key}={quote(value)}" for key, value in query.items())
    return Request(method, f"{target}?{text}" if text else target, headers, body, draw(MEDIA))


BEGINNINGS = [b"GET / HTTP/1.1\r\n", b"POST /api HTTP/1.1\r\nContent-Length: 5\r\n", b"GET /api HTTP/9.9\r\n"]
NO_HTTP = [
    b"GET /api HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"GET /api HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET " + b"/a" * 20000 + b" HTTP/1.1\r\n\r\n", b"GET /api HTTP/1.1\r\n" + b"A: b\r\n" * 2000 + b"\r\n", b"\r\n" * 100,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]
RAW = st.one_of(
    st.binary(min_size=1, max_size=200), st.builds(lambda head, rest: head + rest, st.sampled_from(BEGINNINGS), st.binary(max_size=100)),
    st.sampled_from(NO_HTTP),
)


class Target:
    """The engine under the requests."""

    def __init__(self, engine: process.RunningEngine, report: Report) -> None:
        self._engine, self._report = engine, report
        self._connection: Connection | None = None
        self.api = Api(engine.kubeconfig)
        self.sent = 0
        self.memory: list[int] = []

    def kinds(self) -> list[Kind]:
        """Everything that is served, each with an object to begin with."""
        found = []
        groups = [f"/apis/{group['preferredVersion']['groupVersion']}" for group in self.api.get("/apis")["groups"]]
        for prefix in ["/api/v1", *groups]:
            resources = self.api.get(prefix)["resources"]
            for one in resources:
                if "/" in one["name"] or "list" not in one.get("verbs", ()):
                    continue
                items = self.api.items(f"{prefix}/{one['name']}?limit=1")
                sample = items[0] if items else {"metadata": {"name": "fuzz-1"}, "spec": {}}
                version = prefix.removeprefix("/apis/").removeprefix("/api/")
                sample = {**sample, "apiVersion": version, "kind": one["kind"]}
                sample["metadata"] = {**sample["metadata"], "name": "fuzz-1"}
                for key in ("resourceVersion", "uid", "managedFields", "ownerReferences", "namespace"):
                    sample["metadata"].pop(key, None)
                below = tuple(each["name"].partition("/")[2] for each in resources if each["name"].startswith(one["name"] + "/"))
                found.append(Kind(f"{prefix}/{one['name']}", one["namespaced"], json.dumps(sample), below))
        return found

    def send(self, request: Request) -> None:
        problems: list[str] = []
        try:
            status, body = self._exchange(request)
            if status >= 500 and request.method == "HEAD":
                # An answer to HEAD does not say what it is about; the same asked by GET does.
                status, body = self._exchange(replace(request, method="GET"))
            text = body.decode(errors="replace")
            if status >= 500 and status != 504 and not _is_honest(request, text):
                problems.append(f"{status}: {text[:300]}")
        except (TimeoutError, Closed, OSError, ValueError, KeyError) as error:
            problems.append(f"no answer: {error!r}")
            self._drop()
        shown = f"{request.method} {request.target[:200]} {request.headers} {request.content_type[:40]} {request.body[:300]!r}"
        self._count(shown, problems)

    def send_raw(self, data: bytes) -> None:
        """The server may say what it likes or close, but goes on serving."""
        problems = []
        with contextlib.suppress(OSError, ValueError, Closed, TimeoutError), Connection(self._engine.kubeconfig, 2.0) as connection:
            connection.send_raw(data)
        try:
            self._exchange(Request("GET", "/version"))
        except (TimeoutError, Closed, OSError) as error:
            problems.append(f"serves no more: {error!r}")
        self._count(f"raw {data[:100]!r}", problems)

    def _count(self, shown: str, problems: list[str]) -> None:
        self._report.add(f"#{self.sent} {shown}", problems)
        self.sent += 1
        if self.sent % 1000 == 0:
            self.memory.append(resident_bytes(self._engine.pid))

    def _exchange(self, request: Request) -> tuple[int, bytes]:
        for attempt in (1, 2):
            if self._connection is None:
                self._connection = Connection(self._engine.kubeconfig, PATIENCE)
            try:
                self._connection.send(request.method, request.target, request.body, request.content_type, request.headers)
                return self._connection.answer(request.method)
            except (Closed, BrokenPipeError, ConnectionResetError):
                # A server may close a connection that it was sent nonsense on; the request is sent again on a new one.
                self._drop()
                if attempt == 2:
                    raise
        raise AssertionError

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def stop(self) -> None:
        self._drop()


def _is_honest(request: Request, text: str) -> bool:
    return any(honest in text for method in (request.method, "") for honest in HONEST_500.get(method, ()))


def _grown(memory: list[int]) -> list[str]:
    third = len(memory) // 3
    if third < 1:
        return []
    before, after = max(memory[:third + 1]), memory[-1]
    return [f"memory grew from {before / 1e6:.0f} to {after / 1e6:.0f} MB"] if after > before * (1 + GROWTH) else []


def run(count: int, number: int) -> Report:
    """So many requests at one engine."""
    report = Report(NAME, number)
    with tempfile.TemporaryDirectory(prefix="okd-virt-soak-fuzz-") as scratch:
        directory = Path(scratch) / "engine"
        engine = process.start(process.EngineOptions(directory=directory, cluster="lab", speed="max", watch_pid=os.getpid()))
        target = Target(engine, report)
        try:
            target.api.expect(201, "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
            kinds = target.kinds()
            chosen = st.one_of(*[requests(kinds)] * 19, RAW)

            @seed(number)
            @settings(max_examples=count, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
            @given(chosen)
            def fuzz(request: Request | bytes) -> None:
                if isinstance(request, bytes):
                    target.send_raw(request)
                else:
                    target.send(request)

            fuzz()
            report.add("memory", _grown(target.memory))
            report.add("the engine at the end", [] if target.api.request("GET", "/readyz").status == 200 else ["is not ready"])
        finally:
            target.stop()
            process.stop(directory)
    return report
