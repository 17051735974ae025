# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what becomes of a migration into its status, and lets it go when it is over.

Source: KubeVirt pkg/virt-controller/watch/migration/migration.go (updateStatus, garbageCollectFinalizedMigrations), v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import typing as t

from ....clock import Clock
from ....errors import StatusError
from ....interface import Cluster, Object
from ..conditions import new, updated, without
from ..phases import MIGRATIONS
from . import phases

KEPT = 5
"""Finished migrations that are kept of each instance, the newest."""
_JSON_PATCH = "application/json-patch+json"


def keeps_state(migration: Object, vmi: Object | None) -> bool:
    """Whether a finished migration takes over the instance's migrationState as its own last words: as long as it is this migration's."""
    return phases.owns_state(migration, vmi) and (migration.get("status") or {}).get("migrationState") != phases.state_of(vmi)


def surplus(migrations: t.Sequence[Object]) -> list[Object]:
    """Those to delete of an instance's migrations, which come oldest first."""
    finished = [one for one in migrations if phases.is_final(one) and not phases.is_deleting(one)]
    return finished[:-KEPT]


class StatusWriter:
    """Writes of the migration object itself. Every method may raise StatusError."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock

    async def phase(self, migration: Object, step: phases.Step, *, cancelled: bool = False) -> None:
        status: Object = {**(migration.get("status") or {}), "phase": step.phase}
        entry = {"phase": step.phase, "phaseTransitionTimestamp": self._clock.timestamp()}
        status["phaseTransitionTimestamps"] = [*(status.get("phaseTransitionTimestamps") or ()), entry]
        if step.source_pod:
            status["migrationState"] = {"sourcePod": step.source_pod}
        conditions = status.pop("conditions", None) or []
        if cancelled and not phases.has_condition(migration, phases.ABORT_REQUESTED):
            conditions = updated(conditions, self._condition(phases.ABORT_REQUESTED))
        if phases.phase(migration) == phases.SCHEDULING:
            conditions = without(conditions, phases.OVER_QUOTA)
        if conditions:
            status["conditions"] = conditions
        await self._write(migration, status)

    async def condition(self, migration: Object, kind: str) -> None:
        status = {**(migration.get("status") or {})}
        status["conditions"] = updated(status.get("conditions") or [], self._condition(kind))
        await self._write(migration, status)

    async def state(self, migration: Object, state: Object) -> None:
        await self._write(migration, {**migration["status"], "migrationState": state})

    async def let_go(self, migration: Object) -> None:
        """Take the finalizer away."""
        finalizers = migration["metadata"].get("finalizers") or []
        if phases.FINALIZER not in finalizers:
            return
        left = [name for name in finalizers if name != phases.FINALIZER]
        patch: list[Object] = [
            {"op": "test", "path": "/metadata/finalizers", "value": finalizers},
            {"op": "replace", "path": "/metadata/finalizers", "value": left} if left else {"op": "remove", "path": "/metadata/finalizers"},
        ]
        metadata = migration["metadata"]
        await self._cluster.patch(MIGRATIONS, metadata["name"], patch, metadata["namespace"], content_type=_JSON_PATCH)

    async def collect(self, migrations: t.Sequence[Object]) -> None:
        """Delete finished migrations of one instance, given oldest first, but the newest."""
        for migration in surplus(migrations):
            metadata = migration["metadata"]
            try:
                await self._cluster.delete(MIGRATIONS, metadata["name"], metadata["namespace"], metadata["uid"])
            except StatusError as error:
                if error.code not in (404, 409):
                    raise

    def _condition(self, kind: str) -> Object:
        return new(kind, "True", None, probed=self._clock.timestamp())

    async def _write(self, migration: Object, status: Object) -> None:
        await self._cluster.update(MIGRATIONS, {**migration, "status": status}, "status")
