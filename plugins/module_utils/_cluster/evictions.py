# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the API server to evict a pod, and what it answers. Private to this collection.

Source: Kubernetes pkg/registry/core/pod/storage/eviction.go; KubeVirt pkg/virt-api/webhooks/validating-webhook/admitters/pod-eviction-admitter.go.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .client import Cluster
from .resources import PODS
from .transport import Faulty

Json = dict[str, t.Any]


@dataclass(frozen=True)
class EvictionAnswer:
    """C(status) is the HTTP status, 0 when there was no answer. C(retry_after) in seconds, where the server says it.

    C(causes) are the reasons of the status' details, C(explanations) their sentences: they name the budget and its numbers.
    """

    status: int
    message: str = ""
    causes: tuple[str, ...] = ()
    retry_after: float | None = None
    explanations: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        return self.status in (200, 201)

    @property
    def gone(self) -> bool:
        """Whether the pod is not there any more, or is another one."""
        return self.status in (404, 409)

    @property
    def refused(self) -> bool:
        """Whether asking again can't help: the caller lacks a right, or the request is wrong."""
        return self.status in (400, 401, 403, 422) and "NamespaceTerminating" not in self.causes


def evict(cluster: Cluster, pod: Json, grace_period: int | None = None, dry_run: bool = False) -> EvictionAnswer:
    """Ask once to evict this very pod. Raises ConnectionProblem only for certificates that can't be verified."""
    metadata = pod["metadata"]
    options: Json = {"preconditions": {"uid": metadata["uid"]}}
    if grace_period is not None:
        options["gracePeriodSeconds"] = grace_period
    if dry_run:
        options["dryRun"] = ["All"]
    body = {
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "deleteOptions": options,
    }
    try:
        answer = cluster.ask("POST", PODS.path(metadata["namespace"], metadata["name"], "eviction"), body)
    except Faulty as error:
        return EvictionAnswer(0, f"the connection broke: {error}")
    causes = (answer.body.get("details") or {}).get("causes") or ()
    after = answer.retry_after
    return EvictionAnswer(
        answer.status, str(answer.body.get("message") or ""), tuple(str(one.get("reason") or "") for one in causes),
        float(after) if after and after.isdigit() else None, tuple(str(one["message"]) for one in causes if one.get("message")),
    )
