# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils.access.must_keep import InvalidSubject, Keeper, parse


@pytest.mark.parametrize(
    ("entry", "keeper"),
    [
        ("user:alice", Keeper("User", "alice")),
        (" User:alice ", Keeper("User", "alice")),
        ("user:alice:with:colons", Keeper("User", "alice:with:colons")),
        ("group:system:cluster-readers", Keeper("Group", "system:cluster-readers")),
        ("serviceaccount:ci:robot", Keeper("ServiceAccount", "robot", "ci")),
        ("ServiceAccount:ci:robot", Keeper("ServiceAccount", "robot", "ci")),
        ("system:serviceaccount:ci:robot", Keeper("ServiceAccount", "robot", "ci")),
        ({"kind": "User", "name": "alice", "namespaces": ["a", "b"]}, Keeper("User", "alice", "", ("a", "b"))),
        ({"kind": "user", "name": "alice", "groups": "devs, ops"}, Keeper("User", "alice", "", (), ("devs", "ops"))),
        ({"kind": "Group", "name": "devs", "namespace": "ignored"}, Keeper("Group", "devs")),
        ({"kind": "ServiceAccount", "name": "robot", "namespace": "ci"}, Keeper("ServiceAccount", "robot", "ci")),
        ({"subject": "user:alice", "namespaces": ["a"]}, Keeper("User", "alice", "", ("a",))),
        ({"subject": {"kind": "User", "name": "alice"}}, Keeper("User", "alice")),
    ],
)
def test_subjects_as_they_are_written(entry: t.Any, keeper: Keeper) -> None:
    assert parse([entry]) == (False, (keeper,))


@pytest.mark.parametrize(
    "entry",
    [
        "alice",
        "user:",
        "pod:x",
        "serviceaccount:robot",
        "serviceaccount::robot",
        "serviceaccount:ci:",
        "",
        7,
        None,
        ["user:alice"],
        {},
        {"name": "alice"},
        {"kind": "Node", "name": "a"},
        {"kind": "ServiceAccount", "name": "robot"},
        {"kind": "User", "name": "alice", "namespaces": 3},
        {"subject": "alice"},
    ],
)
def test_what_cannot_be_understood_is_refused_and_shown(entry: t.Any) -> None:
    with pytest.raises(InvalidSubject, match="must_keep"):
        parse([entry])


def test_all_and_single_subjects_together() -> None:
    assert parse(["all", "user:alice"]) == (True, (Keeper("User", "alice"),))
    assert parse([]) == (False, ())


def test_entries_of_one_subject_are_joined() -> None:
    entries = [
        {"kind": "User", "name": "alice", "namespaces": ["a"]},
        {"kind": "User", "name": "alice", "namespaces": ["b", "a"]},
    ]
    assert parse(entries) == (False, (Keeper("User", "alice", "", ("a", "b")),))


def test_keepers_read_as_they_are_written() -> None:
    for text in ("user:alice", "group:devs", "serviceaccount:ci:robot"):
        (keeper,) = parse([text])[1]
        assert keeper.text == text


def test_an_audit_is_taken_as_it_is() -> None:
    audit = {
        "access": [
            {
                "subject": "user:alice",
                "kind": "User",
                "name": "alice",
                "namespace": "",
                "scope": "namespaces",
                "namespaces": ["a"],
                "may_migrate": True,
            },
            {
                "subject": "user:alice",
                "kind": "User",
                "name": "alice",
                "namespace": "",
                "scope": "namespaces",
                "namespaces": ["b"],
                "may_migrate": False,
            },
            {
                "subject": "group:ops",
                "kind": "Group",
                "name": "ops",
                "namespace": "",
                "scope": "cluster",
                "namespaces": [],
                "may_migrate": True,
            },
        ]
    }
    expected = (Keeper("User", "alice", "", ("a",)), Keeper("Group", "ops", "", ("*",)))
    assert parse([audit]) == (False, expected)
    assert parse(audit["access"]) == (False, expected)
