# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The update playbook as a user runs it: once, twice, in check mode, stage by stage, and where it must refuse."""

from __future__ import annotations

import time

import pytest

from ansible_collections.okd.virt.tests.support.api import MERGE_PATCH, OPERATORS, RBAC
from ansible_collections.okd.virt.tests.support.playbook import Run

from .conftest import STAGES, Procedure


def changes(run: Run) -> list[str]:
    """The list of changes that the playbook shows at its end."""
    (facts,) = (
        result["ansible_facts"]["update_4_19_result"]
        for result in run.results("ansible.builtin.set_fact")
        if "update_4_19_result" in result.get("ansible_facts", {})
    )
    found: list[str] = facts["changes"]
    return found


def changed_objects(run: Run) -> set[str]:
    """Kind and name of all that the list of changes names.

    Not the verb: two changes of one object are two creations where the first was not made.
    """
    return {" ".join(line.partition(": ")[0].split()[1:3]) for line in changes(run)}


def updated(procedure: Procedure) -> bool:
    """Whether the operator is at the target version, all of it."""
    csvs = procedure.api.items(f"{OPERATORS}/namespaces/{procedure.target.namespace}/clusterserviceversions")
    (hyperconverged,) = procedure.api.items("/apis/hco.kubevirt.io/v1beta1/hyperconvergeds")
    versions = {entry["name"]: entry["version"] for entry in hyperconverged["status"]["versions"]}
    return [csv["metadata"]["name"] for csv in csvs] == [procedure.target.csv] and (
        versions["operator"] == procedure.target.version
    )


def test_update_4_19_twice_and_checked(procedure: Procedure) -> None:
    """Check, run, check, run: yes, yes, no, no."""
    before = procedure.objects()
    began = time.monotonic()
    checked = procedure.run("--check", "--diff").passed()
    # Only a guard: the update alone would take minutes of the cluster's own time.
    assert time.monotonic() - began < 60
    assert procedure.objects() == before
    assert checked.changed

    done = procedure.run().passed()
    assert updated(procedure)
    assert not procedure.has_temporary_role()
    assert all(procedure.may_migrate(person, namespace) for person, namespace in procedure.trusted.pairs)
    trusted = set(procedure.trusted.pairs)
    others = [holder for holder in procedure.lab.holders_of("admin") if (holder.person, holder.namespace) not in trusted]
    assert others
    assert not any(procedure.may_migrate(holder.person, holder.namespace) for holder in others)
    # What check mode announced is what was done.
    assert changed_objects(checked) == changed_objects(done)
    assert {line.split()[0] for line in changes(done)} >= {"create", "delete"}

    after = procedure.objects()
    assert procedure.run("--check").passed().changed == []
    again = procedure.run().passed()
    assert again.changed == []
    assert changes(again) == []
    assert procedure.objects() == after


@pytest.mark.parametrize("procedure", [{"speed": "1"}], indirect=True)
def test_check_mode_waits_for_nothing(procedure: Procedure) -> None:
    """In real time the update would take minutes: check mode has nothing to wait for."""
    began = time.monotonic()
    checked = procedure.run("--check", wait_timeout=3600).passed()
    assert time.monotonic() - began < 60
    kinds = {line.split()[1] for line in changes(checked)}
    assert kinds == {"ClusterRole", "InstallPlan", "RoleBinding"}


def test_stage_by_stage(procedure: Procedure) -> None:
    admin = next(pair for pair in procedure.trusted.pairs)
    editor = next(
        holder
        for holder in procedure.lab.holders_of("edit")
        if (holder.person, holder.namespace) in procedure.trusted.pairs
    )
    assert procedure.stage("preserve_access").passed().changed
    assert procedure.has_temporary_role()
    assert not updated(procedure)
    assert procedure.stage("update").passed().changed
    assert updated(procedure)
    assert procedure.may_migrate(*admin)
    # The documented label reaches admin only: editors have lost it until they are bound.
    assert not procedure.may_migrate(editor.person, editor.namespace)
    assert procedure.stage("grant_access").passed().changed
    assert all(procedure.may_migrate(*pair) for pair in procedure.trusted.pairs)
    assert procedure.has_temporary_role()
    assert procedure.stage("retire_temporary_role").passed().changed
    assert not procedure.has_temporary_role()


