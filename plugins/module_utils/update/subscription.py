# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Subscription keeps OKD Virtualization up to date, and what it says. Private to this collection.

Source: operator-framework/api pkg/operators/v1alpha1/subscription_types.go.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .conditions import Condition, Json, conditions_of

#: The package by flavour. Source: openshift-docs _attributes/common-attributes.adoc.
PACKAGES: dict[str, str] = {
    "community-kubevirt-hyperconverged": "OKD",
    "kubevirt-hyperconverged": "OpenShift",
}

#: Conditions that mean trouble when they are True. InstallPlanPending and BundleUnpacking are normal passing states.
TROUBLE = ("ResolutionFailed", "CatalogSourcesUnhealthy", "BundleUnpackFailed", "InstallPlanFailed")


@dataclass(frozen=True)
class Subscription:
    """What of a Subscription matters for an update."""

    namespace: str
    name: str
    package: str
    channel: str = ""
    source: str = ""
    source_namespace: str = ""
    approval: str = "Automatic"
    installed_csv: str = ""
    current_csv: str = ""
    state: str = ""
    install_plan: str = ""
    conditions: dict[str, Condition] = field(default_factory=dict)
    unhealthy_catalogs: tuple[str, ...] = ()

    @property
    def flavour(self) -> str:
        return PACKAGES.get(self.package, "")

    def troubles(self) -> tuple[Condition, ...]:
        """Conditions that keep OLM from offering or installing an update."""
        return tuple(
            self.conditions[name] for name in TROUBLE if name in self.conditions and self.conditions[name].true
        )


def from_object(obj: Json) -> Subscription:
    """A Subscription as the API serves it."""
    spec = obj.get("spec") or {}
    status = obj.get("status") or {}
    reference = status.get("installPlanRef") or status.get("installplan") or {}
    unhealthy = [
        f"{catalog.get('catalogSourceRef', {}).get('namespace', '')}/{catalog.get('catalogSourceRef', {}).get('name', '')}"
        for catalog in status.get("catalogHealth") or []
        if not catalog.get("healthy", True)
    ]
    return Subscription(
        namespace=obj["metadata"].get("namespace", ""),
        name=obj["metadata"]["name"],
        package=str(spec.get("name") or ""),
        channel=str(spec.get("channel") or ""),
        source=str(spec.get("source") or ""),
        source_namespace=str(spec.get("sourceNamespace") or ""),
        approval=str(spec.get("installPlanApproval") or "Automatic"),
        installed_csv=str(status.get("installedCSV") or ""),
        current_csv=str(status.get("currentCSV") or ""),
        state=str(status.get("state") or ""),
        install_plan=str(reference.get("name") or ""),
        conditions=conditions_of(obj),
        unhealthy_catalogs=tuple(unhealthy),
    )


class NotFound(LookupError):
    """No Subscription fits."""


class Ambiguous(LookupError):
    """More than one Subscription fits; C(candidates) names them."""

    def __init__(self, candidates: list[str]) -> None:
        super().__init__(", ".join(candidates))
        self.candidates = candidates


def choose(objects: t.Iterable[Json], name: str | None = None, namespace: str | None = None) -> Subscription:
    """The Subscription of the package of OKD or OpenShift Virtualization.

    With a name that one is taken whatever its package is. Raises NotFound or Ambiguous.
    """
    found = [from_object(obj) for obj in objects]
    if namespace:
        found = [entry for entry in found if entry.namespace == namespace]
    found = (
        [entry for entry in found if entry.name == name]
        if name
        else [entry for entry in found if entry.package in PACKAGES]
    )
    if not found:
        raise NotFound(name or ", ".join(PACKAGES))
    if len(found) > 1:
        raise Ambiguous(sorted(f"{entry.namespace}/{entry.name} (package {entry.package})" for entry in found))
    return found[0]
