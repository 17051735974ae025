# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read, page, watch and write plain objects. Private to this collection."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from .._errors import ApiError, Conflict, ConnectionProblem, Gone, ResourceMissing
from .decoding import compacted, loads, without_cycles
from .resources import SELF_SUBJECT_REVIEWS, SUBJECT_ACCESS_REVIEWS, Resource
from .transport import BROKEN, JSON, Faulty, Transport, decoded, error_of

Json = dict[str, t.Any]
Keep: t.TypeAlias = "t.Callable[[Json], Json | None]"
FIELD_MANAGER = "okd.virt"
PAGE = 500
MERGE_PATCH, JSON_PATCH, APPLY_PATCH = "application/merge-patch+json", "application/json-patch+json", "application/apply-patch+yaml"
#: Lists of what all kinds have in common; a server that can't do it sends the objects.
METADATA_ONLY = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,{JSON}"
_CONFLICT_TRIES = 5
_WATCH_SLACK = 15.0
"""Seconds after which a watch that should have ended is taken for dead."""


@dataclass(frozen=True)
class Listing:
    """A whole list, and the version from which a watch goes on."""

    items: list[Json]
    resource_version: str


@dataclass(frozen=True)
class Review:
    """The answer to a SubjectAccessReview."""

    allowed: bool
    reason: str


class Answer(t.NamedTuple):
    """What one try of a request gave: HTTP status, the decoded body, and when to come again."""

    status: int
    body: Json
    retry_after: str | None = None


