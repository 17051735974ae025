# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of each VM before anything is done."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import PreconditionFailed
from ansible_collections.okd.virt.plugins.module_utils._migrations.limits import Limits
from ansible_collections.okd.virt.plugins.module_utils.migration.observed import Observed
from ansible_collections.okd.virt.plugins.module_utils.migration.plan import intents, make_plan, manifest
from ansible_collections.okd.virt.plugins.module_utils.migration.request import CANCELLED, SKIP, Request

from .._migrations.migration_objects import instance, migration

KEY = ("shop", "vm-1")
STUCK = [{"type": "LiveMigratable", "status": "False", "reason": "HostDeviceNotLiveMigratable", "message": "VMI uses a PCI host devices"}]


def observed(*migrations: dict[str, t.Any], vmi: dict[str, t.Any] | None = None, **more: t.Any) -> Observed:
    return Observed({KEY: vmi or instance()}, list(migrations), more.pop("limits", Limits()), **more)


def way(found: Observed, **wanted: t.Any) -> tuple[str, str]:
    one = intents(found, Request(namespace="shop", names=("vm-1",), **wanted))[0]
    return one.way, one.code


@pytest.mark.parametrize(("found", "wanted", "expected"), [
    (observed(), {}, ("migrate", "migrates")),
    (observed(migration("Running")), {}, ("follow", "under_way")),
    (observed(migration("Succeeded"), migration("Failed")), {}, ("migrate", "migrates")),
    (observed(), {"from_nodes": ("node01",)}, ("migrate", "migrates")),
    (observed(), {"from_nodes": ("node02",)}, ("stayed", "elsewhere")),
    (observed(migration("Running")), {"from_nodes": ("node02",)}, ("stayed", "elsewhere")),
    (observed(fitting_nodes=frozenset({"node01"})), {"target_node_selector": {"a": "b"}}, ("stayed", "on_target")),
    (observed(fitting_nodes=frozenset({"node02"})), {"target_node_selector": {"a": "b"}}, ("migrate", "migrates")),
    (observed(migration("Succeeded", labels={"okd.virt/migration-run": "CHG-1"})), {"run": "CHG-1"}, ("stayed", "moved_already")),
    (observed(migration("Failed", labels={"okd.virt/migration-run": "CHG-1"})), {"run": "CHG-1"}, ("migrate", "migrates")),
    (observed(migration("Succeeded", labels={"okd.virt/migration-run": "CHG-1"})), {"run": "CHG-2"}, ("migrate", "migrates")),
    (observed(), {"state": CANCELLED}, ("stayed", "not_moving")),
    (observed(migration("Pending")), {"state": CANCELLED}, ("cancel", "cancelled")),
    (
        observed(migration("Running"), vmi=instance(state={"migrationUid": "u1", "mode": "PostCopy", "startTimestamp": "2026-11-24T10:00:00Z"})),
        {"state": CANCELLED}, ("not_cancelled", "post_copy"),
    ),
])
def test_ways(found: Observed, wanted: dict[str, t.Any], expected: tuple[str, str]) -> None:
    assert way(found, **wanted) == expected


@pytest.mark.parametrize(("found", "code"), [
    (observed(vmi=instance(conditions=STUCK)), "not_migratable"), (observed(vmi=instance(phase="Scheduling")), "not_running"),
    (observed(missing=("vm-2",)), "no_such_vm"), (observed(stopped=("vm-2",)), "not_running"), (observed(limits=Limits(0, 2)), "no_slots"),
    (observed(limits=Limits(5, 0)), "no_slots"),
])
def test_refusals(found: Observed, code: str) -> None:
    with pytest.raises(PreconditionFailed) as caught:
        make_plan(found, Request(namespace="shop", names=("vm-1", "vm-2")))
    assert caught.value.details["code"] == code
    assert caught.value.message.endswith("Nothing was changed.")


def test_what_cannot_migrate_may_be_left_out() -> None:
    planned = make_plan(observed(vmi=instance(conditions=STUCK)), Request(namespace="shop", names=("vm-1",), on_unmigratable=SKIP))
    assert planned.empty
    assert planned.facts["vms"][0]["code"] == "not_migratable_skipped"


def test_a_vm_that_stays_is_not_judged() -> None:
    """It may be unmigratable, and nobody wants to move it."""
    planned = make_plan(observed(vmi=instance(conditions=STUCK)), Request(namespace="shop", names=("vm-1",), from_nodes=("node02",)))
    assert planned.empty


def test_the_manifest_says_whose_it_is_and_where_to() -> None:
    plain = manifest(KEY, Request(namespace="shop"), "CHG-1", "abc")
    assert (plain["metadata"]["name"], plain["metadata"]["labels"]) == ("okd-virt-migration-abc", {"okd.virt/migration-run": "CHG-1"})
    assert plain["spec"] == {"vmiName": "vm-1"}
    named = manifest(KEY, Request(namespace="shop", target_node_selector={"zone": "a"}), "CHG-1", "abc")
    assert named["spec"] == {"vmiName": "vm-1", "addedNodeSelector": {"zone": "a"}}


def test_the_largest_begin_first() -> None:
    large = instance("vm-2")
    large["spec"]["domain"]["memory"]["guest"] = "8Gi"
    found = Observed({KEY: instance(), ("shop", "vm-2"): large}, [], Limits())
    assert [one.key[1] for one in intents(found, Request(namespace="shop"))] == ["vm-2", "vm-1"]
