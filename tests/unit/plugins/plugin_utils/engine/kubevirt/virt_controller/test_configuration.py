# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The effective settings of a KubeVirt object."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller.configuration import (
    Migrations,
    configuration,
    seconds,
)


def of(configuration_: dict[str, t.Any], **spec: t.Any) -> dict[str, t.Any]:
    return {"spec": {"configuration": configuration_, **spec}}


def test_a_kubevirt_that_says_nothing_has_the_defaults() -> None:
    made = configuration(None)
    assert made == configuration({}) == configuration(of({"migrations": {}}))
    assert made.migrations.to_dict() == {
        "allowAutoConverge": False, "allowPostCopy": False, "allowWorkloadDisruption": False, "bandwidthPerMigration": "0",
        "completionTimeoutPerGiB": 150, "nodeDrainTaintKey": "kubevirt.io/drain", "parallelMigrationsPerCluster": 5,
        "parallelOutboundMigrationsPerNode": 2, "progressTimeout": 150, "unsafeMigrationOverride": False,
    }
    assert made.workload_update.methods == ()
    assert made.eviction_strategy == "None"
    assert made.cpu_allocation_ratio == 10


def test_1_4_does_not_know_of_disruption() -> None:
    asked = of({"migrations": {"allowPostCopy": True, "allowWorkloadDisruption": True}})
    assert "allowWorkloadDisruption" not in configuration(asked, (1, 4, 1)).migrations.to_dict()
    assert configuration(asked, (1, 5, 3)).migrations.allow_workload_disruption is True


@pytest.mark.parametrize(("asked", "disruption"), [
    ({"allowPostCopy": True}, True), ({"allowPostCopy": True, "allowWorkloadDisruption": False}, False), ({"allowWorkloadDisruption": True}, True),
])
def test_who_allows_post_copy_allows_disruption_unless_told_otherwise(asked: dict[str, t.Any], disruption: bool) -> None:
    assert configuration(of({"migrations": asked})).migrations.allow_workload_disruption is disruption


def test_zero_is_a_number() -> None:
    made = configuration(of({"migrations": {"parallelMigrationsPerCluster": 0, "completionTimeoutPerGiB": 0, "bandwidthPerMigration": "1024Mi"}}))
    assert made.migrations == Migrations(parallel_migrations_per_cluster=0, completion_timeout_per_gib=0, bandwidth_per_migration="1Gi")


def test_everything_else_that_is_asked_for() -> None:
    made = configuration(of(
        {
            "evictionStrategy": "LiveMigrate", "additionalGuestMemoryOverheadRatio": "1.25", "virtualMachineOptions": {"disableSerialConsoleLog": {}},
            "developerConfiguration": {"cpuAllocationRatio": 4, "memoryOvercommit": 150, "featureGates": ["X"], "nodeSelectors": {"a": "b"}},
            "permittedHostDevices": {"pciHostDevices": [{"resourceName": "nvidia.com/A10"}], "usb": [{"resourceName": "u"}]},
        },
        workloadUpdateStrategy={"workloadUpdateMethods": ["LiveMigrate", "Evict"], "batchEvictionSize": 3, "batchEvictionInterval": "1m30s"},
    ))
    assert made.eviction_strategy == "LiveMigrate"
    assert made.additional_guest_memory_overhead_ratio == 1.25
    assert made.disable_serial_console_log
    assert (made.cpu_allocation_ratio, made.memory_overcommit, made.feature_gates, made.node_selectors) == (4, 150, frozenset({"X"}), {"a": "b"})
    assert made.permitted_host_devices == frozenset({"nvidia.com/A10", "u"})
    update = made.workload_update
    assert (update.methods, update.batch_eviction_size, update.batch_eviction_interval) == (("LiveMigrate", "Evict"), 3, 90.0)


@pytest.mark.parametrize(("text", "value"), [("1m0s", 60.0), ("90s", 90.0), ("1h2m3.5s", 3723.5), ("250ms", 0.25), ("", 7.0), ("soon", 7.0), ("5", 7.0)])
def test_durations_as_go_writes_them(text: str, value: float) -> None:
    assert seconds(text, 7.0) == value
