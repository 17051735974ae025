# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the versions of KubeVirt install, against what they were seen to install; and how a shipped object meets what is there."""
from __future__ import annotations

import copy
import json
import pathlib
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt import install_strategy
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.install_strategy import InstallStrategy
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_operator import merged
from ansible_collections.okd.virt.tests.support.paths import REPOSITORY

Object = dict[str, t.Any]
RECORDED = REPOSITORY / "tests" / "conformance" / "recorded"
AGGREGATED = ("admin", "edit", "view")
NOT_ITS_OWN = (*AGGREGATED, "kubevirt-operator")
PLURALS = {"ClusterRole": "cluster_roles", "ClusterRoleBinding": "cluster_role_bindings", "Role": "roles", "RoleBinding": "role_bindings"}


def recorded(version: str) -> list[Object]:
    """Every role and binding of KubeVirt that was recorded of a version, and virt-operator's own."""
    found: list[Object] = []
    for path in sorted((RECORDED / f"kubevirt-{version}" / "kv-roles").glob("*.json")):
        body = json.loads(path.read_text(encoding="utf-8"))["response"]["body"]
        kind = body["kind"].removesuffix("List")
        found += [{**one, "kind": kind} for one in body.get("items", [body])]
    return [one for one in found if one["metadata"]["name"] not in AGGREGATED]


def shipped(strategy: InstallStrategy, obj: Object) -> Object:
    """What the strategy has under the recorded object's kind and name."""
    if obj["metadata"]["name"] == "kubevirt-operator":
        return install_strategy.operator_role(strategy.version, "kubevirt")
    (found,) = [one for one in getattr(strategy, PLURALS[obj["kind"]]) if one["metadata"]["name"] == obj["metadata"]["name"]]
    return t.cast(Object, found)


@pytest.mark.parametrize("version", ["1.4.1", "1.5.3"])
def test_roles_and_bindings_are_those_that_were_recorded(version: str) -> None:
    strategy = install_strategy.strategy(f"v{version}", "kubevirt")
    compared = 0
    for obj in recorded(version):
        if obj["metadata"]["name"] == "kubevirt-operator-rolebinding":
            continue
        found = shipped(strategy, obj)
        name = (obj["kind"], obj["metadata"]["name"])
        for key in ("rules", "roleRef", "subjects"):
            assert found.get(key) == obj.get(key), (name, key)
        labels, annotations = obj["metadata"].get("labels") or {}, obj["metadata"].get("annotations") or {}
        assert labels.items() <= found["metadata"]["labels"].items(), name
        assert annotations.items() <= found["metadata"].get("annotations", {}).items(), name
        compared += 1
    assert compared >= 12


def test_the_order_is_that_of_the_recorded_update() -> None:
    strategy = install_strategy.strategy("v1.5.3", "kubevirt-hyperconverged")
    path = RECORDED / "kubevirt-1.5.3" / "kv-operator" / "timeline-update-1.5.3.json"
    names: dict[str, list[str]] = {}
    for entry in json.loads(path.read_text(encoding="utf-8"))["timeline"]:
        seen = names.setdefault(entry.get("resource", ""), [])
        if "name" in entry and entry["name"] not in (*seen, *NOT_ITS_OWN):
            seen.append(entry["name"])
    for resource, wanted in (
        ("customresourcedefinitions", strategy.custom_resource_definitions), ("serviceaccounts", strategy.service_accounts),
        ("clusterroles", strategy.cluster_roles), ("clusterrolebindings", strategy.cluster_role_bindings), ("roles", strategy.roles),
        ("services", strategy.services),
    ):
        assert [one["metadata"]["name"] for one in wanted] == names[resource], resource


def test_the_versions_differ_in_what_editors_and_administrators_may() -> None:
    def migration_verbs(version: str, role: str) -> set[str]:
        (found,) = [one for one in install_strategy.strategy(version, "x").cluster_roles if one["metadata"]["name"] == role]
        return {
            verb for rule in found["rules"] for verb in rule["verbs"] if "virtualmachineinstancemigrations" in rule.get("resources", ())
        }

    writing = {"create", "update", "patch", "delete"}
    for role in ("kubevirt.io:admin", "kubevirt.io:edit"):
        assert writing <= migration_verbs("v1.4.1", role)
        assert not writing & migration_verbs("v1.5.3", role)
    assert writing <= migration_verbs("v1.5.3", "kubevirt.io:migrate")