@pytest.mark.parametrize("last", STAGES[:-1])
def test_stopped_after_a_stage_and_gone_on_with_the_next(procedure: Procedure, last: str) -> None:
    procedure.run(stop_after=last).passed()
    assert procedure.has_temporary_role()
    assert updated(procedure) == (last != "preserve_access")
    procedure.run(start_at=STAGES[STAGES.index(last) + 1]).passed()
    assert updated(procedure)
    assert not procedure.has_temporary_role()
    assert all(procedure.may_migrate(*pair) for pair in procedure.trusted.pairs)


def test_stages_out_of_order_are_refused(procedure: Procedure) -> None:
    before = procedure.objects()
    refused = procedure.run(start_at="grant_access", stop_after="update")
    assert refused.returncode == 2
    assert "comes after" in refused.failures[0]
    refused = procedure.run(target_version="")
    assert refused.returncode == 2
    assert "update_4_19_target_version" in refused.failures[0]
    assert procedure.objects() == before


def test_the_temporary_role_stays_while_a_trusted_subject_depends_on_it(procedure: Procedure) -> None:
    procedure.run(stop_after="update", aggregate_to=["admin", "edit"]).passed()
    before = procedure.objects()
    refused = procedure.stage("retire_temporary_role")
    assert refused.returncode == 2
    (message,) = refused.failures
    for person, _namespace in procedure.trusted.pairs:
        if not any(person.name in entry.get("users", []) for entry in procedure.trusted.option):
            continue
        assert person.name in message
    for entry in procedure.trusted.option:
        for group in entry.get("groups", []):
            assert group in message
        assert entry["namespaces"][0] in message
    assert procedure.has_temporary_role()
    assert procedure.objects() == before
    procedure.run(start_at="grant_access").passed()
    assert not procedure.has_temporary_role()


@pytest.mark.parametrize("procedure", [{"flavour": "openshift"}], indirect=True)
def test_openshift_names(procedure: Procedure) -> None:
    assert procedure.target.namespace == "openshift-cnv"
    procedure.run().passed()
    assert updated(procedure)
    assert procedure.run().passed().changed == []


def automatic(procedure: Procedure) -> None:
    """Let the operator follow its catalogue by itself, as is the default: the plan that waits makes room for an approved one."""
    namespace = f"{OPERATORS}/namespaces/{procedure.target.namespace}"
    (subscription,) = procedure.api.items(f"{namespace}/subscriptions")
    path = f"{namespace}/subscriptions/{subscription['metadata']['name']}"
    patch = {"spec": {"installPlanApproval": "Automatic"}}
    procedure.api.expect(200, "PATCH", path, patch, content_type=MERGE_PATCH)
    procedure.api.expect(200, "DELETE", f"{namespace}/installplans/{procedure.target.plan}")


def until_updated(procedure: Procedure) -> None:
    """Wait until the operator has updated itself."""
    deadline = time.monotonic() + 60
    while not updated(procedure):
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize("procedure", [{"speed": "1"}], indirect=True)
def test_automatic_approval_is_warned_of_while_there_is_time(procedure: Procedure) -> None:
    automatic(procedure)
    run = procedure.stage("preserve_access").passed()
    warned = "".join(warning for task in run.tasks for warning in task["result"].get("warnings", []))
    assert "installPlanApproval Automatic" in warned
    assert procedure.has_temporary_role()
    assert not updated(procedure)


def test_too_late_is_refused_with_the_names_of_who_has_lost_access(procedure: Procedure) -> None:
    automatic(procedure)
    until_updated(procedure)
    before = procedure.objects()
    refused = procedure.run()
    assert refused.returncode == 2
    (message,) = refused.failures
    for entry in procedure.trusted.option:
        assert entry["namespaces"][0] in message
        assert all(user in message for user in entry.get("users", []))
    assert procedure.objects() == before
    assert not procedure.has_temporary_role()
    # The way on that the message names: bind them directly.
    procedure.run(start_at="grant_access").passed()
    assert all(procedure.may_migrate(*pair) for pair in procedure.trusted.pairs)
    # From then on the whole procedure finds nothing to do.
    assert procedure.run().passed().changed == []


def test_too_late_can_be_mended_by_the_temporary_role(procedure: Procedure) -> None:
    automatic(procedure)
    until_updated(procedure)
    run = procedure.run(when_late="restore", aggregate_to=["admin", "edit"]).passed()
    assert "Preserve live migration by the temporary role" in "".join(run.changed)
    assert all(procedure.may_migrate(*pair) for pair in procedure.trusted.pairs)
    assert procedure.api.request("GET", f"{RBAC}/clusterroles/kubevirt.io:migrate").status == 200
    assert not procedure.has_temporary_role()
