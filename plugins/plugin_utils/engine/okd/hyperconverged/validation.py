# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the webhooks of the HyperConverged find wrong with one, beyond what its schema does: pure.

Source: HCO pkg/webhooks/{mutator,validator}, v1.14.0 and v1.15.0.
"""
from __future__ import annotations

import math
import typing as t

from ...apiserver import schema
from ...interface import Object
from ...kubevirt.virt_controller.configuration import seconds
from .operand import type_problem

_SMALLEST = 600.0
_DURATIONS = (("ca", "duration"), ("ca", "renewBefore"), ("server", "duration"), ("server", "renewBefore"))
_UNSIGNED = ("parallelMigrationsPerCluster", "parallelOutboundMigrationsPerNode")


def is_readable(hyperconverged: Object, rules: Object | None) -> bool:
    """Whether the operator's types can take the object: fields are of the schema's types, numbers of migrations not negative, durations durations."""
    if any(cause.reason == "FieldValueTypeInvalid" for cause in schema.validate(rules or {}, hyperconverged)):
        return False
    spec = hyperconverged.get("spec") or {}
    live_migration = spec.get("liveMigrationConfig") or {}
    if any(live_migration.get(name) is not None and type_problem(live_migration[name], "uint32") for name in _UNSIGNED):
        return False
    return not any(math.isnan(value) for value in _durations(spec).values())


def _durations(spec: Object) -> dict[tuple[str, str], float]:
    """Seconds by place, not a number for what is no duration."""
    held = spec.get("certConfig") or {}
    return {place: seconds(str((held.get(place[0]) or {}).get(place[1], "0s")), math.nan) for place in _DURATIONS}


def certificates_problem(spec: Object) -> str:
    """The first thing that is wrong with spec.certConfig; empty when nothing is."""
    held = _durations(spec)
    for (part, name), value in held.items():
        if value < _SMALLEST:
            return f"spec.certConfig.{part}.{name}: value is too small"
    for part in ("ca", "server"):
        if held[part, "duration"] < held[part, "renewBefore"]:
            return f"spec.certConfig.{part}: duration is smaller than renewBefore"
    if held["ca", "duration"] < held["server", "duration"]:
        return "spec.certConfig: ca.duration is smaller than server.duration"
    return ""


def default_eviction_strategy(hyperconverged: Object) -> str:
    """What an empty evictionStrategy becomes; nothing while the object does not say yet whether there are several workers."""
    available: t.Any = (hyperconverged.get("status") or {}).get("infrastructureHighlyAvailable")
    if available is None or (hyperconverged.get("spec") or {}).get("evictionStrategy") is not None:
        return ""
    return "LiveMigrate" if available else "None"
