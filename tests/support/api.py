# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain HTTP client of one API server: what a test asks without the library under test in between."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client, config

Object = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
REVIEWS = "/apis/authorization.k8s.io/v1"
OPERATORS = "/apis/operators.coreos.com/v1alpha1"


@dataclass(frozen=True)
class Answer:
    """Status code, decoded body and headers of one request."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class Api:
    """Requests as the kubeconfig's user, or as somebody else by impersonation."""

    def __init__(self, kubeconfig: Path | str, context: str | None = None) -> None:
        configuration = client.Configuration()
        config.load_kube_config(str(kubeconfig), context=context, client_configuration=configuration)  # type: ignore[no-untyped-call]
        self.url: str = configuration.host
        self._token: str = configuration.api_key.get("authorization", "")
        self._pool = urllib3.PoolManager(
            maxsize=16,
            ca_certs=configuration.ssl_ca_cert,
            cert_file=configuration.cert_file,
            key_file=configuration.key_file,
            retries=False,
            timeout=urllib3.Timeout(connect=10, read=60),
        )

    def _headers(self, user: str, groups: Sequence[str], content_type: str) -> urllib3.HTTPHeaderDict:
        headers = urllib3.HTTPHeaderDict({"Accept": "application/json"})
        if content_type:
            headers["Content-Type"] = content_type
        if self._token:
            headers["Authorization"] = self._token if " " in self._token else f"Bearer {self._token}"
        if user:
            headers["Impersonate-User"] = user
            for group in groups:
                headers.add("Impersonate-Group", group)
        return headers

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        user: str = "",
        groups: Sequence[str] = (),
        accept: str = "application/json",
    ) -> Answer:
        """One request; any status is an answer. A body of bytes goes out as it is."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = self._headers(user, groups, content_type if body is not None else "")
        headers["Accept"] = accept
        response = self._pool.request(method, self.url + path, body=data, headers=headers)
        try:
            decoded = json.loads(response.data) if response.data else None
        except ValueError:
            decoded = response.data.decode(errors="replace")
        return Answer(response.status, decoded, response.headers)

    def get(self, path: str) -> Object:
        """The object or list at this path; anything but success is an AssertionError with the server's text."""
        return self.expect(200, "GET", path)

    def expect(self, status: int, method: str, path: str, body: object = None, **options: Any) -> Object:
        """The body of a request that must be answered with this status."""
        answer = self.request(method, path, body, **options)
        if answer.status != status:
            raise AssertionError(f"{method} {path}: {answer.status} instead of {status}: {answer.body}")
        found: Object = answer.body
        return found

    def items(self, path: str) -> list[Object]:
        """The objects of a list."""
        found: list[Object] = self.get(path)["items"]
        return found

    def stream(self, path: str, read_timeout: float = 60) -> Iterator[Object]:
        """Events of a watch until the server ends it."""
        response = self._pool.request(
            "GET",
            self.url + path,
            headers=self._headers("", (), ""),
            preload_content=False,
            timeout=urllib3.Timeout(connect=10, read=read_timeout),
        )
        try:
            if response.status != 200:
                raise AssertionError(f"GET {path}: {response.status}: {response.data!r}")
            pending = b""
            for chunk in response.stream(65536):
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield json.loads(line)
        finally:
            response.release_conn()

    def allowed(self, user: str, groups: Sequence[str], attributes: Mapping[str, str]) -> bool:
        """What a SubjectAccessReview says."""
        spec = {"user": user, "groups": list(groups), "resourceAttributes": dict(attributes)}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        return bool(self.expect(201, "POST", f"{REVIEWS}/subjectaccessreviews", review)["status"]["allowed"])
