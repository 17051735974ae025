# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The temporary role's end, in an updated cluster: nobody who must keep live migration loses it."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import PreconditionFailed
from ansible_collections.okd.virt.plugins.module_utils.access.roles import MIGRATE_RULES, holds_rules

from ..support.api import RBAC, Api
from .verbs import Verbs

NAME = "temporary_migrate_role"
Bind = t.Callable[..., None]


@pytest.fixture(scope="module")
def engine(fresh_engine: t.Callable[..., t.Any]) -> t.Any:
    """The lab after the update."""
    return fresh_engine(release="4.19")


@pytest.fixture
def role(api: Api, unique: str) -> t.Iterator[str]:
    """The name of a temporary role that is gone after the test."""
    name = f"kubevirt.io:{unique}"
    yield name
    api.request("DELETE", f"{RBAC}/clusterroles/{name}")


def holders(api: Api) -> list[str]:
    return [name for name in ("admin", "edit") if holds_rules(api.get(f"{RBAC}/clusterroles/{name}"), MIGRATE_RULES)]


def exists(api: Api, role: str) -> bool:
    return api.request("GET", f"{RBAC}/clusterroles/{role}").status == 200


def test_it_stays_while_somebody_who_must_keep_access_is_unbound(
    api: Api, verbs: Verbs, role: str, namespaces: list[str], bind: Bind, unique: str
) -> None:
    bind(namespaces[0], unique, "admin")
    bind(namespaces[1], unique, "admin")
    verbs(NAME, name=role)
    with pytest.raises(PreconditionFailed, match=unique) as caught:
        verbs(NAME, name=role, state="absent", must_keep=[f"user:{unique}"])
    (lost,) = caught.value.details["would_lose"]
    assert lost["subject"] == f"user:{unique}"
    assert lost["namespaces"] == namespaces[:2]
    assert exists(api, role)
    checked = verbs(NAME, check=True, name=role, state="absent", must_keep=[f"user:{unique}"])
    assert checked.result["would_lose"] == [lost]
    assert any("refuse" in warning for warning in checked.warnings)

    verbs("migrate_role_binding", namespaces=namespaces[:1], users=[unique])
    with pytest.raises(PreconditionFailed) as caught:
        verbs(NAME, name=role, state="absent", must_keep=[f"user:{unique}"])
    assert caught.value.details["would_lose"][0]["namespaces"] == namespaces[1:2]
    only_first = [{"kind": "User", "name": unique, "namespaces": namespaces[:1]}]
    assert verbs(NAME, check=True, name=role, state="absent", must_keep=only_first).result["would_lose"] == []

    verbs("migrate_role_binding", namespaces=namespaces[1:2], users=[unique])
    outcome = verbs(NAME, name=role, state="absent", must_keep=[f"user:{unique}"])
    assert outcome.changed
    assert outcome.result["proof"]["refused"] == []
    assert outcome.result["proof"]["reviews"] >= 4
    assert not exists(api, role)
    assert holders(api) == []


def test_somebody_without_access_at_all_is_named_too(
    api: Api, verbs: Verbs, role: str, unique: str, namespaces: list[str]
) -> None:
    verbs(NAME, name=role)
    with pytest.raises(PreconditionFailed, match=unique):
        verbs(NAME, name=role, state="absent", must_keep=[f"group:{unique}"])
    assert exists(api, role)
    verbs(NAME, name=role, state="absent")
    with pytest.raises(PreconditionFailed, match="is gone"):
        verbs(NAME, name=role, state="absent", must_keep=[f"group:{unique}"])


def test_all_means_everybody_who_has_it(
    api: Api, verbs: Verbs, role: str, namespaces: list[str], bind: Bind, unique: str
) -> None:
    bind(namespaces[0], unique, "admin")
    verbs(NAME, name=role)
    with pytest.raises(PreconditionFailed) as caught:
        verbs(NAME, name=role, state="absent", must_keep="all")
    assert f"user:{unique}" in [entry["subject"] for entry in caught.value.details["would_lose"]]
    assert exists(api, role)


def test_who_is_bound_to_the_temporary_role_itself_would_lose_it(
    api: Api, verbs: Verbs, role: str, namespaces: list[str], bind: Bind, unique: str
) -> None:
    verbs(NAME, name=role)
    bind(namespaces[0], unique, role, "direct")
    with pytest.raises(PreconditionFailed, match=unique):
        verbs(NAME, name=role, state="absent", must_keep=[f"user:{unique}"])


def test_an_audits_result_says_who_must_keep_it(
    api: Api, verbs: Verbs, role: str, namespaces: list[str], bind: Bind, unique: str
) -> None:
    bind(namespaces[0], unique, "admin")
    verbs(NAME, name=role)
    audit = verbs("migrate_access_info", subjects=[f"user:{unique}"], temporary_role=role).result
    assert f"user:{unique}" in [entry["subject"] for entry in audit["access"]]
    with pytest.raises(PreconditionFailed) as caught:
        verbs(NAME, name=role, state="absent", must_keep=[audit])
    assert [entry["subject"] for entry in caught.value.details["would_lose"]] == [f"user:{unique}"]
    verbs("migrate_role_binding", namespaces=namespaces[:1], users=[unique])
    assert verbs(NAME, name=role, state="absent", must_keep=audit["access"]).changed
