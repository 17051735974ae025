# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the KubeVirt object asks for, with KubeVirt's own defaults where it says nothing: pure.

Source: KubeVirt pkg/virt-config/{virt-config,configuration}.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import dataclasses
import re
import typing as t

from ...apiserver.quantities import QuantityError, canonical_quantity, quantity
from ...interface import Object

Version = tuple[int, int, int]
_DURATION = re.compile(r"(\d+(?:\.\d*)?)(h|ms|m|us|µs|ns|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@dataclasses.dataclass(frozen=True)
class Migrations:
    """`spec.configuration.migrations`. Bandwidth is a quantity of bytes a second, times are seconds; 0 is unlimited."""

    parallel_migrations_per_cluster: int = 5
    parallel_outbound_migrations_per_node: int = 2
    bandwidth_per_migration: str = "0"
    completion_timeout_per_gib: int = 150
    progress_timeout: int = 150
    allow_auto_converge: bool = False
    allow_post_copy: bool = False
    allow_workload_disruption: bool | None = False
    """None where KubeVirt does not know it."""
    unsafe_migration_override: bool = False
    disable_tls: bool | None = None
    network: str | None = None
    node_drain_taint_key: str = "kubevirt.io/drain"
    match_selinux_level_on_migration: bool | None = None

    def to_dict(self) -> Object:
        """As `status.migrationState.migrationConfiguration` shows it."""
        return {
            name: value for field in dataclasses.fields(self)
            if (name := _API_NAMES[field.name]) and (value := getattr(self, field.name)) is not None
        }


_API_NAMES = {
    "parallel_migrations_per_cluster": "parallelMigrationsPerCluster",
    "parallel_outbound_migrations_per_node": "parallelOutboundMigrationsPerNode",
    "bandwidth_per_migration": "bandwidthPerMigration", "completion_timeout_per_gib": "completionTimeoutPerGiB",
    "progress_timeout": "progressTimeout", "allow_auto_converge": "allowAutoConverge", "allow_post_copy": "allowPostCopy",
    "allow_workload_disruption": "allowWorkloadDisruption", "unsafe_migration_override": "unsafeMigrationOverride", "disable_tls": "disableTLS",
    "network": "network", "node_drain_taint_key": "nodeDrainTaintKey", "match_selinux_level_on_migration": "matchSELinuxLevelOnMigration",
}


@dataclasses.dataclass(frozen=True)
class WorkloadUpdateStrategy:
    """`spec.workloadUpdateStrategy`. Without methods nothing is updated. The interval is seconds."""

    methods: tuple[str, ...] = ()
    batch_eviction_size: int = 10
    batch_eviction_interval: float = 60.0


@dataclasses.dataclass(frozen=True)
class Configuration:
    """The settings that virt-controller goes by."""

    migrations: Migrations = Migrations()
    workload_update: WorkloadUpdateStrategy = WorkloadUpdateStrategy()
    eviction_strategy: str = "None"
    cpu_allocation_ratio: int = 10
    memory_overcommit: int = 100
    """Percent of the memory that pods ask for that guests may have."""
    additional_guest_memory_overhead_ratio: float | None = None
    disable_serial_console_log: bool = False
    node_selectors: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    feature_gates: frozenset[str] = frozenset()
    default_runtime_class: str = ""
    image_pull_policy: str = "IfNotPresent"
    vm_rollout_strategy: str = "Stage"
    default_network_interface: str = "bridge"
    permitted_host_devices: frozenset[str] | None = None
    """Resource names; None when the cluster doesn't restrict them."""


DEFAULTS = Configuration()


def seconds(text: str, default: float) -> float:
    """A duration in Go's form (`1m0s`); the default for what is none."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return default
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def configuration(kubevirt: Object | None, version: Version = (1, 5, 3)) -> Configuration:
    """The effective settings of a KubeVirt object, as the given version of KubeVirt reads them."""
    spec: Object = (kubevirt or {}).get("spec") or {}
    asked = spec.get("configuration") or {}
    developer = asked.get("developerConfiguration") or {}
    update = spec.get("workloadUpdateStrategy") or {}
    ratio = asked.get("additionalGuestMemoryOverheadRatio")
    return Configuration(
        migrations=_migrations(asked.get("migrations") or {}, version),
        workload_update=WorkloadUpdateStrategy(
            tuple(update.get("workloadUpdateMethods") or ()), _number(update.get("batchEvictionSize"), 10),
            seconds(str(update.get("batchEvictionInterval") or ""), 60.0),
        ),
        eviction_strategy=asked.get("evictionStrategy") or "None",
        cpu_allocation_ratio=_number(developer.get("cpuAllocationRatio"), 10),
        memory_overcommit=_number(developer.get("memoryOvercommit"), 100) or 100,
        additional_guest_memory_overhead_ratio=_ratio(ratio),
        disable_serial_console_log="disableSerialConsoleLog" in (asked.get("virtualMachineOptions") or {}),
        node_selectors=dict(developer.get("nodeSelectors") or {}),
        feature_gates=frozenset(developer.get("featureGates") or ()),
        default_runtime_class=asked.get("defaultRuntimeClass") or "",
        image_pull_policy=asked.get("imagePullPolicy") or "IfNotPresent",
        default_network_interface=(asked.get("network") or {}).get("defaultNetworkInterface") or "bridge",
        vm_rollout_strategy=asked.get("vmRolloutStrategy") or "Stage",
        permitted_host_devices=_permitted(asked.get("permittedHostDevices")),
    )


def _migrations(asked: Object, version: Version) -> Migrations:
    default = Migrations()
    post_copy = bool(asked.get("allowPostCopy", default.allow_post_copy))
    # Whoever allows post-copy and says no more allows disruption too. KubeVirt 1.4 doesn't know the field.
    disruption = bool(asked.get("allowWorkloadDisruption", post_copy)) if version >= (1, 5, 0) else None
    return Migrations(
        parallel_migrations_per_cluster=_number(asked.get("parallelMigrationsPerCluster"), default.parallel_migrations_per_cluster),
        parallel_outbound_migrations_per_node=_number(
            asked.get("parallelOutboundMigrationsPerNode"), default.parallel_outbound_migrations_per_node
        ),
        bandwidth_per_migration=bandwidth(asked.get("bandwidthPerMigration")),
        completion_timeout_per_gib=_number(asked.get("completionTimeoutPerGiB"), default.completion_timeout_per_gib),
        progress_timeout=_number(asked.get("progressTimeout"), default.progress_timeout),
        allow_auto_converge=bool(asked.get("allowAutoConverge", default.allow_auto_converge)),
        allow_post_copy=post_copy,
        allow_workload_disruption=disruption,
        unsafe_migration_override=bool(asked.get("unsafeMigrationOverride", default.unsafe_migration_override)),
        disable_tls=asked.get("disableTLS"),
        network=asked.get("network"),
        node_drain_taint_key=asked.get("nodeDrainTaintKey") or default.node_drain_taint_key,
        match_selinux_level_on_migration=asked.get("matchSELinuxLevelOnMigration"),
    )


def _number(value: t.Any, default: int) -> int:
    return value if isinstance(value, int) else default


def _ratio(value: t.Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def bandwidth(value: t.Any) -> str:
    """A quantity of bytes a second as KubeVirt writes it; 0, unlimited, for what is none."""
    try:
        return canonical_quantity(str(value))
    except QuantityError:
        return "0"


def _permitted(devices: Object | None) -> frozenset[str] | None:
    if devices is None:
        return None
    return frozenset(entry["resourceName"] for kind in ("pciHostDevices", "mediatedDevices", "usb") for entry in devices.get(kind) or ())


def bytes_of(text: t.Any) -> int:
    """A quantity in whole bytes, rounded up; 0 for what is none."""
    try:
        return int(quantity(str(text)).to_integral_value("ROUND_CEILING"))
    except QuantityError:
        return 0
