# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a migration failed, in words. Private to this collection.

Source: KubeVirt pkg/virt-controller/watch/migration/migration.go, pkg/virt-launcher/virtwrap/live-migration-source.go (the raw texts).
"""

from __future__ import annotations

import typing as t

from .state import Reason, condition, state_of

Json = dict[str, t.Any]
_RAW = (
    ("stuck for", "no_progress", "its memory changes faster than it is copied: no progress within progressTimeout"),
    ("is not completed after", "too_slow", "it did not complete within completionTimeoutPerGiB"),
    ("aborted", "cancelled", "it was cancelled"),
    ("Target pod is down", "target_down", "its target pod went down"),
)
_HANDED_OFF = ("PreparingTarget", "TargetReady", "Running")


def why_failed(migration: Json, vmi: Json | None) -> Reason:
    """The reason of a failed migration. C(vmi) helps while the migration does not hold its own copy of the state."""
    metadata, own = migration["metadata"], (migration.get("status") or {}).get("migrationState") or {}
    if vmi is not None and state_of(vmi).get("migrationUid") == metadata["uid"]:
        own = {**state_of(vmi), **own}
    raw = str(own.get("failureReason") or "").strip()
    for part, code, sentence in _RAW:
        if part in raw:
            return Reason(code, f"{sentence} ({raw})")
    if raw:
        return Reason("source_failed", f"the source node reported: {raw}")
    if condition(migration, "migrationAbortRequested") is not None or metadata.get("deletionTimestamp"):
        return Reason("cancelled", "it was cancelled")
    if condition(migration, "migrationRejectedByResourceQuota") is not None:
        return Reason("quota", "a ResourceQuota of its namespace leaves no room for the target pod")
    reached = [entry.get("phase") for entry in (migration.get("status") or {}).get("phaseTransitionTimestamps") or ()]
    if own.get("failed") or any(phase in _HANDED_OFF for phase in reached):
        return Reason("source_failed", "the source node reported that it failed, without a reason")
    if "Scheduled" in reached:
        return Reason("target_down", "its target pod went down before the hand-over")
    if "Scheduling" in reached:
        return Reason("target_not_started", "its target pod did not start in time: no node had room for it, or it could not come up there")
    return Reason("not_started", "it ended before it had a target pod: another migration of the VM was under way, or the VM went down")
