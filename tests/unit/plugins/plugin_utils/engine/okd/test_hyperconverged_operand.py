# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The KubeVirt object that a HyperConverged asks for, what becomes of its JSON patch, and the status of one that can't be followed."""
from __future__ import annotations

import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.patches import json_patch as real_patch
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import StatusError
from ansible_collections.okd.virt.plugins.plugin_utils.engine.okd.hyperconverged import (
    json_patch,
    operand,
    status,
    validation,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.okd.hyperconverged.json_patch import BrokenPatch

Object = dict[str, t.Any]
PATCH = "kubevirt.kubevirt.io/jsonpatch"
MIGRATIONS = "/spec/configuration/migrations"
NOW = "2026-11-24T03:00:00Z"


def hyperconverged(spec: Object | None = None, operations: list[Object] | str | None = None, **held: t.Any) -> Object:
    metadata: Object = {"name": "kubevirt-hyperconverged", "namespace": "kubevirt-hyperconverged", "generation": 3}
    if operations is not None:
        metadata["annotations"] = {PATCH: operations if isinstance(operations, str) else json.dumps(operations)}
    return {"metadata": metadata, "spec": spec or {}, **held}


def configuration(made: Object) -> Object:
    return t.cast(Object, made["spec"]["configuration"])


def test_an_eviction_strategy_that_nobody_chose_is_not_made_up() -> None:
    assert "evictionStrategy" not in configuration(operand.kubevirt(hyperconverged(), "1.15.3", "v1.5.3"))
    chosen = operand.kubevirt(hyperconverged({"evictionStrategy": "None"}), "1.15.3", "v1.5.3")
    assert configuration(chosen)["evictionStrategy"] == "None"


def test_only_the_eight_fields_are_handed_on() -> None:
    asked = dict.fromkeys(operand.LIVE_MIGRATION, 1) | {"nodeDrainTaintKey": "x"}
    assert set(configuration(operand.kubevirt(hyperconverged({"liveMigrationConfig": asked}), "1.15.3", "v1.5.3"))["migrations"]) == set(
        operand.LIVE_MIGRATION
    )


@pytest.mark.parametrize(("version", "known"), [("v1.4.1", False), ("v1.5.3", True)])
def test_a_patch_can_set_what_the_version_knows(version: str, known: bool) -> None:
    operations: list[Object] = [
        {"op": "add", "path": f"{MIGRATIONS}/allowWorkloadDisruption", "value": True}, {"op": "add", "path": f"{MIGRATIONS}/disableTLS", "value": True},
        {"op": "add", "path": f"{MIGRATIONS}/network", "value": None},
    ]
    made = configuration(operand.kubevirt(hyperconverged(operations=operations), "1", version))["migrations"]
    assert made == {"disableTLS": True, **({"allowWorkloadDisruption": True} if known else {})}


@pytest.mark.parametrize(("value", "kind", "problem"), [
    (5, "uint32", ""), (-1, "uint32", "number -1"), (2**32, "uint32", "number 4294967296"), (-1, "int64", ""), (1.5, "int64", "number 1.5"),
    (True, "int64", "bool"), ("x", "uint32", "string"), ([], "bool", "array"), ({}, "string", "object"), (False, "bool", ""), ("64Mi", "quantity", ""),
    (64, "quantity", ""), ("fast", "quantity", "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
])
def test_values_and_types(value: t.Any, kind: str, problem: str) -> None:
    assert operand.type_problem(value, kind) == problem


@pytest.mark.parametrize(("operation", "problem"), [
    ({"op": "move", "from": "/a/none", "path": "/b"}, "error in move for path: 'none': unable to get nonexistent key: none: missing value"),
    ({"op": "copy", "from": "/none/x", "path": "/b"}, 'copy operation does not apply: doc is missing from path: "/none/x": missing value'),
    ({"op": "copy", "from": "/a", "path": "/none/x"}, "copy operation does not apply: doc is missing destination path: /none/x: missing value"),
    ({"op": "add", "path": "/l/9", "value": 1}, "error in add for path: '/l/9': Unable to access invalid index: 9: invalid index referenced"),
    ({"op": "add", "path": "/l/x", "value": 1},
     "error in add for path: '/l/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid syntax"),
    ({"op": "remove", "path": "/l/9"}, "error in remove for path: '/l/9': Unable to access invalid index: 9: invalid index referenced"),
    ({"op": "replace", "path": "/none/x", "value": 1}, "replace operation does not apply: doc is missing path: /none/x: missing value"),
    ({"op": "test", "path": "/none/x", "value": 1}, "test operation does not apply: is missing path: /none/x: missing value"),
])
def test_what_is_said_of_an_operation_that_does_not_fit(operation: Object, problem: str) -> None:
    with pytest.raises(BrokenPatch) as caught:
        json_patch.applied({"a": {"b": 1}, "l": [1, 2]}, json_patch.decode(json.dumps([operation])))
    assert str(caught.value) == problem


PATHS = st.sampled_from(["/a", "/a/b", "/a/c", "/l", "/l/0", "/l/2", "/l/-", "/l/7", "/none/x", "/a/b/c"])
OPERATIONS = st.fixed_dictionaries({
    "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": PATHS, "from": PATHS, "value": st.integers(0, 2),
})


@given(st.lists(OPERATIONS, max_size=4))
def test_a_patch_is_broken_when_and_only_when_it_cannot_be_applied(operations: list[Object]) -> None:
    document: Object = {"a": {"b": 1}, "l": [1, 2]}
    try:
        wanted = real_patch(json.loads(json.dumps(document)), operations)
    except StatusError:
        with pytest.raises(BrokenPatch, match=r"."):
            json_patch.applied(document, json_patch.decode(json.dumps(operations)))
    else:
        assert json_patch.applied(document, json_patch.decode(json.dumps(operations))) == wanted


def test_the_patch_of_an_object_that_is_not_made_here() -> None:
    held = hyperconverged()
    held["metadata"]["annotations"] = {"ssp.kubevirt.io/jsonpatch": '[{"op":"add","path":"/status/x","value":1}]'}
    with pytest.raises(BrokenPatch, match=r"^invalid jsonPatch in the ssp.kubevirt.io/jsonpatch annotation: can only modify spec fields$"):
        operand.check_other_patches(held)


def test_a_status_of_what_cannot_be_followed() -> None:
    held = hyperconverged(operations="[{}", status={"versions": [{"name": "operator", "version": "1.15.3"}]})
    made = status.failed(held, "it is broken", True, NOW)
    assert [(one["type"], one["status"], one["reason"], one["message"]) for one in made["conditions"]] == [
        ("ReconcileComplete", "False", "ReconcileFailed", "Error while reconciling: it is broken"),
        *((kind, "Unknown", "StatusUnknown", "Unknown Status") for kind in ("Available", "Progressing", "Degraded", "Upgradeable")),
    ]
    assert made["systemHealthStatus"] == "error"
    assert made["versions"] == [{"name": "operator", "version": "1.15.3"}]


@pytest.mark.parametrize(("workers", "available"), [(0, False), (1, False), (2, True), (6, True)])
def test_two_workers_are_highly_available(workers: int, available: bool) -> None:
    others = [{"metadata": {"name": f"control-{number}", "labels": {"node-role.kubernetes.io/control-plane": ""}}} for number in range(3)]
    nodes = [{"metadata": {"name": f"node{number}", "labels": {"node-role.kubernetes.io/worker": ""}}} for number in range(workers)]
    assert status.several([node for node in (*others, *nodes) if status.is_worker(node)]) is available


@pytest.mark.parametrize(("spec", "held", "strategy"), [
    ({}, {}, ""), ({}, {"infrastructureHighlyAvailable": True}, "LiveMigrate"), ({}, {"infrastructureHighlyAvailable": False}, "None"),
    ({"evictionStrategy": "None"}, {"infrastructureHighlyAvailable": True}, ""),
])
def test_the_default_of_the_eviction_strategy(spec: Object, held: Object, strategy: str) -> None:
    assert validation.default_eviction_strategy(hyperconverged(spec, status=held)) == strategy
