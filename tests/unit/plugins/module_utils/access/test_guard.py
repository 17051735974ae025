# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils.access import guard, must_keep
from ansible_collections.okd.virt.plugins.module_utils.access.roles import MIGRATE_ROLE, MIGRATE_RULES
from ansible_collections.okd.virt.plugins.module_utils.access.snapshot import Snapshot
from ansible_collections.okd.virt.plugins.module_utils.access.subjects import Groups

Json = dict[str, t.Any]
TEMPORARY = "kubevirt.io:upgrademigrate"
PREFIX = "rbac.authorization.k8s.io/aggregate-to-"


def role(name: str, rules: t.Any = (), labels: Json | None = None, aggregates: str = "") -> Json:
    found: Json = {"metadata": {"name": name, "labels": labels or {}}, "rules": list(rules)}
    if aggregates:
        found["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {PREFIX + aggregates: "true"}}]}
    return found


def cluster_roles(aggregate_to: t.Sequence[str] = ("admin",)) -> dict[str, Json]:
    """The roles of 4.19 with a temporary role, aggregation done."""
    by_temporary = {
        target: list(MIGRATE_RULES) if target in aggregate_to or (target == "admin" and aggregate_to) else []
        for target in ("admin", "edit")
    }
    roles = [
        role("cluster-admin", [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]),
        role("admin", by_temporary["admin"], aggregates="admin"),
        role("edit", by_temporary["edit"], {f"{PREFIX}admin": "true"}, aggregates="edit"),
        role(MIGRATE_ROLE, MIGRATE_RULES, {"kubevirt.io": ""}),
        role("vm-mover", [MIGRATE_RULES[1]]),
        role(TEMPORARY, MIGRATE_RULES, {PREFIX + target: "true" for target in aggregate_to}),
    ]
    return {entry["metadata"]["name"]: entry for entry in roles}


def binding(kind: str, name: str, to: str, namespace: str = "") -> Json:
    subject: Json = {"kind": kind, "name": name}
    if kind == "ServiceAccount":
        subject = {"kind": kind, "namespace": name.partition(":")[0], "name": name.partition(":")[2]}
    metadata = {"name": f"{name}-{to}", **({"namespace": namespace} if namespace else {})}
    return {"metadata": metadata, "roleRef": {"kind": "ClusterRole", "name": to}, "subjects": [subject]}


def losses(
    bindings: t.Sequence[Json],
    entries: t.Sequence[t.Any],
    groups: t.Sequence[Json] = (),
    roles: dict[str, Json] | None = None,
) -> dict[str, list[str]]:
    snapshot = Snapshot(
        roles or cluster_roles(),
        {},
        [entry for entry in bindings if "namespace" not in entry["metadata"]],
        [entry for entry in bindings if "namespace" in entry["metadata"]],
        Groups(groups),
    )
    everybody, keepers = must_keep.parse(entries)
    return {loss.subject: list(loss.namespaces) for loss in guard.losses(snapshot, TEMPORARY, everybody, keepers)}


DEVS = {"metadata": {"name": "devs"}, "users": ["alice"]}
CASES: list[tuple[str, list[Json], list[t.Any], list[Json], dict[str, list[str]]]] = [
    ("an admin depends on it", [binding("User", "alice", "admin", "a")], ["user:alice"], [], {"user:alice": ["a"]}),
    (
        "in every namespace",
        [binding("User", "alice", "admin", n) for n in "ab"],
        ["user:alice"],
        [],
        {"user:alice": ["a", "b"]},
    ),
    (
        "bound in one of two",
        [
            binding("User", "alice", "admin", "a"),
            binding("User", "alice", "admin", "b"),
            binding("User", "alice", MIGRATE_ROLE, "a"),
        ],
        ["user:alice"],
        [],
        {"user:alice": ["b"]},
    ),
    (
        "bound",
        [binding("User", "alice", "admin", "a"), binding("User", "alice", MIGRATE_ROLE, "a")],
        ["user:alice"],
        [],
        {},
    ),
    (
        "bound in the whole cluster",
        [binding("User", "alice", "admin", "a"), binding("User", "alice", MIGRATE_ROLE)],
        ["user:alice"],
        [],
        {},
    ),
    ("admin in the whole cluster", [binding("User", "alice", "admin")], ["user:alice"], [], {"user:alice": ["*"]}),
    ("cluster-admin", [binding("User", "alice", "cluster-admin")], ["user:alice"], [], {}),
    (
        "by a group that is bound",
        [binding("User", "alice", "admin", "a"), binding("Group", "devs", MIGRATE_ROLE, "a")],
        ["user:alice"],
        [DEVS],
        {},
    ),
    (
        "by a group that was told",
        [binding("User", "alice", "admin", "a"), binding("Group", "devs", MIGRATE_ROLE, "a")],
        [{"kind": "User", "name": "alice", "groups": ["devs"]}],
        [],
        {},
    ),
    (
        "by a group that is not known",
        [binding("User", "alice", "admin", "a"), binding("Group", "devs", MIGRATE_ROLE, "a")],
        ["user:alice"],
        [],
        {"user:alice": ["a"]},
    ),
    ("a group", [binding("Group", "devs", "admin", "a")], ["group:devs"], [], {"group:devs": ["a"]}),
    (
        "a service account",
        [binding("ServiceAccount", "ci:robot", "admin", "a")],
        ["serviceaccount:ci:robot"],
        [],
        {"serviceaccount:ci:robot": ["a"]},
    ),
    (
        "service accounts by their group",
        [
            binding("ServiceAccount", "ci:robot", "admin", "a"),
            binding("Group", "system:serviceaccounts:ci", MIGRATE_ROLE, "a"),
        ],
        ["serviceaccount:ci:robot"],
        [],
        {},
    ),
    (
        "bound to the temporary role itself",
        [binding("User", "alice", TEMPORARY, "a")],
        ["user:alice"],
        [],
        {"user:alice": ["a"]},
    ),
    (
        "part of it by another role",
        [binding("User", "alice", "admin", "a"), binding("User", "alice", "vm-mover", "a")],
        ["user:alice"],
        [],
        {"user:alice": ["a"]},
    ),
    (
        "an editor never had it by a role for admins",
        [binding("User", "alice", "edit", "a")],
        ["user:alice"],
        [],
        {"user:alice": []},
    ),
    ("nobody", [], ["user:alice"], [], {"user:alice": []}),
    (
        "only where it is asked for",
        [
            binding("User", "alice", "admin", "a"),
            binding("User", "alice", "admin", "b"),
            binding("User", "alice", MIGRATE_ROLE, "a"),
        ],
        [{"kind": "User", "name": "alice", "namespaces": ["a"]}],
        [],
        {},
    ),
    (
        "where it never was",
        [binding("User", "alice", MIGRATE_ROLE, "a")],
        [{"kind": "User", "name": "alice", "namespaces": ["a", "c"]}],
        [],
        {"user:alice": ["c"]},
    ),
    (
        "everybody",
        [
            binding("User", "alice", "admin", "a"),
            binding("Group", "devs", "admin", "b"),
            binding("User", "carol", MIGRATE_ROLE, "a"),
        ],
        ["all"],
        [],
        {"user:alice": ["a"], "group:devs": ["b"]},
    ),
]


@pytest.mark.parametrize(
    ("bindings", "entries", "groups", "lost"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_who_would_be_without_it(
    bindings: list[Json], entries: list[t.Any], groups: list[Json], lost: dict[str, list[str]]
) -> None:
    assert losses(bindings, entries, groups) == lost


def test_editors_depend_on_a_role_for_editors() -> None:
    roles = cluster_roles(("admin", "edit"))
    assert losses([binding("User", "alice", "edit", "a")], ["all"], roles=roles) == {"user:alice": ["a"]}


def test_nobody_depends_on_it_when_the_migrate_role_is_aggregated() -> None:
    roles = cluster_roles()
    roles[MIGRATE_ROLE]["metadata"]["labels"][f"{PREFIX}admin"] = "true"
    assert losses([binding("User", "alice", "admin", "a")], ["user:alice", "all"], roles=roles) == {}


bindings_of_anybody = st.lists(
    st.builds(
        binding,
        st.just("User"),
        st.sampled_from(["alice", "bob"]),
        st.sampled_from(["admin", "edit", "view", "vm-mover", TEMPORARY]),
        st.sampled_from(["", "a", "b"]),
    ),
    max_size=6,
)


@given(bindings_of_anybody)
def test_binding_everybody_who_is_named_is_always_enough(bindings: list[Json]) -> None:
    named = losses(bindings, ["all"])
    remedy = [
        binding("User", subject.removeprefix("user:"), MIGRATE_ROLE, "" if place == "*" else place)
        for subject, places in named.items()
        for place in places
    ]
    assert losses([*bindings, *remedy], ["all"]) == {}


@given(bindings_of_anybody)
def test_without_the_role_nobody_can_lose_it(bindings: list[Json]) -> None:
    gone = {name: entry for name, entry in cluster_roles(()).items() if name != TEMPORARY}
    assert losses(bindings, ["all"], roles=gone) == {}
