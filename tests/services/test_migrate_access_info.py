# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit against a cluster: what it reads, what it proves, and what it says when it may not."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

import pytest

from ansible_collections.okd.virt.plugins.module_utils._cluster.connection import connect
from ansible_collections.okd.virt.plugins.module_utils._errors import Forbidden, OptionError
from ansible_collections.okd.virt.plugins.module_utils._plan import SilentListener
from ansible_collections.okd.virt.plugins.module_utils.access import proof, snapshot
from ansible_collections.okd.virt.plugins.module_utils.access.entries import Listing, Scope
from ansible_collections.okd.virt.plugins.module_utils.access.migrate_access import Access

from ..support.api import RBAC, Api
from .verbs import Verbs

NAME = "migrate_access_info"
TENANTS = {"team-blue", "team-green", "shop", "analytics", "legacy", "ci", "sandbox"}
LOSERS = {
    "group:devs", "group:storage-admins", "group:vm-admins", "serviceaccount:ci:pipeline", "serviceaccount:shop:deployer",
    "user:alice", "user:bob", "user:carol", "user:frank", "user:grace", "user:heidi", "user:nina",
}
KEEPERS = {"user:dave", "user:erin", "user:olivia", "user:peter"}


def subjects(entries: list[dict[str, t.Any]]) -> set[str]:
    return {entry["subject"] for entry in entries}


