# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scrape of the operator of the HyperConverged shows.

Source: HCO pkg/monitoring/hyperconverged/metrics/operator_metrics.go, v1.15.0.
"""
from __future__ import annotations

import typing as t

from ...apiserver.chain import ApiServer
from ...interface import Object
from ...kubevirt.metrics.text import Family, exposition
from .names import HYPERCONVERGEDS, NAME
from .status import unsafe_modifications

_LEVELS = {"healthy": 0, "warning": 1, "error": 2}


def register(api: ApiServer, namespace: str, overwritten: t.Mapping[tuple[str, str], int]) -> None:
    """Have the API server show them at /metrics from now on. `overwritten` says how often an object was put back, by kind and name."""

    def scrape() -> bytes:
        stored = api.store.get((HYPERCONVERGEDS.group, HYPERCONVERGEDS.plural), namespace, NAME)
        return exposition(families(stored.value if stored is not None else None, overwritten))

    api.nonresources.metrics.append(scrape)


def families(hyperconverged: Object | None, overwritten: t.Mapping[tuple[str, str], int]) -> list[Family]:
    exists = Family("kubevirt_hco_hyperconverged_cr_exists", "Indicates whether the HyperConverged custom resource exists (1) or not (0)")
    exists.add(int(hyperconverged is not None))
    put_back = Family("kubevirt_hco_out_of_band_modifications_total", "Count of out-of-band modifications overwritten by HCO", "counter")
    for (kind, name), count in sorted(overwritten.items()):
        put_back.add(count, component_name=f"{kind}/{name}".lower())
    unsafe = Family("kubevirt_hco_unsafe_modifications", "Count of unsafe modifications in the HyperConverged annotations")
    health = Family(
        "kubevirt_hco_system_health_status",
        "Indicates whether the system health status is healthy (0), warning (1), or error (2), by aggregating the conditions of HCO and its "
        "secondary resources",
    )
    if hyperconverged is not None:
        for annotation, count in unsafe_modifications(hyperconverged).items():
            unsafe.add(count, annotation_name=annotation)
        level = _LEVELS.get((hyperconverged.get("status") or {}).get("systemHealthStatus", ""))
        if level is not None:
            health.add(level)
    return [exists, put_back, unsafe, health]
