# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request and its answer, with the patience that a cluster needs. Private to this collection.

Transport, TLS, proxies and credentials are those of the kubernetes library's ApiClient; objects stay plain JSON.
"""

from __future__ import annotations

import http.client
import json
import random
import time
import typing as t
from urllib.parse import urlencode

from .._errors import ApiError, Conflict, ConnectionProblem, Forbidden, Gone, ResourceMissing, VirtError
from .decoding import loads

try:
    import urllib3
    from urllib3._collections import HTTPHeaderDict
except ImportError:
    BROKEN: tuple[type[Exception], ...] = (OSError, http.client.HTTPException)
    UNVERIFIED: tuple[type[Exception], ...] = ()
else:
    BROKEN = (urllib3.exceptions.HTTPError, OSError, http.client.HTTPException)
    UNVERIFIED = (urllib3.exceptions.SSLError,)

Json = dict[str, t.Any]
JSON = "application/json"
ATTEMPTS = 6
"""Tries of one request in all; with the pauses between them a fault of about half a minute is outlived."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_TRANSIENT = frozenset((429, 500, 502, 503, 504))
"""What passes by itself. Whether a write that was answered with 500 was acted on is unknown: whoever writes bears a second try."""


class Faulty(Exception):
    """The connection broke; whether the server acted is unknown."""


def error_of(status: int, body: Json, request: str) -> VirtError:
    """The error that a Status means."""
    reason, message = str(body.get("reason") or ""), str(body.get("message") or http.client.responses.get(status, "refused"))
    details = body.get("details") or {}
    causes = details.get("causes") or ()
    text = f"{request}: {message}"
    if status == 401:
        return ConnectionProblem(f"{text}. The credentials are not accepted (any more): renew the token or certificate.", status=401, request=request)
    if status == 403 and reason == "Forbidden" and " cannot " in message:
        return Forbidden(f"{message}. {_missing_rule(message)}", status, reason, request, causes)
    if status == 403:
        return Forbidden(text, status, reason, request, causes)
    if status == 409:
        return Conflict(text, status, reason, request, causes)
    if status == 410:
        return Gone(text, status, reason, request, causes)
    if status == 404 and not details.get("name"):
        return ResourceMissing(text, status, reason, request, causes)
    return ApiError(text, status, reason, request, causes)


def _missing_rule(message: str) -> str:
    """The RBAC rule that would have allowed it, out of the API server's own sentence."""
    def between(begin: str, end: str) -> str:
        rest = message.partition(begin)[2]
        return rest.partition(end)[0] if rest else ""

    verb = between(" cannot ", " ")
    resource, group = between('resource "', '"'), between('API group "', '"')
    if not verb or not resource:
        path = between('path "', '"')
        return f"The missing rule: nonResourceURLs [{path}], verbs [{verb}]." if path else "Ask a cluster administrator for the permission."
    where = between('in the namespace "', '"')
    scope = f"a RoleBinding in namespace {where}" if where else "a ClusterRoleBinding"
    return f'The missing rule: apiGroups ["{group}"], resources ["{resource}"], verbs ["{verb}"], by {scope}.'


class Transport:
    """Sends requests of one identity. Safe to use from several threads."""

    def __init__(self, api: t.Any, headers: t.Sequence[tuple[str, str]], request_timeout: float) -> None:
        self.api, self._headers, self.request_timeout = api, list(headers), request_timeout
        self._configuration = api.configuration
        self.requests = 0

    @property
    def host(self) -> str:
        return str(self._configuration.host)

    def close(self) -> None:
        self.api.rest_client.pool_manager.clear()

    def _all_headers(self, content_type: str | None, accept: str) -> t.Any:
        headers = HTTPHeaderDict({"Accept": accept, "User-Agent": "okd.virt"})
        if content_type:
            headers["Content-Type"] = content_type
        for setting in self._configuration.auth_settings().values():
            if setting.get("in") == "header" and setting.get("value"):
                headers[setting["key"]] = setting["value"]
        if self._configuration.username and "authorization" not in headers:
            headers["Authorization"] = self._configuration.get_basic_auth_token()
        for name, value in self._headers:
            headers.add(name, value)
        return headers

    def send(
        self, method: str, path: str, query: Json | None = None, body: t.Any = None, content_type: str = JSON,
        timeout: float | None = None, accept: str = JSON,
    ) -> tuple[int, t.Any, t.Any]:
        """One try: status, headers and the unread response. Raises Faulty, ConnectionProblem."""
        url = self.host + path + ("?" + urlencode(query) if query else "")
        data = None if body is None else json.dumps(body).encode()
        self.requests += 1
        try:
            # Not request(): with urllib3 1.26 that joins headers of the same name for some methods, and two groups would be one.
            response = self.api.rest_client.pool_manager.request_encode_url(
                method, url, body=data, headers=self._all_headers(content_type if data is not None else None, accept), preload_content=False,
                timeout=urllib3.Timeout(connect=min(10.0, self.request_timeout), read=timeout or self.request_timeout), retries=False, redirect=False,
            )
        except UNVERIFIED as error:
            raise ConnectionProblem(
                f"The certificate of {self.host} can't be verified: {error}. Give the authority's certificate in ca_cert or the kubeconfig."
            ) from error
        except BROKEN as error:
            raise Faulty(str(error)) from error
        return response.status, response.headers, response

    def exchange(
        self, method: str, path: str, query: Json | None = None, body: t.Any = None, content_type: str = JSON, accept: str = JSON,
    ) -> tuple[Json, bool]:
        """Send until there is an answer, and return it decoded, with whether an earlier try may have been acted on.

        Raises ApiError and its kin for a refusal, ConnectionProblem when the cluster stays out of reach.
        """
        request, uncertain = f"{method} {path}", False
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            try:
                status, headers, response = self.send(method, path, query, body, content_type, accept=accept)
                answer = decoded(response)
            except Faulty as error:
                if last:
                    raise ConnectionProblem(
                        f"{self.host} can't be reached ({request}, {ATTEMPTS} tries): {error}", request=request
                    ) from error
                uncertain = True
                _pause(attempt, None)
                continue
            if status < 400:
                return answer, uncertain
            if last or status not in _TRANSIENT:
                problem = error_of(status, answer, request)
                problem.details["uncertain"] = uncertain
                raise problem
            # A time-out of the server's own says nothing about whether it acted.
            uncertain = uncertain or status in (500, 504)
            _pause(attempt, headers.get("Retry-After"))
        raise AssertionError("not reached")


def decoded(response: t.Any) -> Json:
    """The body of a response, whatever it is, as an object. Raises Faulty when it breaks off."""
    try:
        content = response.read()
    except BROKEN as error:
        raise Faulty(str(error)) from error
    finally:
        response.release_conn()
    try:
        decoded = loads(content) if content else {}
    except ValueError:
        decoded = {"message": content.decode("utf-8", "replace")[:500].strip()}
    return decoded if isinstance(decoded, dict) else {"items": decoded}


def _pause(attempt: int, retry_after: str | None) -> None:
    """Wait before the next try: as long as the server says, else twice as long each time, spread so that clients don't come in step."""
    seconds = min(_FIRST_PAUSE * 2.0 ** (attempt - 1), _LONGEST_PAUSE) * random.uniform(0.75, 1.25)  # noqa: S311
    if retry_after and retry_after.isdigit():
        seconds = min(float(retry_after), 60.0)
    time.sleep(seconds)
