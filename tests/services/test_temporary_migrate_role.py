# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import DeadlineExceeded, OptionError, PreconditionFailed
from ansible_collections.okd.virt.plugins.module_utils.access.roles import MIGRATE_ROLE, MIGRATE_RULES, holds_rules

from ..support.api import MERGE_PATCH, RBAC, Api
from .conftest import cluster_role
from .verbs import Verbs

NAME = "temporary_migrate_role"
LABEL = "rbac.authorization.k8s.io/aggregate-to-"


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


def test_admins_keep_it_as_documented(api: Api, verbs: Verbs, role: str) -> None:
    assert verbs.four_times(NAME, name=role) == [True, True, False, False]
    assert verbs.requests == 2
    assert holders(api) == ["admin"]
    made = api.get(f"{RBAC}/clusterroles/{role}")
    assert made["metadata"]["labels"] == {f"{LABEL}admin": "true", "app.kubernetes.io/managed-by": "okd.virt"}
    assert verbs.four_times(NAME, name=role, state="absent") == [True, True, False, False]
    assert holders(api) == []


def test_editors_keep_it_when_asked(api: Api, verbs: Verbs, role: str) -> None:
    outcome = verbs(NAME, name=role, aggregate_to=["edit", "admin"])
    assert outcome.result["role"] == {"name": role, "exists": True, "aggregate_to": ["admin", "edit"]}
    assert holders(api) == ["admin", "edit"]
    narrowed = verbs(NAME, name=role)
    assert any("loses it" in warning for warning in narrowed.warnings)
    verbs(NAME, name=role, aggregate_to=["edit"])
    assert holders(api) == ["admin", "edit"]


WRONG: dict[str, dict[str, t.Any]] = {
    "label lost": {"metadata": {"labels": {}}, "rules": list(MIGRATE_RULES)},
    "label switched off": {"metadata": {"labels": {f"{LABEL}admin": "false"}}, "rules": list(MIGRATE_RULES)},
    "capitals": {"metadata": {"labels": {f"{LABEL}admin": "True"}}, "rules": list(MIGRATE_RULES)},
    "rules": {"metadata": {"labels": {f"{LABEL}admin": "true"}}, "rules": [{**MIGRATE_RULES[1], "verbs": ["get"]}]},
    "virt-operator's": {
        "metadata": {"labels": {f"{LABEL}admin": "true", "app.kubernetes.io/managed-by": "virt-operator"}},
        "rules": list(MIGRATE_RULES),
    },
    "aggregating": {
        "metadata": {"labels": {f"{LABEL}admin": "true"}},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"nothing": "at-all"}}]},
        "rules": [],
    },
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_malformed_role_is_repaired(api: Api, verbs: Verbs, role: str, wrong: dict[str, t.Any]) -> None:
    body = {**wrong, "metadata": {**wrong["metadata"], "name": role}}
    with cluster_role(api, body):
        assert verbs.four_times(NAME, name=role) == [True, True, False, False]
        repaired = api.get(f"{RBAC}/clusterroles/{role}")
        assert repaired["metadata"]["labels"][f"{LABEL}admin"] == "true"
        assert repaired["metadata"]["labels"].get("app.kubernetes.io/managed-by") != "virt-operator"
        assert holds_rules(repaired, MIGRATE_RULES)
        assert "aggregationRule" not in repaired
        assert holders(api) == ["admin"]


def test_a_role_made_by_hand_as_documented_is_left_alone(api: Api, verbs: Verbs, role: str) -> None:
    body = {"metadata": {"name": role, "labels": {f"{LABEL}admin": "true"}}, "rules": list(MIGRATE_RULES)}
    with cluster_role(api, body) as made:
        assert verbs(NAME, name=role).changed is False
        assert (
            api.get(f"{RBAC}/clusterroles/{role}")["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        )


def test_made_after_the_update_it_says_that_it_is_late(verbs: Verbs, role: str, migrate_role: None) -> None:
    assert any("in force already" in warning for warning in verbs(NAME, name=role).warnings)


@pytest.mark.parametrize("name", ["admin", "kubevirt.io:admin", MIGRATE_ROLE, "system:node"])
@pytest.mark.parametrize("state", ["present", "absent"])
def test_shipped_roles_are_refused(api: Api, verbs: Verbs, name: str, state: str) -> None:
    with pytest.raises(PreconditionFailed, match="ships"):
        verbs(NAME, name=name, state=state)


def test_an_admin_role_that_aggregates_nothing_is_told_before_anything_is_written(
    api: Api, verbs: Verbs, role: str
) -> None:
    path = f"{RBAC}/clusterroles/edit"
    rule = api.get(path)["aggregationRule"]
    api.expect(200, "PATCH", path, {"aggregationRule": None}, content_type=MERGE_PATCH)
    try:
        with pytest.raises(PreconditionFailed, match="aggregationRule"):
            verbs(NAME, name=role, aggregate_to=["admin", "edit"])
        assert not exists(api, role)
    finally:
        api.expect(200, "PATCH", path, {"aggregationRule": rule}, content_type=MERGE_PATCH)


def test_options_that_cannot_be_are_refused(verbs: Verbs) -> None:
    with pytest.raises(OptionError, match="must_keep"):
        verbs(NAME, state="absent", must_keep=["alice"])
    with pytest.raises(OptionError, match="aggregate_to"):
        verbs(NAME, aggregate_to=[])
    assert verbs.requests == 0


def test_a_deadline_missed_is_a_failure(api: Api, verbs: Verbs, role: str) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        verbs(NAME, name=role, wait_timeout=0)
    assert caught.value.pending
