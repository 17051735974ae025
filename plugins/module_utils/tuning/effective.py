# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which settings hold, and who decided: HyperConverged, a patch of the KubeVirt, an edit by hand, a MigrationPolicy. Pure. Private to this collection.

Source: HyperConverged controllers/operands/kubevirt.go (hcLiveMigrationToKv), docs/cluster-configuration.md (jsonpatch annotation).
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from .fields import BY_KEY, DEFAULTS, FIELDS, ONLY_IN_KUBEVIRT, Value, same
from .served import config_of

Json = dict[str, t.Any]
JSON_PATCH = "kubevirt.kubevirt.io/jsonpatch"
_MIGRATIONS = "/spec/configuration/migrations"


@dataclass(frozen=True)
class Difference:
    """A setting of the KubeVirt that is not what HyperConverged says. C(cause) is json_patch, or out_of_band."""

    key: str
    hyperconverged: Value
    kubevirt: Value
    cause: str

    def sentence(self) -> str:
        what = f"{self.key} is {_shown(self.kubevirt)} in the KubeVirt and {_shown(self.hyperconverged)} in HyperConverged"
        if self.cause == "json_patch":
            return f"{what}: its annotation {JSON_PATCH} says so, which nobody supports. Take it out of the annotation to let HyperConverged decide."
        return f"{what}: somebody has changed the KubeVirt itself. HyperConverged puts that back; if it stays, its operator does not run."

    def to_dict(self) -> Json:
        return {"key": self.key, "hyperconverged": self.hyperconverged, "kubevirt": self.kubevirt, "cause": self.cause, "reason": self.sentence()}


def _shown(value: Value) -> str:
    return "not set" if value is None else json.dumps(value)


def configured(hyperconverged: Json) -> dict[str, Value]:
    """What HyperConverged says, by key; None for what it leaves to the default."""
    given = config_of(hyperconverged)
    return {field.key: given.get(field.key) for field in FIELDS}


def taken_over(kubevirt: Json | None) -> dict[str, Value]:
    """What the KubeVirt says, by key, what only it has included."""
    given = (((kubevirt or {}).get("spec") or {}).get("configuration") or {}).get("migrations") or {}
    found: dict[str, Value] = {field.key: given.get(field.key) for field in FIELDS}
    return found | {key: given[key] for key in ONLY_IN_KUBEVIRT if given.get(key) is not None}


def patched_keys(hyperconverged: Json) -> tuple[str, ...]:
    """The settings that the jsonpatch annotation touches. All of them when it replaces them as a whole."""
    text = (hyperconverged["metadata"].get("annotations") or {}).get(JSON_PATCH)
    try:
        operations = json.loads(text) if text else []
    except ValueError:
        return ()
    found: list[str] = []
    for one in operations if isinstance(operations, list) else ():
        path = str(one.get("path") or "") if isinstance(one, dict) else ""
        if path and (path == _MIGRATIONS or _MIGRATIONS.startswith(path + "/")):
            return (*BY_KEY, *ONLY_IN_KUBEVIRT)
        if path.startswith(_MIGRATIONS + "/"):
            found.append(path.removeprefix(_MIGRATIONS + "/").partition("/")[0])
    return tuple(found)


def differences(hyperconverged: Json, kubevirt: Json | None) -> list[Difference]:
    """Where the KubeVirt is not what HyperConverged says, settings included that HyperConverged does not have."""
    if kubevirt is None:
        return []
    wanted, has, patched = configured(hyperconverged), taken_over(kubevirt), patched_keys(hyperconverged)
    found = []
    for key, value in has.items():
        if not same(key, value, wanted.get(key)):
            found.append(Difference(key, wanted.get(key), value, "json_patch" if key in patched else "out_of_band"))
    return found


def settings(hyperconverged: Json, kubevirt: Json | None, policies: t.Iterable[Json], defaults: t.Mapping[str, Value] = DEFAULTS) -> Json:
    """Each setting by option: what HyperConverged and KubeVirt say, what holds, and the policies that say otherwise for their VMs."""
    wanted, has = configured(hyperconverged), taken_over(kubevirt)
    policies = list(policies)
    found: Json = {}
    for field in FIELDS:
        holds = has[field.key] if kubevirt is not None else wanted[field.key]
        found[field.option] = {
            "value": defaults[field.key] if holds is None else holds, "default": defaults[field.key],
            "hyperconverged": wanted[field.key], "kubevirt": has[field.key],
            "policies": {one["metadata"]["name"]: one["spec"][field.key] for one in policies if field.policy and field.key in (one.get("spec") or {})},
        }
    return found
