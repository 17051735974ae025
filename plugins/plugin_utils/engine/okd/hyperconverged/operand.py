# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The KubeVirt object that a HyperConverged asks for: pure.

Source: HCO controllers/operands/kubevirt.go (NewKubeVirt, getKVConfig, hcLiveMigrationToKv), v1.14.0 and v1.15.0.
"""
from __future__ import annotations

import typing as t

from ...apiserver.quantities import QuantityError, quantity
from ...interface import Object
from ...store.stored import copy_json
from . import json_patch
from .json_patch import BrokenPatch
from .names import KUBEVIRT_NAME, KUBEVIRT_PATCH, PATCHES, annotations_of

LIVE_MIGRATION = (
    "allowAutoConverge", "allowPostCopy", "bandwidthPerMigration", "completionTimeoutPerGiB", "network", "parallelMigrationsPerCluster",
    "parallelOutboundMigrationsPerNode", "progressTimeout",
)
"""The fields of liveMigrationConfig, each of the same name in KubeVirt."""
_LABELS = {
    "app": "kubevirt-hyperconverged", "app.kubernetes.io/component": "compute", "app.kubernetes.io/managed-by": "hco-operator",
    "app.kubernetes.io/part-of": "hyperconverged-cluster",
}
_FEATURE_GATES = ("CPUManager", "Snapshot", "HotplugVolumes", "ExpandDisks", "HostDevices", "VMExport", "KubevirtSeccompProfile", "VMPersistentState")
"""Those of both releases that change nothing here. Source: HCO controllers/operands/kubevirt.go (hardCodeKvFgs)."""
_TYPES = {
    "parallelMigrationsPerCluster": "uint32", "parallelOutboundMigrationsPerNode": "uint32", "completionTimeoutPerGiB": "int64",
    "progressTimeout": "int64", "bandwidthPerMigration": "quantity", "allowAutoConverge": "bool", "allowPostCopy": "bool",
    "allowWorkloadDisruption": "bool", "disableTLS": "bool", "unsafeMigrationOverride": "bool", "matchSELinuxLevelOnMigration": "bool",
    "network": "string", "nodeDrainTaintKey": "string",
}
"""KubeVirt's MigrationConfiguration as Go has it. Source: kubevirt.io/api core/v1/types.go."""
_RANGES = {"uint32": (0, 2**32 - 1), "int64": (-(2**63), 2**63 - 1)}
_NO_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def kubevirt(hyperconverged: Object, version: str, kubevirt_version: str) -> Object:
    """The KubeVirt object for operators of these versions ("1.15.3", "v1.5.3"). Raises BrokenPatch for a patch that is to be applied to it and can't."""
    spec, metadata = hyperconverged["spec"], hyperconverged["metadata"]
    update = spec.get("workloadUpdateStrategy") or {}
    made: Object = {
        "apiVersion": "kubevirt.io/v1", "kind": "KubeVirt",
        "metadata": {
            "name": KUBEVIRT_NAME, "namespace": metadata["namespace"], "labels": {**_LABELS, "app.kubernetes.io/version": version},
        },
        "spec": {
            "certificateRotateStrategy": {"selfSigned": spec.get("certConfig") or {}}, "configuration": _configuration(spec),
            "uninstallStrategy": spec.get("uninstallStrategy", "BlockUninstallIfWorkloadsExist"),
            "workloadUpdateStrategy": {key: value for key, value in update.items() if value is not None},
        },
    }
    patch = annotations_of(hyperconverged).get(KUBEVIRT_PATCH)
    if patch is not None:
        try:
            made = _decoded(json_patch.applied(copy_json(made), json_patch.of_spec(patch)), kubevirt_version)
        except BrokenPatch as error:
            raise _broken(KUBEVIRT_PATCH, error) from error
    return made


def _configuration(spec: Object) -> Object:
    live_migration = spec.get("liveMigrationConfig") or {}
    made: Object = {
        "migrations": {name: live_migration[name] for name in LIVE_MIGRATION if live_migration.get(name) is not None},
        "developerConfiguration": {
            "cpuAllocationRatio": (spec.get("resourceRequirements") or {}).get("vmiCPUAllocationRatio", 10), "featureGates": [*_FEATURE_GATES],
            "memoryOvercommit": (spec.get("higherWorkloadDensity") or {}).get("memoryOvercommitPercentage", 100),
        },
    }
    if spec.get("evictionStrategy") is not None:
        made["evictionStrategy"] = spec["evictionStrategy"]
    return made


def check_other_patches(hyperconverged: Object) -> None:
    """Raises BrokenPatch for the first patch of an object that is not made here which could be applied to no object."""
    for name in PATCHES:
        if name != KUBEVIRT_PATCH and name in annotations_of(hyperconverged):
            try:
                json_patch.of_spec(annotations_of(hyperconverged)[name])
            except BrokenPatch as error:
                raise _broken(name, error) from error


def _broken(annotation: str, error: BrokenPatch) -> BrokenPatch:
    return BrokenPatch(f"invalid jsonPatch in the {annotation} annotation: {error}")


def _decoded(patched: Object, kubevirt_version: str) -> Object:
    """What the operator's own types keep of a patched object: the version's fields, of their types. Raises BrokenPatch."""
    configuration = _part(_part(patched, "spec"), "configuration")
    migrations = _part(configuration, "migrations")
    kept: Object = {}
    for name, value in migrations.items():
        kind = _TYPES.get(name)
        if kind is None or value is None or (name == "allowWorkloadDisruption" and kubevirt_version.startswith("v1.4.")):
            continue
        problem = type_problem(value, kind)
        if problem:
            if kind == "quantity":
                raise BrokenPatch(problem)
            where = f"MigrationConfiguration.spec.configuration.migrations.{name}"
            raise BrokenPatch(f"json: cannot unmarshal {problem} into Go struct field {where} of type {kind}")
        kept[name] = value
    if "migrations" in configuration:
        configuration["migrations"] = kept
    without_nulls: Object = _without_nulls(patched)
    return without_nulls


def _without_nulls(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def _part(held: Object, name: str) -> Object:
    part = held.get(name)
    if part is None:
        return {}
    if not isinstance(part, dict):
        kinds = {"spec": "KubeVirtSpec", "configuration": "KubeVirtConfiguration", "migrations": "MigrationConfiguration"}
        raise BrokenPatch(f"json: cannot unmarshal {_json_type(part)} into Go value of type v1.{kinds[name]}")
    return part


def type_problem(value: t.Any, kind: str) -> str:
    """What the value is instead of a Go value of that type; empty for one that fits."""
    if kind == "quantity":
        try:
            quantity(str(value))
        except QuantityError:
            return _NO_QUANTITY
        return ""
    if kind in _RANGES:
        low, high = _RANGES[kind]
        if isinstance(value, int) and not isinstance(value, bool):
            return "" if low <= value <= high else f"number {value}"
        return f"number {value}" if isinstance(value, float) else _json_type(value)
    return "" if isinstance(value, bool if kind == "bool" else str) else _json_type(value)


def _json_type(value: t.Any) -> str:
    if isinstance(value, bool):
        return "bool"
    names: dict[type, str] = {list: "array", dict: "object", str: "string"}
    return names.get(type(value), "number")


def drifted(current: Object, wanted: Object) -> bool:
    """Whether what the operator manages is another than it wants."""
    labels = current["metadata"].get("labels") or {}
    return bool(current.get("spec") != wanted["spec"]) or any(
        labels.get(key) != value for key, value in wanted["metadata"]["labels"].items()
    )
