# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster looks like when the procedure is over, without what differs from run to run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .api import OPERATORS, RBAC, Api
from .rbac import MIGRATION_RIGHTS, Person

Object = dict[str, Any]

COMPARED = {
    "clusterroles": f"{RBAC}/clusterroles",
    "clusterrolebindings": f"{RBAC}/clusterrolebindings",
    "roles": f"{RBAC}/roles",
    "rolebindings": f"{RBAC}/rolebindings",
    "subscriptions": f"{OPERATORS}/subscriptions",
    "installplans": f"{OPERATORS}/installplans",
    "clusterserviceversions": f"{OPERATORS}/clusterserviceversions",
    "operatorconditions": "/apis/operators.coreos.com/v2/operatorconditions",
    "hyperconvergeds": "/apis/hco.kubevirt.io/v1beta1/hyperconvergeds",
    "kubevirts": "/apis/kubevirt.io/v1/kubevirts",
}
VOLATILE_METADATA = {"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"}
# How far the workloads have followed is not the procedure's doing.
VOLATILE = {"observedGeneration", "outdatedVirtualMachineInstanceWorkloads", "uid", "resourceVersion"}
_TEXTS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UID"),
    (re.compile(r"\binstall-[a-z0-9]{5}\b"), "install-RANDOM"),
)


def stable(value: Any, *, metadata: bool = False) -> Any:
    """A copy without uids, versions, times and random names."""
    if isinstance(value, dict):
        dropped = VOLATILE_METADATA if metadata else VOLATILE
        return {
            stable(key): stable(each, metadata=key == "metadata") for key, each in value.items() if key not in dropped
        }
    if isinstance(value, list):
        return [stable(each) for each in value]
    if isinstance(value, str):
        for pattern, name in _TEXTS:
            value = pattern.sub(name, value)
    return value


def snapshot(api: Api, pairs: Iterable[tuple[Person, str]]) -> dict[str, Any]:
    """Every object that matters by resource and name, and who may live-migrate where according to access reviews."""
    state: dict[str, Any] = {}
    for resource, path in COMPARED.items():
        objects = [stable(value) for value in api.items(path)]
        for value in objects:
            value.pop("apiVersion", None)
            value.pop("kind", None)
        state[resource] = {_name(value): value for value in objects}
    state["access"] = access_matrix(api, pairs)
    return state


def access_matrix(api: Api, pairs: Iterable[tuple[Person, str]]) -> dict[str, list[bool]]:
    """For each person and namespace the answers to the two questions that decide about live migration."""
    return {
        f"{person.name} in {namespace}": [
            api.allowed(person.name, sorted(person.groups), {**right, "namespace": namespace})
            for right in MIGRATION_RIGHTS
        ]
        for person, namespace in pairs
    }


def differences(expected: Any, found: Any, path: str = "") -> list[str]:
    """Where two snapshots differ, as paths with both values."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            line
            for key in sorted(expected.keys() | found.keys())
            for line in differences(expected.get(key), found.get(key), f"{path}/{key}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [
            line
            for number, (one, other) in enumerate(zip(expected, found, strict=True))
            for line in differences(one, other, f"{path}[{number}]")
        ]
    return [] if expected == found else [f"{path}: {_short(expected)} became {_short(found)}"]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else text[:300] + "…"


def _name(value: Object) -> str:
    metadata = value["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"
