# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles of 4.19 foretold from those of 4.18, against what virt-operator 1.5.3 really makes."""

from __future__ import annotations

import pytest

from ansible_collections.okd.virt.plugins.module_utils.access import outlook
from ansible_collections.okd.virt.plugins.module_utils.access.role_powers import mask_of, rights_of
from ansible_collections.okd.virt.plugins.module_utils.access.temporary_role_shape import body

from .access_clusters import MIGRATE, PREFIX, TEMPORARY, cluster_roles

ALL = ("create", "delete", "migrate")


def rights(roles: dict[str, dict[str, object]], name: str) -> tuple[str, ...]:
    return rights_of(mask_of(roles[name].get("rules")))  # type: ignore[arg-type]


def test_foretold_roles_give_what_the_real_ones_give() -> None:
    foretold = outlook.scenarios(cluster_roles("1.4.1"), TEMPORARY)[outlook.AS_IS]
    real = cluster_roles("1.5.3")
    assert set(foretold) == set(real)
    for name, made in real.items():
        assert mask_of(foretold[name]["rules"]) == mask_of(made["rules"]), name


def test_the_update_of_an_updated_cluster_changes_nothing() -> None:
    roles = cluster_roles("1.5.3")
    after = outlook.scenarios(roles, TEMPORARY)[outlook.AS_IS]
    for name, made in roles.items():
        assert mask_of(after[name]["rules"]) == mask_of(made["rules"]), name


@pytest.mark.parametrize(
    ("scenario", "admin", "edit"),
    [
        (outlook.NOW, ALL, ALL),
        (outlook.AS_IS, (), ()),
        (outlook.WITHOUT_TEMPORARY_ROLE, (), ()),
        (outlook.AGGREGATE_TO_ADMIN, ALL, ()),
        (outlook.AGGREGATE_TO_EDIT, ALL, ALL),
    ],
)
def test_who_has_it_in_each_case(scenario: str, admin: tuple[str, ...], edit: tuple[str, ...]) -> None:
    roles = outlook.scenarios(cluster_roles("1.4.1"), TEMPORARY)[scenario]
    assert rights(roles, "admin") == admin
    assert rights(roles, "edit") == edit
    assert rights(roles, "view") == ()
    assert rights(roles, "cluster-admin") == ALL


def test_an_existing_temporary_role_counts_until_it_goes() -> None:
    found = outlook.scenarios(cluster_roles("1.4.1", temporary=["admin"]), TEMPORARY)
    assert rights(found[outlook.AS_IS], "admin") == ALL
    assert rights(found[outlook.WITHOUT_TEMPORARY_ROLE], "admin") == ()
    assert TEMPORARY not in found[outlook.WITHOUT_TEMPORARY_ROLE]


def test_a_temporary_role_for_editors_reaches_admins_too() -> None:
    roles = cluster_roles("1.4.1", body(TEMPORARY, ["edit"]))
    after = outlook.scenarios(roles, TEMPORARY)[outlook.AS_IS]
    assert rights(after, "admin") == ALL
    assert rights(after, "edit") == ALL


def test_rules_added_to_a_shipped_role_by_hand_do_not_survive_and_labels_of_users_do() -> None:
    roles = cluster_roles("1.5.3")
    roles["kubevirt.io:admin"]["rules"].append({"apiGroups": ["kubevirt.io"], "resources": ["*"], "verbs": ["*"]})
    roles[MIGRATE]["metadata"]["labels"][PREFIX + "admin"] = "true"
    after = outlook.after_update(roles)
    assert rights(after, "kubevirt.io:admin") == ()
    assert after[MIGRATE]["metadata"]["labels"] == {**roles[MIGRATE]["metadata"]["labels"], "kubevirt.io": "", PREFIX + "admin": "true"}


def test_a_required_label_set_to_false_comes_back() -> None:
    roles = cluster_roles("1.4.1")
    roles["kubevirt.io:edit"]["metadata"]["labels"][PREFIX + "edit"] = "false"
    assert outlook.after_update(roles)["kubevirt.io:edit"]["metadata"]["labels"][PREFIX + "edit"] == "true"
