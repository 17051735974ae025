# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles and predictions as live_migration_config has them: what is read for them, and what they come to. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._cluster.client import Cluster
from .._cluster.resources import NODES, VIRTUAL_MACHINE_INSTANCES
from .._errors import OptionError
from .._migrations.guests import ASSUMED, given_loads, guest_of, keep_domain, nonsense
from .._migrations.limits import Limits, limits
from .._migrations.links import given_link
from .._migrations.sources import read_link, read_said
from .._migrations.state import is_migratable
from .._options import ArgumentSpec, loads_spec
from .fields import BY_KEY, BY_OPTION, Value
from .profiles import AUTO_CONVERGE, HEAVY_WORKLOADS, POST_COPY, PROFILES, Profile, Scene, computed, under
from .slowest import line, slowest

Json = dict[str, t.Any]
Options = t.Mapping[str, t.Any]
_SCHEDULABLE = "kubevirt.io/schedulable"


def spec() -> ArgumentSpec:
    """The options about profiles and predictions."""
    own = {
        "profile": {"type": "str", "choices": list(PROFILES)},
        "profile_may": {"type": "list", "elements": "str", "choices": [AUTO_CONVERGE, POST_COPY], "default": []},
    }
    return ArgumentSpec(own).merge(loads_spec())


def is_asked(options: Options) -> bool:
    """Whether VMs are looked at at all: for a profile, or for a prediction of given loads."""
    return bool(options["profile"] or options["loads"])


def check(options: Options) -> None:
    """Raises OptionError for what can't be."""
    given_loads(options["loads"])
    given_link(options["link_speed"])
    if options["profile_may"] and options["profile"] != HEAVY_WORKLOADS:
        raise OptionError(f"profile_may is for the profile {HEAVY_WORKLOADS}; no other one switches anything on that disturbs VMs.")
    if options["link_speed"] and not is_asked(options):
        raise OptionError("link_speed is given, but neither a profile nor loads, for which it would be used.")


def read(cluster: Cluster, options: Options, kubevirt: Json | None, namespace: str) -> tuple[Scene, list[str]]:
    """The VMs that run and can migrate, the nodes that take them, their links; and warnings. Raises Forbidden with what can't be read."""
    given, now = given_loads(options["loads"]), limits(kubevirt)
    said = read_said(cluster, given)
    instances = cluster.list(VIRTUAL_MACHINE_INSTANCES, keep=_instance).items
    there = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in instances}
    warnings = [f"loads: {'/'.join(key)} is no VM that runs and can migrate." for key in sorted(given) if key not in there]
    warnings += [text for one in instances for text in nonsense(one, said.machines.get((one["metadata"]["namespace"], one["metadata"]["name"])))]
    nodes = [one["metadata"]["name"] for one in cluster.list(NODES).items if _takes_vms(one)]
    link = read_link(cluster, options["link_speed"], now, namespace, nodes)
    return Scene(len(nodes), tuple(guest_of(one, said) for one in instances), link, now), warnings


def _instance(vmi: Json) -> Json | None:
    metadata, status = vmi["metadata"], vmi.get("status") or {}
    if status.get("phase") != "Running" or metadata.get("deletionTimestamp") or not is_migratable(vmi):
        return None
    return {
        "metadata": {name: metadata.get(name) for name in ("namespace", "name", "labels", "annotations")},
        "spec": {"domain": keep_domain(vmi.get("spec") or {})}, "status": {"nodeName": status.get("nodeName")},
    }


def _takes_vms(node: Json) -> bool:
    labels = node["metadata"].get("labels") or {}
    return labels.get(_SCHEDULABLE) == "true" and not (node.get("spec") or {}).get("unschedulable")


@dataclass(frozen=True)
class Foreseen:
    """The profile, if one was asked for, and what the settings that would hold mean for the slowest VMs."""

    profile: Profile | None
    scene: Scene
    own: t.Mapping[str, Value]
    predictions: list[Json]

    def facts(self) -> Json:
        """As the result has it."""
        return {"profile": self._profile() if self.profile else None, "predictions": self.predictions, "lines": self._lines()}

    def warnings(self) -> list[str]:
        """What the profile leaves undone."""
        return [f"{self.profile.name}: {note}." for note in self.profile.notes] if self.profile else []

    def _profile(self) -> Json:
        profile = t.cast(Profile, self.profile)
        known = sum(1 for guest in self.scene.guests if guest.source != ASSUMED)
        return {
            "name": profile.name, "link": self.scene.link.to_dict(), "nodes": self.scene.nodes, "vms": len(self.scene.guests), "vms_of_known_load": known,
            "settings": [
                {"option": option, "value": value, "reason": profile.reasons[option], "overruled_by": self.own.get(BY_OPTION[option].key)}
                for option, value in profile.values.items()
            ],
            "notes": list(profile.notes),
        }

    def _lines(self) -> list[str]:
        found = []
        if self.profile:
            found.append(f"{self.profile.name}: {self.scene.link.sentence}.")
            for option, value in self.profile.values.items():
                own = self.own.get(BY_OPTION[option].key)
                found.append(f"  {option} {value}: {self.profile.reasons[option]}" + (f" (given: {own}, which holds)" if own is not None else ""))
        if self.predictions:
            found += ["The slowest migrations, before -> after:", *(line(one) for one in self.predictions)]
        return found


def foresee(scene: Scene, options: Options, own: t.Mapping[str, Value]) -> Foreseen:
    """The profile and its predictions. Pure. C(own) are the settings given by themselves, by key; they win over the profile's."""
    profile = computed(options["profile"], scene, options["profile_may"]) if options["profile"] else None
    wanted = {**(profile.by_key() if profile else {}), **own}
    after: Limits = under(scene.limits, {BY_KEY[key].option: value for key, value in wanted.items()})
    return Foreseen(profile, scene, own, slowest(scene, after))

