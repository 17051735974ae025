#!/usr/bin/python
# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: temporary_migrate_role
short_description: Keep live migration for namespace admins and editors across the update to 4.19
description:
  - OKD Virtualization 4.19 takes the right to live-migrate from namespace admins and editors. This module makes, repairs or
    removes the temporary ClusterRole that keeps it for them, from before the update until the trusted have been bound to
    C(kubevirt.io:migrate) with M(okd.virt.migrate_role_binding).
  - The role has exactly the rules of C(kubevirt.io:migrate). Its labels are valid ones; a role left behind by the published
    manifest, whose label is written C(key=value), or by any other attempt is found and repaired.
  - The role never carries the labels of virt-operator, which deletes what is labelled as its own at the end of an update.
  - With O(state=present) the module waits until the rules have reached the ClusterRoles C(admin) and C(edit). With
    O(state=absent) it waits until they have left them.
extends_documentation_fragment:
  - okd.virt.attributes
  - okd.virt.auth
  - okd.virt.wait
options:
  state:
    description:
      - Whether the temporary role is there.
      - With V(absent) nothing is deleted while anybody in O(must_keep) would be without live migration afterwards.
    type: str
    choices: [present, absent]
    default: present
  name:
    description:
      - Name of the ClusterRole.
      - Names of roles that Kubernetes, OpenShift or KubeVirt ship are refused.
    type: str
    default: kubevirt.io:upgrademigrate
  aggregate_to:
    description:
      - The ClusterRoles whose holders keep live migration.
      - V(admin) alone is the documented procedure. Users bound to C(edit) then lose live migration at the update, since 4.19
        takes it from C(kubevirt.io:edit) as well as from C(kubevirt.io:admin).
      - V(admin) together with V(edit) keeps the whole behaviour of 4.18. Editors then also get the verb C(deletecollection)
        on VirtualMachineInstanceMigrations, which 4.18 gives to admins only.
      - The list is exact. A role that reaches C(edit) although only V(admin) is listed is narrowed, with a warning.
      - Not used with O(state=absent).
    type: list
    elements: str
    choices: [admin, edit]
    default: [admin]
  must_keep:
    description:
      - Who must be able to live-migrate after the role is gone. Only used with O(state=absent).
      - V(all) stands for every subject that can live-migrate now, in every namespace where it can.
      - A subject is written V(user:alice), V(group:devs), V(serviceaccount:namespace:name), or as a dictionary with C(kind), C(name)
        and for service accounts C(namespace).
      - In a dictionary the list C(namespaces) says where access must be kept. Without it that is wherever the subject has it now, and somewhere
        at least. The list C(groups) says which groups a user belongs to, for clusters without Group objects.
      - What M(okd.virt.migrate_access_info) returned earlier is accepted too, the whole result as well as its lists
        RV(okd.virt.migrate_access_info#module:access) and RV(okd.virt.migrate_access_info#module:lost). All its namespaces must be kept.
      - After the deletion the access of these subjects is proven by access reviews.
    type: list
    elements: raw
    default: []
requirements:
  - kubernetes >= 28.1.0
notes:
  - Rules needed for O(state=present) - C(get), C(list), C(watch), C(create), C(patch) on C(clusterroles.rbac.authorization.k8s.io), and all rules
    of the role itself (or the verb C(escalate) on ClusterRoles).
  - Rules needed for O(state=absent) - C(get), C(list), C(watch), C(delete) on C(clusterroles.rbac.authorization.k8s.io).
  - With O(must_keep) also C(list) on C(clusterrolebindings), C(rolebindings) and C(roles) of that group and on C(groups.user.openshift.io) where they
    exist, and C(create) on C(subjectaccessreviews.authorization.k8s.io).
seealso:
  - module: okd.virt.migrate_access_info
  - module: okd.virt.migrate_role_binding
  - module: okd.virt.operator_update
author:
  - The okd.virt contributors (@okd-virt)
"""

EXAMPLES = r"""
- name: Keep live migration for namespace admins, as documented
  okd.virt.temporary_migrate_role:
    state: present

- name: Keep it for editors as well, as 4.18 has it
  okd.virt.temporary_migrate_role:
    aggregate_to: [admin, edit]

- name: Delete the temporary role once these are bound to kubevirt.io:migrate
  okd.virt.temporary_migrate_role:
    state: absent
    must_keep:
      - user:alice
      - group:vm-operators
      - serviceaccount:ci:migrator
      - kind: User
        name: bob
        namespaces: [team-blue]

- name: Delete it only if nobody at all loses live migration
  okd.virt.temporary_migrate_role:
    state: absent
    must_keep: all
"""

RETURN = r"""
msg:
  description: What was done, in a sentence.
  returned: always
  type: str
  sample: ClusterRole kubevirt.io:upgrademigrate made; admin has live migration by it.
actions:
  description: The changes made, or in check mode the changes that would be made.
  returned: always
  type: list
  elements: dict
  sample:
    - verb: create
      kind: ClusterRole
      namespace: ""
      name: kubevirt.io:upgrademigrate
      reason: it does not exist
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
      sample: kubevirt.io:upgrademigrate
    exists:
      description: Whether it exists, or would exist after a run.
      type: bool
      returned: always
      sample: true
    aggregate_to:
      description: The ClusterRoles that have live migration by it.
      type: list
      elements: str
      returned: always
      sample: [admin]
faults:
  description: What was wrong with the role that was found.
  returned: O(state=present)
  type: list
  elements: str
  sample: []
would_lose:
  description: Subjects of O(must_keep) that would be without live migration, each with the namespaces (V(*) stands for the whole cluster).
  returned: when O(must_keep) is given with O(state=absent)
  type: list
  elements: dict
  sample:
    - subject: user:alice
      namespaces: [team-blue]
      reason: has live migration in team-blue by the temporary role only
proof:
  description: The access reviews by which the access of O(must_keep) was proven.
  returned: when O(must_keep) is given with O(state=absent), not in check mode
  type: dict
  sample: {"reviews": 6, "refused": []}
timeline:
  description: What happened when, in seconds from the start.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible_collections.okd.virt.plugins.module_utils._module import run_module
from ansible_collections.okd.virt.plugins.module_utils.access.temporary_role import VERB


def main() -> None:
    run_module(VERB)


if __name__ == "__main__":
    main()
