#!/usr/bin/python
# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migrate_role_binding
short_description: Give live migration to trusted users, groups and service accounts
description:
  - Binds the ClusterRole C(kubevirt.io:migrate), which OKD Virtualization 4.19 binds to nobody, to the subjects given, in
    namespaces (RoleBinding) or in the whole cluster (ClusterRoleBinding).
  - Works in any number of namespaces with one task.
  - May be run before the update. In 4.18 the ClusterRole does not exist, so that the bindings are inert until the update makes it; the
    module says so with a warning and RV(inert=true).
extends_documentation_fragment:
  - okd.virt.attributes
  - okd.virt.auth
options:
  state:
    description:
      - With V(present) the subjects are added to the binding, and others in it are kept.
      - With V(exact) the binding names these subjects and nobody else.
      - With V(absent) these subjects are removed from the binding. The binding is deleted when nobody is left in it, and also
        when no subjects are given at all.
    type: str
    choices: [present, exact, absent]
    default: present
  scope:
    description:
      - V(namespace) makes a RoleBinding in each of the namespaces, V(cluster) one ClusterRoleBinding.
    type: str
    choices: [namespace, cluster]
    default: namespace
  name:
    description: Name of the binding.
    type: str
    default: kvmigrate
  namespaces:
    description:
      - Namespaces in which to bind. Each must exist, except with O(state=absent); otherwise nothing is changed anywhere.
      - Needed with O(scope=namespace), unless O(namespace_selector) is given.
    type: list
    elements: str
    default: []
    aliases: [namespace]
  namespace_selector:
    description:
      - Label selector for further namespaces, as C(kubectl -l) takes it. Namespaces that are being deleted are passed over.
    type: str
  users:
    description: Names of users.
    type: list
    elements: str
    default: []
  groups:
    description: Names of groups.
    type: list
    elements: str
    default: []
  service_accounts:
    description: Service accounts, each written C(namespace:name).
    type: list
    elements: str
    default: []
  replace_role_ref:
    description:
      - What to do when there is a binding of this name to another role, which the API does not let anybody change.
      - With V(false) the task fails, names the bindings and changes nothing.
      - With V(true) such a binding is deleted and made anew. With O(state=present) its subjects stay in it, so they lose the other role and get
        live migration. With O(state=exact) they do not. While that happens an interim binding (named as the binding, with C(-replacement)
        appended) holds the subjects, so that a run that is killed half-way can be repeated with the same outcome.
      - Not used with O(state=absent), which leaves bindings to other roles alone.
    type: bool
    default: false
requirements:
  - kubernetes >= 28.1.0
notes:
  - Rules needed - C(get), C(list), C(create), C(patch), C(delete) on C(rolebindings.rbac.authorization.k8s.io) (or C(clusterrolebindings)), C(get)
    and C(list) on C(namespaces), C(get) on C(clusterroles.rbac.authorization.k8s.io).
  - Binding the role also takes the verb C(bind) on the ClusterRole C(kubevirt.io:migrate), or all of its rules. Before the update only C(bind)
    will do. Namespace admins of 4.19 have neither, so this is for a cluster administrator.
seealso:
  - module: okd.virt.migrate_access_info
  - module: okd.virt.temporary_migrate_role
author:
  - The okd.virt contributors (@okd-virt)
"""

EXAMPLES = r"""
- name: Let alice and a group migrate in two namespaces
  okd.virt.migrate_role_binding:
    namespaces: [team-blue, team-green]
    users: [alice]
    groups: [vm-operators]

- name: Let a pipeline migrate in all namespaces of a tenant, and nobody else
  okd.virt.migrate_role_binding:
    state: exact
    namespace_selector: tenant=blue
    service_accounts: [ci:migrator]

- name: Let a group migrate in the whole cluster
  okd.virt.migrate_role_binding:
    scope: cluster
    groups: [vm-operators]

- name: Take it from bob again
  okd.virt.migrate_role_binding:
    state: absent
    namespaces: [team-blue]
    users: [bob]
"""

RETURN = r"""
msg:
  description: What was done, in a sentence.
  returned: always
  type: str
  sample: kubevirt.io:migrate bound to user:alice in 2 namespaces.
actions:
  description: The changes made, or in check mode the changes that would be made.
  returned: always
  type: list
  elements: dict
  sample:
    - verb: create
      kind: RoleBinding
      namespace: team-blue
      name: kvmigrate
      reason: kubevirt.io:migrate for user:alice
summary:
  description: Counts.
  returned: always
  type: dict
  sample: {"namespaces": 2, "created": 1, "patched": 0, "deleted": 0, "unchanged": 1}
inert:
  description: Whether the bindings give nothing yet, since the ClusterRole C(kubevirt.io:migrate) does not exist.
  returned: always
  type: bool
  sample: false
bindings:
  description: The bindings as they are after the run, in the namespaces that were asked for.
  returned: always
  type: list
  elements: dict
  contains:
    namespace:
      description: Its namespace, empty for a ClusterRoleBinding.
      type: str
      returned: always
      sample: team-blue
    name:
      description: Its name.
      type: str
      returned: always
      sample: kvmigrate
    subjects:
      description: Who is bound.
      type: list
      elements: str
      returned: always
      sample: ["user:alice", "group:vm-operators"]
timeline:
  description: What happened when, in seconds from the start.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible_collections.okd.virt.plugins.module_utils._module import run_module
from ansible_collections.okd.virt.plugins.module_utils.access.bindings import VERB


def main() -> None:
    run_module(VERB)


if __name__ == "__main__":
    main()
