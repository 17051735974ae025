#!/usr/bin/python
# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migrate_role_aggregation
short_description: Give live migration back to namespace admins or editors for good
description:
  - Labels the ClusterRole C(kubevirt.io:migrate) of OKD Virtualization 4.19 so that it is aggregated into C(admin) or C(edit). This is
    the documented way back to the behaviour of 4.18. Where it is wanted no temporary role and no bindings are needed after the update.
  - The label survives KubeVirt's reconciliation and its updates. It is lost when somebody deletes the ClusterRole, which KubeVirt then makes anew
    without it. Running the task again puts it back.
  - Waits until the rules have reached the aggregated ClusterRoles, or have left them.
extends_documentation_fragment:
  - okd.virt.attributes
  - okd.virt.auth
  - okd.virt.wait
options:
  state:
    description:
      - Whether the role is aggregated into the roles of O(aggregate_to). Roles that are not listed are left as they are.
      - With V(absent) holders of these roles lose live migration at once, unless they have it another way.
    type: str
    choices: [present, absent]
    default: present
  aggregate_to:
    description:
      - The ClusterRoles that are to have, or not to have, live migration.
      - Whatever is aggregated into C(edit) reaches C(admin) too, since C(edit) is part of C(admin).
      - When omitted this is V(admin) with O(state=present), and both with O(state=absent).
    type: list
    elements: str
    choices: [admin, edit]
  when_missing:
    description:
      - What to do with O(state=present) while the ClusterRole does not exist, that is, before the update to 4.19.
      - V(fail) fails with the remedy, V(skip) ends with a warning and without a change.
    type: str
    choices: [fail, skip]
    default: fail
requirements:
  - kubernetes >= 28.1.0
notes:
  - Rules needed - C(get), C(list), C(watch), C(patch) on C(clusterroles.rbac.authorization.k8s.io).
seealso:
  - module: okd.virt.migrate_role_binding
  - module: okd.virt.temporary_migrate_role
author:
  - The okd.virt contributors (@okd-virt)
"""

EXAMPLES = r"""
- name: Let namespace admins migrate, as before 4.19
  okd.virt.migrate_role_aggregation:
    state: present

- name: Let admins and editors migrate, if the cluster is updated already
  okd.virt.migrate_role_aggregation:
    aggregate_to: [admin, edit]
    when_missing: skip

- name: Take it back
  okd.virt.migrate_role_aggregation:
    state: absent
"""

RETURN = r"""
msg:
  description: What was done, in a sentence.
  returned: always
  type: str
  sample: ClusterRole kubevirt.io:migrate is aggregated into admin.
actions:
  description: The changes made, or in check mode the changes that would be made.
  returned: always
  type: list
  elements: dict
  sample:
    - verb: patch
      kind: ClusterRole
      namespace: ""
      name: kubevirt.io:migrate
      reason: label rbac.authorization.k8s.io/aggregate-to-admin set to "true"
summary:
  description: Counts.
  returned: always
  type: dict
  sample: {"changes": 1}
role:
  description: The role as it is after the run.
  returned: always
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
      sample: kubevirt.io:migrate
    exists:
      description: Whether it exists.
      type: bool
      returned: always
      sample: true
    aggregate_to:
      description: The ClusterRoles into which its labels aggregate it.
      type: list
      elements: str
      returned: always
      sample: [admin]
timeline:
  description: What happened when, in seconds from the start.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible_collections.okd.virt.plugins.module_utils._module import run_module
from ansible_collections.okd.virt.plugins.module_utils.access.aggregation import VERB


def main() -> None:
    run_module(VERB)


if __name__ == "__main__":
    main()
