# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import PreconditionFailed
from ansible_collections.okd.virt.plugins.module_utils.access.roles import MIGRATE_ROLE, MIGRATE_RULES, holds_rules

from ..support.api import MERGE_PATCH, RBAC, Api
from .verbs import Verbs

NAME = "migrate_role_aggregation"
ADMIN = "rbac.authorization.k8s.io/aggregate-to-admin"


def labels(api: Api) -> dict[str, str]:
    found: dict[str, str] = api.get(f"{RBAC}/clusterroles/{MIGRATE_ROLE}")["metadata"].get("labels") or {}
    return found


def holders(api: Api) -> list[str]:
    return [name for name in ("admin", "edit") if holds_rules(api.get(f"{RBAC}/clusterroles/{name}"), MIGRATE_RULES)]


def test_admins_get_it_and_lose_it_again(api: Api, verbs: Verbs, migrate_role: None) -> None:
    assert verbs.four_times(NAME) == [True, True, False, False]
    assert holders(api) == ["admin"]
    assert labels(api) == {"kubevirt.io": "", ADMIN: "true"}
    assert verbs.requests == 2
    assert verbs.four_times(NAME, state="absent") == [True, True, False, False]
    assert holders(api) == []
    assert labels(api) == {"kubevirt.io": ""}


def test_edit_reaches_admin_too(api: Api, verbs: Verbs, migrate_role: None) -> None:
    outcome = verbs(NAME, aggregate_to=["edit"])
    assert outcome.result["role"] == {"name": MIGRATE_ROLE, "exists": True, "aggregate_to": ["edit"]}
    assert holders(api) == ["admin", "edit"]
    assert verbs(NAME, aggregate_to=["admin"]).result["role"]["aggregate_to"] == ["admin", "edit"]
    assert verbs(NAME, state="absent", aggregate_to=["edit"]).result["role"]["aggregate_to"] == ["admin"]
    assert holders(api) == ["admin"]


def test_a_value_that_selects_nothing_is_set_right(api: Api, verbs: Verbs, migrate_role: None) -> None:
    patch = {"metadata": {"labels": {ADMIN: "True"}}}
    api.expect(200, "PATCH", f"{RBAC}/clusterroles/{MIGRATE_ROLE}", patch, content_type=MERGE_PATCH)
    outcome = verbs(NAME)
    assert 'was "True"' in outcome.actions[0]["reason"]
    assert holders(api) == ["admin"]


def test_before_the_update_it_fails_with_the_remedy_or_is_skipped(api: Api, verbs: Verbs) -> None:
    if api.request("GET", f"{RBAC}/clusterroles/{MIGRATE_ROLE}").status == 200:
        pytest.skip("the cluster is updated already")
    with pytest.raises(PreconditionFailed, match="temporary_migrate_role"):
        verbs(NAME)
    skipped = verbs(NAME, when_missing="skip")
    assert not skipped.changed
    assert skipped.warnings
    assert verbs(NAME, state="absent").changed is False


def test_check_mode_writes_nothing(api: Api, verbs: Verbs, migrate_role: None) -> None:
    before = labels(api)
    outcome = verbs(NAME, check=True)
    assert outcome.result["role"]["aggregate_to"] == ["admin"]
    assert labels(api) == before
