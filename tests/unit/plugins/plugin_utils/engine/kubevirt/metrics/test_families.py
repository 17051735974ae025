# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics as text, and what counts as what."""
from __future__ import annotations

import typing as t

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.metrics.families import (
    of_instances,
    of_migrations,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.metrics.text import Family, exposition


def test_the_text_format() -> None:
    gauge, times, empty = Family("a", "About a."), Family("b", "About b.", "histogram"), Family("c", "Nothing.")
    gauge.add(1.5, name='x"y\\z\n', also="1")
    gauge.add(3)
    times.observe([0.5, 2.0], [1.0], phase="Running")
    assert exposition([gauge, empty, times]).decode().splitlines() == [
        "# HELP a About a.", "# TYPE a gauge", 'a{also="1",name="x\\"y\\\\z\\n"} 1.5', "a 3", "# HELP b About b.", "# TYPE b histogram",
        'b_bucket{le="1",phase="Running"} 1', 'b_bucket{le="+Inf",phase="Running"} 2', 'b_sum{phase="Running"} 2.5', 'b_count{phase="Running"} 2',
    ]  # fmt: skip
    assert exposition([empty]) == b""


def _migration(name: str, phase: str) -> dict[str, t.Any]:
    metadata = {"name": name, "namespace": "shop", "creationTimestamp": "2026-11-23T10:00:00Z"}
    return {"metadata": metadata, "spec": {"vmiName": "vm-1"}, "status": {"phase": phase} if phase else {}}


def test_what_runs_is_whatever_has_a_target() -> None:
    phases = ("", "Pending", "Scheduling", "Scheduled", "PreparingTarget", "TargetReady", "Running", "Succeeded", "Failed", "Failed")
    families = {family.name: family for family in of_migrations([_migration(f"m{number}", phase) for number, phase in enumerate(phases)])}
    counts = {name: family.samples[0][2] for name, family in families.items() if name.endswith("_phase")}
    assert counts == {
        "kubevirt_vmi_migrations_in_pending_phase": 1, "kubevirt_vmi_migrations_in_scheduling_phase": 1, "kubevirt_vmi_migrations_in_unset_phase": 1,
        "kubevirt_vmi_migrations_in_running_phase": 4,
    }  # fmt: skip
    assert len(families["kubevirt_vmi_migration_failed"].samples) == 2
    assert families["kubevirt_vmi_migration_succeeded"].samples[0][1] == {"vmi": "vm-1", "vmim": "m7", "namespace": "shop"}


def test_who_has_to_move_and_can_not() -> None:
    def vmi(strategy: str, migratable: str) -> dict[str, t.Any]:
        return {
            "metadata": {"name": strategy, "namespace": "shop", "labels": {"kubevirt.io/outdatedLauncherImage": ""}},
            "spec": {"evictionStrategy": strategy},
            "status": {"phase": "Running", "conditions": [{"type": "LiveMigratable", "status": migratable}]},
        }

    families = {family.name: family for family in of_instances([vmi("LiveMigrate", "False"), vmi("None", "False")], {})}
    stuck = {labels["name"]: value for _name, labels, value in families["kubevirt_vmi_non_evictable"].samples}
    assert stuck == {"LiveMigrate": 1, "None": 0}
    assert families["kubevirt_vmi_number_of_outdated"].samples[0][2] == 2
