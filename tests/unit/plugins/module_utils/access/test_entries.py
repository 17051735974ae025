# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the audit says of somebody: rights, ways, and what becomes of them."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils.access import audit_report, fates, outlook
from ansible_collections.okd.virt.plugins.module_utils.access.entries import Entry, Listing, Scope
from ansible_collections.okd.virt.plugins.module_utils.access.migrate_access import Access
from ansible_collections.okd.virt.plugins.module_utils.access.snapshot import Snapshot
from ansible_collections.okd.virt.plugins.module_utils.access.subjects import parse

from .access_clusters import EVERYTHING, MIGRATE, MIGRATE_RULES, TEMPORARY, Json, bind, cluster_roles, role, snapshot

OLD, NEW = "1.4.1", "1.5.3"
FULL = ["create", "delete", "migrate"]


def listed(found: Snapshot, **scope: t.Any) -> list[Entry]:
    return Listing(Access(found), Scope(**scope)).entries()


def one(found: Snapshot, **scope: t.Any) -> Entry:
    (entry,) = listed(found, **scope)
    return entry


def code(entry: Entry) -> tuple[str, bool]:
    return entry.standing.fate.code, entry.standing.fate.lasts


@pytest.mark.parametrize("name", ["admin", "edit"])
def test_admins_and_editors_lose_it(name: str) -> None:
    entry = one(snapshot(cluster_roles(OLD), bind(name, "user:ann", namespace="shop", name="theirs")))
    told = entry.to_dict()
    assert told["subject"] == "user:ann"
    assert told["scope"] == "namespaces"
    assert told["namespaces"] == ["shop"]
    assert told["rights"] == {"create": True, "delete": True, "migrate": True}
    assert told["bindings"] == {name: ["shop/theirs"]}
    assert told["loses"] is True
    assert f"kubevirt.io:{name}" in told["reason"]
    assert code(entry) == (fates.LOSES, False)
    ways = entry.standing.to_dict()
    assert ways["after_update"]["lost"] == FULL
    assert [name, f"kubevirt.io:{name}"] in [chain["through"] for chain in ways["chains"]]
    assert ways["outlooks"] == {
        "as_is": FULL, "without_temporary_role": FULL, "aggregate_to_admin": FULL if name == "edit" else [], "aggregate_to_edit": [],
    }


def test_viewers_are_not_listed() -> None:
    assert listed(snapshot(cluster_roles(OLD), bind("view", "user:ann", namespace="shop"))) == []


@pytest.mark.parametrize(
    ("given_role", "expected"),
    [
        (role("own", MIGRATE_RULES), (fates.KEEPS_BY_OWN_ROLE, True)),
        (role("root", EVERYTHING), (fates.KEEPS_BY_WILDCARD, True)),
    ],
)
def test_roles_of_the_customer_keep_it(given_role: Json, expected: tuple[str, bool]) -> None:
    name = given_role["metadata"]["name"]
    entry = one(snapshot(cluster_roles(OLD, given_role), bind(name, "user:ann", namespace="shop")))
    assert not entry.loses
    assert code(entry) == expected


def test_the_temporary_role_keeps_it_for_a_while() -> None:
    found = snapshot(cluster_roles(OLD, temporary=["admin"]), bind("admin", "user:ann", namespace="a"), bind("edit", "user:bob", namespace="a"))
    ann, bob = listed(found)
    assert code(ann) == (fates.KEEPS_BY_TEMPORARY_ROLE, False)
    assert TEMPORARY in ann.standing.fate.reason
    assert bob.loses
    gone = listed(found, outlook=outlook.WITHOUT_TEMPORARY_ROLE)[0]
    assert gone.loses
    updated = snapshot(cluster_roles(NEW, temporary=["admin"]), bind("admin", "user:ann", namespace="a"))
    assert code(one(updated, outlook=outlook.WITHOUT_TEMPORARY_ROLE))[0] == fates.LOSES_WITHOUT_TEMPORARY_ROLE


def test_a_binding_made_before_the_update_makes_the_difference() -> None:
    found = snapshot(
        cluster_roles(OLD),
        bind("admin", "user:ann", "user:bob", namespace="shop"),
        bind(MIGRATE, "user:ann", "user:new", namespace="shop", name="kvmigrate"),
    )
    ann, bob, new = listed(found)
    assert code(ann) == (fates.KEEPS_BY_BINDING, True)
    assert bob.loses
    assert new.standing.fate.now == 0
    assert new.standing.fate.gained == ("create", "delete", "migrate")


