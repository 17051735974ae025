# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.okd.virt.plugins.filter.must_keep import must_keep


def test_one_subject_for_each_name_in_the_namespaces_of_its_entry() -> None:
    trusted = [
        {"namespaces": ["shop", "billing"], "users": ["alice"], "groups": ["ops"]},
        {"namespaces": ["ci"], "service_accounts": ["ci:deployer", "system:serviceaccount:ci:tester"]},
    ]
    assert must_keep(trusted) == [
        {"kind": "User", "name": "alice", "namespaces": ["shop", "billing"]},
        {"kind": "Group", "name": "ops", "namespaces": ["shop", "billing"]},
        {"kind": "ServiceAccount", "name": "deployer", "namespace": "ci", "namespaces": ["ci"]},
        {"kind": "ServiceAccount", "name": "tester", "namespace": "ci", "namespaces": ["ci"]},
    ]


@pytest.mark.parametrize("entry", [{"scope": "cluster", "users": ["alice"]}, {"namespace_selector": "tenant=blue", "users": ["alice"]}])
def test_where_no_namespaces_are_known_access_is_kept_wherever_it_is_now(entry: dict[str, t.Any]) -> None:
    assert must_keep([entry]) == [{"kind": "User", "name": "alice"}]


@pytest.mark.parametrize("trusted", ["alice", ["alice"], {"users": ["alice"]}, [{"service_accounts": ["deployer"]}]])
def test_what_cannot_be_understood_is_refused(trusted: t.Any) -> None:
    with pytest.raises(AnsibleFilterError, match=r"okd\.virt\.must_keep"):
        must_keep(trusted)
