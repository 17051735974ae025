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
_EVENTS = (
    ("vmi does not exist", "vmi_gone", "the VM went away"),
    ("vmi shutdown during migration", "vmi_gone", "the VM was shut down meanwhile"),
    ("due to being canceled", "cancelled", "it was cancelled"),
    ("unschedulable pod", "target_unschedulable", "no node had room for its target pod in time"),
    ("pending pod", "target_not_started", "its target pod did not come up in time"),
    ("another migration job is in progress", "not_started", "another migration of the VM was under way"),
    ("taken over by another migration", "taken_over", "another migration of the VM took its place"),
    ("migration state was cleared", "taken_over", "the VM no longer knew of it"),
    ("target attachment pod shutdown", "target_down", "the pod that holds the hot-plugged disks on the target went down"),
    ("target pod shutdown", "target_down", "its target pod went down"),
    ("target pod was removed", "target_down", "its target pod was removed"),
)
"""Texts of KubeVirt's events on the migration, the most telling first."""


def own_state(migration: Json, vmi: Json | None) -> Json:
    """The state of this very migration: its own copy, and the instance's where that is about it.

    KubeVirt 1.4 copies the instance's state also when that tells of an earlier migration.
    """
    uid = migration["metadata"]["uid"]
    copied = (migration.get("status") or {}).get("migrationState") or {}
    if copied.get("migrationUid") not in (None, "", uid):
        copied = {}
    if vmi is not None and state_of(vmi).get("migrationUid") == uid:
        return {**state_of(vmi), **copied}
    return dict(copied)


def raw_reason(migration: Json, vmi: Json | None = None, events: t.Iterable[Json] = ()) -> str:
    """KubeVirt's own words for the failure: what the source node reported, else the event that tells most; "" if there are none."""
    reported = str(own_state(migration, vmi).get("failureReason") or "").strip()
    return reported or _told(migration, events)[0]


def why_failed(migration: Json, vmi: Json | None, events: t.Iterable[Json] = ()) -> Reason:
    """The reason of a failed migration. C(vmi) helps while the migration does not hold its own copy of the state, C(events) where it never does."""
    metadata, own = migration["metadata"], own_state(migration, vmi)
    raw = str(own.get("failureReason") or "").strip()
    for part, code, sentence in _RAW:
        if part in raw:
            return Reason(code, f"{sentence} ({raw})")
    if raw:
        return Reason("source_failed", f"the source node reported: {raw}")
    if condition(migration, "migrationAbortRequested") is not None or metadata.get("deletionTimestamp"):
        return Reason("cancelled", "it was cancelled")
    told = _told(migration, events)[1]
    if told is not None:
        return told
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


def _told(migration: Json, events: t.Iterable[Json]) -> tuple[str, Reason | None]:
    """What the events on a migration say of its end."""
    uid = migration["metadata"]["uid"]
    texts = [str(one.get("message") or "") for one in events if (one.get("involvedObject") or {}).get("uid") == uid]
    for part, code, sentence in _EVENTS:
        for text in texts:
            if part in text:
                return text.strip(), Reason(code, f"{sentence} ({text.strip()})")
    return "", None
