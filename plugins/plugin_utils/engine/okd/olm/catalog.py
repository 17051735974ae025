# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a catalogue offers: packages, channels, bundles, and which bundle follows which. Pure.

A catalogue is kept in a ConfigMap beside its CatalogSource, in place of the index image: key `catalog.json` holds
{"packages": [{"name", "channel", "bundles": [bundle…]}]}; a bundle is {"csv": a ClusterServiceVersion, "objects": [what OLM
applies from the bundle besides]}. Source of the resolution: OLM pkg/controller/registry/resolver (one step at a time along
spec.replaces and spec.skips).
"""
from __future__ import annotations

import dataclasses
import json
import typing as t

from ...interface import Object

_KEY = "catalog.json"


@dataclasses.dataclass(frozen=True)
class Bundle:
    """One version of an operator."""

    package: str
    csv: Object
    objects: tuple[Object, ...] = ()

    @property
    def name(self) -> str:
        name: str = self.csv["metadata"]["name"]
        return name

    @property
    def replaces(self) -> tuple[str, ...]:
        """The versions that it can follow."""
        spec = self.csv["spec"]
        return tuple(name for name in (spec.get("replaces"), *(spec.get("skips") or ())) if name)


@dataclasses.dataclass(frozen=True)
class Catalog:
    """The bundles by package and channel, oldest first."""

    channels: t.Mapping[tuple[str, str], tuple[Bundle, ...]]

    def next(self, package: str, channel: str, installed: str, starting: str = "") -> Bundle | None:
        """What comes after the installed version: the newest that can follow it; the channel's head (or the starting one) when nothing is installed.

        None when there is nothing newer. Raises LookupError with OLM's words for a package or channel that is not there.
        """
        bundles = self.channels.get((package, channel))
        if bundles is None:
            known = sorted({name for name, _channel in self.channels})
            if package not in known:
                raise LookupError(f"no operators found in package {package} in the catalog referenced by subscription")
            raise LookupError(f"no operators found in channel {channel} of package {package} in the catalog referenced by subscription")
        if not installed:
            return next((bundle for bundle in bundles if bundle.name == starting), bundles[-1])
        return next((bundle for bundle in reversed(bundles) if installed in bundle.replaces), None)

    def bundle(self, name: str) -> Bundle | None:
        """The bundle of a ClusterServiceVersion's name."""
        return next((bundle for bundles in self.channels.values() for bundle in bundles if bundle.name == name), None)

    def package_of(self, csv: str) -> str:
        found = self.bundle(csv)
        return found.package if found is not None else ""


def parse(config_map: Object | None) -> Catalog:
    """The catalogue of a ConfigMap; an empty one without."""
    channels: dict[tuple[str, str], tuple[Bundle, ...]] = {}
    content = json.loads(((config_map or {}).get("data") or {}).get(_KEY) or '{"packages": []}')
    for package in content["packages"]:
        bundles = tuple(Bundle(package["name"], entry["csv"], tuple(entry.get("objects") or ())) for entry in package["bundles"])
        channels[(package["name"], package["channel"])] = bundles
    return Catalog(channels)


def config_map(name: str, namespace: str, packages: t.Sequence[Object]) -> Object:
    """The ConfigMap of a catalogue."""
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace},
        "data": {_KEY: json.dumps({"packages": list(packages)}, separators=(",", ":"))},
    }