def in_lab(entries: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Without what other tests made meanwhile."""
    return [entry for entry in entries if entry["subject"] in LOSERS | KEEPERS]


def test_the_lab_of_4_18(verbs: Verbs) -> None:
    outcome = verbs(NAME, verify="all")
    assert not outcome.changed
    result = outcome.result
    entries = in_lab(result["access"])
    assert {entry["subject"] for entry in entries if entry["loses"]} == LOSERS
    assert {entry["subject"] for entry in entries if not entry["loses"]} == KEEPERS
    assert set(result["lost"]) >= LOSERS
    assert result["roles_release"] == "4.18"
    assert result["groups"] == {"devs": ["grace", "heidi"]}
    assert result["verification"]["disagreements"] == []
    assert result["verification"]["pairs"] > len(entries)
    assert result["verification"]["reviews"] == 3 * result["verification"]["pairs"]
    assert outcome.summary["verified"] == result["verification"]["pairs"]
    by_subject = {entry["subject"]: entry for entry in entries}
    assert by_subject["user:alice"]["namespaces"] == ["team-blue", "team-green"]
    assert by_subject["user:alice"]["bindings"] == {"admin": ["team-blue/admins", "team-green/admins"]}
    assert by_subject["user:olivia"]["scope"] == "cluster"
    assert by_subject["user:peter"]["rights"] == {"create": False, "delete": False, "migrate": True}
    erin = result["ways"][by_subject["user:erin"]["way"]]
    assert erin["chains"][0]["through"] == ["support", "support-migrate"]
    grace = result["ways"][by_subject["user:grace"]["way"]]
    assert grace["chains"][0]["group"] == "devs"


def test_check_mode_is_the_same_and_rbac_is_read_once(verbs: Verbs) -> None:
    outcome = verbs(NAME, check=True, verify="none")
    assert not outcome.changed
    # Roles, bindings, both for the cluster and in namespaces, and groups.
    assert verbs.requests == 5
    assert outcome.result["verification"] == {"pairs": 0, "reviews": 0, "disagreements": []}


def test_a_release_after_the_update(fresh_engine: t.Any) -> None:
    verbs = Verbs(fresh_engine(release="4.19").kubeconfig)
    outcome = verbs(NAME, verify="all")
    assert subjects(outcome.result["access"]) == KEEPERS
    assert outcome.result["roles_release"] == "4.19"
    assert outcome.result["lost"] == []
    role = verbs("temporary_migrate_role", aggregate_to=["admin", "edit"])
    assert role.changed
    with_role = verbs(NAME, verify="all")
    assert subjects(with_role.result["access"]) == LOSERS | KEEPERS
    assert with_role.result["temporary_role"]["aggregated_to"] == ["admin", "edit"]
    assert {with_role.result["ways"][entry["way"]]["after_update"]["lasts"] for entry in with_role.result["access"]} == {True, False}
    retired = verbs(NAME, verify="none", outlook="without_temporary_role")
    assert set(retired.result["lost"]) == LOSERS
    verbs("temporary_migrate_role", state="absent")
    assert subjects(verbs(NAME, verify="all").result["access"]) == KEEPERS


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"namespaces": ["team-blue\nteam-green"]}, {"team-blue", "team-green"}),
        ({"namespace_selector": "lab.okd.virt/tenant=true"}, {"team-blue", "team-green", "shop", "analytics", "legacy", "sandbox"}),
        ({"namespace_selector": "lab.okd.virt/tenant=true", "with_vms_only": True}, {"team-blue", "team-green", "shop", "analytics", "legacy"}),
        ({"namespaces": ["sandbox", "shop"], "with_vms_only": True}, {"shop"}),
    ],
)
def test_only_some_namespaces(verbs: Verbs, options: dict[str, t.Any], expected: set[str]) -> None:
    outcome = verbs(NAME, **options)
    assert {namespace for entry in outcome.result["access"] for namespace in entry["namespaces"]} == expected
    wide = {entry["subject"] for entry in outcome.result["access"] if entry["scope"] == "cluster"}
    assert wide >= {"user:olivia", "group:vm-admins", "serviceaccount:ci:pipeline"}


def test_only_some_subjects(verbs: Verbs) -> None:
    outcome = verbs(NAME, subjects=["user:grace", "user:mallory", "system:serviceaccount:ci:pipeline"], verify="all")
    assert subjects(outcome.result["access"]) == {"user:grace", "serviceaccount:ci:pipeline"}
    assert outcome.result["without_access"] == ["user:mallory"]


def test_system_subjects(verbs: Verbs) -> None:
    left_out = verbs(NAME, verify="none").summary["system_left_out"]
    outcome = verbs(NAME, system_subjects=True, verify="all")
    system = [entry for entry in outcome.result["access"] if entry.get("system")]
    assert len(subjects(system)) == left_out
    assert "group:system:masters" in subjects(system)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"namespaces": ["shop", "nowhere"]}, "namespaces: nowhere does not exist"),
        ({"subjects": ["alice"]}, "subjects: 'alice' is not written user:NAME"),
        ({"temporary_role": "kubevirt.io:migrate"}, "temporary_role: kubevirt.io:migrate"),
        ({"sample_size": 0}, "sample_size: at least one"),
    ],
)
def test_options_that_cannot_be(verbs: Verbs, options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        verbs(NAME, **options)


@pytest.mark.parametrize(("given", "none"), [(True, False), (False, True), ("true", False), ("none", True)])
def test_verify_takes_booleans_too(verbs: Verbs, given: t.Any, none: bool) -> None:
    assert (verbs(NAME, verify=given).summary["verified"] == 0) is none


@pytest.fixture
def auditor(api: Api, unique: str) -> Iterator[str]:
    """A user who may read RBAC of the whole cluster and nothing else."""
    rules = [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["list"]}]
    api.expect(201, "POST", f"{RBAC}/clusterroles", {"metadata": {"name": unique}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": unique}
    binding = {"metadata": {"name": unique}, "roleRef": reference, "subjects": [{"kind": "User", "name": unique}]}
    api.expect(201, "POST", f"{RBAC}/clusterrolebindings", binding)
    yield unique
    api.request("DELETE", f"{RBAC}/clusterrolebindings/{unique}")
    api.request("DELETE", f"{RBAC}/clusterroles/{unique}")


def test_an_auditor_without_further_rights(engine: t.Any, auditor: str) -> None:
    verbs = Verbs(engine.kubeconfig, impersonate_user=auditor)
    outcome = verbs(NAME)
    assert subjects(in_lab(outcome.result["access"])) == (LOSERS | KEEPERS) - {"user:grace", "user:heidi"}
    groups, reviews = outcome.warnings
    assert 'resources ["groups"], verbs ["list"]' in groups
    assert 'resources ["subjectaccessreviews"], verbs ["create"]' in reviews
    assert outcome.summary["verified"] == 0
    with pytest.raises(Forbidden) as caught:
        verbs(NAME, verify="all")
    assert caught.value.details["access"]


def test_who_may_not_read_is_told_the_rule(engine: t.Any) -> None:
    with pytest.raises(Forbidden, match=r'resources \["roles"\], verbs \["list"\], by a ClusterRoleBinding'):
        Verbs(engine.kubeconfig, impersonate_user="mallory")(NAME)


def test_few_namespaces_are_read_one_by_one(verbs: Verbs) -> None:
    verbs(NAME, namespaces=["shop", "legacy"], verify="none")
    # Two namespaces looked up, roles and bindings of each, roles and bindings of the cluster, groups.
    assert verbs.requests == 2 + 2 + 2 + 2 + 1


def test_what_the_server_says_otherwise_is_found(engine: t.Any) -> None:
    with connect({"kubeconfig": str(engine.kubeconfig)}, {}) as cluster:
        real = snapshot.read(cluster)
        less = snapshot.Snapshot(
            real.cluster_roles, real.roles, real.cluster_role_bindings,
            [each for each in real.role_bindings if each["metadata"]["namespace"] != "sandbox"], real.groups,
        )
        pairs = proof.all_pairs(Access(real), Listing(Access(real), Scope(namespaces=frozenset({"sandbox", "shop"}))).entries())
        assert proof.disagreements(cluster, Access(real), pairs, SilentListener(float)) == []
        wrong = proof.disagreements(cluster, Access(less), pairs, SilentListener(float))
        # Whoever has it in the whole cluster has it there too.
        assert {(each.pair.subject.text, each.pair.namespace, each.right) for each in wrong} == {
            ("user:nina", "sandbox", right) for right in ("create", "delete", "migrate")
        }
        assert "the access review allows it (RBAC: allowed by RoleBinding" in wrong[0].sentence


def test_a_table_for_people(verbs: Verbs) -> None:
    assert verbs(NAME, verify="none").lines == []
    lines = verbs(NAME, verify="none", table=True).lines
    assert lines[0].split() == ["SUBJECT", "WHERE", "NOW", "AFTER", "4.19", "WHY"]
    (alice,) = [line for line in lines if line.startswith("user:alice ")]
    assert "team-blue, team-green" in alice
