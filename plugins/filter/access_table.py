# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: who may live-migrate at several moments, as a table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: access_table
short_description: Show who may live-migrate, at one or several moments, as a table
description:
  - Turns results of M(okd.virt.migrate_access_info) into the lines of a table, with a row for each subject and the namespaces in which it fares alike,
    and a column for each moment.
  - The last column says what the first audit announced for 4.19.
author:
  - The okd.virt contributors (@okd-virt)
options:
  _input:
    description: Dictionaries with C(label), the heading of a column, and C(audit), a result of M(okd.virt.migrate_access_info).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: See who may live-migrate
  okd.virt.migrate_access_info:
  register: audit

- name: Show it as a table
  ansible.builtin.debug:
    msg: "{{ [{'label': 'now', 'audit': audit}] | okd.virt.access_table }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
  sample:
    - subject     namespaces  now  announced
    - ----------  ----------  ---  ---------
    - user:alice  shop        yes  loses it
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.okd.virt.plugins.plugin_utils.report.access import Moment, table


def access_table(moments: t.Any) -> list[str]:
    """Lines of a table. Raises AnsibleFilterError when an entry is no moment."""
    try:
        return table([Moment.of(moment["label"], moment["audit"]) for moment in moments])
    except (KeyError, TypeError) as error:
        raise AnsibleFilterError(f"okd.virt.access_table takes a list of dictionaries with label and audit: {error!r}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"access_table": access_table}