def test_namespaces_that_differ_by_such_a_binding_are_told_apart() -> None:
    found = snapshot(
        cluster_roles(OLD),
        bind("admin", "user:ann", namespace="shop"),
        bind("admin", "user:ann", namespace="lab"),
        bind(MIGRATE, "user:ann", namespace="shop", name="kvmigrate"),
    )
    assert {tuple(entry.namespaces): entry.loses for entry in listed(found)} == {("lab",): True, ("shop",): False}


def test_the_documented_way_back_is_recognised() -> None:
    roles = cluster_roles(NEW)
    roles[MIGRATE]["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"] = "true"
    roles["admin"]["rules"].extend(MIGRATE_RULES)
    assert code(one(snapshot(roles, bind("admin", "user:ann", namespace="shop")))) == (fates.KEEPS_BY_AGGREGATION, True)


def test_one_entry_for_namespaces_that_fare_alike() -> None:
    names = [f"n{number}" for number in range(5)]
    bindings = [bind("edit", "user:ann", namespace=name) for name in names]
    entry = one(snapshot(cluster_roles(OLD), *bindings, bind("view", "user:ann", namespace="n3", name="extra")))
    assert entry.namespaces == names
    assert entry.to_dict()["bindings"] == {"edit": [f"{name}/edit-binding" for name in names]}


def test_the_whole_cluster_is_one_entry_and_stays_one() -> None:
    found = snapshot(cluster_roles(OLD), bind("edit", "user:ann"), bind("edit", "user:bob", namespace="shop"))
    ann, bob = listed(found)
    assert (ann.whole_cluster, ann.namespaces) == (True, [])
    assert (bob.whole_cluster, bob.namespaces) == (False, ["shop"])


def test_rights_of_the_whole_cluster_count_in_a_namespace() -> None:
    own = role("starter", [MIGRATE_RULES[0]])
    found = snapshot(cluster_roles(OLD, own), bind("starter", "user:ann"), bind("edit", "user:ann", namespace="shop"))
    wide, narrow = listed(found)
    assert wide.to_dict()["rights"] == {"create": False, "delete": False, "migrate": True}
    assert narrow.standing.fate.lost == ("create", "delete")
    assert "migrate remains" in narrow.standing.fate.reason


def test_members_of_groups_are_users_too() -> None:
    found = snapshot(cluster_roles(OLD), bind("edit", "group:devs", namespace="shop"), groups={"devs": ["ann", "bob"], "idle": ["eve"]})
    assert [entry.subject.text for entry in listed(found)] == ["group:devs", "user:ann", "user:bob"]
    assert [chain["group"] for entry in listed(found) for chain in entry.standing.to_dict()["chains"]] == ["", "devs", "devs"]
    assert [entry.subject.text for entry in listed(found, expand_groups=False)] == ["group:devs"]
    assert one(found, subjects=(parse("user:ann"),)).namespaces == ["shop"]


def test_a_group_of_everybody_is_an_entry_and_is_not_repeated() -> None:
    found = snapshot(
        cluster_roles(OLD),
        bind("edit", "group:system:authenticated", namespace="playground"),
        bind("edit", "user:ann", namespace="shop"),
    )
    everybody, ann = listed(found)
    assert (everybody.subject.text, everybody.namespaces) == ("group:system:authenticated", ["playground"])
    assert not everybody.subject.is_system
    assert ann.namespaces == ["shop"]
    assert Access(found).rights(parse("user:ann"), "playground") == set(FULL)


def test_system_subjects_are_left_out_unless_asked_for() -> None:
    found = snapshot(
        cluster_roles(OLD), bind("cluster-admin", "group:system:masters", "serviceaccount:openshift-x:bot", "serviceaccount:tenant:kubevirt-controller")
    )
    listing = Listing(Access(found), Scope())
    assert listing.entries() == []
    assert listing.system_left_out == 3
    assert all(entry.to_dict()["system"] for entry in listed(found, system_subjects=True))
    assert len(listed(found, subjects=(parse("group:system:masters"),))) == 1


def test_only_the_namespaces_that_are_looked_at() -> None:
    found = snapshot(
        cluster_roles(OLD), bind("edit", "user:ann", namespace="shop"), bind("edit", "user:ann", namespace="lab"), bind("edit", "user:wide")
    )
    entries = listed(found, namespaces=frozenset({"lab"}))
    assert [(entry.subject.name, entry.namespaces) for entry in entries] == [("ann", ["lab"]), ("wide", [])]


