# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words for a failure, beside KubeVirt's own."""

from __future__ import annotations

import pytest

from ansible_collections.okd.virt.plugins.module_utils._migrations.reasons import raw_reason, why_failed

from .migration_objects import event, instance, migration


@pytest.mark.parametrize(("raw", "code"), [
    ("Live migration stuck for 151 seconds and has been aborted", "no_progress"),
    ("Live migration is not completed after 301 seconds and has been aborted", "too_slow"),
    ("Live migration aborted ", "cancelled"), ("Target pod is down", "target_down"),
    ("Live migration failed error: virError(Code=1)", "source_failed"),
])
def test_what_the_source_reported(raw: str, code: str) -> None:
    one = migration("Failed", "Running", {"migrationUid": "u1", "failureReason": raw, "failed": True, "completed": True})
    found = why_failed(one, None)
    assert found.code == code
    assert raw.strip() in found.sentence
    assert raw_reason(one) == raw.strip()


@pytest.mark.parametrize(("text", "code"), [
    ("Migration failed because vmi does not exist.", "vmi_gone"), ("Migration failed vmi shutdown during migration.", "vmi_gone"),
    ("Migration failed due to being canceled", "cancelled"), ("unschedulable pod shop/virt-launcher-vm-1-x timeout period exceeded", "target_unschedulable"),
    ("pending pod shop/virt-launcher-vm-1-x timeout period exceeded", "target_not_started"),
    ("Migration failed because target pod shutdown during migration", "target_down"),
    ("Migration failed because target attachment pod shutdown during migration", "target_down"),
    ("Migration target pod was removed during active migration.", "target_down"),
    ("VMI's migration state was taken over by another migration job during active migration.", "taken_over"),
    ("VMI is not eligible for migration because another migration job is in progress.", "not_started"),
])
def test_what_the_events_say(text: str, code: str) -> None:
    one = migration("Failed", "Scheduling")
    assert why_failed(one, None, [event("something else"), event(text, uid="another"), event(text)]).code == code
    assert raw_reason(one, None, [event(text)]) == text
    assert raw_reason(one, None, [event(text, uid="another")]) == ""


def test_the_time_out_of_the_pod_tells_more_than_its_removal() -> None:
    told = [event("Migration target pod was removed during active migration."), event("unschedulable pod shop/p timeout period exceeded")]
    assert why_failed(migration("Failed", "Scheduling"), None, told).code == "target_unschedulable"


@pytest.mark.parametrize(("reached", "code"), [
    ("", "not_started"), ("Scheduling", "target_not_started"), ("Scheduled", "target_down"), ("Running", "source_failed"),
])
def test_by_the_phases_when_nothing_else_tells(reached: str, code: str) -> None:
    assert why_failed(migration("Failed", reached), None).code == code


def test_conditions() -> None:
    rejected = migration("Failed", "Pending")
    rejected["status"]["conditions"] = [{"type": "migrationRejectedByResourceQuota", "status": "True"}]
    assert why_failed(rejected, None).code == "quota"
    stopped = migration("Failed", "Scheduled")
    stopped["status"]["conditions"] = [{"type": "migrationAbortRequested", "status": "True"}]
    assert why_failed(stopped, None).code == "cancelled"


def test_the_state_of_another_migration_does_not_count() -> None:
    """KubeVirt 1.4 copies whatever stands on the instance, also of an earlier migration."""
    earlier = {"migrationUid": "u0", "failureReason": "Live migration aborted ", "failed": True}
    one = migration("Failed", "Scheduling", earlier)
    assert why_failed(one, instance(state=earlier)).code == "target_not_started"
    assert raw_reason(one, instance(state=earlier)) == ""
    own = {"migrationUid": "u1", "failureReason": "Target pod is down", "failed": True}
    assert why_failed(migration("Failed", "Scheduled"), instance(state=own)).code == "target_down"
