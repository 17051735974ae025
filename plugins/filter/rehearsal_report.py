# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the report of a rehearsal."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rehearsal_report
short_description: Put the report of a rehearsal together
description:
  - Compares who could live-migrate before the first stage and after the last, finds who lost it, in which stage, and whether the audit had announced it.
  - Used by the role P(okd.virt.rehearse#role).
author:
  - The okd.virt contributors (@okd-virt)
options:
  _input:
    description: A dictionary for each stage with C(name), C(duration) in seconds, C(actions), and C(label) and C(audit) or C(error).
    type: list
    elements: dict
    required: true
  moments:
    description: Dictionaries with C(label) and C(audit), a result of M(okd.virt.migrate_access_info). The first is the moment before the first stage.
    type: list
    elements: dict
    required: true
  trusted:
    description: Who was to keep live migration, as O(okd.virt.grant_access#role:main:grant_access_trusted).
    type: list
    elements: dict
    required: true
  durations:
    description: Further durations by name, in seconds.
    type: dict
    default: {}
  error:
    description: What went wrong outside of the stages.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Put the report together
  ansible.builtin.set_fact:
    report: "{{ stages | okd.virt.rehearsal_report(moments, trusted=[], durations={'total': 61.5}) }}"
  vars:
    moments: []
    stages:
      - name: update
        duration: 48.2
        error: The InstallPlan failed.
"""

RETURN = r"""
_value:
  description: The report.
  type: dict
  contains:
    result:
      description: V(passed) or V(failed).
      type: str
      returned: always
      sample: passed
    stages:
      description: Each stage with its C(name), C(result), C(error), C(duration), C(changed), C(actions) and the C(access) afterwards.
      type: list
      elements: dict
      returned: always
    access:
      description: Subjects and namespaces with live migration, C(before) and C(after), and those that C(lost) it.
      type: dict
      returned: always
    findings:
      description: Dictionaries with C(id), C(severity), C(object) and C(sentence).
      type: list
      elements: dict
      returned: always
    durations:
      description: Seconds by name.
      type: dict
      returned: always
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.okd.virt.plugins.filter.must_keep import must_keep
from ansible_collections.okd.virt.plugins.plugin_utils.report.access import Moment, Pair, subject_text
from ansible_collections.okd.virt.plugins.plugin_utils.report.rehearsal import Stage, report


def _stage(entry: t.Mapping[str, t.Any]) -> Stage:
    after = Moment.of(entry["label"], entry["audit"]) if entry.get("audit") else None
    return Stage(entry["name"], float(entry["duration"]), entry.get("actions") or (), after, entry.get("error") or "")


def rehearsal_report(
    stages: t.Any,
    moments: t.Any,
    trusted: t.Any,
    durations: t.Mapping[str, t.Any] | None = None,
    error: str = "",
) -> dict[str, t.Any]:
    """The report. Raises AnsibleFilterError when a stage or a moment lacks a key."""
    keepers = [(subject_text(subject), subject.get("namespaces")) for subject in must_keep(trusted)]

    def is_trusted(pair: Pair) -> bool:
        return any(pair.subject == subject and (namespaces is None or pair.namespace in namespaces) for subject, namespaces in keepers)

    try:
        before = Moment.of(moments[0]["label"], moments[0]["audit"]) if moments else None
        gone = {name: float(seconds) for name, seconds in (durations or {}).items()}
        return report(before, [_stage(stage) for stage in stages], is_trusted, gone, error)
    except (KeyError, TypeError, ValueError) as missing:
        raise AnsibleFilterError(f"okd.virt.rehearsal_report cannot read a stage or a moment: {missing!r}") from missing


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"rehearsal_report": rehearsal_report}