def test_everything_is_in_the_namespace_and_marked_as_managed() -> None:
    strategy = install_strategy.strategy("v1.5.3", "openshift-cnv")
    for field in ("service_accounts", "roles", "role_bindings", "services", "daemon_sets", "deployments"):
        assert {one["metadata"]["namespace"] for one in getattr(strategy, field)} == {"openshift-cnv"}, field
    subjects = [
        subject for field in ("cluster_role_bindings", "role_bindings") for one in getattr(strategy, field) for subject in one["subjects"]
        if subject["kind"] == "ServiceAccount"
    ]
    assert {subject["namespace"] for subject in subjects} == {"openshift-cnv"}
    for field in PLURALS.values():
        for one in getattr(strategy, field):
            assert one["metadata"]["labels"][install_strategy.MANAGED_BY] == "virt-operator"
            assert one["metadata"]["annotations"][install_strategy.VERSION_ANNOTATION] == "v1.5.3"


def test_a_version_that_is_not_known_is_refused() -> None:
    assert not install_strategy.known("v1.6.0")
    with pytest.raises(KeyError, match=r"v1\.6\.0"):
        install_strategy.strategy("v1.6.0", "kubevirt")


def test_the_data_is_part_of_the_collection() -> None:
    folder = pathlib.Path(install_strategy.__file__).parent / "install_strategies"
    assert sorted(path.stem for path in folder.glob("*.json")) == sorted(install_strategy.VERSIONS)


AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-admin"
WANTED: Object = {
    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
    "metadata": {"name": "kubevirt.io:admin", "labels": {AGGREGATE: "true"}, "annotations": {"version": "new"}},
    "rules": [{"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines"], "verbs": ["get"]}],
}


def present(**metadata: t.Any) -> Object:
    made = copy.deepcopy(WANTED)
    made["metadata"] |= {"uid": "1", "resourceVersion": "7", **metadata}
    return made


def test_what_is_as_shipped_is_left_alone() -> None:
    assert merged(present(), WANTED) is None
    assert merged(present(labels={**WANTED["metadata"]["labels"], "mine": "x"}, annotations={"version": "new", "mine": "y"}), WANTED) is None


def test_foreign_labels_stay_and_required_ones_come_back() -> None:
    becomes = merged(present(labels={AGGREGATE: "false", "mine": "x"}, annotations={"version": "old", "mine": "y"}), WANTED)
    assert becomes is not None
    assert becomes["metadata"]["labels"] == {AGGREGATE: "true", "mine": "x"}
    assert becomes["metadata"]["annotations"] == {"version": "new", "mine": "y"}
    assert (becomes["metadata"]["uid"], becomes["metadata"]["resourceVersion"]) == ("1", "7")
    assert merged(present(labels=None, annotations=None), WANTED) == present()


@pytest.mark.parametrize("rules", [
    None,
    [],
    [*WANTED["rules"], {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines"], "verbs": ["delete"]}],
    [{**WANTED["rules"][0], "verbs": ["get", "list"]}],
])
def test_rules_are_replaced_in_full(rules: t.Any) -> None:
    becomes = merged({**present(), "rules": rules}, WANTED)
    assert becomes is not None
    assert becomes["rules"] == WANTED["rules"]


def test_what_the_server_filled_in_is_no_difference() -> None:
    wanted: Object = {"metadata": {"name": "x"}, "spec": {"template": {"containers": [{"name": "a", "image": "i"}]}}}
    current: Object = {
        "metadata": {"name": "x"}, "status": {"replicas": 1},
        "spec": {"replicas": 1, "template": {"containers": [{"name": "a", "image": "i", "terminationMessagePath": "/dev/termination-log"}]}},
    }
    assert merged(current, wanted) is None
    current["spec"]["template"]["containers"][0]["image"] = "other"
    assert merged(current, wanted) is not None
