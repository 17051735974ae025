# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When virt-controller holds that a migration has failed, and what it says of it: pure.

Source: KubeVirt pkg/virt-controller/watch/migration/migration.go (updateStatus), v1.4.1 and v1.5.3.
"""
from __future__ import annotations

from ....interface import Object
from .. import phases as instances
from .. import pods
from . import phases


def failure(
    migration: Object, vmi: Object | None, target_pod: Object | None, handed_off: bool = False, attachment_down: bool = False
) -> str | None:
    """The text of the event for the first reason that holds, or None while the migration goes on. The migration is not final.

    `handed_off` says that the instance was told of the migration, whatever its cached state shows.
    """
    if vmi is None:
        return "Migration failed because vmi does not exist."
    if instances.is_final(vmi):
        return "Migration failed vmi shutdown during migration."
    if is_cancelled(migration, vmi, handed_off):
        return "Migration failed due to being canceled"
    if target_pod is not None and pods.is_final(target_pod):
        return "Migration failed because target pod shutdown during migration"
    if phases.has_target(migration) and target_pod is None:
        return "Migration target pod was removed during active migration."
    state, uid = phases.state_of(vmi), migration["metadata"]["uid"]
    if phases.is_handed_off(migration):
        if not state:
            return "VMI's migration state was cleared during the active migration."
        if state.get("migrationUid") != uid:
            return "VMI's migration state was taken over by another migration job during active migration."
    if state.get("migrationUid") == uid and state.get("failed"):
        return "source node reported migration failed"
    if attachment_down:
        return "Migration failed because target attachment pod shutdown during migration"
    return None


def is_cancelled(migration: Object, vmi: Object | None, handed_off: bool = False) -> bool:
    """Whether the migration is deleted before virt-handler has heard of it."""
    return phases.is_deleting(migration) and not handed_off and not phases.owns_state(migration, vmi)
