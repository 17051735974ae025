# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fields of HyperConverged spec.liveMigrationConfig: their options, defaults, and which values make sense. Pure. Private to this collection.

Source: HyperConverged deploy/crds/hco00.crd.yaml v1.14.0 and v1.15.0 (types, defaults); KubeVirt pkg/virt-config (defaults of what has none there),
pkg/virt-launcher/virtwrap/live-migration-source.go (units).
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .._errors import OptionError
from .._quantity import PLAIN, quantity

Value: t.TypeAlias = int | str | bool | None
_LARGEST = {"parallel_migrations_per_cluster": 2**31 - 1, "parallel_outbound_migrations_per_node": 2**31 - 1}
_LARGEST_OTHER = 2**63 - 1
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class Field:
    """C(option) of the module, C(key) in both resources, C(default) is what holds without the key; C(type) as options have it."""

    option: str
    key: str
    type: str
    default: Value
    policy: bool
    """Whether a MigrationPolicy can say otherwise."""


FIELDS = (
    Field("parallel_migrations_per_cluster", "parallelMigrationsPerCluster", "int", 5, False),
    Field("parallel_outbound_migrations_per_node", "parallelOutboundMigrationsPerNode", "int", 2, False),
    Field("bandwidth_per_migration", "bandwidthPerMigration", "str", None, True),
    Field("completion_timeout_per_gib", "completionTimeoutPerGiB", "int", 150, True),
    Field("progress_timeout", "progressTimeout", "int", 150, False),
    Field("allow_auto_converge", "allowAutoConverge", "bool", False, True),
    Field("allow_post_copy", "allowPostCopy", "bool", False, True),
    Field("network", "network", "str", None, False),
)
BY_OPTION = {one.option: one for one in FIELDS}
BY_KEY = {one.key: one for one in FIELDS}
ONLY_IN_KUBEVIRT = ("allowWorkloadDisruption", "disableTLS", "unsafeMigrationOverride", "nodeDrainTaintKey", "matchSELinuxLevelOnMigration")
"""Settings that HyperConverged does not have; its annotation kubevirt.kubevirt.io/jsonpatch is the only way to them."""


def same(key: str, one: Value, other: Value) -> bool:
    """Whether two values of a setting mean the same: 1Gi and 1024Mi do, no bandwidth and 0, and no value and the default."""
    default = BY_KEY[key].default if key in BY_KEY else None
    one, other = default if one is None else one, default if other is None else other
    if isinstance(one, str) or isinstance(other, str):
        if _is_quantity(one) and _is_quantity(other):
            return quantity(one) == quantity(other)
        return (one or "") == (other or "")
    return one == other


def _is_quantity(value: Value) -> bool:
    return not value or (isinstance(value, str) and PLAIN.match(value) is not None)


def checked(options: t.Mapping[str, t.Any]) -> dict[str, Value]:
    """The values that are asked for, by key; None means that the key goes. Raises OptionError for what HyperConverged refuses or wrongly takes."""
    wanted: dict[str, Value] = {}
    for field in FIELDS:
        value = options.get(field.option)
        if value is None:
            continue
        if field.type == "int":
            check_number(field.option, value)
        elif field.option == "bandwidth_per_migration":
            check_bandwidth(value)
        elif field.option == "network" and not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", value):
            raise OptionError(
                f"network is {value!r}, no name of a NetworkAttachmentDefinition. To go back to the network of pods list network in defaults."
            )
        wanted[field.key] = value
    for option in options.get("defaults") or ():
        key = BY_OPTION[option].key
        if key in wanted:
            raise OptionError(f"{option} has a value and is listed in defaults; it can't be both.")
        wanted[key] = None
    return wanted


def check_number(option: str, value: int) -> None:
    """Raises OptionError for a number that no setting of that name can have."""
    if value < 0:
        raise OptionError(f"{option} is {value}; it can't be negative.")
    if value > _LARGEST.get(option, _LARGEST_OTHER):
        raise OptionError(f"{option} is {value}; it is too large.")
    if value == 0 and option in _LARGEST:
        raise OptionError(f"{option} is 0, with which no migration would ever start; HyperConverged takes it all the same. Give 1 at least.")


def check_bandwidth(value: str) -> None:
    """Raises OptionError for what is no quantity, or one that KubeVirt would round to unlimited."""
    if not PLAIN.match(value):
        raise OptionError(f"bandwidth_per_migration is {value!r}, no quantity such as 64Mi or 1Gi (bytes per second; 0 is unlimited).")
    size = quantity(value)
    if 0 < size < _MEBIBYTE:
        raise OptionError(
            f"bandwidth_per_migration is {value}, {size:.0f} bytes per second. KubeVirt hands it to libvirt in MiB per second, rounded, where 0 means "
            "unlimited. Give 1Mi at least."
        )


def cautions(values: t.Mapping[str, Value]) -> list[str]:
    """What the values that would hold mean for VMs, where that may be a surprise."""
    found: list[str] = []
    cluster, node = values.get("parallelMigrationsPerCluster"), values.get("parallelOutboundMigrationsPerNode")
    if isinstance(cluster, int) and isinstance(node, int) and node > cluster:
        found.append(f"parallel_outbound_migrations_per_node is {node}, more than the {cluster} of parallel_migrations_per_cluster: the latter holds.")
    if values.get("allowPostCopy"):
        found.append(
            "allow_post_copy: while the rest of a VM's memory follows, the VM runs with memory on two nodes. If either fails, or the network between them, "
            "the VM is lost, and a migration in post-copy can't be cancelled."
        )
    if values.get("completionTimeoutPerGiB") == 0:
        found.append("completion_timeout_per_gib is 0: a VM that writes faster than it is copied keeps its slot for ever.")
    if values.get("progressTimeout") == 0:
        found.append("progress_timeout is 0: a migration that is stuck keeps its slot until completion_timeout_per_gib ends it.")
    return found
