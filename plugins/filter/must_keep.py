# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the subjects of a list of trusted, as the verbs take them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: must_keep
short_description: Turn a list of trusted into subjects that must keep live migration
description:
  - Turns what O(okd.virt.grant_access#role:main:grant_access_trusted) takes into what O(okd.virt.temporary_migrate_role#module:must_keep) takes, so that
    the people who are bound and the people who must not lose access are written once.
author:
  - The okd.virt contributors (@okd-virt)
options:
  _input:
    description:
      - Entries with C(users), C(groups), C(service_accounts) and, unless they are for the whole cluster, C(namespaces).
      - Subjects of an entry with C(namespace_selector) must keep access wherever they have it.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Delete the temporary role when all trusted are bound
  okd.virt.temporary_migrate_role:
    state: absent
    must_keep: "{{ trusted | okd.virt.must_keep }}"
  vars:
    trusted:
      - namespaces: [shop]
        users: [alice]
        service_accounts: ["ci:deployer"]
"""

RETURN = r"""
_value:
  description: A subject for each one named, with C(kind), C(name), and C(namespace) and C(namespaces) where they apply.
  type: list
  elements: dict
  sample:
    - kind: User
      name: alice
      namespaces: [shop]
    - kind: ServiceAccount
      name: deployer
      namespace: ci
      namespaces: [shop]
"""

import typing as t

from ansible.errors import AnsibleFilterError


def _service_account(text: str) -> dict[str, t.Any]:
    namespace, dummy, name = str(text).removeprefix("system:serviceaccount:").partition(":")
    if not namespace or not name:
        raise AnsibleFilterError(f"okd.virt.must_keep: the service account {text!r} is not written namespace:name")
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def must_keep(trusted: t.Any) -> list[dict[str, t.Any]]:
    """One subject for each name in each entry. Raises AnsibleFilterError when an entry cannot be understood."""
    if not isinstance(trusted, t.Sequence) or isinstance(trusted, str) or not all(isinstance(entry, t.Mapping) for entry in trusted):
        raise AnsibleFilterError("okd.virt.must_keep takes a list of dictionaries with namespaces, users, groups and service_accounts")
    result: list[dict[str, t.Any]] = []
    for entry in trusted:
        where: dict[str, t.Any] = {}
        if entry.get("scope") != "cluster" and not entry.get("namespace_selector"):
            where = {"namespaces": list(entry.get("namespaces") or ())}
        subjects = [{"kind": "User", "name": name} for name in entry.get("users") or ()]
        subjects += [{"kind": "Group", "name": name} for name in entry.get("groups") or ()]
        subjects += [_service_account(text) for text in entry.get("service_accounts") or ()]
        result += [{**subject, **where} for subject in subjects]
    return result


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"must_keep": must_keep}
