# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log: a line for each request, an Event of audit.k8s.io/v1 at the level Metadata.

Source of the shape: Kubernetes apiserver pkg/apis/audit/v1/types.go.
"""
from __future__ import annotations

import json
import time
import typing as t
import uuid

from .apiserver.identity import UserInfo
from .apiserver.request import Request, request_info
from .clock import Clock

MILLISECONDS = "engine.okd.virt/milliseconds"
"""Annotation of an event: how long the answer took, in real time; the timestamps are the cluster's."""


class AuditLog:
    def __init__(self, file: t.TextIO, clock: Clock, user_of: t.Callable[[Request], UserInfo | None]) -> None:
        self._file, self._clock, self._user_of = file, clock, user_of

    def received(self) -> tuple[str, float]:
        """When a request came: engine time, and the clock on the wall to measure with."""
        return self._clock.micro_timestamp(), time.monotonic()

    def answered(self, request: Request, status: int, received: tuple[str, float], watch: bool = False) -> None:
        """A request was answered, or its watch begun."""
        info, user = request_info(request), self._user_of(request)
        event: dict[str, t.Any] = {
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": str(uuid.uuid4()),
            "stage": "ResponseStarted" if watch else "ResponseComplete", "requestURI": request.target, "verb": info.verb,
            "user": user.to_dict() if user is not None else {},
        }
        impersonated = request.headers.get("Impersonate-User")
        if impersonated:
            groups = request.headers.getall("Impersonate-Group", [])
            event["impersonatedUser"] = {"username": impersonated, **({"groups": list(groups)} if groups else {})}
        event["sourceIPs"] = [request.peer] if request.peer else []
        agent = request.headers.get("User-Agent")
        if agent:
            event["userAgent"] = agent
        if info.is_resource:
            fields = {
                "resource": info.resource, "namespace": info.namespace, "name": info.name, "apiGroup": info.group, "apiVersion": info.version,
                "subresource": info.subresource,
            }
            event["objectRef"] = {key: value for key, value in fields.items() if value}
        event["responseStatus"] = {"metadata": {}, "code": status}
        event["requestReceivedTimestamp"], event["stageTimestamp"] = received[0], self._clock.micro_timestamp()
        event["annotations"] = {MILLISECONDS: f"{1000 * (time.monotonic() - received[1]):.3f}"}
        self._file.write(json.dumps(event, separators=(",", ":")) + "\n")
        self._file.flush()