class Cluster:
    """The API as one identity. Every method may raise ApiError, Forbidden, ConnectionProblem."""

    def __init__(
        self, api: t.Any, source: str = "", warnings: t.Sequence[str] = (), headers: t.Sequence[tuple[str, str]] = (),
        request_timeout: float = 60.0,
    ) -> None:
        self._transport = Transport(api, headers, request_timeout)
        self.source, self.warnings = source, list(warnings)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    @property
    def host(self) -> str:
        """URL of the API server."""
        return self._transport.host

    @property
    def requests(self) -> int:
        """Requests sent so far, tries included."""
        return self._transport.requests

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Json | None:
        """One object, None when there is none of that name, or no such kind."""
        try:
            return self._transport.exchange("GET", resource.path(namespace, name))[0]
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(
        self, resource: Resource, namespace: str | None = None, label_selector: str | None = None,
        field_selector: str | None = None, missing_ok: bool = False, metadata_only: bool = False, keep: Keep | None = None,
    ) -> Listing:
        """All objects, or only their metadata, read in pages. Raises ResourceMissing for a kind that the cluster does not have, unless missing_ok.

        C(keep) says what is kept of each, None for nothing: thousands of objects need not be held whole.
        """
        query: Json = {"limit": PAGE}
        if label_selector:
            query["labelSelector"] = label_selector
        if field_selector:
            query["fieldSelector"] = field_selector
        try:
            with without_cycles():
                return self._pages(resource, namespace, query, METADATA_ONLY if metadata_only else JSON, keep)
        except ResourceMissing:
            if missing_ok:
                return Listing([], "0")
            raise

    def _pages(self, resource: Resource, namespace: str | None, query: Json, accept: str, keep: Keep | None) -> Listing:
        items: list[Json] = []
        token = ""
        while True:
            try:
                asked = {**query, "continue": token} if token else query
                page = self._transport.exchange("GET", resource.path(namespace), asked, accept=accept)[0]
            except Gone:
                # The snapshot behind the token is gone: what was read so far belongs to another moment than the rest would.
                if not token:
                    raise
                items, token, query = [], "", {key: value for key, value in query.items() if key != "limit"}
                continue
            found = page.get("items") or []
            for item in found:
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
            items += found if keep is None else compacted([kept for item in found if (kept := keep(item)) is not None])
            metadata = page.get("metadata") or {}
            token = metadata.get("continue") or ""
            if not token:
                return Listing(items, str(metadata.get("resourceVersion") or ""))

    def watch(
        self, resource: Resource, namespace: str | None = None, resource_version: str = "", label_selector: str | None = None,
        field_selector: str | None = None, timeout_seconds: int = 300,
    ) -> t.Iterator[tuple[str, Json]]:
        """The events after a version until the server ends the watch; BOOKMARK events are passed on.

        Raises Gone when the version is too old, transport.Faulty when the connection broke.
        """
        query: Json = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": max(1, timeout_seconds)}
        for name, value in (("resourceVersion", resource_version), ("labelSelector", label_selector), ("fieldSelector", field_selector)):
            if value:
                query[name] = value
        path = resource.path(namespace)
        status, _headers, response = self._transport.send("GET", path, query, timeout=timeout_seconds + _WATCH_SLACK)
        try:
            if status >= 400:
                raise error_of(status, _status(response.read()), f"GET {path} (watch)")
            for line in _lines(response):
                event = loads(line)
                if event["type"] == "ERROR":
                    raise error_of(int(event["object"].get("code") or 500), event["object"], f"GET {path} (watch)")
                yield event["type"], event["object"]
        except BROKEN as error:
            raise Faulty(str(error)) from error
        finally:
            response.close()

    def create(self, resource: Resource, body: Json, dry_run: bool = False) -> Json:
        """Create an object. Raises Conflict when one of that name is there, unless it is the one that a broken try of ours made."""
        namespace = (body.get("metadata") or {}).get("namespace")
        path = resource.path(namespace)
        try:
            return self._transport.exchange("POST", path, _write_query(dry_run), body)[0]
        except Conflict as error:
            name = (body.get("metadata") or {}).get("name")
            found = self.get(resource, name, namespace) if error.details.get("uncertain") and name else None
            if found is not None and contains(found, body):
                return found
            raise

    def merge_patch(
        self, resource: Resource, name: str, patch: Json, namespace: str | None = None, subresource: str | None = None,
        dry_run: bool = False,
    ) -> Json:
        """JSON merge patch. A resourceVersion in it makes it conditional; without one a conflict is retried."""
        path = resource.path(namespace, name, subresource)
        conditional = "resourceVersion" in (patch.get("metadata") or {})
        return self._patched(path, patch, MERGE_PATCH, 1 if conditional else _CONFLICT_TRIES, _write_query(dry_run))

    def json_patch(
        self, resource: Resource, name: str, patch: t.Sequence[Json], namespace: str | None = None,
        subresource: str | None = None, dry_run: bool = False,
    ) -> Json:
        """JSON patch; a failing test operation raises ApiError 422."""
        return self._patched(resource.path(namespace, name, subresource), list(patch), JSON_PATCH, 1, _write_query(dry_run))

    def apply(self, resource: Resource, body: Json, force: bool = False, dry_run: bool = False) -> Json:
        """Server-side apply as field manager okd.virt."""
        metadata = body["metadata"]
        query = {**_write_query(dry_run), "force": "true" if force else "false"}
        return self._patched(resource.path(metadata.get("namespace"), metadata["name"]), body, APPLY_PATCH, _CONFLICT_TRIES if force else 1, query)

    def _patched(self, path: str, patch: t.Any, content_type: str, tries: int, query: Json) -> Json:
        for attempt in range(1, tries + 1):
            try:
                return self._transport.exchange("PATCH", path, query, patch, content_type)[0]
            except Conflict:
                if attempt == tries:
                    raise
        raise AssertionError("not reached")

    def delete(
        self, resource: Resource, name: str, namespace: str | None = None, uid: str | None = None, dry_run: bool = False,
        resource_version: str | None = None,
    ) -> bool:
        """Delete an object; False when it was not there.

        With a uid only that very object, with a resource version only as it was read: raises Conflict for another one.
        """
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions"}
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        if any(preconditions.values()):
            body["preconditions"] = {key: value for key, value in preconditions.items() if value}
        if dry_run:
            body["dryRun"] = ["All"]
        try:
            self._transport.exchange("DELETE", resource.path(namespace, name), None, body)
        except ApiError as error:
            if error.status == 404:
                return bool(error.details.get("uncertain"))
            raise
        return True

    def ask(self, method: str, path: str, body: Json, query: Json | None = None) -> Answer:
        """One try of a request whose refusal is an answer. Raises Faulty when the connection broke, ConnectionProblem for bad certificates."""
        status, headers, response = self._transport.send(method, path, query, body)
        return Answer(status, decoded(response), headers.get("Retry-After"))

    def put(self, resource: Resource, name: str, namespace: str, subresource: str, body: Json) -> Json:
        """PUT to a subresource that acts on an object."""
        return self._transport.exchange("PUT", resource.path(namespace, name, subresource), None, body, accept="*/*")[0]

    def document(self, path: str) -> Json:
        """A JSON document that is no object of a resource, such as an OpenAPI description."""
        return self._transport.exchange("GET", path)[0]

    def text(self, path: str) -> str:
        """One try for a text, such as metrics. Raises ApiError, and Faulty when the connection broke."""
        status, _headers, response = self._transport.send("GET", path, accept="text/plain, */*;q=0.5")
        try:
            content: bytes = response.read()
        except BROKEN as error:
            raise Faulty(str(error)) from error
        finally:
            response.release_conn()
        if status >= 400:
            raise error_of(status, _status(content), f"GET {path}")
        return content.decode("utf-8", "replace")

    def impersonating(self, user: str) -> Cluster:
        """The same cluster as another user; the API server must permit it."""
        return Cluster(self._transport.api, self.source, (), (("Impersonate-User", user),), self._transport.request_timeout)

    def review(self, user: str, groups: t.Sequence[str], attributes: Json) -> Review:
        """Whether a user with these groups may do something; attributes are resourceAttributes."""
        spec = {"user": user, "groups": list(groups), "resourceAttributes": attributes}
        body = {"apiVersion": SUBJECT_ACCESS_REVIEWS.api_version, "kind": SUBJECT_ACCESS_REVIEWS.kind, "spec": spec}
        status = self._transport.exchange("POST", SUBJECT_ACCESS_REVIEWS.path(), None, body)[0].get("status") or {}
        return Review(bool(status.get("allowed")), str(status.get("reason") or ""))

    def whoami(self) -> str:
        """The user that the API server takes us for; a question mark where it can't be asked."""
        body = {"apiVersion": SELF_SUBJECT_REVIEWS.api_version, "kind": SELF_SUBJECT_REVIEWS.kind}
        try:
            answer = self._transport.exchange("POST", SELF_SUBJECT_REVIEWS.path(), None, body)[0]
        except ApiError:
            return "?"
        return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "?")

    def identity(self) -> str:
        """Server, user and where the credentials came from, in one line. Raises ConnectionProblem."""
        return f"{self.host} as {self.whoami()} ({self.source})"


def contains(found: t.Any, wanted: t.Any) -> bool:
    """Whether an object has everything that another one asks for."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(key in found and contains(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, (list, tuple)):
        return isinstance(found, list) and len(found) == len(wanted) and all(contains(one, other) for one, other in zip(found, wanted, strict=True))
    return bool(found == wanted)


def _write_query(dry_run: bool) -> Json:
    query = {"fieldManager": FIELD_MANAGER}
    if dry_run:
        query["dryRun"] = "All"
    return query


def _status(content: bytes) -> Json:
    try:
        decoded = json.loads(content)
    except ValueError:
        return {"message": content.decode("utf-8", "replace")[:500]}
    return decoded if isinstance(decoded, dict) else {}


def _lines(response: t.Any) -> t.Iterator[bytes]:
    """Whole lines of a stream, as they come."""
    rest = b""
    for chunk in response.stream(None, decode_content=True):
        rest += chunk
        *lines, rest = rest.split(b"\n")
        yield from (line for line in lines if line.strip())


__all__ = ("ApiError", "Cluster", "Conflict", "ConnectionProblem", "Faulty", "Listing", "Review", "contains")