def test_a_role_of_a_namespace() -> None:
    own = {"metadata": {"name": "mover", "namespace": "shop"}, "rules": [MIGRATE_RULES[0]]}
    entry = one(snapshot(cluster_roles(OLD), bind("mover", "user:ann", namespace="shop", kind="Role"), own=[own]))
    assert entry.to_dict()["rights"] == {"create": False, "delete": False, "migrate": True}
    assert entry.to_dict()["may_migrate"] is True
    assert entry.standing.to_dict()["chains"][0]["role_kind"] == "Role"


def test_summary_counts_subjects_once() -> None:
    found = snapshot(
        cluster_roles(OLD, role("own", MIGRATE_RULES)),
        bind("edit", "user:ann", "serviceaccount:ci:bot", namespace="shop"),
        bind("own", "user:ann", "group:ops", namespace="lab"),
        bind(MIGRATE, "user:new", namespace="lab"),
        bind("edit", "user:wide"),
    )
    access = Access(found)
    listing = Listing(access, Scope())
    entries = listing.entries()
    holders = [entry for entry in entries if entry.standing.fate.now]
    gains = [entry for entry in entries if not entry.standing.fate.now]
    counts = audit_report.summary(access, listing, holders, gains)
    expected = {
        "subjects": 4, "users": 2, "groups": 1, "service_accounts": 1, "cluster_wide": 1, "pairs": 4, "loses": 3, "loses_pairs": 2, "keeps": 1, "gains": 1,
        "namespaces": 2, "outlooks": {"as_is": 3, "without_temporary_role": 3, "aggregate_to_admin": 3, "aggregate_to_edit": 0},
    }
    assert {key: counts[key] for key in expected} == expected
    assert audit_report.message(counts, outlook.AS_IS) == "4 subjects may live-migrate; 3 of them lose it with 4.19 as things are."
    lines = audit_report.table(holders, gains)
    assert len(lines) == 1 + len(entries)
    assert all(len(line) < 200 for line in lines)


def facts(found: Snapshot) -> dict[str, list[str]]:
    access = Access(found)
    entries = Listing(access, Scope()).entries()
    holders = [entry for entry in entries if entry.standing.fate.now]
    gains = [entry for entry in entries if not entry.standing.fate.now]
    return {fact["id"]: fact["subjects"] or [fact["role"]] for fact in audit_report.facts(access, holders, gains)}


def test_facts_beyond_the_rights() -> None:
    named = role("one-vm", [{**MIGRATE_RULES[0], "resourceNames": ["vm-1"]}])
    found = snapshot(
        cluster_roles(OLD, named),
        bind("admin", "user:ann", namespace="shop"),
        bind("edit", "user:bob", namespace="shop"),
        bind("cluster-admin", "user:root"),
        bind(MIGRATE, "user:new", namespace="shop"),
    )
    assert facts(found) == {
        "may_pass_on": ["user:ann"], "may_evict": ["user:ann", "user:bob"], "inert_binding": ["user:new"], "resource_names": ["one-vm"],
    }


def test_admins_pass_it_on_while_the_temporary_role_is_there_and_not_afterwards() -> None:
    for temporary, expected in ((["admin"], True), ([], False)):
        found = snapshot(cluster_roles(NEW, role("own", MIGRATE_RULES), temporary=temporary), bind("admin", "user:ann", namespace="a"))
        assert ("may_pass_on" in facts(found)) is expected


def test_what_is_wrong_with_a_temporary_role_is_a_fact() -> None:
    wrong = role(TEMPORARY, MIGRATE_RULES)
    wrong["metadata"]["labels"] = {"rbac.authorization.k8s.io/aggregate-to-admin=true": ""}
    assert facts(snapshot(cluster_roles(NEW, wrong)))["temporary_role_label"] == [TEMPORARY]
    behind = cluster_roles(NEW, temporary=["admin"])
    behind["admin"]["rules"] = []
    assert facts(snapshot(behind))["aggregation_behind"] == ["admin"]


def test_releases_are_told_by_their_roles() -> None:
    assert audit_report.roles_release(Access(snapshot(cluster_roles(OLD)))) == "4.18"
    assert audit_report.roles_release(Access(snapshot(cluster_roles(NEW)))) == "4.19"
    assert audit_report.roles_release(Access(snapshot({}))) == ""
    told = audit_report.temporary_role(Access(snapshot(cluster_roles(OLD, temporary=["admin", "edit"]))))
    assert told == {"name": TEMPORARY, "exists": True, "aggregated_to": ["admin", "edit"]}
