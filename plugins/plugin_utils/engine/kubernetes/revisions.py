# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ControllerRevisions: the templates that a DaemonSet or StatefulSet has had.

Source: Kubernetes pkg/controller/history/controller_history.go.
"""
from __future__ import annotations

import typing as t

from ..controller import Informer
from ..errors import StatusError
from ..interface import CONTROLLER_REVISIONS, Cluster, Object
from .pod_control import CONTROLLER, owner_reference
from .workload_status import REVISION_HASH_LABEL, template_hash

_KEPT = 10


def revision_of(workload: Object, number: int) -> Object:
    """The ControllerRevision of the workload's present template."""
    metadata, template = workload["metadata"], workload["spec"]["template"]
    digest = template_hash(template)
    labels = {**((template.get("metadata") or {}).get("labels") or {}), REVISION_HASH_LABEL: digest}
    return {
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": number,
        "metadata": {
            "name": f"{metadata['name']}-{digest}", "namespace": metadata["namespace"], "labels": labels, "ownerReferences": [owner_reference(workload)],
        },
        "data": {"spec": {"template": {**template, "$patch": "replace"}}},
    }


class Revisions:
    """Keeps the revisions of one kind of workload."""

    def __init__(self, cluster: Cluster, informer: Informer) -> None:
        self._cluster, self._informer = cluster, informer

    def of(self, workload: Object) -> list[Object]:
        """Oldest first."""
        return sorted(self._informer.by_index(CONTROLLER, workload["metadata"]["uid"]), key=lambda one: one["revision"])

    async def ensure(self, workload: Object, used: t.Collection[str] = ()) -> str:
        """The hash of the present template, whose revision is the newest; those beyond the limit that no pod uses go."""
        digest = template_hash(workload["spec"]["template"])
        held = self.of(workload)
        newest = held[-1]["revision"] if held else 0
        present = next((one for one in held if _hash(one) == digest), None)
        if present is None:
            try:
                await self._cluster.create(CONTROLLER_REVISIONS, revision_of(workload, newest + 1))
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
        elif present["revision"] != newest:
            await self._cluster.update(CONTROLLER_REVISIONS, {**present, "revision": newest + 1})
        kept = workload["spec"].get("revisionHistoryLimit", _KEPT)
        spare = [one for one in held if _hash(one) != digest and _hash(one) not in used]
        for one in spare[:max(0, len(spare) - kept)]:
            await self._cluster.delete(CONTROLLER_REVISIONS, one["metadata"]["name"], one["metadata"]["namespace"], uid=one["metadata"]["uid"])
        return digest


def _hash(revision: Object) -> str:
    return str((revision["metadata"].get("labels") or {}).get(REVISION_HASH_LABEL, ""))
