# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each guest writes, and which settings hold for it: what a prediction is made of. Pure. Private to this collection.

A load is known from the caller, else from annotations of the instance, else from those of its VirtualMachine, each number by itself. What nobody
says is assumed, and the assumption is said.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .._errors import OptionError
from .._quantity import PLAIN, quantity
from .limits import Limits, overridden
from .memory import memory_bytes
from .policies import matches
from .precopy import Load
from .state import Key

Json = dict[str, t.Any]
Numbers = dict[str, float]
PREFIX = "okd.virt/"
NUMBERS = {"dirty_rate": "dirty-rate", "working_set": "working-set", "non_zero": "non-zero"}
"""What is known of a load: by option, and in annotations with the prefix."""
_ANNOTATIONS = frozenset(PREFIX + name for name in NUMBERS.values())
BY_OPTION, BY_ANNOTATION, ASSUMED = "option", "annotation", "assumption"
ALL_IN_USE = "all of the guest's memory is in use and is sent"
WRITES_LITTLE = "the guest writes far less than is sent"
WRITES_EVERYWHERE = "the guest writes all over its memory in use"


@dataclass(frozen=True)
class Guest:
    """One VM that runs. C(source) is where its dirty rate is known from, C(assumptions) what nobody has said of it.

    C(policy) is the MigrationPolicy that holds for it. C(one_channel) is whether KubeVirt copies it through one connection in any case.
    """

    namespace: str
    name: str
    load: Load
    node: str = ""
    policy: Json | None = None
    one_channel: bool = False
    source: str = ASSUMED
    assumptions: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        return self.namespace, self.name

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"

    def limits(self, known: Limits) -> Limits:
        """What holds for it where these are the cluster's."""
        return overridden(known, self.policy)


@dataclass(frozen=True)
class Said:
    """Everything from which loads and settings of single VMs are known. C(machines) has annotations of VirtualMachines, C(namespaces) labels."""

    given: t.Mapping[Key, Numbers] = field(default_factory=dict)
    machines: t.Mapping[Key, t.Mapping[str, str]] = field(default_factory=dict)
    policies: t.Sequence[Json] = ()
    namespaces: t.Mapping[str, t.Mapping[str, str]] = field(default_factory=dict)


def given_loads(option: t.Iterable[Json]) -> dict[Key, Numbers]:
    """The option C(loads), by VM. Raises OptionError for what is no quantity, for a VM twice, and for one of which nothing is said."""
    found: dict[Key, Numbers] = {}
    for one in option:
        key, where = (one["namespace"], one["name"]), f"loads: {one['namespace']}/{one['name']}"
        if key in found:
            raise OptionError(f"{where} is listed twice.")
        found[key] = {}
        for name in NUMBERS:
            text = one.get(name)
            if text is not None and not PLAIN.match(text):
                raise OptionError(f"{where}: {name} is {text!r}, no quantity of bytes such as 200Mi.")
            if text is not None:
                found[key][name] = quantity(text)
        if not found[key]:
            raise OptionError(f"{where}: give one of {', '.join(NUMBERS)}.")
    return found


def annotated(annotations: t.Mapping[str, str] | None) -> dict[str, str]:
    """Those of the annotations that say something of a load."""
    return {name: value for name, value in (annotations or {}).items() if name in _ANNOTATIONS}


def keep_machine(machine: Json) -> Json | None:
    """Of a VirtualMachine what matters here, None for nothing."""
    said = annotated(machine["metadata"].get("annotations"))
    return {"metadata": {**{name: machine["metadata"][name] for name in ("namespace", "name")}, "annotations": said}} if said else None


def keep_domain(spec: Json) -> Json:
    """Of an instance's spec.domain what matters here."""
    domain = spec.get("domain") or {}
    return {name: domain[name] for name in ("memory", "resources") if name in domain}


def nonsense(vmi: Json, machine: t.Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each annotation that can't be read."""
    metadata = vmi["metadata"]
    where = f"VM {metadata['namespace']}/{metadata['name']}"
    said = {**annotated(machine), **annotated(metadata.get("annotations"))}
    bad = {name: value for name, value in said.items() if not PLAIN.match(value)}
    return [f"{where}: its annotation {name} is {value!r}, no quantity of bytes such as 200Mi; it is not looked at." for name, value in bad.items()]


def guest_of(vmi: Json, said: Said | None = None) -> Guest:
    """An instance with what is known of it."""
    said = said or Said()
    metadata, domain = vmi["metadata"], (vmi.get("spec") or {}).get("domain") or {}
    key = metadata["namespace"], metadata["name"]
    given = said.given.get(key) or {}
    numbers = {**_numbers(said.machines.get(key)), **_numbers(metadata.get("annotations")), **given}
    source = BY_OPTION if "dirty_rate" in given else BY_ANNOTATION if "dirty_rate" in numbers else ASSUMED
    policy = None
    if said.policies:
        found = matches(said.policies, metadata.get("labels") or {}, said.namespaces.get(key[0], {}))
        policy = next((one for one in said.policies if found and one["metadata"]["name"] == found[0].name), None)
    load, assumptions = _load(float(memory_bytes(vmi)), numbers)
    node = str((vmi.get("status") or {}).get("nodeName") or "")
    limited = "cpu" in ((domain.get("resources") or {}).get("limits") or {})
    return Guest(*key, load, node, policy, limited, source, assumptions)


def _numbers(annotations: t.Mapping[str, str] | None) -> Numbers:
    said = annotations or {}
    return {name: quantity(said[PREFIX + key]) for name, key in NUMBERS.items() if PLAIN.match(str(said.get(PREFIX + key, "")))}


def _load(memory: float, numbers: Numbers) -> tuple[Load, tuple[str, ...]]:
    assumptions = []
    rate = numbers.get("dirty_rate", 0.0)
    non_zero = min(memory, numbers.get("non_zero", memory))
    if "non_zero" not in numbers:
        assumptions.append(ALL_IN_USE)
    if "dirty_rate" not in numbers:
        assumptions.append(WRITES_LITTLE)
    working_set = min(memory, numbers.get("working_set", non_zero)) if rate else 0.0
    if rate and "working_set" not in numbers:
        assumptions.append(WRITES_EVERYWHERE)
    return Load(memory, max(non_zero, working_set), working_set, rate), tuple(assumptions)
