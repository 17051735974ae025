# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who somebody is."""

from __future__ import annotations

import pytest

from ansible_collections.okd.virt.plugins.module_utils.access.subjects import (
    Groups,
    Identity,
    InvalidSubject,
    group,
    implicit_groups,
    of_binding,
    parse,
    user,
)


@pytest.mark.parametrize("text", ["user:ann", "user:kube:admin", "group:devs", "group:system:authenticated", "serviceaccount:ci:bot"])
def test_texts_are_read_as_they_are_written(text: str) -> None:
    assert parse(text).text == text


@pytest.mark.parametrize("text", ["", "ann", "user:", "person:ann", "serviceaccount:ci", "serviceaccount::bot", "serviceaccount:ci:"])
def test_what_is_no_subject_is_refused(text: str) -> None:
    with pytest.raises(InvalidSubject, match="is not written"):
        parse(text)


def test_the_user_of_a_service_account_is_that_service_account() -> None:
    bot = Identity("ServiceAccount", "ci", "bot")
    assert user("system:serviceaccount:ci:bot") == bot
    assert parse("system:serviceaccount:ci:bot") == bot
    assert parse("user:system:serviceaccount:ci:bot") == bot
    assert bot.user == "system:serviceaccount:ci:bot"
    assert of_binding({"kind": "ServiceAccount", "name": "bot"}, "ci") == bot
    assert of_binding({"kind": "ServiceAccount", "name": "bot"}, "") is None
    assert of_binding({"kind": "Robot", "name": "bot"}, "ci") is None


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ("user:ann", False), ("user:kube:admin", False), ("user:system:admin", True), ("group:system:masters", True), ("group:system:authenticated", False),
        ("group:system:serviceaccounts", False), ("group:system:serviceaccounts:ci", False), ("group:system:serviceaccounts:kube-system", True),
        ("serviceaccount:kube-system:x", True), ("serviceaccount:openshift-cnv:x", True), ("serviceaccount:ci:x", False),
        ("serviceaccount:anywhere:kubevirt-controller", True),
    ],
)
def test_who_belongs_to_the_system(text: str, system: bool) -> None:
    assert parse(text).is_system is system


def test_groups_by_member_and_by_authentication() -> None:
    members = {"devs": ["ann", "bob", "ann"], "ops": ["ann"], "nobody": None}
    groups = Groups([{"metadata": {"name": name}, "users": users} for name, users in members.items()])
    assert groups.members(group("devs")) == ("ann", "bob")
    assert groups.members(user("devs")) == ()
    assert groups.of(user("ann")) == ("devs", "ops")
    assert groups.identities(user("bob")) == (user("bob"), group("devs"), group("system:authenticated"))
    assert implicit_groups(user("system:anonymous")) == ("system:unauthenticated",)
    bot = Identity("ServiceAccount", "ci", "bot")
    assert implicit_groups(bot) == ("system:serviceaccounts", "system:serviceaccounts:ci", "system:authenticated")
